"""The videos of all cameras as one: encoded together, nothing can be out of step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calibration.video import VideoWriter
from pose3d.mosaic import Mosaic, paint_together, plan_mosaic

#: Largest size of the mosaic in pixels: four cameras at 816 x 612, decoded in real time.
_MOST_PIXELS = 2.0e6

#: Smallest size of a view before pictures are left out.
_LEAST_PIXELS = 320 * 240

#: Bytes that a pixel needs to look like itself: 0.03 bits (animals before a still scene).
_BYTES_PER_PIXEL = 0.03 / 8

#: A player's slowest and fastest film; recordings beyond play slower or faster than they were.
_FPS_RANGE = (5.0, 240.0)


@dataclass(frozen=True)
class Film:
    """A mosaic film.

    Attributes
    ----------
    mosaic : Mosaic
        Where each view lies.
    fps : float
        Pictures per second when played at normal speed.
    every : int
        Picture i is shown frame i * every.
    n_pictures : int
        Number of pictures.
    n_missing : tuple of int
        For each view, how many pictures its video did not have.
    """

    mosaic: Mosaic
    fps: float
    every: int
    n_pictures: int
    n_missing: tuple[int, ...]


def plan_film(
    image_sizes: Sequence[tuple[int, int]], n_frames: int, max_bytes: float, aspect: float
) -> tuple[Mosaic, int]:
    """Choose the size and number of pictures that a number of bytes can hold.

    Parameters
    ----------
    image_sizes : sequence of (int, int)
        Width and height of each view.
    n_frames : int
        Frames to show.
    max_bytes : float
        Largest size of the film.
    aspect : float
        Width by height of the place in which it is shown.

    Returns
    -------
    mosaic : Mosaic
        Smaller where bytes are short, but no view under about 320 x 240 pixels.
    every : int
        1, or every how many frames there is a picture, where even that is too much.
    """
    affordable = max_bytes / n_frames / _BYTES_PER_PIXEL
    least = _LEAST_PIXELS * len(image_sizes)
    every = max(1, int(np.ceil(least / affordable)))
    most = min(_MOST_PIXELS, max(affordable * every, least))
    return plan_mosaic(image_sizes, max_pixels=most, aspect=aspect), every


def encode_film(
    path: Path,
    videos: Sequence[Path | None],
    image_sizes: Sequence[tuple[int, int]],
    frames: Sequence[np.ndarray],
    fps: float,
    *,
    max_bytes: float,
    aspect: float = 4 / 3,
    progress: Callable | None = None,
) -> Film:
    """Write the videos of several views as one H.264 film.

    Parameters
    ----------
    path : Path
        The .mp4 to write.
    videos : sequence of Path or None
        Video of each view.
    image_sizes : sequence of (int, int)
        Width and height of each view.
    frames : sequence of ndarray of int of shape (n_frames,)
        The frames of each video, rising; -1, and those that it has not, become grey.
    fps : float
        Frames per second.
    max_bytes : float
        Largest size.
    aspect : float
        Width by height of the place in which the film is shown.
    progress : callable, optional
        Wraps the iteration, called as ``progress(iterable, total=n)``.

    Returns
    -------
    Film
    """
    mosaic, every = plan_film(image_sizes, len(frames[0]), max_bytes, aspect)
    picked = [rows[::every] for rows in frames]
    n_pictures = len(picked[0])
    film_fps = float(np.clip(fps / every, *_FPS_RANGE))
    # the container's own tables take 16 bytes a picture and a few kB; the encoder may spend two
    # seconds' worth of bits before it must keep to the rate
    bits = 8 * max(0.95 * max_bytes - 20 * n_pictures, 1e4)
    limit = bits / (n_pictures / film_fps + 2)
    moments = paint_together(mosaic, videos, picked)
    if progress is not None:
        moments = progress(moments, total=n_pictures)
    missing = np.zeros(len(videos), dtype=int)
    with VideoWriter(path, film_fps, crf=23, max_bit_rate=limit) as film:
        for picture, there in moments:
            film.write(picture)
            missing += np.logical_not(there)
    return Film(mosaic, film_fps, every, n_pictures, tuple(missing.tolist()))
