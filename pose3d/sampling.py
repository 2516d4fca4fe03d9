"""Which moments to label: evenly spread in time, or as different from each other as they get."""

from collections.abc import Iterable

import numpy as np


def choose_evenly(
    n_moments: int, count: int, *, taken: Iterable[int] = (), apart: int = 1
) -> np.ndarray:
    """Choose moments evenly spread in time, away from those that are taken.

    Parameters
    ----------
    n_moments : int
        Number of moments to choose from.
    count : int
        How many; fewer if there is no room.
    taken : iterable of int
        Moments that are chosen already.
    apart : int
        Least distance between two moments.

    Returns
    -------
    ndarray of int
        In the order of time.
    """
    free = _free(n_moments, taken, apart)
    chosen: list[int] = []
    for place in np.linspace(0, n_moments - 1, count):
        open_ = np.flatnonzero(free)
        if not open_.size:
            break
        nearest = int(open_[np.abs(open_ - place).argmin()])
        chosen.append(nearest)
        free[max(0, nearest - apart + 1) : nearest + apart] = False
    return np.sort(np.array(chosen, dtype=int))


def choose_diverse(
    features: np.ndarray,
    moments: np.ndarray,
    count: int,
    *,
    taken: Iterable[int] = (),
    apart: int = 1,
    seed: int = 0,
) -> np.ndarray:
    """Choose moments that look different: one of each k-means group, nearest to its middle.

    Parameters
    ----------
    features : ndarray of shape (n_moments, n_features)
        What each moment looks like.
    moments : ndarray of int of shape (n_moments,)
        Their numbers.
    count : int
        How many; fewer if there is no room.
    taken : iterable of int
        Moments that are chosen already: groups that hold one come last.
    apart : int
        Least distance between two chosen moments.
    seed : int
        Of the first middles.
    """
    from scipy.cluster.vq import kmeans2

    moments = np.asarray(moments)
    taken = sorted(taken)
    distinct = len(np.unique(np.round(features, 2), axis=0))  # frames of a still film are equal
    groups = min(distinct, count + min(len(taken), count))
    rng = np.random.default_rng(seed)
    middles, group = kmeans2(features, groups, minit="++", seed=rng, missing="warn")
    distance = np.linalg.norm(features - middles[group], axis=1)
    here = np.isin(moments, taken)
    # groups that nobody has labelled first, the largest of them first
    order = sorted(range(groups), key=lambda g: (here[group == g].any(), -(group == g).sum()))
    blocked = list(taken)
    chosen: list[int] = []
    while len(chosen) < count:
        before = len(chosen)
        for g in order:
            members = np.flatnonzero(group == g)
            for i in members[np.argsort(distance[members])]:
                if all(abs(int(moments[i]) - other) >= apart for other in blocked):
                    chosen.append(int(moments[i]))
                    blocked.append(int(moments[i]))
                    break
            if len(chosen) == count:
                break
        if len(chosen) == before:
            break
    return np.sort(np.array(chosen, dtype=int))


def diversity(features: np.ndarray, chosen: np.ndarray, *, seed: int = 0) -> tuple[float, float]:
    """Measure how well chosen moments stand for all of them.

    Parameters
    ----------
    features : ndarray of shape (n_moments, n_features)
        What each moment looks like.
    chosen : ndarray of int
        Places of the chosen ones in `features`.
    seed : int
        Of the draws.

    Returns
    -------
    covered, by_chance : float
        Mean distance of a moment to the nearest chosen one, as a share of that to the middle of
        all; and the same of as many moments drawn at random, on average.
    """
    from scipy.spatial.distance import cdist

    scale = np.linalg.norm(features - features.mean(axis=0), axis=1).mean() or 1.0

    def far(places):
        return cdist(features, features[places]).min(axis=1).mean() / scale

    rng = np.random.default_rng(seed)
    drawn = [rng.choice(len(features), len(chosen), replace=False) for _ in range(20)]
    return float(far(chosen)), float(np.mean([far(places) for places in drawn]))


def _free(n_moments, taken, apart):
    """Mark the moments that are not too near to one that is taken."""
    free = np.ones(n_moments, dtype=bool)
    for moment in taken:
        free[max(0, moment - apart + 1) : moment + apart] = False
    return free
