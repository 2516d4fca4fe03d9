"""Views of boards, compiled: residuals, normal equations, one camera's whole fit.

What NumPy does in `calibration.normals` and `calibration.levenberg`. Lens models and losses are
numbers here (see `calibration.normals`); coefficients fill eight places in OpenCV's order.
"""

import numpy as np
from numba import float64, int64, njit, void

from calibration.kernels.common import (
    FLAGS1,
    FLAGS2,
    IN1,
    IN2,
    IN3,
    INDICES,
    OUT2,
    OUT3,
    SETTINGS,
    bend,
    bend_all,
)

_LOSS = (int64, float64)
_POSED = (IN2, IN1, IN3, INDICES, INDICES)


@njit(**SETTINGS)
def _coefficient_rows(model, dist, fx, fy, skew, count, x, y, weight, columns, half):
    """Write the rows of the distortion coefficients."""
    if model == 0:
        return
    if model == 3:
        for k in range(count):
            r = np.sqrt(x[k] * x[k] + y[k] * y[k])
            theta = np.arctan(r)
            power = weight[k] * theta / max(r, 1e-12)
            for i in range(4):
                power = power * theta * theta
                columns[10 + i, k] = (fx * x[k] + skew * y[k]) * power
                columns[10 + i, half + k] = fy * y[k] * power
        return
    for k in range(count):
        r2 = x[k] * x[k] + y[k] * y[k]
        up, down = 1.0, 1.0
        if model == 2:
            up = 1 + r2 * (dist[0] + r2 * (dist[1] + r2 * dist[4]))
            down = 1 + r2 * (dist[5] + r2 * (dist[6] + r2 * dist[7]))
        bx, by = weight[k] * (fx * x[k] + skew * y[k]), weight[k] * fy * y[k]
        first = r2 / down
        columns[10, k], columns[10, half + k] = bx * first, by * first
        columns[11, k], columns[11, half + k] = bx * first * r2, by * first * r2
        columns[14, k], columns[14, half + k] = bx * first * r2 * r2, by * first * r2 * r2
        tx, ty = 2 * x[k] * y[k], r2 + 2 * y[k] * y[k]
        columns[12, k] = weight[k] * (fx * tx + skew * ty)
        columns[12, half + k] = weight[k] * fy * ty
        tx, ty = r2 + 2 * x[k] * x[k], 2 * x[k] * y[k]
        columns[13, k] = weight[k] * (fx * tx + skew * ty)
        columns[13, half + k] = weight[k] * fy * ty
        if model == 2:
            factor_ = -up / down * first
            columns[15, k], columns[15, half + k] = bx * factor_, by * factor_
            factor_ *= r2
            columns[16, k], columns[16, half + k] = bx * factor_, by * factor_
            factor_ *= r2
            columns[17, k], columns[17, half + k] = bx * factor_, by * factor_


@njit(**SETTINGS)
def _fill(
    model, lens, rotation, translation, points, corners, used, kind, limit, columns, work
):  # fmt: skip
    """Write one view's weighted Jacobian and residual; return the number of rows and the loss.

    ``lens`` is fx, fy, cx, cy, skew and eight coefficients. Corners that do not count are
    left out, so that the rows are dense; each loop is short enough for the vector unit.
    """
    fx, fy, cx, cy, skew = lens[0], lens[1], lens[2], lens[3], lens[4]
    n = columns.shape[0] - 1
    tx, ty, tz = work[0], work[1], work[2]
    x, y, inverse = work[3], work[4], work[5]
    bent_x, bent_y = work[6], work[7]
    xx, xy, yy = work[8], work[9], work[10]
    weight, rx, ry = work[11], work[12], work[13]
    count = 0
    for j in range(points.shape[0]):
        if used[j]:
            tx[count], ty[count], tz[count] = points[j, 0], points[j, 1], points[j, 2]
            rx[count], ry[count] = corners[j, 0], corners[j, 1]
            count += 1
    half = count  # first the rows of x, then those of y
    nearest = np.inf
    for k in range(count):
        px, py, pz = tx[k], ty[k], tz[k]
        tx[k] = rotation[0, 0] * px + rotation[0, 1] * py + rotation[0, 2] * pz
        ty[k] = rotation[1, 0] * px + rotation[1, 1] * py + rotation[1, 2] * pz
        tz[k] = rotation[2, 0] * px + rotation[2, 1] * py + rotation[2, 2] * pz
        z = tz[k] + translation[2]
        nearest = min(nearest, z)
        inverse[k] = 1.0 / z
        x[k] = (tx[k] + translation[0]) * inverse[k]
        y[k] = (ty[k] + translation[1]) * inverse[k]
    if count > 0 and not nearest > 0:
        return 0, np.inf
    bend_all(model, lens[5:], count, x, y, bent_x, bent_y, xx, xy, yy)
    cost = 0.0
    for k in range(count):
        rx[k] -= fx * bent_x[k] + skew * bent_y[k] + cx
        ry[k] -= fy * bent_y[k] + cy
    if kind == 0:
        for k in range(count):
            weight[k] = 1.0
            cost += rx[k] * rx[k] + ry[k] * ry[k]
    elif kind == 1:
        for k in range(count):
            length = np.sqrt(rx[k] * rx[k] + ry[k] * ry[k])
            near = min(length, limit)
            # the square up to the limit, its tangent beyond
            cost += near * (2 * length - near)
            weight[k] = np.sqrt(near / max(length, 1e-300)) if length > limit else 1.0
    else:
        for k in range(count):
            square = (rx[k] * rx[k] + ry[k] * ry[k]) / (limit * limit)
            inside = max(0.0, 1.0 - square)
            weight[k] = inside
            cost += limit * limit / 3 * (1 - inside * inside * inside)
    for k in range(count):
        scale = weight[k] * inverse[k]
        a = (fx * xx[k] + skew * xy[k]) * scale
        b = (fx * xy[k] + skew * yy[k]) * scale
        c = -(a * x[k] + b * y[k])
        columns[3, k], columns[4, k], columns[5, k] = a, b, c
        columns[0, k] = c * ty[k] - b * tz[k]
        columns[1, k] = a * tz[k] - c * tx[k]
        columns[2, k] = b * tx[k] - a * ty[k]
    for k in range(count):
        scale = weight[k] * inverse[k]
        a, b = fy * xy[k] * scale, fy * yy[k] * scale
        c = -(a * x[k] + b * y[k])
        m = half + k
        columns[3, m], columns[4, m], columns[5, m] = a, b, c
        columns[0, m] = c * ty[k] - b * tz[k]
        columns[1, m] = a * tz[k] - c * tx[k]
        columns[2, m] = b * tx[k] - a * ty[k]
    for k in range(count):
        m = half + k
        columns[6, k], columns[6, m] = weight[k] * bent_x[k], 0.0
        columns[7, k], columns[7, m] = 0.0, weight[k] * bent_y[k]
        columns[8, k], columns[8, m] = weight[k], 0.0
        columns[9, k], columns[9, m] = 0.0, weight[k]
        columns[n, k], columns[n, m] = weight[k] * rx[k], weight[k] * ry[k]
    _coefficient_rows(model, lens[5:], fx, fy, skew, count, x, y, weight, columns, half)
    return count, cost


@njit(**SETTINGS)
def _multiply(columns, count, square):
    """Multiply one view's columns with each other, (n + 1, n + 1)."""
    for a in range(columns.shape[0]):
        for b in range(a, columns.shape[0]):
            total = 0.0
            for k in range(2 * count):
                total += columns[a, k] * columns[b, k]
            square[a, b] = total
            square[b, a] = total


@njit(
    float64(
        int64, IN1, int64, IN3, IN2, IN2, IN3, FLAGS2, *_LOSS, OUT3,
    ),
    **SETTINGS,
)  # fmt: skip
def view_products(
    model, lens, n, rotations, translations, points, corners, used, kind, limit, products
):
    """Fill products (n_views, n + 1, n + 1) as `calibration.normals.view_normals`; the loss."""
    columns = np.zeros((n + 1, 2 * points.shape[0]))
    work = np.empty((14, points.shape[0]))
    total = 0.0
    for view in range(rotations.shape[0]):
        count, cost = _fill(
            model, lens, rotations[view], translations[view], points, corners[view], used[view],
            kind, limit, columns, work,
        )  # fmt: skip
        total += cost
        if not total < np.inf:
            return np.inf
        _multiply(columns, count, products[view])
    return total


@njit(
    float64(
        int64, IN1, int64, *_POSED, IN2, IN3, FLAGS2, *_LOSS, float64, FLAGS1, int64,
        OUT3, OUT2, OUT3, OUT2,
    ),
    **SETTINGS,
)  # fmt: skip
def camera_normals(
    model, lens, n, rotation, tvec, poses, moments, frames, points, corners, used, kind, limit,
    weight, free, first, boards, board_gradient, mixed, total,
):  # fmt: skip
    """Add one camera's views to the normal equations of cameras and boards.

    The Jacobian is taken by the board's pose in the camera; increments of board and camera
    are linear maps of it, as in `calibration.levenberg.Adjustment.normals`. Returns the loss.
    """
    columns = np.zeros((n + 1, 2 * points.shape[0]))
    work = np.empty((14, points.shape[0]))
    square = np.empty((n + 1, n + 1))
    turned = np.empty((n + 1, 6))
    turn = np.empty((3, 3))
    swing = np.empty(3)
    place = np.empty(3)
    sum_cost = 0.0
    total[:] = 0.0
    for view in range(moments.shape[0]):
        moment, frame = moments[view], frames[view]
        for i in range(3):
            for j in range(3):
                value = 0.0
                for k in range(3):
                    value += rotation[i, k] * poses[moment, k, j]
                turn[i, j] = value
            value = 0.0
            for k in range(3):
                value += rotation[i, k] * poses[moment, k, 3]
            swing[i] = value
            place[i] = value + tvec[i]
        count, cost = _fill(
            model, lens, turn, place, points, corners[frame], used[frame], kind, limit, columns,
            work,
        )  # fmt: skip
        sum_cost += weight * cost
        if not sum_cost < np.inf:
            return np.inf
        if count == 0:
            continue
        _multiply(columns, count, square)
        for a in range(n + 1):
            for b in range(n + 1):
                square[a, b] *= weight
        # by the board's increments: turned from the camera's axes into the world's
        for a in range(n + 1):
            for half in range(2):
                for j in range(3):
                    value = 0.0
                    for k in range(3):
                        value += square[a, 3 * half + k] * rotation[k, j]
                    turned[a, 3 * half + j] = value
        for j in range(6):
            board_gradient[moment, j] += turned[n, j]
            for half in range(2):
                for i in range(3):
                    value = 0.0
                    for k in range(3):
                        value += rotation[k, i] * turned[3 * half + k, j]
                    boards[moment, 3 * half + i, j] += value
        # by the camera's: its turn swings the board about it; rows, then columns
        for j in range(6):
            a, b, c = turned[3, j], turned[4, j], turned[5, j]
            turned[0, j] += b * -swing[2] + c * swing[1]
            turned[1, j] += a * swing[2] - c * swing[0]
            turned[2, j] += -a * swing[1] + b * swing[0]
        column = first
        for i in range(n):
            if free[i]:
                for j in range(6):
                    mixed[moment, j, column] += turned[i, j]
                column += 1
        for j in range(n + 1):
            a, b, c = square[3, j], square[4, j], square[5, j]
            square[0, j] += b * -swing[2] + c * swing[1]
            square[1, j] += a * swing[2] - c * swing[0]
            square[2, j] += -a * swing[1] + b * swing[0]
        for i in range(n + 1):
            a, b, c = square[i, 3], square[i, 4], square[i, 5]
            square[i, 0] += b * -swing[2] + c * swing[1]
            square[i, 1] += a * swing[2] - c * swing[0]
            square[i, 2] += -a * swing[1] + b * swing[0]
        for i in range(n + 1):
            for j in range(n + 1):
                total[i, j] += square[i, j]
    return sum_cost


@njit(
    void(int64, IN1, *_POSED, IN2, IN3, OUT3),
    **SETTINGS,
)
def view_residuals(model, lens, rotation, tvec, poses, moments, frames, points, corners, out):
    """Write detected minus projected corners of one camera; NaN behind it and where unseen."""
    bent = np.empty(6)
    turn = np.empty((3, 3))
    place = np.empty(3)
    for view in range(moments.shape[0]):
        moment, frame = moments[view], frames[view]
        for i in range(3):
            for j in range(3):
                value = 0.0
                for k in range(3):
                    value += rotation[i, k] * poses[moment, k, j]
                turn[i, j] = value
            value = tvec[i]
            for k in range(3):
                value += rotation[i, k] * poses[moment, k, 3]
            place[i] = value
        for j in range(points.shape[0]):
            if np.isnan(corners[frame, j, 0]):
                continue
            px, py, pz = points[j, 0], points[j, 1], points[j, 2]
            z = turn[2, 0] * px + turn[2, 1] * py + turn[2, 2] * pz + place[2]
            if not z > 0:
                continue
            x = (turn[0, 0] * px + turn[0, 1] * py + turn[0, 2] * pz + place[0]) / z
            y = (turn[1, 0] * px + turn[1, 1] * py + turn[1, 2] * pz + place[1]) / z
            bend(model, lens[5:], x, y, bent)
            out[frame, j, 0] = corners[frame, j, 0] - (
                lens[0] * bent[0] + lens[4] * bent[1] + lens[2]
            )
            out[frame, j, 1] = corners[frame, j, 1] - (lens[1] * bent[1] + lens[3])
