"""What the compiled kernels share: settings, types, lens models, a small Cholesky factor."""

import numpy as np
from numba import boolean, float64, int64, njit, types

# never "nnan" or "ninf": what was not seen is NaN, and costs may be infinite. np.isfinite is
# folded to True all the same ("x - x" is 0 to "reassoc"): write abs(x) < np.inf
SETTINGS = {
    "cache": True,
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "arcp", "nsz"},
}


# types of the arguments, so that everything compiles, or comes from the cache, at import;
# what is only read may be read-only, as the arrays of nouns are
IN1, IN2, IN3 = (types.Array(float64, n, "C", readonly=True) for n in (1, 2, 3))
INDICES = types.Array(int64, 1, "C", readonly=True)
FLAGS1, FLAGS2 = (types.Array(boolean, n, "C", readonly=True) for n in (1, 2))
OUT1, OUT2, OUT3 = float64[::1], float64[:, ::1], float64[:, :, ::1]


@njit(**SETTINGS)
def bend(model, dist, x, y, out):
    """Distort one normalised point: bent x, y, then the four entries of the Jacobian."""
    r2 = x * x + y * y
    if model == 0:
        out[0], out[1], out[2], out[3], out[4], out[5] = x, y, 1.0, 0.0, 0.0, 1.0
    elif model == 3:
        r = np.sqrt(r2)
        theta = np.arctan(r)
        t2 = theta * theta
        k1, k2, k3, k4 = dist[0], dist[1], dist[2], dist[3]
        bent = theta * (1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4))))
        slope = 1 + t2 * (3 * k1 + t2 * (5 * k2 + t2 * (7 * k3 + t2 * 9 * k4)))
        scale, growth = 1.0, 0.0
        if r > 1e-12:
            scale = bent / r
            growth = (slope / (1 + r2) - scale) / r2
        out[0], out[1] = x * scale, y * scale
        out[2] = scale + growth * x * x
        out[3] = out[4] = growth * x * y
        out[5] = scale + growth * y * y
    else:
        k1, k2, p1, p2, k3 = dist[0], dist[1], dist[2], dist[3], dist[4]
        radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        growth = k1 + r2 * (2 * k2 + r2 * 3 * k3)
        if model == 2:
            k4, k5, k6 = dist[5], dist[6], dist[7]
            down = 1 + r2 * (k4 + r2 * (k5 + r2 * k6))
            d_down = k4 + r2 * (2 * k5 + r2 * 3 * k6)
            growth = (growth * down - radial * d_down) / (down * down)
            radial = radial / down
        out[0] = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
        out[1] = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
        out[2] = radial + 2 * growth * x * x + 2 * p1 * y + 6 * p2 * x
        out[3] = out[4] = 2 * growth * x * y + 2 * p1 * x + 2 * p2 * y
        out[5] = radial + 2 * growth * y * y + 6 * p1 * y + 2 * p2 * x


@njit(**SETTINGS)
def bend_all(model, dist, count, x, y, bent_x, bent_y, xx, xy, yy):
    """Distort normalised points; write them and the entries of the symmetric Jacobian."""
    if model == 0:
        for k in range(count):
            bent_x[k], bent_y[k] = x[k], y[k]
            xx[k], xy[k], yy[k] = 1.0, 0.0, 1.0
    elif model == 1:
        k1, k2, p1, p2, k3 = dist[0], dist[1], dist[2], dist[3], dist[4]
        for k in range(count):
            r2 = x[k] * x[k] + y[k] * y[k]
            radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
            growth = 2 * (k1 + r2 * (2 * k2 + r2 * 3 * k3))
            bent_x[k] = x[k] * radial + 2 * p1 * x[k] * y[k] + p2 * (r2 + 2 * x[k] * x[k])
            bent_y[k] = y[k] * radial + p1 * (r2 + 2 * y[k] * y[k]) + 2 * p2 * x[k] * y[k]
            xx[k] = radial + growth * x[k] * x[k] + 2 * p1 * y[k] + 6 * p2 * x[k]
            xy[k] = growth * x[k] * y[k] + 2 * p1 * x[k] + 2 * p2 * y[k]
            yy[k] = radial + growth * y[k] * y[k] + 6 * p1 * y[k] + 2 * p2 * x[k]
    else:
        bent = np.empty(6)
        for k in range(count):
            bend(model, dist, x[k], y[k], bent)
            bent_x[k], bent_y[k] = bent[0], bent[1]
            xx[k], xy[k], yy[k] = bent[2], bent[3], bent[5]


@njit(**SETTINGS)
def unbend(model, dist, u, v, out):
    """Undo the Brown (1), rational (2) or fisheye (3) model for one point; NaN off it.

    Newton's method; ``out`` takes the point, and is room for `bend`.
    """
    found_x, found_y = np.nan, np.nan
    if model == 0:
        found_x, found_y = u, v
    elif model == 3 and not np.isnan(u + v):
        r = np.sqrt(u * u + v * v)
        theta = min(r, 1.5)
        value, slope = 0.0, 1.0
        for _ in range(21):
            t2 = theta * theta
            value = theta * (1 + t2 * (dist[0] + t2 * (dist[1] + t2 * (dist[2] + t2 * dist[3]))))
            slope = 1 + t2 * (
                3 * dist[0] + t2 * (5 * dist[1] + t2 * (7 * dist[2] + t2 * 9 * dist[3]))
            )
            step = (value - r) / slope
            if abs(step) < 1e-15:
                break
            theta -= min(max(step, -0.5), 0.5)
        if abs(value - r) < 1e-9 and slope > 0 and theta < np.pi / 2:
            scale = np.tan(theta) / r if r > 1e-12 else 1.0
            found_x, found_y = u * scale, v * scale
    elif not np.isnan(u + v):
        x, y = u, v
        det, miss = 1.0, np.inf
        for _ in range(21):
            bend(model, dist, x, y, out)
            du, dv = out[0] - u, out[1] - v
            miss = du * du + dv * dv
            det = out[2] * out[5] - out[3] * out[4]
            dx = (out[5] * du - out[3] * dv) / det
            dy = (out[2] * dv - out[4] * du) / det
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
            found_x, found_y = x, y
    out[0], out[1] = found_x, found_y


@njit(**SETTINGS)
def factor(matrix, size):
    """Factor a symmetric matrix in place (Cholesky, lower); False if it is not positive."""
    for i in range(size):
        for j in range(i + 1):
            value = matrix[i, j]
            for k in range(j):
                value -= matrix[i, k] * matrix[j, k]
            if i == j:
                if not value > 0:
                    return False
                matrix[i, i] = np.sqrt(value)
            else:
                matrix[i, j] = value / matrix[j, j]
    return True
