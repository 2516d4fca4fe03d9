"""Which views to believe, compiled: what NumPy does in `pose3d.triangulation.choosing`.

Here all points of a block were seen by equally many cameras, m. Their views are *ranked*: the
cameras that saw the point, in order, without the gaps.
"""

from collections import namedtuple

import numpy as np
from numba import njit

from calibration.kernels.common import SETTINGS, bend
from pose3d.triangulation.kernels.blocks import (
    SIZE,
    advance,
    aim,
    believe,
    finish,
    fit,
    load,
    look_up,
    measure,
    refine_rays,
    solve,
)

#: See `choosing`.
WRONG, DECISIVE, MAX_CHANCE = 1.5, 6.0, 0.05

Ranked = namedtuple(
    "Ranked",
    "order motion rays metric limit planes sum meeting best costs least explained agreeing",
)


@njit(**SETTINGS)
def new_ranked(n_views, n_pairs):
    """Return room for a block's ranked views and hypotheses."""
    return Ranked(
        np.zeros((n_views, SIZE), np.int64),
        np.zeros((n_views, 12, SIZE)),
        np.zeros((n_views, 2, SIZE)),
        np.zeros((n_views, 3, SIZE)),
        np.zeros((n_views, SIZE)),
        np.zeros((n_views, 9, SIZE)),
        np.zeros((9, SIZE)),
        np.zeros((3, SIZE)),
        np.zeros((3, SIZE)),
        np.zeros((n_pairs, SIZE)),
        np.zeros(SIZE),
        np.zeros((n_pairs, SIZE), np.int64),
        np.zeros(SIZE, np.int64),
    )


@njit(**SETTINGS)
def _rank(block, count, cameras, ranked):
    """Fetch each ranked view's camera, ray, and the normal equations of its linear start."""
    both = np.empty(6)
    n_cameras = len(cameras.models)
    for j in range(count):
        rank = 0
        for i in range(n_cameras):
            if not block.seen[i, j] > 0:
                continue
            lens, whiten = cameras.lenses[i], block.whiten[i]
            x, y = block.rays[i, 0, j], block.rays[i, 1, j]
            ranked.order[rank, j] = i
            ranked.rays[rank, 0, j], ranked.rays[rank, 1, j] = x, y
            ranked.limit[rank, j] = block.limit[i, j]
            for k in range(12):
                ranked.motion[rank, k, j] = cameras.motions[i, k]
            bend(cameras.models[i], lens[5:], x, y, both)
            p = whiten[0, j] * lens[0]
            q = whiten[0, j] * lens[4] + whiten[1, j] * lens[1]
            r = whiten[2, j] * lens[1]
            ax, bx = p * both[2] + q * both[4], p * both[3] + q * both[5]
            ay, by = r * both[4], r * both[5]
            ranked.metric[rank, 0, j] = ax * ax + ay * ay
            ranked.metric[rank, 1, j] = 2 * (ax * bx + ay * by)
            ranked.metric[rank, 2, j] = bx * bx + by * by
            rank += 1
    for rank in range(ranked.order.shape[0]):
        motion, planes = ranked.motion[rank], ranked.planes[rank]
        planes[:, :count] = 0.0
        weight = ranked.best[0]
        for j in range(count):
            i = ranked.order[rank, j]
            weight[j] = cameras.lenses[i, 0] * block.whiten[i, 0, j]
        for axis in range(2):
            ray = ranked.rays[rank, axis]
            for j in range(count):
                x = (motion[6, j] * ray[j] - motion[3 * axis, j]) * weight[j]
                y = (motion[7, j] * ray[j] - motion[3 * axis + 1, j]) * weight[j]
                z = (motion[8, j] * ray[j] - motion[3 * axis + 2, j]) * weight[j]
                offset = (motion[9 + axis, j] - motion[11, j] * ray[j]) * weight[j]
                planes[0, j] += x * x
                planes[1, j] += x * y
                planes[2, j] += x * z
                planes[3, j] += y * y
                planes[4, j] += y * z
                planes[5, j] += z * z
                planes[6, j] += x * offset
                planes[7, j] += y * offset
                planes[8, j] += z * offset


@njit(**SETTINGS)
def _score(ranked, n_views, count, pair, first, second):
    """Score the point where two views' rays meet by how well it explains all views."""
    for k in range(9):
        for j in range(count):
            ranked.sum[k, j] = ranked.planes[first, k, j] + ranked.planes[second, k, j]
    solve(ranked.sum, count, ranked.meeting)
    costs, explained, xyz = ranked.costs[pair], ranked.explained[pair], ranked.meeting
    costs[:count] = 0.0
    explained[:count] = 0
    for rank in range(n_views):
        motion, rays, metric = ranked.motion[rank], ranked.rays[rank], ranked.metric[rank]
        limit = ranked.limit[rank]
        bit = 1 << rank
        for j in range(count):
            x, y, z = xyz[0, j], xyz[1, j], xyz[2, j]
            depth = motion[6, j] * x + motion[7, j] * y + motion[8, j] * z + motion[11, j]
            inverse = 1 / depth
            dx = motion[0, j] * x + motion[1, j] * y + motion[2, j] * z + motion[9, j]
            dy = motion[3, j] * x + motion[4, j] * y + motion[5, j] * z + motion[10, j]
            dx = dx * inverse - rays[0, j]
            dy = dy * inverse - rays[1, j]
            square = dx * (metric[0, j] * dx + metric[1, j] * dy) + metric[2, j] * dy * dy
            square = square if depth > 1e-9 else np.inf
            near = square < limit[j]
            explained[j] |= bit if near else 0
            worst = WRONG * limit[j]
            costs[j] += square if square < worst else worst
    for j in range(count):
        better = costs[j] < ranked.least[j]
        ranked.least[j] = costs[j] if better else ranked.least[j]
        for k in range(3):
            ranked.best[k, j] = xyz[k, j] if better else ranked.best[k, j]
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
def _chance(block, j, cameras, area):
    """Expect so many agreements as good as this among views that point anywhere."""
    n_seen, n_used, radius = 0, 0, 0.0
    for i in range(block.seen.shape[0]):
        if block.seen[i, j] > 0:
            n_seen += 1
        if block.used[i, j] > 0:
            n_used += 1
            down = block.residuals[i, 1, j] / block.whiten[i, 2, j]
            across = (block.residuals[i, 0, j] - block.whiten[i, 1, j] * down) / block.whiten[
                i, 0, j
            ]
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
def choose(block, count, cameras, given, found, ranked, n_views, pairs, n_tried, area, left):
    """Find points from the views that agree; return how many are left for the other pairs.

    ``pairs`` are hypotheses, of which so many are tried; points for which that is not enough
    are put in ``left``, unless all are tried.
    """
    load(block, count, cameras, given)
    look_up(block, count, cameras)
    refine_rays(block, count, cameras)
    _rank(block, count, cameras, ranked)
    ranked.least[:count] = np.inf
    ranked.agreeing[:count] = 0
    ranked.best[:, :count] = np.nan
    for pair in range(n_tried):
        _score(ranked, n_views, count, pair, pairs[pair, 0], pairs[pair, 1])
    settled = block.moving
    n_left = 0
    every = n_tried == len(pairs)
    for j in range(count):
        settled[j] = 1.0
        # views that agree on another point share at most one view with those that agree here
        if not every and 2 * count_bits(ranked.agreeing[j]) <= n_views + 1:
            settled[j] = 0.0
            left[n_left] = block.points[j]
            n_left += 1
    if n_left == count:
        return n_left
    if n_left:
        # the others move together
        kept = 0
        for j in range(count):
            if settled[j] > 0:
                block.points[kept] = block.points[j]
                for k in range(3):
                    ranked.best[k, kept] = ranked.best[k, j]
                ranked.least[kept] = ranked.least[j]
                for pair in range(n_tried):
                    ranked.costs[pair, kept] = ranked.costs[pair, j]
                    ranked.explained[pair, kept] = ranked.explained[pair, j]
                for rank in range(n_views):
                    ranked.order[rank, kept] = ranked.order[rank, j]
                kept += 1
        count = kept
        load(block, count, cameras, given)
        look_up(block, count, cameras)
    block.xyz[:, :count] = ranked.best[:, :count]
    _settle(block, count, cameras)
    for j in range(count):
        n_used, holds = 0, True
        for i in range(block.seen.shape[0]):
            if block.used[i, j] > 0:
                n_used += 1
                near = block.squares[i, j] < WRONG * block.limit[i, j]
                holds = holds and near and block.behind[i, j] == 0
        against = 0
        for rank in range(n_views):
            i = ranked.order[rank, j]
            if block.squares[i, j] > 4 * block.limit[i, j] or block.behind[i, j] > 0:
                against |= 1 << rank
        good = n_used >= 2 and holds and _chance(block, j, cameras, area) <= MAX_CHANCE
        for pair in range(n_tried):
            if ranked.explained[pair, j] & against:
                good = good and ranked.costs[pair, j] - ranked.least[j] > DECISIVE
        block.apart[j] = 0.0 if good else 1.0
    finish(block, count, cameras, found)
    return n_left


@njit(**SETTINGS)
def _settle(block, count, cameras):
    """Let points and believed views find each other, and fit the points to those views."""
    move = block.work[8]
    for factor in (1.7, 1.0):
        measure(block, count, cameras)
        believe(block, count, factor)
        aim(block, count)
        for j in range(count):
            n_used = 0.0
            for i in range(block.used.shape[0]):
                n_used += block.used[i, j]
            move[j] = 1.0 if n_used >= 2 else 0.0
        advance(block, count, move)
    measure(block, count, cameras)
    believe(block, count, 1.0)
    aim(block, count)
    fit(block, count, cameras)
