"""Points in blocks, compiled: what NumPy does in `pose3d.triangulation.fitting`.

A block is a table: of every point in ``own``, and of every view of it in ``views``. Each row holds
one number of all `SIZE` points and is called by where it begins, so that a loop over points
runs along rows of one array: the compiler then knows that they do not overlap, and uses the
vector unit. A view that is not there has whitening of zero, and then neither error nor weight.
"""

from collections import namedtuple

import numpy as np
from numba import njit

from calibration.kernels.common import SETTINGS, unbend

#: Points at once: their table stays in the cache. Rows lie a little further apart than they are
#: long, or they would all fall into the same few places of the cache.
SIZE = 128
STRIDE = SIZE + 8

#: A step that lessens the chi-square by less than this is the last (see `fitting`).
SMALL_GAIN = 0.3
MAX_STEPS = 8

#: Share of its distance by which a point may be vague, and the angle within which rays are
#: parallel (see `locating`).
VAGUE = 0.02
NARROW = np.radians(0.5)

#: Codes of `Missing`.
PRESENT, NOT_SEEN, ONE_VIEW, BEHIND_CAMERA, PARALLEL_RAYS, VIEWS_DISAGREE = range(6)

#: Cameras: lens models by number, (fx, fy, cx, cy, skew, eight coefficients), rotations by row
#: and translation, positions, image sizes; how rays are looked up (see `rays`).
Cameras = namedtuple("Cameras", "models lenses motions positions sizes series cells")

#: Detections by camera and point, and the inverse spread of a certain one by camera and keypoint.
Detections = namedtuple(
    "Detections", "xy likelihood covariance sharpness least_likelihood least_variance gate farthest"
)

#: What becomes of points, as in `Keypoints3D`.
Found = namedtuple("Found", "xyz covariance reprojection_error view_errors used_views reason")

Block = namedtuple("Block", "points keypoints views own")

#: Rows of a view: pixels, whitening [[a, b], [0, c]], whether it is there and believed, the limit
#: of belief, ray, whitened error, its derivatives, its square, whether the point is behind.
(PX, PY, WA, WB, WC, SEEN, USED, LIMIT, RX, RY, EX, EY, G0, G1, G2, H0, H1, H2, SQUARE, BEHIND) = (
    STRIDE * row for row in range(20)
)
_VIEW_ROWS = 20

#: Rows of a point: place, and where it was; normal equations (six entries, right-hand side),
#: step, gain, chi-square and that before; flags; room.
(X, Y, Z, X0, Y0, Z0, N0, N1, N2, N3, N4, N5, N6, N7, N8, DX, DY, DZ, GAIN, CHI2, BEFORE) = (
    STRIDE * row for row in range(21)
)
(APART, MOVING, MOVE, N_SEEN, N_USED, A, B, C, D, E, F, G, H) = (
    STRIDE * row for row in range(21, 34)
)
_OWN_ROWS = 34


@njit(**SETTINGS)
def new_block(n_cameras):
    """Return an empty block."""
    return Block(
        np.zeros(SIZE, np.int64),
        np.zeros(SIZE, np.int64),
        np.zeros((n_cameras, _VIEW_ROWS * STRIDE)),
        np.zeros(_OWN_ROWS * STRIDE),
    )


@njit(**SETTINGS)
def _find_keypoints(block, count, n_keypoints):
    """Find which keypoint each point is; a division takes as long as all the rest of it."""
    before, keypoint = -2, 0
    for j in range(count):
        n = block.points[j]
        if n == before + 1:
            keypoint = keypoint + 1 if keypoint + 1 < n_keypoints else 0
        else:
            keypoint = n % n_keypoints
        block.keypoints[j] = keypoint
        before = n


@njit(**SETTINGS)
def load(block, count, given):
    """Fetch what the cameras saw of the block's points, and whiten it."""
    own, points, n_keypoints = block.own, block.points, given.sharpness.shape[1]
    spread = given.covariance.shape[0] > 0
    gate, least, farthest = given.gate * given.gate, given.least_likelihood, given.farthest
    for j in range(count):
        own[N_SEEN + j] = 0.0
    _find_keypoints(block, count, n_keypoints)
    for i in range(block.views.shape[0]):
        v = block.views[i]
        if points[count - 1] - points[0] == count - 1:
            # successive points: no need to look each up
            xy = given.xy[i, points[0] : points[0] + count]
            likelihoods = given.likelihood[i, points[0] : points[0] + count]
            for j in range(count):
                v[PX + j] = xy[j, 0]
                v[PY + j] = xy[j, 1]
                v[WA + j] = likelihoods[j]
        else:
            for j in range(count):
                n = points[j]
                v[PX + j] = given.xy[i, n, 0]
                v[PY + j] = given.xy[i, n, 1]
                v[WA + j] = given.likelihood[i, n]
        sharpness = given.sharpness[i]
        for j in range(count):
            v[LIMIT + j] = sharpness[block.keypoints[j]]
        if spread:
            for j in range(count):
                n = points[j]
                there = v[WA + j] >= least
                xx = given.covariance[i, n, 0, 0] + given.least_variance
                xy = given.covariance[i, n, 0, 1]
                yy = given.covariance[i, n, 1, 1] + given.least_variance
                v[WA + j] = 1 / np.sqrt(xx - xy * xy / yy)
                v[WB + j] = -xy / yy * v[WA + j]
                v[WC + j] = 1 / np.sqrt(yy)
                there = there & (abs(v[WA + j] + v[WB + j] + v[WC + j]) < np.inf)
                v[SEEN + j] = 1.0 if there else 0.0
        else:
            for j in range(count):
                likelihood = v[WA + j]
                there = (likelihood >= least) & (likelihood > 0)
                v[SEEN + j] = 1.0 if there else 0.0
                v[WA + j] = v[WC + j] = np.sqrt(likelihood)
                v[WB + j] = 0.0
        for j in range(count):
            there = v[SEEN + j] if abs(v[PX + j] + v[PY + j]) < np.inf else 0.0
            v[SEEN + j] = there
            own[N_SEEN + j] += there
        for j in range(count):
            there = v[SEEN + j] > 0
            scale = v[LIMIT + j]
            a, b, c = v[WA + j] * scale, v[WB + j] * scale, v[WC + j] * scale
            capped = farthest * 0.5 * (a + c)
            capped = capped * capped
            capped = capped if capped < gate else gate
            v[LIMIT + j] = capped if there else np.inf
            v[PX + j] = v[PX + j] if there else 0.0
            v[PY + j] = v[PY + j] if there else 0.0
            v[WA + j] = a if there else 0.0
            v[WB + j] = b if there else 0.0
            v[WC + j] = c if there else 0.0


@njit(**SETTINGS)
def look_up(block, count, cameras):
    """Find the views' rays; a view without a ray counts as not there."""
    both = np.empty(6)
    own = block.own
    for i in range(block.views.shape[0]):
        v, lens, s = block.views[i], cameras.lenses[i], cameras.series[i]
        fx, fy, cx, cy, skew = 1 / lens[0], 1 / lens[1], lens[2], lens[3], lens[4]
        if cameras.models[i] == 0:
            for j in range(count):
                y = (v[PY + j] - cy) * fy
                v[RY + j] = y
                v[RX + j] = (v[PX + j] - cx - skew * y) * fx
            continue
        width, height = cameras.sizes[i, 0] - 1, cameras.sizes[i, 1] - 1
        n_off = 0.0
        for j in range(count):
            off = abs(v[PX + j] - 0.5 * width) > 0.52 * width
            off = off | (abs(v[PY + j] - 0.5 * height) > 0.52 * height)
            v[EX + j] = v[SEEN + j] if off else 0.0
            n_off += v[EX + j]
        if s[0] > 0:
            s0, s1, s2, s3, s4, p1, p2, q1, q2 = (
                s[0],
                s[1],
                s[2],
                s[3],
                s[4],
                s[5],
                s[6],
                s[7],
                s[8],
            )
            for j in range(count):
                y = (v[PY + j] - cy) * fy
                x = (v[PX + j] - cx - skew * y) * fx
                r2 = x * x + y * y
                radial = s0 + r2 * (s1 + r2 * (s2 + r2 * (s3 + r2 * s4)))
                p, q = p1 + r2 * q1, p2 + r2 * q2
                v[RX + j] = x * radial + 2 * p * x * y + q * (r2 + 2 * x * x)
                v[RY + j] = y * radial + p * (r2 + 2 * y * y) + 2 * q * x * y
        else:
            _from_table(v, count, cameras.cells[i], width, height)
            for j in range(count):
                n_off += v[EX + j]
        if not n_off > 0:
            continue
        for j in range(count):
            if v[EX + j] > 0:
                y = (v[PY + j] - cy) * fy
                unbend(cameras.models[i], lens[5:], (v[PX + j] - cx - skew * y) * fx, y, both)
                v[RX + j], v[RY + j] = both[0], both[1]
                if np.isnan(both[0]):
                    v[RX + j] = v[RY + j] = 0.0
                    v[SEEN + j] = v[WA + j] = v[WB + j] = v[WC + j] = 0.0
                    own[N_SEEN + j] -= 1.0


@njit(**SETTINGS)
def _from_table(v, count, cells, width, height):
    """Find rays between the nodes of a table; mark those that have none."""
    n_cells = int(round(np.sqrt(cells.shape[0])))
    across, down, last = n_cells / width, n_cells / height, n_cells - 1.0
    for j in range(count):
        x, y = v[PX + j] * across, v[PY + j] * down
        column, row = int(min(max(x, 0.0), last)), int(min(max(y, 0.0), last))
        cell = row * n_cells + column
        x -= column
        y -= row
        v[RX + j] = cells[cell, 0] + cells[cell, 2] * x + (cells[cell, 4] + cells[cell, 6] * x) * y
        v[RY + j] = cells[cell, 1] + cells[cell, 3] * x + (cells[cell, 5] + cells[cell, 7] * x) * y
        if np.isnan(v[RX + j]):
            v[EX + j] = v[SEEN + j]
            v[RX + j] = v[RY + j] = 0.0
