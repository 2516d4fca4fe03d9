"""Robust losses of views, each camera at its own scale."""

import numpy as np

#: Huber's loss bends, Tukey's ends, at this many standard deviations.
_BENDS = {"huber": 2.0, "tukey": 6.0}


def most(loss, camera):
    """Return the most that one view can cost under a loss; Huber's has no bound: a far one's.

    Parameters
    ----------
    loss : tuple of str and ndarray
        "huber" or "tukey", and each camera's standard deviation in px.
    camera : int
        The camera's index.
    """
    kind, scales = loss
    limit = _BENDS[kind] * scales[camera]
    return limit**2 / 3 if kind == "tukey" else 1e3 * limit**2


def weigh(residual, weights, loss, camera):
    """Weigh views under a loss.

    Parameters
    ----------
    residual : ndarray of shape (n_views, 2)
        In pixels.
    weights : ndarray of shape (n_views,)
        Each view's own weight.
    loss : tuple of str and ndarray, or None
        As in `most`; None for squares.
    camera : int
        The camera's index.

    Returns
    -------
    ndarray of shape (n_views,)
        Weights for the normal equations.
    float
        Sum of the loss.
    """
    square = weights * (residual**2).sum(axis=1)
    if loss is None:
        return weights, float(square.sum())
    kind, scales = loss
    limit = _BENDS[kind] * scales[camera]
    # in all, a camera weighs by its scale, or one wrong camera widens it and outvotes the rest
    share = (np.median(scales) / scales[camera]) ** 2
    if kind == "huber":
        length = np.sqrt(square)
        bent = np.where(length > limit, limit / np.maximum(length, limit), 1.0)
        cost = np.where(length > limit, limit * (2 * length - limit), square)
    else:
        inside = np.maximum(0.0, 1.0 - square / limit**2)
        bent = inside**2
        cost = limit**2 / 3 * (1 - inside**3)
    return share * weights * bent, float(share * cost.sum())
