"""The rays of image points, found quickly and well enough to start from."""

from collections.abc import Sequence

import numpy as np

from calibration import lenses
from calibration.cameras import Camera
from pose3d.triangulation.fitting import Views

#: Nodes along each side of a table. Cells of some 20 px: the curvature of a lens over one
#: displaces a ray by a few hundredths of a pixel, which the fit in the lens model removes.
_NODES = 64

#: A series serves where it is nowhere in the image further off than this, px.
_FINE = 0.1

#: Share of the image by which points may lie outside it.
_MARGIN = 0.02


class Rays:
    """The rays of one camera's image points.

    Undoing a lens takes an iteration for each image point. A polynomial fitted to the inverse
    takes a tenth of the time; where the lens is too strong for it, a table over the image, its
    nodes joined by straight lines. Points off the image or without a ray there are computed.

    Parameters
    ----------
    camera : Camera
        The camera.

    Attributes
    ----------
    series : ndarray of shape (9,)
        A radial factor by powers of the squared radius (five), and two tangential coefficients
        by powers of it (p1, p2, twice); zeros where the table serves.
    cells : ndarray of shape (n_cells, 8)
        Each cell's corner, its slopes to the right and down, and its twist: x and y each. Of
        one cell where the table is not needed.
    """

    def __init__(self, camera: Camera):
        self._lens = camera.intrinsics
        self.series, self.cells = np.zeros(9), np.zeros((1, 8))
        if self._lens.model == "pinhole":
            self.series[0] = 1.0
            return
        x, y = np.meshgrid(*(np.linspace(0, size - 1, _NODES) for size in self._lens.image_size))
        nodes = np.stack([x, y], axis=-1)
        rays = self._lens.undistort(nodes)
        if np.isfinite(rays).all():
            terms = _terms(self._flat(nodes.reshape(-1, 2).T))
            series = np.linalg.lstsq(terms.reshape(9, -1).T, rays.reshape(-1, 2).T.ravel())[0]
            off = rays - (series @ terms.reshape(9, -1)).reshape(2, *x.shape).transpose(1, 2, 0)
            if np.abs(off).max() * self._lens.matrix[0, 0] < _FINE and series[0] > 0:
                self.series = series
                return
        # a cell's value is corner + right u + down v + twist u v
        corner = rays[:-1, :-1]
        right, down = rays[:-1, 1:] - corner, rays[1:, :-1] - corner
        twist = rays[1:, 1:] - rays[:-1, 1:] - down
        self.cells = np.concatenate([corner, right, down, twist], axis=-1).reshape(-1, 8)

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Return x / z and y / z of image points (2, n_points); NaN where there is no ray."""
        flat = self._flat(pixels)
        if self._lens.model == "pinhole":
            return flat
        size = np.array(self._lens.image_size)[:, np.newaxis] - 1.0
        off = (np.abs(pixels - 0.5 * size) > (0.5 + _MARGIN) * size).any(axis=0)
        if self.series[0] > 0:
            rays = _evaluate(self.series, flat)
        else:
            rays = self._from_table(pixels, size)
            off |= np.isnan(rays[0])
        if off.any():
            rays[:, off] = self._lens.undistort(pixels.T[off]).T
        return rays

    def _flat(self, pixels):
        """Return points of the sensor (2, n_points) as if the lens were none."""
        (fx, skew, cx), (_, fy, cy) = self._lens.matrix[:2]
        y = (pixels[1] - cy) / fy
        return np.stack([(pixels[0] - cx - skew * y) / fx, y])

    def _from_table(self, pixels, size):
        """Return rays between the nodes of the table."""
        u, v = pixels * ((_NODES - 1) / size)
        column = np.clip(u, 0, _NODES - 2).astype(np.intp)
        row = np.clip(v, 0, _NODES - 2).astype(np.intp)
        cells = self.cells.take(row * (_NODES - 1) + column, axis=0).T
        u -= column
        v -= row
        return cells[:2] + cells[2:4] * u + (cells[4:6] + cells[6:] * u) * v


def _terms(flat):
    """Return what a series multiplies, (9, 2, n_points)."""
    x, y = flat
    r2 = x * x + y * y
    first, second = np.stack([2 * x * y, r2 + 2 * y * y]), np.stack([r2 + 2 * x * x, 2 * x * y])
    powers = [flat * r2**power for power in range(5)]
    return np.stack([*powers, first, second, first * r2, second * r2])


def _evaluate(series, flat):
    """Return the rays of a series."""
    x, y = flat
    r2 = x * x + y * y
    s0, s1, s2, s3, s4, p1, p2, q1, q2 = series
    radial = s0 + r2 * (s1 + r2 * (s2 + r2 * (s3 + r2 * s4)))
    p, q = p1 + r2 * q1, p2 + r2 * q2
    twice = 2 * x * y
    return np.stack(
        [
            x * radial + p * twice + q * (r2 + 2 * x * x),
            y * radial + p * (r2 + 2 * y * y) + q * twice,
        ]
    )


def look_up(rays: Sequence[Rays], pixels: np.ndarray) -> np.ndarray:
    """Return the rays of all cameras' image points (n_cameras, 2, n_points)."""
    return np.stack([found(seen) for found, seen in zip(rays, pixels, strict=True)])


def refined(views: Views, rays: np.ndarray) -> np.ndarray:
    """Return rays from a table made exact to rounding, by one step of Newton's method."""
    exact = np.zeros_like(rays)
    for i, camera in enumerate(views.cameras):
        lens = camera.intrinsics
        miss = views.pixels[i].T - (
            lenses.distort(rays[i].T, lens.dist, lens.model) @ lens.matrix[:2, :2].T
            + lens.matrix[:2, 2]
        )
        slope = lens.matrix[:2, :2] @ lenses.distort_jacobian(rays[i].T, lens.dist, lens.model)
        (a, b), (c, d) = slope.transpose(1, 2, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            step = np.stack([d * miss[:, 0] - b * miss[:, 1], a * miss[:, 1] - c * miss[:, 0]])
            step /= a * d - b * c
        exact[i] = rays[i] + np.where(views.seen[i] & np.isfinite(step), step, 0.0)
    return exact
