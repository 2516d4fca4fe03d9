"""Search the pictures and videos of several cameras for a board."""

import glob
import os
import re
import threading
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from calibration.boards import Board, BoardDetections
from calibration.detection import MIN_CORNERS, detect_board
from calibration.errors import CalibrationError, DataError, DataWarning
from calibration.images import image_files, read_image
from calibration.recognition import recognise_board
from calibration.recordings import match_camera
from calibration.video import count_frames, probe_video, read_frames

_VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")

#: Frames of each video that are looked at, and moments that are kept: with more than some 60
#: boards the corners' noise is no longer what limits a calibration.
_LOOKS = 300
_MOMENTS = 80

#: Pictures in which the layout and print of the board are found out.
_SAMPLES = 12


def find_camera_videos(
    folder: str | os.PathLike, cameras: list[str] | None = None
) -> dict[str, Path]:
    """Find the video, or the folder of pictures, of each camera.

    Parameters
    ----------
    folder : path
        Holds a file per camera with the camera's name in its name, or a folder per camera, named
        after it, with one video or with pictures (perhaps in a folder "calibration_images").
    cameras : list of str, optional
        Names of the cameras; unless given they are the names of the folders or of the files.

    Returns
    -------
    dict of str to Path
        In the order of the names.

    Raises
    ------
    FileNotFoundError, DataError
        If there is no such folder, a camera has none or several, or none is found at all.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder} with the cameras' board videos.")
    entries = [entry for entry in sorted(folder.iterdir()) if not entry.name.startswith(".")]
    found: dict[str, list[Path]] = {name: [] for name in cameras or ()}
    for entry in entries:
        source = _source(entry)
        name = match_camera(entry.stem, cameras) if cameras else entry.stem
        if source is not None and name is not None:
            found.setdefault(name, []).append(source)
    for name, sources in found.items():
        if len(sources) != 1:
            several = ", ".join(source.name for source in sources) or "none"
            raise DataError(
                f"{folder}: camera {name!r} has {len(sources)} videos or folders of pictures "
                f"({several}); expected one, with the camera's name in its name."
            )
    if not found:
        raise DataError(
            f"{folder} holds no videos and no folders of pictures; expected one per camera, with "
            "the camera's name in its name."
        )
    return {name: sources[0] for name, sources in found.items()}


def _source(entry: Path) -> Path | None:
    """Return the video or the folder of pictures that an entry of a folder stands for."""
    if entry.is_file():
        return entry if entry.suffix.lower() in _VIDEOS else None
    # a session's folder often holds the animal's video beside the pictures of the board
    inside = sorted(entry.glob("*calib*"))
    for place in (*(each for each in inside if each.is_dir()), entry):
        if image_files(place):
            return place
    videos = [each for each in entry.iterdir() if each.suffix.lower() in _VIDEOS]
    boards = [each for each in videos if re.search("calib|board|charuco", each.stem.lower())]
    if len(videos) == 1 or len(boards) == 1:
        return (boards if len(boards) == 1 else videos)[0]
    return None


def detect_boards(
    board: Board,
    sources: Mapping[str, str | os.PathLike],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> BoardDetections:
    """Detect a board in the simultaneous pictures or videos of several cameras.

    Pictures belong together by the last number in their names, frames of videos by their number.
    Of videos, some 300 frames spread over the length are looked at, and the 80 moments that
    cover the images and the pairs of cameras best are kept. Every core works.

    Parameters
    ----------
    board : Checkerboard or CharucoBoard
        The board; whether a ChArUco board has the layout from before OpenCV 4.6 or is printed
        white on black is found out.
    sources : mapping of str to path
        For each camera a video, a folder of pictures, or a pattern such as "back/*.jpg".
    progress : callable, optional
        Told how many pictures are done and how many there are.

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
        If a camera's pictures differ in size, or pictures and videos are mixed.
    """
    streams = {name: _Stream(name, source) for name, source in sources.items()}
    if not streams:
        raise ValueError("sources is empty; expected a video or folder of pictures per camera.")
    if len({stream.is_video for stream in streams.values()}) > 1:
        videos = ", ".join(name for name, stream in streams.items() if stream.is_video)
        raise DataError(
            f"Cameras {videos} have videos and the others pictures; give all of them the same, "
            "so that it is known which were taken at the same time."
        )
    moments = _moments(streams)
    board = recognise_board(board, _samples(streams, moments))
    counter = _Counter(sum(len(stream.wanted(moments)) for stream in streams.values()), progress)
    with ThreadPoolExecutor(max(1, os.cpu_count() or 1)) as pool:
        parts = pool.map(lambda stream: stream.detect(board, moments, counter), streams.values())
        corners = np.stack(list(parts))
    seen = np.isfinite(corners[..., 0]).any(axis=2)
    if not seen.any():
        raise CalibrationError(
            f"No board was found in the {counter.total} pictures of {', '.join(streams)}. Check "
            "the counts of squares and the dictionary in the board file against the print, and "
            "that the pictures are sharp and lit."
        )
    keep = np.flatnonzero(seen.any(axis=0))
    sizes = np.array([stream.size for stream in streams.values()])
    if any(stream.is_video for stream in streams.values()):
        keep = keep[_most_telling(corners[:, keep], sizes)]
    return BoardDetections(
        corners[:, keep],
        tuple(streams),
        board,
        sizes,
        moments[keep],
        tuple(str(source) for source in sources.values()),
    )


class _Counter:
    """Counts pictures from several threads."""

    def __init__(self, total, progress):
        self.total, self._progress, self._done = total, progress, 0
        self._lock = threading.Lock()

    def add(self):
        with self._lock:
            self._done += 1
            if self._progress:
                self._progress(self._done, self.total)


class _Stream:
    """The pictures of one camera, by moment."""

    def __init__(self, name, source):
        self.name = name
        path = Path(source)
        self.is_video = path.is_file() and path.suffix.lower() in _VIDEOS
        self.path = path
        if self.is_video:
            self.size = probe_video(path).image_size
            return
        files = image_files(path) if path.is_dir() else sorted(map(Path, glob.glob(str(source))))
        if not files:
            raise FileNotFoundError(
                f"Camera {name!r}: {source} is no video, no folder of pictures and no pattern "
                "that finds pictures."
            )
        height, width = read_image(files[0], pixels="luma").shape
        self.size = (width, height)
        numbers = [re.findall(r"\d+", file.stem)[-1:] for file in files]
        named = all(numbers) and len({int(n) for (n,) in numbers}) == len(files)
        keys = [int(n) for (n,) in numbers] if named else range(len(files))
        self.files = dict(zip(keys, files, strict=True))

    def wanted(self, moments):
        """Return which of the moments this camera has."""
        return moments if self.is_video else [m for m in moments if int(m) in self.files]

    def images(self, moments):
        """Read the pictures of some moments: number and luma."""
        if self.is_video:
            for frame in read_frames(self.path, frames=moments, pixels="luma"):
                yield frame.index, frame.image
            return
        for moment in self.wanted(moments):
            image = read_image(self.files[int(moment)], pixels="luma")
            if image.shape != self.size[::-1]:
                raise DataError(
                    f"Camera {self.name!r}: {self.files[int(moment)]} has {image.shape[1]} x "
                    f"{image.shape[0]} pixels and its first picture {self.size[0]} x "
                    f"{self.size[1]}; a camera's pictures must have one size."
                )
            yield int(moment), image

    def detect(self, board, moments, counter):
        """Detect the board at every moment, ndarray of shape (n_moments, n_corners, 2)."""
        corners = np.full((len(moments), board.n_corners, 2), np.nan)
        row = {int(moment): i for i, moment in enumerate(moments)}
        for moment, image in self.images(moments):
            # of a picture somebody took, a board is expected; most frames of a video show none
            found = detect_board(board, image, thorough=not self.is_video)
            n_found = np.isfinite(found[:, 0]).sum()
            if self.is_video and MIN_CORNERS <= n_found < board.n_corners:
                found = detect_board(board, image)
            corners[row[moment]] = found
            counter.add()
        return corners


def _moments(streams):
    """Return the numbers of the moments to look at, rising."""
    if not any(stream.is_video for stream in streams.values()):
        return np.array(sorted(set().union(*(stream.files for stream in streams.values()))))
    lengths = {name: count_frames(stream.path) for name, stream in streams.items()}
    if max(lengths.values()) > min(lengths.values()) + 1:
        told = ", ".join(f"{name} {count}" for name, count in lengths.items())
        warnings.warn(
            f"The board videos differ in length ({told} frames); frames are taken as simultaneous "
            "from the first on. See that the cameras started together.",
            DataWarning,
            stacklevel=3,
        )
    n_frames = min(lengths.values())
    return np.unique(np.linspace(0, n_frames - 1, min(n_frames, _LOOKS)).round().astype(int))


def _samples(streams, moments):
    """Read a few pictures of all cameras, spread over the moments."""
    each = max(2, _SAMPLES // len(streams))
    some = moments[np.unique(np.linspace(0, len(moments) - 1, 2 * each).astype(int))]
    pictures = []
    for i, stream in enumerate(list(streams.values())[:_SAMPLES]):
        pictures += [image for _, image in stream.images(some[i % 2 :: 2])]
    return pictures


def _most_telling(corners, sizes):
    """Choose moments that cover the images and the pairs of cameras, rising indices."""
    n_cameras, n_moments = corners.shape[:2]
    if n_moments <= _MOMENTS:
        return np.arange(n_moments)
    cell = np.floor(corners / sizes[:, None, None] * (8, 6)).clip(0, (7, 5))
    index = np.where(np.isfinite(cell[..., 0]), cell[..., 0] * 6 + cell[..., 1], -1).astype(int)
    covered = np.stack([(index == i).any(axis=2) for i in range(48)], axis=-1)
    seen = covered.any(axis=-1)
    # 12 cells' worth for each pair of cameras that sees the board
    first, second = np.triu_indices(n_cameras, 1)
    pairs = np.repeat(seen[first] & seen[second], 12, axis=0)
    features = np.concatenate([covered.transpose(1, 0, 2).reshape(n_moments, -1), pairs.T], axis=1)
    counts = np.zeros(features.shape[1])
    chosen = np.zeros(n_moments, dtype=bool)
    for _ in range(_MOMENTS):
        gain = features @ (1 / (1 + counts) ** 2)
        gain[chosen] = -1
        best = int(gain.argmax())
        chosen[best] = True
        counts += features[best]
    return np.flatnonzero(chosen)
