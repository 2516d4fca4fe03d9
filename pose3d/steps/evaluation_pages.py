"""The reports of evaluate-network and compare-networks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from calibration.video import read_image
from pose3d import metrics, pages
from pose3d.figures import plot_reliability
from pose3d.labels import LabeledFrames
from pose3d.project import Project

_LEGEND = "Ring: label; cross: network; a line joins them."


class Found(NamedTuple):
    """What a network found in labelled images.

    Attributes
    ----------
    xy : ndarray of shape (n_images, n_keypoints, 2)
        In pixels of the images.
    likelihood, errors : ndarray of shape (n_images, n_keypoints)
        How sure it was, and how far from the labels; NaN where there is none.
    """

    xy: np.ndarray
    likelihood: np.ndarray
    errors: np.ndarray


def save_evaluation(
    path: Path,
    title: str,
    summary: str,
    rows: Sequence[Mapping[str, Any]],
    project: Project,
    labels: LabeledFrames,
    found: Found,
    images: np.ndarray,
    *,
    share: float,
    worst: int,
) -> None:
    """Write what a network's errors are, what its likelihood is worth, and its worst images.

    Parameters
    ----------
    path : Path
        The HTML file.
    title, summary : str
        What it is about.
    rows : sequence of dict
        The table of errors.
    project, labels, found
        The project, its labelled images, and what the network found in them.
    images : ndarray of int
        Indices of the images to show and to judge the likelihood by.
    share : float
        A point is right within this share of the animal's size.
    worst : int
        So many images are shown.
    """
    errors = found.errors[images]
    reach = share * metrics.animal_sizes(labels.xy[images, 0])[:, np.newaxis]
    known = np.isfinite(errors) & np.isfinite(reach)
    said, true, count, off = metrics.reliability(
        np.where(known, found.likelihood[images], np.nan), errors <= reach
    )
    worth = "No image has two labels, so the animal's size is not known."
    if known.any():
        worth = (
            f"A point counts as right within {share:.0%} of the animal's size of its label. The "
            f"likelihood is off by {off:.2f} on average, and a little more on other images: it was "
            "learnt on test images, unless the training kept some of its own (patience)."
        )
    with np.errstate(invalid="ignore"):
        largest = np.nan_to_num(errors, nan=-1.0).max(axis=1)
    drawn, captions = [], []
    for i in images[np.argsort(-largest)][:worst]:
        if np.isfinite(found.errors[i]).any():
            keypoint = int(np.nanargmax(found.errors[i]))
            drawn.append(_draw(project, labels, i, found))
            captions.append(
                f"{labels.images[i]}: {labels.keypoints[keypoint]} "
                f"{found.errors[i, keypoint]:.1f} px, likelihood "
                f"{found.likelihood[i, keypoint]:.2f}"
            )
    pages.write_page(
        path,
        title,
        [
            pages.heading("Errors", f"{summary} Distances in pixels of the images. "
                          "low_px to high_px: where the mean would lie with other images."),
            pages.table(rows),
            pages.heading("What the likelihood is worth", worth),
            pages.figure(plot_reliability(said, true, count)),
            pages.heading("Worst images", f"{_LEGEND} Is it the network that is wrong, or the "
                          "label?"),
            pages.pictures(drawn, captions),
        ],
    )  # fmt: skip


def save_comparison(
    path: Path,
    summary: str,
    rows: Sequence[Mapping[str, Any]],
    project: Project,
    labels: LabeledFrames,
    found: Mapping[str, Found],
    images: np.ndarray,
    *,
    shown: int = 12,
) -> None:
    """Write how networks differ: by camera, by keypoint, and on which images most.

    Parameters
    ----------
    path : Path
        The HTML file.
    summary : str
        Which is best.
    rows : sequence of dict
        The table of networks, the best first.
    project, labels
        The project and its labelled images.
    found : dict of str to Found
        What each network found, in the order of the rows.
    images : ndarray of int
        Indices of the images that all were tested on.
    shown : int
        So many images are shown, as the two best networks see them.
    """
    cameras = np.array(labels.cameras)[images]
    by_camera = [
        {"camera": camera, "images": int((cameras == camera).sum())}
        | {name: _mean(each.errors[images[cameras == camera]]) for name, each in found.items()}
        for camera in dict.fromkeys(cameras.tolist())
    ]
    by_keypoint = [
        {"keypoint": keypoint}
        | {name: _mean(each.errors[images, k]) for name, each in found.items()}
        for k, keypoint in enumerate(labels.keypoints)
    ]
    first, second = list(found)[:2]
    means = [[_mean(found[name].errors[i]) for i in images] for name in (first, second)]
    apart = np.abs(np.subtract(*means))  # NaN for images that cannot be read, which sorts last
    drawn, captions = [], []
    for i in images[np.argsort(-apart)][: min(shown, np.isfinite(apart).sum())]:
        for name in (first, second):
            drawn.append(_draw(project, labels, i, found[name]))
            captions.append(
                f"{name}, {labels.images[i]}: mean {_mean(found[name].errors[i]):.1f} px"
            )
    pages.write_page(
        path,
        "Networks compared",
        [
            pages.heading("Networks", f"{summary} worse_by: how much larger than the best one's "
                          "the mean error would be with other images."),
            pages.table(rows),
            pages.heading("By camera", "Mean distance in pixels of the images."),
            pages.table(by_camera),
            pages.heading("By keypoint", "Mean distance in pixels of the images."),
            pages.table(by_keypoint),
            pages.heading("Where they differ most", f"{first}, then {second}. {_LEGEND}"),
            pages.pictures(drawn, captions),
        ],
    )  # fmt: skip


def _draw(project, labels, i, found):
    """Draw an image's labels and what a network found."""
    image = read_image(project.path / labels.images[i], pixels="rgb")
    return pages.compare_points(image, labels.xy[i, 0], found.xy[i], project.skeleton)


def _mean(errors):
    """Return the mean of what is not NaN; NaN where there is nothing."""
    return metrics.summarize_errors(errors)["mean_error_px"]
