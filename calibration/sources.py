"""Where the cameras' board videos and pictures are, and what each camera saw at a moment."""

import glob
import os
import re
import warnings
from pathlib import Path

from calibration.errors import DataError, DataWarning
from calibration.images import SUFFIXES, image_files, natural_key, read_image
from calibration.recordings import match_camera
from calibration.video import probe_video, read_frames

_VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")


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


class Video:
    """The frames of one camera's video, by number."""

    def __init__(self, name, path):
        self.name, self.path = name, path
        self.info = probe_video(path)
        self.size = self.info.image_size

    def wanted(self, moments):
        """Return the moments that this camera may have."""
        return moments

    def images(self, moments):
        """Read the frames of some moments: number and luma."""
        for frame in read_frames(self.path, frames=moments, pixels="luma"):
            yield frame.index, frame.image


class Pictures:
    """The pictures of one camera, by the number in their names."""

    def __init__(self, name, source, files):
        self.name = name
        if not files:
            raise FileNotFoundError(
                f"Camera {name!r}: {source} is no video, no folder of pictures and no pattern "
                "that finds pictures."
            )
        numbers = [re.findall(r"\d+", file.stem)[-1:] for file in files]
        keys = [int(number[0]) for number in numbers if number]
        self.numbered = len(set(keys)) == len(files)
        self.files = dict(zip(keys if self.numbered else range(len(files)), files, strict=True))
        height, width = read_image(files[0], pixels="luma").shape
        self.size = (width, height)

    def wanted(self, moments):
        """Return the moments that this camera has."""
        return [moment for moment in moments if int(moment) in self.files]

    def by_position(self):
        """Forget the numbers in the names; the first picture is number 0."""
        self.files = dict(enumerate(self.files.values()))

    def images(self, moments):
        """Read the pictures of some moments: number and luma."""
        for moment in self.wanted(moments):
            path = self.files[int(moment)]
            try:
                image = read_image(path, pixels="luma")
            except DataError as error:
                warnings.warn(f"{error} It is left out.", DataWarning, stacklevel=2)
                continue
            if image.shape != self.size[::-1]:
                raise DataError(
                    f"Camera {self.name!r}: {path} has {image.shape[1]} x {image.shape[0]} pixels "
                    f"and its first picture {self.size[0]} x {self.size[1]}; a camera's pictures "
                    "must have one size."
                )
            yield int(moment), image


def camera_stream(name: str, source: str | os.PathLike) -> Video | Pictures:
    """Open what a camera recorded: a video, a folder of pictures, or a pattern of pictures."""
    path = Path(source)
    if path.is_dir():
        return Pictures(name, source, image_files(path))
    if path.suffix.lower() in _VIDEOS or (path.is_file() and path.suffix.lower() not in SUFFIXES):
        return Video(name, path)
    found = [Path(file) for file in glob.glob(str(source))]
    return Pictures(name, source, sorted(found, key=lambda file: natural_key(file.name)))
