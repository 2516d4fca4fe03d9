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
    claimed : int or None
        How many frames the file says it has, those hidden by its edit list taken off.
    seekable : bool
        Whether a decoded frame's stamp tells its number: every packet has its own stamp.
    """

    stamps: np.ndarray
    keys: np.ndarray
    seconds: np.ndarray
    claimed: int | None
    seekable: bool


def stamps_are_exact(container, stream) -> bool:
    """Tell whether packets carry the stamps of the frames that come out of them.

    AVI knows no presentation stamps. What is made up for it is right only where no frame
    refers to a later one.
    """
    return container.format.name != "avi" or stream.codec_context.codec.intra_only


def packet_index(path: Path) -> PacketIndex:
    """Return the packet index of a video file; kept for files that do not change."""
    check_local_file(path)
    status = path.stat()
    return _packet_index(path.absolute(), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _packet_index(path, size, mtime_ns):
    stamps, keys = [], []
    n_discarded = n_unstamped = 0
    with opened(path) as (container, stream):
        exact = stamps_are_exact(container, stream)
        claimed = stream.frames or None
        time_base = float(stream.time_base)
        rate = stream.average_rate or stream.guessed_rate
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
            else:
                stamps.append(stamp)
    n_frames = len(stamps) + n_unstamped
    stamps = np.sort(np.array(stamps, dtype=np.int64))
    seekable = exact and not n_unstamped and bool(np.all(np.diff(stamps) > 0))
    if seekable:
        seconds = (stamps - stamps[:1]) * time_base
    elif rate:
        seconds = np.arange(n_frames) / float(rate)
    else:
        raise DataError(
            f"{path} has neither time stamps nor a frame rate. "
            "Convert it to mp4 with the rate at which it was recorded."
        )
    for array in (stamps, seconds):
        array.flags.writeable = False
    return PacketIndex(
        stamps,
        np.sort(np.array(keys, dtype=np.int64)),
        seconds,
        None if claimed is None else claimed - n_discarded,
        seekable,
    )
