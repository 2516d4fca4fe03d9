"""Several peaks for each keypoint: which one is it? Decided over time, or by all views jointly."""

from dataclasses import replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from calibration.cameras import CameraRig
from pose3d.keypoints import Candidates2D, Keypoints2D
from pose3d.triangulation.choosing import view_pairs
from pose3d.triangulation.fitting import ENTRIES, solve_symmetric
from pose3d.triangulation.rays import Rays

#: Points at once.
_BLOCK = 512

#: Squared error, in standard deviations, beyond which a candidate explains nothing.
_GATE = 20.0


def choose_over_time(candidates: Candidates2D, *, speed_px: float | None = None) -> Keypoints2D:
    """Choose the candidates that make the likeliest path through each image (Viterbi, 1967).

    Parameters
    ----------
    candidates : Candidates2D
        The peaks.
    speed_px : float, optional
        Standard deviation of the movement from frame to frame, px; that of the best peaks'
        median movement unless given.

    Returns
    -------
    Keypoints2D
        One peak, or none, for each frame: none where no peak is near the path.
    """
    xy, score = candidates.xy, candidates.likelihood
    n_cameras, n_frames, n_individuals, n_keypoints, n, _ = xy.shape
    series = xy.transpose(0, 2, 3, 1, 4, 5).reshape(-1, n_frames, n, 2)
    weight = score.transpose(0, 2, 3, 1, 4).reshape(-1, n_frames, n)
    there = np.isfinite(series).all(axis=-1) & (weight > 0)
    best = series[:, :, 0]
    steps = np.linalg.norm(np.diff(best, axis=1), axis=-1)
    speeds = np.full(len(series), speed_px, dtype=float) if speed_px else _speeds(steps)
    chosen = _likeliest(series, weight, there, speeds)
    every, frames = np.arange(len(series))[:, np.newaxis], np.arange(n_frames)
    index = chosen.clip(0)
    path = np.where((chosen >= 0)[..., np.newaxis], series[every, frames, index], np.nan)
    sure = np.where(chosen >= 0, weight[every, frames, index], 0.0)
    shape = (n_cameras, n_individuals, n_keypoints, n_frames)
    return candidates.chosen(
        path.reshape(*shape, 2).transpose(0, 3, 1, 2, 4), sure.reshape(shape).transpose(0, 3, 1, 2)
    )


def _speeds(steps):
    """Return each path's usual movement: medians do not mind jumps."""
    with np.errstate(invalid="ignore"):
        ordered = np.sort(steps, axis=1)
    count = np.isfinite(ordered).sum(axis=1)
    middle = ordered[np.arange(len(steps)), np.clip(count // 2, 0, steps.shape[1] - 1)]
    usual = np.where(count > 0, middle, 1.0) / 1.177  # a Rayleigh variable's median
    return np.maximum(usual, 0.5)


def _likeliest(series, weight, there, speeds):
    """Find for each path the candidate of each frame, -1 for none.

    The last state of the program is "none": it keeps the place where the point was last seen,
    and its expected movement grows with the frames that have passed.
    """
    n_series, n_frames, n, _ = series.shape
    none = np.log(0.01)
    with np.errstate(divide="ignore"):
        prior = np.where(there, np.log(np.maximum(weight, 1e-6)), -np.inf)
    total = np.concatenate([prior[:, 0], np.full((n_series, 1), none)], axis=1)
    place = np.concatenate([series[:, 0], np.full((n_series, 1, 2), np.nan)], axis=1)
    since = np.zeros((n_series, n + 1))
    back = np.empty((n_frames, n_series, n + 1), dtype=np.int8)
    rows = np.arange(n_series)[:, np.newaxis]
    for frame in range(1, n_frames):
        here = series[:, frame]
        spread = (speeds[:, np.newaxis] ** 2) * (since + 1)
        off = ((here[:, :, np.newaxis] - place[:, np.newaxis]) ** 2).sum(axis=-1)
        # a heavy tail: an animal may jump, and then anything is as good
        move = -np.minimum(0.5 * off / spread[:, np.newaxis], 12.0)
        move = np.where(np.isnan(move), -6.0, move)
        ways = total[:, np.newaxis] + move
        came = ways.argmax(axis=-1)
        stay = total.argmax(axis=-1)
        back[frame, :, :n], back[frame, :, n] = came, stay
        value = np.take_along_axis(ways, came[..., np.newaxis], axis=-1)[..., 0] + prior[:, frame]
        lost = total[rows[:, 0], stay] + none
        place = np.concatenate([here, place[rows[:, 0], stay][:, np.newaxis]], axis=1)
        since = np.concatenate(
            [np.zeros((n_series, n)), since[rows[:, 0], stay][:, np.newaxis] + 1], axis=1
        )
        total = np.concatenate([value, lost[:, np.newaxis]], axis=1)
    state = total.argmax(axis=1)
    chosen = np.empty((n_series, n_frames), dtype=int)
    for frame in range(n_frames - 1, -1, -1):
        chosen[:, frame] = state
        if frame:
            state = back[frame, rows[:, 0], state]
    chosen[chosen == n] = -1
    return chosen


def choose_by_views(
    candidates: Candidates2D,
    rig: CameraRig,
    *,
    min_likelihood: float = 0.1,
    noise_px: float = 2.0,
) -> Keypoints2D:
    """Choose in all views jointly the candidates that see one point.

    Every pair of candidates of two views is a hypothesis: where their rays meet. It is scored
    by the nearest candidate of each view, a view without one near counting a fixed amount, and by
    their likelihoods. Cost: pairs of views times candidates squared, times views.

    Parameters
    ----------
    candidates : Candidates2D
        The peaks; cameras are matched by name.
    rig : CameraRig
        The cameras.
    min_likelihood : float
        Peaks less likely than this are left out.
    noise_px : float
        Standard deviation of a peak's coordinates, px.

    Returns
    -------
    Keypoints2D
        One peak a view, or none; where fewer than two views agree, each view's likeliest.
    """
    cameras = [rig[name] for name in candidates.cameras]
    n_cameras, n = len(cameras), candidates.xy.shape[-2]
    shape = candidates.xy.shape[1:4]
    xy = candidates.xy.reshape(n_cameras, -1, n, 2)
    likelihood = candidates.likelihood.reshape(n_cameras, -1, n)
    chosen = np.empty((n_cameras, xy.shape[1]), dtype=int)
    rays_of = [Rays(camera) for camera in cameras]
    for start in range(0, xy.shape[1], _BLOCK):
        block = slice(start, start + _BLOCK)
        chosen[:, block] = _joint(
            cameras, rays_of, xy[:, block], likelihood[:, block], min_likelihood, noise_px
        )
    index = chosen.clip(0)[..., np.newaxis]
    found = np.take_along_axis(xy, index[..., np.newaxis], axis=2)[:, :, 0]
    sure = np.take_along_axis(likelihood, index, axis=2)[..., 0]
    found = np.where((chosen >= 0)[..., np.newaxis], found, np.nan)
    sure = np.where(chosen >= 0, sure, 0.0)
    return candidates.chosen(found.reshape(n_cameras, *shape, 2), sure.reshape(n_cameras, *shape))


def _joint(cameras, rays_of, xy, likelihood, min_likelihood, noise_px):
    """Choose for some points: index of the candidate in each view, -1 for none."""
    n_cameras, n_points, n, _ = xy.shape
    there = np.isfinite(xy).all(axis=-1) & (likelihood >= min_likelihood)
    rays = np.stack(
        [
            found(np.where(there[i].ravel(), xy[i].reshape(-1, 2).T, 0.0)).reshape(2, n_points, n)
            for i, found in enumerate(rays_of)
        ]
    )
    there &= np.isfinite(rays[:, 0])
    rays = np.nan_to_num(rays)
    planes = np.stack([_planes(cameras[i], rays[i]) for i in range(n_cameras)])
    with np.errstate(divide="ignore"):
        unlikely = np.where(there, -2 * np.log(np.maximum(likelihood, 1e-3)), np.inf)
    alone = _GATE + 4.0
    best = np.full(n_points, np.inf)
    chosen = np.where(there.any(axis=-1), unlikely.argmin(axis=-1), -1)
    for first, second in np.concatenate(view_pairs(n_cameras)):
        for a in range(n):
            for b in range(n):
                both = there[first, :, a] & there[second, :, b]
                if not both.any():
                    continue
                meeting = planes[first, :, :, a] + planes[second, :, :, b]
                point = solve_symmetric(meeting[:6], meeting[6:])
                cost, nearest = np.zeros(n_points), np.empty((n_cameras, n_points), dtype=int)
                agree = np.zeros(n_points, dtype=int)
                for i, camera in enumerate(cameras):
                    place = camera.rotation @ point + camera.tvec[:, np.newaxis]
                    with np.errstate(invalid="ignore", divide="ignore"):
                        flat = np.where(place[2] > 0, place[:2] / place[2], np.nan)
                    focal = camera.intrinsics.matrix[0, 0] / noise_px
                    off = ((rays[i] - flat[..., np.newaxis]) ** 2).sum(axis=0) * focal**2
                    off = np.where(there[i] & (off < _GATE), off + unlikely[i], np.inf)
                    own = off.argmin(axis=-1)
                    least = np.take_along_axis(off, own[:, np.newaxis], axis=1)[:, 0]
                    found = np.isfinite(least)
                    cost += np.where(found, least, np.where(there[i].any(axis=-1), alone, 0.0))
                    agree += found
                    nearest[i] = np.where(found, own, -1)
                better = both & (agree >= 2) & (cost < best)
                best = np.where(better, cost, best)
                chosen = np.where(better, nearest, chosen)
    return chosen


def _planes(camera, rays):
    """Return the normal equations of each ray's two planes, (9, n_points, n)."""
    motion, focal = camera.camera_from_world, camera.intrinsics.matrix[0, 0]
    found = np.zeros((9, *rays.shape[1:]))
    for axis in range(2):
        plane = motion[2, :3, np.newaxis, np.newaxis] * rays[axis]
        plane = focal * (plane - motion[axis, :3, np.newaxis, np.newaxis])
        offset = focal * (motion[axis, 3] - rays[axis] * motion[2, 3])
        for entry, (j, k) in enumerate(ENTRIES):
            found[entry] += plane[j] * plane[k]
        found[6:] += plane * offset
    return found


def match_individuals(
    keypoints_2d: Keypoints2D, rig: CameraRig, *, min_likelihood: float = 0.1, far_px: float = 40.0
) -> Keypoints2D:
    """Give each animal one name in all views: exchange individuals, frame by frame.

    Cameras are joined one after the other. A camera's individuals are given to the animals of
    those before by the assignment of least cost (Kuhn, 1955), the cost being how far, on
    average over keypoints, their rays pass from each other in pixels, `far_px` at most.

    Parameters
    ----------
    keypoints_2d : Keypoints2D
        What each camera saw; which animal is first may differ from camera to camera.
    rig : CameraRig
        The cameras.
    min_likelihood : float
        Points less likely than this are not compared.
    far_px : float
        Distance that counts as no agreement at all, px.

    Returns
    -------
    Keypoints2D
        The same points; the order of the first camera stays.
    """
    n = len(keypoints_2d.individuals)
    if n < 2 or len(keypoints_2d.cameras) < 2:
        return keypoints_2d
    xy = np.where(
        (keypoints_2d.likelihood >= min_likelihood)[..., np.newaxis], keypoints_2d.xy, np.nan
    )
    rays = []
    for name, seen in zip(keypoints_2d.cameras, xy, strict=True):
        camera = rig[name]
        flat = camera.intrinsics.undistort(seen)
        rays.append(np.concatenate([flat, np.ones((*flat.shape[:-1], 1))], -1) @ camera.rotation)
    order = np.tile(np.arange(n), (len(xy), xy.shape[1], 1))
    frames = np.arange(xy.shape[1])[:, np.newaxis]
    for i in range(1, len(xy)):
        total, count = np.zeros((2, xy.shape[1], n, n))
        for j in range(i):
            one = rays[j][frames, order[j]]
            apart = _apart_px(rig, keypoints_2d.cameras[j], keypoints_2d.cameras[i], one, rays[i])
            near = np.minimum(apart, far_px)
            total += np.nansum(near, axis=-1)
            count += np.isfinite(near).sum(axis=-1)
        cost = np.where(count > 0, total / np.maximum(count, 1), far_px)
        for frame in np.flatnonzero((count > 0).any(axis=(1, 2))):
            order[i, frame] = linear_sum_assignment(cost[frame])[1]
    index = order[:, :, :, np.newaxis]
    covariance = keypoints_2d.covariance
    return replace(
        keypoints_2d,
        xy=np.take_along_axis(keypoints_2d.xy, index[..., np.newaxis], axis=2),
        likelihood=np.take_along_axis(keypoints_2d.likelihood, index, axis=2),
        covariance=None
        if covariance is None
        else np.take_along_axis(covariance, index[..., np.newaxis, np.newaxis], axis=2),
    )


def _apart_px(rig, first, second, one, other):
    """Return how far rays pass from each other, px, (n_frames, n, n, n_keypoints)."""
    a, b = rig[first], rig[second]
    base = b.position - a.position
    one, other = one[:, :, np.newaxis], other[:, np.newaxis]
    normal = np.cross(one, other)
    with np.errstate(invalid="ignore", divide="ignore"):
        size = np.linalg.norm(normal, axis=-1)
        distance = np.abs(normal @ base) / size
        # depths at the nearest points, from the triple products
        depth_one = (np.cross(np.broadcast_to(base, other.shape), other) * normal).sum(-1) / size**2
        depth_two = (np.cross(np.broadcast_to(base, one.shape), one) * normal).sum(-1) / size**2
        depth = np.maximum(0.5 * (np.abs(depth_one) + np.abs(depth_two)), 1e-9)
        focal = 0.5 * (a.intrinsics.matrix[0, 0] + b.intrinsics.matrix[0, 0])
        apart = distance / depth * focal
        met = (depth_one > 0) & (depth_two > 0)
        return np.where(met | np.isnan(apart), apart, np.inf)
