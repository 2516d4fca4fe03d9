"""What a network's likelihood and the shape of its peaks are worth, learnt from held-out labels."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

#: Likelihoods are kept this far from 0 and 1 where their logits are taken.
_EDGE = 1e-4

#: Degrees of freedom of the errors' distribution: some labels are wrong, and must not widen all.
_FREEDOM = 4.0

#: Square distance, in standard deviations, that holds four fifths of normal errors in a plane.
_FOUR_FIFTHS = 2 * np.log(5)

#: Right and wrong points, each, without which the likelihood is left as it is: from points that are
#: all right it would be learnt that whatever is found is.
_FEWEST = 8

#: Labels that a fit counts for: with few, likelihood and spread stay near what they were.
_PRIOR = 5.0


@dataclass(frozen=True)
class Confidence:
    """How a network's own figures become probabilities and covariances.

    Attributes
    ----------
    slope, intercept : float
        Of the logit of the likelihood; 1 and 0 leave it as it is.
    floor_px, share : float
        The covariance of a point is ``floor_px² + share² * shape / likelihood``, in network
        pixels, the shape being `pose3d.scoremaps.peak_shapes`.
    n_points : int
        Labels it was learnt from; 0 for a guess.
    """

    slope: float = 1.0
    intercept: float = 0.0
    floor_px: float = 0.5
    share: float = 0.3
    n_points: int = 0

    def likelihood(self, raw: np.ndarray) -> np.ndarray:
        """Return the probability that a point is there and right, (...), from the network's own.

        What the network calls impossible stays 0.
        """
        raw = np.asarray(raw, dtype=np.float64)
        logit = self.intercept + self.slope * _logit(raw)
        return np.where(raw > 0, 1 / (1 + np.exp(-logit)), 0.0)

    def covariance(self, shape: np.ndarray, raw: np.ndarray) -> np.ndarray:
        """Return the covariance of points, (..., 2, 2), in square network pixels.

        Parameters
        ----------
        shape : ndarray of shape (..., 2, 2)
            See `pose3d.scoremaps.peak_shapes`.
        raw : ndarray of shape (...)
            The network's own likelihood.
        """
        sure = np.clip(np.asarray(raw, dtype=np.float64), 0.05, 1)[..., np.newaxis, np.newaxis]
        return self.floor_px**2 * np.eye(2) + self.share**2 * np.asarray(shape) / sure

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON knows them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any] | None) -> "Confidence":
        """Make one from what a file holds; the guess where it holds nothing usable."""
        try:
            made = cls(**{key: float(values[key]) for key in cls.__dataclass_fields__})
        except (KeyError, TypeError, ValueError):
            return cls()
        return made if np.isfinite(list(asdict(made).values())).all() else cls()


def learn_confidence(
    raw: np.ndarray, shape: np.ndarray, error: np.ndarray, right: np.ndarray
) -> Confidence:
    """Learn from labelled images that a network was not trained on.

    The likelihood by logistic regression on its logit (Platt 1999), where enough points are wrong;
    the covariance's two parts as
    the most likely under a bivariate t distribution with 4 degrees of freedom, so that wrong
    labels count little, and their size such that it holds four fifths of the points.

    Parameters
    ----------
    raw : ndarray of shape (n_points,)
        The network's own likelihood.
    shape : ndarray of shape (n_points, 2, 2)
        Shapes of the peaks in square network pixels.
    error : ndarray of shape (n_points, 2)
        From label to point, in network pixels; NaN where nothing is labelled.
    right : ndarray of bool of shape (n_points,)
        Whether there is a label, and the point near enough to it.
    """
    from scipy.optimize import minimize

    guess = Confidence()
    if len(raw) < 8:
        return guess
    logit = _logit(raw)

    slope, intercept = 1.0, 0.0
    if min(np.count_nonzero(right), np.count_nonzero(~right)) >= _FEWEST:

        def surprise(parameters):
            slope, intercept = parameters
            margin = np.where(right, 1, -1) * (intercept + slope * logit)
            prior = _PRIOR / 2 * ((slope - 1) ** 2 + intercept**2 / 4)
            return np.logaddexp(0, -margin).sum() + prior

        slope, intercept = minimize(surprise, [1.0, 0.0], method="BFGS").x
    known = right & np.isfinite(error).all(axis=1)
    floor, share = guess.floor_px, guess.share
    if known.sum() >= 8:
        offsets, shapes, sure = error[known], shape[known], raw[known]

        def misfit(logs):
            made = Confidence(floor_px=np.exp(logs[0]), share=np.exp(logs[1]))
            covariance = made.covariance(shapes, sure)
            # of the t distribution whose covariance that is
            scale = covariance * (_FREEDOM - 2) / _FREEDOM
            square = np.einsum("ni,nij,nj->n", offsets, np.linalg.inv(scale), offsets)
            density = 0.5 * np.linalg.slogdet(scale)[1]
            density += (_FREEDOM / 2 + 1) * np.log1p(square / _FREEDOM)
            return density.sum() + _PRIOR / 50 * ((logs - start) ** 2).sum()

        start = np.log([np.sqrt((offsets**2).mean()) / 2 + 0.05, guess.share])
        floor, share = np.exp(minimize(misfit, start, method="Nelder-Mead").x)
        # the law's tails decide how wide it is; the ellipses shall hold four fifths of the points
        made = np.linalg.inv(Confidence(floor_px=floor, share=share).covariance(shapes, sure))
        square = np.einsum("ni,nij,nj->n", offsets, made, offsets)
        factor = np.sqrt(np.quantile(square, 0.8) / _FOUR_FIFTHS)
        floor, share = factor * floor, factor * share
    return Confidence(
        float(max(slope, 0.05)), float(intercept), float(floor), float(share), int(len(raw))
    )


def _logit(raw):
    """Return the logit of a likelihood, which is never quite 0 or 1."""
    raw = np.clip(raw, _EDGE, 1 - _EDGE)
    return np.log(raw / (1 - raw))
