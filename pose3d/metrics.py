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
        ``confident_`` figures count likely points alone; ``kept`` is their share; ``low_px`` to
        ``high_px`` is where the mean would lie with other images, 95 times in 100.
    """
    confident = confident_errors(errors, likelihood, min_likelihood)
    rows = []
    for part, images in parts.items():
        groups = {"all": slice(None)} | {name: [i] for i, name in enumerate(keypoints)}
        for name, columns in groups.items():
            every = summarize_errors(errors[images][:, columns])
            likely = summarize_errors(confident[images][:, columns])
            kept = likely["n_points"] / every["n_points"] if every["n_points"] else float("nan")
            low, high = bootstrap_interval(errors[images][:, columns], n_samples=500)
            rows.append(
                {"part": part, "keypoint": name}
                | every
                | {f"confident_{key}": value for key, value in likely.items()}
                | {"kept": kept, "low_px": low, "high_px": high}
            )
    return rows


def correct_share(errors: np.ndarray, threshold_px: float | np.ndarray) -> float:
    """Return the share of points within a distance of their label (PCK); NaN for no points.

    Parameters
    ----------
    errors : ndarray of shape (...)
        Distances in pixels; NaN does not count, a point that was not found is infinitely far.
    threshold_px : float or ndarray
        The distance, or one per point (a share of the animal's size), that broadcasts; points
        whose distance is NaN do not count.
    """
    errors, threshold_px = np.broadcast_arrays(errors, threshold_px)
    known = ~np.isnan(errors) & ~np.isnan(threshold_px)
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
    n_points = count[drawn].sum(axis=1)
    some = n_points > 0  # a draw of images without the keypoint has no mean
    means = total[drawn].sum(axis=1)[some] / n_points[some]
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def animal_sizes(xy: np.ndarray) -> np.ndarray:
    """Return the size of the animal in each image: the root of the area of its labels' box.

    Parameters
    ----------
    xy : ndarray of shape (n_images, n_keypoints, 2)
        Labels; NaN where there is none.

    Returns
    -------
    ndarray of shape (n_images,)
        Pixels. The median of the images where one has fewer than two labels, NaN where all have;
        an animal that lies along an axis counts as a quarter as wide as it is long.
    """
    box = label_boxes(xy)
    box = np.maximum(box, box.max(axis=1, keepdims=True) / 4)
    size = np.sqrt(box.prod(axis=1))
    known = np.isfinite(size)
    if known.any():
        size[~known] = np.median(size[known])
    return size


def label_boxes(xy: np.ndarray) -> np.ndarray:
    """Return the width and height of the box around each image's labels.

    Parameters
    ----------
    xy : ndarray of shape (n_images, n_keypoints, 2)
        Labels; NaN where there is none.

    Returns
    -------
    ndarray of shape (n_images, 2)
        NaN where an image has fewer than two labels.
    """
    several = np.isfinite(xy).all(axis=-1).sum(axis=1) >= 2
    box = np.full((len(xy), 2), np.nan)
    if several.any():
        box[several] = np.nanmax(xy[several], axis=1) - np.nanmin(xy[several], axis=1)
    return box


def object_similarity(
    errors: np.ndarray, size_px: np.ndarray | float, *, sigma: float | np.ndarray = 0.1
) -> np.ndarray:
    """Return how alike whole poses are, from 0 to 1 (object keypoint similarity, OKS).

    COCO's measure: ``mean(exp(-d² / (2 area (2 sigma)²)))`` over the labelled keypoints, where
    ``area`` is the square of the animal's size. DeepLabCut uses sigma 0.1 for animals.

    Parameters
    ----------
    errors : ndarray of shape (n_images, n_keypoints)
        Distances in pixels; NaN where there is no label, which does not count. A labelled
        keypoint that was not found is infinitely far.
    size_px : float or ndarray of shape (n_images,)
        The animal's size: the root of the area of its box.
    sigma : float or ndarray of shape (n_keypoints,)
        How widely people scatter when they label, as a share of the size.

    Returns
    -------
    ndarray of shape (n_images,)
        NaN for images without labels.
    """
    errors = np.asarray(errors, dtype=np.float64)
    width = 2 * np.asarray(sigma) * np.asarray(size_px, dtype=np.float64)[..., np.newaxis]
    known = ~np.isnan(errors)
    with np.errstate(invalid="ignore", divide="ignore"):
        alike = np.where(known, np.exp(-(errors**2) / (2 * width**2)), 0.0)
        return alike.sum(axis=-1) / np.where(known.any(axis=-1), known.sum(axis=-1), np.nan)


def average_precision(
    similarity: np.ndarray,
    score: np.ndarray,
    thresholds: np.ndarray | None = None,
) -> float:
    """Return COCO's mean average precision of one animal per image (mAP).

    Parameters
    ----------
    similarity : ndarray of shape (n_images,)
        See `object_similarity`; NaN does not count.
    score : ndarray of shape (n_images,)
        How sure the network is of each pose; the surest come first.
    thresholds : ndarray, optional
        Similarities from which a pose counts as found; 0.5, 0.55 ... 0.95 unless given.
    """
    known = np.isfinite(similarity)
    if not known.any():
        return float("nan")
    if thresholds is None:
        thresholds = np.arange(10) * 0.05 + 0.5
    order = np.argsort(-np.asarray(score)[known], kind="stable")
    found = np.asarray(similarity)[known][order] >= np.asarray(thresholds)[:, np.newaxis]
    hits = found.cumsum(axis=1)
    precision = hits / np.arange(1, found.shape[1] + 1)
    # precision at a recall is the best at that recall or a higher one
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recall = hits / found.shape[1]
    levels = np.arange(101) / 100
    areas = []
    for of_threshold, reached in zip(precision, recall, strict=True):
        place = np.searchsorted(reached, levels - 1e-9)
        areas.append(np.append(of_threshold, 0.0)[place].mean())
    return float(np.mean(areas))


def reliability(
    likelihood: np.ndarray, correct: np.ndarray, *, n_bins: int = 10
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Compare what a network says it is sure of with what comes true.

    Parameters
    ----------
    likelihood : ndarray of shape (...)
        From 0 to 1; NaN does not count.
    correct : ndarray of bool of shape (...)
        Whether the point was right.
    n_bins : int
        Number of equally wide bins of likelihood.

    Returns
    -------
    said, true : ndarray of shape (n_bins,)
        Mean likelihood and share of right points in each bin; NaN in an empty one.
    count : ndarray of int of shape (n_bins,)
        Points in each bin.
    error : float
        Expected calibration error: the mean difference, weighted by the counts; NaN without points.
    """
    likelihood, correct = np.ravel(likelihood), np.ravel(correct)
    known = np.isfinite(likelihood)
    likelihood, correct = likelihood[known], correct[known].astype(float)
    place = np.minimum((likelihood * n_bins).astype(int), n_bins - 1)
    count = np.bincount(place, minlength=n_bins)
    divisor = np.where(count, count, np.nan)
    said = np.bincount(place, likelihood, n_bins) / divisor
    true = np.bincount(place, correct, n_bins) / divisor
    error = np.nansum(np.abs(said - true) * count) / count.sum() if count.any() else np.nan
    return said, true, count, float(error)
