"""Videos: exact frames with their times, streaming, and H.264 that browsers play.

Frame ``i`` of a video is the i-th of its frames in the order in which they are shown, counted
by the time stamps of its packets. A frame that cannot be decoded keeps its number and is left
out; it never moves the numbers of those after it. Frames hidden by an edit list do not count.

A folder of pictures serves as a video wherever a path is taken: natural order of the names,
frame number = position, `FOLDER_FPS` frames per second since pictures carry no times.

One reader belongs to one thread; readers in several threads run side by side.
"""

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calibration.containers import Claim, check_local_file, opened, packet_index
from calibration.decoding import Decoder, Frame, read_all, read_by_counting, read_by_seeking
from calibration.errors import DataError, DataWarning
from calibration.images import check_pixels, image_files, read_image, write_image
from calibration.planes import Planes
from calibration.video_writing import VideoWriter

__all__ = [
    "FOLDER_FPS",
    "Frame",
    "VideoInfo",
    "VideoWriter",
    "count_frames",
    "frame_times",
    "image_files",
    "probe_video",
    "read_frame",
    "read_frames",
    "read_image",
    "write_image",
]

#: Frames per second of a folder of pictures, which has no times of its own.
FOLDER_FPS = 30.0


@dataclass(frozen=True)
class VideoInfo:
    """What a video says about itself.

    Attributes
    ----------
    path : Path
        The file or folder.
    image_size : tuple of int
        Width and height in pixels of the frames as they are read, rotation applied.
    fps : float
        Mean frames per second; NaN where the file does not say.
    n_frames : int or None
        How many frames it claims; None where it does not say. `count_frames` counts them.
    duration : float or None
        Seconds it claims.
    """

    path: Path
    image_size: tuple[int, int]
    fps: float
    n_frames: int | None
    duration: float | None


def probe_video(path: str | Path) -> VideoInfo:
    """Read what a video says about itself, and its first frame.

    Parameters
    ----------
    path : path
        A video file or a folder of pictures.

    Returns
    -------
    VideoInfo

    Raises
    ------
    FileNotFoundError, DataError
        If it is missing, not a video, or no frame of it can be decoded.
    """
    path = Path(path)
    if path.is_dir():
        files = _folder_files(path)
        height, width = read_image(files[0], pixels="luma").shape
        return VideoInfo(path, (width, height), FOLDER_FPS, len(files), len(files) / FOLDER_FPS)
    with opened(path) as (container, stream):
        frame = next(Decoder(path, container, stream).frames(), None)
        if frame is None:
            raise DataError(
                f"{path}: no frame of it can be decoded. Copy it again from its source."
            )
        size = (frame.width, frame.height)
        claim = Claim.of(container, stream)
        return VideoInfo(
            path,
            size[::-1] if round(frame.rotation / 90) % 2 else size,
            claim.rate,
            claim.n_frames,
            claim.seconds,
        )


def count_frames(path: str | Path) -> int:
    """Count the frames of a video by its packets, without decoding them.

    Warns (`DataWarning`) where the file claims more than it holds.
    """
    path = Path(path)
    if path.is_dir():
        return len(_folder_files(path))
    index = packet_index(path)
    if index.shortfall:
        warnings.warn(
            f"{path} {index.shortfall}. Copy it again from its source if you can.",
            DataWarning,
            stacklevel=2,
        )
    return len(index.seconds)


def frame_times(path: str | Path) -> np.ndarray:
    """Return the time of every frame, from the stamps of its packets, without decoding them.

    Parameters
    ----------
    path : path
        A video file, or a folder of pictures (`FOLDER_FPS`).

    Returns
    -------
    ndarray of shape (n_frames,)
        Seconds since the first frame; unequal steps where the recorder lost frames.
    """
    path = Path(path)
    if path.is_dir():
        return np.arange(len(_folder_files(path))) / FOLDER_FPS
    return packet_index(path).seconds


def read_frame(path: str | Path, index: int, *, pixels: str = "rgb") -> np.ndarray | Planes:
    """Read one frame of a video or of a folder of pictures.

    Parameters
    ----------
    path : path
        The video.
    index : int
        Number of the frame, from 0.
    pixels : {"rgb", "luma", "planes"}
        What to give.

    Returns
    -------
    ndarray of uint8 of shape (height, width, 3) or (height, width), or Planes

    Raises
    ------
    DataError
        If the video has no such frame or it cannot be decoded.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # the error below says it
        for frame in read_frames(path, frames=[index], pixels=pixels):
            return frame.image
    raise DataError(
        f"Frame {index} of {path} cannot be read; it has frames 0 to {count_frames(path) - 1}."
    )


def read_frames(
    path: str | Path, *, frames: Iterable[int] | None = None, pixels: str = "rgb"
) -> Iterator[Frame]:
    """Read frames in order, one at a time: memory does not grow with the length.

    Parameters
    ----------
    path : path
        A video file or a folder of pictures.
    frames : iterable of int, optional
        Numbers of the frames to read, in any order; they come out sorted, each once. Reading
        jumps to them where that is quicker, and every frame is checked by its time stamp.
    pixels : {"rgb", "luma", "planes"}
        Colour, or brightness from 0 to 255 (what the file stores: quicker), or brightness and
        colour as the file stores them, which `VideoWriter` takes as they are.

    Yields
    ------
    Frame
        What can be decoded. A file that ends early or is damaged gives what it holds and a
        `DataWarning` with the claimed and the read number.

    Raises
    ------
    FileNotFoundError, DataError
        If it is missing, not a video, or changed while it was read.
    """
    check_pixels(pixels)
    path = Path(path)
    wanted = None if frames is None else _sorted_frames(frames)
    if path.is_dir():
        return _read_folder(path, _folder_files(path), wanted, pixels)
    check_local_file(path)
    return _read_video(path, wanted, pixels)


def _sorted_frames(frames):
    """Sort frame numbers, each once."""
    wanted = np.unique(np.asarray(list(frames), dtype=np.int64))
    if wanted.size and wanted[0] < 0:
        raise ValueError(f"frames holds {wanted[0]}; frames are counted from 0.")
    return wanted


def _folder_files(folder):
    """List the pictures of a folder that serves as a video."""
    files = image_files(folder)
    if not files:
        raise DataError(
            f"The folder {folder} holds no pictures (.jpg, .png, .bmp, .tif, .webp), so it cannot "
            "serve as a video."
        )
    return files


def _read_folder(folder, files, wanted, pixels):
    """Read pictures as frames."""
    if wanted is None:
        wanted = np.arange(len(files))
    missing = [int(index) for index in wanted if index >= len(files)]
    size, first, broken = None, None, []
    for index in wanted[: len(wanted) - len(missing)]:
        path = files[index]
        try:
            image = read_image(path, pixels=pixels)
        except DataError as error:
            broken.append(str(error))
            continue
        shape = (image.y if pixels == "planes" else image).shape
        size, first = size or shape[:2], first or path
        if shape[:2] != size:
            raise DataError(
                f"{path} has {shape[1]} x {shape[0]} pixels and {first.name} has "
                f"{size[1]} x {size[0]}; the pictures of one camera must have one size."
            )
        yield Frame(int(index), float(index / FOLDER_FPS), image)
    if broken:
        warnings.warn(
            f"{folder}: {len(broken)} of {len(files)} pictures cannot be read and are left out. "
            f"{broken[0]}",
            DataWarning,
            stacklevel=2,
        )
    _warn_missing(folder, missing, len(files))


def _warn_missing(path, missing, n_frames):
    """Say which of the wanted frames are not there."""
    if missing:
        some = ", ".join(str(int(index)) for index in missing[:5])
        more = ", ..." if len(missing) > 5 else ""
        warnings.warn(
            f"{path}: {len(missing)} of the frames asked for cannot be read ({some}{more}); it "
            f"holds {n_frames} frames.",
            DataWarning,
            stacklevel=3,
        )


def _read_video(path, wanted, pixels):
    """Read all frames of a file, or the wanted ones, and check that it stayed the same file."""
    before = path.stat()
    if wanted is None:
        yield from read_all(path, pixels)
    else:
        missing = []
        index = packet_index(path)
        read = read_by_seeking if index.seekable else read_by_counting
        yield from read(path, wanted, pixels, index, missing)
        _warn_missing(path, missing, len(index.seconds))
    after = path.stat()
    if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise DataError(
            f"{path} changed while it was read ({before.st_size} bytes at the start, "
            f"{after.st_size} at the end). Wait until it is recorded or copied, then start again."
        )
