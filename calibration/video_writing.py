"""H.264 that browsers play and jump in."""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from calibration.errors import DataError
from calibration.files import atomic_path
from calibration.planes import Planes

#: FFmpeg's codes of the colour matrix and range that RGB is converted to.
_BT601, _LIMITED = 6, 1

#: Frames that wait for the encoder.
_WAITING = 3


class VideoWriter:
    """Writes H.264 in mp4 that browsers play and jump in, whole or not at all.

    Use it in a ``with`` block; if the block raises, no file is left. A thread encodes while the
    next frames are made.

    Parameters
    ----------
    path : path
        The .mp4 to make.
    fps : float or Fraction
        Frames per second.
    crf : int
        Quality from 0 (lossless) to 51; 18 looks like the original, 23 is half the size.
    max_bit_rate : float, optional
        Bits per second beyond which quality gives way, averaged over two seconds.
    quick : bool
        Encode in half the time, to a file larger by a tenth.

    Examples
    --------
    ``with VideoWriter("out.mp4", 30) as video: video.write(image)``
    """

    def __init__(
        self,
        path: str | Path,
        fps: float | Fraction,
        *,
        crf: int = 23,
        max_bit_rate: float | None = None,
        quick: bool = False,
    ):
        self.path = Path(path)
        self.fps = Fraction(fps).limit_denominator(100_000)
        if self.path.suffix.lower() != ".mp4":
            raise ValueError(f"{path} ends in {self.path.suffix!r}; videos are written as .mp4.")
        if self.fps <= 0:
            raise ValueError(f"fps is {fps}; expected a number above 0.")
        self._options = {"crf": str(int(crf)), "preset": "veryfast"}
        if quick:
            self._options |= {"x264-params": "subme=1:bframes=0"}
        if max_bit_rate is not None:
            rate = min(round(max_bit_rate), 10**9)  # the encoder counts in 32 bits
            self._options |= {"maxrate": str(rate), "bufsize": str(2 * rate)}
        self._shape = None
        self._stream = None
        self._thread = ThreadPoolExecutor(1)
        self._waiting: deque[Future] = deque()

    def __enter__(self) -> "VideoWriter":
        self._saving = atomic_path(self.path)
        self._container = av.open(
            str(self._saving.__enter__().absolute()),
            "w",
            format="mp4",
            options={"movflags": "+faststart"},
        )
        return self

    def write(self, image: np.ndarray | Planes) -> None:
        """Add a frame; it is copied, so that its memory can be used again.

        Parameters
        ----------
        image : ndarray of uint8 of shape (height, width, 3) RGB or (height, width), or Planes
            Planes, of even size and colour of half size, are quickest.
        """
        planes = isinstance(image, Planes)
        image = image if planes else np.asarray(image)
        shape = (*image.y.shape, 3) if planes else _checked(image, self._shape)
        if shape != (self._shape or shape):
            raise ValueError(f"The frame has shape {shape}; expected {self._shape}.")
        if self._stream is None:
            self._start(shape)
        while len(self._waiting) >= _WAITING:
            self._waiting.popleft().result()
        frame = _from_planes(image) if planes else _from_rgb(image)
        self._waiting.append(self._thread.submit(self._encode, frame))

    def _encode(self, frame):
        """Encode a frame, or what is left, and write it."""
        self._container.mux(self._stream.encode(frame))

    def _start(self, shape):
        """Open the encoder for frames of a shape."""
        self._shape = shape
        stream = self._container.add_stream("libx264", rate=self.fps, options=self._options)
        stream.height, stream.width = (side + side % 2 for side in shape[:2])
        stream.pix_fmt = "yuv420p"
        # the conversion is BT.601; untagged, players guess BT.709 for large pictures
        stream.codec_context.colorspace = _BT601
        stream.codec_context.color_range = _LIMITED
        # a key frame every half second: viewers jump at once
        stream.codec_context.gop_size = int(min(max(self.fps / 2, 15), 30))
        self._stream = stream

    def __exit__(self, kind, error, trace) -> None:
        try:
            if kind is None and self._stream is None:
                raise DataError(f"{self.path}: no frame was written, so there is no video.")
            if kind is None:
                for waiting in self._waiting:
                    waiting.result()
                self._encode(None)
        except BaseException as failure:
            self._close()
            self._saving.__exit__(type(failure), failure, failure.__traceback__)
            raise
        self._close()
        self._saving.__exit__(kind, error, trace)

    def _close(self):
        """End the thread, then the file."""
        self._thread.shutdown(cancel_futures=True)
        self._container.close()


def _checked(image, expected):
    """Return the shape of an RGB picture made of an image, or refuse it."""
    shape = (*image.shape, 3) if image.ndim == 2 else image.shape
    if image.dtype != np.uint8 or shape != (expected or (*shape[:2], 3)):
        raise ValueError(
            f"The frame has shape {image.shape} and type {image.dtype}; expected "
            f"{expected or '(height, width, 3)'} of uint8."
        )
    return shape


def _from_rgb(image):
    """Make a frame of an RGB or grey picture."""
    if image.ndim == 2:
        image = np.repeat(image[..., np.newaxis], 3, axis=2)
    height, width = image.shape[:2]
    if height % 2 or width % 2:  # 4:2:0 colour needs even sides: repeat the last line
        image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")


def _from_planes(planes):
    """Make a frame of planes."""
    height, width = planes.y.shape
    frame = av.VideoFrame(width, height, "yuv420p")
    for plane, part in zip(frame.planes, planes, strict=True):
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        rows[:, : plane.width] = part
    return frame
