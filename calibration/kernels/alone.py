"""One camera's lens and the poses of its boards, fitted whole in compiled code.

What `calibration.levenberg.Adjustment.minimise` does in NumPy for a rig of one camera.
"""

import numpy as np
from numba import float64, int64, njit

from calibration.kernels.common import (
    FLAGS2,
    IN1,
    IN2,
    IN3,
    INDICES,
    OUT1,
    OUT2,
    OUT3,
    SETTINGS,
    factor,
)
from calibration.kernels.views import view_products

_LOSS = (int64, float64)


@njit(**SETTINGS)
def _turn_by(vector, matrix, out):
    """Multiply the rotation of a vector (axis times angle) with a matrix, (3, 3)."""
    angle = np.sqrt(vector[0] ** 2 + vector[1] ** 2 + vector[2] ** 2)
    first, second = 1.0, 0.5
    if angle > 1e-8:
        first = np.sin(angle) / angle
        second = 2 * (np.sin(angle / 2) / angle) ** 2
    x, y, z = vector[0], vector[1], vector[2]
    for j in range(3):
        a, b, c = matrix[0, j], matrix[1, j], matrix[2, j]
        p, q, r = y * c - z * b, z * a - x * c, x * b - y * a
        out[0, j] = a + first * p + second * (y * r - z * q)
        out[1, j] = b + first * q + second * (z * p - x * r)
        out[2, j] = c + first * r + second * (x * q - y * p)


@njit(**SETTINGS)
def _value(lens, row):
    """Return parameter number row (6 ...) of a lens, which holds skew among the others."""
    return lens[row - 6] if row < 10 else lens[row - 5]


@njit(**SETTINGS)
def _disbelief(lens, rows, mean, precision):
    """Return how far a lens is from what is believed of it, squared and weighed."""
    total = 0.0
    for a in rows:
        for b in rows:
            off = (mean[a] - _value(lens, a)) * (mean[b] - _value(lens, b))
            total += precision[a, b] * off
    return total


@njit(
    int64(
        int64, OUT1, int64, OUT3, OUT2, IN2, IN3, FLAGS2, *_LOSS, INDICES, IN1, IN2,
        IN1, IN1, float64, int64,
    ),
    **SETTINGS,
)  # fmt: skip
def fit_alone(
    model, lens, n, rotations, translations, points, corners, used, kind, limit, rows, mean,
    precision, low, high, tolerance, max_iterations,
):  # fmt: skip
    """Levenberg-Marquardt on one camera's lens and the poses of its boards, in place.

    Parameters
    ----------
    model, lens, n
        As in `view_products`.
    rotations, translations
        Camera from board of every view.
    rows : ndarray of int
        Which of the parameters 6 ... n - 1 are free.
    mean, precision : ndarray of shape (n,) and (n, n)
        What is believed beforehand.
    low, high : ndarray of shape (2,)
        Between which the focal lengths stay.

    Returns
    -------
    int
        Number of systems solved; -1 where a board starts behind the camera.
    """
    n_views, n_free = rotations.shape[0], rows.shape[0]
    products = np.zeros((n_views, n + 1, n + 1))
    trial_products = np.zeros((n_views, n + 1, n + 1))
    factors = np.zeros((n_views, 6, 6))
    white = np.zeros((n_views, 6, n_free + 1))
    sizes = np.zeros((n_views, 6))
    reduced = np.zeros((n_free, n_free))
    change = np.zeros(n_free)
    trial_lens = lens.copy()
    trial_rotations, trial_translations = rotations.copy(), translations.copy()
    step = np.zeros(6)

    cost = view_products(
        model, lens, n, rotations, translations, points, corners, used, kind, limit, products
    )
    cost += _disbelief(lens, rows, mean, precision)
    if not cost < np.inf:
        return -1
    damping = 1e-4
    iteration = 0
    while iteration < max_iterations and damping <= 1e8:
        iteration += 1
        reduced[:] = 0.0
        change[:] = 0.0
        good = True
        for view in range(n_views):
            block = products[view]
            lower = factors[view]
            for i in range(6):
                size = np.sqrt(block[i, i])
                sizes[view, i] = size if size > 0 else 1.0
            for i in range(6):
                for j in range(i):
                    lower[i, j] = block[i, j] / (sizes[view, i] * sizes[view, j])
                lower[i, i] = 1.0 + damping + 1e-12
            good = good and factor(lower, 6)
            if not good:
                break
            # forward substitution of the mixed columns and the gradient
            for column in range(n_free + 1):
                source = n if column == n_free else rows[column]
                for i in range(6):
                    value = block[i, source] / sizes[view, i]
                    for k in range(i):
                        value -= lower[i, k] * white[view, k, column]
                    white[view, i, column] = value / lower[i, i]
            for a in range(n_free):
                for b in range(a + 1):
                    value = block[rows[a], rows[b]]
                    for i in range(6):
                        value -= white[view, i, a] * white[view, i, b]
                    reduced[a, b] += value
                value = block[rows[a], n]
                for i in range(6):
                    value -= white[view, i, a] * white[view, i, n_free]
                change[a] += value
        if good:
            for a in range(n_free):
                row = rows[a]
                full = precision[row, row]
                for view in range(n_views):
                    full += products[view, row, row]
                reduced[a, a] += damping * full
                for b in range(n_free):
                    other = rows[b]
                    if b <= a:
                        reduced[a, b] += precision[row, other]
                    change[a] += precision[row, other] * (mean[other] - _value(lens, other))
            scale = np.empty(n_free)
            for a in range(n_free):
                scale[a] = np.sqrt(max(reduced[a, a], 1e-300))
            for a in range(n_free):
                for b in range(a + 1):
                    reduced[a, b] /= scale[a] * scale[b]
                change[a] /= scale[a]
            good = factor(reduced, n_free)
            if good:
                for a in range(n_free):
                    for b in range(a):
                        change[a] -= reduced[a, b] * change[b]
                    change[a] /= reduced[a, a]
                for a in range(n_free - 1, -1, -1):
                    for b in range(a + 1, n_free):
                        change[a] -= reduced[b, a] * change[b]
                    change[a] /= reduced[a, a]
                for a in range(n_free):
                    change[a] /= scale[a]
        new = np.inf
        if good:
            trial_lens[:] = lens
            for a in range(n_free):
                row = rows[a]
                place = row - 6 if row < 10 else row - 5
                trial_lens[place] += change[a]
                good = good and abs(change[a]) < np.inf
            for i in range(2):
                good = good and low[i] < trial_lens[i] < high[i]
        if good:
            for view in range(n_views):
                for i in range(6):
                    value = white[view, i, n_free]
                    for a in range(n_free):
                        value -= white[view, i, a] * change[a]
                    step[i] = value
                for i in range(5, -1, -1):
                    for k in range(i + 1, 6):
                        step[i] -= factors[view, k, i] * step[k]
                    step[i] /= factors[view, i, i]
                for i in range(6):
                    step[i] /= sizes[view, i]
                _turn_by(step, rotations[view], trial_rotations[view])
                for i in range(3):
                    trial_translations[view, i] = translations[view, i] + step[3 + i]
            new = view_products(
                model, trial_lens, n, trial_rotations, trial_translations, points, corners, used,
                kind, limit, trial_products,
            )  # fmt: skip
            new += _disbelief(trial_lens, rows, mean, precision)
        if new <= cost:
            fall = (cost - new) / max(cost, 1e-30)
            cost = new
            lens[:] = trial_lens
            rotations[:] = trial_rotations
            translations[:] = trial_translations
            products, trial_products = trial_products, products
            damping = max(damping / 10, 1e-12)
            if fall < tolerance:
                break
        else:
            damping *= 10
    return iteration
