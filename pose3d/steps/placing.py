"""Step: place cameras by the animal's own keypoints."""

import os
from pathlib import Path

from calibration.results import Outcome


def refine_rig(
    project: str | os.PathLike,
    recording: str,
    *,
    camera: str | None = None,
    distance: tuple[str, str, float] | None = None,
    min_likelihood: float | None = None,
    noise_px: float = 5.0,
    calibration: str | os.PathLike | None = None,
    out: str | os.PathLike | None = None,
) -> Outcome:
    """Place cameras anew by the animal's own keypoints; lenses are kept.

    For a camera that was knocked, a rig that has settled, or cameras whose lenses alone are
    known. The animal must walk through the space that the cameras see; what it does not
    determine (FAIL) is written as .rejected.toml, never over a good file.

    Parameters
    ----------
    project : path
        The project's folder.
    recording : str
        Name of the recording, with 2D keypoints; the new calibration is for it.
    camera : str
        The camera that was knocked; all others stay. Unless told, all cameras are refined: the
        first stays, and its distance to the farthest.
    distance : (camera, camera, length)
        Find all places from nothing, lenses alone taken from the file, and scale them to this
        distance of two cameras, in the file's unit: cam1 cam2 820.
    min_likelihood : float
        Views less likely than this are left out; the project's pcutoff unless told.
    noise_px : float
        How well keypoints are found: standard deviation of a coordinate in px, within a factor
        of three.
    calibration : path
        The calibration file; the project's unless told.
    out : path
        The file to write; calibrations/<recording>.toml in the project unless told.
    """
    import numpy as np

    from calibration.errors import DataError
    from calibration.files import checked_output, provenance
    from calibration.formats.toml import load_rig, save_rig
    from calibration.selfcalibration import (
        calibrate_from_keypoints,
        refine_cameras,
        resolve_camera,
    )
    from calibration.solve import standard_errors
    from pose3d.formats.keypoints import load_keypoints_2d
    from pose3d.project import Project

    if camera is not None and distance is not None:
        raise ValueError("Give --camera (one is placed anew) or --distance (all are), not both.")
    project = Project.load(project)
    project.recording(recording)
    seen_path = project.keypoints_2d_path(recording)
    if not seen_path.is_file():
        raise FileNotFoundError(
            f"{seen_path} is not there: {recording!r} has no 2D keypoints yet. Find them with "
            "analyze-recording."
        )
    rig_path = Path(calibration) if calibration else project.calibration_path(recording)
    own = project.path / "calibrations" / f"{recording}.toml"
    if out is None and own.exists() and rig_path.exists() and own.samefile(rig_path):
        raise ValueError(
            f"{recording!r} has a calibration of its own, {own}, which is read. Name another file "
            "to write (--out), or the calibration to start from (--calibration)."
        )
    out = checked_output(out or own, [".toml"], [rig_path, seen_path])
    rig = load_rig(rig_path)
    seen = load_keypoints_2d(seen_path)
    missing = [name for name in rig.names if name not in seen.cameras]
    if missing:
        raise DataError(
            f"{seen_path} has no keypoints of {', '.join(missing)}; it has "
            f"{', '.join(seen.cameras)}. Analyse these cameras too."
        )
    cutoff = project.cutoff(min_likelihood)
    seen = seen.subset(rig.names).confident(cutoff)
    n_cameras, n_frames = seen.xy.shape[:2]
    xy = seen.xy.reshape(n_cameras, n_frames, -1, 2)
    if camera is not None:
        found = resolve_camera(rig, camera, xy, noise_px=noise_px)
    elif distance is not None:
        lenses = {each.name: each.intrinsics for each in rig}
        found = calibrate_from_keypoints(
            lenses, xy, units=rig.units, distance=distance, noise_px=noise_px
        )
    else:
        found = refine_cameras(rig, xy, noise_px=noise_px)
    verdict = found.verdict
    failed = verdict.level == "FAIL"
    rejected = out.with_suffix(".rejected.toml")
    target = rejected if failed else out
    arguments = {
        "recording": recording,
        "camera": camera,
        "distance": None if distance is None else list(distance),
        "min_likelihood": cutoff,
        "noise_px": noise_px,
    }
    origin = provenance("refine_rig", arguments, {"calibration": rig_path, "keypoints": seen_path})
    save_rig(found.rig, target, origin, verdict=verdict)
    if not failed:
        for stale in (rejected, rejected.with_suffix(".covariance.h5")):
            stale.unlink(missing_ok=True)
    errors = standard_errors(found.rig)
    table = []
    for i, each in enumerate(found.rig):
        views = np.isfinite(found.residuals[i, ..., 0])
        row = {
            "camera": each.name,
            "views": int(views.sum()),
            "left out %": round(100 * (1 - found.used[i].sum() / max(views.sum(), 1)), 1),
            f"position ± {rig.units}": float(np.linalg.norm(errors["position"][i])),
            "rotation ± deg": float(np.degrees(np.linalg.norm(errors["rotation"][i]))),
        }
        if distance is None:
            apart = np.linalg.norm(each.position - rig[each.name].position)
            row[f"moved {rig.units}"] = float(apart)
        table.append(row)
    causes = [f for level in ("FAIL", "WARN") for f in verdict.findings if f.level == level]
    said = "; ".join(f"{f.level} {f.name}: {f.found} {f.remedy}".strip() for f in causes)
    return Outcome(
        target,
        f"{verdict.level}: keypoints lie {found.sigma_px:.2f} px from where they should. Wrote "
        f"{target}. {'' if failed else said}".strip(),
        tuple(table),
        {"verdict": verdict.level, "sigma_px": found.sigma_px, "calibration": str(target)},
        f"The keypoints do not determine the cameras. {said}" if failed else "",
    )
