"""What the cameras saw of a recording, and the points found, in one row."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from calibration.cameras import Camera
from pose3d.keypoints import Keypoints2D, Keypoints3D, Missing
from pose3d.triangulation.fitting import SQUARE, Views
from pose3d.triangulation.locating import Located

#: Spread added to a given covariance, px²: no network knows a point to less than 0.1 px.
LEAST_VARIANCE = 0.01


@dataclass(frozen=True, eq=False)
class Seen:
    """The detections of many points in one row: frame, individual, keypoint.

    Attributes
    ----------
    cameras : tuple of Camera
        The n_cameras cameras.
    xy : ndarray of shape (n_cameras, n_points, 2)
        Image points in pixels, NaN where there is none.
    likelihood : ndarray of shape (n_cameras, n_points)
        From 0 to 1.
    covariance : ndarray of shape (n_cameras, n_points, 2, 2) or None
        Their spread in px².
    n_keypoints : int
        Points of one animal in one frame.
    min_likelihood : float
        Views less likely than this are left out.
    """

    cameras: tuple[Camera, ...]
    xy: np.ndarray
    likelihood: np.ndarray
    covariance: np.ndarray | None
    n_keypoints: int
    min_likelihood: float

    @classmethod
    def of(cls, keypoints_2d: Keypoints2D, cameras, min_likelihood: float) -> "Seen":
        """Lay a recording's points in one row."""
        n_cameras = len(cameras)
        covariance = keypoints_2d.covariance
        return cls(
            tuple(cameras),
            np.ascontiguousarray(keypoints_2d.xy).reshape(n_cameras, -1, 2),
            np.ascontiguousarray(keypoints_2d.likelihood).reshape(n_cameras, -1),
            None
            if covariance is None
            else np.ascontiguousarray(covariance).reshape(n_cameras, -1, 2, 2),
            len(keypoints_2d.keypoints),
            min_likelihood,
        )

    @property
    def n_points(self) -> int:
        """Number of points."""
        return self.likelihood.shape[1]

    def sample(self, n_points: int) -> "Seen":
        """Return about so many points: all keypoints of some animals in frames spread evenly."""
        n_rows = self.n_points // self.n_keypoints
        n_sampled = min(n_rows, -(-n_points // self.n_keypoints))
        if n_sampled == n_rows:
            return self
        rows = np.unique(np.linspace(0, n_rows - 1, n_sampled).astype(int))
        return self.take((rows[:, np.newaxis] * self.n_keypoints + self.keypoints).ravel())

    def take(self, points) -> "Seen":
        """Return some of the points, by index or slice: whole animals."""
        covariance = None if self.covariance is None else self.covariance[:, points]
        return Seen(
            self.cameras,
            np.ascontiguousarray(self.xy[:, points]),
            np.ascontiguousarray(self.likelihood[:, points]),
            None if covariance is None else np.ascontiguousarray(covariance),
            self.n_keypoints,
            self.min_likelihood,
        )

    @cached_property
    def keypoints(self) -> np.ndarray:
        """The numbers of the keypoints, ndarray of int of shape (n_keypoints,)."""
        return np.arange(self.n_keypoints)

    def views(self, points: slice = slice(None), noise: np.ndarray | None = None) -> Views:
        """Return views of some points, whitened for a spread (n_cameras, n_keypoints)."""
        pixels = np.ascontiguousarray(self.xy[:, points].transpose(0, 2, 1))
        likelihood = self.likelihood[:, points]
        seen = np.isfinite(pixels[:, 0] + pixels[:, 1]) & (likelihood >= self.min_likelihood)
        if self.covariance is None:
            whiten = np.sqrt(likelihood)[:, np.newaxis]
        else:
            a, b, _, d = self.covariance[:, points].reshape(*likelihood.shape, 4).transpose(2, 0, 1)
            a, d = a + LEAST_VARIANCE, d + LEAST_VARIANCE
            with np.errstate(invalid="ignore", divide="ignore"):
                first = 1 / np.sqrt(a - b * b / d)
                whiten = np.stack([first, -b / d * first, 1 / np.sqrt(d)], axis=1)
            seen &= np.isfinite(whiten).all(axis=1)
        if noise is not None:
            keypoint = np.arange(*points.indices(self.n_points)) % self.n_keypoints
            whiten = whiten / noise[:, keypoint][:, np.newaxis]
        whiten = np.where(seen[:, np.newaxis], whiten, 0.0)
        return Views(self.cameras, np.where(seen[:, np.newaxis], pixels, 0.0), whiten)


@dataclass(eq=False)
class Points:
    """The arrays of a `Keypoints3D` while they are being filled, points in one row."""

    xyz: np.ndarray
    covariance: np.ndarray
    reprojection_error: np.ndarray
    view_errors: np.ndarray
    used_views: np.ndarray
    reason: np.ndarray
    rig_covariance: np.ndarray | None = None

    @classmethod
    def empty(cls, n_cameras: int, n_points: int) -> "Points":
        """Return room for points, whatever it holds."""
        return cls(
            np.empty((n_points, 3)),
            np.empty((n_points, 3, 3)),
            np.empty(n_points),
            np.empty((n_cameras, n_points)),
            np.empty((n_cameras, n_points), dtype=bool),
            np.empty(n_points, dtype=np.uint8),
        )

    @property
    def there(self) -> np.ndarray:
        """Whether each point is known, ndarray of bool of shape (n_points,)."""
        return self.reason == Missing.PRESENT

    def put(self, points: slice | np.ndarray, located: Located) -> None:
        """Enter located points."""
        errors, there = located.errors, located.reason == Missing.PRESENT
        self.reason[points] = located.reason
        self.xyz[points] = located.xyz.T
        self.covariance[points] = located.covariance[np.array(SQUARE)].T.reshape(-1, 3, 3)
        used = errors.used & there
        self.used_views[:, points] = used
        self.view_errors[:, points] = np.where(there & ~errors.behind, located.distances, np.nan)
        total = (np.where(used, located.distances, 0.0) ** 2).sum(axis=0)
        n_used = np.where(there, np.count_nonzero(used, axis=0), np.nan)
        self.reprojection_error[points] = np.sqrt(total / n_used)

    def leave_out(self, points: np.ndarray, reason: np.ndarray) -> None:
        """Enter points that cannot be known, with the reasons."""
        self.reason[points] = reason
        for name in ("xyz", "covariance", "reprojection_error"):
            getattr(self, name)[points] = np.nan
        self.view_errors[:, points] = np.nan
        self.used_views[:, points] = False

    def finish(self, keypoints_2d: Keypoints2D, units: str) -> Keypoints3D:
        """Give the axes back their lengths."""
        shape, n_cameras = keypoints_2d.xy.shape[1:-1], len(keypoints_2d.cameras)
        return Keypoints3D(
            xyz=self.xyz.reshape(*shape, 3),
            covariance=self.covariance.reshape(*shape, 3, 3),
            reprojection_error=self.reprojection_error.reshape(shape),
            view_errors=self.view_errors.reshape(n_cameras, *shape),
            used_views=self.used_views.reshape(n_cameras, *shape),
            reason=self.reason.reshape(shape),
            filled=np.zeros(shape, dtype=bool),
            cameras=keypoints_2d.cameras,
            individuals=keypoints_2d.individuals,
            keypoints=keypoints_2d.keypoints,
            times=keypoints_2d.times,
            units=units,
            rig_covariance=None
            if self.rig_covariance is None
            else self.rig_covariance.reshape(*shape, 3, 3),
        )
