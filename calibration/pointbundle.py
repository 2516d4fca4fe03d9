"""Bundle adjustment on free points: cameras of known lens, and points that several of them saw.

`calibration.bundle` fits rigid boards; here every point stands for itself, as scene points and
an animal's keypoints do. Unknowns are, per camera, a rotation increment and ``tvec``, and per
point its place; lenses are given. The points are eliminated (Schur complement, 3 x 3 blocks)
and the cameras solved for densely, by Levenberg-Marquardt with a robust loss.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calibration import lenses
from calibration.arrays import float_array
from calibration.cameras import Camera, CameraRig
from calibration.errors import CalibrationError
from calibration.losses import most, weigh
from calibration.rotations import cross_matrix, rotation_matrices, rotation_vectors

#: Median length of a residual whose two coordinates have standard deviation one.
_MEDIAN_LENGTH = np.sqrt(2 * np.log(2))
#: Views farther off, in standard deviations, are judged wrong: 4 in a million Gaussian ones.
WRONG = 5.0
#: Robust scales stay above this, in px, so that exact data do not divide by zero.
_LEAST_SCALE_PX = 1e-3


@dataclass(frozen=True, eq=False)
class PointBundle:
    """Cameras and points that fit best.

    Attributes
    ----------
    rig : CameraRig
        The cameras, with the covariance of their parameters (lenses: zero); None where
        ``sigma_px`` is not known.
    points : ndarray of shape (n_points, 3)
        Points in the rig's unit; NaN where they were at the start.
    residuals : ndarray of shape (n_cameras, n_points, 2)
        Seen minus projected in pixels, wrong views included; NaN where nothing was seen.
    used : ndarray of bool of shape (n_cameras, n_points)
        Views that were fitted.
    sigma_px : float
        Standard deviation of a coordinate of weight one, from the residuals used.
    spare : int
        Coordinates seen more than unknowns.
    n_iterations : int
        Linear systems solved.
    """

    rig: CameraRig
    points: np.ndarray
    residuals: np.ndarray
    used: np.ndarray
    sigma_px: float
    spare: int
    n_iterations: int


def adjust_points(
    rig: CameraRig,
    points_2d: np.ndarray,
    points_3d: np.ndarray,
    *,
    weights: np.ndarray | None = None,
    held_cameras: Sequence[str] = (),
    point_sd: np.ndarray | float = np.inf,
    hold_distance: tuple[str, str] | None = None,
    robust: bool = True,
    sigma_prior: tuple[float, float] = (1.0, 0.0),
    tolerance: float = 1e-10,
    max_iterations: int = 60,
) -> PointBundle:
    """Fit cameras and points to all views together.

    Robust in three steps, as `bundle_adjust` is: Huber's loss, Tukey's, and least squares
    without the views that lie more than five standard deviations off. Each camera has its own
    scale.

    Parameters
    ----------
    rig : CameraRig
        First values; lenses are kept.
    points_2d : ndarray of shape (n_cameras, n_points, 2)
        Where each camera saw each point, in pixels; NaN where it did not.
    points_3d : ndarray of shape (n_points, 3)
        First values in the rig's unit; NaN leaves a point out.
    weights : ndarray of shape (n_cameras, n_points), optional
        Inverse variance of each view up to a factor; 0 leaves it out.
    held_cameras : sequence of str
        Cameras that stay where they are.
    point_sd : float or ndarray of shape (n_points,)
        Standard deviation with which each coordinate of a point is known: 0 holds it,
        infinity frees it. Points that are neither held nor known need two views.
    hold_distance : tuple of two str, optional
        Cameras whose distance stays as it is: the scale, where nothing else gives it.
    robust : bool
        Whether wrong views are found and left out.
    sigma_prior : tuple of float
        Standard deviation in px believed beforehand, and the number of coordinates that this
        belief is worth.
    tolerance, max_iterations
        Each step ends when the loss falls by a smaller share, or after so many systems.

    Returns
    -------
    PointBundle

    Raises
    ------
    CalibrationError
        If there are fewer coordinates than unknowns.
    """
    problem = _Problem(
        rig, points_2d, points_3d, weights, held_cameras, point_sd, hold_distance, sigma_prior[0]
    )
    state = (tuple(rig.cameras), problem.first)
    everything = problem.seen
    used, count = everything, 0
    if robust:
        scales = None
        for _ in range(10):
            lengths = problem.lengths(state)
            old, scales = scales, problem.scales(lengths, everything)
            if old is not None and np.all(np.abs(scales - old) < 0.05 * scales):
                break
            state, n = problem.minimise(state, everything, ("huber", scales), 1e-3, 10)
            count += n
        for _ in range(3):
            scales = problem.scales(problem.lengths(state), everything)
            state, n = problem.minimise(state, everything, ("tukey", scales), 1e-4, 15)
            count += n
        lengths = problem.lengths(state)
        with np.errstate(invalid="ignore"):
            limits = WRONG * problem.scales(lengths, everything)
            used = everything & (lengths < limits[:, np.newaxis])
        used = used & (problem.enough(used) | problem.fixed)
    state, n = problem.minimise(state, used, None, tolerance, max_iterations)
    return problem.result(state, used, count + n, sigma_prior)


class _Problem:
    """What stays the same through the iterations; states are cameras and points."""

    def __init__(self, rig, points_2d, points_3d, weights, held, point_sd, distance, sigma):
        self.rig, self.distance = rig, distance
        self.seen_at = float_array("points_2d", points_2d, (len(rig), "n_points", 2))
        n_points = self.seen_at.shape[1]
        self.first = np.array(float_array("points_3d", points_3d, (n_points, 3)))
        for name in (*held, *(distance or ())):
            rig[name]
        sd = np.broadcast_to(np.asarray(point_sd, dtype=np.float64), (n_points,))
        self.fixed = sd == 0
        # a point's prior in square pixels per square unit, like everything in the equations
        with np.errstate(divide="ignore"):
            self.prior = np.where(self.fixed | ~np.isfinite(sd), 0.0, (sigma / sd) ** 2)
        self.weights = np.ones(self.seen_at.shape[:2])
        if weights is not None:
            self.weights = np.nan_to_num(float_array("weights", weights, self.weights.shape))
        self.seen = np.isfinite(self.seen_at).all(axis=-1) & np.isfinite(self.first).all(axis=-1)
        self.seen &= self.weights > 0
        self.seen &= self.enough(self.seen) | self.fixed
        for camera, row in zip(rig, self.seen, strict=True):
            if camera.name not in held and np.count_nonzero(row) < 3:
                raise CalibrationError(
                    f"Camera {camera.name!r} sees {np.count_nonzero(row)} of the points that can "
                    "be used; at least 3, and 6 for a check, are needed. Mark more points in it."
                )
        self.columns, start = [], 0
        for camera in rig:
            size = 0 if camera.name in held else 6
            self.columns.append(slice(start, start + size))
            start += size
        self.n_free = start

    def enough(self, used):
        """Tell which points are determined by the views used."""
        return (used.sum(axis=0) >= 2) | (self.prior > 0)

    def lengths(self, state):
        """Weighted reprojection errors; infinite behind a camera, NaN where nothing was seen."""
        lengths = np.linalg.norm(self.residuals(state), axis=-1) * np.sqrt(self.weights)
        return np.where(self.seen & np.isnan(lengths), np.inf, lengths)

    def scales(self, lengths, seen):
        """Robust standard deviation of a coordinate for each camera."""
        # free points follow their views: of two, residuals keep a quarter of the coordinates
        free = np.count_nonzero(seen.any(axis=0) & ~self.fixed & (self.prior == 0))
        views = max(np.count_nonzero(seen), 1)
        kept = max(1 - (3 * free + self.n_free) / (2 * views), 0.05)
        scales = np.ones(len(lengths))
        for i, row in enumerate(lengths):
            if seen[i].any():
                scales[i] = np.median(row[seen[i]]) / _MEDIAN_LENGTH / np.sqrt(kept)
        return np.clip(scales, _LEAST_SCALE_PX, 1e6)

    def residuals(self, state):
        cameras, points = state
        return self.seen_at - np.stack([camera.project(points) for camera in cameras])

    def normals(self, state, used, loss):
        """Loss; equations of cameras and of points, and what mixes them."""
        cameras, points = state
        n_points = len(points)
        cost = float(self.prior @ np.nan_to_num((points - self.first) ** 2).sum(axis=1))
        cam, cam_right = np.zeros((self.n_free,) * 2), np.zeros(self.n_free)
        block = np.zeros((n_points, 3, 3))
        block[:, range(3), range(3)] = self.prior[:, np.newaxis]
        right = np.nan_to_num(self.prior[:, np.newaxis] * (self.first - points))
        mixed = np.zeros((n_points, self.n_free, 3))
        for i, camera in enumerate(cameras):
            rows = np.flatnonzero(used[i])
            turned = points[rows] @ camera.rotation.T
            place = turned + camera.tvec
            ahead = place[:, 2] > 0
            if not ahead.all():
                if loss is None:
                    return (np.inf,)
                # a view that has gone behind its camera costs as much as a wrong one
                cost += most(loss, i) * np.count_nonzero(~ahead)
                rows, turned, place = rows[ahead], turned[ahead], place[ahead]
            residual = self.seen_at[i, rows] - camera.intrinsics.project(place)
            weight, view_cost = weigh(residual, self.weights[i, rows], loss, i)
            cost += view_cost
            slope = _slope(camera.intrinsics, place)
            to_point = slope @ camera.rotation
            heavy = np.swapaxes(to_point, 1, 2) * weight[:, np.newaxis, np.newaxis]
            block[rows] += heavy @ to_point
            right[rows] += np.einsum("pij,pj->pi", heavy, residual)
            columns = self.columns[i]
            if columns.stop > columns.start:
                to_camera = np.concatenate([-slope @ cross_matrix(turned), slope], axis=2)
                heavy = np.swapaxes(to_camera, 1, 2) * weight[:, np.newaxis, np.newaxis]
                cam[columns, columns] = np.tensordot(heavy, to_camera, ([0, 2], [0, 1]))
                cam_right[columns] = np.tensordot(heavy, residual, ([0, 2], [0, 1]))
                mixed[rows, columns] = heavy @ to_point
        return cost, cam, cam_right, block, right, mixed

    def reduce(self, system, damping):
        """Eliminate the points; return the cameras' equations and what brings points back."""
        _, cam, cam_right, block, right, mixed = system
        diagonal = np.arange(3)
        loose = self.fixed | (block[:, diagonal, diagonal] <= 0).any(axis=1)
        size = np.sqrt(np.where(loose[:, np.newaxis], 1.0, block[:, diagonal, diagonal]))
        block = block / (size[:, :, np.newaxis] * size[:, np.newaxis])
        block[:, diagonal, diagonal] = 1.0 + damping + 1e-12
        inverse = np.linalg.inv(block) / (size[:, :, np.newaxis] * size[:, np.newaxis])
        inverse[loose] = 0.0
        carried = mixed @ inverse
        reduced = cam - np.tensordot(carried, mixed, ([0, 2], [0, 2]))
        reduced[np.diag_indices(self.n_free)] += damping * cam.diagonal()
        return reduced, cam_right - np.tensordot(carried, right, ([0, 2], [0, 1])), inverse

    def allowed(self, cameras):
        """Directions in which the cameras' parameters may change, (n_free, n)."""
        everything = np.eye(self.n_free)
        if self.distance is None:
            return everything
        names = [camera.name for camera in cameras]
        first, second = (names.index(name) for name in self.distance)
        apart = cameras[second].position - cameras[first].position
        row = np.zeros(self.n_free)
        for i, sign in ((first, -1.0), (second, 1.0)):
            columns = self.columns[i]
            if columns.stop > columns.start:
                turn = np.hstack([cross_matrix(cameras[i].tvec), np.eye(3)])
                row[columns] = -sign * apart @ cameras[i].rotation.T @ turn
        length = np.linalg.norm(row)
        if length == 0:
            return everything
        return np.linalg.svd((row / length)[np.newaxis])[2][1:].T

    def step(self, state, system, damping):
        reduced, gradient, inverse = self.reduce(system, damping)
        change = np.zeros(self.n_free)
        if self.n_free:
            size = np.sqrt(np.maximum(reduced.diagonal(), 1e-300))
            ways = self.allowed(state[0])
            ways = ways if ways.shape[0] == ways.shape[1] else _orthonormal(size, ways)
            scaled = ways.T @ (reduced / (size[:, np.newaxis] * size)) @ ways
            lower = np.linalg.cholesky(scaled)
            half = np.linalg.solve(lower, ways.T @ (gradient / size))
            change = ways @ np.linalg.solve(lower.T, half) / size
        left = system[4] - np.tensordot(system[5], change, (1, 0))
        return change, np.einsum("pij,pj->pi", inverse, left)

    def moved(self, state, change, shift):
        cameras = []
        for camera, columns in zip(state[0], self.columns, strict=True):
            delta = change[columns]
            if delta.size:
                rotation = rotation_matrices(delta[:3]) @ camera.rotation
                camera = Camera(
                    camera.name,
                    camera.intrinsics,
                    rotation_vectors(rotation),
                    camera.tvec + delta[3:],
                )
            cameras.append(camera)
        points = state[1] + shift
        if self.distance is not None:
            cameras, points = self._rescaled(tuple(cameras), points)
        return tuple(cameras), points

    def _rescaled(self, cameras, points):
        """Bring the held distance back, exactly, about a camera that stays."""
        by_name = {camera.name: camera for camera in cameras}
        first, second = (by_name[name].position for name in self.distance)
        was = np.linalg.norm(
            self.rig[self.distance[1]].position - self.rig[self.distance[0]].position
        )
        factor = was / np.linalg.norm(second - first)
        held = [c.stop == c.start for c in self.columns]
        centre = cameras[held.index(True)].position if any(held) else first
        shift = (1 - factor) * centre
        new = []
        for camera in cameras:
            position = factor * camera.position + shift
            new.append(
                Camera(camera.name, camera.intrinsics, camera.rvec, -camera.rotation @ position)
            )
        return tuple(new), factor * points + shift

    def minimise(self, state, used, loss, tolerance, max_iterations):
        damping, iteration = 1e-4, 0
        system = self.normals(state, used, loss)
        if not np.isfinite(system[0]):
            raise CalibrationError(
                "Points start behind cameras that saw them: the first values contradict the views."
            )
        while iteration < max_iterations and damping <= 1e8:
            iteration += 1
            try:
                trial = self.moved(state, *self.step(state, system, damping))
                new = self.normals(trial, used, loss)
            except (np.linalg.LinAlgError, ValueError):
                new = (np.inf,)
            if new[0] <= system[0]:
                fall = (system[0] - new[0]) / max(system[0], 1e-30)
                state, system = trial, new
                damping = max(damping / 10, 1e-12)
                if fall < tolerance:
                    break
            else:
                damping *= 10
        return state, iteration

    def result(self, state, used, count, sigma_prior):
        system = self.normals(state, used, None)
        ways = self.allowed(state[0])
        free = ~self.fixed & (used.any(axis=0))
        known = np.count_nonzero(self.prior[free] > 0)
        spare = 2 * np.count_nonzero(used) + 3 * known
        spare -= ways.shape[1] + 3 * np.count_nonzero(free)
        believed, worth = sigma_prior
        if spare < 0 or spare + worth <= 0:
            raise CalibrationError(
                f"{np.count_nonzero(used)} views of points are not enough for {ways.shape[1]} "
                f"unknowns of cameras and {np.count_nonzero(free)} points. Mark more points, in "
                "more cameras."
            )
        variance = (system[0] + worth * believed**2) / (spare + worth)
        sizes = [camera.n_parameters for camera in state[0]]
        covariance = np.zeros((sum(sizes),) * 2)
        if self.n_free:
            reduced, *_ = self.reduce(system, 0.0)
            size = np.sqrt(np.maximum(reduced.diagonal(), 1e-300))
            ways = ways if ways.shape[0] == ways.shape[1] else _orthonormal(size, ways)
            scaled = ways.T @ (reduced / (size[:, np.newaxis] * size)) @ ways
            inverse = ways @ np.linalg.pinv(scaled, hermitian=True) @ ways.T
            starts = np.cumsum([0, *sizes[:-1]])
            rows = np.concatenate(
                [
                    start + np.arange(columns.stop - columns.start)
                    for start, columns in zip(starts, self.columns, strict=True)
                ]
            )
            covariance[np.ix_(rows, rows)] = variance * inverse / (size[:, np.newaxis] * size)
        rig = CameraRig(state[0], self.rig.units, covariance, self.rig.world)
        points = np.where((free | self.fixed)[:, np.newaxis], state[1], np.nan)
        residuals = self.residuals(state)
        return PointBundle(rig, points, residuals, used, float(np.sqrt(variance)), spare, count)


def _orthonormal(size, ways):
    """Directions allowed in scaled parameters, orthonormal there."""
    return np.linalg.qr(size[:, np.newaxis] * ways)[0]


def _slope(lens, place):
    """Differentiate image points by points in the camera, (n, 2, 3)."""
    normalised = place[:, :2] / place[:, 2:]
    bent = lenses.distort_jacobian(normalised, lens.dist, lens.model)
    slope = np.empty((len(place), 2, 3))
    slope[..., :2] = lens.matrix[:2, :2] @ bent / place[:, 2, np.newaxis, np.newaxis]
    slope[..., 2] = -np.einsum("pij,pj->pi", slope[..., :2], normalised)
    return slope
