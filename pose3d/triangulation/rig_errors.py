"""What the calibration's own uncertainty does to points."""

import numpy as np

from calibration import lenses
from calibration.cameras import CameraRig
from pose3d.triangulation.fitting import Errors, Views, measure_errors
from pose3d.triangulation.seen import Points, Seen

#: Points at once: each takes three numbers for each parameter of the rig.
_BLOCK = 2048

#: Change of a distortion coefficient to differentiate by: lenses are all but linear in them.
_SMALL = 1e-4


class RigErrors:
    """The share of the points' covariance that comes from the cameras' parameters.

    A wrong parameter shifts where a point projects; the fit then moves the point. The
    covariance of the parameters follows through to first order.

    Parameters
    ----------
    rig : CameraRig
        The cameras of the views, in their order, with a covariance.
    """

    def __init__(self, rig: CameraRig):
        self._cameras = rig.cameras
        self._ranges = [slice(*rig.parameter_range(name)) for name in rig.names]
        # the root of the covariance; directions without uncertainty are left out
        values, vectors = np.linalg.eigh(rig.covariance)
        kept = values > 1e-12 * values.max(initial=0.0)
        self._root = vectors[:, kept] * np.sqrt(values[kept])

    def add(self, seen: Seen, noise: np.ndarray, points: Points, span: slice) -> None:
        """Add it to the covariance of some points.

        Parameters
        ----------
        seen : Seen
            What the cameras saw.
        noise : ndarray of shape (n_cameras, n_keypoints)
            Spread of a certain detection in px.
        points : Points
            The points as the detector alone determines them.
        span : slice
            Which points.
        """
        begin, end, _ = span.indices(seen.n_points)
        if points.rig_covariance is None:
            points.rig_covariance = np.full_like(points.covariance, np.nan)
        for start in range(begin, end, _BLOCK):
            block = slice(start, min(start + _BLOCK, end))
            there = np.flatnonzero(points.there[block])
            if there.size:
                index = start + there
                views = seen.views(block, noise).take(there)
                xyz = np.ascontiguousarray(points.xyz[index].T)
                errors = measure_errors(views, xyz, used=points.used_views[:, index])
                found = self._block(views, errors, points.covariance[index])
                points.covariance[index] += found
                points.rig_covariance[index] = found

    def _block(self, views: Views, errors: Errors, detector: np.ndarray) -> np.ndarray:
        """Return the covariance (n_points, 3, 3) from the rig; the detector's is given."""
        n_points = len(detector)
        # the right-hand side of the points' normal equations, by each parameter
        pull = np.empty((len(self._root), 3, n_points))
        for i, (first, second) in enumerate(errors.rows):
            across, down = self._slopes(i, views, errors.xyz, errors.rows[i]) * errors.used[i]
            part = pull[self._ranges[i]]
            np.multiply(across[:, np.newaxis], first, out=part)
            part += down[:, np.newaxis] * second
        pull = (self._root.T @ pull.reshape(len(self._root), -1)).reshape(-1, 3, n_points)
        right = np.stack([(pull[:, k // 3] * pull[:, k % 3]).sum(axis=0) for k in range(9)])
        return detector @ right.T.reshape(-1, 3, 3) @ detector

    def _slopes(self, i, views, xyz, rows):
        """Whitened image points by a camera's parameters, (2, n_parameters, n_points)."""
        camera, whiten = self._cameras[i], views.whiten[i]
        lens = camera.intrinsics
        turned = camera.rotation @ xyz
        place = turned + camera.tvec[:, np.newaxis]
        flat = place[:2] / np.where(np.abs(place[2]) < 1e-9, 1e-9, place[2])
        bent = lenses.distort(flat.T, lens.dist, lens.model).T
        slopes = np.zeros((2, camera.n_parameters, xyz.shape[1]))
        by_place = camera.rotation @ rows
        slopes[:, :3] = np.cross(turned[np.newaxis], by_place, axis=1)
        slopes[:, 3:6] = by_place
        # pixels by fx, fy, cx, cy: two rows, then whitened
        pixels = np.zeros((2, camera.n_parameters - 6, xyz.shape[1]))
        pixels[0, 0], pixels[1, 1] = bent
        pixels[0, 2] = pixels[1, 3] = 1.0
        for k in range(lens.dist.size):
            change = np.zeros(lens.dist.size)
            change[k] = _SMALL
            more = lenses.distort(flat.T, lens.dist + change, lens.model).T
            less = lenses.distort(flat.T, lens.dist - change, lens.model).T
            pixels[:, 4 + k] = lens.matrix[:2, :2] @ ((more - less) / (2 * _SMALL))
        if len(whiten) == 1:
            slopes[:, 6:] = pixels * whiten[0]
        else:
            slopes[0, 6:] = pixels[0] * whiten[0] + pixels[1] * whiten[1]
            slopes[1, 6:] = pixels[1] * whiten[2]
        return slopes
