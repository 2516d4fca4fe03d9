"""Limbs: their lengths learned from the recording, and points that keep to them.

Each frame is corrected on its own: the smoothed path has already used what its neighbours know,
and their limbs say nearly the same of nearly the same error. The correction is the iterated
extended Kalman update (Bell and Cathey, 1993) with the lengths as measurements, whose covariance
matrix has a row for each limb.
"""

from dataclasses import dataclass

import numpy as np

#: Share of its length by which the length of a limb is never better known.
_LEAST = 0.001

#: Squared distance, in standard deviations, from which a limb does not speak for a frame.
_GATE = 25.0

#: A limb says nothing where its ends are less well known than this share of its length.
_VAGUE = 0.3

#: Times that the lengths are put straight.
_ROUNDS = 3

#: Frames at once.
_BLOCK = 4096


@dataclass(frozen=True, eq=False)
class Limbs:
    """Pairs of keypoints at a distance that hardly changes.

    Attributes
    ----------
    pairs : ndarray of int of shape (n_limbs, 2)
        Indices of the keypoints.
    lengths : ndarray of shape (n_limbs,)
        Their lengths; NaN where not known.
    spreads : ndarray of shape (n_limbs,)
        By how much the length changes from frame to frame, standard deviation.
    """

    pairs: np.ndarray
    lengths: np.ndarray
    spreads: np.ndarray


def learn_limbs(
    xyz: np.ndarray, covariance: np.ndarray, pairs: np.ndarray, *, rigid: bool
) -> Limbs:
    """Learn lengths, and how much they vary, from paths.

    Parameters
    ----------
    xyz : ndarray of shape (n_frames, n_keypoints, 3)
        Paths of one animal; NaN where there is no point.
    covariance : ndarray of shape (n_frames, n_keypoints, 3, 3)
        Their covariance.
    pairs : ndarray of int of shape (n_limbs, 2)
        The limbs.
    rigid : bool
        Whether limbs keep their length; how much they vary is learned unless they do.
    """
    lengths, spreads = np.full((2, len(pairs)), np.nan)
    for i, (a, b) in enumerate(pairs):
        across = xyz[:, a] - xyz[:, b]
        squares = (across**2).sum(axis=1)
        with np.errstate(invalid="ignore"):
            both = covariance[:, a] + covariance[:, b]
            along = np.einsum("ni,nij,nj->n", across, both, across) / squares
            # the squared length of a sum of errors is too large by their variances
            unbiased = squares - np.trace(both, axis1=1, axis2=2)
            good = unbiased > 0
        if np.count_nonzero(good) < 10:
            continue
        length = np.sqrt(np.median(unbiased[good]))
        sizes = np.sqrt(unbiased[good])
        width = np.median(np.abs(sizes - length)) / 0.6745
        near = np.abs(sizes - length) <= 4 * max(width, 1e-9)
        length = np.sqrt(np.mean(unbiased[good][near]))
        varies = np.mean((sizes[near] - length) ** 2) - np.median(along[good][near])
        lengths[i] = length
        least = _LEAST * length
        spreads[i] = least if rigid else np.sqrt(max(varies, least**2))
    return Limbs(np.asarray(pairs), lengths, spreads)


def keep_lengths(
    xyz: np.ndarray, covariance: np.ndarray, limbs: Limbs
) -> tuple[np.ndarray, np.ndarray]:
    """Correct each frame's points so that limbs have their lengths.

    Parameters
    ----------
    xyz, covariance
        See `learn_limbs`.
    limbs : Limbs
        The limbs.

    Returns
    -------
    xyz : ndarray of shape (n_frames, n_keypoints, 3)
        Corrected points.
    covariance : ndarray of shape (n_frames, n_keypoints, 3, 3)
        Their covariance; between keypoints it is not kept.
    """
    known = np.isfinite(limbs.lengths)
    limbs = Limbs(limbs.pairs[known], limbs.lengths[known], limbs.spreads[known])
    if not known.any():
        return xyz, covariance
    new_xyz, new_covariance = xyz.copy(), covariance.copy()
    for start in range(0, len(xyz), _BLOCK):
        block = slice(start, start + _BLOCK)
        new_xyz[block], new_covariance[block] = _keep(xyz[block], covariance[block], limbs)
    return new_xyz, new_covariance


def _keep(xyz, covariance, limbs):
    """Do some frames."""
    first, second = limbs.pairs.T
    spread = np.nan_to_num(covariance)
    at = np.nan_to_num(xyz)
    there = np.isfinite(xyz[:, first, 0] + xyz[:, second, 0])
    start = at
    speaks = there
    for attempt in range(_ROUNDS):
        across = at[:, first] - at[:, second]
        distance = np.linalg.norm(across, axis=-1)
        unit = across / np.maximum(distance, 1e-12)[..., np.newaxis]
        # what each limb pulls at each of its ends: covariance times direction
        pull_first = np.einsum("flij,flj->fli", spread[:, first], unit)
        pull_second = np.einsum("flij,flj->fli", spread[:, second], unit)
        along = (unit * (pull_first + pull_second)).sum(axis=-1)
        if attempt == 0:
            both = np.trace(spread[:, first] + spread[:, second], axis1=-2, axis2=-1) - along
            # errors across a limb lengthen it, on average and at random
            bias = both / (2 * limbs.lengths)
            noise = limbs.spreads**2 + 0.5 * bias**2
            miss = limbs.lengths + bias - distance
            speaks = there & (along < (_VAGUE * limbs.lengths) ** 2)
            speaks &= miss**2 < _GATE * (along + noise)
            if not speaks.any():
                return xyz, covariance
        # linearised about where the points are, measured from where they were
        moved = (at - start)[:, first] - (at - start)[:, second]
        miss = limbs.lengths + bias - distance + (unit * moved).sum(axis=-1)
        matrix = _between(limbs.pairs, unit, pull_first, pull_second, spread)
        matrix = np.where(speaks[:, :, np.newaxis] & speaks[:, np.newaxis], matrix, 0.0)
        diagonal = np.arange(len(limbs.pairs))
        matrix[:, diagonal, diagonal] += np.where(speaks, noise, 1.0)
        force = np.linalg.solve(matrix, np.where(speaks, miss, 0.0)[..., np.newaxis])[..., 0]
        move = np.zeros_like(at)
        for i, (a, b) in enumerate(limbs.pairs):
            move[:, a] += pull_first[:, i] * force[:, i, np.newaxis]
            move[:, b] -= pull_second[:, i] * force[:, i, np.newaxis]
        at = start + move
    reduced, inverse = spread.copy(), np.linalg.inv(matrix)
    for keypoint, touching in _ends(limbs.pairs).items():
        index = [limb for limb, _ in touching]
        pulls = np.stack(
            [
                np.where(
                    speaks[:, limb, np.newaxis],
                    sign * (pull_first if sign > 0 else pull_second)[:, limb],
                    0.0,
                )
                for limb, sign in touching
            ],
            axis=-1,
        )
        core = inverse[:, index][:, :, index]
        reduced[:, keypoint] -= pulls @ core @ pulls.transpose(0, 2, 1)
    gone = np.isnan(xyz)
    at = np.where(gone, np.nan, at)
    return at, np.where(gone[..., np.newaxis], np.nan, reduced)


def _ends(pairs):
    """Return for each keypoint the limbs that end there, and whether as first (+1) or second."""
    ends = {}
    for limb, (a, b) in enumerate(pairs):
        ends.setdefault(int(a), []).append((limb, 1.0))
        ends.setdefault(int(b), []).append((limb, -1.0))
    return ends


def _between(pairs, unit, pull_first, pull_second, spread):
    """Return the covariance of the lengths of limbs with each other, (n_frames, n, n)."""
    n_frames, n_limbs = unit.shape[:2]
    matrix = np.zeros((n_frames, n_limbs, n_limbs))
    for touching in _ends(pairs).values():
        for limb, sign in touching:
            pull = pull_first[:, limb] if sign > 0 else pull_second[:, limb]
            for other, other_sign in touching:
                matrix[:, limb, other] += sign * other_sign * (pull * unit[:, other]).sum(axis=-1)
    return matrix
