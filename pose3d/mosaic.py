"""Several views in one picture: the grid, and the video of it in which nothing is out of step."""

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from calibration.planes import Planes
from calibration.video import frame_times, read_frames

#: Brightness of a view that has no picture.
BLANK = 50

#: Moments that are painted ahead of who asks for them.
_AHEAD = 3


@dataclass(frozen=True)
class Tile:
    """Where a view lies in the mosaic, in the mosaic's pixels.

    Attributes
    ----------
    x, y : int
        The top left corner; even, as are width and height.
    width, height : int
        The view's picture there.
    image_size : tuple of int
        Width and height of the view's own picture.
    """

    x: int
    y: int
    width: int
    height: int
    image_size: tuple[int, int]

    def place(self, xy: np.ndarray) -> np.ndarray:
        """Return where pixels (..., 2) of the view lie in its tile, from the tile's corner."""
        scale = np.array([self.width, self.height]) / self.image_size
        return (np.asarray(xy) + 0.5) * scale - 0.5


@dataclass(frozen=True)
class Mosaic:
    """A picture made of views.

    Attributes
    ----------
    width, height : int
        In pixels, both even.
    tiles : tuple of Tile
        One for each view.
    """

    width: int
    height: int
    tiles: tuple[Tile, ...]

    def part(self, picture: Planes, view: int) -> Planes:
        """Return the place of a view in a picture of the mosaic."""
        tile = self.tiles[view]
        return picture.part(tile.x, tile.y, tile.width, tile.height)


def plan_mosaic(
    image_sizes: Sequence[tuple[int, int]], *, max_pixels: float = 1.5e6, aspect: float = 4 / 3
) -> Mosaic:
    """Choose the grid in which the views are largest.

    Parameters
    ----------
    image_sizes : sequence of (int, int)
        Width and height of each view's pictures; they may differ, upright ones too.
    max_pixels : float
        Largest width times height of the mosaic; no view is made larger than it is.
    aspect : float
        Width by height of the place in which the mosaic is shown.

    Returns
    -------
    Mosaic
        Rows filled from the left; each view in the middle of its cell.
    """
    if not image_sizes:
        raise ValueError("image_sizes is empty; a mosaic needs at least one view.")
    sizes = np.asarray(image_sizes, dtype=np.float64)
    # a cell holds every view at the same area, whatever its proportions
    unit = sizes / np.sqrt(sizes.prod(axis=1, keepdims=True))
    cell = unit.max(axis=0)
    n_views = len(sizes)
    columns = np.arange(1, n_views + 1)
    rows = -(-n_views // columns)
    shown = np.minimum(aspect / (columns * cell[0]), 1 / (rows * cell[1]))
    best = int(np.argmax(shown - 1e-9 * (columns * rows)))
    n_columns, n_rows = int(columns[best]), int(rows[best])
    # scale: pixels of the mosaic per unit; the sharpest view stays as it is
    scale = np.sqrt(sizes.prod(axis=1)).max()
    scale = min(scale, np.sqrt(max_pixels / (n_columns * n_rows * cell.prod())))
    cell_width, cell_height = (max(2, 2 * round(side * scale / 2)) for side in cell)
    tiles = []
    for i, (width, height) in enumerate(image_sizes):
        factor = min(cell_width / width, cell_height / height)
        shown_width = min(cell_width, max(2, 2 * round(width * factor / 2)))
        shown_height = min(cell_height, max(2, 2 * round(height * factor / 2)))
        x = i % n_columns * cell_width + (cell_width - shown_width) // 4 * 2
        y = i // n_columns * cell_height + (cell_height - shown_height) // 4 * 2
        tiles.append(Tile(x, y, shown_width, shown_height, (int(width), int(height))))
    return Mosaic(n_columns * cell_width, n_rows * cell_height, tuple(tiles))


def match_frames(clock: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Find the frame of a video that was taken at each moment.

    Parameters
    ----------
    clock : ndarray of shape (n_frames,)
        When the video's frames were taken, in seconds, rising.
    times : ndarray of shape (n_moments,)
        The moments, by the same clock.

    Returns
    -------
    ndarray of int of shape (n_moments,)
        The nearest frame, the earlier of two as near; -1 where none is within half a step of
        the moments.
    """
    if not len(clock):
        return np.full(len(times), -1)
    step = np.median(np.diff(times)) if len(times) > 1 else np.inf
    after = np.minimum(np.searchsorted(clock, times), len(clock) - 1)
    before = np.maximum(after - 1, 0)
    nearest = np.where(times - clock[before] <= clock[after] - times, before, after)
    # a little more than half, as stamps are rounded to milliseconds
    return np.where(np.abs(clock[nearest] - times) <= 0.5 * step + 1e-3, nearest, -1)


def frames_of_videos(
    videos: Mapping[str, Path], offsets: Mapping[str, float], times: np.ndarray | None
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Find which frame of each video belongs to each moment of a recording.

    Parameters
    ----------
    videos : mapping of str to Path
        Video of each camera.
    offsets : mapping of str to float
        Seconds by which cameras are late; 0 for those not named.
    times : ndarray of shape (n_moments,) or None
        Times of the recording's keypoints; None for the moments of the longest video.

    Returns
    -------
    times : ndarray of shape (n_moments,)
        The moments.
    places : dict of str to ndarray of int of shape (n_moments,)
        Each camera's frames; -1 where it has none. By time where the times are those of one
        of the videos, as analysis leaves them; else by number, as in tracks from elsewhere.
    """
    clocks = {name: frame_times(path) - offsets.get(name, 0.0) for name, path in videos.items()}
    if times is None:
        times = max(clocks.values(), key=len)
    if any(
        len(clock) == len(times) and np.allclose(clock, times, rtol=0, atol=2e-3)
        for clock in clocks.values()
    ):
        return times, {name: match_frames(clock, times) for name, clock in clocks.items()}
    fps = 1 / np.median(np.diff(times)) if len(times) > 1 else 0.0
    places = {}
    for name, clock in clocks.items():
        numbers = np.arange(len(times)) + round(offsets.get(name, 0.0) * fps)
        places[name] = np.where((numbers >= 0) & (numbers < len(clock)), numbers, -1)
    return times, places


def paint_together(
    mosaic: Mosaic,
    videos: Sequence[Path | None],
    frames: Sequence[Sequence[int]],
    draw: Callable[[int, int, Planes], None] | None = None,
) -> Iterator[tuple[Planes, list[bool]]]:
    """Read the videos of several views side by side, one moment after the other.

    Parameters
    ----------
    mosaic : Mosaic
        Where each view goes.
    videos : sequence of Path or None
        Video, or folder of images, of each view; None where there is none.
    frames : sequence of sequence of int
        Which frames of each video, rising, -1 for none; all of the same length.
    draw : callable, optional
        Draws on a view, called as ``draw(view, moment, part)`` in the thread that reads the view.

    Yields
    ------
    picture : Planes
        The mosaic, to be used before the next is asked for; views without a frame are grey.
    there : list of bool
        Whether each view's video has the frame.
    """
    n_moments = len(frames[0])
    pictures = [Planes.blank(mosaic.width, mosaic.height) for _ in range(_AHEAD)]

    def paint(view, moment):
        part = mosaic.part(pictures[moment % _AHEAD], view)
        image = next(streams[view], None)
        _fill(part, image)
        if draw is not None:
            draw(view, moment, part)
        return image is not None

    with contextlib.ExitStack() as stack:
        # a thread for each view: they decode and draw side by side, ahead of who asks
        threads = [stack.enter_context(ThreadPoolExecutor(1)) for _ in videos]
        streams = [
            itertools.repeat(None, n_moments) if video is None else _picked(video, wanted)
            for video, wanted in zip(videos, frames, strict=True)
        ]
        ahead: deque[list[Future]] = deque()
        for moment in range(n_moments):
            for coming in range(moment + len(ahead), min(moment + _AHEAD, n_moments)):
                ahead.append([
                    thread.submit(paint, view, coming) for view, thread in enumerate(threads)
                ])  # fmt: skip
            there = [future.result() for future in ahead.popleft()]
            yield pictures[moment % _AHEAD], there


def _fill(part, image):
    """Put an image of any size in its place; None leaves it grey."""
    if image is None:
        image = (np.uint8(BLANK), np.uint8(128), np.uint8(128))
    for place, plane in zip(part, image, strict=True):
        if plane.shape in ((), place.shape):
            place[:] = plane
        else:
            smaller = plane.shape[0] > place.shape[0]
            how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
            # resized apart from its place, as the parts of a picture have gaps between rows
            place[:] = cv2.resize(plane, place.shape[::-1], interpolation=how)


def _picked(video, wanted):
    """Yield the picture of each wanted frame, None for those that the video has not."""
    numbers = [int(index) for index in wanted if index >= 0]
    reader = iter(read_frames(video, frames=numbers, pixels="planes"))
    frame = next(reader, None)
    for index in wanted:
        while frame is not None and frame.index < index:
            frame = next(reader, None)
        yield frame.image if frame is not None and frame.index == index else None
