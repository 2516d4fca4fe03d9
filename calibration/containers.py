"""Video files before a frame is decoded: what kind they are, and which frames they hold."""

import contextlib
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import av
import numpy as np

from calibration.errors import DataError

#: Seconds after which a file that does not open is given up.
OPEN_SECONDS = 10.0

_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")


def check_local_file(path: Path) -> None:
    """Refuse what is not a regular file with something in it: a pipe would block for ever."""
    try:
        status = path.stat()
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no video {path}.") from None
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{path} is not a regular file; a video must be a file on a disk.")
    if status.st_size == 0:
        raise DataError(f"{path} is empty (0 bytes). Copy it again from its source.")


def container_format(path: Path) -> str:
    """Tell the container of a video file by its first bytes, never by its name.

    A playlist named .mp4 would make the decoder open other files; only containers that hold
    their own pictures are let through.

    Returns
    -------
    str
        FFmpeg's name of the format.
    """
    with open(path, "rb") as file:
        head = file.read(600)
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"):
        return "mov"
    if head[:4] == b"RIFF" and head[8:11] == b"AVI":
        return "avi"
    if head[:4] == b"\x1aE\xdf\xa3":
        return "matroska"
    if head[:16] == _ASF:
        return "asf"
    if head[:3] == b"FLV":
        return "flv"
    if head[:4] == b"\x00\x00\x01\xba":
        return "mpeg"
    if head[:1] == head[188:189] == head[376:377] == b"G":
        return "mpegts"
    raise DataError(
        f"{path} is not a video that can be read: it starts with {head[:12]!r}, which is none of "
        "mp4, mov, avi, mkv, webm, wmv, flv, mpg and ts. Convert it to mp4 first."
    )


def _has_moov(path):
    """Tell whether the boxes of an mp4 or mov file include its index."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        position = 0
        while position + 8 <= size:
            file.seek(position)
            head = file.read(16)
            length = int.from_bytes(head[:4], "big")
            if head[4:8] in (b"moov", b"moof"):
                return True
            if length == 1:
                length = int.from_bytes(head[8:16], "big")
            if length < 8:
                return False
            position += length
    return False


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Open a video file and its main picture stream; both threads of decoding are on.

    Raises
    ------
    FileNotFoundError, DataError
        If it is missing, not a video, or cannot be opened; the message says why.
    """
    check_local_file(path)
    name = container_format(path)
    try:
        container = av.open(
            # an absolute path is never taken for the address of a protocol
            str(path.absolute()),
            format=name,
            options={"protocol_whitelist": "file"},
            metadata_errors="replace",
            timeout=(OPEN_SECONDS, None),
        )
    except (av.FFmpegError, OSError) as error:
        if name == "mov" and not _has_moov(path):
            raise DataError(
                f"{path} was never finished: its index (moov) is missing, because the recording "
                "was cut off or the copy is incomplete. Copy it again, or repair it with a tool "
                "such as untrunc and a whole video of the same camera."
            ) from error
        raise DataError(
            f"{path} cannot be opened as a video ({error.strerror or error}). "
            "Copy it again from its source, or convert it to mp4."
        ) from error
    with container:
        if not container.streams.video:
            raise DataError(f"{path} holds no pictures, only sound or data.")
        stream = container.streams.best("video")
        if stream.codec_context is None:
            raise DataError(
                f"{path}: nothing here decodes its pictures. Convert it to H.264 in mp4."
            )
        stream.thread_type = "AUTO"
        yield container, stream


def demuxed(container, stream) -> Iterator[av.Packet]:
    """Give the packets of a stream; a file that breaks off ends instead of raising."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.InvalidDataError:
            return
        if packet is None:
            return
        yield packet


@dataclass(frozen=True, eq=False)
class PacketIndex:
    """The frames of a video as its packets announce them, without decoding any.

    Attributes
    ----------
    stamps : ndarray of int64 of shape (n_frames,)
        Presentation stamps in presentation order.
    keys : ndarray of int64 of shape (n_keys,)
        Stamps of the frames from which decoding can start, sorted.
    seconds : ndarray of shape (n_frames,)
        Time of each frame since the first.
    shortfall : str
        How much less the file holds than it claims, in words; empty where it keeps its word.
    seekable : bool
        Whether a decoded frame's stamp tells its number: every packet has its own stamp.
    """

    stamps: np.ndarray
    keys: np.ndarray
    seconds: np.ndarray
    shortfall: str
    seekable: bool


@dataclass(frozen=True)
class Claim:
    """How much a file says it holds.

    Attributes
    ----------
    n_frames : int or None
        Frames, those hidden by its edit list included; None where it does not say.
    seconds : float or None
        Seconds; None where it does not say, or where they may be those of its sound.
    rate : float
        Frames per second; NaN where it does not say.
    """

    n_frames: int | None
    seconds: float | None
    rate: float

    @classmethod
    def of(cls, container, stream) -> "Claim":
        """Read the claim of an opened file."""
        seconds = None
        if stream.duration is not None:
            seconds = float(stream.duration * stream.time_base)
        elif container.duration is not None and len(container.streams) == 1:
            seconds = container.duration / av.time_base
        rate = stream.average_rate or stream.guessed_rate
        n_frames = stream.frames
        if n_frames and container.format.name.startswith("mov"):
            # samples that an edit list makes unreachable are counted in the header alone
            n_frames = min(n_frames, len(stream.index_entries))
        return cls(n_frames or None, seconds, float(rate) if rate else float("nan"))

    def shortfall(self, n_frames: int, n_hidden: int, seconds: float) -> str:
        """Say how much less was found, in words; empty where the claim holds.

        Parameters
        ----------
        n_frames, n_hidden : int
            Frames found, and those of them that the edit list hides.
        seconds : float
            Time of the last frame found.
        """
        if self.n_frames is not None:
            claimed = self.n_frames - n_hidden
            return f"claims {claimed} frames but holds {n_frames}" if n_frames < claimed else ""
        # where only a duration is stored, the last frame may be shown a little longer
        if self.seconds is not None and self.seconds - seconds > 0.5 + 2 / self.rate:
            return f"claims {self.seconds:.2f} s but ends at {seconds:.2f} s ({n_frames} frames)"
        return ""


def stamps_are_exact(container, stream) -> bool:
    """Tell whether packets carry the stamps of the frames that come out of them.

    AVI knows no presentation stamps. What is made up for it is right only where no frame
    refers to a later one.
    """
    return container.format.name != "avi" or stream.codec_context.codec.intra_only


def check_rate(path: Path, rate: float) -> None:
    """Refuse a file from which no time can be had."""
    if not rate > 0:
        raise DataError(
            f"{path} has neither time stamps nor a frame rate. "
            "Convert it to mp4 with the rate at which it was recorded."
        )


def packet_index(path: Path) -> PacketIndex:
    """Return the packet index of a video file; kept for files that do not change."""
    check_local_file(path)
    status = path.stat()
    return _packet_index(path.absolute(), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _packet_index(path, size, mtime_ns):
    stamps, keys, cut = [], [], []
    n_discarded = n_unstamped = 0
    with opened(path) as (container, stream):
        exact = stamps_are_exact(container, stream)
        claim = Claim.of(container, stream)
        time_base = float(stream.time_base)
        for packet in demuxed(container, stream):
            if not packet.size:
                continue
            stamp = packet.pts
            if packet.is_keyframe and stamp is not None:
                keys.append(stamp)
            if packet.is_discard:
                n_discarded += 1
            elif stamp is None:
                n_unstamped += 1
            elif packet.is_corrupt:
                cut.append(stamp)
            else:
                stamps.extend([*cut, stamp])  # what is cut counts, but not at the file's end
                cut.clear()
    n_frames = len(stamps) + n_unstamped
    stamps = np.sort(np.array(stamps, dtype=np.int64))
    seekable = exact and not n_unstamped and bool(np.all(np.diff(stamps) > 0))
    if seekable:
        seconds = (stamps - stamps[:1]) * time_base
    else:
        check_rate(path, claim.rate)
        seconds = np.arange(n_frames) / claim.rate
    for array in (stamps, seconds):
        array.flags.writeable = False
    return PacketIndex(
        stamps,
        np.sort(np.array(keys, dtype=np.int64)),
        seconds,
        claim.shortfall(n_frames, n_discarded, seconds[-1] if n_frames else 0.0),
        seekable,
    )
