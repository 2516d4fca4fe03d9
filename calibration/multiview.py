"""What several cameras say about the same points: triangulation, rays, errors, alignment."""

import numpy as np

from calibration import lenses
from calibration.arrays import float_array
from calibration.cameras import Camera, CameraRig
from calibration.rotations import cross_matrix, rotation_vectors

#: Points triangulated at once: their working arrays stay in the processor's cache.
_BLOCK = 8192


def reprojection_errors(rig: CameraRig, points_3d: np.ndarray, points_2d: np.ndarray) -> np.ndarray:
    """Measure how far each point is seen from where it projects.

    Parameters
    ----------
    rig : CameraRig
        The n_cameras cameras that took the images.
    points_3d : ndarray of shape (..., 3)
        World points, in the rig's unit of length.
    points_2d : ndarray of shape (n_cameras, ..., 2)
        Observed image points in pixels; NaN where a camera saw nothing.

    Returns
    -------
    ndarray of shape (n_cameras, ...)
        Distances in pixels; NaN where a camera saw nothing or the point is behind it.
    """
    return np.linalg.norm(rig.project(points_3d) - points_2d, axis=-1)


def rays(rig: CameraRig, points_2d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the line in the world on which each image point lies.

    Parameters
    ----------
    rig : CameraRig
        The n_cameras cameras that took the images.
    points_2d : ndarray of shape (n_cameras, ..., 2)
        Image points in pixels.

    Returns
    -------
    origins : ndarray of shape (n_cameras, 3)
        Positions of the cameras, in the rig's unit.
    directions : ndarray of shape (n_cameras, ..., 3)
        Unit vectors away from the cameras; NaN where a camera saw nothing.
    """
    points_2d = float_array("points_2d", points_2d, (..., 2))
    _check_cameras(rig, "points_2d", points_2d)
    directions = np.empty((*points_2d.shape[:-1], 3))
    for camera, seen, out in zip(rig, points_2d, directions, strict=True):
        out[..., :2] = camera.intrinsics.undistort(seen)
        out[..., 2] = 1.0
        out /= np.linalg.norm(out, axis=-1, keepdims=True)
        out[...] = out @ camera.rotation
    return np.stack([camera.position for camera in rig]), directions


def triangulate_dlt(
    rig: CameraRig, points_2d: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Find the world points that project nearest to where cameras saw them.

    Linear triangulation with the true lens model: each view gives two planes that hold the
    point. A second pass divides each plane's distance by the depth found in the first, so
    that what is least is the squared distance in pixels, but for the change of distortion
    over the residual; it is taken about the first solution, which removes the rounding of
    the normal equations. Not robust: a wrong view moves the point.

    Parameters
    ----------
    rig : CameraRig
        The n_cameras cameras that took the images.
    points_2d : ndarray of shape (n_cameras, ..., 2)
        Image points in pixels; NaN where a camera saw nothing.
    weights : ndarray of shape (n_cameras, ...), optional
        Weight of each view, the inverse of its variance up to a factor; 0 or NaN leaves a
        view out. All views weigh the same if not given.

    Returns
    -------
    ndarray of shape (..., 3)
        World points in the rig's unit; NaN where fewer than two cameras saw the point or
        their rays are parallel. A point may lie behind a camera where views contradict.
    """
    points_2d = float_array("points_2d", points_2d, (..., 2))
    _check_cameras(rig, "points_2d", points_2d)
    shape = points_2d.shape[1:-1]
    points_2d = points_2d.reshape(len(rig), -1, 2)
    if weights is not None:
        weights = float_array("weights", weights, (len(rig), *shape)).reshape(len(rig), -1)
        if np.nanmin(weights, initial=0.0) < 0:
            raise ValueError(
                f"weights holds {np.nanmin(weights)}; a weight is 0 (leave the view out) or above."
            )
    points_3d = np.empty((points_2d.shape[1], 3))
    for start in range(0, len(points_3d), _BLOCK):
        block = slice(start, start + _BLOCK)
        points_3d[block] = _triangulate_block(
            rig, points_2d[:, block], None if weights is None else weights[:, block]
        )
    return points_3d.reshape(*shape, 3)


def _check_cameras(rig, name, values):
    """Refuse an array whose first axis is not the rig's cameras."""
    if values.ndim < 2 or values.shape[0] != len(rig):
        raise ValueError(
            f"{name} has shape {values.shape}; expected ({len(rig)}, ..., {values.shape[-1]}) "
            f"for the cameras {', '.join(rig.names)}."
        )


def _triangulate_block(rig, points_2d, weights):
    """Triangulate (n_cameras, n_points, 2) to (n_points, 3)."""
    n_cameras, n_points, _ = points_2d.shape
    # rows a (3 entries) and b of the planes a . X = b, coordinates first for long inner loops
    rows = np.empty((n_cameras, 2, 4, n_points))
    strength = np.empty((n_cameras, n_points))
    for i, camera in enumerate(rig):
        normalised = camera.intrinsics.undistort(points_2d[i])
        seen = np.isfinite(normalised[:, 0])
        if weights is not None:
            seen &= weights[i] > 0
        focal = camera.intrinsics.matrix[[0, 1], [0, 1]]
        strength[i] = np.where(seen, 1.0 if weights is None else weights[i], 0.0)
        motion = camera.camera_from_world
        for k in range(2):
            ray = np.where(seen, normalised[:, k], 0.0)
            rows[i, k] = focal[k] * (motion[2, :, None] * ray - motion[k, :, None])
    too_few = np.count_nonzero(strength > 0, axis=0) < 2
    points = np.zeros((3, n_points))
    depth = np.ones((n_cameras, n_points))
    with np.errstate(all="ignore"):
        for _ in range(2):
            # about the last solution the right-hand side is small, and so is its rounding
            miss = np.einsum("ckdp,dp->ckp", rows[:, :, :3], points) + rows[:, :, 3]
            scale = strength / depth**2
            scale = scale / scale.max(axis=0)
            normal = np.einsum("cp,ckdp,ckep->dep", scale, rows[:, :, :3], rows[:, :, :3])
            right = np.einsum("cp,ckdp,ckp->dp", scale, rows[:, :, :3], miss)
            points = points - _solve_symmetric(normal, right)
            third = np.stack([camera.camera_from_world[2] for camera in rig])
            depth = third[:, :3] @ points + third[:, 3:]
            # contradictory views: behind a camera the depth cannot scale an error
            depth = np.where((depth > 0) | (strength == 0), depth, np.inf)
            depth = np.where(np.isinf(depth).any(axis=0), 1.0, np.where(strength > 0, depth, 1.0))
    bad = too_few | ~np.isfinite(points).all(axis=0)
    return np.where(bad, np.nan, points).T


def _solve_symmetric(matrix, right):
    """Solve (3, 3, n) symmetric systems; infinite or NaN where a matrix is singular."""
    (a, b, c), (_, d, e), (_, _, f) = matrix
    # Cholesky without roots: keeps its accuracy where the determinant does not
    l10, l20 = b / a, c / a
    d1 = d - l10 * b
    e1 = e - l10 * c
    l21 = e1 / d1
    d2 = f - l20 * c - l21 * e1
    singular = d2 <= 1e-14 * (a + d + f)
    y0 = right[0]
    y1 = right[1] - l10 * y0
    y2 = right[2] - l20 * y0 - l21 * y1
    z = np.where(singular, np.nan, y2 / d2)
    y = y1 / d1 - l21 * z
    x = y0 / a - l10 * y - l20 * z
    return np.stack([x, y, z])


def projection_jacobian(camera: Camera, points_3d: np.ndarray) -> np.ndarray:
    """Differentiate a camera's image points by the world points.

    Parameters
    ----------
    camera : Camera
        The camera, with any lens model.
    points_3d : ndarray of shape (..., 3)
        World points in the rig's unit.

    Returns
    -------
    ndarray of shape (..., 2, 3)
        Pixels per unit of length; NaN for points that are not in front of the camera.
    """
    points = np.asarray(points_3d, dtype=np.float64) @ camera.rotation.T + camera.tvec
    z = np.where(points[..., 2] > 0, points[..., 2], np.nan)
    normalised = points[..., :2] / z[..., np.newaxis]
    lens = camera.intrinsics
    bent = lenses.distort_jacobian(normalised, lens.dist, lens.model)
    by_camera = np.empty((*points.shape[:-1], 2, 3))
    by_camera[..., :2] = lens.matrix[:2, :2] @ bent / z[..., np.newaxis, np.newaxis]
    by_camera[..., 2] = -np.einsum("...ij,...j->...i", by_camera[..., :2], normalised)
    return by_camera @ camera.rotation


def align_points(
    points: np.ndarray, onto: np.ndarray, *, scale: bool = False, weights: np.ndarray | None = None
) -> np.ndarray:
    """Find the motion that brings points nearest to others (Kabsch; Umeyama with scale).

    Parameters
    ----------
    points, onto : ndarray of shape (..., 3)
        Pairs of points; pairs with NaN are left out.
    scale : bool
        Whether the motion may also scale.
    weights : ndarray of shape (...), optional
        Weight of each pair.

    Returns
    -------
    ndarray of shape (4, 4)
        Matrix that takes the first points to the second in least squares.
    """
    points = float_array("points", points, (..., 3)).reshape(-1, 3)
    onto = float_array("onto", onto, (..., 3)).reshape(-1, 3)
    if len(points) != len(onto):
        raise ValueError(f"points holds {len(points)} points and onto {len(onto)}; give pairs.")
    use = np.isfinite(points).all(axis=1) & np.isfinite(onto).all(axis=1)
    if not use.any():
        raise ValueError("No pair of points is finite in both; at least one pair is needed.")
    share = np.ones(len(points)) if weights is None else np.asarray(weights, np.float64).ravel()
    share = share[use] / share[use].sum()
    points, onto = points[use], onto[use]
    centre, onto_centre = share @ points, share @ onto
    points, onto = points - centre, onto - onto_centre
    u, s, vt = np.linalg.svd((share[:, np.newaxis] * onto).T @ points)
    signs = np.array([1.0, 1.0, np.linalg.det(u) * np.linalg.det(vt)])
    factor = 1.0
    if scale:
        spread = share @ (points**2).sum(axis=1)
        factor = (s @ signs) / spread if spread > 0 else 1.0
    motion = np.eye(4)
    motion[:3, :3] = factor * (u * signs) @ vt
    motion[:3, 3] = onto_centre - motion[:3, :3] @ centre
    return motion


def align_rigs(rig: CameraRig, onto: CameraRig, *, scale: bool = False) -> np.ndarray:
    """Find the motion from one rig's world to another's that brings its cameras nearest.

    Positions and directions both count: each camera stands for its position and for points
    ahead of it, below it and beside it, as far away as the rig is large.

    Parameters
    ----------
    rig, onto : CameraRig
        Cameras are paired by name; cameras of one rig alone are left out.
    scale : bool
        Whether the motion may also scale, as between rigs calibrated in different units.

    Returns
    -------
    ndarray of shape (4, 4)
        Takes the rig's world points to the other's; `move_rig` applies it.
    """
    names = [name for name in rig.names if name in onto.names]
    if not names:
        raise ValueError(
            f"The rigs share no camera: {', '.join(rig.names)}; {', '.join(onto.names)}."
        )
    first, second = _landmarks(rig.subset(names)), _landmarks(onto.subset(names))
    return align_points(first, second, scale=scale)


def _landmarks(rig):
    """Points that move with each camera: its position and one along each of its axes."""
    positions = np.stack([camera.position for camera in rig])
    size = np.sqrt(((positions - positions.mean(axis=0)) ** 2).sum(axis=1).mean()) or 1.0
    axes = np.stack([camera.rotation for camera in rig])
    return np.concatenate([positions[:, None], positions[:, None] + size * axes], axis=1)


def move_rig(rig: CameraRig, motion: np.ndarray) -> CameraRig:
    """Return the rig in another world.

    Parameters
    ----------
    rig : CameraRig
        The rig.
    motion : ndarray of shape (4, 4)
        New world from old: a rotation, a translation and perhaps one factor of scale.

    Returns
    -------
    CameraRig
        Cameras that see the moved points where the old ones saw the points.
    """
    motion = float_array("motion", motion, (4, 4), finite=True)
    factor = np.cbrt(np.linalg.det(motion[:3, :3]))
    turn = motion[:3, :3] / factor
    if factor <= 0 or not np.allclose(turn @ turn.T, np.eye(3), atol=1e-9):
        raise ValueError(
            f"motion is {motion.tolist()}; expected a rotation, at most scaled by one factor."
        )
    cameras = []
    change = np.eye(sum(camera.n_parameters for camera in rig))
    for camera in rig:
        rotation = camera.rotation @ turn.T
        shift = rotation @ motion[:3, 3]
        cameras.append(
            Camera(
                camera.name,
                camera.intrinsics,
                rotation_vectors(rotation),
                factor * camera.tvec - shift,
            )
        )
        start, _ = rig.parameter_range(camera.name)
        # a turn of the camera swings its translation about the new origin
        change[start + 3 : start + 6, start : start + 3] = cross_matrix(shift)
        change[start + 3 : start + 6, start + 3 : start + 6] *= factor
    covariance = None if rig.covariance is None else change @ rig.covariance @ change.T
    return CameraRig(tuple(cameras), rig.units, covariance)
