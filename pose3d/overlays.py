"""Keypoints drawn on pictures: colours, dots and bones, several views in one picture."""

import cv2
import numpy as np

from pose3d.skeleton import Skeleton

#: Seven colours that people of every colour vision tell apart (Okabe and Ito, without black).
_DISTINCT = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#0072B2", "#D55E00", "#F0E442")

#: First and last shade of left, right and middle: blue, orange and green of the same set.
_LEFT, _RIGHT, _MIDDLE = ("#8CD0F5", "#0072B2"), ("#FFC24A", "#D55E00"), ("#7FD8B8", "#008A63")

_SHIFT = 4  # bits behind the binary point of cv2's sub-pixel drawing
_FAR = 1 << 14  # pixels; beyond this cv2's fixed-point coordinates would overflow


def keypoint_colors(
    keypoints: tuple[str, ...], symmetric: tuple[tuple[str, str], ...] = ()
) -> list[str]:
    """Choose a colour for each keypoint, safe for the colour-blind.

    With pairs, left is blue, right orange and the middle of the body green, each from light to
    dark along the order of the names. Without, seven colours take turns, darker in each round.

    Parameters
    ----------
    keypoints : tuple of str
        Names.
    symmetric : tuple of (str, str)
        Left and right partners, as in `Skeleton`.

    Returns
    -------
    list of str
        ``#rrggbb`` for each keypoint.

    Examples
    --------
    >>> keypoint_colors(("ear_l", "ear_r", "nose"), (("ear_l", "ear_r"),))
    ['#8cd0f5', '#ffc24a', '#7fd8b8']
    """
    pairs = [pair for pair in symmetric if set(pair) <= set(keypoints)]
    if not pairs:
        n = len(_DISTINCT)
        return [
            _mix(_DISTINCT[i % n], "#000000", 0.3 * (i // n % 3)) for i in range(len(keypoints))
        ]
    left = [a for a, _ in pairs]
    right = [b for _, b in pairs]
    middle = [name for name in keypoints if name not in left and name not in right]
    colors = {}
    for group, (first, last) in ((left, _LEFT), (right, _RIGHT), (middle, _MIDDLE)):
        ordered = [name for name in keypoints if name in group]
        for i, name in enumerate(ordered):
            colors[name] = _mix(first, last, i / max(1, len(ordered) - 1))
    return [colors[name] for name in keypoints]


def rgb(color: str) -> tuple[int, int, int]:
    """Return red, green and blue, 0 to 255, of ``#rrggbb``."""
    return tuple(int(color[i : i + 2], 16) for i in (1, 3, 5))


def _mix(first, last, share):
    """Return the colour a share of the way from one to another."""
    parts = zip(rgb(first), rgb(last), strict=True)
    return "#" + "".join(f"{round(a + share * (b - a)):02x}" for a, b in parts)


def draw_keypoints(
    image: np.ndarray,
    xy: np.ndarray,
    likelihood: np.ndarray | None = None,
    skeleton: Skeleton | None = None,
    *,
    min_likelihood: float = 0.6,
    radius: float | None = None,
) -> np.ndarray:
    """Draw keypoints and the bones between them on a copy of a picture.

    Parameters
    ----------
    image : ndarray of uint8 of shape (height, width, 3) or (height, width)
        The picture, RGB or grey.
    xy : ndarray of shape (..., n_keypoints, 2)
        Image points in pixels, one individual after the other; NaN is not drawn.
    likelihood : ndarray of shape (..., n_keypoints), optional
        How sure each point is; those below `min_likelihood` are hollow and have no bones.
    skeleton : Skeleton, optional
        Gives the bones and the colours; its keypoints are those of `xy`.
    min_likelihood : float
        See `likelihood`.
    radius : float, optional
        Of a dot in pixels; 1/160 of the picture's longer side if not given.

    Returns
    -------
    ndarray of uint8 of shape (height, width, 3)
        The picture with the drawing, RGB.
    """
    image = np.repeat(image[..., np.newaxis], 3, axis=-1) if image.ndim == 2 else image.copy()
    points = np.asarray(xy, dtype=np.float64)
    n_keypoints = points.shape[-2]
    if skeleton is not None and len(skeleton.keypoints) != n_keypoints:
        raise ValueError(
            f"xy holds {n_keypoints} keypoints and the skeleton {len(skeleton.keypoints)}; "
            "they must be the same, in the same order."
        )
    points = points.reshape(-1, n_keypoints, 2)
    sure = np.ones(points.shape[:2], dtype=bool)
    if likelihood is not None:
        sure = np.asarray(likelihood).reshape(points.shape[:2]) >= min_likelihood
    there = np.isfinite(points).all(axis=-1) & (np.abs(points) < _FAR).all(axis=-1)
    names = tuple(map(str, range(n_keypoints))) if skeleton is None else skeleton.keypoints
    symmetric = () if skeleton is None else skeleton.symmetric
    colors = [rgb(color) for color in keypoint_colors(names, symmetric)]
    radius = max(2.0, max(image.shape[:2]) / 160) if radius is None else radius
    thin = max(1, round(radius / 2.5))
    fixed = np.rint(np.where(there[..., np.newaxis], points, 0) * (1 << _SHIFT)).astype(int)
    for individual in range(len(points)):
        drawn = there[individual] & sure[individual]
        for a, b in () if skeleton is None else skeleton.edge_indices:
            if drawn[a] and drawn[b]:
                ends = fixed[individual, a].tolist(), fixed[individual, b].tolist()
                cv2.line(image, *ends, (0, 0, 0), thin + 2, cv2.LINE_AA, _SHIFT)
                cv2.line(image, *ends, (235, 235, 235), thin, cv2.LINE_AA, _SHIFT)
        for keypoint in np.flatnonzero(there[individual]):
            centre = fixed[individual, keypoint].tolist()
            size = round(radius * (1 << _SHIFT))
            if sure[individual, keypoint]:
                outer = size + (1 << _SHIFT)
                cv2.circle(image, centre, outer, (0, 0, 0), cv2.FILLED, cv2.LINE_AA, _SHIFT)
                cv2.circle(image, centre, size, colors[keypoint], cv2.FILLED, cv2.LINE_AA, _SHIFT)
            else:
                cv2.circle(image, centre, size, (0, 0, 0), thin + 2, cv2.LINE_AA, _SHIFT)
                cv2.circle(image, centre, size, colors[keypoint], thin, cv2.LINE_AA, _SHIFT)
    return image


def write_name(image: np.ndarray, name: str) -> None:
    """Write a view's name into the top left corner of its picture, in place.

    cv2's fonts have ASCII alone; other characters show as question marks.
    """
    scale = max(0.35, image.shape[0] / 700)
    place = (round(10 * scale), round(24 * scale))
    for color, width in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(
            image, name, place, cv2.FONT_HERSHEY_SIMPLEX, 0.7 * scale, color,
            max(1, round(width * scale)), cv2.LINE_AA,
        )  # fmt: skip
