"""Step: from 2D keypoints to 3D."""

import os
import warnings
from pathlib import Path

import numpy as np
from tqdm import tqdm

from calibration.cameras import METRES, CameraRig
from calibration.errors import DataError, DataWarning
from calibration.files import provenance, warn_of_changed_inputs
from calibration.results import Outcome
from pose3d.keypoints import Keypoints3D, Missing
from pose3d.steps.checking import applied_offsets

__all__ = ["triangulate_recording"]

#: Image points that are triangulated at once.
_POINTS = 4_000_000

#: Frames from which the detector's spread is learned, and by which the result is summed up.
_SAMPLED, _KEPT = 1000, 20_000

#: Frames in which it is looked whether files are exchanged.
_CHECKED = 200


def triangulate_recording(
    project: str | os.PathLike,
    recording: str,
    *,
    min_likelihood: float | None = None,
    method: str = "robust",
    calibration: str | os.PathLike | None = None,
    cameras: list[str] | None = None,
    max_error_px: float | None = None,
    trust_calibration: bool = False,
    filtered: bool = False,
) -> Outcome:
    """Find the keypoints of a recording in space from what its cameras saw.

    Parameters
    ----------
    project : path
        The project's folder.
    recording : str
        Name of the recording.
    min_likelihood : float
        Views less likely than this are left out; the project's pcutoff unless told.
    method : str
        robust chooses the views that agree, least-squares and dlt believe all; anipose,
        anipose-ransac and anipose-optim are aniposelib's, for comparison.
    calibration : path
        The calibration file to use instead of the project's.
    cameras : list of str
        The cameras to use; all that were analysed unless told.
    max_error_px : float
        Distance in pixels from which a view is never believed.
    trust_calibration : bool
        Use a calibration even if it was found wrong.
    filtered : bool
        Take the keypoints that filter-keypoints made.
    """
    from pose3d.engines import ANIPOSE
    from pose3d.formats.keypoint_streams import open_frames_2d
    from pose3d.formats.keypoints import read_origin
    from pose3d.project import Project

    project = Project.load(project)
    take = project.recording(recording)
    seen_path = project.keypoints_2d_path(recording)
    if filtered:
        seen_path = seen_path.with_name(f"{recording}.filtered.h5")
        if not seen_path.is_file():
            raise FileNotFoundError(f"{seen_path} is not there. Make it with filter-keypoints.")
    if not seen_path.is_file():
        raise FileNotFoundError(
            f"{seen_path} is not there: {recording!r} has no 2D keypoints yet. Find them with "
            "analyze-recording."
        )
    rig_path = Path(calibration) if calibration else project.calibration_path(recording)
    if not rig_path.is_file():
        raise FileNotFoundError(
            f"{rig_path} is not there: {recording!r} has no calibration yet. Make one with "
            "calibrate-rig, or name one (calibration)."
        )
    warn_of_changed_inputs(seen_path, read_origin(seen_path))
    cutoff = project.cutoff(min_likelihood)
    path = project.keypoints_3d_path(recording)
    with open_frames_2d(seen_path) as frames:
        for name in cameras or ():
            if name not in frames.cameras:
                raise DataError(
                    f"{seen_path} has no camera {name!r}; it has {', '.join(frames.cameras)}."
                )
        names = list(cameras or frames.cameras)
        rig = _rig_for(names, seen_path, rig_path, trust_calibration, project.units)
        arguments = {
            "recording": recording,
            "min_likelihood": cutoff,
            "method": method,
            "cameras": names,
            "max_error_px": max_error_px,
            "trust_calibration": trust_calibration,
            "filtered": filtered,
        }
        inputs = {"keypoints": seen_path, "calibration": rig_path}
        origin = provenance("triangulate_recording", arguments, inputs)
        options = {"min_likelihood": cutoff, "method": method, "max_error_px": max_error_px}
        if method in ANIPOSE:
            options["skeleton"] = project.skeleton
        if not trust_calibration:
            _check_files(frames, names, rig, cutoff, seen_path)
        late = dict(zip(take.cameras, take.offsets, strict=True))
        late = np.array([late.get(name, 0.0) for name in names])
        late = late - applied_offsets(read_origin(seen_path), names)
        found = _stream(frames, names, rig, options, path, origin, late)
    return _outcome(path, recording, found)


def _stream(frames, names, rig, options, path, origin, late):
    """Triangulate some frames at a time; return frames of the result, evenly spread."""
    from pose3d.engines import ANIPOSE, triangulate
    from pose3d.formats.keypoint_streams import write_frames_3d
    from pose3d.triangulation import learn_spread, warn_of_disbelieved

    n_frames = frames.n_frames
    # aniposelib's smoothing needs all frames at once
    size = n_frames if options["method"] in ANIPOSE else max(_POINTS // frames.n_points, 1)
    starts = range(0, n_frames, max(size, 1))
    if len(starts) > 1:
        learned = {name: options[name] for name in ("min_likelihood", "max_error_px")}
        sample = frames.read(slice(None, None, -(-n_frames // _SAMPLED)), names)
        # a lateness makes errors in moving points; so few of them are fast that it is let be
        options["noise_px"] = learn_spread(sample, rig, **learned)
    kept, step = [], max(1, -(-n_frames // _KEPT))
    with write_frames_3d(path, n_frames, origin) as put:
        for start in tqdm(starts, desc="triangulate", unit="block", disable=None):
            seen = _on_one_clock(frames, start, min(start + size, n_frames), names, late)
            with warnings.catch_warnings():
                if len(starts) > 1:  # said once of all frames, not of each part
                    warnings.simplefilter("ignore", DataWarning)
                found = triangulate(seen, rig, **options)
            put(found)
            kept.append(found.take(slice(-start % step, None, step)))
    found = Keypoints3D.joined(kept)
    if len(starts) > 1 and options["method"] == "robust":
        warn_of_disbelieved(found)
    return found


def _on_one_clock(frames, start, stop, names, late):
    """Read some frames, each camera at the moment at which it saw what the others saw."""
    if not late.any():
        return frames.read(slice(start, stop), names)
    from pose3d.timeshift import shift_times

    step = float(np.median(np.diff(frames.times))) if frames.n_frames > 1 else 1.0
    margin = int(np.ceil(np.abs(late).max() / step)) + 2
    first, last = max(0, start - margin), min(frames.n_frames, stop + margin)
    shifted = shift_times(frames.read(slice(first, last), names), late)
    return shifted.take(slice(start - first, stop - first))


def _check_files(frames, names, rig, cutoff, path):
    """Refuse a recording of which files or image sizes are exchanged."""
    from pose3d.mixups import check_files

    few = frames.read(slice(None, None, max(1, frames.n_frames // _CHECKED)), names)
    finding = check_files(few, rig, min_likelihood=cutoff)
    if finding is not None:
        raise DataError(
            f"{path}: {finding.found} {finding.remedy} (check-recording tells more; "
            "--trust-calibration goes on all the same.)"
        )


def _rig_for(names, seen_path, rig_path, trust, units):
    """Load the rig for some cameras, in the project's unit of length."""
    from calibration.multiview import move_rig

    rig = _trusted_rig(rig_path, names, trust)
    unknown = [name for name in names if name not in rig.names]
    if unknown:
        known = ",".join(name for name in names if name in rig.names)
        raise DataError(
            f"{seen_path} has a camera {unknown[0]!r} that {rig_path} does not have; it has "
            f"{', '.join(rig.names)}. Calibrate that camera too, or leave it out "
            f"(--cameras {known})."
        )
    if rig.units == units:
        return rig
    scale = np.diag([METRES[rig.units] / METRES[units]] * 3 + [1.0])
    moved = move_rig(rig, scale)
    return CameraRig(moved.cameras, units, moved.covariance)


def _trusted_rig(path: Path, cameras, trust: bool) -> CameraRig:
    """Load the rig of a calibration, unless it was found wrong."""
    from calibration.formats.toml import load_rig, read_verdict

    rig = load_rig(path)
    if trust:
        return rig
    used = rig.subset([name for name in rig.names if name in cameras])
    for first, second in used.coincident():
        first_left = ",".join(name for name in used.names if name != second)
        second_left = ",".join(name for name in used.names if name != first)
        raise DataError(
            f"{path}: cameras {first!r} and {second!r} stand at the same place and look the same "
            "way; one is a copy of the other, and what is triangulated with both is wrong. "
            "Calibrate again (calibrate-rig); or leave out the one that is wrong "
            f"(--cameras {first_left}, or --cameras {second_left}); or take the calibration as it "
            "is (--trust-calibration)."
        )
    if read_verdict(path) == "FAIL":
        raise DataError(
            f"{path} has the verdict FAIL: what is triangulated with it is wrong. Read its "
            "findings (show-rig), record boards as they say and calibrate again (calibrate-rig); "
            "or take the calibration as it is (--trust-calibration)."
        )
    return rig


def _outcome(path: Path, recording: str, found: Keypoints3D) -> Outcome:
    """Say how much was found, how well the views agree, and how far to trust it."""
    with np.errstate(invalid="ignore"):
        spread = np.sqrt(np.trace(found.covariance, axis1=-2, axis2=-1))
    there = found.reason == Missing.PRESENT
    table = [
        {
            "keypoint": name,
            "present %": round(100 * float(there[..., i].mean()), 1) if there.size else 0.0,
            "reprojection px": _median(found.reprojection_error[..., i]),
            "views": _median(np.where(there, found.n_views, np.nan)[..., i]),
            f"spread {found.units}": _median(spread[..., i]),
        }
        for i, name in enumerate(found.keypoints)
    ]
    seen = np.isfinite(found.view_errors)
    figures = {
        "n_frames": found.n_frames,
        "share_present": float(there.mean()) if there.size else 0.0,
        "median_reprojection_px": _median(found.reprojection_error),
        "median_views": _median(np.where(there, found.n_views, np.nan)),
        f"median_spread_{found.units}": _median(spread),
        "missing": {
            reason.name.lower(): int((found.reason == reason).sum())
            for reason in Missing
            if reason != Missing.PRESENT
        },
        "believed": {
            name: float(used[saw].mean()) if saw.any() else float("nan")
            for name, used, saw in zip(found.cameras, found.used_views, seen, strict=True)
        },
    }
    failed = ""
    if not there.any():
        causes = ", ".join(
            f"{n} {cause.replace('_', ' ')}" for cause, n in figures["missing"].items() if n
        )
        failed = (
            f"No keypoint of {recording!r} could be found in space ({causes}). Look at the 2D "
            "keypoints (create-labeled-video) and at the calibration (show-rig)."
        )
    return Outcome(
        path=path,
        summary=(
            f"{figures['share_present']:.0%} of the keypoints in {found.n_frames} frames of "
            f"{recording!r}, median {figures['median_reprojection_px']:.2f} px from where the "
            "cameras saw them."
        ),
        table=tuple(table),
        figures=figures,
        failed=failed,
    )


def _median(values) -> float:
    """Return the median of what is there, rounded for reading; NaN, in silence, of nothing."""
    values = np.asarray(values, dtype=np.float64)
    values = values[np.isfinite(values)]
    return round(float(np.median(values)), 3) if values.size else float("nan")
