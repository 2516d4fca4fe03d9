"""Moments at which a recording's keypoints are probably wrong: the next ones to label."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from pose3d.keypoints import Keypoints2D, Keypoints3D, Missing
from pose3d.skeleton import Skeleton

#: Ways to find outliers. The first three are DeepLabCut's; the others need several views.
METHODS = {
    "uncertain": "keypoints that are usually likely are not",
    "jump": "a keypoint moves further from one frame to the next than it does",
    "fitting": "a keypoint is off the smooth path through its neighbours in time",
    "reprojection": "a point is further from where the views see it than usual",
    "bones": "a bone is longer or shorter than usual",
    "disagreement": "a view that is sure of a keypoint was not believed, or no two views agree",
}

#: Median absolute deviations to standard deviations.
_MAD = 1.4826

#: A score of 1 is this many standard deviations.
_FROM = 5.0


@dataclass(frozen=True)
class Outlier:
    """A moment that is worth labelling, and why.

    Attributes
    ----------
    moment : int
        Its number, from 0.
    method : str
        One of `METHODS`.
    camera, keypoint : str
        Where it is worst; no camera for bones.
    found, usual : str
        What was found, and what is usual.
    score : float
        How unusual it is; 1 is where it begins.
    """

    moment: int
    method: str
    camera: str
    keypoint: str
    found: str
    usual: str
    score: float


def find_outliers(
    seen: Keypoints2D,
    skeleton: Skeleton,
    path: Keypoints3D | None = None,
    *,
    methods: Iterable[str] | None = None,
    min_likelihood: float = 0.6,
) -> dict[str, list[Outlier]]:
    """Find unusual moments by several methods.

    Parameters
    ----------
    seen : Keypoints2D
        What the network found.
    skeleton : Skeleton
        Gives the bones.
    path : Keypoints3D, optional
        What was triangulated of it; without, the last three methods find nothing.
    methods : iterable of str, optional
        Which of `METHODS`; all unless given.
    min_likelihood : float
        Likelihood from which a keypoint counts as found.

    Returns
    -------
    dict of str to list of Outlier
        By method, at most one of each moment, the most unusual first.
    """
    wanted = list(METHODS if methods is None else methods)
    if unknown := [name for name in wanted if name not in METHODS]:
        raise ValueError(f"methods holds {unknown[0]!r}; expected some of {', '.join(METHODS)}.")
    by_method = {
        "uncertain": lambda: _uncertain(seen, min_likelihood),
        "jump": lambda: _jumps(seen, min_likelihood),
        "fitting": lambda: _off_the_path(seen, min_likelihood),
    }
    if path is not None:
        by_method |= {
            "reprojection": lambda: _reprojected(path, True, "reprojection"),
            "bones": lambda: _bones(path, skeleton),
            "disagreement": lambda: _disagreeing(path),
        }
    return {name: by_method[name]() for name in wanted if name in by_method}


def choose_outliers(
    found: Mapping[str, list[Outlier]],
    poses: np.ndarray,
    count: int,
    *,
    taken: Iterable[int] = (),
    apart: int = 1,
) -> list[Outlier]:
    """Choose outliers to label: of each method in turn the worst, none like another.

    Parameters
    ----------
    found : mapping of str to list of Outlier
        See `find_outliers`.
    poses : ndarray of shape (n_moments, n_values)
        What the animal does; NaN where it is not known.
    count : int
        How many; fewer if no more are unlike those before.
    taken : iterable of int
        Moments that are labelled already.
    apart : int
        Least distance in frames.

    Returns
    -------
    list of Outlier
        In the order of choice.
    """
    known = np.isfinite(poses).any(axis=0)
    middle = np.nanmedian(poses[:, known], axis=0) if known.any() else 0.0
    filled = np.where(np.isfinite(poses[:, known]), poses[:, known], middle)
    rng = np.random.default_rng(0)
    pairs = rng.integers(len(poses), size=(2, 2000))
    between = np.linalg.norm(filled[pairs[0]] - filled[pairs[1]], axis=1)
    alike = np.quantile(between, 0.05)
    queues = {name: list(outliers) for name, outliers in found.items() if outliers}
    chosen: list[Outlier] = []
    blocked = list(taken)
    while queues and len(chosen) < count:
        for name in list(queues):
            while queues[name]:
                outlier = queues[name].pop(0)
                near = any(abs(outlier.moment - other) < apart for other in blocked)
                mine = filled[outlier.moment]
                like = any(np.linalg.norm(mine - filled[o.moment]) < alike for o in chosen)
                if not near and not like:
                    chosen.append(outlier)
                    blocked.append(outlier.moment)
                    break
            if not queues[name]:
                del queues[name]
            if len(chosen) == count:
                break
    return chosen


def _uncertain(seen, min_likelihood):
    """Count the keypoints of a camera that are usually found and are not."""
    likely = seen.likelihood >= min_likelihood
    # moments of which a camera has no frame, or that were not looked at, say nothing
    there = np.isfinite(seen.xy).any(axis=(2, 3, 4))[..., np.newaxis, np.newaxis]
    n_there = np.maximum(there.sum(axis=1, keepdims=True), 1)
    usual = (likely & there).sum(axis=1, keepdims=True) / n_there
    missing = ~likely & there & (usual > 0.5)
    expected = np.maximum((usual > 0.5).sum(axis=(2, 3)), 1)
    share = missing.sum(axis=(2, 3)) / expected
    camera = share.argmax(axis=0)
    outliers = []
    for moment in np.flatnonzero(share.max(axis=0) > 0):
        c = int(camera[moment])
        values = np.where(missing[c, moment], seen.likelihood[c, moment], np.inf)
        _, keypoint = np.unravel_index(values.argmin(), values.shape)
        score = share[c, moment] * 5
        outliers.append(
            Outlier(
                int(moment), "uncertain", seen.cameras[c], seen.keypoints[keypoint],
                f"{missing[c, moment].sum()} keypoints below {min_likelihood:g}, the least "
                f"{values.min():.2f}",
                f"{expected[c, 0]} are found", float(score),
            )
        )  # fmt: skip
    return _worst_first(outliers)


def _jumps(seen, min_likelihood):
    """Measure how far keypoints move in a frame, against how far they usually do."""
    xy = seen.confident(min_likelihood).xy
    step = np.full(xy.shape[:-1], np.nan)
    if xy.shape[1] > 1:
        step[:, 1:] = np.linalg.norm(np.diff(xy, axis=1), axis=-1)
    return _unusual(seen, step, "jump", "px in a frame", floor=2.0)


def _off_the_path(seen, min_likelihood):
    """Measure how far keypoints are from a quadratic through the medians around them."""
    from scipy.ndimage import median_filter
    from scipy.signal import savgol_filter

    xy = seen.confident(min_likelihood).xy
    if xy.shape[1] < 11:
        return []
    n_frames, index = xy.shape[1], np.arange(xy.shape[1])
    off = np.full(xy.shape[:-1], np.nan)
    for place in np.ndindex(xy.shape[0], *xy.shape[2:4]):
        points = xy[place[0], :, place[1], place[2]]
        there = np.isfinite(points[:, 0])
        if there.sum() < 11:
            continue
        whole = np.stack([np.interp(index, index[there], p[there]) for p in points.T], axis=1)
        smooth = savgol_filter(median_filter(whole, size=(5, 1)), 11, 2, axis=0)
        distance = np.linalg.norm(points - smooth, axis=1)
        off[place[0], :, place[1], place[2]] = distance
    return _unusual(seen, off.reshape(xy.shape[0], n_frames, *xy.shape[2:4]), "fitting",
                    "px off its path", floor=2.0)  # fmt: skip


def _reprojected(path, counted, method):
    """Measure how far the views that count are from the points."""
    errors = np.where(counted, path.view_errors, np.nan)
    usual = np.where(path.used_views, path.view_errors, np.nan)
    what = "px from the point" if method == "reprojection" else "px from where the others see it"
    return _unusual(path, errors, method, what, floor=0.7, usual=usual)


def _disagreeing(path):
    """Find views that were not believed, and points that no views agree on."""
    found = {o.moment: o for o in _reprojected(path, ~path.used_views, "disagreement")}
    nowhere = (path.reason == Missing.VIEWS_DISAGREE).sum(axis=1)
    for moment in np.flatnonzero(nowhere.any(axis=1)):
        keypoint = int(nowhere[moment].argmax())
        count = int((nowhere[moment] > 0).sum())
        worse = Outlier(
            int(moment), "disagreement", "", path.keypoints[keypoint],
            f"no views agree on {count} keypoint{'s' if count > 1 else ''}", "two at least do",
            1.0 + count,
        )  # fmt: skip
        if int(moment) not in found or found[int(moment)].score < worse.score:
            found[int(moment)] = worse
    return _worst_first(found.values())


def _unusual(named, values, method, what, *, floor, usual=None):
    """Compare values with what is usual for their camera and keypoint.

    Parameters
    ----------
    named : Keypoints2D or Keypoints3D
        Gives the names.
    values : ndarray of shape (n_cameras, n_frames, n_individuals, n_keypoints)
        What is compared; NaN is not.
    method, what : str
        What is said of an outlier.
    floor : float
        Least standard deviation.
    usual : ndarray, optional
        What they are compared with, of the same shape.
    """
    usual = values if usual is None else usual
    known = np.isfinite(usual).any(axis=(1, 2))
    middle = np.full(known.shape, np.nan)
    spread = np.full(known.shape, floor)
    for place in np.argwhere(known):
        sample = usual[place[0], :, :, place[1]]
        sample = sample[np.isfinite(sample)]
        middle[tuple(place)] = np.median(sample)
        spread[tuple(place)] = max(_MAD * np.median(np.abs(sample - np.median(sample))), floor)
    with np.errstate(invalid="ignore"):
        z = (values - middle[:, np.newaxis, np.newaxis]) / spread[:, np.newaxis, np.newaxis]
    z = np.nan_to_num(z, nan=-np.inf) / _FROM
    outliers = []
    for moment in np.flatnonzero((z >= 1).any(axis=(0, 2, 3))):
        c, i, k = np.unravel_index(z[:, moment].argmax(), z[:, moment].shape)
        outliers.append(
            Outlier(
                int(moment), method, named.cameras[c], named.keypoints[k],
                f"{values[c, moment, i, k]:.1f} {what}", f"{middle[c, k]:.1f}",
                float(z[c, moment, i, k]),
            )
        )  # fmt: skip
    return _worst_first(outliers)


def _bones(path, skeleton):
    """Measure bones against their usual length."""
    outliers: dict[int, Outlier] = {}
    for first, second in skeleton.edges:
        length = np.linalg.norm(path[first] - path[second], axis=-1)
        known = length[np.isfinite(length)]
        if len(known) < 10:
            continue
        usual = np.median(known)
        spread = max(_MAD * np.median(np.abs(known - usual)), 0.03 * usual)
        with np.errstate(invalid="ignore"):
            z = np.nan_to_num(np.abs(length - usual) / spread / _FROM, nan=0.0)
        for moment in np.flatnonzero((z >= 1).any(axis=1)):
            score = float(z[moment].max())
            if int(moment) in outliers and outliers[int(moment)].score >= score:
                continue
            value = length[moment, z[moment].argmax()]
            outliers[int(moment)] = Outlier(
                int(moment), "bones", "", f"{first}, {second}",
                f"{value:.4g} {path.units} long", f"{usual:.4g} {path.units}", score,
            )  # fmt: skip
    return _worst_first(outliers.values())


def _worst_first(outliers):
    """Sort outliers."""
    return sorted(outliers, key=lambda outlier: (-outlier.score, outlier.moment))
