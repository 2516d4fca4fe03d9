"""What is known of points, compiled: what NumPy does in `pose3d.triangulation.locating.judge`."""

import numpy as np
from numba import njit

from calibration.kernels.common import SETTINGS
from pose3d.triangulation.kernels.blocks import (
    APART,
    BEFORE,
    BEHIND,
    BEHIND_CAMERA,
    EX,
    EY,
    N0,
    N1,
    N2,
    N3,
    N4,
    N5,
    N_SEEN,
    N_USED,
    NARROW,
    ONE_VIEW,
    PARALLEL_RAYS,
    PRESENT,
    USED,
    VAGUE,
    VIEWS_DISAGREE,
    WA,
    WB,
    WC,
    A,
    B,
    C,
    D,
    E,
    F,
    G,
    H,
    X,
    Y,
    Z,
)


@njit(**SETTINGS)
def _is_parallel(block, j, cameras, spread):
    """Tell whether the believed rays are too near parallel to say how far the point is."""
    if np.isnan(spread):
        return True
    place = np.array([block.own[X + j], block.own[Y + j], block.own[Z + j]])
    mean = np.zeros(3)
    nearest = np.inf
    for i in range(block.views.shape[0]):
        if block.views[i, USED + j] > 0:
            ray = place - cameras.positions[i]
            distance = np.sqrt((ray * ray).sum())
            nearest = min(nearest, distance)
            mean += ray / distance
    if spread <= VAGUE * nearest:
        return False
    mean /= max(np.sqrt((mean * mean).sum()), 1e-12)
    for i in range(block.views.shape[0]):
        if block.views[i, USED + j] > 0:
            ray = place - cameras.positions[i]
            cosine = (ray * mean).sum() / np.sqrt((ray * ray).sum())
            if np.arccos(min(max(cosine, -1.0), 1.0)) > NARROW:
                return False
    return True


@njit(**SETTINGS)
def finish(block, count, cameras, found):
    """Say which points are known and how well, and write them down."""
    own, points = block.own, block.points
    middle_x, middle_y, middle_z = 0.0, 0.0, 0.0
    for i in range(block.views.shape[0]):
        middle_x += cameras.positions[i, 0] / block.views.shape[0]
        middle_y += cameras.positions[i, 1] / block.views.shape[0]
        middle_z += cameras.positions[i, 2] / block.views.shape[0]
    for j in range(count):
        a, b, c = own[N0 + j], own[N1 + j], own[N2 + j]
        d, e, f = own[N3 + j], own[N4 + j], own[N5 + j]
        first, second, third = d * f - e * e, c * e - b * f, b * e - c * d
        det = a * first + b * second + c * third
        # each of the three axes must carry some information, rounding apart
        scale = 1 / det
        scale = scale if det > 1e-14 * a * d * f else np.nan
        own[A + j], own[B + j], own[C + j] = first * scale, second * scale, third * scale
        own[D + j] = (a * f - c * c) * scale
        own[E + j] = (b * c - a * e) * scale
        own[F + j] = (a * d - b * b) * scale
        spread = np.sqrt(own[A + j] + own[D + j] + own[F + j])
        own[H + j] = spread
        x, y, z = own[X + j] - middle_x, own[Y + j] - middle_y, own[Z + j] - middle_z
        near = spread <= 0.5 * VAGUE * np.sqrt(x * x + y * y + z * z)
        own[G + j] = 0.0 if near else 1.0
        own[BEFORE + j] = 0.0
    for i in range(block.views.shape[0]):
        v = block.views[i]
        for j in range(count):
            own[BEFORE + j] += v[USED + j] * v[BEHIND + j]
    for j in range(count):
        n_seen, n_used, apart = own[N_SEEN + j], own[N_USED + j], own[APART + j] > 0
        reason = BEHIND_CAMERA if own[BEFORE + j] > 0 else PRESENT
        reason = VIEWS_DISAGREE if apart else reason
        if own[G + j] > 0 and not (apart and n_used < n_seen):
            reason = PARALLEL_RAYS if _is_parallel(block, j, cameras, own[H + j]) else reason
        reason = ONE_VIEW if n_seen < 2 else reason
        found.reason[points[j]] = reason
        own[G + j] = 0.0 if reason == PRESENT else np.nan
    for j in range(count):
        gone = own[G + j]
        for row in (A, B, C, D, E, F, X, Y, Z):
            own[row + j] += gone
    for j in range(count):
        n = points[j]
        place, out = found.xyz[n], found.covariance[n]
        place[0], place[1], place[2] = own[X + j], own[Y + j], own[Z + j]
        out[0, 0], out[1, 1], out[2, 2] = own[A + j], own[D + j], own[F + j]
        out[0, 1] = out[1, 0] = own[B + j]
        out[0, 2] = out[2, 0] = own[C + j]
        out[1, 2] = out[2, 1] = own[E + j]
    for j in range(count):
        own[H + j] = 0.0
    for i in range(block.views.shape[0]):
        v = block.views[i]
        for j in range(count):
            # the whitening undone; of a view that is not there 0 / 0
            inverse = 1 / (v[WA + j] * v[WC + j])
            down = v[EY + j] * v[WA + j] * inverse
            across = (v[EX + j] - v[WB + j] * down) * v[WC + j] * inverse
            square = across * across + down * down
            own[H + j] += square if v[USED + j] > 0 else 0.0
            distance = np.sqrt(square) + own[G + j]
            own[A + j] = distance if v[BEHIND + j] == 0 else np.nan
            own[B + j] = v[USED + j] if own[G + j] == 0 else 0.0
        errors, used = found.view_errors[i], found.used_views[i]
        for j in range(count):
            errors[points[j]] = own[A + j]
            used[points[j]] = own[B + j] > 0
    for j in range(count):
        own[H + j] = np.sqrt(own[H + j] / own[N_USED + j]) + own[G + j]
    for j in range(count):
        found.reprojection_error[points[j]] = own[H + j]
