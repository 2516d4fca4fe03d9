"""Corners of printed grids, compiled: what NumPy does in `calibration.corners`."""

import numpy as np
from numba import float32, float64, int64, njit, types, void

from calibration.kernels.common import IN1, IN2, IN3, OUT1, OUT2, OUT3, SETTINGS, factor

_SLOPES = types.Array(float32, 2, "C", readonly=True)


@njit(void(IN2, IN2, IN2, float64, OUT2, OUT3), **SETTINGS)
def local_grid(grid, points, at, reach, predicted, axes):
    """Fit a quadratic map around each place to the points within reach, as in NumPy."""
    normal = np.zeros((6, 6))
    right = np.zeros((6, 2))
    row = np.zeros(6)
    centre_x, centre_y, n_seen = 0.0, 0.0, 0
    for j in range(points.shape[0]):
        if not np.isnan(points[j, 0]):
            centre_x += points[j, 0]
            centre_y += points[j, 1]
            n_seen += 1
    predicted[:] = np.nan
    axes[:] = np.nan
    if n_seen < 3:
        return
    centre_x /= n_seen
    centre_y /= n_seen
    for i in range(at.shape[0]):
        normal[:] = 0.0
        right[:] = 0.0
        count = 0
        for j in range(points.shape[0]):
            if np.isnan(points[j, 0]):
                continue
            x, y = grid[j, 0] - at[i, 0], grid[j, 1] - at[i, 1]
            distance = max(abs(x), abs(y))
            if not 0 < distance <= reach:
                continue
            count += 1
            weight = 1.0 / (1 + x * x + y * y)
            row[0], row[1], row[2] = 1.0, x, y
            row[3], row[4], row[5] = x * x, x * y, y * y
            u, v = points[j, 0] - centre_x, points[j, 1] - centre_y
            for a in range(6):
                for b in range(a + 1):
                    normal[a, b] += weight * row[a] * row[b]
                right[a, 0] += weight * row[a] * u
                right[a, 1] += weight * row[a] * v
        if count < 3:
            continue
        # all in one line: the affine part has no answer
        spread = np.empty((3, 3))
        for a in range(3):
            for b in range(3):
                spread[a, b] = normal[max(a, b), min(a, b)]
        if np.linalg.eigvalsh(spread)[0] <= 1e-2:
            continue
        for a in range(3, 6):
            normal[a, a] += 1e-3
        if not factor(normal, 6):
            continue
        for k in range(2):
            for a in range(6):
                for b in range(a):
                    right[a, k] -= normal[a, b] * right[b, k]
                right[a, k] /= normal[a, a]
            for a in range(5, -1, -1):
                for b in range(a + 1, 6):
                    right[a, k] -= normal[b, a] * right[b, k]
                right[a, k] /= normal[a, a]
        predicted[i, 0], predicted[i, 1] = right[0, 0] + centre_x, right[0, 1] + centre_y
        axes[i, 0, 0], axes[i, 1, 0] = right[1, 0], right[1, 1]
        axes[i, 0, 1], axes[i, 1, 1] = right[2, 0], right[2, 1]


@njit(void(_SLOPES, _SLOPES, IN2, IN3, IN2, IN1, IN1, int64, OUT2, OUT1), **SETTINGS)
def refine(slope_x, slope_y, corners, axes, places, weight, narrow, rounds, refined, spread):
    """Move corners to where the edges around them meet.

    Parameters
    ----------
    slope_x, slope_y : ndarray of float32 of shape (height, width)
        Derivatives of the image.
    corners, axes
        First values, in pixels of the slopes, and squares.
    places : ndarray of shape (n_places, 2)
        Where to look along and across the first edge, in squares and in band widths; the second
        edge is seen in the same way.
    weight : ndarray of shape (n_places,)
        What each place counts.
    narrow : ndarray of shape (n,)
        Width of the band at each corner, in squares.
    """
    height, width = slope_x.shape
    for i in range(corners.shape[0]):
        at_x, at_y = corners[i, 0], corners[i, 1]
        a11, a12, a21, a22 = axes[i, 0, 0], axes[i, 0, 1], axes[i, 1, 0], axes[i, 1, 1]
        side = np.sqrt(abs(a11 * a22 - a12 * a21))
        spread[i] = np.nan
        lost = False
        for _ in range(rounds):
            a = b = c = right_x = right_y = wide = 0.0
            for k in range(places.shape[0]):
                s, t = places[k, 0], places[k, 1] * narrow[i]
                for band in range(2):
                    along, across = (s, t) if band == 0 else (t, s)
                    x = along * a11 + across * a12
                    y = along * a21 + across * a22
                    px, py = x + at_x, y + at_y
                    # outside the image there is no slope
                    if not (0 <= px < width - 1 and 0 <= py < height - 1):
                        continue
                    ix, iy = int(px), int(py)
                    fx, fy = px - ix, py - iy
                    w00, w01 = (1 - fx) * (1 - fy), fx * (1 - fy)
                    w10, w11 = (1 - fx) * fy, fx * fy
                    gx = (
                        w00 * slope_x[iy, ix]
                        + w01 * slope_x[iy, ix + 1]
                        + w10 * slope_x[iy + 1, ix]
                        + w11 * slope_x[iy + 1, ix + 1]
                    )
                    gy = (
                        w00 * slope_y[iy, ix]
                        + w01 * slope_y[iy, ix + 1]
                        + w10 * slope_y[iy + 1, ix]
                        + w11 * slope_y[iy + 1, ix + 1]
                    )
                    xx, xy, yy = gx * gx * weight[k], gx * gy * weight[k], gy * gy * weight[k]
                    a += xx
                    b += xy
                    c += yy
                    right_x += xx * x + xy * y
                    right_y += xy * x + yy * y
                    wide += xx * x * x + 2 * xy * x * y + yy * y * y
            det = a * c - b * b
            # edges of one direction only do not make a corner
            if not det > 1e-2 * a * c or not a * c > 0:
                lost = True
                break
            at_x += (c * right_x - b * right_y) / det
            at_y += (a * right_y - b * right_x) / det
            spread[i] = wide / (a + c)
            off = np.sqrt((at_x - corners[i, 0]) ** 2 + (at_y - corners[i, 1]) ** 2)
            if off > 0.5 * side:
                lost = True
                break
        refined[i, 0] = np.nan if lost else at_x
        refined[i, 1] = np.nan if lost else at_y
