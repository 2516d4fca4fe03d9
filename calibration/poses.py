"""Where a board stands before a camera, from one view: many views at once.

A flat board seen once leaves two poses, the true one and, nearly as good where perspective is
weak, its mirror image about the line of sight. Both are returned; only other views can tell.
"""

from dataclasses import replace

import numpy as np

from calibration.boards import BoardDetections
from calibration.compiling import kernels
from calibration.errors import CalibrationError

#: Fewest corners of a view from which a pose is taken: four determine it, two more check it.
MIN_CORNERS = 6
#: A view's corners must spread this far about their own best line, in squares (RMS), or the
#: pose about that line is not determined.
_MIN_SPREAD = 0.3
#: A flat board's corners lie on a perspective image of the board, but for what the lens bends:
#: at most a few per cent of the board's extent. Beyond this they are not the board's.
_MAX_BEND = 0.06
#: Draws of four corners in a view with wild ones: all fail in 1 of 10^7 views at a fifth wild.
_N_DRAWS = 32

#: Corners of all views from which loading the compiled kernels pays, and compiling them does.
_WORTH_LOADING = 20_000
_WORTH_COMPILING = 2_000_000


def _compiled(n_corners):
    """Return the compiled kernels for so many corners, or None where NumPy is sooner."""
    return kernels(
        "calibration.kernels.poses",
        n_corners,
        worth_loading=_WORTH_LOADING,
        worth_compiling=_WORTH_COMPILING,
    )


def posable_views(detections: BoardDetections) -> np.ndarray:
    """Tell which views show enough of the board for a pose.

    Returns
    -------
    ndarray of bool of shape (n_cameras, n_frames)
        True where enough corners were seen that do not lie on one line.
    """
    seen = np.isfinite(detections.corners[..., 0])
    count = seen.sum(axis=-1)
    xy = detections.board.corners[:, :2] / detections.board.square_length
    total = np.maximum(count, 1)[..., np.newaxis]
    mean = seen @ xy / total
    products = (xy[:, :, np.newaxis] * xy[:, np.newaxis]).reshape(-1, 4)
    spread = (seen @ products / total).reshape(*count.shape, 2, 2)
    spread = spread - mean[..., :, np.newaxis] * mean[..., np.newaxis, :]
    narrow = np.linalg.eigvalsh(spread)[..., 0]
    return (count >= MIN_CORNERS) & (narrow >= _MIN_SPREAD**2)


def bends(detections: BoardDetections) -> np.ndarray:
    """Measure how far each view is from a perspective image of the board.

    Returns
    -------
    ndarray of shape (n_cameras, n_frames)
        Median distance of the corners from the nearest such image, as a share of their extent;
        NaN where a view shows too little for a pose.
    """
    views = posable_views(detections)
    out = np.full(views.shape, np.nan)
    corners = detections.corners[views]
    if len(corners):
        _, errors = homographies(np.array(detections.board.corners)[:, :2], corners)
        out[views] = np.nanmedian(errors, axis=1) / np.nanstd(corners, axis=1).max(axis=1)
    return out


def without_false_views(detections: BoardDetections) -> BoardDetections:
    """Return detections without the views whose corners do not lie as on the board.

    Raises
    ------
    CalibrationError
        If a camera has more such views than others.
    """
    found = bends(detections)
    for name, row in zip(detections.cameras, found, strict=True):
        bend = np.median(row[np.isfinite(row)]) if np.isfinite(row).any() else 0.0
        if bend > _MAX_BEND:
            raise CalibrationError(
                f"The corners of camera {name!r} do not lie as on the board described: in most "
                f"pictures they are off by {100 * bend:.0f} % of the board's extent. Check the "
                "number of squares each way (columns and rows exchanged?), the layout and the "
                "dictionary."
            )
    false = (found > _MAX_BEND)[..., np.newaxis, np.newaxis]
    return replace(detections, corners=np.where(false, np.nan, detections.corners))


def homographies(board_xy: np.ndarray, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Map the board's plane to each image, wild corners not withstanding.

    Parameters
    ----------
    board_xy : ndarray of shape (n_corners, 2)
        Corners on the board.
    corners : ndarray of shape (n_views, n_corners, 2)
        Image points, in any unit; NaN where not seen.

    Returns
    -------
    ndarray of shape (n_views, 3, 3)
        Image from board, homogeneous.
    ndarray of shape (n_views, n_corners)
        Distance of each corner from where the map puts it.
    """
    seen = np.isfinite(corners[..., 0])
    fast = _compiled(seen.size)
    if fast is None:
        found = _weighted_homographies(board_xy, corners, seen.astype(np.float64))
        errors = _transfer_errors(found, board_xy, corners)
    else:
        found, errors = np.empty((len(corners), 3, 3)), np.empty(seen.shape)
        board_xy = np.ascontiguousarray(board_xy)
        fast.homographies(board_xy, np.ascontiguousarray(corners), found, errors)
    # least squares shows wild corners by the longest residual or, where they are many, by all;
    # a lens not yet known bends a view by a per cent or two of its extent
    middle = _medians(errors, seen)
    centre = np.nanmean(corners, axis=1, keepdims=True)
    extent = np.sqrt(np.nanmean(((corners - centre) ** 2).sum(axis=-1), axis=1))
    longest = np.max(np.where(seen, errors, 0.0), axis=1)
    wild = np.flatnonzero(
        ((longest > 4 * middle) & (longest > 0.02 * extent)) | (middle > 0.02 * extent)
    )
    for start in range(0, len(wild), 64):
        views = wild[start : start + 64]
        guess = _sampled_homographies(board_xy, corners[views], seen[views])
        for _ in range(2):
            error = _transfer_errors(guess, board_xy, corners[views])
            limit = np.maximum(4 * _medians(error, seen[views]), 1e-9 * extent[views])
            with np.errstate(invalid="ignore"):
                near = (error <= limit[:, np.newaxis]).astype(np.float64)
            guess = _weighted_homographies(board_xy, corners[views], near)
        found[views] = guess
        errors[views] = _transfer_errors(guess, board_xy, corners[views])
    return found, errors


def _medians(values, seen):
    """Median (the lower one) over the last axis of what was seen; infinite if nothing was."""
    ordered = np.sort(np.where(seen & ~np.isnan(values), values, np.inf), axis=-1)
    middle = np.maximum(np.broadcast_to(seen, values.shape).sum(axis=-1) - 1, 0) // 2
    return np.take_along_axis(ordered, middle[..., np.newaxis], axis=-1)[..., 0]


def _sampled_homographies(board_xy, corners, seen):
    """Take the map through four corners that leaves the least median error, of many draws.

    The draws are the same for every view, so that an answer does not hang on the order of views.
    """
    keys = np.random.default_rng(0).uniform(size=(_N_DRAWS, len(board_xy)))
    keys = np.where(seen[:, np.newaxis], keys, 2.0)
    drawn = np.argpartition(keys, 4, axis=-1)[..., :4]
    board = np.column_stack([board_xy, np.ones(len(board_xy))])[drawn]
    image = np.take_along_axis(corners[:, np.newaxis], drawn[..., np.newaxis], axis=2)
    system = np.zeros((*drawn.shape[:2], 4, 2, 8))
    system[..., 0, :3] = system[..., 1, 3:6] = board
    system[..., 6:] = -image[..., :, np.newaxis] * board[..., np.newaxis, :2]
    system = system.reshape(*drawn.shape[:2], 8, 8)
    # four corners of which three lie on a line determine nothing: a hair of stiffness
    scale = np.abs(system).max(axis=-2, keepdims=True)
    system = system / scale + 1e-9 * np.eye(8)
    right = image.reshape(*drawn.shape[:2], 8, 1)
    maps = np.ones((*drawn.shape[:2], 9))
    maps[..., :8] = np.linalg.solve(system, right)[..., 0] / scale[..., 0, :]
    maps = maps.reshape(*drawn.shape[:2], 3, 3)
    points = np.column_stack([board_xy, np.ones(len(board_xy))])
    mapped = points @ np.swapaxes(maps, -1, -2)
    with np.errstate(invalid="ignore", divide="ignore"):
        errors = np.linalg.norm(mapped[..., :2] / mapped[..., 2:] - corners[:, np.newaxis], axis=-1)
    best = np.argmin(_medians(errors, seen[:, np.newaxis]), axis=1)
    return maps[np.arange(len(maps)), best]


def _weighted_homographies(board_xy, corners, weights):
    """Direct linear transform with normalised coordinates, (n_views, 3, 3)."""
    centre = board_xy.mean(axis=0)
    size = np.sqrt(((board_xy - centre) ** 2).sum(axis=1).mean())
    from_board = np.array([[1 / size, 0, 0], [0, 1 / size, 0], [0, 0, 1.0]])
    from_board[:2, 2] = -centre / size
    points = np.column_stack([(board_xy - centre) / size, np.ones(len(board_xy))])
    image = np.where(weights[..., np.newaxis] > 0, corners, 0.0)
    total = weights.sum(axis=1)[:, np.newaxis]
    middle = np.einsum("vk,vki->vi", weights, image) / total
    shifted = (image - middle[:, np.newaxis]) * (weights > 0)[..., np.newaxis]
    width = np.sqrt(np.einsum("vk,vki->v", weights, shifted**2) / total[:, 0])
    width = np.where(width > 0, width, 1.0)
    shifted = shifted / width[:, np.newaxis, np.newaxis]
    products = (points[:, :, np.newaxis] * points[:, np.newaxis]).reshape(-1, 9)

    def moments(factor):
        return ((weights * factor) @ products).reshape(-1, 3, 3)

    u, v = shifted[..., 0], shifted[..., 1]
    normal = np.zeros((len(corners), 9, 9))
    normal[:, :3, :3] = normal[:, 3:6, 3:6] = moments(1.0)
    normal[:, :3, 6:] = normal[:, 6:, :3] = -moments(u)
    normal[:, 3:6, 6:] = normal[:, 6:, 3:6] = -moments(v)
    normal[:, 6:, 6:] = moments(u * u + v * v)
    least = np.linalg.eigh(normal)[1][..., 0].reshape(-1, 3, 3)
    to_image = np.zeros_like(least)
    to_image[:, 0, 0] = to_image[:, 1, 1] = width
    to_image[:, :2, 2] = middle
    to_image[:, 2, 2] = 1.0
    return to_image @ least @ from_board


def _transfer_errors(maps, board_xy, corners):
    """Distances of corners from where homographies put them."""
    points = np.column_stack([board_xy, np.ones(len(board_xy))])
    image = points @ np.swapaxes(maps, 1, 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.linalg.norm(image[..., :2] / image[..., 2:] - corners, axis=-1)


def poses_from_homographies(maps: np.ndarray, board_centre: np.ndarray) -> np.ndarray:
    """Return the two poses of a flat board that a homography leaves.

    Infinitesimal plane-based pose estimation (Collins and Bartoli, 2014).

    Parameters
    ----------
    maps : ndarray of shape (n_views, 3, 3)
        Normalised image (x / z, y / z) from board.
    board_centre : ndarray of shape (2,)
        Middle of the board: the point at which the map is differentiated.

    Returns
    -------
    ndarray of shape (n_views, 2, 4, 4)
        Camera from board, up to refinement; NaN where there is none.
    """
    shift = np.eye(3)
    shift[:2, 2] = board_centre
    maps = maps @ shift
    with np.errstate(invalid="ignore", divide="ignore"):
        maps = maps / maps[:, 2:, 2:]
        p, q = maps[:, 0, 2], maps[:, 1, 2]
        image = np.stack([p, q], axis=-1)
        slope = maps[:, :2, :2] - image[:, :, np.newaxis] * maps[:, 2:, :2]
        # rotation that takes the optical axis to the line of sight of the board's middle
        length = np.sqrt(1 + p * p + q * q)
        sight = np.stack([p, q, np.ones_like(p)], axis=-1) / length[:, np.newaxis]
        turn = np.tile(np.eye(3), (len(maps), 1, 1))
        axis = np.stack([-sight[:, 1], sight[:, 0]], axis=-1)  # z cross sight, its x and y
        turn[:, 0, 2], turn[:, 1, 2] = axis[:, 1], -axis[:, 0]
        turn[:, 2, 0], turn[:, 2, 1] = -axis[:, 1], axis[:, 0]
        rest = 1 / (1 + sight[:, 2])
        turn[:, 0, 0] = 1 - rest * axis[:, 1] ** 2
        turn[:, 1, 1] = 1 - rest * axis[:, 0] ** 2
        turn[:, 0, 1] = turn[:, 1, 0] = rest * axis[:, 0] * axis[:, 1]
        turn[:, 2, 2] = sight[:, 2]
        base = turn[:, :2, :2] - image[:, :, np.newaxis] * turn[:, 2:, :2]
        local = np.linalg.solve(base, slope)
        gram = np.swapaxes(local, 1, 2) @ local
        half = (gram[:, 0, 0] + gram[:, 1, 1]) / 2
        root = np.sqrt(np.maximum(half**2 - np.linalg.det(gram), 0.0))
        gamma = np.sqrt(half + root)
        local = local / gamma[:, np.newaxis, np.newaxis]
        gram = gram / (gamma**2)[:, np.newaxis, np.newaxis]
        first = np.sqrt(np.maximum(1 - gram[:, 0, 0], 0.0))
        second = np.sqrt(np.maximum(1 - gram[:, 1, 1], 0.0))
        second = np.where(gram[:, 0, 1] > 0, -second, second)
    poses = np.full((len(maps), 2, 4, 4), np.nan)
    for k, sign in enumerate((1.0, -1.0)):
        rotation = np.empty((len(maps), 3, 3))
        rotation[:, :2, :2] = local
        rotation[:, 2, 0] = sign * first
        rotation[:, 2, 1] = sign * second
        rotation[:, :, 2] = np.cross(rotation[:, :, 0], rotation[:, :, 1])
        rotation = turn @ rotation
        poses[:, k, :3, :3] = rotation
        # the board's middle lies on the line of sight, as far as its size says
        middle = np.concatenate([image, np.ones_like(p)[:, np.newaxis]], axis=1)
        middle = middle / gamma[:, np.newaxis]
        poses[:, k, :3, 3] = middle - rotation[:, :, :2] @ board_centre
        poses[:, k, 3] = [0, 0, 0, 1]
    return poses


def view_poses(
    board_points: np.ndarray, normalised: np.ndarray, *, maps: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Find both poses of a flat board in each view.

    Parameters
    ----------
    board_points : ndarray of shape (n_corners, 3)
        Corners on the board, z = 0.
    normalised : ndarray of shape (n_views, n_corners, 2)
        Undistorted corners, x / z and y / z; NaN where not seen.
    maps : ndarray of shape (n_views, 3, 3), optional
        Homographies of the views, if known.

    Returns
    -------
    poses : ndarray of shape (n_views, 2, 4, 4)
        Camera from board.
    errors : ndarray of shape (n_views, 2)
        Median distance of the corners from where the pose puts them, in normalised
        coordinates; the better one comes first. Infinite where a view leaves no pose.
    """
    poses = np.full((len(normalised), 2, 4, 4), np.nan)
    usable = np.isfinite(normalised[..., 0]).sum(axis=1) >= 4
    if maps is None:
        maps, _ = homographies(board_points[:, :2], normalised[usable])
    else:
        maps = maps[usable]
    poses[usable] = poses_from_homographies(maps, board_points[:, :2].mean(axis=0))
    errors = pose_errors(board_points, normalised[:, np.newaxis], poses)
    order = np.argsort(errors, axis=1)
    errors = np.take_along_axis(errors, order, axis=1)
    return np.take_along_axis(poses, order[..., np.newaxis, np.newaxis], axis=1), errors


def pose_errors(board_points: np.ndarray, normalised: np.ndarray, poses: np.ndarray) -> np.ndarray:
    """Median distance between corners and where a pose puts them, in normalised coordinates.

    Parameters
    ----------
    board_points : ndarray of shape (n_corners, 3)
        Corners on the board.
    normalised : ndarray of shape (..., n_corners, 2)
        Undistorted corners; NaN where not seen.
    poses : ndarray of shape (..., 4, 4)
        Camera from board.

    Returns
    -------
    ndarray of shape (...)
        Infinite where the pose is NaN, puts a corner behind the camera, or nothing was seen.
    """
    shape = np.broadcast_shapes(normalised.shape[:-2], poses.shape[:-2])
    fast = _compiled(int(np.prod(shape)) * len(board_points))
    if fast is not None:
        views = np.broadcast_to(normalised, (*shape, *normalised.shape[-2:]))
        poses = np.broadcast_to(poses, (*shape, 4, 4))
        out = np.empty(int(np.prod(shape)))
        fast.pose_errors(
            np.ascontiguousarray(board_points),
            np.ascontiguousarray(views).reshape(-1, *normalised.shape[-2:]),
            np.ascontiguousarray(poses).reshape(-1, 4, 4),
            out,
        )
        return out.reshape(shape)
    points = board_points @ np.swapaxes(poses[..., :3, :3], -1, -2)
    points = points + poses[..., np.newaxis, :3, 3]
    with np.errstate(invalid="ignore", divide="ignore"):
        image = points[..., :2] / np.where(points[..., 2:] > 0, points[..., 2:], np.nan)
        distance = np.linalg.norm(image - normalised, axis=-1)
    seen = np.isfinite(normalised[..., 0])
    return _medians(distance, seen)
