"""The rays of image points, looked up: quick and good enough to start from."""

from collections.abc import Sequence

import numpy as np

from calibration import lenses
from calibration.cameras import Camera
from pose3d.triangulation.fitting import Views

#: Nodes along each side of a table. Cells of some 20 px: the curvature of a lens over one
#: displaces a ray by a few hundredths of a pixel, which the fit in the lens model removes.
_NODES = 64


class RayTable:
    """The rays of one camera on a grid over its image, joined by straight lines.

    Undoing a lens takes an iteration for each image point, a look-up a tenth of its time.
    Points off the image, between nodes that have no ray, or of a lens without distortion
    are computed.

    Parameters
    ----------
    camera : Camera
        The camera.

    Attributes
    ----------
    step : ndarray of shape (2,)
        Distance of the nodes in px.
    cells : ndarray of shape (n_cells, 8)
        Each cell's corner, its slopes to the right and down, and its twist: x and y each.
    """

    def __init__(self, camera: Camera):
        self._lens = camera.intrinsics
        if self._lens.model == "pinhole":
            self.step, self.cells = np.ones(2), np.zeros(((_NODES - 1) ** 2, 8))
            return
        size = np.array(self._lens.image_size, dtype=np.float64)
        self.step = (size - 1).clip(min=1) / (_NODES - 1)
        x, y = np.meshgrid(*(np.arange(_NODES) * step for step in self.step))
        nodes = self._lens.undistort(np.stack([x, y], axis=-1))
        # a cell's value is corner + right u + down v + twist u v
        corner = nodes[:-1, :-1]
        right, down = nodes[:-1, 1:] - corner, nodes[1:, :-1] - corner
        twist = nodes[1:, 1:] - nodes[:-1, 1:] - down
        self.cells = np.concatenate([corner, right, down, twist], axis=-1).reshape(-1, 8)

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Return x / z and y / z of image points (2, n_points); NaN where there is no ray."""
        if self._lens.model == "pinhole":
            return self._lens.undistort(pixels.T).T
        u, v = pixels / self.step[:, np.newaxis]
        column = np.clip(u, 0, _NODES - 2).astype(np.intp)
        row = np.clip(v, 0, _NODES - 2).astype(np.intp)
        cells = self.cells.take(row * (_NODES - 1) + column, axis=0).T
        u -= column
        v -= row
        rays = cells[:2] + cells[2:4] * u + (cells[4:6] + cells[6:] * u) * v
        outside = (np.abs(u - 0.5) > 1) | (np.abs(v - 0.5) > 1) | np.isnan(rays[0])
        if outside.any():
            rays[:, outside] = self._lens.undistort(pixels.T[outside]).T
        return rays


def look_up(tables: Sequence[RayTable], pixels: np.ndarray) -> np.ndarray:
    """Return the rays of all cameras' image points (n_cameras, 2, n_points)."""
    return np.stack([table(seen) for table, seen in zip(tables, pixels, strict=True)])


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
