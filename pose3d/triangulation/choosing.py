"""Which views to believe, where not all of them agree on a point.

Every pair of views is a hypothesis: the point where its two rays nearly meet. It is scored by
how well it explains all views, each wrong one counting no more than a fixed amount. The cost
is the number of pairs times the number of views; above twelve views the pairs are thinned
out, so that it grows as the number of views.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np

from calibration import lenses
from pose3d.triangulation.fitting import (
    ENTRIES,
    Errors,
    Views,
    fit_points,
    measure_errors,
    solve_symmetric,
)

#: Most hypotheses for a point: all pairs of twelve views.
MAX_PAIRS = 66

#: A view that is not believed counts as this many times the square at which belief ends.
_WRONG = 1.5

#: Two readings of the views are told apart where one is 20 times likelier: 2 ln 20.
_DECISIVE = 6.0

#: Chance agreements that are accepted, per point: the share of pure noise taken for a point.
_MAX_CHANCE = 0.05


@dataclass(frozen=True, eq=False)
class Choice:
    """Points found from the views that agree.

    Attributes
    ----------
    errors : Errors
        The points and the believed views; arbitrary where none was found.
    found : ndarray of bool of shape (n_points,)
        Whether enough views agree, and no other reading of them is as good.
    """

    errors: Errors
    found: np.ndarray


def choose_views(views: Views, rays: np.ndarray, limit: np.ndarray) -> Choice:
    """Find points from the views that agree with each other.

    Parameters
    ----------
    views : Views
        What the cameras saw; at least two views of each point.
    rays : ndarray of shape (n_cameras, 2, n_points)
        x / z and y / z of each view in its camera.
    limit : ndarray of shape (n_cameras, n_points)
        Squared whitened error from which a view is not believed.
    """
    xyz = np.empty((3, rays.shape[2]))
    rivals = []
    for points, ranked in _by_number_of_views(views, rays, limit):
        best, *found = _best_pair(ranked)
        xyz[:, points] = best
        rivals.append((points, ranked.order, *found))

    for factor in (1.7, 1.0):
        errors = measure_errors(views, xyz, limit=factor * limit)
        move = np.isfinite(errors.gain) & (np.count_nonzero(errors.used, axis=0) >= 2)
        xyz = xyz + np.where(move, errors.step, 0.0)
    errors = fit_points(views, measure_errors(views, xyz, limit=limit))
    enough = np.count_nonzero(errors.used, axis=0) >= 2
    holds = (~errors.used | ((errors.squares < _WRONG * limit) & ~errors.behind)).all(axis=0)
    found = enough & holds & (_chance(views, errors) <= _MAX_CHANCE)
    far = views.seen & ((errors.squares > 4 * limit) | errors.behind)
    for points, order, costs, explained in rivals:
        against = np.take_along_axis(far[:, points], order, axis=0)
        nearest = np.where((explained & against).any(axis=1), costs, np.inf).min(axis=0)
        found[points] &= nearest - costs.min(axis=0) > _DECISIVE
    return Choice(errors, found)


def view_pairs(n_views: int) -> list[np.ndarray]:
    """Return the pairs of views that serve as hypotheses, in rounds.

    Each round joins every view to the one that stands a certain number of places further on,
    in a circle: a quarter of it first, where cameras in a ring see a point from very different
    sides. All rounds together hold every pair once, or `MAX_PAIRS` of them at most.

    Returns
    -------
    list of ndarray of int of shape (n_pairs, 2)
    """
    steps = np.arange(1, n_views // 2 + 1)
    n_rounds = len(steps) if n_views * (n_views - 1) // 2 <= MAX_PAIRS else MAX_PAIRS // n_views
    steps = steps[np.argsort(np.abs(steps - n_views / 4), kind="stable")]
    first = np.arange(n_views)
    rounds = []
    for step in steps[: max(n_rounds, 1)]:
        # half way round the circle every pair would come twice
        start = first[: n_views // 2] if 2 * step == n_views else first
        rounds.append(np.stack([start, (start + step) % n_views], axis=1))
    return rounds


@dataclass(frozen=True, eq=False)
class _Ranked:
    """The views of points that equally many cameras saw, without the gaps.

    order (m, n): which camera; motion (12, m, n): its 3x4 matrix; rays (2, m, n); metric
    (3, m, n): what squares an error of the ray into a whitened one; limit (m, n); planes
    (9, m, n): each view's normal equations of the linear start.
    """

    order: np.ndarray
    motion: np.ndarray
    rays: np.ndarray
    metric: np.ndarray
    limit: np.ndarray
    planes: np.ndarray

    def meet(self, first, second) -> np.ndarray:
        """Return where the rays of two views nearly meet, (3, n)."""
        if np.ndim(first) == 0:
            planes = self.planes[:, first] + self.planes[:, second]
        else:
            every = np.arange(self.order.shape[1])
            planes = self.planes[:, first, every] + self.planes[:, second, every]
        return solve_symmetric(planes[:6], planes[6:])

    def take(self, points: np.ndarray) -> "_Ranked":
        """Return some of the points, by index."""
        return _Ranked(*(getattr(self, field.name)[..., points] for field in fields(self)))

    def squares(self, xyz: np.ndarray) -> np.ndarray:
        """Return squared whitened errors (m, n), to first order about each view's ray."""
        x, y, z = xyz
        p = self.motion
        depth = p[8] * x + p[9] * y + p[10] * z + p[11]
        inverse = 1 / np.where(depth > 1e-9, depth, np.nan)
        dx = (p[0] * x + p[1] * y + p[2] * z + p[3]) * inverse - self.rays[0]
        dy = (p[4] * x + p[5] * y + p[6] * z + p[7]) * inverse - self.rays[1]
        xx, xy, yy = self.metric
        return dx * (xx * dx + xy * dy) + yy * dy * dy


def _by_number_of_views(views, rays, limit) -> Iterator[tuple[np.ndarray, _Ranked]]:
    """Sort points by how many cameras saw them, and leave the others out."""
    n_seen = np.count_nonzero(views.seen, axis=0)
    motions = np.stack([camera.camera_from_world[:3].ravel() for camera in views.cameras], axis=1)
    focal = np.array([camera.intrinsics.matrix[0, 0] for camera in views.cameras])
    for m in np.unique(n_seen):
        points = np.flatnonzero(n_seen == m)
        order = np.argsort(~views.seen[:, points], axis=0, kind="stable")[:m]
        motion, ray = motions[:, order], rays[order, :, points].transpose(2, 0, 1)
        weight = focal[order] * views.whiten[order, 0, points]
        planes = np.zeros((9, m, len(points)))
        for axis in range(2):
            plane = (motion[8:11] * ray[axis] - motion[4 * axis : 4 * axis + 3]) * weight
            offset = (motion[4 * axis + 3] - motion[11] * ray[axis]) * weight
            for entry, (j, k) in enumerate(ENTRIES):
                planes[entry] += plane[j] * plane[k]
            planes[6:] += plane * offset
        metric = _ray_metric(views.take(points), rays[:, :, points])
        metric = np.take_along_axis(metric, order[:, np.newaxis], axis=0).transpose(1, 0, 2)
        yield points, _Ranked(order, motion, ray, metric, limit[order, points], planes)


def _ray_metric(views, rays):
    """Return what squares small errors of the rays into whitened ones (n_cameras, 3, n)."""
    metric = np.empty((len(views.cameras), 3, rays.shape[2]))
    for i, camera in enumerate(views.cameras):
        lens = camera.intrinsics
        slope = lenses.distort_jacobian(rays[i].T, lens.dist, lens.model).transpose(1, 2, 0)
        p, q, r = views.whitened_lens(i)
        ax, bx = p * slope[0] if q is None else p * slope[0] + q * slope[1]
        ay, by = r * slope[1]
        metric[i] = ax * ax + ay * ay, 2 * (ax * bx + ay * by), bx * bx + by * by
    return metric


def _best_pair(ranked):
    """Return where the best pair meets, all pairs' costs, and which views each explains.

    Views that agree on another point share at most one view with those that agree on this
    one. Where more than half of the views agree, and one, no other reading is as good, and
    the pairs that are left need not be tried: their cost is infinite.
    """
    rounds = view_pairs(len(ranked.order))
    costs, explained = _score(ranked, rounds[0])
    agreeing = np.take_along_axis(
        np.count_nonzero(explained, axis=1), np.argmin(costs, axis=0)[np.newaxis], axis=0
    )[0]
    open_ = np.flatnonzero(2 * agreeing <= len(ranked.order) + 1)
    pairs = np.concatenate(rounds)
    if open_.size and len(rounds) > 1:
        first = len(rounds[0])
        costs = np.concatenate([costs, np.full((len(pairs) - first, costs.shape[1]), np.inf)])
        more = np.zeros((len(pairs) - first, *explained.shape[1:]), dtype=bool)
        explained = np.concatenate([explained, more])
        costs[first:, open_], explained[first:, :, open_] = _score(
            ranked.take(open_), pairs[first:]
        )
    return ranked.meet(*pairs[np.argmin(costs, axis=0)].T), costs, explained


def _score(ranked, pairs):
    """Return each hypothesis' cost (n_pairs, n) and which views it explains (n_pairs, m, n)."""
    worst = _WRONG * ranked.limit
    costs = np.empty((len(pairs), worst.shape[1]))
    explained = np.empty((len(pairs), *worst.shape), dtype=bool)
    for pair, (first, second) in enumerate(pairs):
        squares = ranked.squares(ranked.meet(first, second))
        np.less(squares, ranked.limit, out=explained[pair])
        # behind a camera the error is NaN, and fmin then takes the other
        np.fmin(squares, worst, out=squares)
        np.sum(squares, axis=0, out=costs[pair])
    return costs, explained


def smallest_median(views: Views, rays: np.ndarray) -> np.ndarray:
    """Return for each point the median squared whitened error of the pair that makes it least.

    It needs no idea of how large errors are, and half of the views may be wrong.
    """
    everywhere = np.full(views.seen.shape, np.inf)
    smallest = np.empty(rays.shape[2])
    for points, ranked in _by_number_of_views(views, rays, everywhere):
        medians = np.stack(
            [
                np.median(np.nan_to_num(ranked.squares(ranked.meet(*pair)), nan=np.inf), axis=0)
                for pair in np.concatenate(view_pairs(len(ranked.order)))
            ]
        )
        smallest[points] = medians.min(axis=0)
    return smallest


def _chance(views, errors):
    """Return the expected number of agreements as good as this among views that point anywhere.

    Two rays meet within d px with the chance that a point lies that near a line across the
    image, each further view within r px with that of a point in a disc; times the number of
    ways to choose the views. Where all views agree nothing was chosen, and the number is 0.
    """
    area = np.mean([np.prod(camera.intrinsics.image_size) for camera in views.cameras])
    n_seen = np.count_nonzero(views.seen, axis=0)
    n_used = np.count_nonzero(errors.used, axis=0)
    radius = np.where(errors.used, views.distances(errors.residuals), 0.0).max(axis=0)
    # each of two views lies half way; a line's band is as wide on either side
    line = np.minimum(4 * radius / np.sqrt(area), 1.0)
    disc = np.minimum(np.pi * radius**2 / area, 1.0)
    ways = np.ones_like(radius)
    for k in range(int(n_used.max(initial=0))):
        ways *= np.where(k < n_used, (n_seen - k) / (k + 1.0), 1.0)
    chance = ways * line * disc ** np.maximum(n_used - 2, 0)
    return np.where(n_used < n_seen, chance, 0.0)
