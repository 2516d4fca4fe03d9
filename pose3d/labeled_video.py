"""The video of all views with their keypoints: decoded, drawn and encoded side by side."""

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np

from calibration.errors import DataError
from calibration.planes import Planes, to_planes, to_ycc
from calibration.video import VideoWriter, probe_video
from pose3d.keypoints import Keypoints2D
from pose3d.mosaic import Mosaic, frames_of_videos, paint_together, plan_mosaic
from pose3d.overlays import KeypointPen, mix, rgb
from pose3d.skeleton import Skeleton

#: Largest labelled video in pixels: four cameras at 960 x 720.
_VIDEO_PIXELS = 1920 * 1440

#: How much the panel of likelihoods darkens what is below.
_GLASS = 0.6

_FONT = cv2.FONT_HERSHEY_SIMPLEX


def write_labeled_video(
    path: Path,
    videos: Mapping[str, Path],
    offsets: Mapping[str, float],
    keypoints_2d: Keypoints2D,
    skeleton: Skeleton,
    *,
    frames: range | None = None,
    min_likelihood: float = 0.6,
    trail: int = 0,
    show_likelihood: bool = False,
    speed: float = 1.0,
    progress: Callable | None = None,
) -> Mosaic:
    """Draw keypoints on the videos of all cameras and write them as one H.264 video.

    Parameters
    ----------
    path : Path
        The .mp4 to write.
    videos : mapping of str to Path
        Video of each camera to show.
    offsets : mapping of str to float
        Seconds by which cameras are late.
    keypoints_2d : Keypoints2D
        What is drawn; its cameras are those of `videos`, in their order.
    skeleton : Skeleton
        Its bones and colours.
    frames : range, optional
        The moments to show; all unless given.
    min_likelihood : float
        Less likely keypoints are hollow and have no bones and no trail.
    trail : int
        How many frames back the trail of a keypoint reaches.
    show_likelihood : bool
        Whether a panel in each view names the keypoints and shows how likely each is.
    speed : float
        How much faster than it was the recording plays.
    progress : callable, optional
        Wraps the iteration, called as ``progress(iterable, total=n)``.

    Returns
    -------
    Mosaic
        Where each view lies.
    """
    moments = range(keypoints_2d.n_frames) if frames is None else frames
    sizes = _image_sizes(videos, keypoints_2d)
    mosaic = plan_mosaic(sizes, max_pixels=_VIDEO_PIXELS, aspect=16 / 9)
    _, places = frames_of_videos(videos, offsets, keypoints_2d.times)
    views = [
        _View(tile, keypoints_2d, camera, skeleton, min_likelihood, trail, show_likelihood)
        for camera, tile in enumerate(mosaic.tiles)
    ]
    chosen = np.array(moments)
    painted = paint_together(
        mosaic,
        list(videos.values()),
        [places[name][chosen] for name in keypoints_2d.cameras],
        lambda view, moment, part: views[view].draw(part, moments[moment]),
    )
    pictures = painted if progress is None else progress(painted, total=len(moments))
    fps = keypoints_2d.fps if keypoints_2d.n_frames > 1 else 30.0
    with (
        contextlib.closing(painted),  # an error that is kept would keep its threads and videos
        VideoWriter(path, fps * speed, crf=20, quick=True) as film,
    ):
        for picture, _ in pictures:
            film.write(picture)
    return mosaic


def _image_sizes(videos, keypoints_2d):
    """Return the sizes of the pictures that the keypoints are of; videos may be scaled copies."""
    shown = [probe_video(video).image_size for video in videos.values()]
    if keypoints_2d.image_sizes is None:
        return shown
    sizes = [tuple(size) for size in keypoints_2d.image_sizes.tolist()]
    for name, size, there in zip(videos, sizes, shown, strict=True):
        factors = np.divide(there, size)
        if abs(np.log(factors[0] / factors[1])) > 0.02:
            raise DataError(
                f"The video of {name!r} has {there[0]}x{there[1]} pixels and its keypoints were "
                f"found in pictures of {size[0]}x{size[1]}, which another part may have been cut "
                "from. Run analyze-recording again."
            )
    return sizes


class _View:
    """Draws what one camera saw, moment by moment, in its place in the mosaic."""

    def __init__(self, tile, seen, camera, skeleton, min_likelihood, trail, show_likelihood):
        size = (tile.width, tile.height)
        self.xy = tile.place(seen.xy[camera])
        self.likelihood = seen.likelihood[camera]
        self.trail = trail
        self.pen = KeypointPen(len(seen.keypoints), size, skeleton, min_likelihood=min_likelihood)
        if trail:
            sure = self.likelihood >= min_likelihood
            self.path = np.where(sure[..., np.newaxis], self.xy, np.nan)
        self.name = name_stamp(seen.cameras[camera], size)
        self.panel = None
        if show_likelihood:
            top = 2 * self.name.shape[0] // 2
            self.panel = LikelihoodPanel(
                seen.keypoints, self.pen.colors, size, min_likelihood, top=top
            )

    def draw(self, part, moment):
        """Draw one moment."""
        past = None
        if self.trail:
            past = self.path[max(0, moment - self.trail) : moment + 1]
        self.pen.draw(part, self.xy[moment], self.likelihood[moment], past)
        self.name.on(part, 0, 0)
        if self.panel is not None:
            self.panel.draw(part, self.likelihood[moment])


class Stamp:
    """A small picture that is laid over many, partly transparent, in planes.

    Parameters
    ----------
    image : ndarray of uint8 of shape (height, width, 3)
        RGB; height and width even.
    alpha : ndarray of shape (height, width)
        How much of it covers what is below, from 0 to 1.
    """

    def __init__(self, image: np.ndarray, alpha: np.ndarray):
        self.shape = alpha.shape
        alpha = np.asarray(alpha, np.float32)
        half = cv2.resize(alpha, (alpha.shape[1] // 2, alpha.shape[0] // 2), None, 0, 0,
                          cv2.INTER_AREA)  # fmt: skip
        self._planes = to_planes(image)
        self._over = (alpha, half, half)
        self._under = (1 - alpha, 1 - half, 1 - half)

    def on(self, picture: Planes, x: int, y: int) -> None:
        """Lay it over a picture, its corner at an even place; what sticks out is cut off."""
        for layer, (image, plane) in enumerate(zip(picture, self._planes, strict=True)):
            left, top = (x, y) if layer == 0 else (x // 2, y // 2)
            place = image[top : top + plane.shape[0], left : left + plane.shape[1]]
            if not place.size:
                continue
            cut = np.s_[: place.shape[0], : place.shape[1]]
            place[:] = cv2.blendLinear(
                np.ascontiguousarray(place),
                np.ascontiguousarray(plane[cut]),
                np.ascontiguousarray(self._under[layer][cut]),
                np.ascontiguousarray(self._over[layer][cut]),
            )


def name_stamp(name: str, size: tuple[int, int]) -> Stamp:
    """Make the name of a view, white with a black rim, for its top left corner.

    cv2's fonts have ASCII alone; other characters show as question marks.

    Parameters
    ----------
    name : str
        The name.
    size : (int, int)
        Width and height of the view.
    """
    scale = max(0.35, size[1] / 700)
    (width, height), below = cv2.getTextSize(name, _FONT, 0.7 * scale, 1)
    left, base, rim = round(10 * scale), round(6 * scale) + height + 2, max(1, round(scale))
    shape = (2 * ((base + below + rim + 3) // 2), 2 * ((left + width + rim + 5) // 2))
    letters = np.zeros(shape, np.uint8)
    _write(letters, name, (left, base), 0.7 * scale, max(1, round(scale)))
    # a second text for the rim would not lie under the first: widths depend on strokes
    under = cv2.dilate(letters, np.ones((2 * rim + 1, 2 * rim + 1), np.uint8))
    return Stamp(cv2.cvtColor(letters, cv2.COLOR_GRAY2RGB), under / 255)


class LikelihoodPanel:
    """Names the keypoints of a view in their colours, with a bar for how likely each is.

    Bars of several individuals show their mean; one that is not there counts as 0.

    Parameters
    ----------
    keypoints : tuple of str
        Their names.
    colors : list of str
        Their colours, ``#rrggbb``.
    size : (int, int)
        Width and height of the view.
    min_likelihood : float
        Where the line is drawn; bars that do not reach it are dull.
    top : int
        Where it starts, in pixels from the top.
    """

    def __init__(
        self,
        keypoints: tuple[str, ...],
        colors: list[str],
        size: tuple[int, int],
        min_likelihood: float,
        *,
        top: int = 0,
    ):
        scale = max(0.35, size[1] / 700)
        room = max(2, (size[1] - top) // len(keypoints) // 2 * 2)
        self._row = min(max(10, round(9 * scale) * 2), room)
        self._bar = max(16, round(30 * scale) * 2)
        font = self._row / 40
        readable = self._row >= 10
        widths = [cv2.getTextSize(name, _FONT, font, 1)[0][0] for name in keypoints]
        text = max(widths) + 6 if readable else 0
        self._left, self._top = 4, 2 * (top // 2)
        shape = (self._row * len(keypoints), 2 * ((self._left + self._bar + 4 + text + 1) // 2))
        letters = np.zeros(shape, np.uint8)
        for row, name in enumerate(keypoints if readable else ()):
            place = (self._left + self._bar + 6, round((row + 0.5) * self._row + 10 * font))
            _write(letters, name, place, font, 1)
        covered = 1 - (1 - _GLASS) * (1 - letters / 255)
        image = np.rint(letters / covered).astype(np.uint8)  # white letters on black glass
        self._stamp = Stamp(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB), covered)
        self._colors = [to_ycc(rgb(color)) for color in colors]
        self._dull = [to_ycc(rgb(mix(color, "#404040", 0.65))) for color in colors]
        self._min = min_likelihood

    def draw(self, picture: Planes, likelihood: np.ndarray) -> None:
        """Draw the panel for likelihoods (n_individuals, n_keypoints)."""
        self._stamp.on(picture, 0, self._top)
        likely = np.clip(np.nan_to_num(likelihood).mean(axis=0), 0, 1)
        edge = max(1, self._row // 10)
        for row, share in enumerate(likely.tolist()):
            color = self._colors[row] if share >= self._min else self._dull[row]
            top = self._top + row * self._row
            first, last = top + edge, top + self._row - edge
            left, right = self._left, self._left + round(share * self._bar)
            for image, value, step in zip(picture, color, (1, 2, 2), strict=True):
                image[first // step : -(-last // step), left // step : -(-right // step)] = value
        line = round(self._left + self._min * self._bar)
        bottom = self._top + self._row * len(likely)
        picture.y[self._top : bottom, line : line + 1] = 235  # none where a view ends before


def _write(letters, text, place, scale, width):
    """Write text in white on one plane, its first letter's foot at a place."""
    cv2.putText(letters, text, place, _FONT, scale, 255, width, cv2.LINE_AA)
