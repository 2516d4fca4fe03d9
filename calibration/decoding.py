"""Frames out of an opened video: numbered, timed, upright, and what was wrong with them."""

import contextlib
import heapq
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from calibration.containers import (
    Claim,
    PacketIndex,
    check_rate,
    demuxed,
    opened,
    stamps_are_exact,
)
from calibration.errors import DataError, DataWarning
from calibration.planes import Planes, to_planes

#: Seeking flushes the decoder; below this many frames decoding on is as quick.
SEEK_GAIN = 8

#: Formats whose plane 0 is 8-bit brightness.
_LUMA_PLANES = ("gray", "yuv4", "yuvj4", "yuva4", "nv12", "nv21", "nv16")

#: FFmpeg's code of the full colour range.
_FULL = 2

#: FFmpeg's codes of the colour matrices that are BT.601, and of none given, which counts as it.
_BT601 = (2, 5, 6)

_LIMITED_TO_FULL = np.clip(np.round((np.arange(256) - 16.0) * 255 / 219), 0, 255).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame.

    Attributes
    ----------
    index : int
        Its number in the video, from 0.
    time : float
        Seconds since the first frame.
    image : ndarray of uint8 of shape (height, width, 3) or (height, width), or Planes
        RGB, luma, or what the file stores.
    """

    index: int
    time: float
    image: np.ndarray | Planes


def _plane(plane, width, height):
    """Return a plane of a frame as an array, without copying it."""
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    return rows[:height, :width]


def _luma(frame):
    """Brightness of a frame, 0 to 255: plane 0 where that is what it holds."""
    name = frame.format.name
    if not name.startswith(_LUMA_PLANES) or frame.format.components[0].bits != 8:
        return frame.to_ndarray(format="gray")
    image = _plane(frame.planes[0], frame.width, frame.height)
    full = name.startswith(("gray", "yuvj")) or frame.color_range == _FULL
    return image.copy() if full else cv2.LUT(image, _LIMITED_TO_FULL)


def _planes(frame):
    """Brightness and colour of a frame: its own planes where they are BT.601, 16 to 235."""
    name = frame.format.name
    if not name.startswith(("yuv4", "yuvj4")) or frame.format.components[0].bits != 8:
        return to_planes(frame.to_ndarray(format="rgb24"))
    full = name.startswith("yuvj") or frame.color_range == _FULL
    if full or frame.colorspace not in _BT601:
        frame = frame.reformat(
            format="yuv420p",
            dst_colorspace=Colorspace.ITU601,
            dst_color_range=ColorRange.MPEG,
        )
    # the arrays keep the frame's memory alive
    return Planes(*(_plane(plane, plane.width, plane.height) for plane in frame.planes[:3]))


def _image(frame, pixels):
    """Turn a decoded frame into upright arrays."""
    if pixels == "planes":
        planes, quarter_turns = _planes(frame), round(frame.rotation / 90) % 4
        return Planes(*(np.rot90(part, quarter_turns) for part in planes))
    image = _luma(frame) if pixels == "luma" else frame.to_ndarray(format="rgb24")
    quarter_turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, quarter_turns)) if quarter_turns else image


class Decoder:
    """Decodes a stream, numbers what comes out, and counts what is wrong with it.

    The number of a frame is the rank of its stamp among the packets fed so far: whatever is
    shown before it has been fed before it comes out, so no scan of the file is needed.
    """

    def __init__(self, path, container, stream):
        self.path = path
        self.container = container
        self.stream = stream
        self.exact = stamps_are_exact(container, stream)
        self.claim = Claim.of(container, stream)
        self.n_read = 0
        self.seconds = 0.0
        self.n_discarded = 0
        self.n_errors = 0
        self.damaged = []
        self.size = None

    def frames(self) -> Iterator[av.VideoFrame]:
        """Give the decoded frames from where the container stands."""
        for packet in demuxed(self.container, self.stream):
            self.feed(packet)
            if packet.size and packet.is_corrupt:  # decoders fill the missing rest with grey
                self.n_errors += 1
                continue
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

    def prime(self):
        """Decode the first packet of the file.

        It alone says which x264 wrote the file, and without that the decoder takes 4:4:4 of
        versions before 151 for what later ones write: grey frames after every jump.
        """
        for packet in demuxed(self.container, self.stream):
            if packet.size:
                with contextlib.suppress(av.InvalidDataError, EOFError):
                    packet.decode()
                return

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
            else:
                check_rate(self.path, self.claim.rate)
                time = index / self.claim.rate
            self.seconds = time
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
        shortfall = self.claim.shortfall(self.n_read, self.n_discarded, self.seconds)
        if complete and shortfall:
            faults.append(shortfall)
        if self.n_errors:
            faults.append(f"lost {self.n_errors} to damage")
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


def read_all(path, pixels):
    """Read a file from its start to its end."""
    with opened(path) as (container, stream):
        decoder = Decoder(path, container, stream)
        for index, time, frame in decoder.numbered():
            yield Frame(index, time, _image(frame, pixels))
        decoder.warn(complete=True)


def read_by_counting(path, wanted, pixels, index, missing):
    """Read chosen frames of a file whose stamps say nothing: decode from the start."""
    waiting = iter(wanted)
    target = next(waiting, None)
    with opened(path) as (container, stream):
        decoder = Decoder(path, container, stream)
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


def read_by_seeking(path, wanted, pixels, index: PacketIndex, missing):
    """Read chosen frames, jumping to the last key frame before each where that is quicker."""
    key_numbers = np.searchsorted(index.stamps, index.keys)
    with opened(path) as (container, stream):
        decoder = Decoder(path, container, stream)
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
            if decoder.n_read == 0:
                decoder.prime()
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
