"""Homographies of many views, and how well poses explain them, compiled.

What NumPy does in `calibration.poses`.
"""

import numpy as np
from numba import njit, void

from calibration.kernels.common import IN2, IN3, OUT1, OUT2, OUT3, SETTINGS, factor


@njit(**SETTINGS)
def _median(values, count):
    """Return the lower median of the first values, which it reorders (Hoare's selection)."""
    target = (count - 1) // 2
    low, high = 0, count - 1
    while low < high:
        pivot = values[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if target <= j:
            high = j
        elif target >= i:
            low = i
        else:
            break
    return values[target]


@njit(void(IN2, IN3, OUT3, OUT2), **SETTINGS)
def homographies(board, corners, maps, errors):
    """Fit a homography to each view by least squares; write maps and distances of corners.

    Direct linear transform in coordinates of unit spread, with the map's last entry one: the
    board's middle is not at infinity. NaN where a view has fewer than four corners.
    """
    n_corners = board.shape[0]
    centre_x, centre_y = 0.0, 0.0
    for j in range(n_corners):
        centre_x += board[j, 0] / n_corners
        centre_y += board[j, 1] / n_corners
    size = 0.0
    for j in range(n_corners):
        size += ((board[j, 0] - centre_x) ** 2 + (board[j, 1] - centre_y) ** 2) / n_corners
    size = np.sqrt(size)
    normal = np.zeros((8, 8))
    right = np.zeros(8)
    row = np.zeros(8)
    for view in range(corners.shape[0]):
        errors[view, :] = np.nan
        maps[view, :, :] = np.nan
        count = 0
        middle_x, middle_y = 0.0, 0.0
        for j in range(n_corners):
            if not np.isnan(corners[view, j, 0]):
                count += 1
                middle_x += corners[view, j, 0]
                middle_y += corners[view, j, 1]
        if count < 4:
            continue
        middle_x /= count
        middle_y /= count
        width = 0.0
        for j in range(n_corners):
            if not np.isnan(corners[view, j, 0]):
                width += (corners[view, j, 0] - middle_x) ** 2
                width += (corners[view, j, 1] - middle_y) ** 2
        width = np.sqrt(width / count)
        if not width > 0:
            width = 1.0
        normal[:] = 0.0
        right[:] = 0.0
        for j in range(n_corners):
            if np.isnan(corners[view, j, 0]):
                continue
            x, y = (board[j, 0] - centre_x) / size, (board[j, 1] - centre_y) / size
            for axis in range(2):
                target = corners[view, j, axis]
                target = (target - (middle_x if axis == 0 else middle_y)) / width
                row[:] = 0.0
                row[3 * axis], row[3 * axis + 1], row[3 * axis + 2] = x, y, 1.0
                row[6], row[7] = -target * x, -target * y
                for a in range(8):
                    for b in range(a + 1):
                        normal[a, b] += row[a] * row[b]
                    right[a] += row[a] * target
        for a in range(8):
            # four corners of which three lie on a line determine nothing: a hair of stiffness
            normal[a, a] += 1e-12 * count
        if not factor(normal, 8):
            continue
        for a in range(8):
            for b in range(a):
                right[a] -= normal[a, b] * right[b]
            right[a] /= normal[a, a]
        for a in range(7, -1, -1):
            for b in range(a + 1, 8):
                right[a] -= normal[b, a] * right[b]
            right[a] /= normal[a, a]
        # undo the scaling on the board's side, then on the image's
        for axis in range(3):
            p = right[3 * axis] if axis < 2 else right[6]
            q = right[3 * axis + 1] if axis < 2 else right[7]
            r = right[3 * axis + 2] if axis < 2 else 1.0
            maps[view, axis, 0] = p / size
            maps[view, axis, 1] = q / size
            maps[view, axis, 2] = r - (p * centre_x + q * centre_y) / size
        for k in range(3):
            maps[view, 0, k] = width * maps[view, 0, k] + middle_x * maps[view, 2, k]
            maps[view, 1, k] = width * maps[view, 1, k] + middle_y * maps[view, 2, k]
        for j in range(n_corners):
            if np.isnan(corners[view, j, 0]):
                continue
            x, y = board[j, 0], board[j, 1]
            m = maps[view]
            w = m[2, 0] * x + m[2, 1] * y + m[2, 2]
            dx = (m[0, 0] * x + m[0, 1] * y + m[0, 2]) / w - corners[view, j, 0]
            dy = (m[1, 0] * x + m[1, 1] * y + m[1, 2]) / w - corners[view, j, 1]
            errors[view, j] = np.sqrt(dx * dx + dy * dy)


@njit(void(IN2, IN3, IN3, OUT1), **SETTINGS)
def pose_errors(points, normalised, poses, out):
    """Write the median distance of each view's corners from where its pose puts them.

    Infinite where the pose is NaN, a corner would lie behind the camera, or none was seen.
    """
    lengths = np.empty(points.shape[0])
    for view in range(normalised.shape[0]):
        pose = poses[view]
        out[view] = np.inf
        if not abs(pose[0, 0]) < np.inf:
            continue
        count, far = 0, 0
        for j in range(points.shape[0]):
            if np.isnan(normalised[view, j, 0]):
                continue
            px, py, pz = points[j, 0], points[j, 1], points[j, 2]
            z = pose[2, 0] * px + pose[2, 1] * py + pose[2, 2] * pz + pose[2, 3]
            if not z > 0:
                far += 1
                continue
            x = (pose[0, 0] * px + pose[0, 1] * py + pose[0, 2] * pz + pose[0, 3]) / z
            y = (pose[1, 0] * px + pose[1, 1] * py + pose[1, 2] * pz + pose[1, 3]) / z
            dx, dy = x - normalised[view, j, 0], y - normalised[view, j, 1]
            lengths[count] = dx * dx + dy * dy
            count += 1
        total = count + far
        # corners behind the camera are infinitely far off
        if total > 0 and count > (total - 1) // 2:
            for k in range(count, total):
                lengths[k] = np.inf
            out[view] = np.sqrt(_median(lengths, total))
