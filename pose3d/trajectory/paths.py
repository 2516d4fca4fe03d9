"""The path of one keypoint: its smoothness learned, and points that do not fit left out."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from pose3d.trajectory.smoothing import difference_rows, smooth
from pose3d.triangulation.fitting import SQUARE, invert_symmetric, solve_symmetric

#: Squared distance, in standard deviations, from which a point does not belong to the path: one
#: true point in 20,000.
_GATE = 22.0

#: Times the usual distance from the median of its neighbours at which a point is left out of the
#: first attempt; it may come back.
_FAR = 8.0

#: Points by which smoothness is learned: pieces, and frames of each.
_PIECES, _FRAMES = 3, 300

#: Differences beside the points' spread: fewer would be lost in rounding, more change nothing.
_STIFFEST, _LOOSEST = 1e-4, 1e4

#: Weight, in equations, of the belief that the stated covariance of points is right.
_BELIEF = 300.0


@dataclass(frozen=True, eq=False)
class Measured:
    """The points of one keypoint as they were found, frame by frame.

    Attributes
    ----------
    times : ndarray of shape (n_frames,)
        Seconds.
    xyz : ndarray of shape (n_frames, 3)
        Points; anything finite where there is none.
    spread : ndarray of shape (6, n_frames)
        Entries of their covariance.
    there : ndarray of bool of shape (n_frames,)
        Whether there is a point.
    """

    times: np.ndarray
    xyz: np.ndarray
    spread: np.ndarray
    there: np.ndarray

    def take(self, frames: slice) -> "Measured":
        """Return some of the frames."""
        return Measured(
            self.times[frames], self.xyz[frames], self.spread[:, frames], self.there[frames]
        )


@dataclass(frozen=True, eq=False)
class Path:
    """A path, what it was made with, and what it is made of.

    Attributes
    ----------
    xyz : ndarray of shape (n_frames, 3)
        Places; NaN where they cannot be known.
    spread : ndarray of shape (6, n_frames)
        Entries of their covariance.
    used : ndarray of bool of shape (n_frames,)
        The points that were believed.
    roughness : float
        Standard deviation of a difference, in units of length per frame^order.
    scale : float
        Factor on the standard deviation of points.
    """

    xyz: np.ndarray
    spread: np.ndarray
    used: np.ndarray
    roughness: float
    scale: float


def find_path(measured: Measured, order: int, max_gap: float) -> Path:
    """Find the most likely path through points, some of which may be wrong.

    Parameters
    ----------
    measured : Measured
        The points.
    order : int
        Which difference is kept small, 1 to 3.
    max_gap : float
        Seconds of a gap that is filled; a longer one parts the path.

    Returns
    -------
    Path
        Stretches of fewer than 2 (order + 1) points are left as they are.
    """
    xyz = np.where(measured.there[:, np.newaxis], measured.xyz, np.nan)
    spread = np.where(measured.there, measured.spread, np.nan)
    used = measured.there.copy()
    stretches = [
        stretch
        for stretch in _stretches(measured, max_gap)
        if np.count_nonzero(measured.there[stretch]) >= 2 * (order + 1)
    ]
    if not stretches:
        return Path(xyz, spread, used, np.nan, 1.0)
    for stretch in stretches:
        used[stretch] &= ~_far_from_neighbours(measured.take(stretch))
    ratio = _first_guess(measured, used, order)
    roughness, scale = ratio, 1.0
    for attempt in range(3):
        if attempt < 2:
            ratio, scale = _learn(measured, used, stretches, order, ratio)
            roughness = ratio * scale
        for stretch in stretches:
            part = measured.take(stretch)
            found, own = _smooth(part, used[stretch], order, roughness, scale)
            xyz[stretch], spread[:, stretch] = found, own
            if attempt < 2:
                used[stretch] = _fitting(part, used[stretch], found, own, scale)
    return Path(xyz, spread, used, roughness, scale)


def _stretches(measured, max_gap):
    """Cut at gaps that are too long; a stretch begins and ends with a point."""
    frames = np.flatnonzero(measured.there)
    if not frames.size:
        return []
    cuts = np.flatnonzero(np.diff(measured.times[frames]) > max_gap)
    firsts = frames[np.concatenate([[0], cuts + 1])]
    lasts = frames[np.concatenate([cuts, [len(frames) - 1]])]
    return [slice(first, last + 1) for first, last in zip(firsts, lasts, strict=True)]


def _far_from_neighbours(measured):
    """Tell points that lie far from the median of those before and after."""
    frames = np.flatnonzero(measured.there)
    around = np.clip(
        np.arange(len(frames))[:, np.newaxis] + np.array([-3, -2, -1, 1, 2, 3]), 0, len(frames) - 1
    )
    xyz = measured.xyz[frames]
    distance = np.linalg.norm(xyz - np.median(xyz[around], axis=1), axis=1)
    spread = np.sqrt(measured.spread[:, frames][[0, 3, 5]].sum(axis=0))
    far = np.zeros(len(measured.there), dtype=bool)
    far[frames] = distance > _FAR * (np.median(distance) + spread)
    return far


def _first_guess(measured, used, order):
    """Guess how large differences are beside the points' spread."""
    frames = np.flatnonzero(used)
    spread = np.sqrt(np.median(measured.spread[[0, 3, 5]][:, frames]))
    differences = np.diff(measured.xyz[frames], n=order, axis=0)
    size = np.median(np.abs(differences)) / 0.6745
    noise = {1: 2, 2: 6, 3: 20}[order]
    return np.sqrt(max(size**2 - noise * spread**2, (1e-3 * size) ** 2, 1e-12))


def _pieces(measured, used, stretches, order):
    """Return pieces of the path to learn from, in information form."""
    total = sum(stretch.stop - stretch.start for stretch in stretches)
    wanted = np.linspace(0, max(total - _FRAMES, 0), _PIECES if total > _FRAMES else 1)
    passed, pieces = 0, []
    for stretch in stretches:
        length = stretch.stop - stretch.start
        for start in wanted[(wanted >= passed) & (wanted < passed + length)]:
            first = stretch.start + int(start - passed)
            piece = slice(first, min(first + _FRAMES, stretch.stop))
            if np.count_nonzero(used[piece]) >= 2 * (order + 1):
                part = measured.take(piece)
                normal, right = _information(part, used[piece])
                measure = float((right * part.xyz)[used[piece]].sum())
                rows = difference_rows(part.times, order)
                pieces.append((normal, right, rows, measure, np.count_nonzero(used[piece])))
        passed += length
    return pieces


def _learn(measured, used, stretches, order, guess):
    """Find the most likely ratio of roughness to spread, and the factor on the spread.

    The marginal likelihood of the points, the path integrated out, has its maximum over the
    factor in closed form; that over the ratio is sought by halving.
    """
    pieces = _pieces(measured, used, stretches, order)
    if not pieces:
        return guess, 1.0

    def likelihood(logarithm):
        variance = np.exp(2 * logarithm)
        value, count, misfit = 0.0, _BELIEF, _BELIEF
        for normal, right, rows, measure, n_points in pieces:
            _, _, half, explained = smooth(
                normal, right, rows / np.sqrt(variance), covariance=False
            )
            value -= half + 1.5 * len(rows) * np.log(variance)
            count += 3 * (n_points - order)
            misfit += max(measure - explained, 0.0)
        scale = misfit / count
        return value - 0.5 * count * np.log(scale) - 0.5 * misfit / scale, scale

    # far below the spread of points a path is a polynomial, far above it is the points
    usual = np.sqrt(np.median(measured.spread[[0, 3, 5]][:, used]))
    low, high = np.log(_STIFFEST * usual), np.log(_LOOSEST * usual)
    start = np.clip(np.log(guess), low + 1, high - 1)
    found = minimize_scalar(
        lambda logarithm: -likelihood(logarithm)[0],
        bounds=(max(low, start - 5), min(high, start + 5)),
        method="bounded",
        options={"xatol": 0.05},
    )
    return float(np.exp(found.x)), float(np.sqrt(likelihood(found.x)[1]))


def _information(measured, used, scale=1.0):
    """Return points in information form."""
    normal = np.where(used, invert_symmetric(measured.spread), 0.0) / scale**2
    x, y, z = np.where(used, measured.xyz.T, 0.0)
    a, b, c, d, e, f = normal
    right = np.stack([a * x + b * y + c * z, b * x + d * y + e * z, c * x + e * y + f * z])
    return normal.T, right.T


def _smooth(measured, used, order, roughness, scale):
    """Return the path through the points that are used, and entries of its covariance."""
    normal, right = _information(measured, used, scale)
    rows = difference_rows(measured.times, order) / roughness
    xyz, spread, _, _ = smooth(normal, right, rows)
    return xyz, spread.T


def _fitting(measured, used, path, spread, scale):
    """Tell which points agree with the path that the others make.

    A used point's deviation has the covariance of the point less that of the path (to which
    it belongs), that of another the sum.
    """
    deviation = (measured.xyz - path).T
    sign = np.where(used, -1.0, 1.0)
    expected = measured.spread * scale**2 + sign * spread
    with np.errstate(invalid="ignore"):
        squares = (deviation * solve_symmetric(expected, deviation)).sum(axis=0)
        # a point alone in a gap is the path itself there: nothing speaks against it
        return measured.there & ~(np.abs(squares) > _GATE)


def as_matrices(spread: np.ndarray) -> np.ndarray:
    """Return covariances (n, 3, 3) from their entries (6, n)."""
    return spread[np.array(SQUARE)].T.reshape(-1, 3, 3)
