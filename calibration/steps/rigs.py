"""Steps: from board videos to a calibrated rig with its verdict, and a look at it."""

import os
from pathlib import Path

from calibration.results import Outcome


def calibrate_rig(
    videos: str | os.PathLike,
    *,
    board: str | os.PathLike,
    out: str | os.PathLike = "calibration.toml",
    report: str | os.PathLike | None = None,
    cameras: list[str] | None = None,
    model: str = "auto",
    fix_sync: bool = False,
    check_distance: tuple[str, str, float] | None = None,
    lenses: str | os.PathLike | None = None,
    lens_videos: str | os.PathLike | None = None,
    engine: str = "pose3d",
    world: str | None = None,
) -> Outcome:
    """Calibrate a rig from videos or pictures of a board, and say whether to believe it.

    A calibration that is found wrong (FAIL) is written as calibration.rejected.toml, never over
    a good file.

    Parameters
    ----------
    videos : path
        Folder with a video, or a folder of pictures, of the board per camera; or the file that
        detect-boards wrote.
    board : path
        The board.toml that describes the board.
    out : path
        The calibration file to write.
    report : path
        The report to write; beside the calibration file unless told.
    cameras : list of str
        Names of the cameras; found in the names of files and folders unless told.
    model : str
        Lens model: auto, pinhole, k1, k1k2, k1k2p1p2, brown, rational or fisheye.
    fix_sync : bool
        Mend cameras that are found late, short of a frame or moved half-way.
    check_distance : (camera, camera, distance)
        A measured distance between two cameras, in the board's unit: cam1 cam2 820.
    lenses : path
        A calibration file whose lenses are known: those of its cameras are kept as they are.
    lens_videos : path
        Folder with videos or pictures of the board for the lenses alone, one camera after the
        other: close to the camera, in all of the image. They need not be simultaneous.
    engine : str
        pose3d, or aniposelib for comparison: its rig, judged as ours.
    world : str
        Where origin and axes come from: board:12, floor:12,40 or cameras, see orient-rig; the
        first camera unless told.
    """
    from tqdm import tqdm

    from calibration.errors import DataError
    from calibration.files import checked_output, provenance
    from calibration.formats.boards import load_board
    from calibration.formats.detections import load_detections
    from calibration.formats.toml import save_rig
    from calibration.report import save_report
    from calibration.solve import calibrate
    from calibration.steps.boards import detect_boards
    from calibration.steps.worlds import check_world, chosen_world
    from calibration.world import in_world

    if world is not None:
        check_world(world)
    videos, inputs = Path(videos), (videos, board)
    out = checked_output(out, [".toml"], inputs)
    report = checked_output(report or out.with_name(f"_{out.stem}.html"), [".html"], inputs)
    described = load_board(board)
    found = videos
    if videos.is_dir():
        found = out.with_suffix(".detections.h5")
        detect_boards(videos, board=board, out=found, cameras=cameras)
    elif not videos.is_file():
        raise FileNotFoundError(
            f"There is no {videos}; expected a folder with a video of the board per camera, or "
            "the file that detect-boards wrote."
        )
    detections = load_detections(found)
    lengths = ("square_length", "marker_length", "units")
    for name in (each for each in lengths if hasattr(described, each)):
        if getattr(described, name) != getattr(detections.board, name, None):
            raise DataError(
                f"{found} was made with another board than {board} ({name} differs). Give the "
                "folder of videos instead, or run detect-boards again."
            )
    if cameras is not None and list(cameras) != list(detections.cameras):
        raise DataError(
            f"{found} holds the cameras {', '.join(detections.cameras)}, not "
            f"{', '.join(cameras)}. Run detect-boards with those."
        )
    if len(detections.cameras) < 2:
        raise DataError(
            f"{found} holds the one camera {detections.cameras[0]!r}; a rig has at least two. "
            "Lay the videos of all cameras, with their names, into one folder."
        )
    if engine not in ("pose3d", "aniposelib"):
        raise ValueError(f"engine is {engine!r}; expected pose3d or aniposelib.")
    distances = [check_distance] if check_distance else ()
    if engine == "aniposelib":
        from calibration.anipose import calibrate_rig_rows
        from calibration.solve import judge_rig

        calibration = judge_rig(calibrate_rig_rows(detections), detections, distances=distances)
    else:
        known = _known_lenses(lenses, detections.cameras)
        apart = _lens_boards(lens_videos, described, detections.cameras)
        bar_format = "{desc}: {postfix}"
        with tqdm(total=None, desc="calibrate", bar_format=bar_format, disable=None) as bar:
            calibration = calibrate(
                detections,
                model=model,
                intrinsics=known,
                lens_detections=apart,
                fix_sync=fix_sync,
                distances=distances,
                progress=bar.set_postfix_str,
            )
    note = ""
    if world is not None:
        frame = chosen_world(calibration, world)
        calibration, note = in_world(calibration, frame), f" {frame.note}"
    verdict = calibration.verdict
    failed = verdict.level == "FAIL"
    rejected = out.with_suffix(".rejected.toml")
    target = rejected if failed else out
    if failed:
        report = report.with_suffix(".rejected.html")
    arguments = {"model": model, "fix_sync": fix_sync, "check_distance": check_distance}
    more = {"world": world, "lens_videos": lens_videos and str(lens_videos), "engine": engine}
    arguments |= {name: value for name, value in more.items() if value not in (None, "pose3d")}
    sources = {"boards": found, "board": Path(board)} | ({"lenses": Path(lenses)} if lenses else {})
    origin = provenance("calibrate_rig", arguments, sources)
    save_rig(calibration, target, origin)
    save_report(report, calibration, title=f"Calibration of {', '.join(calibration.rig.names)}")
    if not failed:
        for stale in (rejected, rejected.with_suffix(".covariance.h5")):
            stale.unlink(missing_ok=True)
    causes = [f for level in ("FAIL", "WARN") for f in verdict.findings if f.level == level]
    said = "".join(f"\n  {f.level} {f.name}: {f.found} {f.remedy}".rstrip() for f in causes)
    errors = calibration.standard_errors
    table = tuple(
        {
            "camera": camera.name,
            "lens": camera.intrinsics.model,
            "boards": int(calibration.shared_views[i, i]),
            "mean error px": float(calibration.camera_errors[i]),
            "focal px": float(camera.intrinsics.matrix[0, 0]),
            "± px": float(errors["focal"][i, 0]),
            f"position ± {calibration.rig.units}": float(max(errors["position"][i])),
        }
        for i, camera in enumerate(calibration.rig)
    )
    return Outcome(
        report,
        f"{verdict.level}: corners of boards kept out of the fit lie "
        f"{calibration.held_out_rms_px:.3f} px from where they should (RMS per coordinate). "
        f"Wrote {target}.{note}{'' if failed else said}".strip(),
        table,
        {
            "calibration": str(target),
            "verdict": verdict.level,
            "held_out_rms_px": calibration.held_out_rms_px,
            "rms_px": calibration.rms_px,
            "time_faults": [f.told(calibration.rig.units) for f in calibration.time_faults],
            "fixed_faults": [f.told(calibration.rig.units) for f in calibration.fixed_faults],
            "n_boards": int((calibration.detections.n_seen > 0).any(axis=0).sum()),
        },
        f"The calibration cannot be believed.{said}" if failed else "",
    )


def _known_lenses(path, cameras):
    """Return the lenses of a calibration file for the cameras that it has."""
    from calibration.errors import DataError
    from calibration.formats.exchange import load_any

    if path is None:
        return {}
    _, rig = load_any(path)
    known = {camera.name: camera.intrinsics for camera in rig if camera.name in cameras}
    if not known:
        raise DataError(
            f"{path} has the cameras {', '.join(rig.names)} and none of {', '.join(cameras)}. Give "
            "the file with these cameras' lenses."
        )
    return known


def _lens_boards(folder, board, cameras):
    """Detect the boards of videos or pictures that are for the lenses alone."""
    from calibration.errors import DataError
    from calibration.searching import detect_boards, find_camera_videos

    if folder is None:
        return {}
    sources = find_camera_videos(folder)
    unknown = [name for name in sources if name not in cameras]
    if unknown:
        raise DataError(
            f"{folder} has videos of a camera {unknown[0]!r}; the cameras are "
            f"{', '.join(cameras)}. Let each file or folder bear a camera's name."
        )
    return {name: detect_boards(board, {name: source}) for name, source in sources.items()}


def show_rig(
    calibration: str | os.PathLike,
    *,
    out: str | os.PathLike | None = None,
    open_browser: bool = True,
) -> Outcome:
    """Show a calibrated rig in 3D, with its report where the file has its evidence.

    Parameters
    ----------
    calibration : path
        The calibration file, ours or aniposelib's, or a project's folder.
    out : path
        The HTML file to write; beside the calibration unless told.
    open_browser : bool
        Whether to open it.
    """
    import webbrowser

    import numpy as np

    from calibration.files import checked_output
    from calibration.formats.toml import has_boards, load_calibration, load_rig, read_verdict
    from calibration.report import save_report, save_rig_view

    path = Path(calibration)
    if path.is_dir():
        path = path / "calibration.toml"
    rig = load_rig(path)
    out = checked_output(out or path.with_name(f"_{path.stem}.html"), [".html"], [path])
    title = f"Rig of {', '.join(rig.names)}"
    verdict = read_verdict(path)
    if has_boards(path):
        save_report(out, load_calibration(path), title=title)
    else:
        save_rig_view(out, rig, title=title)
    if open_browser:
        webbrowser.open(out.resolve().as_uri())
    centre = np.mean([camera.position for camera in rig], axis=0)
    table = tuple(
        {
            "camera": camera.name,
            "lens": camera.intrinsics.model,
            "image": "{} x {}".format(*camera.intrinsics.image_size),
            "focal px": float(camera.intrinsics.matrix[0, 0]),
            f"from the centre {rig.units}": float(np.linalg.norm(camera.position - centre)),
        }
        for camera in rig
    )
    return Outcome(
        out,
        f"{len(rig)} cameras, lengths in {rig.units}, verdict {verdict or 'unknown'}.",
        table,
        {"n_cameras": len(rig), "units": rig.units, "verdict": verdict},
    )
