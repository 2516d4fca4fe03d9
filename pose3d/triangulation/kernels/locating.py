"""From what cameras saw to points, compiled: what NumPy does in `pose3d.triangulation.locating`."""

import numpy as np
from numba import boolean, float64, int64, njit, types, uint8, void

from calibration.kernels.common import IN2, IN3, INDICES, OUT1, OUT2, OUT3, SETTINGS
from pose3d.triangulation.kernels.blocks import (
    NOT_SEEN,
    ONE_VIEW,
    SIZE,
    SMALL_GAIN,
    Cameras,
    Detections,
    Found,
    advance,
    aim,
    believe,
    find_apart,
    finish,
    fit,
    load,
    look_up,
    measure,
    new_block,
    start,
)
from pose3d.triangulation.kernels.choice import choose, new_ranked

_IN4 = types.Array(float64, 4, "C", readonly=True)
_PAIRS = types.Array(int64, 3, "C", readonly=True)
_CAMERAS = (INDICES, IN2, IN2, IN2, IN3, IN2)
_GIVEN = (IN3, IN2, _IN4, IN2, float64, float64, float64, float64)
_FOUND = (OUT2, OUT3, OUT1, OUT2, boolean[:, ::1], uint8[::1])


@njit(**SETTINGS)
def _enough(block, count, found):
    """Keep the points that two cameras saw; of the others say why they are missing."""
    kept = 0
    for j in range(count):
        n_seen = 0
        for i in range(block.seen.shape[0]):
            n_seen += 1 if block.seen[i, j] > 0 else 0
        n = block.points[j]
        if n_seen >= 2:
            block.points[kept] = n
            kept += 1
        else:
            found.reason[n] = NOT_SEEN if n_seen == 0 else ONE_VIEW
            found.reprojection_error[n] = np.nan
            found.xyz[n] = np.nan
            found.covariance[n] = np.nan
            for i in range(block.seen.shape[0]):
                found.view_errors[i, n] = np.nan
                found.used_views[i, n] = False
    block.work[11, 0] = 1.0 if kept < count else 0.0
    return kept


@njit(**SETTINGS)
def _begin(block, count, cameras):
    """Start from the rays and believe every view."""
    look_up(block, count, cameras)
    start(block, count, cameras)
    measure(block, count, cameras)
    believe(block, count, np.inf)
    aim(block, count)


@njit(**SETTINGS)
def _first(block, count, cameras, found, robust, slow, n_slow, doubtful, n_doubtful, n_views):
    """Take one step with every point; put those for which that is not enough aside."""
    _begin(block, count, cameras)
    for j in range(count):
        block.moving[j] = 0.0
    if robust:
        find_apart(block, count)
    for j in range(count):
        if block.gain[j] > SMALL_GAIN:
            seen = 0.0
            for i in range(block.seen.shape[0]):
                seen += block.seen[i, j]
            # where views have to be chosen among, the fit to all of them does not matter
            settled = robust and block.apart[j] > 0 and seen > 2
            block.moving[j] = 0.0 if settled else 1.0
    move = block.work[8]
    move[:count] = 1.0
    advance(block, count, move)
    kept = 0
    for j in range(count):
        if block.moving[j] > 0:
            slow[n_slow] = block.points[j]
            n_slow += 1
        else:
            if kept < j:
                _shift(block, j, kept)
            kept += 1
    n_doubtful = _sort(block, kept, cameras, found, robust, doubtful, n_doubtful, n_views)
    return n_slow, n_doubtful


@njit(**SETTINGS)
def _sort(block, count, cameras, found, robust, doubtful, n_doubtful, n_views):
    """Finish the points whose views agree; put the others among the doubtful."""
    block.apart[:count] = 0.0
    if robust:
        find_apart(block, count)
        kept = 0
        for j in range(count):
            seen, behind = 0, 0.0
            for i in range(block.seen.shape[0]):
                seen += 1 if block.seen[i, j] > 0 else 0
                behind += block.used[i, j] * block.behind[i, j]
            if (block.apart[j] > 0 or behind > 0) and seen > 2:
                doubtful[n_doubtful] = block.points[j]
                n_views[n_doubtful] = seen
                n_doubtful += 1
            else:
                if kept < j:
                    _shift(block, j, kept)
                kept += 1
        count = kept
    finish(block, count, cameras, found)
    return n_doubtful


@njit(**SETTINGS)
def _shift(block, j, to):
    """Move one point of a block to another place: all that `finish` needs."""
    block.points[to] = block.points[j]
    block.apart[to] = block.apart[j]
    for k in range(3):
        block.xyz[k, to] = block.xyz[k, j]
    for k in range(9):
        block.normal[k, to] = block.normal[k, j]
    for i in range(block.seen.shape[0]):
        block.seen[i, to] = block.seen[i, j]
        block.used[i, to] = block.used[i, j]
        block.behind[i, to] = block.behind[i, j]
        block.squares[i, to] = block.squares[i, j]
        block.limit[i, to] = block.limit[i, j]
        for k in range(3):
            block.whiten[i, k, to] = block.whiten[i, k, j]
        for k in range(2):
            block.residuals[i, k, to] = block.residuals[i, k, j]


@njit(**SETTINGS)
def _choose_all(block, cameras, given, found, doubtful, n_views, hypotheses, area):
    """Choose views for the doubtful points, those that equally many cameras saw together."""
    pairs, n_first, n_pairs = hypotheses
    left = np.empty(SIZE, np.int64)
    for m in range(3, len(cameras.models) + 1):
        ranked = new_ranked(m, n_pairs[m])
        first = pairs[m, : n_first[m]]
        every = pairs[m, : n_pairs[m]]
        waiting = np.empty(len(doubtful), np.int64)
        n_waiting = 0
        count = 0
        for k in range(len(doubtful)):
            if n_views[k] == m:
                block.points[count] = doubtful[k]
                count += 1
            if count == SIZE or (count > 0 and k == len(doubtful) - 1):
                n_left = choose(
                    block, count, cameras, given, found, ranked, m, every, len(first), area, left
                )
                for j in range(n_left):
                    waiting[n_waiting] = left[j]
                    n_waiting += 1
                count = 0
        for at in range(0, n_waiting, SIZE):
            count = 0
            for k in range(at, min(at + SIZE, n_waiting)):
                block.points[count] = waiting[k]
                count += 1
            choose(block, count, cameras, given, found, ranked, m, every, len(every), area, left)


@njit(
    void(*_CAMERAS, *_GIVEN, *_FOUND, int64, int64, boolean, _PAIRS, INDICES, INDICES, float64),
    **SETTINGS,
)
def locate(
    models, lenses, motions, positions, cells, steps,
    xy, likelihood, spread, noise, least_likelihood, least_variance, gate, farthest,
    xyz, covariance, reprojection_error, view_errors, used_views, reason,
    begin, end, robust, pairs, n_first, n_pairs, area,
):  # fmt: skip
    """Triangulate points by least squares in the images; choose views if robust.

    The first arguments are the fields of `Cameras`, `Detections` and `Found`. ``pairs[m]`` holds
    the hypotheses for points that m cameras saw, of which ``n_first[m]`` are tried first and
    ``n_pairs[m]`` at all; ``area`` is an image's, px².
    """
    cameras = Cameras(models, lenses, motions, positions, cells, steps)
    given = Detections(
        xy, likelihood, spread, noise, least_likelihood, least_variance, gate, farthest
    )
    found = Found(xyz, covariance, reprojection_error, view_errors, used_views, reason)
    n_points = end - begin
    block = new_block(len(cameras.models))
    slow = np.empty(n_points, np.int64)
    doubtful = np.empty(n_points, np.int64)
    n_views = np.empty(n_points, np.int64)
    n_slow = n_doubtful = 0
    for at in range(begin, end, SIZE):
        count = 0
        for n in range(at, min(at + SIZE, end)):
            block.points[count] = n
            count += 1
        load(block, count, cameras, given)
        count = _enough(block, count, found)
        if count == 0:
            continue
        if block.work[11, 0] > 0:
            load(block, count, cameras, given)
        n_slow, n_doubtful = _first(
            block, count, cameras, found, robust, slow, n_slow, doubtful, n_doubtful, n_views
        )
    for at in range(0, n_slow, SIZE):
        count = 0
        for k in range(at, min(at + SIZE, n_slow)):
            block.points[count] = slow[k]
            count += 1
        load(block, count, cameras, given)
        _begin(block, count, cameras)
        fit(block, count, cameras)
        n_doubtful = _sort(block, count, cameras, found, robust, doubtful, n_doubtful, n_views)
    hypotheses = (pairs, n_first, n_pairs)
    if n_doubtful:
        _choose_all(block, cameras, given, found, doubtful[:n_doubtful], n_views, hypotheses, area)
