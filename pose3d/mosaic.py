"""Several views in one picture: the grid, and the video of it in which nothing is out of step."""

import contextlib
import itertools
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from calibration.video import frame_times, read_frames

#: Grey level of a view that has no picture.
BLANK = 40


@dataclass(frozen=True)
class Tile:
    """Where a view lies in the mosaic, in the mosaic's pixels.

    Attributes
    ----------
    x, y : int
        The top left corner.
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

    def paste(self, images: Sequence[np.ndarray | None]) -> np.ndarray:
        """Put the views together; None leaves a grey tile.

        Parameters
        ----------
        images : sequence of ndarray of uint8 of shape (height, width, 3), or None
            A picture of each view, RGB, of any size.

        Returns
        -------
        ndarray of uint8 of shape (height, width, 3)
        """
        picture = np.zeros((self.height, self.width, 3), dtype=np.uint8)
        for tile, image in zip(self.tiles, images, strict=True):
            place = picture[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width]
            if image is None:
                place[:] = BLANK
            elif image.shape == place.shape:
                place[:] = image
            else:
                smaller = image.shape[0] > tile.height
                how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
                cv2.resize(image, (tile.width, tile.height), dst=place, interpolation=how)
        return picture


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
        x = i % n_columns * cell_width + (cell_width - shown_width) // 2
        y = i // n_columns * cell_height + (cell_height - shown_height) // 2
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
        The nearest frame; -1 where none is within half a step of the moments.
    """
    if not len(clock):
        return np.full(len(times), -1)
    step = np.median(np.diff(times)) if len(times) > 1 else np.inf
    after = np.minimum(np.searchsorted(clock, times), len(clock) - 1)
    before = np.maximum(after - 1, 0)
    nearest = np.where(times - clock[before] < clock[after] - times, before, after)
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


def read_together(
    videos: Sequence[Path | None], frames: Sequence[Sequence[int]]
) -> Iterator[list[np.ndarray | None]]:
    """Read the videos of several views side by side, one moment after the other.

    Parameters
    ----------
    videos : sequence of Path or None
        Video, or folder of images, of each view; None where there is none.
    frames : sequence of sequence of int
        Which frames of each video, rising, -1 for none; all of the same length.

    Yields
    ------
    list of ndarray of uint8 of shape (height, width, 3), or None
        A picture of each view, RGB; None where its video has no such frame.
    """
    with contextlib.ExitStack() as stack:
        # a thread for each reader: they decode side by side, ahead of who asks
        threads = [stack.enter_context(ThreadPoolExecutor(1)) for _ in videos]
        streams = [
            itertools.repeat(None, len(wanted)) if video is None else _picked(video, wanted)
            for video, wanted in zip(videos, frames, strict=True)
        ]
        ahead: deque[list[Future]] = deque()
        for _ in range(len(frames[0])):
            while len(ahead) < 3:
                pairs = zip(threads, streams, strict=True)
                ahead.append([thread.submit(next, stream, None) for thread, stream in pairs])
            yield [future.result() for future in ahead.popleft()]


def _picked(video, wanted):
    """Yield the picture of each wanted frame, None for those that the video has not."""
    reader = iter(read_frames(video, frames=[int(index) for index in wanted if index >= 0]))
    frame = next(reader, None)
    for index in wanted:
        while frame is not None and frame.index < index:
            frame = next(reader, None)
        yield frame.image if frame is not None and frame.index == index else None
