"""Filters of 2D keypoints over time: median, Savitzky-Golay, low-pass; several networks as one.

No filter invents a point: what is missing stays missing, and nothing is carried across a gap. A
linear filter averages noise away and says so in the covariance, where there is one; a median
promises nothing, since of a point that moves it picks one rather than averages.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
from scipy import signal

from calibration.errors import DataError
from pose3d.keypoints import Keypoints2D

#: Filters by name.
METHODS = ("median", "savgol", "butterworth")

#: Series at once, so that memory does not grow with the number of cameras and keypoints.
_FRAMES = 20_000

#: Networks that the usual spread of a keypoint counts for beside those of one frame.
_PRIOR = 4.0

#: Frames by which the ends of a stretch are told from its middle in a low-pass filter.
_LONG = 400

#: Share by which steps in time may differ for a filter that counts frames to mean anything.
_UNEVEN = 0.25


def filter_keypoints(
    keypoints_2d: Keypoints2D,
    method: str = "median",
    *,
    window: int = 5,
    polynomial: int = 2,
    cutoff_hz: float = 6.0,
    min_likelihood: float = 0.0,
) -> Keypoints2D:
    """Filter each keypoint's path in each image.

    Parameters
    ----------
    keypoints_2d : Keypoints2D
        What each camera saw.
    method : {"median", "savgol", "butterworth"}
        Median of the points in a window; polynomial fitted in a window (Savitzky and Golay,
        1964); Butterworth's low-pass filter of fourth order, forwards and backwards, so that
        nothing is delayed.
    window : int
        Frames of the window, odd; for median and savgol.
    polynomial : int
        Degree of the polynomial, less than the window; for savgol.
    cutoff_hz : float
        Frequency above which movement is taken for noise, in Hz; for butterworth.
    min_likelihood : float
        Points less likely than this are missing for the filter, and stay as they are.

    Returns
    -------
    Keypoints2D
        Of the same frames. Stretches too short for a filter are left as they are.

    Raises
    ------
    ValueError
        If an argument is out of range.
    DataError
        If the frames are too unevenly spaced for savgol or butterworth.
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; expected one of {', '.join(METHODS)}.")
    if method != "butterworth" and (window < 3 or window % 2 == 0):
        raise ValueError(f"window is {window}; expected an odd number of frames from 3.")
    if method == "savgol" and not 0 <= polynomial < window:
        raise ValueError(
            f"polynomial is {polynomial}; expected a degree below the window, {window}."
        )
    if keypoints_2d.n_frames < 3:
        return keypoints_2d
    taken = keypoints_2d.likelihood >= min_likelihood
    xy = np.where(taken[..., np.newaxis], keypoints_2d.xy, np.nan)
    gain = np.ones(taken.shape)
    if method == "median":
        found = _median(xy, window)
    else:
        sections = None
        _check_even(keypoints_2d)
        if method == "butterworth":
            sections = _low_pass(keypoints_2d, cutoff_hz)
        found = xy.copy()
        for place in np.ndindex(xy.shape[0], *xy.shape[2:4]):
            where = (place[0], slice(None), *place[1:])
            for run in _runs(np.isfinite(xy[where]).all(axis=1)):
                part, share = _filtered(xy[where][run], sections, window, polynomial)
                found[where][run], gain[where][run] = part, share
    found = np.where(taken[..., np.newaxis], found, keypoints_2d.xy)
    covariance = keypoints_2d.covariance
    if covariance is not None:
        covariance = covariance * np.where(taken, gain, 1.0)[..., np.newaxis, np.newaxis]
    return replace(keypoints_2d, xy=found, covariance=covariance)


def _runs(there):
    """Return the stretches without a gap."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], there.astype(np.int8), [0]])))
    return [slice(a, b) for a, b in edges.reshape(-1, 2)]


def _filtered(xy, sections, window, polynomial):
    """Filter one stretch; return also what is left of the variance of white noise, by frame."""
    n = len(xy)
    if sections is None:
        if n < window:
            return xy, 1.0
        found = signal.savgol_filter(xy, window, polynomial, axis=0)
        return found, _left_of_noise(n, window, polynomial, None)
    pad = 3 * (2 * len(sections) + 1)
    if n <= pad:
        return xy, 1.0
    kept = tuple(map(tuple, sections.tolist()))
    return signal.sosfiltfilt(sections, xy, axis=0), _left_of_noise(n, 0, 0, kept)


@lru_cache(maxsize=512)
def _left_of_noise(n_frames, window, polynomial, sections):
    """Return the share of the variance of white noise that a filter leaves in each frame.

    At the ends of a stretch a filter has fewer frames to average.
    """
    n = min(n_frames, 4 * window if sections is None else _LONG)
    every = np.eye(n)
    if sections is None:
        response = signal.savgol_filter(every, window, polynomial, axis=0)
    else:
        response = signal.sosfiltfilt(np.array(sections), every, axis=0)
    own = (response**2).sum(axis=1)
    if n == n_frames:
        return own
    half = n // 2
    middle = np.full(n_frames - 2 * half, own[half])
    return np.concatenate([own[:half], middle, own[n - half :]])


def _check_even(keypoints_2d):
    """Refuse frames that are too unevenly spaced for a filter that counts them."""
    fps, steps = keypoints_2d.fps, np.diff(keypoints_2d.times)
    uneven = np.abs(steps * fps - 1)
    if uneven.max() > _UNEVEN:
        frame = int(uneven.argmax()) + 1
        raise DataError(
            f"Frame {frame} comes {steps[frame - 1]:.4g} s after the one before, and the usual "
            f"step is {1 / fps:.4g} s: this filter needs even steps. Use median, or "
            "refine-trajectory, which knows the times."
        )


def _low_pass(keypoints_2d, cutoff_hz):
    """Return the sections of the filter."""
    fps = keypoints_2d.fps
    if not 0 < cutoff_hz < fps / 2:
        raise ValueError(
            f"cutoff_hz is {cutoff_hz}; expected a frequency above 0 and below half of the "
            f"{fps:.4g} frames a second."
        )
    # the filter runs twice: each run is half as steep
    return signal.butter(2, cutoff_hz, fs=fps, output="sos")


def _median(xy, window):
    """Return running medians of what is there."""
    half, found = window // 2, np.empty_like(xy)
    n_frames = xy.shape[1]
    edge = np.full((xy.shape[0], half, *xy.shape[2:]), np.nan)
    padded = np.concatenate([edge, xy, edge], axis=1)
    for start in range(0, n_frames, _FRAMES):
        stop = min(start + _FRAMES, n_frames)
        some = np.stack([padded[:, start + k : stop + k] for k in range(window)])
        some.sort(axis=0)  # NaN comes last
        count = np.isfinite(some[..., 0]).sum(axis=0)
        low = np.clip((count - 1) // 2, 0, None)[np.newaxis, ..., np.newaxis]
        high = np.clip(count // 2, 0, window - 1)[np.newaxis, ..., np.newaxis]
        middle = np.take_along_axis(some, low, axis=0) + np.take_along_axis(some, high, axis=0)
        found[:, start:stop] = 0.5 * middle[0]
    return np.where(np.isfinite(xy), found, np.nan)


def combine_networks(predictions: Sequence[Keypoints2D], *, least_px: float = 0.5) -> Keypoints2D:
    """Make one prediction of those of several networks: their median, and how they differ.

    Networks that were trained apart err apart where they are unsure: the variance between
    them tells sure points from guesses, which one network's likelihood does not (Biderman et
    al., Lightning Pose, 2024).

    Parameters
    ----------
    predictions : sequence of Keypoints2D
        Of the same recording, at least two.
    least_px : float
        Standard deviation that no point is better known than, px.

    Returns
    -------
    Keypoints2D
        The median over networks, the median likelihood, and as covariance the spread between
        the networks' points, drawn towards what is usual for the keypoint and camera.

    Raises
    ------
    ValueError
        If fewer than two are given, or they differ in cameras, keypoints or frames.
    """
    if len(predictions) < 2:
        raise ValueError(f"There is {len(predictions)} prediction; an ensemble needs two or more.")
    first = predictions[0]
    for other in predictions[1:]:
        for axis in ("cameras", "individuals", "keypoints"):
            if getattr(other, axis) != getattr(first, axis):
                raise ValueError(
                    f"The predictions differ in {axis}: {', '.join(getattr(first, axis))}; "
                    f"{', '.join(getattr(other, axis))}."
                )
        if other.xy.shape != first.xy.shape or not np.allclose(other.times, first.times):
            raise ValueError(
                f"The predictions are of {first.n_frames} and {other.n_frames} frames, or of "
                "other times; they must be of the same recording."
            )
    every = np.stack([one.xy for one in predictions])
    there = np.isfinite(every[..., 0])
    count = there.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        xy = np.where((count > 0)[..., np.newaxis], _nan_median(every), np.nan)
        off = np.where(there[..., np.newaxis], every - xy, 0.0)
        covariance = np.einsum("n...i,n...j->...ij", off, off)
        usual = _usual_variance(covariance, count)
    # a few networks' spread says little alone: it counts beside the usual one
    freedom = np.maximum(count - 1, 0)[..., np.newaxis, np.newaxis]
    covariance = (covariance + _PRIOR * usual * np.eye(2)) / (freedom + _PRIOR)
    covariance += least_px**2 * np.eye(2)
    # one network's word alone says nothing of how far off it is
    covariance[count < 2] = np.nan
    return replace(
        first,
        xy=xy,
        likelihood=np.median([one.likelihood for one in predictions], axis=0),
        covariance=covariance,
    )


def _usual_variance(squares, count):
    """Return the usual variance of each keypoint in each camera, by the mean of logarithms."""
    own = np.trace(squares, axis1=-2, axis2=-1) / (2 * np.maximum(count - 1, 1))
    known = (count > 1) & (own > 0)
    logarithm = np.where(known, np.log(np.where(known, own, 1.0)), 0.0).sum(axis=1, keepdims=True)
    usual = np.exp(logarithm / np.maximum(known.sum(axis=1, keepdims=True), 1))
    return np.broadcast_to(usual, own.shape)[..., np.newaxis, np.newaxis]


def _nan_median(values):
    """Return medians along the first axis of what is there."""
    ordered = np.sort(values, axis=0)
    count = np.isfinite(ordered).sum(axis=0)
    low = np.clip((count - 1) // 2, 0, None)[np.newaxis]
    high = np.clip(count // 2, 0, len(values) - 1)[np.newaxis]
    return 0.5 * (np.take_along_axis(ordered, low, 0) + np.take_along_axis(ordered, high, 0))[0]
