"""How far predictions are from labels, in pixels of the original images."""

from collections.abc import Mapping

import numpy as np


def pixel_errors(predicted: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the distance of each prediction from its label.

    Parameters
    ----------
    predicted, labels : ndarray of shape (..., 2)
        Points in pixels; NaN where there is none.

    Returns
    -------
    ndarray of shape (...)
        Distances in pixels; NaN where either is missing.
    """
    return np.linalg.norm(np.asarray(predicted) - np.asarray(labels), axis=-1)


def summarize_errors(errors: np.ndarray) -> dict[str, float]:
    """Reduce distances to the figures people compare.

    Parameters
    ----------
    errors : ndarray
        Distances in pixels; NaN does not count.

    Returns
    -------
    dict
        ``mean_error_px`` (what DeepLabCut prints as "RMSE"), ``rms_error_px`` (the root mean
        square, larger), ``median_error_px`` and ``n_points``; NaN where nothing was compared.
    """
    errors = np.asarray(errors, dtype=np.float64)
    errors = errors[np.isfinite(errors)]
    if errors.size == 0:
        nothing = float("nan")
        return {
            "mean_error_px": nothing,
            "rms_error_px": nothing,
            "median_error_px": nothing,
            "n_points": 0,
        }
    return {
        "mean_error_px": float(errors.mean()),
        "rms_error_px": float(np.sqrt((errors**2).mean())),
        "median_error_px": float(np.median(errors)),
        "n_points": int(errors.size),
    }


def confident_errors(
    errors: np.ndarray, likelihood: np.ndarray, min_likelihood: float
) -> np.ndarray:
    """Return the errors of likely points; the others are NaN.

    Parameters
    ----------
    errors, likelihood : ndarray of shape (...)
        Distances in pixels, and how sure the network is, from 0 to 1.
    min_likelihood : float
        Least likelihood that counts.
    """
    return np.where(np.asarray(likelihood) >= min_likelihood, errors, np.nan)


def error_table(
    errors: np.ndarray,
    likelihood: np.ndarray,
    parts: Mapping[str, np.ndarray],
    keypoints: tuple[str, ...],
    min_likelihood: float,
) -> list[dict]:
    """Tabulate errors by part of the data and keypoint, with and without a cutoff.

    Parameters
    ----------
    errors, likelihood : ndarray of shape (n_images, n_keypoints)
        Distances in pixels, NaN where there is no label; how sure the network is.
    parts : mapping of str to ndarray
        Indices or mask of the images of each part, such as "train" and "test".
    keypoints : tuple of str
        Names along the second axis.
    min_likelihood : float
        Cutoff of the second set of figures.

    Returns
    -------
    list of dict
        A row per part for all keypoints together ("all"), then one per keypoint.
        ``confident_`` figures count likely points alone; ``kept`` is their share.
    """
    confident = confident_errors(errors, likelihood, min_likelihood)
    rows = []
    for part, images in parts.items():
        groups = {"all": slice(None)} | {name: [i] for i, name in enumerate(keypoints)}
        for name, columns in groups.items():
            every = summarize_errors(errors[images][:, columns])
            likely = summarize_errors(confident[images][:, columns])
            kept = likely["n_points"] / every["n_points"] if every["n_points"] else float("nan")
            rows.append(
                {"part": part, "keypoint": name}
                | every
                | {f"confident_{key}": value for key, value in likely.items()}
                | {"kept": kept}
            )
    return rows


def correct_share(errors: np.ndarray, threshold_px: float | np.ndarray) -> float:
    """Return the share of points within a distance of their label (PCK); NaN for no points.

    Parameters
    ----------
    errors : ndarray of shape (...)
        Distances in pixels; NaN does not count.
    threshold_px : float or ndarray
        The distance, or one per point (a share of the animal's size), that broadcasts.
    """
    errors, threshold_px = np.broadcast_arrays(errors, threshold_px)
    known = np.isfinite(errors)
    return float((errors[known] <= threshold_px[known]).mean()) if known.any() else float("nan")


def bootstrap_interval(
    errors: np.ndarray, *, n_samples: int = 2000, confidence: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Say how far the mean error would move with other images.

    Whole images are drawn with replacement: the keypoints of one image err together.

    Parameters
    ----------
    errors : ndarray of shape (n_images, n_keypoints)
        Distances in pixels; NaN does not count.
    n_samples : int
        Number of draws.
    confidence : float
        Share of the draws inside the interval.
    seed : int
        Seed of the draws.

    Returns
    -------
    low, high : float
        Pixels; NaN where there are no errors.
    """
    errors = np.asarray(errors, dtype=np.float64)
    total = np.nansum(errors, axis=1)
    count = np.isfinite(errors).sum(axis=1)
    if not count.any():
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(errors), size=(n_samples, len(errors)))
    means = total[drawn].sum(axis=1) / np.maximum(count[drawn].sum(axis=1), 1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)
