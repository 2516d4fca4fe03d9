"""Lenses undone, point by point, compiled: what NumPy does in `calibration.lenses.undistort`."""

import numpy as np
from numba import int64, njit, void

from calibration.kernels.common import IN1, IN2, OUT2, SETTINGS, bend


@njit(void(int64, IN1, IN2, OUT2), **SETTINGS)
def undistort(model, dist, bent, out):
    """Undo the Brown (1), rational (2) or fisheye (3) model by Newton's method; NaN off it."""
    both = np.empty(6)
    for i in range(bent.shape[0]):
        u, v = bent[i, 0], bent[i, 1]
        out[i, 0] = out[i, 1] = np.nan
        if np.isnan(u) or np.isnan(v):
            continue
        if model == 3:
            r = np.sqrt(u * u + v * v)
            theta = min(r, 1.5)
            value, slope = 0.0, 1.0
            for _ in range(21):
                t2 = theta * theta
                value = theta * (
                    1 + t2 * (dist[0] + t2 * (dist[1] + t2 * (dist[2] + t2 * dist[3])))
                )
                slope = 1 + t2 * (
                    3 * dist[0] + t2 * (5 * dist[1] + t2 * (7 * dist[2] + t2 * 9 * dist[3]))
                )
                step = (value - r) / slope
                if abs(step) < 1e-15:
                    break
                theta -= min(max(step, -0.5), 0.5)
            if abs(value - r) < 1e-9 and slope > 0 and theta < np.pi / 2:
                scale = np.tan(theta) / r if r > 1e-12 else 1.0
                out[i, 0], out[i, 1] = u * scale, v * scale
            continue
        x, y = u, v
        det, miss = 1.0, np.inf
        for _ in range(21):
            bend(model, dist, x, y, both)
            du, dv = both[0] - u, both[1] - v
            miss = du * du + dv * dv
            det = both[2] * both[5] - both[3] * both[4]
            dx = (both[5] * du - both[3] * dv) / det
            dy = (both[2] * dv - both[4] * du) / det
            length = np.sqrt(dx * dx + dy * dy)
            if length < 1e-16:
                break
            # a step longer than the point itself means the model is turning back
            limit = 0.5 * (0.1 + np.sqrt(x * x + y * y))
            factor = limit / length if length > limit else 1.0
            x -= factor * dx
            y -= factor * dy
            if length < 1e-9:
                break
        if det > 0 and miss < 1e-16:
            out[i, 0], out[i, 1] = x, y
