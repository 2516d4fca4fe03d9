"""Steps: cameras placed by points of the scene."""

import os
from pathlib import Path

from calibration.results import Outcome


def place_cameras(
    points: str | os.PathLike,
    clicks: str | os.PathLike,
    *,
    lenses: str | os.PathLike,
    board: str | os.PathLike | None = None,
    model: str = "auto",
    point_sd: float = 0.0,
    click_sd: float = 2.0,
    out: str | os.PathLike = "calibration.toml",
) -> Outcome:
    """Place cameras by points of the scene that were clicked in one picture of each.

    For rooms that no board fills: at least four points whose places are known, six to find a
    wrong click, not on one line and best not all in one plane. Points without a place, seen by
    several cameras, help too. Lenses count as exact in the standard errors. Cameras whose place
    cannot be believed (FAIL) are written as .rejected.toml, never over a good file.

    Parameters
    ----------
    points : path
        Known places: a .csv with name, x, y, z, units. Leave x, y, z empty for points that are
        clicked but not measured.
    clicks : path
        Where pictures show them: a .csv with camera, point, x, y in pixels, or a folder with a
        .csv of point, x, y per camera.
    lenses : path
        A calibration file, ours or another program's, whose lenses are taken; or a folder with
        pictures or a video of a board per camera, not simultaneous (with --board).
    board : path
        The board.toml of the board in the lens pictures.
    model : str
        Lens model for lens pictures, as in calibrate-rig.
    point_sd : float
        How well the places are known: standard deviation of a coordinate, in their unit.
    click_sd : float
        How well they were clicked: standard deviation in px that is expected.
    out : path
        The calibration file to write.
    """
    from calibration.files import checked_output, provenance
    from calibration.formats.scene import click_array, load_clicks, load_scene_points
    from calibration.formats.toml import save_rig
    from calibration.scene import check_same_names, place_cameras_by_points

    out = checked_output(out, [".toml"], [points, clicks, lenses, *([board] if board else [])])
    names, places, units = load_scene_points(points)
    marks = load_clicks(clicks)
    for camera, each in marks.items():
        check_same_names(names, list(each), f"point in {points}, marked in camera {camera!r},")
    known = _lenses(Path(lenses), board, model, list(marks))
    _, seen = click_array(tuple(known), marks, clicks, list(names))
    placed = place_cameras_by_points(
        known, seen, places, names=names, units=units, point_sd=point_sd, click_sd=click_sd
    )
    verdict = placed.verdict
    failed = verdict.level == "FAIL"
    rejected = out.with_suffix(".rejected.toml")
    target = rejected if failed else out
    origin = provenance(
        "place_cameras",
        {"model": model, "point_sd": point_sd, "click_sd": click_sd},
        {"points": points, "clicks": clicks, "lenses": lenses},
    )
    save_rig(placed.rig, target, origin, verdict=verdict)
    if not failed:
        for stale in (rejected, rejected.with_suffix(".covariance.h5")):
            stale.unlink(missing_ok=True)
    causes = [f for level in ("FAIL", "WARN") for f in verdict.findings if f.level == level]
    said = "".join(f"\n  {f.level} {f.name}: {f.found} {f.remedy}".rstrip() for f in causes)
    table = []
    for i, camera in enumerate(placed.rig):
        used = placed.used[i]
        error = placed.standard_errors["position"][i]
        table.append(
            {
                "camera": camera.name,
                "points": int(used.sum()),
                "left out": int((~used & (placed.errors[i] == placed.errors[i])).sum()),
                "mean error px": float(placed.errors[i, used].mean()),
                **{
                    f"{axis} {units}": float(each)
                    for axis, each in zip("xyz", camera.position, strict=True)
                },
                f"± {units}": float((error @ error) ** 0.5),
            }
        )
    return Outcome(
        target,
        f"{verdict.level}: clicks are good to {placed.sigma_px:.2f} px. The world is that of "
        f"{points}. Wrote {target}.{'' if failed else said}".strip(),
        tuple(table),
        {"verdict": verdict.level, "sigma_px": placed.sigma_px, "calibration": str(target)},
        f"The cameras' places cannot be believed.{said}" if failed else "",
    )


def _lenses(path, board, model, cameras):
    """Lenses of the cameras that were clicked, from a file or from pictures of a board."""
    from calibration.errors import DataError

    if path.is_file():
        from calibration.formats.exchange import load_any

        _, rig = load_any(path)
        missing = [name for name in cameras if name not in rig.names]
        if missing:
            raise DataError(
                f"{path} has no lens of {', '.join(missing)}; it has {', '.join(rig.names)}. Name "
                "the cameras alike in both files."
            )
        return {name: rig[name].intrinsics for name in cameras}
    if not path.is_dir():
        raise FileNotFoundError(
            f"There is no {path}; expected a calibration file with the lenses, or a folder with "
            "pictures of a board per camera."
        )
    if board is None:
        raise ValueError(
            f"Which board is in the pictures in {path}? Give its board.toml (--board)."
        )
    from calibration.formats.boards import load_board
    from calibration.intrinsics import calibrate_lens
    from calibration.searching import detect_boards, find_camera_videos

    described = load_board(board)
    lenses = {}
    for name, source in find_camera_videos(path, cameras).items():
        detections = detect_boards(described, {name: source})
        lenses[name] = calibrate_lens(detections, name, model=model).intrinsics
    return {name: lenses[name] for name in cameras}
