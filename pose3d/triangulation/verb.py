"""Triangulate a recording: the verb, and what must hold before it can begin."""

import warnings
from collections.abc import Callable, Iterable

import numpy as np

from calibration.cameras import CameraRig
from calibration.errors import DataError, DataWarning
from calibration.multiview import triangulate_dlt
from pose3d.keypoints import Keypoints2D, Keypoints3D, Missing
from pose3d.triangulation.fitting import SQUARE, Views, measure_errors
from pose3d.triangulation.locating import Located, judge, locate
from pose3d.triangulation.noise import learn_noise, squared_limit
from pose3d.triangulation.rays import RayTable
from pose3d.triangulation.rig_errors import RigErrors

#: What `triangulate` can do with views that disagree.
METHODS = ("robust", "least-squares", "dlt")

#: Points at once: so many that NumPy calls cost little beside their work, memory stays small.
_BLOCK = 16384

#: Points from which the detector's spread is learned.
_SAMPLE = 6000

#: Spread in px that is assumed where the recording cannot tell.
_USUAL_NOISE = 2.0

#: Share of the image diagonal above which a spread is no detector's: 16 px at 1280 x 1024.
_LARGEST_NOISE = 0.01

#: Spread added to a given covariance, px²: no network knows a point to less than 0.1 px.
_LEAST_VARIANCE = 0.01


def triangulate(
    keypoints_2d: Keypoints2D,
    rig: CameraRig,
    *,
    min_likelihood: float = 0.6,
    method: str = "robust",
    noise_px: float | np.ndarray | None = None,
    max_error_px: float | None = None,
    progress: Callable[[Iterable], Iterable] | None = None,
) -> Keypoints3D:
    """Find keypoints in space from where cameras see them.

    A point is where the sum of its squared errors in the images, in the true lens model and
    each divided by its expected spread, is least. Where some view then lies further off than
    its spread allows, every pair of views is tried, and the views that agree are believed.
    A point that cannot be known is NaN, and `Keypoints3D.reason` says why.

    Parameters
    ----------
    keypoints_2d : Keypoints2D
        What each camera saw. A likelihood weighs its view: the variance is that of a certain
        detection divided by the likelihood; a covariance, where there is one, takes its
        place. Views whose covariance is NaN are left out.
    rig : CameraRig
        The cameras, matched by name; it may hold others too.
    min_likelihood : float
        Views less likely than this are left out; DeepLabCut's usual cutoff.
    method : {"robust", "least-squares", "dlt"}
        Choose the views that agree; or believe every view; or believe every view alike and
        take `calibration.triangulate_dlt`'s solution as it is.
    noise_px : float or ndarray of shape (n_cameras, n_keypoints), optional
        Standard deviation of one coordinate of a certain detection in pixels; with a
        covariance, the factor on its root. Learned from the recording for each camera and
        keypoint unless given, and 2 px where the recording cannot tell.
    max_error_px : float, optional
        Distance in pixels from which a view is never believed; only the limit of 4.5
        standard deviations holds unless given.
    progress : callable, optional
        Wraps the iterable of blocks, as ``tqdm`` does.

    Returns
    -------
    Keypoints3D
        Points with their covariance: of the detector's errors, and of the calibration's if the
        rig has a covariance (which all points share); errors and belief for every view that
        is likely enough.

    Raises
    ------
    ValueError
        If a camera of the keypoints is not in the rig, or an argument is out of range.
    DataError
        If there are fewer than two cameras, or images and calibration differ in size.
    """
    cameras = tuple(_matched(keypoints_2d, rig))
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; expected one of {', '.join(METHODS)}.")
    if not 0 <= min_likelihood <= 1:
        raise ValueError(f"min_likelihood is {min_likelihood}; expected 0 to 1.")
    if max_error_px is not None and not max_error_px > 0:
        raise ValueError(f"max_error_px is {max_error_px}; expected a distance above 0 px.")
    farthest = np.inf if max_error_px is None else float(max_error_px)
    tables = [RayTable(camera) for camera in cameras]
    views_of = _Seen(keypoints_2d, cameras, min_likelihood)
    noise = _noise(views_of, tables, noise_px, farthest)

    rig_errors = None
    if rig.covariance is not None:
        rig_errors = RigErrors(rig.subset(keypoints_2d.cameras))
    result = _Result(keypoints_2d)
    starts = range(0, views_of.n_points, _BLOCK)
    for start in starts if progress is None else progress(starts):
        points = np.arange(start, min(start + _BLOCK, views_of.n_points))
        views = views_of.take(slice(start, start + _BLOCK), noise)
        n_views = np.count_nonzero(views.seen, axis=0)
        result.reason[points[n_views == 0]] = Missing.NOT_SEEN
        result.reason[points[n_views == 1]] = Missing.ONE_VIEW
        enough = n_views >= 2
        if not enough.all():
            points, views = points[enough], views.take(enough)
        if method == "dlt":
            seen = np.where(views.seen[..., np.newaxis], views.pixels.transpose(0, 2, 1), np.nan)
            xyz = np.nan_to_num(triangulate_dlt(rig.subset(keypoints_2d.cameras), seen)).T
            located = judge(views, measure_errors(views, xyz))
        else:
            limit = squared_limit(views, farthest) if method == "robust" else None
            located = locate(views, tables, limit=limit)
        covariance = located.covariance
        if rig_errors is not None:
            covariance = covariance + rig_errors.covariance(views, located.errors, covariance)
        result.put(points, located, covariance)
    keypoints_3d = result.finish(keypoints_2d, rig.units)
    if method == "robust":
        _warn_of_disbelieved(keypoints_3d)
    return keypoints_3d


def _matched(keypoints_2d, rig):
    """Find the camera of each view by name; refuse what cannot belong together."""
    unknown = [name for name in keypoints_2d.cameras if name not in rig.names]
    if unknown:
        raise ValueError(
            f"The keypoints have a camera {unknown[0]!r} that the rig does not have; it has "
            f"{', '.join(rig.names)}. Leave the camera out (keypoints.subset) or calibrate it."
        )
    if len(keypoints_2d.cameras) < 2:
        raise DataError(
            f"Only the camera {keypoints_2d.cameras[0]!r} has keypoints; a point in space needs "
            "two. Analyse the videos of another camera of the rig."
        )
    for i, name in enumerate(keypoints_2d.cameras):
        if keypoints_2d.image_sizes is not None:
            found, needed = tuple(keypoints_2d.image_sizes[i]), rig[name].intrinsics.image_size
            if found != needed:
                raise DataError(
                    f"Camera {name!r} was analysed at {found[0]} x {found[1]} px and calibrated "
                    f"at {needed[0]} x {needed[1]} px. Use a calibration of the same size "
                    "(Intrinsics.resized where the video was scaled, not cropped)."
                )
        yield rig[name]


class _Seen:
    """The views of a recording, its points in one row: frame, individual, keypoint."""

    def __init__(self, keypoints_2d, cameras, min_likelihood):
        n_cameras, n_keypoints = len(cameras), len(keypoints_2d.keypoints)
        self._cameras = cameras
        self._xy = keypoints_2d.xy.reshape(n_cameras, -1, 2)
        self._likelihood = keypoints_2d.likelihood.reshape(n_cameras, -1)
        self._covariance = keypoints_2d.covariance
        if self._covariance is not None:
            self._covariance = self._covariance.reshape(n_cameras, -1, 2, 2)
        self._min_likelihood = min_likelihood
        self.n_keypoints = n_keypoints
        self.n_points = self._xy.shape[1]

    def take(self, points, noise=None) -> Views:
        """Return views of some points, whitened for a spread (n_cameras, n_keypoints)."""
        pixels = np.ascontiguousarray(self._xy[:, points].transpose(0, 2, 1))
        likelihood = self._likelihood[:, points]
        seen = np.isfinite(pixels[:, 0] + pixels[:, 1]) & (likelihood >= self._min_likelihood)
        if self._covariance is None:
            whiten = np.sqrt(likelihood)[:, np.newaxis]
        else:
            a, b, _, d = (
                self._covariance[:, points].reshape(*likelihood.shape, 4).transpose(2, 0, 1)
            )
            a, d = a + _LEAST_VARIANCE, d + _LEAST_VARIANCE
            with np.errstate(invalid="ignore", divide="ignore"):
                first = 1 / np.sqrt(a - b * b / d)
                whiten = np.stack([first, -b / d * first, 1 / np.sqrt(d)], axis=1)
            seen &= np.isfinite(whiten).all(axis=1)
        if noise is not None:
            whiten = whiten / noise[:, self.keypoint(points)][:, np.newaxis]
        whiten = np.where(seen[:, np.newaxis], whiten, 0.0)
        return Views(self._cameras, np.where(seen[:, np.newaxis], pixels, 0.0), whiten)

    def keypoint(self, points):
        """Return which keypoint each point, by index or slice, is."""
        if isinstance(points, slice):
            points = np.arange(*points.indices(self.n_points))
        return points % self.n_keypoints


def _noise(views_of, tables, noise_px, max_error_px):
    """Return the detector's spread (n_cameras, n_keypoints): as given, learned, or usual."""
    shape = (len(tables), views_of.n_keypoints)
    if noise_px is not None:
        noise = np.asarray(noise_px, dtype=np.float64)
        if noise.shape not in ((), shape) or not (noise > 0).all() or np.isinf(noise).any():
            raise ValueError(
                f"noise_px is {noise_px}; expected a number above 0 px or an array of shape "
                f"{shape}, one for each camera and keypoint."
            )
        return np.broadcast_to(noise, shape)
    # every keypoint of some animals in some frames, evenly spread
    n_rows = views_of.n_points // views_of.n_keypoints
    n_sampled = min(n_rows, -(-_SAMPLE // views_of.n_keypoints))
    rows = np.unique(np.linspace(0, n_rows - 1, n_sampled).astype(int))
    points = (rows[:, np.newaxis] * views_of.n_keypoints + np.arange(shape[1])).ravel()
    views = views_of.take(points)
    enough = np.count_nonzero(views.seen, axis=0) >= 2
    if enough.any():
        sizes = [camera.intrinsics.image_size for camera in views.cameras]
        largest = _LARGEST_NOISE * np.linalg.norm(sizes, axis=1).mean()
        noise = learn_noise(
            views.take(enough),
            tables,
            views_of.keypoint(points[enough]),
            shape[1],
            largest=largest,
            max_error_px=max_error_px,
        )
        if noise is not None:
            return noise
        warnings.warn(
            f"The cameras do not agree on where the keypoints are, to within {largest:.0f} px. "
            "Do calibration and videos belong together, and are the videos synchronous? Points "
            f"are given where views agree as a detector of {_USUAL_NOISE:.0f} px would.",
            DataWarning,
            stacklevel=3,
        )
    return np.full(shape, _USUAL_NOISE)


class _Result:
    """The arrays of a `Keypoints3D` while they are being filled, points in one row."""

    def __init__(self, keypoints_2d):
        n_cameras = len(keypoints_2d.cameras)
        self._shape = keypoints_2d.xy.shape[1:-1]
        n_points = int(np.prod(self._shape))
        self.xyz = np.full((n_points, 3), np.nan)
        self.covariance = np.full((n_points, 3, 3), np.nan)
        self.reprojection_error = np.full(n_points, np.nan)
        self.view_errors = np.full((n_cameras, n_points), np.nan)
        self.used_views = np.zeros((n_cameras, n_points), dtype=bool)
        self.reason = np.zeros(n_points, dtype=np.uint8)

    def put(self, points: np.ndarray, located: Located, covariance: np.ndarray) -> None:
        """Enter a block; what is missing stays NaN."""
        errors = located.errors
        there = located.reason == Missing.PRESENT
        self.reason[points] = located.reason
        self.xyz[points] = located.xyz.T
        square = covariance[np.array(SQUARE)].T
        self.covariance[points] = square.reshape(-1, 3, 3)
        used = errors.used & there
        self.used_views[:, points] = used
        self.view_errors[:, points] = np.where(there & ~errors.behind, located.distances, np.nan)
        total = (np.where(used, located.distances, 0.0) ** 2).sum(axis=0)
        n_used = np.where(there, np.count_nonzero(used, axis=0), np.nan)
        self.reprojection_error[points] = np.sqrt(total / n_used)

    def finish(self, keypoints_2d: Keypoints2D, units: str) -> Keypoints3D:
        """Give the axes back their lengths."""
        shape, n_cameras = self._shape, len(keypoints_2d.cameras)
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
        )


def _warn_of_disbelieved(keypoints_3d):
    """Name cameras that are seldom believed where others could tell."""
    seen = np.isfinite(keypoints_3d.view_errors)
    told = seen & (np.count_nonzero(seen, axis=0) > 2)
    doubted = {
        name: 1 - used[judged].mean()
        for name, judged, used in zip(
            keypoints_3d.cameras, told, keypoints_3d.used_views, strict=True
        )
        if judged.any() and used[judged].mean() < 0.5
    }
    # where most cameras are doubted, none of them stands out
    if 2 * len(doubted) >= len(keypoints_3d.cameras):
        return
    for name, share in doubted.items():
        warnings.warn(
            f"Camera {name!r} disagrees with the others in {share:.0%} of the points it sees. Has "
            "it moved since the calibration, is its video late, or was it exchanged with another?",
            DataWarning,
            stacklevel=3,
        )
