"""Search the pictures and videos of several cameras for a board."""

import hashlib
import json
import logging
import os
import warnings
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from calibration.arrays import name_tuple
from calibration.boards import Board, BoardDetections, CharucoBoard
from calibration.detection import MIN_CORNERS, detect_board
from calibration.errors import CalibrationError, DataError, DataWarning
from calibration.files import atomic_path
from calibration.recognition import describe, recognise_board
from calibration.sources import Pictures, Video, camera_stream, find_camera_videos
from calibration.video import count_frames, frame_times

__all__ = ["detect_boards", "find_camera_videos"]

_log = logging.getLogger(__name__)

#: Frames of each video that are looked at, spread over its length.
_LOOKS = 300
#: Stretches of consecutive frames that are looked at besides, and their length: from them it is
#: seen whether a camera is late by a frame or lost one.
_BURSTS = 3
_BURST = 12

#: Pictures in which the layout and print of the board are found out.
_SAMPLES = 12


def detect_boards(
    board: Board,
    sources: Mapping[str, str | os.PathLike],
    *,
    progress: Callable[[int, int], None] | None = None,
    keep: str | os.PathLike | None = None,
) -> BoardDetections:
    """Detect a board in the simultaneous pictures or videos of several cameras.

    Pictures belong together by the last number in their names, frames of videos by their number.
    Of videos, some 300 frames spread over the length are looked at, and a few stretches of
    consecutive frames in which several cameras see the board; all moments with a board are
    kept. Every core works.

    Parameters
    ----------
    board : Checkerboard or CharucoBoard
        The board; whether a ChArUco board has the layout from before OpenCV 4.6 or is printed
        white on black is found out.
    sources : mapping of str to path
        For each camera a video, a folder of pictures, or a pattern such as "back/*.jpg".
    progress : callable, optional
        Told how many pictures are done and how many there are.
    keep : path, optional
        A folder for what each camera's search found: a search that was interrupted goes on
        with the next camera. It is for the caller to remove.

    Returns
    -------
    BoardDetections
        With the board as it was found.

    Raises
    ------
    FileNotFoundError
        If a camera has no pictures.
    CalibrationError
        If the pictures show another board, or none at all.
    DataError
        If a camera's pictures differ in size, or it is not known which pictures of the cameras
        belong together.
    """
    if not sources:
        raise ValueError("sources is empty; expected a video or folder of pictures per camera.")
    cameras = name_tuple("sources", sources)
    streams = [camera_stream(name, source) for name, source in sources.items()]
    moments = _moments(streams)
    asked = board
    board = recognise_board(asked, _samples(streams, moments))
    if board != asked:
        _log.warning(
            "The pictures show the %s; the %s was given.", describe(board), describe(asked)
        )
    kept = None if keep is None else Path(keep)
    corners = _search(board, streams, moments, progress, kept)
    more = _burst_moments(streams, moments, corners)
    if len(more):
        extra = _search(board, streams, more, progress, None)
        moments, order = np.unique(np.concatenate([moments, more]), return_index=True)
        corners = np.concatenate([corners, extra], axis=1)[:, order]
    seen = np.isfinite(corners[..., 0]).any(axis=2)
    if not seen.any():
        raise CalibrationError(
            f"No board was found in the pictures of {', '.join(cameras)} ({len(moments)} moments "
            f"looked at). Check that they show the {describe(board)}, sharp and lit, and measure "
            "its counts of squares against the print."
        )
    _name_mirrored(board, streams, moments, seen)
    there = np.flatnonzero(seen.any(axis=0))
    sizes = np.array([stream.size for stream in streams])
    return BoardDetections(
        corners[:, there],
        cameras,
        board,
        sizes,
        moments[there],
        tuple(str(source) for source in sources.values()),
    )


def _moments(streams):
    """Return the numbers of the moments to look at, rising."""
    videos = [stream for stream in streams if isinstance(stream, Video)]
    if not videos:
        return _picture_moments(streams)
    if len(videos) < len(streams):
        raise DataError(
            f"Cameras {', '.join(video.name for video in videos)} have videos and the others "
            "pictures; give all of them the same, so that it is known which were taken at the "
            "same time."
        )
    rates = {video.name: video.info.fps for video in videos}
    if max(rates.values()) > 1.01 * min(rates.values()):
        told = ", ".join(f"{name} {rate:.4g}" for name, rate in rates.items())
        raise DataError(
            f"The board videos run at different rates ({told} frames per second), so equal frames "
            "are not equal moments. Record them at one rate, or convert them to it."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # reading says it again
        lengths = {video.name: count_frames(video.path) for video in videos}
    if max(lengths.values()) > min(lengths.values()) + 1:
        told = ", ".join(f"{name} {count}" for name, count in lengths.items())
        _warn(
            f"The board videos differ in length ({told} frames); frames are taken as simultaneous "
            "from the first on. See that the cameras started together."
        )
    n_frames = min(lengths.values())
    _name_gaps(videos, n_frames)
    return np.unique(np.linspace(0, n_frames - 1, min(n_frames, _LOOKS)).round().astype(int))


def _name_gaps(videos, n_frames):
    """Say where one camera lost frames that the others have."""
    if len(videos) < 2 or n_frames < 3:
        return
    steps = np.array([np.diff(frame_times(video.path)[:n_frames]) for video in videos])
    usual = np.median(steps)
    lost = steps > 1.5 * usual
    for video, gaps, step in zip(videos, lost & ~lost.all(axis=0), steps, strict=True):
        if gaps.any():
            first = int(np.flatnonzero(gaps)[0])
            _warn(
                f"Camera {video.name!r} lost frames {gaps.sum()} times, first after frame {first} "
                f"({step[first] / usual - 1:.0f} frames); its later frames are not simultaneous "
                "with the other cameras'. Use the part before it, or record again."
            )


def _picture_moments(streams):
    """Return the numbers of pictures that were taken together."""
    numbers = [set(stream.files) for stream in streams]
    if not all(stream.numbered for stream in streams) or not set.intersection(*numbers):
        # names say nothing, or each camera counts for itself
        counts = {stream.name: len(stream.files) for stream in streams}
        if len(set(counts.values())) > 1:
            told = ", ".join(f"{name} {count}" for name, count in counts.items())
            raise DataError(
                f"It is not known which pictures belong together: the cameras have {told} pictures "
                "and their names share no numbers. Let the last number in each name be that of "
                "the moment."
            )
        for stream in streams:
            stream.by_position()
    return np.array(sorted(set().union(*(stream.files for stream in streams))))


def _samples(streams, moments):
    """Read a few pictures of all cameras, spread over the moments."""
    each = max(2, _SAMPLES // len(streams))
    pictures = []
    for i, stream in enumerate(streams[:_SAMPLES]):
        own = np.array(stream.wanted(moments))
        # not the same moments everywhere: the board is seldom in front of all cameras
        places = np.linspace(0, len(own) - 1, each + 1)[: each + 1] + i * len(own) / len(streams)
        some = own[np.unique(np.round(places).astype(int) % len(own))]
        pictures += [image for _, image in stream.images(some)]
    return pictures


def _burst_moments(streams, moments, corners):
    """Return consecutive frames around moments at which several cameras see the board."""
    if not isinstance(streams[0], Video) or len(moments) < 2 or np.diff(moments).min() <= 1:
        return np.zeros(0, dtype=moments.dtype)
    shared = np.flatnonzero(np.isfinite(corners[..., 0]).any(axis=2).sum(axis=0) >= 2)
    if len(shared) == 0:
        return np.zeros(0, dtype=moments.dtype)
    middle = moments[shared[np.linspace(0, len(shared) - 1, _BURSTS + 2).astype(int)[1:-1]]]
    wanted = (middle[:, np.newaxis] + np.arange(_BURST) - _BURST // 2).ravel()
    wanted = np.unique(wanted[(wanted >= 0) & (wanted <= moments.max())])
    return np.setdiff1d(wanted, moments)


def _kept_file(folder, stream, board, moments):
    """Return the file in which a camera's finished search lies, by all that it depends on."""
    about = [stream.name, repr(board), np.asarray(moments).tolist(), MIN_CORNERS]
    paths = [stream.path] if isinstance(stream, Video) else list(stream.files.values())
    for path in paths:
        found = os.stat(path)
        about += [str(path), found.st_size, found.st_mtime_ns]
    digest = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:24]
    return folder / f"{digest}.npy"


def _read_kept(path, shape):
    """Return what an earlier search found, None where there is none that is whole."""
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.shape == shape else None


def _search(board, streams, moments, progress, keep=None):
    """Look for a board at all moments, every core at work, (n_cameras, n_moments, n_corners, 2)."""
    corners = np.full((len(streams), len(moments), board.n_corners, 2), np.nan)
    place = {int(moment): i for i, moment in enumerate(moments)}
    total = sum(len(stream.wanted(moments)) for stream in streams)
    done = 0

    def collect(camera, moment, found):
        nonlocal done
        corners[camera, place[moment]] = found.result()
        done += 1
        if progress:
            progress(done, total)

    n_workers = os.cpu_count() or 1
    with ThreadPoolExecutor(n_workers) as pool:
        waiting = deque()  # short: pictures must not pile up in memory
        try:
            for camera, stream in enumerate(streams):
                kept = None if keep is None else _kept_file(keep, stream, board, moments)
                old = None if kept is None else _read_kept(kept, corners[camera].shape)
                if old is not None:
                    corners[camera] = old
                    done += len(stream.wanted(moments))
                    continue
                careful = isinstance(stream, Pictures)
                for moment, image in stream.images(moments):
                    waiting.append((camera, moment, pool.submit(_look, board, image, careful)))
                    if len(waiting) > 2 * n_workers:
                        collect(*waiting.popleft())
                while waiting:
                    collect(*waiting.popleft())
                if kept is not None:
                    kept.parent.mkdir(parents=True, exist_ok=True)
                    with atomic_path(kept) as temporary, open(temporary, "wb") as file:
                        np.save(file, corners[camera])
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return corners


def _look(board, image, careful):
    """Look for a board in a picture.

    Of a picture that somebody took a board is expected; most frames of a video show none, and
    a quick look tells which.
    """
    found = detect_board(board, image, thorough=careful)
    if not careful and MIN_CORNERS <= np.isfinite(found[:, 0]).sum() < board.n_corners:
        return detect_board(board, image)
    return found


def _name_mirrored(board, streams, moments, seen):
    """Say which cameras see the board mirrored where others see it well."""
    if not isinstance(board, CharucoBoard):
        return
    promising = moments[seen.any(axis=0)]
    some = promising[np.unique(np.linspace(0, len(promising) - 1, 6).round().astype(int))]
    for stream, views in zip(streams, seen, strict=True):
        if views.any():
            continue
        for _, image in stream.images(some):
            if np.isfinite(detect_board(board, np.ascontiguousarray(image[:, ::-1]))).any():
                _warn(
                    f"Camera {stream.name!r} sees the board mirrored, and so not at all: it looks "
                    "at the back of a thin print, or its pictures are mirrored. Show it the "
                    "front, or switch mirroring off in the recording program."
                )
                break


def _warn(message):
    """Warn whoever called `detect_boards`."""
    warnings.warn(message, DataWarning, stacklevel=4)
