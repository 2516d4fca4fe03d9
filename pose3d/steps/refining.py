"""Step: make paths of the points that were found frame by frame."""

import os

import numpy as np
from tqdm import tqdm

from calibration.files import provenance, warn_of_changed_inputs
from calibration.results import Outcome
from pose3d.keypoints import Missing

__all__ = ["refine_trajectory"]


def refine_trajectory(
    project: str | os.PathLike,
    recording: str,
    *,
    limbs: str = "soft",
    order: int = 3,
    max_gap: float = 0.5,
) -> Outcome:
    """Smooth the 3D paths of a recording, fill short gaps and keep limbs at their lengths.

    Smoothness and limb lengths are learned from the recording. The result lies beside the
    points that were found, and the viewer and the exports take it.

    Parameters
    ----------
    project : path
        The project's folder.
    recording : str
        Name of the recording.
    limbs : str
        soft lets limbs vary as much as is seen in the recording, rigid does not, none leaves
        them out. Limbs are the skeleton of config.yaml.
    order : int
        Which derivative is kept small: 1 (speed), 2 (acceleration) or 3 (jerk).
    max_gap : float
        Seconds; longer gaps are left open.
    """
    from pose3d import trajectory
    from pose3d.formats.keypoints import load_keypoints_3d, read_origin, save_keypoints_3d
    from pose3d.project import Project

    project = Project.load(project)
    project.recording(recording)
    source = project.keypoints_3d_path(recording)
    if not source.is_file():
        raise FileNotFoundError(
            f"{source} is not there: {recording!r} has no 3D keypoints yet. Find them with "
            "triangulate-recording."
        )
    warn_of_changed_inputs(source, read_origin(source))
    found = load_keypoints_3d(source)
    path = trajectory.refine_trajectory(
        found,
        project.skeleton,
        limbs=limbs,
        order=order,
        max_gap=max_gap,
        progress=lambda series: tqdm(series, desc="refine", unit="path", disable=None),
    )
    out = source.with_name(f"{recording}.refined.h5")
    arguments = {"recording": recording, "limbs": limbs, "order": order, "max_gap": max_gap}
    save_keypoints_3d(out, path, provenance("refine_trajectory", arguments, {"keypoints": source}))
    return _outcome(out, recording, found, path)


def _outcome(out, recording, found, path):
    """Say how much was smoothed, left out and filled, and what is gained."""
    there, present = found.reason == Missing.PRESENT, path.reason == Missing.PRESENT
    before, after = _spread(found), _spread(path)
    table = [
        {
            "keypoint": name,
            "found %": _share(there[..., i]),
            "present %": _share(present[..., i]),
            "left out %": _share((there & path.filled)[..., i] | (there & ~present)[..., i]),
            "filled %": _share((path.filled & ~there)[..., i]),
            f"spread found {found.units}": _median(before[..., i]),
            f"spread {found.units}": _median(after[..., i]),
        }
        for i, name in enumerate(found.keypoints)
    ]
    left_out = there & (path.filled | ~present)
    figures = {
        "n_frames": path.n_frames,
        "share_found": float(there.mean()) if there.size else 0.0,
        "share_present": float(present.mean()) if present.size else 0.0,
        "n_left_out": int(left_out.sum()),
        "n_filled": int((path.filled & ~there).sum()),
        f"median_spread_found_{found.units}": _median(before),
        f"median_spread_{found.units}": _median(after),
    }
    return Outcome(
        path=out,
        summary=(
            f"{figures['share_present']:.0%} of the keypoints in {path.n_frames} frames of "
            f"{recording!r} (found were {figures['share_found']:.0%}); "
            f"{figures['n_left_out']} points that did not fit were left out, "
            f"{figures['n_filled']} missing ones filled in."
        ),
        table=tuple(table),
        figures=figures,
        failed=""
        if present.any()
        else f"{recording!r} has no points to refine. Look at what triangulate-recording said.",
    )


def _spread(points):
    """Return the standard deviation of each point, all three axes together."""
    with np.errstate(invalid="ignore"):
        return np.sqrt(np.trace(points.covariance, axis1=-2, axis2=-1))


def _share(mask):
    """Return a share in percent."""
    return round(100 * float(mask.mean()), 1) if mask.size else 0.0


def _median(values):
    """Return the median of what is there."""
    values = values[np.isfinite(values)]
    return round(float(np.median(values)), 3) if values.size else float("nan")
