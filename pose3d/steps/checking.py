"""Steps: whether a recording belongs to its calibration, and how late its cameras are."""

import os
from pathlib import Path

import numpy as np

from calibration.errors import DataError
from calibration.files import provenance
from calibration.results import Outcome

__all__ = ["check_recording", "sync_recording"]


def check_recording(
    project: str | os.PathLike,
    recording: str,
    *,
    min_likelihood: float | None = None,
    calibration: str | os.PathLike | None = None,
    repair_swaps: bool = False,
) -> Outcome:
    """Compare a recording with its calibration before anyone believes the 3D.

    Names a camera that moved (from which frame, by how much) or is late (by fractions of a frame
    too), files that are exchanged, of another size or mirrored, and keypoints of which a view
    took left for right.

    Parameters
    ----------
    project : path
        The project's folder.
    recording : str
        Name of the recording, with 2D keypoints.
    min_likelihood : float
        Views less likely than this are left out; the project's pcutoff unless told.
    calibration : path
        The calibration file to use instead of the project's.
    repair_swaps : bool
        Write keypoints with left and right exchanged where a view took one for the other, as
        filter-keypoints writes its own.
    """
    from pose3d import consistency, swaps
    from pose3d.formats.keypoints import read_origin, save_keypoints_2d

    project, seen, rig, paths = _opened(project, recording, calibration)
    cutoff = project.cutoff(min_likelihood)
    found = consistency.check_recording(seen, rig, min_likelihood=cutoff)
    swapped = swaps.find_swaps(seen, rig, project.skeleton, min_likelihood=cutoff)
    out = paths["keypoints"]
    words = f"{found.verdict.level}: " + " ".join(
        f"{finding.found} {finding.remedy}".strip() for finding in found.verdict.findings
    )
    n_swapped = int(swapped.sum())
    if n_swapped:
        words += f" Left and right are exchanged in {n_swapped} views"
        if repair_swaps:
            out = out.with_name(f"{recording}.filtered.h5")
            arguments = {"recording": recording, "min_likelihood": cutoff, "n_swapped": n_swapped}
            origin = provenance("check_recording", arguments, paths)
            origin["applied_offsets"] = read_origin(paths["keypoints"]).get("applied_offsets", {})
            repaired = swaps.repair_swaps(seen, project.skeleton, swapped)
            save_keypoints_2d(out, repaired, origin)
            words += ", repaired (triangulate-recording --filtered takes them)."
        else:
            words += " (--repair-swaps exchanges them back)."
    step = float(np.median(np.diff(seen.times))) if seen.n_frames > 1 else float("nan")
    table = [
        {
            "camera": name,
            "misfit px": round(float(found.misfit_px[i]), 2),
            "moved from frame": found.moved_from.get(name, ""),
            "late frames": round(found.late_seconds[name] / step, 3)
            if name in found.late_seconds
            else "",
            "left-right exchanged": int(swapped[i].sum()),
        }
        for i, name in enumerate(found.cameras)
    ]
    return Outcome(
        path=out,
        summary=words,
        table=tuple(table),
        figures={
            "verdict": found.verdict.level,
            "misfit_px": dict(zip(found.cameras, found.misfit_px.tolist(), strict=True)),
            "moved_from": found.moved_from,
            "late_seconds": found.late_seconds,
            "n_swapped": n_swapped,
        },
        failed=words if found.verdict.level == "FAIL" else "",
    )


def sync_recording(
    project: str | os.PathLike,
    recording: str,
    *,
    max_seconds: float = 2.0,
    min_likelihood: float | None = None,
    without_calibration: bool = False,
    dry_run: bool = False,
) -> Outcome:
    """Estimate by how much each camera is late, and store it in the recording.

    From the 2D keypoints: by the shift that brings the views to agree, to some hundredths of a
    frame; without a calibration by the speeds of the keypoints, to some frames. Triangulation
    applies what is stored.

    Parameters
    ----------
    project : path
        The project's folder.
    recording : str
        Name of the recording, with 2D keypoints.
    max_seconds : float
        Largest lateness to look for, in seconds.
    min_likelihood : float
        Views less likely than this are left out; the project's pcutoff unless told.
    without_calibration : bool
        Compare speeds even where there is a calibration.
    dry_run : bool
        Store nothing.
    """
    from pose3d.formats.config import edit_config
    from pose3d.formats.keypoints import read_origin
    from pose3d.timeshift import estimate_offsets

    project, seen, rig, paths = _opened(project, recording, None, need_rig=False)
    cutoff = project.cutoff(min_likelihood)
    found = estimate_offsets(
        seen,
        None if without_calibration else rig,
        max_seconds=max_seconds,
        min_likelihood=cutoff,
    )
    applied = applied_offsets(read_origin(paths["keypoints"]), seen.cameras)
    total = applied + found.seconds
    step = float(np.median(np.diff(seen.times)))
    offsets = {name: round(float(late), 6) for name, late in zip(seen.cameras, total, strict=True)}

    def store(config):
        config["pose3d"].setdefault("offsets", {})
        config["pose3d"]["offsets"][recording] = offsets

    if not dry_run:
        edit_config(project.config_path, store)
    table = [
        {
            "camera": name,
            "late s": offsets[name],
            "± s": round(float(found.errors[i]), 6),
            "late frames": round(float(total[i]) / step, 3),
            "drift ms per minute": round(float(found.drift[i]) * 6e4, 2)
            if np.isfinite(found.drift_errors[i])
            else "",
            "± ms per minute": round(float(found.drift_errors[i]) * 6e4, 2)
            if np.isfinite(found.drift_errors[i])
            else "",
        }
        for i, name in enumerate(seen.cameras)
    ]
    drifting = [
        name
        for name, drift, error in zip(seen.cameras, found.drift, found.drift_errors, strict=True)
        if abs(drift) > 5 * error and abs(drift) * (seen.times[-1] - seen.times[0]) > 0.2 * step
    ]
    words = "" if dry_run else f" Stored in {project.config_path.name}."
    if drifting:
        words += (
            f" The clocks of {', '.join(drifting)} drift: one number does not mend that. Give the "
            "videos time stamps of one clock, or cut the recording."
        )
    latest = int(np.argmax(np.abs(total)))
    return Outcome(
        path=project.config_path,
        summary=(
            f"Cameras of {recording!r} are late by up to {abs(total[latest]) / step:.2f} frames "
            f"({seen.cameras[latest]!r}, {total[latest] * 1e3:.1f} ms).{words}"
        ),
        table=tuple(table),
        figures={"offsets": offsets, "drifting": drifting},
    )


def applied_offsets(origin, cameras) -> np.ndarray:
    """Return the lateness that a file of 2D keypoints has taken into account, (n_cameras,).

    Whole frames are, when a recording is analysed; fractions are left for triangulation.
    """
    applied = origin.get("applied_offsets", {})
    if not isinstance(applied, dict):
        applied = {}
    return np.array([float(applied.get(name, 0.0)) for name in cameras])


def _opened(project, recording, calibration, need_rig=True):
    """Open a project, the 2D keypoints of a recording and its rig."""
    from calibration.formats.toml import load_rig
    from pose3d.formats.keypoints import load_keypoints_2d
    from pose3d.project import Project

    project = Project.load(project)
    project.recording(recording)
    seen_path = project.keypoints_2d_path(recording)
    if not seen_path.is_file():
        raise FileNotFoundError(
            f"{seen_path} is not there: {recording!r} has no 2D keypoints yet. Find them with "
            "analyze-recording."
        )
    rig_path = Path(calibration) if calibration else project.calibration_path(recording)
    seen = load_keypoints_2d(seen_path)
    paths = {"keypoints": seen_path}
    if not rig_path.is_file():
        if not need_rig:
            return project, seen, None, paths
        raise FileNotFoundError(
            f"{rig_path} is not there: {recording!r} has no calibration yet. Make one with "
            "calibrate-rig, or name one (calibration)."
        )
    rig = load_rig(rig_path)
    unknown = [name for name in seen.cameras if name not in rig.names]
    if unknown:
        raise DataError(
            f"{seen_path} has a camera {unknown[0]!r} that {rig_path} does not have; it has "
            f"{', '.join(rig.names)}. Calibrate that camera too."
        )
    return project, seen, rig, paths | {"calibration": rig_path}
