"""Steps: filter what the cameras saw, make paths of the points that were found frame by frame."""

import os

import numpy as np
from tqdm import tqdm

from calibration.files import provenance, warn_of_changed_inputs
from calibration.results import Outcome
from pose3d.keypoints import Missing

__all__ = ["filter_keypoints", "refine_trajectory"]


def filter_keypoints(
    project: str | os.PathLike,
    recording: str,
    *,
    method: str = "median",
    window: int = 5,
    polynomial: int = 2,
    cutoff_hz: float = 6.0,
    min_likelihood: float = 0.0,
    networks: list[str] | None = None,
) -> Outcome:
    """Filter the 2D keypoints of a recording over time, or make one of several networks' keypoints.

    The result lies beside the keypoints that were found. Triangulation takes it if told
    (triangulate-recording --filtered); the viewer shows it.

    Parameters
    ----------
    project : path
        The project's folder.
    recording : str
        Name of the recording.
    method : str
        median; savgol fits a polynomial in a window; butterworth keeps slow movement alone;
        ensemble takes the median of several networks and their spread.
    window : int
        Frames of the window for median and savgol, odd.
    polynomial : int
        Degree of savgol's polynomial.
    cutoff_hz : float
        Frequency in Hz above which butterworth takes movement for noise.
    min_likelihood : float
        Less likely points are no part of the filter and stay as they are.
    networks : list of str
        For ensemble: files of 2D keypoints, one for each network.
    """
    from pose3d import smoothing
    from pose3d.formats.keypoints import load_keypoints_2d, read_origin, save_keypoints_2d
    from pose3d.project import Project

    project = Project.load(project)
    project.recording(recording)
    source = project.keypoints_2d_path(recording)
    methods = (*smoothing.METHODS, "ensemble")
    if method not in methods:
        raise ValueError(f"method is {method!r}; expected one of {', '.join(methods)}.")
    inputs = {"keypoints": source}
    if method == "ensemble":
        if not networks or len(networks) < 2:
            raise ValueError(
                "An ensemble needs the keypoints of two networks or more: give their files "
                "(--networks first.h5 --networks second.h5)."
            )
        inputs = {f"network {i}": path for i, path in enumerate(networks)}
    elif networks:
        raise ValueError(f"networks are for the method ensemble, not for {method}. Leave them out.")
    for path in inputs.values():
        if not os.path.isfile(path):
            raise FileNotFoundError(
                f"{path} is not there: find the 2D keypoints first (analyze-recording)."
            )
    if method == "ensemble":
        before = [load_keypoints_2d(path) for path in networks]
        after = smoothing.combine_networks(before)
        before = before[0]
    else:
        warn_of_changed_inputs(source, read_origin(source))
        before = load_keypoints_2d(source)
        after = smoothing.filter_keypoints(
            before,
            method,
            window=window,
            polynomial=polynomial,
            cutoff_hz=cutoff_hz,
            min_likelihood=min_likelihood,
        )
    out = source.with_name(f"{recording}.filtered.h5")
    options = {
        "median": {"window": window},
        "savgol": {"window": window, "polynomial": polynomial},
        "butterworth": {"cutoff_hz": cutoff_hz},
    }
    arguments = {
        "recording": recording,
        "method": method,
        "min_likelihood": min_likelihood,
        **options.get(method, {}),
    }
    origin = provenance("filter_keypoints", arguments, inputs)
    # a filter changes points, not the moments at which frames were taken
    first = next(iter(inputs.values()))
    origin["applied_offsets"] = read_origin(first).get("applied_offsets", {})
    save_keypoints_2d(out, after, origin)
    moved = np.linalg.norm(after.xy - before.xy, axis=-1)
    table = [
        {
            "camera": name,
            "present %": _share(np.isfinite(after.xy[i, ..., 0])),
            "moved px (median)": _median(moved[i]),
            "moved px (99 %)": _quantile(moved[i], 0.99),
        }
        for i, name in enumerate(after.cameras)
    ]
    return Outcome(
        path=out,
        summary=(
            f"{after.n_frames} frames of {recording!r} from {len(after.cameras)} cameras, "
            f"{method}: moved by {_median(moved):.2f} px (median)."
        ),
        table=tuple(table),
        figures={
            "n_frames": after.n_frames,
            "median_moved_px": _median(moved),
            "p99_moved_px": _quantile(moved, 0.99),
        },
    )


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


def _quantile(values, share):
    """Return a quantile of what is there."""
    values = values[np.isfinite(values)]
    return round(float(np.quantile(values, share)), 3) if values.size else float("nan")


def _median(values):
    """Return the median of what is there."""
    values = values[np.isfinite(values)]
    return round(float(np.median(values)), 3) if values.size else float("nan")
