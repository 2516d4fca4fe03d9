"""Cameras that run late: by how much, from what they see, and keypoints brought to one clock."""

import warnings
from dataclasses import dataclass, replace

import numpy as np

from calibration.cameras import CameraRig
from calibration.errors import DataError
from calibration.multiview import projection_jacobian
from pose3d.keypoints import Keypoints2D
from pose3d.triangulation import learn_spread, triangulate

#: Frames that the coarse search looks at.
_FRAMES = 400

#: Rounds of the fine search, and the change in frames that ends it.
_ROUNDS, _SETTLED = 8, 0.002

#: Blocks of time whose scatter gives the standard error.
_BLOCKS = 20

#: Seconds over which image velocity is measured.
_SHORT = 5e-3

#: Movement from frame to frame, px, below which nothing can be said about time.
_STILL = 0.2


@dataclass(frozen=True, eq=False)
class Offsets:
    """By how much cameras are late.

    Attributes
    ----------
    cameras : tuple of str
        Names.
    seconds : ndarray of shape (n_cameras,)
        Lateness; zero for the first camera, negative where a camera is early.
    errors : ndarray of shape (n_cameras,)
        Standard errors in seconds; infinite where nothing could be said.
    drift : ndarray of shape (n_cameras,)
        Change of the lateness, seconds per second.
    drift_errors : ndarray of shape (n_cameras,)
        Its standard errors.
    """

    cameras: tuple[str, ...]
    seconds: np.ndarray
    errors: np.ndarray
    drift: np.ndarray
    drift_errors: np.ndarray


def shift_times(keypoints_2d: Keypoints2D, seconds: np.ndarray) -> Keypoints2D:
    """Bring cameras that are late to one clock, by straight lines between frames.

    What happened at a time stands in a late camera's frame stamped that much later.

    Parameters
    ----------
    keypoints_2d : Keypoints2D
        What each camera saw, with the cameras' own stamps taken for common ones.
    seconds : ndarray of shape (n_cameras,)
        Lateness of each camera.

    Returns
    -------
    Keypoints2D
        At the same times; missing where a camera has no frame on either side, or one of the two
        lacks the point.
    """
    seconds = np.asarray(seconds, dtype=np.float64)
    if seconds.shape != (len(keypoints_2d.cameras),):
        raise ValueError(
            f"seconds has shape {seconds.shape}; expected one for each of the "
            f"{len(keypoints_2d.cameras)} cameras."
        )
    times = keypoints_2d.times
    xy, likelihood = np.array(keypoints_2d.xy), np.array(keypoints_2d.likelihood)
    covariance = keypoints_2d.covariance
    covariance = None if covariance is None else np.array(covariance)
    # a gap in the stamps is a gap, not a slow movement
    longest = 2.5 * np.median(np.diff(times)) if len(times) > 1 else 0.0
    for i, late in enumerate(seconds):
        if late == 0 or len(times) < 2:
            continue
        wanted = times + late
        after = np.searchsorted(times, wanted - 1e-9 * max(abs(late), 1)).clip(1, len(times) - 1)
        before = after - 1
        share = (wanted - times[before]) / (times[after] - times[before])
        inside = (share > -1e-6) & (share < 1 + 1e-6) & (times[after] - times[before] < longest)
        share = share.clip(0, 1)
        exact = np.where(share > 0.5, after, before)
        whole = np.minimum(share, 1 - share) < 1e-6
        weight = share[:, np.newaxis, np.newaxis]
        old_xy, old_likelihood = keypoints_2d.xy[i], keypoints_2d.likelihood[i]
        mixed = (1 - weight[..., np.newaxis]) * old_xy[before] + weight[..., np.newaxis] * old_xy[
            after
        ]
        least = np.minimum(old_likelihood[before], old_likelihood[after])
        stay = whole[:, np.newaxis, np.newaxis]
        xy[i] = np.where(stay[..., np.newaxis], old_xy[exact], mixed)
        likelihood[i] = np.where(stay, old_likelihood[exact], least)
        xy[i][~inside] = np.nan
        likelihood[i][~inside] = 0.0
        if covariance is not None:
            old = keypoints_2d.covariance[i]
            square = weight[..., np.newaxis, np.newaxis]
            mixed = (1 - square) ** 2 * old[before] + square**2 * old[after]
            covariance[i] = np.where(stay[..., np.newaxis, np.newaxis], old[exact], mixed)
            covariance[i][~inside] = np.nan
    return replace(keypoints_2d, xy=xy, likelihood=likelihood, covariance=covariance)


def estimate_offsets(
    keypoints_2d: Keypoints2D,
    rig: CameraRig | None = None,
    *,
    max_seconds: float = 2.0,
    min_likelihood: float = 0.6,
) -> Offsets:
    """Estimate by how much each camera is late.

    With calibrated cameras: first the whole number of frames that brings the rays of each camera
    nearest to those of the ones before; then fractions, by regression of the errors in the images
    on the velocity of the points there, jointly for all cameras, until nothing changes.
    Without: the shift at which the speeds of the keypoints agree best.

    Parameters
    ----------
    keypoints_2d : Keypoints2D
        What each camera saw.
    rig : CameraRig, optional
        The cameras.
    max_seconds : float
        Largest lateness to look for.
    min_likelihood : float
        Views less likely than this are left out.

    Returns
    -------
    Offsets
        Relative to the first camera.

    Raises
    ------
    DataError
        If nothing moves, or cameras have nothing in common.
    """
    if keypoints_2d.n_frames < 10:
        raise DataError(
            f"The recording has {keypoints_2d.n_frames} frames; at least 10 are needed to compare "
            "movements. Take a longer one."
        )
    if not max_seconds > 0:
        raise ValueError(f"max_seconds is {max_seconds}; expected a duration above 0 s.")
    seen = keypoints_2d.confident(min_likelihood)
    step = float(np.median(np.diff(seen.times)))
    _check_movement(seen)
    furthest = min(int(round(max_seconds / step)), seen.n_frames // 2)
    coarse = _by_speed(seen, furthest) if rig is None else _by_rays(seen, rig, furthest)
    n = len(seen.cameras)
    if rig is None:
        parts = np.array_split(np.arange(seen.n_frames), 4)
        some = [
            _by_speed(seen.take(slice(part[0], part[-1] + 1)), min(furthest, len(part) // 2))
            for part in parts
        ]
        # a quarter of the recording errs twice as much as all of it
        errors = step * np.maximum(np.abs(np.array(some) - coarse).mean(axis=0), 0.5)
        errors[0] = 0.0
        return Offsets(seen.cameras, coarse * step, errors, np.zeros(n), np.full(n, np.inf))
    return _refined(seen, rig, coarse * step, step)


def _check_movement(seen):
    """Refuse a recording in which nothing moves."""
    move = np.linalg.norm(np.diff(seen.xy, axis=1), axis=-1)
    for i, name in enumerate(seen.cameras):
        usual = np.nanpercentile(move[i], 90) if np.isfinite(move[i]).any() else 0.0
        if not usual > _STILL:
            raise DataError(
                f"Camera {name!r} sees no movement (keypoints move by {usual:.2g} px from frame to "
                "frame): nothing tells how late it is. Take a recording in which the animal moves."
            )


def _by_speed(seen, furthest):
    """Find shifts by which the speeds of all keypoints agree best with the first camera's."""
    # over a tenth of a second, or noise would be most of it
    over = max(1, int(round(0.1 * seen.fps)))
    speed = np.linalg.norm(seen.xy[:, over:] - seen.xy[:, :-over], axis=-1)
    speed = speed.reshape(len(seen.cameras), speed.shape[1], -1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        speed = speed / np.nanmedian(speed, axis=1, keepdims=True)
    found = np.zeros(len(seen.cameras))
    shifts = np.arange(-furthest, furthest + 1)
    for i in range(1, len(seen.cameras)):
        scores = [_agreement(*_overlap(speed[0], speed[i], shift)) for shift in shifts]
        best = int(np.argmax(scores))
        found[i] = shifts[best]
        if 0 < best < len(shifts) - 1:
            a, b, c = scores[best - 1 : best + 2]
            found[i] += 0.5 * (a - c) / (a - 2 * b + c) if a - 2 * b + c < 0 else 0.0
    return found


def _overlap(first, second, shift):
    """Return what two cameras saw at the same time if the second is late by some frames."""
    if shift >= 0:
        return first[: len(first) - shift], second[shift:]
    return first[-shift:], second[: len(second) + shift]


def _agreement(first, second):
    """Return the correlation of what both saw."""
    both = np.isfinite(first) & np.isfinite(second)
    if np.count_nonzero(both) < 10:
        return -1.0
    a, b = first[both] - first[both].mean(), second[both] - second[both].mean()
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum() + 1e-30))


def _by_rays(seen, rig, furthest):
    """Find whole frames by which each camera's rays pass nearest to those of the ones before."""
    flat = []
    for name, xy in zip(seen.cameras, seen.xy, strict=True):
        camera = rig[name]
        ray = camera.intrinsics.undistort(xy.reshape(len(xy), -1, 2))
        ray = np.concatenate([ray, np.ones((*ray.shape[:-1], 1))], axis=-1) @ camera.rotation
        flat.append(ray / np.linalg.norm(ray, axis=-1, keepdims=True))
    found = np.zeros(len(flat), dtype=int)
    shifts = np.arange(-furthest, furthest + 1)
    order = shifts[np.argsort(np.abs(shifts), kind="stable")]
    for i in range(1, len(flat)):
        costs = []
        for shift in order:
            apart = []
            for j in range(i):
                one, other = _overlap(flat[j], flat[i], shift - found[j])
                step = max(1, len(one) // _FRAMES)
                base = rig[seen.cameras[i]].position - rig[seen.cameras[j]].position
                normal = np.cross(one[::step], other[::step])
                size = np.linalg.norm(normal, axis=-1)
                with np.errstate(invalid="ignore", divide="ignore"):
                    miss = np.abs(normal @ base) / (size * np.linalg.norm(base))
                if np.isfinite(miss).sum() >= 20:
                    apart.append(np.nanmedian(miss))
            costs.append(np.mean(apart) if apart else np.inf)
        if not np.isfinite(costs).any():
            raise DataError(
                f"Camera {seen.cameras[i]!r} shares too few keypoints with "
                f"{', '.join(map(repr, seen.cameras[:i]))} to say how late it is."
            )
        found[i] = order[int(np.argmin(costs))]
    return found.astype(float)


def _refined(seen, rig, seconds, step):
    """Find fractions of a frame, drift and standard errors by regression on velocities."""
    n = len(seen.cameras)
    spread = None
    for _ in range(_ROUNDS):
        shifted = shift_times(seen, seconds)
        if spread is None:
            spread = learn_spread(shifted, rig, min_likelihood=0.0)
        change, errors, drift, drift_errors = _regress(shifted, rig, spread)
        seconds = seconds + np.clip(change, -2 * step, 2 * step)
        if np.nanmax(np.abs(change)) < _SETTLED * step:
            break
        spread = learn_spread(shift_times(seen, seconds), rig, min_likelihood=0.0)
    errors[0] = drift_errors[0] = 0.0
    return Offsets(seen.cameras, seconds, errors, drift, drift_errors[:n])


def _regress(seen, rig, spread):
    """Return how much later each camera is than assumed, with standard errors, and the drift."""
    found = triangulate(seen, rig, min_likelihood=0.0, noise_px=spread)
    n, used = len(seen.cameras), found.used_views
    velocity = np.gradient(found.xyz, seen.times, axis=0)
    cameras = [rig[name] for name in seen.cameras]
    # image velocity by projecting ahead and behind: any lens
    slopes = np.stack(
        [
            (
                camera.project(found.xyz + 5e-3 * velocity)
                - camera.project(found.xyz - 5e-3 * velocity)
            )
            / 1e-2
            for camera in cameras
        ]
    )
    errors = seen.xy - np.stack([camera.project(found.xyz) for camera in cameras])
    good = used & np.isfinite(errors[..., 0] + slopes[..., 0])
    slopes = np.where(good[..., np.newaxis], slopes, 0.0)
    errors = np.where(good[..., np.newaxis], errors, 0.0)
    # keypoints that a detector places to one side have that error in every frame
    errors -= (
        errors.sum(axis=1, keepdims=True)
        / np.maximum(good.sum(axis=1, keepdims=True), 1)[..., np.newaxis]
    )
    weights = good / spread[:, np.newaxis, np.newaxis] ** 2
    rows = np.stack([projection_jacobian(camera, np.nan_to_num(found.xyz)) for camera in cameras])
    rows = np.nan_to_num(rows)
    normal = np.einsum("c...ki,c...kj,c...->...ij", rows, rows, weights)
    # a late camera pulls the points along: the errors that are left are those less the pull
    pulls = np.einsum("c...ki,c...k,c...->c...i", rows, slopes, weights)
    moved = np.einsum("...ij,c...j->c...i", np.linalg.pinv(normal, hermitian=True), pulls)
    middle = (seen.times - seen.times.mean())[:, np.newaxis, np.newaxis, np.newaxis, np.newaxis]
    blocks = np.array_split(np.arange(seen.n_frames), min(_BLOCKS, seen.n_frames))
    hessian = np.zeros((len(blocks), 2 * n, 2 * n))
    gradient = np.zeros((len(blocks), 2 * n))
    for i in range(n):
        # a late camera sees where things were: its errors are against the movement
        columns = np.einsum("...ki,c...i->...kc", rows[i], moved)
        columns[..., i] -= slopes[i]
        columns = np.concatenate([columns, columns * middle], axis=-1)
        for b, frames in enumerate(blocks):
            own = columns[frames].reshape(-1, 2 * n)
            weight = np.repeat(weights[i][frames].ravel(), 2)
            hessian[b] += (own * weight[:, np.newaxis]).T @ own
            gradient[b] += own.T @ (weight * errors[i][frames].ravel())
    offset, offset_error = _solved(hessian, gradient, np.arange(1, n))
    both, both_error = _solved(hessian, gradient, np.r_[1:n, n + 1 : 2 * n])
    zero = np.zeros(1)
    return (
        np.concatenate([zero, offset]),
        np.concatenate([zero, offset_error]),
        np.concatenate([zero, both[n - 1 :]]),
        np.concatenate([zero, both_error[n - 1 :]]),
    )


def _solved(hessian, gradient, kept):
    """Solve normal equations; standard errors from the scatter of blocks of time (sandwich)."""
    hessian, gradient = hessian[:, kept][:, :, kept], gradient[:, kept]
    inverse = np.linalg.pinv(hessian.sum(axis=0), hermitian=True)
    solution = inverse @ gradient.sum(axis=0)
    scatter = gradient - hessian @ solution
    scatter = scatter.T @ scatter * len(gradient) / max(len(gradient) - 1, 1)
    return solution, np.sqrt(np.maximum(np.diag(inverse @ scatter @ inverse), 0.0))
