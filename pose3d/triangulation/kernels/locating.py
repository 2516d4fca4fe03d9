"""From what cameras saw to points, compiled: what NumPy does in `pose3d.triangulation.locating`."""

import numpy as np
from numba import boolean, float64, int64, njit, types, uint8, void

from calibration.kernels.common import IN2, IN3, INDICES, OUT1, OUT2, OUT3, SETTINGS
from pose3d.triangulation.kernels.blocks import (
    APART,
    BEHIND,
    EX,
    EY,
    GAIN,
    MOVE,
    MOVING,
    N0,
    N_SEEN,
    N_USED,
    NOT_SEEN,
    ONE_VIEW,
    SEEN,
    SIZE,
    SMALL_GAIN,
    STRIDE,
    USED,
    WA,
    WB,
    WC,
    Cameras,
    Detections,
    Found,
    X,
    Y,
    Z,
    load,
    look_up,
    new_block,
)
from pose3d.triangulation.kernels.choice import choose, new_ranked
from pose3d.triangulation.kernels.finishing import finish
from pose3d.triangulation.kernels.fitting import (
    advance,
    aim,
    believe_all,
    find_apart,
    fit,
    measure,
    start,
)

_IN4 = types.Array(float64, 4, "C", readonly=True)
_PAIRS = types.Array(int64, 3, "C", readonly=True)
_CAMERAS = (INDICES, IN2, IN2, IN2, IN2, IN2, IN3)
_GIVEN = (IN3, IN2, _IN4, IN2, float64, float64, float64, float64)
_FOUND = (OUT2, OUT3, OUT1, OUT2, boolean[:, ::1], uint8[::1])


@njit(**SETTINGS)
def _shift(block, j, to):
    """Move one point of a block to another place: all that `finish` needs."""
    if j == to:
        return
    block.points[to] = block.points[j]
    for row in (APART, X, Y, Z, N_SEEN, N_USED):
        block.own[row + to] = block.own[row + j]
    for k in range(6):
        block.own[N0 + k * STRIDE + to] = block.own[N0 + k * STRIDE + j]
    for i in range(block.views.shape[0]):
        v = block.views[i]
        for row in (SEEN, USED, BEHIND, WA, WB, WC, EX, EY):
            v[row + to] = v[row + j]


@njit(**SETTINGS)
def _enough(block, count, found):
    """Keep the points that two cameras saw; of the others say why they are missing."""
    kept = 0
    for j in range(count):
        n = block.points[j]
        n_seen = block.own[N_SEEN + j]
        if n_seen >= 2:
            block.points[kept] = n
            kept += 1
        else:
            found.reason[n] = NOT_SEEN if n_seen == 0 else ONE_VIEW
            found.reprojection_error[n] = np.nan
            found.xyz[n] = np.nan
            found.covariance[n] = np.nan
            for i in range(block.views.shape[0]):
                found.view_errors[i, n] = np.nan
                found.used_views[i, n] = False
    return kept


@njit(**SETTINGS)
def _begin(block, count, cameras):
    """Start from the rays and believe every view."""
    look_up(block, count, cameras)
    start(block, count, cameras)
    measure(block, count, cameras)
    believe_all(block, count)
    aim(block, count)


@njit(**SETTINGS)
def _first(block, count, cameras, robust, slow, n_slow):
    """Take one step with every point; put those for which that is not enough aside."""
    _begin(block, count, cameras)
    own = block.own
    for j in range(count):
        own[APART + j] = 0.0
        own[MOVE + j] = 1.0
    if robust:
        find_apart(block, count)
    for j in range(count):
        # where views have to be chosen among, the fit to all of them does not matter
        settled = robust and own[APART + j] > 0 and own[N_SEEN + j] > 2
        own[MOVING + j] = 1.0 if own[GAIN + j] > SMALL_GAIN and not settled else 0.0
    advance(block, count)
    if robust:
        find_apart(block, count)
    kept = 0
    for j in range(count):
        if own[MOVING + j] > 0:
            slow[n_slow] = block.points[j]
            n_slow += 1
        else:
            _shift(block, j, kept)
            kept += 1
    return kept, n_slow


@njit(**SETTINGS)
def _doubt(block, count, doubtful, n_views, n_doubtful):
    """Put aside points whose views must be chosen among."""
    own = block.own
    kept = 0
    for j in range(count):
        doubted = own[APART + j] > 0
        if not doubted:
            for i in range(block.views.shape[0]):
                v = block.views[i]
                doubted = doubted or (v[BEHIND + j] > 0 and v[USED + j] > 0)
        if doubted and own[N_SEEN + j] > 2:
            doubtful[n_doubtful] = block.points[j]
            n_views[n_doubtful] = int(own[N_SEEN + j])
            n_doubtful += 1
        else:
            _shift(block, j, kept)
            kept += 1
    return kept, n_doubtful


@njit(**SETTINGS)
def _choose_all(block, cameras, given, found, doubtful, n_views, hypotheses, area):
    """Choose views for the doubtful points, those that equally many cameras saw together."""
    pairs, n_first, n_pairs = hypotheses
    left, waiting = np.empty(SIZE, np.int64), np.empty(len(doubtful), np.int64)
    for m in range(3, len(cameras.models) + 1):
        ranked = new_ranked(m, n_pairs[m])
        every = pairs[m, : n_pairs[m]]
        n_waiting = count = 0
        for k in range(len(doubtful)):
            if n_views[k] == m:
                block.points[count] = doubtful[k]
                count += 1
            if count == SIZE or (count > 0 and k == len(doubtful) - 1):
                some = (ranked, every, n_first[m])
                n_left = choose(block, count, cameras, given, found, m, some, area, left)
                waiting[n_waiting : n_waiting + n_left] = left[:n_left]
                n_waiting += n_left
                count = 0
        for at in range(0, n_waiting, SIZE):
            count = min(SIZE, n_waiting - at)
            block.points[:count] = waiting[at : at + count]
            some = (ranked, every, n_pairs[m])
            choose(block, count, cameras, given, found, m, some, area, left)


@njit(
    void(*_CAMERAS, *_GIVEN, *_FOUND, int64, int64, boolean, _PAIRS, INDICES, INDICES, float64),
    **SETTINGS,
)
def locate(
    models, lenses, motions, positions, sizes, series, cells,
    xy, likelihood, spread, sharpness, least_likelihood, least_variance, gate, farthest,
    xyz, covariance, reprojection_error, view_errors, used_views, reason,
    begin, end, robust, pairs, n_first, n_pairs, area,
):  # fmt: skip
    """Triangulate points by least squares in the images; choose views if robust.

    The first arguments are the fields of `Cameras`, `Detections` and `Found`. ``pairs[m]`` holds
    the hypotheses for points that m cameras saw, of which ``n_first[m]`` are tried first and
    ``n_pairs[m]`` at all; ``area`` is an image's, px².
    """
    cameras = Cameras(models, lenses, motions, positions, sizes, series, cells)
    given = Detections(
        xy, likelihood, spread, sharpness, least_likelihood, least_variance, gate, farthest
    )
    found = Found(xyz, covariance, reprojection_error, view_errors, used_views, reason)
    n_points = end - begin
    block = new_block(len(models))
    slow, doubtful = np.empty(n_points, np.int64), np.empty(n_points, np.int64)
    n_views = np.empty(n_points, np.int64)
    n_slow = n_doubtful = 0
    for at in range(begin, end, SIZE):
        count = min(SIZE, end - at)
        for j in range(count):
            block.points[j] = at + j
        load(block, count, given)
        kept = _enough(block, count, found)
        if kept < count:
            count = kept
            load(block, count, given)
        count, n_slow = _first(block, count, cameras, robust, slow, n_slow)
        if robust:
            count, n_doubtful = _doubt(block, count, doubtful, n_views, n_doubtful)
        finish(block, count, cameras, found)
    for at in range(0, n_slow, SIZE):
        count = min(SIZE, n_slow - at)
        block.points[:count] = slow[at : at + count]
        load(block, count, given)
        _begin(block, count, cameras)
        fit(block, count, cameras)
        block.own[APART : APART + STRIDE] = 0.0
        if robust:
            find_apart(block, count)
            count, n_doubtful = _doubt(block, count, doubtful, n_views, n_doubtful)
        finish(block, count, cameras, found)
    if n_doubtful:
        hypotheses = (pairs, n_first, n_pairs)
        some = doubtful[:n_doubtful]
        _choose_all(block, cameras, given, found, some, n_views, hypotheses, area)
