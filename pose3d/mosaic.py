"""Several views in one picture: the grid, and the video of it in which nothing is out of step."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from calibration.video import read_frames

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


def read_together(
    videos: Sequence[Path | None], frames: Sequence[Sequence[int]]
) -> Iterator[list[np.ndarray | None]]:
    """Read the videos of several views side by side, one moment after the other.

    Parameters
    ----------
    videos : sequence of Path or None
        Video, or folder of images, of each view; None where there is none.
    frames : sequence of sequence of int
        Which frames of each video, rising; all of the same length.

    Yields
    ------
    list of ndarray of uint8 of shape (height, width, 3), or None
        A picture of each view, RGB; None where its video has no such frame.
    """
    streams = [
        None if video is None else _picked(video, wanted)
        for video, wanted in zip(videos, frames, strict=True)
    ]
    for _ in range(len(frames[0])):
        yield [None if stream is None else next(stream) for stream in streams]


def _picked(video, wanted):
    """Yield the picture of each wanted frame, None for those that the video has not."""
    reader = iter(read_frames(video, frames=[int(index) for index in wanted if index >= 0]))
    frame = next(reader, None)
    for index in wanted:
        while frame is not None and frame.index < index:
            frame = next(reader, None)
        yield frame.image if frame is not None and frame.index == index else None
