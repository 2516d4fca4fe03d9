"""Which views to believe, compiled: what NumPy does in `pose3d.triangulation.choosing`.

Here all points of a block were seen by equally many cameras, m. Their views are *ranked*: the
cameras that saw the point, in order, without the gaps.
"""

from collections import namedtuple

import numpy as np
from numba import njit

from calibration.kernels.common import SETTINGS
from pose3d.triangulation.kernels.blocks import (
    APART,
    BEHIND,
    EX,
    EY,
    G0,
    G1,
    H1,
    LIMIT,
    MOVE,
    N_USED,
    RX,
    RY,
    SEEN,
    SIZE,
    SQUARE,
    STRIDE,
    USED,
    WA,
    WB,
    WC,
    A,
    X,
    Y,
    Z,
    load,
    look_up,
)
from pose3d.triangulation.kernels.finishing import finish
from pose3d.triangulation.kernels.fitting import (
    advance,
    aim,
    believe,
    fit,
    measure,
    refine_rays,
    solve,
)

#: See `choosing`.
WRONG, DECISIVE, MAX_CHANCE = 1.5, 6.0, 0.05

#: Tables as in `blocks`: of every ranked view, of every pair, and of every point.
Ranked = namedtuple("Ranked", "order views costs explained own agreeing")

#: Rows of a ranked view: its camera's 3x4 matrix, its ray, what squares an error of the ray into
#: a whitened one, the limit of belief, weight, and the normal equations of its linear start.
_MOTION, _RX, _RY, _XX, _XY, _YY, _LIMIT, _WEIGHT, _PLANES = (
    STRIDE * row for row in (0, 12, 13, 14, 15, 16, 17, 18, 19)
)
_VIEW_ROWS = 28

#: Rows of a point: normal equations, where two views meet, the best such place and its cost.
_SUM, _MEETING, _BEST, _LEAST = (STRIDE * row for row in (0, 9, 12, 15))
_OWN_ROWS = 16


@njit(**SETTINGS)
def new_ranked(n_views, n_pairs):
    """Return room for a block's ranked views and hypotheses."""
    return Ranked(
        np.zeros((n_views, SIZE), np.int64),
        np.zeros((n_views, _VIEW_ROWS * STRIDE)),
        np.zeros((n_pairs, SIZE)),
        np.zeros((n_pairs, SIZE), np.int64),
        np.zeros(_OWN_ROWS * STRIDE),
        np.zeros(SIZE, np.int64),
    )


@njit(**SETTINGS)
def _rank(block, count, cameras, ranked):
    """Fetch each ranked view's camera, ray, and the normal equations of its linear start."""
    own = block.own
    for j in range(count):
        own[A + j] = 0.0
    for i in range(block.views.shape[0]):
        v, m, focal = block.views[i], cameras.motions[i], cameras.lenses[i, 0]
        for j in range(count):
            if not v[SEEN + j] > 0:
                continue
            rank = int(own[A + j])
            own[A + j] += 1.0
            r = ranked.views[rank]
            ranked.order[rank, j] = i
            r[_RX + j], r[_RY + j], r[_LIMIT + j] = v[RX + j], v[RY + j], v[LIMIT + j]
            r[_XX + j], r[_XY + j], r[_YY + j] = v[G0 + j], v[G1 + j], v[H1 + j]
            r[_WEIGHT + j] = focal * v[WA + j]
            for k in range(12):
                r[_MOTION + k * STRIDE + j] = m[k]
    for rank in range(ranked.order.shape[0]):
        r = ranked.views[rank]
        r[_PLANES : _PLANES + 9 * STRIDE] = 0.0
        for axis in range(2):
            row, ray = _MOTION + 3 * axis * STRIDE, _RX + axis * STRIDE
            place = _MOTION + (9 + axis) * STRIDE
            for j in range(count):
                slope, weight = r[ray + j], r[_WEIGHT + j]
                x = (r[_MOTION + 6 * STRIDE + j] * slope - r[row + j]) * weight
                y = (r[_MOTION + 7 * STRIDE + j] * slope - r[row + STRIDE + j]) * weight
                z = (r[_MOTION + 8 * STRIDE + j] * slope - r[row + 2 * STRIDE + j]) * weight
                offset = (r[place + j] - r[_MOTION + 11 * STRIDE + j] * slope) * weight
                r[_PLANES + j] += x * x
                r[_PLANES + STRIDE + j] += x * y
                r[_PLANES + 2 * STRIDE + j] += x * z
                r[_PLANES + 3 * STRIDE + j] += y * y
                r[_PLANES + 4 * STRIDE + j] += y * z
                r[_PLANES + 5 * STRIDE + j] += z * z
                r[_PLANES + 6 * STRIDE + j] += x * offset
                r[_PLANES + 7 * STRIDE + j] += y * offset
                r[_PLANES + 8 * STRIDE + j] += z * offset


@njit(**SETTINGS)
def _score(ranked, n_views, count, pair, first, second):
    """Score the point where two views' rays meet by how well it explains all views."""
    own, costs, explained = ranked.own, ranked.costs[pair], ranked.explained[pair]
    one, other = ranked.views[first], ranked.views[second]
    for k in range(9):
        for j in range(count):
            own[_SUM + k * STRIDE + j] = (
                one[_PLANES + k * STRIDE + j] + other[_PLANES + k * STRIDE + j]
            )
    solve(own, count, _SUM, _MEETING)
    costs[:] = 0.0
    explained[:] = 0
    for rank in range(n_views):
        r = ranked.views[rank]
        bit = 1 << rank
        for j in range(count):
            x, y, z = own[_MEETING + j], own[_MEETING + STRIDE + j], own[_MEETING + 2 * STRIDE + j]
            across = (
                r[_MOTION + j] * x + r[_MOTION + STRIDE + j] * y + r[_MOTION + 2 * STRIDE + j] * z
            )
            down = (
                r[_MOTION + 3 * STRIDE + j] * x
                + r[_MOTION + 4 * STRIDE + j] * y
                + r[_MOTION + 5 * STRIDE + j] * z
            )
            depth = (
                r[_MOTION + 6 * STRIDE + j] * x
                + r[_MOTION + 7 * STRIDE + j] * y
                + r[_MOTION + 8 * STRIDE + j] * z
                + r[_MOTION + 11 * STRIDE + j]
            )
            inverse = 1 / depth
            dx = (across + r[_MOTION + 9 * STRIDE + j]) * inverse - r[_RX + j]
            dy = (down + r[_MOTION + 10 * STRIDE + j]) * inverse - r[_RY + j]
            square = dx * (r[_XX + j] * dx + r[_XY + j] * dy) + r[_YY + j] * dy * dy
            square = square if depth > 1e-9 else np.inf
            limit = r[_LIMIT + j]
            explained[j] |= bit if square < limit else 0
            costs[j] += square if square < WRONG * limit else WRONG * limit
    for j in range(count):
        better = costs[j] < own[_LEAST + j]
        own[_LEAST + j] = costs[j] if better else own[_LEAST + j]
        for k in range(3):
            meeting = own[_MEETING + k * STRIDE + j]
            own[_BEST + k * STRIDE + j] = meeting if better else own[_BEST + k * STRIDE + j]
        ranked.agreeing[j] = explained[j] if better else ranked.agreeing[j]


@njit(**SETTINGS)
def count_bits(bits):
    """Count the views in a set."""
    n = 0
    while bits:
        bits &= bits - 1
        n += 1
    return n


@njit(**SETTINGS)
def _chance(block, j, area):
    """Expect so many agreements as good as this among views that point anywhere."""
    n_seen, n_used, radius = 0, 0, 0.0
    for i in range(block.views.shape[0]):
        v = block.views[i]
        n_seen += 1 if v[SEEN + j] > 0 else 0
        if v[USED + j] > 0:
            n_used += 1
            down = v[EY + j] / v[WC + j]
            across = (v[EX + j] - v[WB + j] * down) / v[WA + j]
            radius = max(radius, np.sqrt(across * across + down * down))
    if n_used >= n_seen:
        return 0.0
    # each of two views lies half way; a line's band is as wide on either side
    chance = min(4 * radius / np.sqrt(area), 1.0)
    disc = min(np.pi * radius * radius / area, 1.0)
    for k in range(n_used):
        chance *= (n_seen - k) / (k + 1.0)
        if k >= 2:
            chance *= disc
    return chance


@njit(**SETTINGS)
def _settle(block, count, cameras):
    """Let points and believed views find each other, and fit the points to those views."""
    own = block.own
    for factor in (1.7, 1.0):
        measure(block, count, cameras)
        believe(block, count, factor)
        aim(block, count)
        for j in range(count):
            own[MOVE + j] = 1.0 if own[N_USED + j] >= 2 else 0.0
        advance(block, count)
    measure(block, count, cameras)
    believe(block, count, 1.0)
    aim(block, count)
    fit(block, count, cameras)


@njit(**SETTINGS)
def _set_aside(block, count, ranked, n_views, n_tried, left):
    """Put aside the points that need the other pairs; return how many, and how many stay.

    Views that agree on another point share at most one view with those that agree on this one:
    where more than half of the views agree, and one, no other reading is as good.
    """
    n_left = kept = 0
    for j in range(count):
        if 2 * count_bits(ranked.agreeing[j]) <= n_views + 1:
            left[n_left] = block.points[j]
            n_left += 1
            continue
        if kept < j:
            block.points[kept] = block.points[j]
            for k in range(4):
                ranked.own[_BEST + k * STRIDE + kept] = ranked.own[_BEST + k * STRIDE + j]
            for pair in range(n_tried):
                ranked.costs[pair, kept] = ranked.costs[pair, j]
                ranked.explained[pair, kept] = ranked.explained[pair, j]
            for rank in range(n_views):
                ranked.order[rank, kept] = ranked.order[rank, j]
        kept += 1
    return n_left, kept


@njit(**SETTINGS)
def choose(block, count, cameras, given, found, n_views, hypotheses, area, left):
    """Find points from the views that agree; return how many are left for the other pairs.

    ``hypotheses`` are room for them, pairs of views, and how many pairs are tried; points for
    which that is not enough are put in ``left``, unless all are tried.
    """
    ranked, pairs, n_tried = hypotheses
    load(block, count, given)
    look_up(block, count, cameras)
    refine_rays(block, count, cameras)
    _rank(block, count, cameras, ranked)
    ranked.own[_LEAST : _LEAST + STRIDE] = np.inf
    ranked.own[_BEST : _BEST + 3 * STRIDE] = np.nan
    ranked.agreeing[:] = 0
    for pair in range(n_tried):
        _score(ranked, n_views, count, pair, pairs[pair, 0], pairs[pair, 1])
    n_left = 0
    if n_tried < len(pairs):
        n_left, kept = _set_aside(block, count, ranked, n_views, n_tried, left)
        if n_left:
            count = kept
            load(block, count, given)
            look_up(block, count, cameras)
    if count == 0:
        return n_left
    own = block.own
    for j in range(count):
        own[X + j] = ranked.own[_BEST + j]
        own[Y + j] = ranked.own[_BEST + STRIDE + j]
        own[Z + j] = ranked.own[_BEST + 2 * STRIDE + j]
    _settle(block, count, cameras)
    for j in range(count):
        good = own[N_USED + j] >= 2 and _chance(block, j, area) <= MAX_CHANCE
        for i in range(block.views.shape[0]):
            v = block.views[i]
            if v[USED + j] > 0:
                near = v[SQUARE + j] < WRONG * v[LIMIT + j]
                good = good and near and v[BEHIND + j] == 0
        against = 0
        for rank in range(n_views):
            v = block.views[ranked.order[rank, j]]
            if v[SQUARE + j] > 4 * v[LIMIT + j] or v[BEHIND + j] > 0:
                against |= 1 << rank
        for pair in range(n_tried):
            if ranked.explained[pair, j] & against:
                good = good and ranked.costs[pair, j] - ranked.own[_LEAST + j] > DECISIVE
        own[APART + j] = 0.0 if good else 1.0
    finish(block, count, cameras, found)
    return n_left
