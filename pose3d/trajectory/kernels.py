"""The path of one point, compiled: banded Cholesky factor, solution, covariance."""

import numpy as np
from numba import boolean, float64, njit, types

from calibration.kernels.common import IN2, OUT2, SETTINGS

_RESULT = types.UniTuple(float64, 2)


@njit(**SETTINGS)
def _invert(band, n, reach, covariance):
    """Find the inverse's entries near the diagonal (Takahashi's equations), last row first.

    Only as many rows as the band is wide are kept at a time.
    """
    size = reach + 1
    near = np.zeros((size, 2 * size))  # row i % size: entries (i, j) for j >= i, by j - i
    column = np.empty(size)
    row = np.empty(size)
    for i in range(n - 1, -1, -1):
        last = min(n - 1, i + reach)
        width = last - i
        for k in range(width):
            column[k] = band[i + 1 + k, k + 1]
        scale = band[i, 0]
        for k in range(width):
            row[k] = 0.0
        for k in range(width):
            at = near[(i + 1 + k) % size]
            value = column[k]
            row[k] += value * at[0]
            for m in range(k + 1, width):
                row[m] += value * at[m - k]
                row[k] += column[m] * at[m - k]
        total = scale * scale
        at = near[i % size]
        for k in range(width):
            at[k + 1] = -scale * row[k]
        for k in range(width):
            total -= scale * column[k] * at[k + 1]
        at[0] = total
        if i % 3 == 0:
            f = i // 3
            one, two = near[(i + 1) % size], near[(i + 2) % size]
            covariance[f, 0], covariance[f, 1], covariance[f, 2] = at[0], at[1], at[2]
            covariance[f, 3], covariance[f, 4], covariance[f, 5] = one[0], one[1], two[0]


@njit(_RESULT(IN2, IN2, IN2, boolean, OUT2, OUT2, OUT2), **SETTINGS)
def smooth(normal, right, differences, with_covariance, band, xyz, covariance):
    """Minimise what points and differences say of a path; see `smoothing.smooth`.

    ``band (3 n_frames, 3 order + 1)`` is room for the factor: ``band[i, i - j]``. Returns half of
    the logarithm of the matrix's determinant, and the right-hand side times the solution.
    """
    n_frames, order = len(normal), differences.shape[1] - 1
    n, reach = 3 * n_frames, 3 * order
    band[:] = 0.0
    for f in range(n_frames):
        for entry, (a, b) in enumerate(((0, 0), (1, 0), (2, 0), (1, 1), (2, 1), (2, 2))):
            band[3 * f + a, a - b] = normal[f, entry]
    for f in range(n_frames - order):
        for p in range(order + 1):
            for q in range(p + 1):
                value = differences[f, p] * differences[f, q]
                for a in range(3):
                    band[3 * (f + p) + a, 3 * (p - q)] += value
    half = 0.0
    for i in range(n):
        first = max(0, i - reach)
        for j in range(first, i):
            total = band[i, i - j]
            for k in range(first, j):
                total -= band[i, i - k] * band[j, j - k]
            band[i, i - j] = total * band[j, 0]
        total = band[i, 0]
        for k in range(first, i):
            total -= band[i, i - k] * band[i, i - k]
        root = np.sqrt(max(total, 1e-300))
        half += np.log(root)
        band[i, 0] = 1 / root  # the inverse of the diagonal is what is needed
    x = xyz.reshape(-1)
    explained = 0.0
    for i in range(n):
        total = right[i // 3, i % 3]
        for k in range(max(0, i - reach), i):
            total -= band[i, i - k] * x[k]
        x[i] = total * band[i, 0]
        explained += x[i] * x[i]
    for i in range(n - 1, -1, -1):
        total = x[i]
        for k in range(i + 1, min(n, i + reach + 1)):
            total -= band[k, k - i] * x[k]
        x[i] = total * band[i, 0]
    if with_covariance:
        _invert(band, n, reach, covariance)
    return half, explained
