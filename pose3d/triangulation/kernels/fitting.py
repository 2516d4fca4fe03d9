"""Points fitted to their views, compiled: what NumPy does in `pose3d.triangulation.fitting`."""

import numpy as np
from numba import njit

from calibration.kernels.common import SETTINGS, bend
from pose3d.triangulation.kernels.blocks import (
    APART,
    BEFORE,
    BEHIND,
    CHI2,
    DX,
    DY,
    DZ,
    EX,
    EY,
    G0,
    G1,
    G2,
    GAIN,
    H0,
    H1,
    H2,
    LIMIT,
    MAX_STEPS,
    MOVE,
    MOVING,
    N0,
    N1,
    N2,
    N3,
    N4,
    N5,
    N6,
    N7,
    N8,
    N_SEEN,
    N_USED,
    PX,
    PY,
    RX,
    RY,
    SEEN,
    SMALL_GAIN,
    SQUARE,
    STRIDE,
    USED,
    WA,
    WB,
    WC,
    X0,
    Y0,
    Z0,
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
def solve(table, count, normal, step):
    """Solve symmetric (3, 3) systems by Cholesky's method without roots; NaN if singular.

    ``normal`` and ``step`` tell where the rows of the systems and of the solutions begin.
    """
    t = table
    for j in range(count):
        n = normal + j
        a, b, c = t[n], t[n + STRIDE], t[n + 2 * STRIDE]
        d, e, f = t[n + 3 * STRIDE], t[n + 4 * STRIDE], t[n + 5 * STRIDE]
        r0, r1, r2 = t[n + 6 * STRIDE], t[n + 7 * STRIDE], t[n + 8 * STRIDE]
        inverse = 1 / a
        l10, l20 = b * inverse, c * inverse
        d1 = d - l10 * b
        e1 = e - l10 * c
        below = 1 / d1
        l21 = e1 * below
        d2 = f - l20 * c - l21 * e1
        y1 = r1 - l10 * r0
        y2 = r2 - l20 * r0 - l21 * y1
        z = y2 / d2
        z = z if d2 > 1e-14 * (a + d + f) else np.nan
        y = y1 * below - l21 * z
        t[step + j] = r0 * inverse - l10 * y - l20 * z
        t[step + STRIDE + j] = y
        t[step + 2 * STRIDE + j] = z


@njit(**SETTINGS)
def _add_planes(own, v, count, m, focal):
    """Add the equations of the two planes of each ray: (x r3 - r1) . X = t1 - x t3."""
    m0, m1, m2, m3, m4, m5 = m[0], m[1], m[2], m[3], m[4], m[5]
    m6, m7, m8, m9, m10, m11 = m[6], m[7], m[8], m[9], m[10], m[11]
    for j in range(count):
        weight = focal * v[WA + j]
        slope = v[RX + j]
        a, b, c = (m6 * slope - m0) * weight, (m7 * slope - m1) * weight, (m8 * slope - m2) * weight
        first = (m9 - slope * m11) * weight
        slope = v[RY + j]
        d, e, f = (m6 * slope - m3) * weight, (m7 * slope - m4) * weight, (m8 * slope - m5) * weight
        second = (m10 - slope * m11) * weight
        own[N0 + j] += a * a + d * d
        own[N1 + j] += a * b + d * e
        own[N2 + j] += a * c + d * f
        own[N3 + j] += b * b + e * e
        own[N4 + j] += b * c + e * f
        own[N5 + j] += c * c + f * f
        own[N6 + j] += a * first + d * second
        own[N7 + j] += b * first + e * second
        own[N8 + j] += c * first + f * second


@njit(**SETTINGS)
def start(block, count, cameras):
    """Begin where the rays nearly meet, by the linear equations of their planes."""
    own = block.own
    own[N0 : N0 + 9 * STRIDE] = 0.0
    for i in range(block.views.shape[0]):
        m, focal = cameras.motions[i], cameras.lenses[i, 0]
        _add_planes(own, block.views[i], count, m, focal)
    solve(own, count, N0, X)
    for j in range(count):
        there = abs(own[X + j] + own[Y + j] + own[Z + j]) < np.inf
        own[X + j] = own[X + j] if there else 0.0
        own[Y + j] = own[Y + j] if there else 0.0
        own[Z + j] = own[Z + j] if there else 0.0


@njit(**SETTINGS)
def bend_rows(own, count, model, dist):
    """Distort what rows A, B hold: bent points to D, E, the symmetric Jacobian to F, G, H."""
    if model == 3:
        bent = np.empty(6)
        for j in range(count):
            bend(model, dist, own[A + j], own[B + j], bent)
            own[D + j], own[E + j] = bent[0], bent[1]
            own[F + j], own[G + j], own[H + j] = bent[2], bent[3], bent[5]
        return
    k1, k2, p1, p2, k3 = dist[0], dist[1], dist[2], dist[3], dist[4]
    if model < 2:
        for j in range(count):
            x, y = own[A + j], own[B + j]
            r2 = x * x + y * y
            radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
            growth = 2 * (k1 + r2 * (2 * k2 + r2 * 3 * k3))
            own[D + j] = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
            own[E + j] = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
            own[F + j] = radial + growth * x * x + 2 * p1 * y + 6 * p2 * x
            own[G + j] = growth * x * y + 2 * p1 * x + 2 * p2 * y
            own[H + j] = radial + growth * y * y + 6 * p1 * y + 2 * p2 * x
        return
    k4, k5, k6 = dist[5], dist[6], dist[7]
    for j in range(count):
        x, y = own[A + j], own[B + j]
        r2 = x * x + y * y
        below = 1 / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
        radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) * below
        growth = k1 + r2 * (2 * k2 + r2 * 3 * k3)
        growth = 2 * below * (growth - radial * (k4 + r2 * (2 * k5 + r2 * 3 * k6)))
        own[D + j] = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
        own[E + j] = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
        own[F + j] = radial + growth * x * x + 2 * p1 * y + 6 * p2 * x
        own[G + j] = growth * x * y + 2 * p1 * x + 2 * p2 * y
        own[H + j] = radial + growth * y * y + 6 * p1 * y + 2 * p2 * x


@njit(**SETTINGS)
def refine_rays(block, count, cameras):
    """Make rays exact to rounding by one step of Newton's method.

    Rows G0, G1 and H1 then hold what squares a small error of the ray into a whitened one.
    """
    own = block.own
    for i in range(block.views.shape[0]):
        v, lens = block.views[i], cameras.lenses[i]
        fx, fy, cx, cy, skew = lens[0], lens[1], lens[2], lens[3], lens[4]
        for j in range(count):
            own[A + j] = v[RX + j] if v[SEEN + j] > 0 else 0.0
            own[B + j] = v[RY + j] if v[SEEN + j] > 0 else 0.0
        bend_rows(own, count, cameras.models[i], lens[5:])
        for j in range(count):
            y = v[PY + j] - cy - fy * own[E + j]
            x = v[PX + j] - cx - fx * own[D + j] - skew * own[E + j]
            a, b = fx * own[F + j] + skew * own[G + j], fx * own[G + j] + skew * own[H + j]
            c, d = fy * own[G + j], fy * own[H + j]
            inverse = 1 / (a * d - b * c)
            dx, dy = (d * x - b * y) * inverse, (a * y - c * x) * inverse
            fine = (abs(dx + dy) < np.inf) & (v[SEEN + j] > 0)
            own[A + j] += dx if fine else 0.0
            own[B + j] += dy if fine else 0.0
            v[RX + j], v[RY + j] = own[A + j], own[B + j]
        bend_rows(own, count, cameras.models[i], lens[5:])
        for j in range(count):
            wa, wb, wc = v[WA + j], v[WB + j], v[WC + j]
            p, q, r = wa * fx, wa * skew + wb * fy, wc * fy
            ax, bx = p * own[F + j] + q * own[G + j], p * own[G + j] + q * own[H + j]
            ay, by = r * own[G + j], r * own[H + j]
            v[G0 + j] = ax * ax + ay * ay
            v[G1 + j] = 2 * (ax * bx + ay * by)
            v[H1 + j] = bx * bx + by * by


@njit(**SETTINGS)
def measure(block, count, cameras):
    """Compare points with their views in the true lens model, with derivatives."""
    own = block.own
    for i in range(block.views.shape[0]):
        v, m, lens = block.views[i], cameras.motions[i], cameras.lenses[i]
        m0, m1, m2, m3, m4, m5 = m[0], m[1], m[2], m[3], m[4], m[5]
        m6, m7, m8, m9, m10, m11 = m[6], m[7], m[8], m[9], m[10], m[11]
        for j in range(count):
            x, y, z = own[X + j], own[Y + j], own[Z + j]
            depth = m6 * x + m7 * y + m8 * z + m11
            v[BEHIND + j] = 1.0 if depth <= 0 else 0.0
            # on the camera's own plane nothing projects; far off the image does as well
            depth = depth if abs(depth) >= 1e-9 else 1e-9
            inverse = 1 / depth
            own[C + j] = inverse
            own[A + j] = (m0 * x + m1 * y + m2 * z + m9) * inverse
            own[B + j] = (m3 * x + m4 * y + m5 * z + m10) * inverse
        bend_rows(own, count, cameras.models[i], lens[5:])
        fx, fy, cx, cy, skew = lens[0], lens[1], lens[2], lens[3], lens[4]
        for j in range(count):
            wa, wb, wc = v[WA + j], v[WB + j], v[WC + j]
            p, q, r = wa * fx, wa * skew + wb * fy, wc * fy
            across, down = v[PX + j] - cx, v[PY + j] - cy
            first = wa * across + wb * down - p * own[D + j] - q * own[E + j]
            second = wc * down - r * own[E + j]
            v[EX + j] = first
            v[EY + j] = second
            v[SQUARE + j] = first * first + second * second
            x, y, inverse = own[A + j], own[B + j], own[C + j]
            xx, xy, yy = own[F + j] * inverse, own[G + j] * inverse, own[H + j] * inverse
            a, b = p * xx + q * xy, p * xy + q * yy
            c = -(a * x + b * y)
            v[G0 + j] = a * m0 + b * m3 + c * m6
            v[G1 + j] = a * m1 + b * m4 + c * m7
            v[G2 + j] = a * m2 + b * m5 + c * m8
            a, b = r * xy, r * yy
            c = -(a * x + b * y)
            v[H0 + j] = a * m0 + b * m3 + c * m6
            v[H1 + j] = a * m1 + b * m4 + c * m7
            v[H2 + j] = a * m2 + b * m5 + c * m8


@njit(**SETTINGS)
def believe(block, count, factor):
    """Believe the views that are within so many times the limit and in front."""
    own = block.own
    for j in range(count):
        own[N_USED + j] = 0.0
    for i in range(block.views.shape[0]):
        v = block.views[i]
        for j in range(count):
            near = (v[SQUARE + j] < factor * v[LIMIT + j]) & (v[BEHIND + j] == 0)
            v[USED + j] = v[SEEN + j] if near else 0.0
            own[N_USED + j] += v[USED + j]


@njit(**SETTINGS)
def believe_all(block, count):
    """Believe every view."""
    own = block.own
    for j in range(count):
        own[N_USED + j] = own[N_SEEN + j]
    for i in range(block.views.shape[0]):
        v = block.views[i]
        for j in range(count):
            v[USED + j] = v[SEEN + j]


@njit(**SETTINGS)
def aim(block, count):
    """Find the Gauss-Newton step of the believed views, and what it should gain."""
    own = block.own
    own[N0 : N0 + 9 * STRIDE] = 0.0
    own[CHI2 : CHI2 + STRIDE] = 0.0
    for i in range(block.views.shape[0]):
        v = block.views[i]
        for j in range(count):
            used = v[USED + j]
            a, b, c = v[G0 + j] * used, v[G1 + j] * used, v[G2 + j] * used
            d, e, f = v[H0 + j] * used, v[H1 + j] * used, v[H2 + j] * used
            first, second = v[EX + j], v[EY + j]
            own[N0 + j] += a * a + d * d
            own[N1 + j] += a * b + d * e
            own[N2 + j] += a * c + d * f
            own[N3 + j] += b * b + e * e
            own[N4 + j] += b * c + e * f
            own[N5 + j] += c * c + f * f
            own[N6 + j] += a * first + d * second
            own[N7 + j] += b * first + e * second
            own[N8 + j] += c * first + f * second
            own[CHI2 + j] += v[SQUARE + j] * used
    solve(own, count, N0, DX)
    for j in range(count):
        own[GAIN + j] = (
            own[DX + j] * own[N6 + j] + own[DY + j] * own[N7 + j] + own[DZ + j] * own[N8 + j]
        )


@njit(**SETTINGS)
def advance(block, count):
    """Take the steps of the points that are to move, to first order."""
    own = block.own
    for j in range(count):
        told = (own[MOVE + j] > 0) & (abs(own[GAIN + j]) < np.inf)
        own[DX + j] = own[DX + j] if told else 0.0
        own[DY + j] = own[DY + j] if told else 0.0
        own[DZ + j] = own[DZ + j] if told else 0.0
        own[X + j] += own[DX + j]
        own[Y + j] += own[DY + j]
        own[Z + j] += own[DZ + j]
    for i in range(block.views.shape[0]):
        v = block.views[i]
        for j in range(count):
            x, y, z = own[DX + j], own[DY + j], own[DZ + j]
            first = v[EX + j] - v[G0 + j] * x - v[G1 + j] * y - v[G2 + j] * z
            second = v[EY + j] - v[H0 + j] * x - v[H1 + j] * y - v[H2 + j] * z
            v[EX + j] = first
            v[EY + j] = second
            v[SQUARE + j] = first * first + second * second


@njit(**SETTINGS)
def fit(block, count, cameras):
    """Move points, aimed at their steps, to where the believed views' squares add up to least."""
    own = block.own
    further = False
    for j in range(count):
        own[MOVE + j] = 1.0
        own[MOVING + j] = 1.0 if own[GAIN + j] > SMALL_GAIN else 0.0
        further = further or own[MOVING + j] > 0
    if not further:
        advance(block, count)
        return
    for j in range(count):
        own[X0 + j], own[Y0 + j], own[Z0 + j] = own[X + j], own[Y + j], own[Z + j]
        own[BEFORE + j] = own[CHI2 + j]
    for _ in range(MAX_STEPS):
        for j in range(count):
            moving = own[MOVING + j]
            own[X + j] = own[X0 + j] + (own[DX + j] if moving > 0 else 0.0)
            own[Y + j] = own[Y0 + j] + (own[DY + j] if moving > 0 else 0.0)
            own[Z + j] = own[Z0 + j] + (own[DZ + j] if moving > 0 else 0.0)
        measure(block, count, cameras)
        aim(block, count)
        further = False
        for j in range(count):
            if not own[MOVING + j] > 0:
                continue
            if own[CHI2 + j] <= own[BEFORE + j]:
                own[X0 + j], own[Y0 + j], own[Z0 + j] = own[X + j], own[Y + j], own[Z + j]
                own[BEFORE + j] = own[CHI2 + j]
                own[MOVING + j] = 1.0 if own[GAIN + j] > SMALL_GAIN else 0.0
            else:
                # a step that does not help is not taken
                own[MOVING + j] = own[MOVE + j] = 0.0
            further = further or own[MOVING + j] > 0
        if not further:
            break
    for j in range(count):
        own[X + j], own[Y + j], own[Z + j] = own[X0 + j], own[Y0 + j], own[Z0 + j]
    measure(block, count, cameras)
    aim(block, count)
    advance(block, count)


@njit(**SETTINGS)
def find_apart(block, count):
    """Mark the points of which a believed view lies beyond the limit."""
    own = block.own
    for j in range(count):
        own[APART + j] = 0.0
    for i in range(block.views.shape[0]):
        v = block.views[i]
        for j in range(count):
            # written so that an error that is not a number counts as beyond
            near = (v[USED + j] == 0) | (v[SQUARE + j] < v[LIMIT + j])
            own[APART + j] = own[APART + j] if near else 1.0
