"""What the compiled kernels share: settings, types, lens models, a small Cholesky factor."""

import numpy as np
from numba import boolean, float64, int64, njit, types

# never "nnan" or "ninf": what was not seen is NaN, and costs may be infinite
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
