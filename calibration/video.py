"""Videos: exact frames with their times, streaming, and H.264 that browsers play.

Frame ``i`` of a video is the i-th of its frames in the order in which they are shown, counted
by the time stamps of its packets. A frame that cannot be decoded keeps its number and is left
out; it never moves the numbers of those after it. Frames hidden by an edit list do not count.

A folder of pictures serves as a video wherever a path is taken: natural order of the names,
frame number = position, `FOLDER_FPS` frames per second since pictures carry no times.

One reader belongs to one thread; readers in several threads run side by side.
"""

import heapq
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from calibration.containers import (
    PacketIndex,
    check_local_file,
    demuxed,
    opened,
    packet_index,
    stamps_are_exact,
)
from calibration.errors import DataError, DataWarning
from calibration.files import atomic_path
from calibration.images import check_pixels, image_files, read_image, write_image

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

#: Seeking flushes the decoder; below this many frames decoding on is as quick.
SEEK_GAIN = 8

#: Formats whose plane 0 is 8-bit brightness.
_LUMA_PLANES = ("gray", "yuv4", "yuvj4", "yuva4", "nv12", "nv21", "nv16")

_LIMITED_TO_FULL = np.clip(np.round((np.arange(256) - 16.0) * 255 / 219), 0, 255).astype(np.uint8)


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


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame.

    Attributes
    ----------
    index : int
        Its number in the video, from 0.
    time : float
        Seconds since the first frame.
    image : ndarray of uint8 of shape (height, width, 3) or (height, width)
        RGB, or luma.
    """

    index: int
    time: float
    image: np.ndarray


def _luma(frame):
    """Brightness of a frame, 0 to 255: plane 0 where that is what it holds."""
    name = frame.format.name
    if not name.startswith(_LUMA_PLANES) or frame.format.components[0].bits != 8:
        return frame.to_ndarray(format="gray")
    plane = frame.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    image = rows[: frame.height, : frame.width]
    full = name.startswith(("gray", "yuvj")) or frame.color_range == 2
    return image.copy() if full else cv2.LUT(image, _LIMITED_TO_FULL)


def _image(frame, pixels):
    """Turn a decoded frame into an upright array."""
    image = _luma(frame) if pixels == "luma" else frame.to_ndarray(format="rgb24")
    quarter_turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, quarter_turns)) if quarter_turns else image


class _Decoder:
    """Decodes a stream, numbers what comes out, and counts what is wrong with it.

    The number of a frame is the rank of its stamp among the packets fed so far: whatever is
    shown before it has been fed before it comes out, so no scan of the file is needed.
    """

    def __init__(self, path, container, stream):
        self.path = path
        self.container = container
        self.stream = stream
        self.exact = stamps_are_exact(container, stream)
        self.claimed = stream.frames or None
        self.rate = stream.average_rate or stream.guessed_rate
        self.n_read = 0
        self.n_discarded = 0
        self.n_errors = 0
        self.damaged = []
        self.size = None

    def frames(self) -> Iterator[av.VideoFrame]:
        """Give the decoded frames from where the container stands."""
        for packet in demuxed(self.container, self.stream):
            self.feed(packet)
            try:
                decoded = packet.decode()
            except (av.InvalidDataError, EOFError):
                self.n_errors += 1
                continue
            for frame in decoded:
                size = (frame.width, frame.height)
                if size != (self.size or size):
                    raise DataError(
                        f"{self.path} changes from {self.size[0]} x {self.size[1]} to "
                        f"{size[0]} x {size[1]} pixels after {self.n_read} frames. "
                        "Split it there or convert it to one size."
                    )
                self.size = size
                self.n_read += 1
                yield frame

    def feed(self, packet):
        """Look at a packet before it is decoded."""

    def numbered(self) -> Iterator[tuple[int, float, av.VideoFrame]]:
        """Give number, time and frame from the start of the file, without an index."""
        pending: list[int] = []
        self.feed = lambda packet: self._note(packet, pending)
        index, first = -1, None
        for frame in self.frames():
            index += 1
            if self.exact and frame.pts is not None and pending:
                first = pending[0] if first is None else first
                while pending and pending[0] < frame.pts:  # these did not decode
                    heapq.heappop(pending)
                    index += 1
                if pending and pending[0] == frame.pts:
                    heapq.heappop(pending)
                time = float((frame.pts - first) * self.stream.time_base)
            elif self.rate:
                time = float(index / self.rate)
            else:
                raise DataError(
                    f"{self.path} has neither time stamps nor a frame rate. "
                    "Convert it to mp4 with the rate at which it was recorded."
                )
            if frame.is_corrupt:
                self.damaged.append(index)
            yield index, time, frame

    def _note(self, packet, pending):
        """Remember the stamp of a packet that will be shown."""
        if packet.size and packet.is_discard:
            self.n_discarded += 1
        elif packet.size and packet.pts is not None:
            heapq.heappush(pending, packet.pts)

    def warn(self, complete):
        """Say what was wrong; a short file only after it was read to its end."""
        faults = []
        claimed = None if self.claimed is None else self.claimed - self.n_discarded
        if complete and claimed is not None and self.n_read < claimed:
            faults.append(
                f"claims {claimed} frames but {self.n_read} could be read; the rest is missing"
            )
        if self.n_errors:
            faults.append(f"holds {self.n_errors} packets that do not decode")
        if self.damaged:
            some = ", ".join(str(index) for index in self.damaged[:5])
            more = ", ..." if len(self.damaged) > 5 else ""
            faults.append(f"has {len(self.damaged)} damaged frames ({some}{more})")
        if faults:
            warnings.warn(
                f"{self.path} {' and '.join(faults)}. Copy it again from its source if you can.",
                DataWarning,
                stacklevel=4,
            )


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
        frame = next(_Decoder(path, container, stream).frames(), None)
        if frame is None:
            raise DataError(
                f"{path}: no frame of it can be decoded. Copy it again from its source."
            )
        size = (frame.width, frame.height)
        rate = stream.average_rate or stream.guessed_rate
        duration = None
        if stream.duration is not None:
            duration = float(stream.duration * stream.time_base)
        elif container.duration is not None:
            duration = container.duration / av.time_base
        return VideoInfo(
            path,
            size[::-1] if round(frame.rotation / 90) % 2 else size,
            float(rate) if rate else float("nan"),
            stream.frames or None,
            duration,
        )


def count_frames(path: str | Path) -> int:
    """Count the frames of a video by its packets, without decoding them.

    Warns (`DataWarning`) where the file claims more than it holds.
    """
    path = Path(path)
    if path.is_dir():
        return len(_folder_files(path))
    index = packet_index(path)
    n_frames = len(index.seconds)
    if index.claimed is not None and n_frames < index.claimed:
        warnings.warn(
            f"{path} claims {index.claimed} frames but holds {n_frames}. "
            "Copy it again from its source if you can.",
            DataWarning,
            stacklevel=2,
        )
    return n_frames


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


def read_frame(path: str | Path, index: int, *, pixels: str = "rgb") -> np.ndarray:
    """Read one frame of a video or of a folder of pictures.

    Parameters
    ----------
    path : path
        The video.
    index : int
        Number of the frame, from 0.
    pixels : {"rgb", "luma"}
        What to give.

    Returns
    -------
    ndarray of uint8 of shape (height, width, 3) or (height, width)

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
    pixels : {"rgb", "luma"}
        Colour, or brightness from 0 to 255 (what the file stores: quicker).

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
        size, first = size or image.shape[:2], first or path
        if image.shape[:2] != size:
            raise DataError(
                f"{path} has {image.shape[1]} x {image.shape[0]} pixels and {first.name} has "
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
        yield from _read_all(path, pixels)
    else:
        missing = []
        index = packet_index(path)
        read = _read_by_seeking if index.seekable else _read_by_counting
        yield from read(path, wanted, pixels, index, missing)
        _warn_missing(path, missing, len(index.seconds))
    after = path.stat()
    if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise DataError(
            f"{path} changed while it was read ({before.st_size} bytes at the start, "
            f"{after.st_size} at the end). Wait until it is recorded or copied, then start again."
        )


def _read_all(path, pixels):
    """Read a file from its start to its end."""
    with opened(path) as (container, stream):
        decoder = _Decoder(path, container, stream)
        for index, time, frame in decoder.numbered():
            yield Frame(index, time, _image(frame, pixels))
        decoder.warn(complete=True)


def _read_by_counting(path, wanted, pixels, index, missing):
    """Read chosen frames of a file whose stamps say nothing: decode from the start."""
    waiting = iter(wanted)
    target = next(waiting, None)
    with opened(path) as (container, stream):
        decoder = _Decoder(path, container, stream)
        for number, _, frame in decoder.numbered():
            while target is not None and target < number:
                missing.append(target)
                target = next(waiting, None)
            if target is None:
                break
            if target == number:
                yield Frame(number, float(index.seconds[number]), _image(frame, pixels))
                target = next(waiting, None)
                if target is None:
                    break
    missing.extend([] if target is None else [target, *waiting])


def _read_by_seeking(path, wanted, pixels, index: PacketIndex, missing):
    """Read chosen frames, jumping to the last key frame before each where that is quicker."""
    key_numbers = np.searchsorted(index.stamps, index.keys)
    with opened(path) as (container, stream):
        decoder = _Decoder(path, container, stream)
        flow, number, frame = decoder.frames(), -1, None

        def advance(target):
            """Decode up to the target; tell its number, or that of the first frame after it."""
            nonlocal number, frame
            while number < target:
                frame = next(flow, None)
                if frame is None:
                    number = len(index.stamps)
                    return
                if frame.pts is None or frame.pts < index.stamps[0]:
                    continue  # shown before the edit list starts
                number = int(np.searchsorted(index.stamps, frame.pts))

        def seek(key):
            """Jump to a key frame."""
            nonlocal flow, number, frame
            container.seek(int(index.keys[key]), stream=stream)
            flow, number, frame = decoder.frames(), -1, None

        for target in wanted:
            if target >= len(index.stamps):
                missing.append(target)
                continue
            key = int(np.searchsorted(index.keys, index.stamps[target], side="right")) - 1
            jumps = key >= 0 and key_numbers[key] > max(number, 0) + SEEK_GAIN
            if jumps:
                seek(key)
            advance(target)
            # a seek that lands late starts again from earlier key frames, last from the first
            while jumps and number > target and key > 0:
                key = key - 1 if key % 8 else 0
                seek(key)
                advance(target)
            if number == target and frame is not None and frame.pts == index.stamps[target]:
                image = _image(frame, pixels)
                if frame.is_corrupt:
                    decoder.damaged.append(int(target))
                yield Frame(int(target), float(index.seconds[target]), image)
            else:
                missing.append(target)
        decoder.warn(complete=False)


class VideoWriter:
    """Writes H.264 in mp4 that browsers play and jump in, whole or not at all.

    Use it in a ``with`` block; if the block raises, no file is left.

    Parameters
    ----------
    path : path
        The .mp4 to make.
    fps : float or Fraction
        Frames per second.
    crf : int
        Quality from 0 (lossless) to 51; 18 looks like the original, 23 is half the size.

    Examples
    --------
    ``with VideoWriter("out.mp4", 30) as video: video.write(image)``
    """

    def __init__(self, path: str | Path, fps: float | Fraction, *, crf: int = 23):
        self.path = Path(path)
        self.fps = Fraction(fps).limit_denominator(100_000)
        if self.path.suffix.lower() != ".mp4":
            raise ValueError(f"{path} ends in {self.path.suffix!r}; videos are written as .mp4.")
        if self.fps <= 0:
            raise ValueError(f"fps is {fps}; expected a number above 0.")
        self.crf = int(crf)
        self._shape = None
        self._stream = None

    def __enter__(self) -> "VideoWriter":
        self._saving = atomic_path(self.path)
        self._container = av.open(
            str(self._saving.__enter__().absolute()),
            "w",
            format="mp4",
            options={"movflags": "+faststart"},
        )
        return self

    def write(self, image: np.ndarray) -> None:
        """Add a frame, ndarray of uint8 of shape (height, width, 3) RGB or (height, width)."""
        image = np.asarray(image)
        if image.ndim == 2:
            image = np.repeat(image[..., np.newaxis], 3, axis=2)
        if image.dtype != np.uint8 or image.shape != (self._shape or (*image.shape[:2], 3)):
            raise ValueError(
                f"The frame has shape {image.shape} and type {image.dtype}; expected "
                f"{self._shape or '(height, width, 3)'} of uint8."
            )
        if self._stream is None:
            self._start(image.shape)
        height, width = image.shape[:2]
        if height % 2 or width % 2:  # 4:2:0 colour needs even sides: repeat the last line
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        self._container.mux(self._stream.encode(frame))

    def _start(self, shape):
        """Open the encoder for frames of a shape."""
        self._shape = shape
        stream = self._container.add_stream(
            "libx264", rate=self.fps, options={"crf": str(self.crf), "preset": "veryfast"}
        )
        stream.height, stream.width = (side + side % 2 for side in shape[:2])
        stream.pix_fmt = "yuv420p"
        # a key frame every half second: viewers jump at once
        stream.codec_context.gop_size = int(min(max(self.fps / 2, 15), 30))
        self._stream = stream

    def __exit__(self, kind, error, trace) -> None:
        try:
            if kind is None and self._stream is None:
                raise DataError(f"{self.path}: no frame was written, so there is no video.")
            if kind is None:
                self._container.mux(self._stream.encode(None))
        except BaseException as failure:
            self._container.close()
            self._saving.__exit__(type(failure), failure, failure.__traceback__)
            raise
        self._container.close()
        self._saving.__exit__(kind, error, trace)
