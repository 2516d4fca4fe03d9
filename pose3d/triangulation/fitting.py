"""Fit world points to what cameras saw of them, thousands at once.

Arrays run coordinates first, ``(3, n_points)``, so that every inner loop is long and its
working set stays in the processor's cache. Errors are *whitened*: divided by their expected
spread, so that their squares add up to a chi-square.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from calibration import lenses
from calibration.cameras import Camera

#: Entries of a symmetric (3, 3) matrix, in the order in which they are kept.
ENTRIES = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))

#: Which of them stands at each of the matrix's nine places.
SQUARE = (0, 1, 2, 1, 3, 4, 2, 4, 5)

#: A step that lessens the chi-square by less than this is the last one: it is about half a
#: standard deviation of the point, over which perspective and lens are straight.
_SMALL_GAIN = 0.3

#: Steps after which a fit that still moves is left where it is.
_MAX_STEPS = 8


@dataclass(frozen=True, eq=False)
class Views:
    """What cameras saw of some points.

    Attributes
    ----------
    cameras : sequence of Camera
        The n_cameras cameras.
    pixels : ndarray of shape (n_cameras, 2, n_points)
        Image points in pixels; anything finite where a camera saw nothing.
    whiten : ndarray of shape (n_cameras, 1 or 3, n_points)
        Inverse standard deviation in 1/px, or the entries a, b, c of the matrix
        ``[[a, b], [0, c]]`` that whitens an error; zero where a camera saw nothing.
    """

    cameras: Sequence[Camera]
    pixels: np.ndarray
    whiten: np.ndarray

    @property
    def seen(self) -> np.ndarray:
        """Whether each camera saw each point, ndarray of bool of shape (n_cameras, n_points)."""
        return self.whiten[:, 0] > 0

    def take(self, points: np.ndarray) -> "Views":
        """Return some of the points, by index or mask."""
        return Views(self.cameras, self.pixels[:, :, points], self.whiten[:, :, points])

    def whitened_lens(self, camera: int) -> tuple:
        """Return the entries p, q, r of whitening times the lens' matrix, ``[[p, q], [0, r]]``.

        The entry q is None where it is zero everywhere.
        """
        (fx, skew, _), (_, fy, _) = self.cameras[camera].intrinsics.matrix[:2]
        scale = self.whiten[camera]
        if len(scale) == 1:
            return scale[0] * fx, scale[0] * skew if skew else None, scale[0] * fy
        return scale[0] * fx, scale[0] * skew + scale[1] * fy, scale[2] * fy

    def whitened_pixels(self, camera: int) -> tuple[np.ndarray, np.ndarray]:
        """Return whitened image points, from the principal point."""
        scale, (cx, cy) = self.whiten[camera], self.cameras[camera].intrinsics.matrix[:2, 2]
        across, down = self.pixels[camera, 0] - cx, self.pixels[camera, 1] - cy
        if len(scale) == 1:
            return across * scale[0], down * scale[0]
        return across * scale[0] + down * scale[1], down * scale[2]

    def distances(self, residuals: np.ndarray) -> np.ndarray:
        """Return the lengths in pixels of whitened errors; NaN where a camera saw nothing."""
        with np.errstate(invalid="ignore", divide="ignore"):
            if self.whiten.shape[1] == 1:
                return np.sqrt((residuals**2).sum(axis=1)) / self.whiten[:, 0]
            down = residuals[:, 1] / self.whiten[:, 2]
            across = (residuals[:, 0] - self.whiten[:, 1] * down) / self.whiten[:, 0]
            return np.sqrt(across * across + down * down)


@dataclass(eq=False)
class Errors:
    """How well points explain their views, and which way they should move.

    Attributes
    ----------
    xyz : ndarray of shape (3, n_points)
        The points.
    residuals : ndarray of shape (n_cameras, 2, n_points)
        Whitened errors, seen minus projected; zero where a camera saw nothing. Points behind a
        camera count as their mirror image.
    rows : ndarray of shape (n_cameras, 2, 3, n_points)
        What a step of the point takes off the residuals, per unit of length.
    behind : ndarray of bool of shape (n_cameras, n_points)
        Whether the point is not in front of the camera.
    used : ndarray of bool of shape (n_cameras, n_points)
        The believed views.
    normal : ndarray of shape (6, n_points)
        Entries of the points' information matrix, the inverse of their covariance.
    """

    xyz: np.ndarray
    residuals: np.ndarray
    rows: np.ndarray
    behind: np.ndarray
    used: np.ndarray
    normal: np.ndarray

    @cached_property
    def squares(self) -> np.ndarray:
        """Squared whitened error of each view, ndarray of shape (n_cameras, n_points)."""
        return self.residuals[:, 0] ** 2 + self.residuals[:, 1] ** 2

    @cached_property
    def chi2(self) -> np.ndarray:
        """Sum of the squares of the believed views, ndarray of shape (n_points,)."""
        return (self.squares * self.used).sum(axis=0)

    @cached_property
    def step(self) -> np.ndarray:
        """The Gauss-Newton step (3, n_points); NaN where it is not determined."""
        return solve_symmetric(self.normal, self._gradient)

    @cached_property
    def gain(self) -> np.ndarray:
        """By how much the step should lessen `chi2`; NaN where there is no step."""
        return (self.step * self._gradient).sum(axis=0)

    @cached_property
    def _gradient(self):
        """Right-hand side of the normal equations."""
        gradient = np.zeros((3, self.xyz.shape[1]))
        for rows, residuals, used in zip(self.rows, self.residuals, self.used, strict=True):
            gradient += rows[0] * (residuals[0] * used)
            gradient += rows[1] * (residuals[1] * used)
        return gradient

    def stepped(self, move: np.ndarray) -> "Errors":
        """Return points moved by their steps where a mask (n_points,) says so, to first order."""
        step = np.where(move, self.step, 0.0)
        taken = self.rows[:, :, 0] * step[0]
        taken += self.rows[:, :, 1] * step[1]
        taken += self.rows[:, :, 2] * step[2]
        return replace(self, xyz=self.xyz + step, residuals=self.residuals - taken)

    def take(self, points: np.ndarray) -> "Errors":
        """Return some of the points, by index or mask."""
        return Errors(**{name: getattr(self, name)[..., points] for name in _FIELDS})

    def put(self, points: np.ndarray, other: "Errors") -> None:
        """Replace some of the points, by index, by those of another."""
        for name in _FIELDS:
            getattr(self, name)[..., points] = getattr(other, name)
        for name in _DERIVED:
            self.__dict__.pop(name, None)


_FIELDS = ("xyz", "residuals", "rows", "behind", "used", "normal")
_DERIVED = ("squares", "chi2", "step", "gain", "_gradient")


def measure_errors(
    views: Views, xyz: np.ndarray, *, used: np.ndarray | None = None, limit=None
) -> Errors:
    """Compare points with their views in the true lens model, with derivatives.

    Parameters
    ----------
    views : Views
        What the cameras saw of the n_points points.
    xyz : ndarray of shape (3, n_points)
        World points.
    used : ndarray of bool of shape (n_cameras, n_points), optional
        The believed views; every view that saw the point unless given.
    limit : ndarray of shape (n_cameras, n_points), optional
        Squared whitened error from which a view is not believed; nor is then a view that has
        the point behind it.
    """
    n_cameras, n_points = len(views.cameras), xyz.shape[1]
    residuals = np.empty((n_cameras, 2, n_points))
    rows = np.empty((n_cameras, 2, 3, n_points))
    behind = np.empty((n_cameras, n_points), dtype=bool)
    by_camera = np.empty((2, 3, n_points))
    for i, camera in enumerate(views.cameras):
        lens = camera.intrinsics
        place = camera.rotation @ xyz + camera.tvec[:, np.newaxis]
        np.less_equal(place[2], 0, out=behind[i])
        # on the camera's own plane nothing projects; far off the image does as well
        place[2, np.abs(place[2]) < 1e-9] = 1e-9
        inverse = 1 / place[2]
        flat = place[:2] * inverse
        bent = lenses.distort(flat.T, lens.dist, lens.model).T
        slope = lenses.distort_jacobian(flat.T, lens.dist, lens.model).transpose(1, 2, 0)
        p, q, r = views.whitened_lens(i)
        across, down = views.whitened_pixels(i)
        np.subtract(across, p * bent[0], out=residuals[i, 0])
        np.subtract(down, r * bent[1], out=residuals[i, 1])
        p, r = p * inverse, r * inverse
        for column in range(2):
            np.multiply(p, slope[0, column], out=by_camera[0, column])
            np.multiply(r, slope[1, column], out=by_camera[1, column])
        if q is not None:
            residuals[i, 0] -= q * bent[1]
            by_camera[0, :2] += q * inverse * slope[1]
        by_camera[:, 2] = -(by_camera[:, 0] * flat[0] + by_camera[:, 1] * flat[1])
        np.matmul(camera.rotation.T, by_camera, out=rows[i])
    used = views.seen if used is None else used
    if limit is not None:
        used = used & ((residuals**2).sum(axis=1) < limit) & ~behind
    return Errors(xyz, residuals, rows, behind, used, _information(rows, used))


def _information(rows, used):
    """Add up what the believed views know of their points."""
    normal = np.zeros((6, used.shape[1]))
    for (first, second), believed in zip(rows, used, strict=True):
        # a view that saw nothing has rows of zero: most often there is nothing to mask
        if not believed.all():
            first, second = first * believed, second * believed
        for entry, (j, k) in enumerate(ENTRIES):
            normal[entry] += first[j] * first[k] + second[j] * second[k]
    return normal


def solve_symmetric(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve symmetric (3, 3) systems by Cholesky's method without roots.

    Parameters
    ----------
    matrix : ndarray of shape (6, ...)
        The matrices' `ENTRIES`.
    right : ndarray of shape (3, ...)
        Right-hand sides.

    Returns
    -------
    ndarray of shape (3, ...)
        Solutions; NaN where a matrix is singular.
    """
    a, b, c, d, e, f = matrix
    with np.errstate(all="ignore"):
        l10, l20 = b / a, c / a
        d1 = d - l10 * b
        e1 = e - l10 * c
        l21 = e1 / d1
        d2 = f - l20 * c - l21 * e1
        y1 = right[1] - l10 * right[0]
        y2 = right[2] - l20 * right[0] - l21 * y1
        z = np.where(d2 > 1e-14 * (a + d + f), y2 / d2, np.nan)
        y = y1 / d1 - l21 * z
        return np.stack([right[0] / a - l10 * y - l20 * z, y, z])


def invert_symmetric(matrix: np.ndarray) -> np.ndarray:
    """Invert symmetric (3, 3) matrices given and returned by their `ENTRIES`, (6, ...).

    Singular matrices give NaN.
    """
    a, b, c, d, e, f = matrix
    with np.errstate(all="ignore"):
        i, j, k = d * f - e * e, c * e - b * f, b * e - c * d
        det = a * i + b * j + c * k
        # each of the three axes must carry some information, rounding apart
        det = np.where(det > 1e-14 * a * d * f, det, np.nan)
        inverse = np.stack([i, j, k, a * f - c * c, b * c - a * e, a * d - b * b])
        return inverse / det


def linear_start(views: Views, rays: np.ndarray) -> np.ndarray:
    """Find where rays nearly meet, by the linear equations of their planes.

    Parameters
    ----------
    views : Views
        What the cameras saw; its spread weighs the rays.
    rays : ndarray of shape (n_cameras, 2, n_points)
        x / z and y / z in the camera; finite.

    Returns
    -------
    ndarray of shape (3, n_points)
        World points; NaN where the rays of all cameras are parallel.
    """
    normal, right = np.zeros((6, rays.shape[2])), np.zeros((3, rays.shape[2]))
    for camera, ray, whiten in zip(views.cameras, rays, views.whiten, strict=True):
        focal = camera.intrinsics.matrix[0, 0]
        motion = camera.camera_from_world
        weight = focal * whiten[0]
        for axis in range(2):
            # a plane through the camera: (x r3 - r1) . X = t1 - x t3
            plane = np.outer(motion[2, :3], ray[axis]) - motion[axis, :3, np.newaxis]
            plane *= weight
            offset = (motion[axis, 3] - ray[axis] * motion[2, 3]) * weight
            for entry, (j, k) in enumerate(ENTRIES):
                normal[entry] += plane[j] * plane[k]
            right += plane * offset
    return solve_symmetric(normal, right)


def fit_points(views: Views, errors: Errors, *, settled: np.ndarray | None = None) -> Errors:
    """Move points to where the sum of their squared errors in the images is least.

    Gauss-Newton in the true lens model. A step that does not help is not taken.

    Parameters
    ----------
    views : Views
        What the cameras saw.
    errors : Errors
        Where to begin, and the views to believe.
    settled : ndarray of bool of shape (n_points,), optional
        Points for which one step is enough, whatever comes of it.

    Returns
    -------
    Errors
        Of the moved points; the last step is taken to first order.
    """
    far = errors.gain > _SMALL_GAIN
    if settled is not None:
        far &= ~settled
    moving, before = np.flatnonzero(far), errors.take(far)
    result = errors.stepped(np.isfinite(errors.gain))
    for _ in range(_MAX_STEPS):
        if not moving.size:
            break
        after = measure_errors(views.take(moving), before.xyz + before.step, used=before.used)
        better = after.chi2 <= before.chi2
        result.put(moving[~better], before.take(~better))
        result.put(moving[better], after.stepped(np.isfinite(after.gain)).take(better))
        further = better & (after.gain > _SMALL_GAIN)
        moving, before = moving[further], after.take(further)
    return result
