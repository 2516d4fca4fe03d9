"""Keypoints drawn on pictures: colours, trails, bones and dots."""

import cv2
import numpy as np

from calibration.planes import Planes, to_ycc
from pose3d.skeleton import Skeleton

#: Seven colours that people of every colour vision tell apart (Okabe and Ito, without black).
_DISTINCT = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#0072B2", "#D55E00", "#F0E442")

#: First and last shade of left, right and middle: blue, orange and green of the same set.
_LEFT, _RIGHT, _MIDDLE = ("#8CD0F5", "#0072B2"), ("#FFC24A", "#D55E00"), ("#7FD8B8", "#008A63")

#: Shares of grey in the parts of a trail, the oldest first.
_FADING = (0.65, 0.4, 0.15)

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
        return [mix(_DISTINCT[i % n], "#000000", 0.3 * (i // n % 3)) for i in range(len(keypoints))]
    left = [a for a, _ in pairs]
    right = [b for _, b in pairs]
    middle = [name for name in keypoints if name not in left and name not in right]
    colors = {}
    for group, (first, last) in ((left, _LEFT), (right, _RIGHT), (middle, _MIDDLE)):
        ordered = [name for name in keypoints if name in group]
        for i, name in enumerate(ordered):
            colors[name] = mix(first, last, i / max(1, len(ordered) - 1))
    return [colors[name] for name in keypoints]


def rgb(color: str) -> tuple[int, int, int]:
    """Return red, green and blue, 0 to 255, of ``#rrggbb``."""
    return tuple(int(color[i : i + 2], 16) for i in (1, 3, 5))


def mix(first: str, last: str, share: float) -> str:
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
    pen = KeypointPen(
        np.shape(xy)[-2],
        image.shape[1::-1],
        skeleton,
        min_likelihood=min_likelihood,
        radius=radius,
    )
    pen.draw(image, xy, likelihood)
    return image


class KeypointPen:
    """Draws keypoints on one picture after the other; colours and sizes are worked out once.

    Parameters
    ----------
    n_keypoints : int
        Of each individual.
    image_size : (int, int)
        Width and height of the pictures.
    skeleton : Skeleton, optional
        Gives the bones and the colours.
    min_likelihood, radius : float
        See `draw_keypoints`.
    """

    def __init__(
        self,
        n_keypoints: int,
        image_size: tuple[int, int],
        skeleton: Skeleton | None = None,
        *,
        min_likelihood: float = 0.6,
        radius: float | None = None,
    ):
        if skeleton is not None and len(skeleton.keypoints) != n_keypoints:
            raise ValueError(
                f"xy holds {n_keypoints} keypoints and the skeleton {len(skeleton.keypoints)}; "
                "they must be the same, in the same order."
            )
        names = tuple(map(str, range(n_keypoints))) if skeleton is None else skeleton.keypoints
        edges = () if skeleton is None else skeleton.edge_indices
        self.colors = keypoint_colors(names, () if skeleton is None else skeleton.symmetric)
        self.min_likelihood = min_likelihood
        self._edges = np.array(edges, dtype=int).reshape(-1, 2)
        self._radius = max(2.0, max(image_size) / 160) if radius is None else radius
        faded = [[mix(color, "#808080", share) for color in self.colors] for share in _FADING]
        self._inks = [_inks(colors) for colors in (("#000000", "#ebebeb"), self.colors, *faded)]

    def draw(
        self,
        picture: np.ndarray | Planes,
        xy: np.ndarray,
        likelihood: np.ndarray | None = None,
        past: np.ndarray | None = None,
    ) -> None:
        """Draw keypoints, the bones between them and where they were, in place.

        Parameters
        ----------
        picture : ndarray of uint8 of shape (height, width, 3), or Planes
            RGB, or planes with colour of half size.
        xy : ndarray of shape (..., n_keypoints, 2)
            See `draw_keypoints`.
        likelihood : ndarray of shape (..., n_keypoints), optional
            See `draw_keypoints`.
        past : ndarray of shape (n_frames, ..., n_keypoints, 2), optional
            Where the points were before, up to now; drawn as fading trails with gaps at NaN.
        """
        n_keypoints = len(self.colors)
        points = np.asarray(xy, dtype=np.float64).reshape(-1, n_keypoints, 2)
        sure = np.ones(points.shape[:2], dtype=bool)
        if likelihood is not None:
            sure = np.asarray(likelihood).reshape(points.shape[:2]) >= self.min_likelihood
        layers = picture if isinstance(picture, Planes) else (picture,)
        for layer, image in enumerate(layers):
            stroke = _Stroke(image, image.shape[1] / layers[0].shape[1], self._radius)
            paints = [inks[layer if len(layers) == 3 else 3] for inks in self._inks]
            (black, white), colors, *faded = paints
            if past is not None:
                stroke.trails(np.asarray(past).reshape(-1, *points.shape), faded)
            stroke.skeleton(points, sure, self._edges, black, white)
            stroke.dots(points, sure, black, colors)


class _Stroke:
    """Draws on one plane, or one RGB picture, which may be smaller than points say.

    Parameters
    ----------
    image : ndarray of uint8 of shape (height, width) or (height, width, 3)
        What is drawn on.
    scale : float
        Its pixels per pixel of the points.
    radius : float
        Of a dot, in pixels of the points.
    """

    def __init__(self, image, scale, radius):
        self.image = image
        self.scale = scale
        self.size = round(radius * scale * (1 << _SHIFT))
        self.rim = round(scale * (1 << _SHIFT))
        self.thin = max(1, round(radius * scale / 2.5))
        self.thick = self.thin + max(1, round(2 * scale))

    def place(self, points):
        """Return points in fixed-point pixels of the image, and which can be drawn."""
        there = np.isfinite(points).all(axis=-1) & (np.abs(points) < _FAR).all(axis=-1)
        points = (np.where(there[..., np.newaxis], points, 0) + 0.5) * self.scale - 0.5
        return np.rint(points * (1 << _SHIFT)).astype(np.int32, order="C"), there

    def lines(self, segments, color, width):
        """Draw a line through each of some rows of points."""
        cv2.polylines(self.image, segments, False, color, width, cv2.LINE_AA, _SHIFT)

    def trails(self, past, faded):
        """Draw where each point was, from the oldest part to the newest."""
        # time last, as cv2 takes rows of points that lie together
        fixed, there = self.place(np.moveaxis(past, 0, -2))
        ends = np.linspace(0, len(past) - 1, len(faded) + 1).round().astype(int)
        for first, last, colors in zip(ends, ends[1:], faded, strict=False):
            part = slice(first, last + 1)
            for individual, keypoint in np.ndindex(there.shape[:2]):
                path, known = fixed[individual, keypoint, part], there[individual, keypoint, part]
                if known.all():
                    segments = [path]
                else:
                    steps = np.flatnonzero(known[1:] & known[:-1])
                    segments = [path[step : step + 2] for step in steps]
                if segments and first < last:
                    self.lines(segments, colors[keypoint], self.thin)

    def skeleton(self, points, sure, edges, black, white):
        """Draw the bones between points that are sure."""
        fixed, there = self.place(points)
        drawn = (there & sure)[:, edges].all(axis=-1)
        bones = list(fixed[:, edges][drawn])
        if bones:
            self.lines(bones, black, self.thick)
            self.lines(bones, white, self.thin)

    def dots(self, points, sure, black, colors):
        """Draw the points: filled where they are sure, else hollow."""
        fixed, there = self.place(points)
        image, size, far = self.image, self.size, self.size + self.rim
        for individual, keypoint in np.argwhere(there):
            centre, color = fixed[individual, keypoint].tolist(), colors[keypoint]
            if sure[individual, keypoint]:
                cv2.circle(image, centre, far, black, cv2.FILLED, cv2.LINE_AA, _SHIFT)
                cv2.circle(image, centre, size, color, cv2.FILLED, cv2.LINE_AA, _SHIFT)
            else:
                cv2.circle(image, centre, size, black, self.thick, cv2.LINE_AA, _SHIFT)
                cv2.circle(image, centre, size, color, self.thin, cv2.LINE_AA, _SHIFT)


def _inks(colors):
    """Return colours as each plane needs them, and as RGB."""
    rgbs = [rgb(color) for color in colors]
    return [*zip(*map(to_ycc, rgbs), strict=True), rgbs]
