"""Locate the points of a recording, stretch by stretch: compiled where that pays."""

from collections.abc import Sequence

import numpy as np

from calibration.cameras import Camera, CameraRig
from calibration.compiling import kernels
from calibration.multiview import triangulate_dlt
from calibration.normals import compiled_lens
from pose3d.keypoints import Missing
from pose3d.triangulation.choosing import MAX_PAIRS, view_pairs
from pose3d.triangulation.fitting import Views, measure_errors
from pose3d.triangulation.locating import judge, locate
from pose3d.triangulation.rays import Rays
from pose3d.triangulation.seen import LEAST_VARIANCE, Points, Seen

#: What can be done with views that disagree.
METHODS = ("robust", "least-squares", "dlt")

#: Standard deviations at which a view is no longer believed: one true view in 25,000.
GATE = 4.5

#: Points at once in NumPy: so many that calls cost little beside their work, memory stays small.
_BLOCK = 16384

#: Views from which loading the compiled kernels pays, and from which compiling them does.
_WORTH_LOADING = 100_000
_WORTH_COMPILING = 8_000_000

#: Cameras that the kernels can tell apart: bits of a number.
_MOST_CAMERAS = 62


class Locator:
    """Finds points from what cameras saw.

    Parameters
    ----------
    cameras : sequence of Camera
        The cameras, in the order of the views.
    method : str
        One of `METHODS`.
    farthest : float
        Distance in px from which a view is never believed.
    n_views : int
        Views in all that there are to come, which decides whether compiled kernels pay.
    rays : sequence of Rays, optional
        Those of the cameras, if they were made before.
    """

    def __init__(
        self,
        cameras: Sequence[Camera],
        method: str,
        *,
        farthest: float = np.inf,
        n_views: int = 0,
        rays: Sequence[Rays] | None = None,
    ):
        self._cameras, self._farthest, self._method = tuple(cameras), farthest, method
        self.rays = [Rays(camera) for camera in cameras] if rays is None else rays
        self._fast = None
        if method != "dlt" and len(cameras) <= _MOST_CAMERAS:
            self._fast = kernels(
                "pose3d.triangulation.kernels.locating",
                n_views,
                worth_loading=_WORTH_LOADING,
                worth_compiling=_WORTH_COMPILING,
            )
        if self._fast is not None:
            self._compiled = _as_compiled(cameras, self.rays)
            self._hypotheses = _hypotheses(len(cameras))
            self._area = np.mean([np.prod(camera.intrinsics.image_size) for camera in cameras])

    @property
    def is_compiled(self) -> bool:
        """Whether the compiled kernels do the work."""
        return self._fast is not None

    def __call__(
        self, seen: Seen, noise: np.ndarray, points: Points, span: slice = slice(None)
    ) -> None:
        """Find some of the points and enter them.

        Parameters
        ----------
        seen : Seen
            What the cameras saw.
        noise : ndarray of shape (n_cameras, n_keypoints)
            Spread of a certain detection in px.
        points : Points
            Where to enter them.
        span : slice
            Which points.
        """
        begin, end, _ = span.indices(seen.n_points)
        if self._fast is None:
            for start in range(begin, end, _BLOCK):
                self._locate(seen, noise, points, slice(start, min(start + _BLOCK, end)))
            return
        self._fast.locate(
            *self._compiled,
            seen.xy,
            seen.likelihood,
            np.empty((0, 0, 2, 2)) if seen.covariance is None else seen.covariance,
            np.ascontiguousarray(1 / noise),
            float(seen.min_likelihood),
            LEAST_VARIANCE,
            GATE,
            self._farthest,
            points.xyz,
            points.covariance,
            points.reprojection_error,
            points.view_errors,
            points.used_views,
            points.reason,
            begin,
            end,
            self._method == "robust",
            *self._hypotheses,
            self._area,
        )

    def _locate(self, seen, noise, points, span):
        """Find one block of points in NumPy."""
        index, views = _seen_twice(seen, noise, points, span)
        if self._method == "dlt":
            pixels = np.where(views.seen[..., np.newaxis], views.pixels.transpose(0, 2, 1), np.nan)
            xyz = np.nan_to_num(triangulate_dlt(CameraRig(self._cameras), pixels)).T
            located = judge(views, measure_errors(views, xyz))
        else:
            limit = squared_limit(views, self._farthest) if self._method == "robust" else None
            located = locate(views, self.rays, limit=limit)
        points.put(index, located)


class Given:
    """Enters points that were found elsewhere, in the place of a `Locator`.

    Parameters
    ----------
    xyz : ndarray of shape (n_points, 3)
        The points; NaN where there is none.
    used : ndarray of bool of shape (n_cameras, n_points), optional
        The views that they were made of; all unless given.
    """

    def __init__(self, xyz: np.ndarray, used: np.ndarray | None = None):
        self._xyz, self._used = xyz, used

    def __call__(self, seen: Seen, noise: np.ndarray, points: Points, span: slice) -> None:
        """Enter some of the points, see `Locator`."""
        begin, end, _ = span.indices(seen.n_points)
        for start in range(begin, end, _BLOCK):
            index, views = _seen_twice(seen, noise, points, slice(start, min(start + _BLOCK, end)))
            used = views.seen if self._used is None else self._used[:, index] & views.seen
            xyz = self._xyz[index].T
            gone = np.isnan(xyz).any(axis=0) | (np.count_nonzero(used, axis=0) < 2)
            errors = measure_errors(views, np.nan_to_num(xyz), used=used)
            points.put(index, judge(views, errors))
            disagree = np.full(np.count_nonzero(gone), Missing.VIEWS_DISAGREE)
            points.leave_out(index[gone], disagree)


def _seen_twice(seen, noise, points, span):
    """Return the points of a block that two cameras saw; enter why the others are missing."""
    views, index = seen.views(span, noise), np.arange(span.start, span.stop)
    n_views = np.count_nonzero(views.seen, axis=0)
    enough = n_views >= 2
    if not enough.all():
        reasons = np.where(n_views == 0, Missing.NOT_SEEN, Missing.ONE_VIEW)
        points.leave_out(index[~enough], reasons[~enough])
        index, views = index[enough], views.take(enough)
    return index, views


def squared_limit(views: Views, max_error_px: float) -> np.ndarray:
    """Return the squared whitened error from which views are not believed.

    That of `GATE` standard deviations, or of a distance in px if that is smaller; ndarray of
    shape (n_cameras, n_points).
    """
    scale = views.whiten[:, 0]
    if views.whiten.shape[1] == 3:
        scale = (scale + views.whiten[:, 2]) / 2
    with np.errstate(invalid="ignore"):
        capped = np.where(scale > 0, (max_error_px * scale) ** 2, np.inf)
    return np.minimum(capped, GATE**2)


def _as_compiled(cameras, rays_of):
    """Return cameras as the kernels take them."""
    lenses = [compiled_lens(camera.intrinsics) for camera in cameras]
    return (
        np.array([model for model, _ in lenses], dtype=np.int64),
        np.array([lens for _, lens in lenses]),
        np.array([[*camera.rotation.ravel(), *camera.tvec] for camera in cameras]),
        np.array([camera.position for camera in cameras]),
        np.array([camera.intrinsics.image_size for camera in cameras], dtype=np.float64),
        np.array([rays.series for rays in rays_of]),
        _padded([rays.cells for rays in rays_of]),
    )


def _padded(cells):
    """Return tables of different sizes as one array; the smaller ones are not looked into."""
    size = max(len(table) for table in cells)
    return np.stack([np.pad(table, ((0, size - len(table)), (0, 0))) for table in cells])


def _hypotheses(n_cameras):
    """Return the pairs of views to try for each number of views, and how many: first, in all."""
    pairs = np.zeros((n_cameras + 1, MAX_PAIRS, 2), dtype=np.int64)
    n_first, n_pairs = np.zeros((2, n_cameras + 1), dtype=np.int64)
    for n_views in range(2, n_cameras + 1):
        rounds = view_pairs(n_views)
        every = np.concatenate(rounds)
        pairs[n_views, : len(every)] = every
        n_first[n_views], n_pairs[n_views] = len(rounds[0]), len(every)
    return pairs, n_first, n_pairs
