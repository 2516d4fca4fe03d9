"""By how much one camera is late, to a hundredth of a frame, against where the others say."""

import numpy as np

from calibration.boards import BoardDetections
from calibration.cameras import Camera, Intrinsics
from calibration.mending import MAX_GAP, MIN_LATE, offsets_as_faults, whole
from calibration.multiview import projection_jacobian
from calibration.poses import view_poses
from calibration.results import TimeFault
from calibration.rotations import cross_matrix, mean_motion, rotation_matrices, rotation_vectors

#: Fewest views, and fewest on each side of a change.
_MIN_SHARED = 6
_MIN_SIDE = 3
#: Standard errors from which on a lateness, or a change of it, is beyond doubt.
_MIN_SIGNIFICANCE = 5.0


def lateness(
    name: str,
    lens: Intrinsics,
    detections: BoardDetections,
    corners: np.ndarray,
    board_poses: np.ndarray,
) -> tuple[TimeFault, ...]:
    """Find by how much one camera is late, all along or from a moment on, against the others.

    A camera late by s frames sees every corner s times its image velocity behind where it is.
    Its place and s are fitted together to where the boards stand by the other cameras, then
    with one s before and another after each moment.

    Parameters
    ----------
    name : str
        The camera.
    lens : Intrinsics
        Its lens, as found from its own boards alone.
    detections : BoardDetections
        Its board and frame numbers.
    corners : ndarray of shape (n_frames, n_corners, 2)
        What it saw.
    board_poses : ndarray of shape (n_frames, 4, 4)
        World from board by the other cameras; NaN where they do not tell.

    Returns
    -------
    tuple of TimeFault
        Empty where it is not late by more than a fraction of a frame, beyond doubt.
    """
    order = np.argsort(detections.frames, kind="stable")
    frames, corners, boards = detections.frames[order], corners[order], board_poses[order]
    points = np.array(detections.board.corners)
    own, errors = view_poses(points, lens.undistort(corners))
    readings = own[:, 0] @ np.linalg.inv(np.where(np.isfinite(boards), boards, np.eye(4)))
    clear = (errors[:, 0] < 0.7 * errors[:, 1]) & np.isfinite(boards[:, 0, 0])
    if len(frames) < 3 or clear.sum() < _MIN_SHARED:
        return ()
    pose = mean_motion(readings[clear])
    step = np.diff(frames)
    near = (step[1:] > 0) & (step[:-1] > 0) & (frames[2:] - frames[:-2] <= 2 * MAX_GAP)
    gap = np.where(near, frames[2:] - frames[:-2], np.nan)
    velocity = np.full(corners.shape, np.nan)
    velocity[1:-1] = (corners[2:] - corners[:-2]) / gap[:, np.newaxis, np.newaxis]
    good = np.isfinite(velocity).all(axis=-1) & np.isfinite(boards[:, :1, 0])
    moments = np.flatnonzero(good.any(axis=1))
    if len(moments) < 2 * _MIN_SIDE:
        return ()
    good, velocity, corners, boards = (a[moments] for a in (good, velocity, corners, boards))
    world = points @ np.swapaxes(boards[:, :3, :3], 1, 2) + boards[:, np.newaxis, :3, 3]
    late = 0.0
    for _ in range(12):
        normal, right, squares = _late_normals(lens, pose, world, corners, velocity, good, late)
        if not (np.isfinite(normal).all() and np.isfinite(right).all() and normal.any()):
            return ()  # boards that lie behind the camera: garbage
        change = np.linalg.pinv(normal.sum(axis=0), rcond=1e-12, hermitian=True) @ right.sum(axis=0)
        pose, late = _moved(pose, change[:6]), change[6]
        if np.abs(change[:3]).max() < 1e-7:
            break
    normal, right, squares = _late_normals(lens, pose, world, corners, velocity, good, late)
    one, error_one, left_one = _sides(normal, right, squares, None)
    cuts = [
        (_sides(normal, right, squares, k), k)
        for k in range(_MIN_SIDE, len(moments) - _MIN_SIDE + 1)
    ]
    # the corners of one view err together: views count, not corners
    views = len(moments)
    (two, _, left_two), k = min(cuts, key=lambda each: each[0][2])
    variance = left_two / (2 * views)
    if left_one - left_two > _MIN_SIGNIFICANCE**2 * variance and abs(two[1] - two[0]) > 0.5:
        last, frame = frames[moments[k - 1]], frames[moments[k]]
        return offsets_as_faults(name, whole(two[0]), whole(two[1]), int(last), int(frame))
    error = error_one * np.sqrt(left_one / (2 * views))
    if abs(one[0]) > max(MIN_LATE, _MIN_SIGNIFICANCE * error):
        return offsets_as_faults(name, one[0], one[0], None, None)
    return ()


def _late_normals(lens, pose, world, corners, velocity, good, late):
    """Return each moment's normal equations in place (6) and lateness, and its squares.

    A corner far off for the lateness found so far counts less (Huber).
    """
    camera = Camera("camera", lens, rotation_vectors(pose[:3, :3]), pose[:3, 3])
    turned = world @ pose[:3, :3].T
    by_point = projection_jacobian(camera, world) @ pose[:3, :3].T
    slopes = np.empty((*good.shape, 2, 7))
    slopes[..., :3] = -by_point @ cross_matrix(turned)
    slopes[..., 3:6] = by_point
    slopes[..., 6] = -velocity
    residual = corners - camera.project(world)
    off = np.linalg.norm(residual + late * velocity, axis=-1)
    good = good & np.isfinite(residual).all(axis=-1) & np.isfinite(slopes).all(axis=(-1, -2))
    limit = 3 * np.median(off[good]) if good.any() else np.inf
    weight = np.where(good, np.minimum(1.0, limit / np.maximum(off, limit * 1e-3)), 0.0)
    slopes, residual = (
        np.where(good.reshape(*good.shape, *[1] * (a.ndim - 2)), a, 0.0) for a in (slopes, residual)
    )
    normal = np.einsum("fk,fkxi,fkxj->fij", weight, slopes, slopes)
    right = np.einsum("fk,fkxi,fkx->fi", weight, slopes, residual)
    # an average view's worth of corners counts as one
    per_view = max(weight.sum() / len(weight), 1e-12)
    squares = np.einsum("fk,fkx->f", weight, residual**2)
    return normal / per_view, right / per_view, squares / per_view


def _sides(normal, right, squares, k):
    """Fit place and lateness, one before moment k and another after: both, error, squares left."""
    n = 7 if k is None else 8
    total, sums = np.zeros((n, n)), np.zeros(n)
    for part, column in ((slice(0, k), 6), (slice(k, None), 7)) if k else ((slice(None), 6),):
        rows = [*range(6), column]
        total[np.ix_(rows, rows)] += normal[part].sum(axis=0)
        sums[rows] += right[part].sum(axis=0)
    # a side on which nothing moves leaves its lateness open
    inverse = np.linalg.pinv(total, rcond=1e-12, hermitian=True)
    found = inverse @ sums
    left = float(squares.sum() - sums @ found)
    return found[6:], float(np.sqrt(inverse[6, 6])), max(left, 1e-12)


def _moved(pose, change):
    """Turn and shift a camera's place by increments."""
    out = pose.copy()
    out[:3, :3] = rotation_matrices(change[:3]) @ pose[:3, :3]
    out[:3, 3] += change[3:]
    return out
