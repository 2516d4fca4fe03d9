"""Points in blocks, compiled: what NumPy does in `pose3d.triangulation.fitting`.

A block's arrays run camera first and point last, and every inner loop runs over its points. A
view that is not there has whitening of zero, and then neither error nor weight.
"""

from collections import namedtuple

import numpy as np
from numba import njit

from calibration.kernels.common import SETTINGS, bend, bend_all, unbend

#: Points at once: their arrays stay in the cache.
SIZE = 64

#: A step that lessens the chi-square by less than this is the last (see `fitting`).
SMALL_GAIN = 0.3
MAX_STEPS = 8

#: Half of the share of its distance by which a point may be vague without a closer look, and
#: the cosine of the angle within which rays are parallel (see `locating`).
VAGUE = 0.02
NARROW = np.radians(0.5)

#: Codes of `Missing`.
PRESENT, NOT_SEEN, ONE_VIEW, BEHIND_CAMERA, PARALLEL_RAYS, VIEWS_DISAGREE = range(6)

#: Cameras: lens models by number, (fx, fy, cx, cy, skew, eight coefficients), rotations by row
#: and translation, positions; nodes of the ray tables and their distances.
Cameras = namedtuple("Cameras", "models lenses motions positions cells steps")

#: Detections by camera and point, and the spread of a certain one by camera and keypoint.
Detections = namedtuple(
    "Detections", "xy likelihood covariance noise least_likelihood least_variance gate farthest"
)

#: What becomes of points, as in `Keypoints3D`.
Found = namedtuple("Found", "xyz covariance reprojection_error view_errors used_views reason")

Block = namedtuple(
    "Block",
    "points pixels whiten seen limit rays residuals rows squares behind used "
    "xyz base normal step gain chi2 apart moving work",
)


@njit(**SETTINGS)
def new_block(n_cameras):
    """Return an empty block."""
    by_camera = (n_cameras, SIZE)
    return Block(
        np.zeros(SIZE, np.int64),
        np.zeros((n_cameras, 2, SIZE)),
        np.zeros((n_cameras, 3, SIZE)),
        np.zeros(by_camera),
        np.zeros(by_camera),
        np.zeros((n_cameras, 2, SIZE)),
        np.zeros((n_cameras, 2, SIZE)),
        np.zeros((n_cameras, 6, SIZE)),
        np.zeros(by_camera),
        np.zeros(by_camera),
        np.zeros(by_camera),
        np.zeros((3, SIZE)),
        np.zeros((3, SIZE)),
        np.zeros((9, SIZE)),
        np.zeros((3, SIZE)),
        np.zeros(SIZE),
        np.zeros(SIZE),
        np.zeros(SIZE),
        np.zeros(SIZE),
        np.zeros((12, SIZE)),
    )


@njit(**SETTINGS)
def load(block, count, cameras, given):
    """Fetch what the cameras saw of the block's points, and whiten it."""
    n_keypoints = given.noise.shape[1]
    spread = given.covariance.shape[0] > 0
    for i in range(len(cameras.models)):
        pixels, whiten = block.pixels[i], block.whiten[i]
        seen, limit = block.seen[i], block.limit[i]
        for j in range(count):
            n = block.points[j]
            u, v, likelihood = given.xy[i, n, 0], given.xy[i, n, 1], given.likelihood[i, n]
            there = abs(u + v) < np.inf and likelihood >= given.least_likelihood
            a, b, c = np.sqrt(likelihood), 0.0, 0.0
            if spread:
                xx = given.covariance[i, n, 0, 0] + given.least_variance
                xy = given.covariance[i, n, 0, 1]
                yy = given.covariance[i, n, 1, 1] + given.least_variance
                a = 1 / np.sqrt(xx - xy * xy / yy)
                b = -xy / yy * a
                c = 1 / np.sqrt(yy)
                there = there and abs(a + b + c) < np.inf
            else:
                c = a
            if there and likelihood > 0:
                scale = 1 / given.noise[i, n % n_keypoints]
                pixels[0, j], pixels[1, j], seen[j] = u, v, 1.0
                whiten[0, j], whiten[1, j], whiten[2, j] = a * scale, b * scale, c * scale
            else:
                pixels[0, j], pixels[1, j], seen[j] = 0.0, 0.0, 0.0
                whiten[0, j], whiten[1, j], whiten[2, j] = 0.0, 0.0, 0.0
        for j in range(count):
            capped = given.farthest * 0.5 * (whiten[0, j] + whiten[2, j])
            limit[j] = min(capped * capped, given.gate * given.gate) if seen[j] > 0 else np.inf


@njit(**SETTINGS)
def look_up(block, count, cameras):
    """Find the views' rays in the tables; a view without a ray counts as not there."""
    both = np.empty(6)
    for i in range(len(cameras.models)):
        lens, rays, pixels, seen = cameras.lenses[i], block.rays[i], block.pixels[i], block.seen[i]
        if cameras.models[i] == 0:
            for j in range(count):
                y = (pixels[1, j] - lens[3]) / lens[1]
                rays[0, j] = (pixels[0, j] - lens[2] - lens[4] * y) / lens[0]
                rays[1, j] = y
            continue
        cells, n_cells = cameras.cells[i], int(round(np.sqrt(cameras.cells.shape[1])))
        across, down = 1 / cameras.steps[i, 0], 1 / cameras.steps[i, 1]
        last = n_cells - 1.0
        for j in range(count):
            u, v = pixels[0, j] * across, pixels[1, j] * down
            column, row = int(min(max(u, 0.0), last)), int(min(max(v, 0.0), last))
            cell = row * n_cells + column
            u -= column
            v -= row
            rays[0, j] = (
                cells[cell, 0] + cells[cell, 2] * u + (cells[cell, 4] + cells[cell, 6] * u) * v
            )
            rays[1, j] = (
                cells[cell, 1] + cells[cell, 3] * u + (cells[cell, 5] + cells[cell, 7] * u) * v
            )
            if abs(u - 0.5) > 1 or abs(v - 0.5) > 1:
                rays[0, j] = np.nan
        for j in range(count):
            if np.isnan(rays[0, j]):
                y = (pixels[1, j] - lens[3]) / lens[1]
                x = (pixels[0, j] - lens[2] - lens[4] * y) / lens[0]
                unbend(cameras.models[i], lens[5:], x, y, both)
                rays[0, j], rays[1, j] = both[0], both[1]
                if np.isnan(both[0]):
                    rays[0, j] = rays[1, j] = 0.0
                    seen[j] = 0.0
                    block.whiten[i, 0, j] = block.whiten[i, 1, j] = block.whiten[i, 2, j] = 0.0


@njit(**SETTINGS)
def refine_rays(block, count, cameras):
    """Make rays from the tables exact to rounding, by one step of Newton's method."""
    both = np.empty(6)
    for i in range(len(cameras.models)):
        lens, rays, pixels = cameras.lenses[i], block.rays[i], block.pixels[i]
        for j in range(count):
            if not block.seen[i, j] > 0:
                rays[0, j] = rays[1, j] = 0.0
                continue
            bend(cameras.models[i], lens[5:], rays[0, j], rays[1, j], both)
            y = pixels[1, j] - lens[3] - lens[1] * both[1]
            x = pixels[0, j] - lens[2] - lens[0] * both[0] - lens[4] * both[1]
            a, b = lens[0] * both[2] + lens[4] * both[4], lens[0] * both[3] + lens[4] * both[5]
            c, d = lens[1] * both[4], lens[1] * both[5]
            det = a * d - b * c
            dx, dy = (d * x - b * y) / det, (a * y - c * x) / det
            if abs(dx + dy) < np.inf:
                rays[0, j] += dx
                rays[1, j] += dy


@njit(**SETTINGS)
def solve(normal, count, step):
    """Solve symmetric (3, 3) systems by Cholesky's method without roots; NaN if singular."""
    for j in range(count):
        a, b, c = normal[0, j], normal[1, j], normal[2, j]
        d, e, f = normal[3, j], normal[4, j], normal[5, j]
        l10, l20 = b / a, c / a
        d1 = d - l10 * b
        e1 = e - l10 * c
        l21 = e1 / d1
        d2 = f - l20 * c - l21 * e1
        y1 = normal[7, j] - l10 * normal[6, j]
        y2 = normal[8, j] - l20 * normal[6, j] - l21 * y1
        z = y2 / d2 if d2 > 1e-14 * (a + d + f) else np.nan
        y = y1 / d1 - l21 * z
        step[0, j] = normal[6, j] / a - l10 * y - l20 * z
        step[1, j] = y
        step[2, j] = z


@njit(**SETTINGS)
def start(block, count, cameras):
    """Begin where the rays nearly meet, by the linear equations of their planes."""
    normal = block.normal
    normal[:, :count] = 0.0
    for i in range(len(cameras.models)):
        m, rays = cameras.motions[i], block.rays[i]
        focal, whiten = cameras.lenses[i, 0], block.whiten[i, 0]
        for axis in range(2):
            r0, r1, r2, t0 = m[3 * axis], m[3 * axis + 1], m[3 * axis + 2], m[9 + axis]
            s0, s1, s2, t2 = m[6], m[7], m[8], m[11]
            ray = rays[axis]
            for j in range(count):
                weight = focal * whiten[j]
                x = (s0 * ray[j] - r0) * weight
                y = (s1 * ray[j] - r1) * weight
                z = (s2 * ray[j] - r2) * weight
                offset = (t0 - ray[j] * t2) * weight
                normal[0, j] += x * x
                normal[1, j] += x * y
                normal[2, j] += x * z
                normal[3, j] += y * y
                normal[4, j] += y * z
                normal[5, j] += z * z
                normal[6, j] += x * offset
                normal[7, j] += y * offset
                normal[8, j] += z * offset
    solve(normal, count, block.xyz)
    for j in range(count):
        if not abs(block.xyz[0, j] + block.xyz[1, j] + block.xyz[2, j]) < np.inf:
            block.xyz[0, j] = block.xyz[1, j] = block.xyz[2, j] = 0.0


@njit(**SETTINGS)
def measure(block, count, cameras):
    """Compare points with their views in the true lens model, with derivatives."""
    x, y, inverse = block.work[0], block.work[1], block.work[2]
    bent_x, bent_y = block.work[3], block.work[4]
    xx, xy, yy = block.work[5], block.work[6], block.work[7]
    xyz = block.xyz
    for i in range(len(cameras.models)):
        m, lens = cameras.motions[i], cameras.lenses[i]
        behind, whiten, pixels = block.behind[i], block.whiten[i], block.pixels[i]
        residuals, rows, squares = block.residuals[i], block.rows[i], block.squares[i]
        m0, m1, m2, m3, m4, m5 = m[0], m[1], m[2], m[3], m[4], m[5]
        m6, m7, m8, m9, m10, m11 = m[6], m[7], m[8], m[9], m[10], m[11]
        for j in range(count):
            z = m6 * xyz[0, j] + m7 * xyz[1, j] + m8 * xyz[2, j] + m11
            behind[j] = 1.0 if z <= 0 else 0.0
            # on the camera's own plane nothing projects; far off the image does as well
            z = z if abs(z) >= 1e-9 else 1e-9
            inverse[j] = 1 / z
            x[j] = (m0 * xyz[0, j] + m1 * xyz[1, j] + m2 * xyz[2, j] + m9) * inverse[j]
            y[j] = (m3 * xyz[0, j] + m4 * xyz[1, j] + m5 * xyz[2, j] + m10) * inverse[j]
        bend_all(cameras.models[i], lens[5:], count, x, y, bent_x, bent_y, xx, xy, yy)
        fx, fy, cx, cy, skew = lens[0], lens[1], lens[2], lens[3], lens[4]
        for j in range(count):
            p = whiten[0, j] * fx
            q = whiten[0, j] * skew + whiten[1, j] * fy
            r = whiten[2, j] * fy
            across, down = pixels[0, j] - cx, pixels[1, j] - cy
            first = whiten[0, j] * across + whiten[1, j] * down - p * bent_x[j] - q * bent_y[j]
            second = whiten[2, j] * down - r * bent_y[j]
            residuals[0, j] = first
            residuals[1, j] = second
            squares[j] = first * first + second * second
            a = (p * xx[j] + q * xy[j]) * inverse[j]
            b = (p * xy[j] + q * yy[j]) * inverse[j]
            c = -(a * x[j] + b * y[j])
            rows[0, j] = a * m0 + b * m3 + c * m6
            rows[1, j] = a * m1 + b * m4 + c * m7
            rows[2, j] = a * m2 + b * m5 + c * m8
            a = r * xy[j] * inverse[j]
            b = r * yy[j] * inverse[j]
            c = -(a * x[j] + b * y[j])
            rows[3, j] = a * m0 + b * m3 + c * m6
            rows[4, j] = a * m1 + b * m4 + c * m7
            rows[5, j] = a * m2 + b * m5 + c * m8


@njit(**SETTINGS)
def believe(block, count, factor):
    """Believe the views within so many times the limit and in front; all that are if infinite."""
    for i in range(block.seen.shape[0]):
        used, seen, squares = block.used[i], block.seen[i], block.squares[i]
        limit, behind = block.limit[i], block.behind[i]
        if factor == np.inf:
            for j in range(count):
                used[j] = seen[j]
        else:
            for j in range(count):
                near = squares[j] < factor * limit[j] and behind[j] == 0
                used[j] = seen[j] if near else 0.0


@njit(**SETTINGS)
def aim(block, count):
    """Find the Gauss-Newton step of the believed views, and what it should gain."""
    normal, chi2, step = block.normal, block.chi2, block.step
    normal[:, :count] = 0.0
    chi2[:count] = 0.0
    for i in range(block.seen.shape[0]):
        rows, residuals, used = block.rows[i], block.residuals[i], block.used[i]
        squares = block.squares[i]
        for j in range(count):
            a, b, c = rows[0, j] * used[j], rows[1, j] * used[j], rows[2, j] * used[j]
            d, e, f = rows[3, j] * used[j], rows[4, j] * used[j], rows[5, j] * used[j]
            first, second = residuals[0, j], residuals[1, j]
            normal[0, j] += a * a + d * d
            normal[1, j] += a * b + d * e
            normal[2, j] += a * c + d * f
            normal[3, j] += b * b + e * e
            normal[4, j] += b * c + e * f
            normal[5, j] += c * c + f * f
            normal[6, j] += a * first + d * second
            normal[7, j] += b * first + e * second
            normal[8, j] += c * first + f * second
            chi2[j] += squares[j] * used[j]
    solve(normal, count, step)
    for j in range(count):
        block.gain[j] = (
            step[0, j] * normal[6, j] + step[1, j] * normal[7, j] + step[2, j] * normal[8, j]
        )


@njit(**SETTINGS)
def advance(block, count, move):
    """Take the step where told, to first order."""
    step, xyz = block.step, block.xyz
    for j in range(count):
        told = move[j] > 0 and abs(block.gain[j]) < np.inf
        for k in range(3):
            step[k, j] = step[k, j] if told else 0.0
            xyz[k, j] += step[k, j]
    for i in range(block.seen.shape[0]):
        rows, residuals, squares = block.rows[i], block.residuals[i], block.squares[i]
        for j in range(count):
            x, y, z = step[0, j], step[1, j], step[2, j]
            first = residuals[0, j] - rows[0, j] * x - rows[1, j] * y - rows[2, j] * z
            second = residuals[1, j] - rows[3, j] * x - rows[4, j] * y - rows[5, j] * z
            residuals[0, j] = first
            residuals[1, j] = second
            squares[j] = first * first + second * second


@njit(**SETTINGS)
def fit(block, count, cameras):
    """Move points, aimed at their steps, to where the believed views' squares add up to least."""
    base, move, moving, before = block.base, block.work[8], block.moving, block.work[9]
    further = False
    for j in range(count):
        base[:, j] = block.xyz[:, j]
        before[j] = block.chi2[j]
        move[j] = 1.0
        moving[j] = 1.0 if block.gain[j] > SMALL_GAIN else 0.0
        further = further or moving[j] > 0
    if not further:
        advance(block, count, move)
        return
    for _ in range(MAX_STEPS):
        if not further:
            break
        further = False
        for j in range(count):
            for k in range(3):
                ahead = block.step[k, j] if moving[j] > 0 else 0.0
                block.xyz[k, j] = base[k, j] + ahead
        measure(block, count, cameras)
        aim(block, count)
        for j in range(count):
            if not moving[j] > 0:
                continue
            if block.chi2[j] <= before[j]:
                base[:, j] = block.xyz[:, j]
                before[j] = block.chi2[j]
                moving[j] = 1.0 if block.gain[j] > SMALL_GAIN else 0.0
            else:
                # a step that does not help is not taken
                moving[j] = move[j] = 0.0
            further = further or moving[j] > 0
    block.xyz[:, :count] = base[:, :count]
    measure(block, count, cameras)
    aim(block, count)
    advance(block, count, move)


@njit(**SETTINGS)
def find_apart(block, count):
    """Mark the points of which a believed view lies beyond the limit."""
    apart = block.apart
    apart[:count] = 0.0
    for i in range(block.seen.shape[0]):
        used, squares, limit = block.used[i], block.squares[i], block.limit[i]
        for j in range(count):
            # written so that an error that is not a number counts as beyond
            near = used[j] == 0 or squares[j] < limit[j]
            apart[j] = apart[j] if near else 1.0


@njit(**SETTINGS)
def _is_parallel(block, j, cameras, spread):
    """Tell whether the believed rays are too near parallel to say how far the point is."""
    if np.isnan(spread):
        return True
    mean = np.zeros(3)
    nearest = np.inf
    for i in range(block.used.shape[0]):
        if block.used[i, j] > 0:
            ray = block.xyz[:, j] - cameras.positions[i]
            distance = np.sqrt((ray * ray).sum())
            nearest = min(nearest, distance)
            mean += ray / distance
    mean /= max(np.sqrt((mean * mean).sum()), 1e-12)
    if spread <= VAGUE * nearest:
        return False
    for i in range(block.used.shape[0]):
        if block.used[i, j] > 0:
            ray = block.xyz[:, j] - cameras.positions[i]
            cosine = (ray * mean).sum() / np.sqrt((ray * ray).sum())
            if np.arccos(min(max(cosine, -1.0), 1.0)) > NARROW:
                return False
    return True


@njit(**SETTINGS)
def finish(block, count, cameras, found):
    """Say which points are known and how well, and write them down."""
    n_cameras = block.seen.shape[0]
    normal, apart, xyz = block.normal, block.apart, block.xyz
    inverse = block.work
    middle = np.zeros(3)
    for i in range(n_cameras):
        middle += cameras.positions[i] / n_cameras
    for j in range(count):
        a, b, c = normal[0, j], normal[1, j], normal[2, j]
        d, e, f = normal[3, j], normal[4, j], normal[5, j]
        first, second, third = d * f - e * e, c * e - b * f, b * e - c * d
        det = a * first + b * second + c * third
        # each of the three axes must carry some information, rounding apart
        scale = 1 / det if det > 1e-14 * a * d * f else np.nan
        inverse[0, j], inverse[1, j], inverse[2, j] = first * scale, second * scale, third * scale
        inverse[3, j] = (a * f - c * c) * scale
        inverse[4, j] = (b * c - a * e) * scale
        inverse[5, j] = (a * d - b * b) * scale
    n_seen, n_used, behind = inverse[6], inverse[7], inverse[8]
    for k in range(6, 9):
        inverse[k, :count] = 0.0
    for i in range(n_cameras):
        for j in range(count):
            n_seen[j] += block.seen[i, j]
            n_used[j] += block.used[i, j]
            behind[j] += block.used[i, j] * block.behind[i, j]
    for j in range(count):
        spread = np.sqrt(inverse[0, j] + inverse[3, j] + inverse[5, j])
        x, y, z = xyz[0, j] - middle[0], xyz[1, j] - middle[1], xyz[2, j] - middle[2]
        parallel = False
        if not spread <= 0.5 * VAGUE * np.sqrt(x * x + y * y + z * z):
            parallel = _is_parallel(block, j, cameras, spread)
        left_out = n_used[j] < n_seen[j]
        reason = PRESENT
        if n_seen[j] < 2:
            reason = ONE_VIEW
        elif parallel and not (apart[j] > 0 and left_out):
            reason = PARALLEL_RAYS
        elif apart[j] > 0:
            reason = VIEWS_DISAGREE
        elif behind[j] > 0:
            reason = BEHIND_CAMERA
        n = block.points[j]
        there = reason == PRESENT
        gone = 0.0 if there else np.nan
        found.reason[n] = reason
        inverse[9, j] = gone
        for k in range(3):
            found.xyz[n, k] = xyz[k, j] + gone
        out = found.covariance[n]
        out[0, 0] = inverse[0, j] + gone
        out[1, 1] = inverse[3, j] + gone
        out[2, 2] = inverse[5, j] + gone
        out[0, 1] = out[1, 0] = inverse[1, j] + gone
        out[0, 2] = out[2, 0] = inverse[2, j] + gone
        out[1, 2] = out[2, 1] = inverse[4, j] + gone
    total, gone, error = inverse[0], inverse[9], inverse[1]
    total[:count] = 0.0
    for i in range(n_cameras):
        whiten, residuals, used = block.whiten[i], block.residuals[i], block.used[i]
        for j in range(count):
            down = residuals[1, j] / whiten[2, j]
            across = (residuals[0, j] - whiten[1, j] * down) / whiten[0, j]
            square = across * across + down * down
            total[j] += square if used[j] > 0 else 0.0
            error[j] = np.sqrt(square) + gone[j] if block.behind[i, j] == 0 else np.nan
        for j in range(count):
            n = block.points[j]
            found.view_errors[i, n] = error[j]
            found.used_views[i, n] = used[j] > 0 and gone[j] == 0
    for j in range(count):
        found.reprojection_error[block.points[j]] = np.sqrt(total[j] / n_used[j]) + gone[j]
