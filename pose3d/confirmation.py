"""Which keypoints the geometry of several views confirms, so that a network can learn from them."""

import numpy as np

from calibration.cameras import CameraRig
from calibration.multiview import projection_jacobian
from pose3d.keypoints import Keypoints2D, Keypoints3D
from pose3d.metrics import animal_sizes

#: Largest standard deviation of a confirmed point in an image, as a share of the animal's size.
MOST_DEVIATION = 0.03

#: Likelihood under which a view that the triangulation did not use is taken not to see a point.
LEAST_LIKELIHOOD = 0.05


def confirmed_points(
    seen: Keypoints2D,
    found: Keypoints3D,
    rig: CameraRig,
    *,
    min_views: int = 3,
    max_deviation: float = MOST_DEVIATION,
    min_likelihood: float = LEAST_LIKELIHOOD,
) -> np.ndarray:
    """Project the points in space that enough views agree on into the views that may see them.

    A view that found nothing where the others say that the keypoint is gets no point: it may be
    hidden there. One that found it elsewhere, or hardly, gets it: that is what there is to learn.

    Parameters
    ----------
    seen : Keypoints2D
        What a network saw.
    found : Keypoints3D
        The same, triangulated.
    rig : CameraRig
        The cameras; those of `seen` are taken.
    min_views : int
        Views that must agree on a point.
    max_deviation : float
        Largest standard deviation of a point in an image, by its covariance, as a share of the
        animal's usual size there.
    min_likelihood : float
        Likelihood that a view must give a keypoint if the triangulation did not use the view.

    Returns
    -------
    ndarray of shape (n_cameras, n_frames, n_individuals, n_keypoints, 2)
        Pixels; NaN where nothing is confirmed.

    Raises
    ------
    ValueError
        If the keypoints in space are of other cameras, frames or names than those in images.
    """
    for what in ("cameras", "individuals", "keypoints", "n_frames"):
        if getattr(seen, what) != getattr(found, what):
            raise ValueError(
                f"{what} of the 3D keypoints are {getattr(found, what)} and of the 2D keypoints "
                f"{getattr(seen, what)}; triangulate these 2D keypoints."
            )
    used = np.asarray(found.used_views, dtype=bool)
    agreed = used.sum(axis=0) >= min_views
    points = np.full((*used.shape, 2), np.nan)
    for view, camera in enumerate(rig.subset(seen.cameras)):
        projected = camera.project(found.xyz)
        turn = projection_jacobian(camera, found.xyz)
        spread = turn @ found.covariance @ np.swapaxes(turn, -1, -2)
        deviation = np.sqrt(np.trace(spread, axis1=-2, axis2=-1) / 2)
        poses = projected.reshape(-1, *projected.shape[-2:])
        size = np.median(animal_sizes(poses)) if np.isfinite(poses).any() else np.nan
        with np.errstate(invalid="ignore"):
            seeing = used[view] | (seen.likelihood[view] >= min_likelihood)
            kept = agreed & seeing & (deviation <= max_deviation * size)
            width, height = camera.intrinsics.image_size
            kept &= (projected >= -0.5).all(axis=-1)
            kept &= (projected <= np.array([width, height]) - 0.5).all(axis=-1)
        points[view][kept] = projected[kept]
    return points
