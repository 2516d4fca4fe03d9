"""Triangulate a recording: the verb, and what must hold before it can begin."""

import warnings
from collections.abc import Callable, Iterable

import numpy as np

from calibration.cameras import CameraRig
from calibration.errors import DataError, DataWarning
from pose3d.keypoints import Keypoints2D, Keypoints3D
from pose3d.triangulation.locator import METHODS, Given, Locator
from pose3d.triangulation.noise import learn_noise
from pose3d.triangulation.rays import Rays
from pose3d.triangulation.rig_errors import RigErrors
from pose3d.triangulation.seen import Points, Seen

#: Points between two reports of progress.
_STRETCH = 131_072

#: Points from which the detector's spread is learned.
_SAMPLE = 6000

#: Frames, evenly spread, in which cameras are judged.
_JUDGED = 2000

#: Spread in px that is assumed where the recording cannot tell.
_USUAL_NOISE = 2.0

#: Share of the image diagonal above which a spread is no detector's: 16 px at 1280 x 1024.
_LARGEST_NOISE = 0.01


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
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; expected one of {', '.join(METHODS)}.")
    seen, farthest = _checked(keypoints_2d, rig, min_likelihood, max_error_px)
    locator = Locator(seen.cameras, method, farthest=farthest, n_views=seen.likelihood.size)
    noise = _noise(seen, locator.rays, farthest, noise_px)
    keypoints_3d = _fill(keypoints_2d, rig, seen, noise, locator, progress)
    if method == "robust":
        warn_of_disbelieved(keypoints_3d)
    return keypoints_3d


def judge_points(
    keypoints_2d: Keypoints2D,
    rig: CameraRig,
    xyz: np.ndarray,
    *,
    used_views: np.ndarray | None = None,
    min_likelihood: float = 0.6,
    noise_px: float | np.ndarray | None = None,
) -> Keypoints3D:
    """Say of points that were found elsewhere how well they explain what the cameras saw.

    Parameters
    ----------
    keypoints_2d, rig, min_likelihood, noise_px
        See `triangulate`.
    xyz : ndarray of shape (n_frames, n_individuals, n_keypoints, 3)
        The points in the rig's unit; NaN where there is none.
    used_views : ndarray of bool of shape (n_cameras, *xyz.shape[:-1]), optional
        The views that they were made of; every view that is likely enough unless given.

    Returns
    -------
    Keypoints3D
        The same points with their errors in the views, and the covariance that a point found from
        these views has.
    """
    seen, farthest = _checked(keypoints_2d, rig, min_likelihood, None)
    if xyz.shape != (*keypoints_2d.xy.shape[1:-1], 3):
        raise ValueError(f"xyz has shape {xyz.shape}; expected {keypoints_2d.xy.shape[1:-1]} + 3.")
    given = Given(xyz.reshape(-1, 3), None if used_views is None else _flat(used_views))
    rays = [Rays(camera) for camera in seen.cameras]
    noise = _noise(seen, rays, farthest, noise_px)
    return _fill(keypoints_2d, rig, seen, noise, given, None)


def learn_spread(
    keypoints_2d: Keypoints2D,
    rig: CameraRig,
    *,
    min_likelihood: float = 0.6,
    max_error_px: float | None = None,
) -> np.ndarray:
    """Learn the detector's spread, so that parts of a recording can be triangulated alike.

    Parameters
    ----------
    keypoints_2d : Keypoints2D
        Some frames of the recording, evenly spread.
    rig, min_likelihood, max_error_px
        See `triangulate`.

    Returns
    -------
    ndarray of shape (n_cameras, n_keypoints)
        `triangulate`'s noise_px.
    """
    seen, farthest = _checked(keypoints_2d, rig, min_likelihood, max_error_px)
    return _noise(seen, [Rays(camera) for camera in seen.cameras], farthest, None)


def _flat(by_view):
    """Lay what is known of each view in one row of points."""
    return by_view.reshape(len(by_view), -1)


def _checked(keypoints_2d, rig, min_likelihood, max_error_px):
    """Check arguments; return what the cameras saw and the largest believable error."""
    cameras = tuple(_matched(keypoints_2d, rig))
    if not 0 <= min_likelihood <= 1:
        raise ValueError(f"min_likelihood is {min_likelihood}; expected 0 to 1.")
    if max_error_px is not None and not max_error_px > 0:
        raise ValueError(f"max_error_px is {max_error_px}; expected a distance above 0 px.")
    farthest = np.inf if max_error_px is None else float(max_error_px)
    return Seen.of(keypoints_2d, cameras, min_likelihood), farthest


def _fill(keypoints_2d, rig, seen, noise, locator, progress):
    """Go through the points, stretch by stretch."""
    rig_errors = None
    if rig.covariance is not None:
        rig_errors = RigErrors(rig.subset(keypoints_2d.cameras))
    points = Points.empty(len(seen.cameras), seen.n_points)
    starts = range(0, seen.n_points, _STRETCH)
    for start in starts if progress is None else progress(starts):
        stretch = slice(start, min(start + _STRETCH, seen.n_points))
        locator(seen, noise, points, stretch)
        if rig_errors is not None:
            rig_errors.add(seen, noise, points, stretch)
    return points.finish(keypoints_2d, rig.units)


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


def _noise(seen, rays, farthest, noise_px):
    """Return the detector's spread (n_cameras, n_keypoints): as given, learned, or usual."""
    shape = (len(seen.cameras), seen.n_keypoints)
    if noise_px is not None:
        noise = np.asarray(noise_px, dtype=np.float64)
        if noise.shape not in ((), shape) or not (noise > 0).all() or np.isinf(noise).any():
            raise ValueError(
                f"noise_px is {noise_px}; expected a number above 0 px or an array of shape "
                f"{shape}, one for each camera and keypoint."
            )
        return np.broadcast_to(noise, shape)
    sample = seen.sample(_SAMPLE)
    if (np.count_nonzero(sample.views().seen, axis=0) >= 2).any():
        sizes = [camera.intrinsics.image_size for camera in seen.cameras]
        largest = _LARGEST_NOISE * np.linalg.norm(sizes, axis=1).mean()
        # it goes through the sample a few times, and large recordings load the kernels anyway
        n_views = seen.likelihood.size
        locator = Locator(seen.cameras, "robust", farthest=farthest, n_views=n_views, rays=rays)
        noise = learn_noise(sample, locator, largest=largest)
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


def warn_of_disbelieved(keypoints_3d):
    """Name cameras that are seldom believed where others could tell."""
    some = slice(None, None, -(-keypoints_3d.n_frames // _JUDGED))
    seen = np.isfinite(keypoints_3d.view_errors[:, some])
    told = seen & (np.count_nonzero(seen, axis=0) > 2)
    doubted = {
        name: 1 - used[judged].mean()
        for name, judged, used in zip(
            keypoints_3d.cameras, told, keypoints_3d.used_views[:, some], strict=True
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
