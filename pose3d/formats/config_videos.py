"""The videos of a project: where config.yaml says they are, and where they really are."""

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from calibration.errors import DataError
from calibration.recordings import Recording
from pose3d.formats.config import line_of
from pose3d.formats.config_fields import OurFields

#: What video files are called.
VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")

#: The camera of a project that does not name any, such as DeepLabCut's own.
ONLY_CAMERA = "camera"


def named_recordings(
    config: Mapping[str, Any], path: Path, folder: Path, ours: OurFields
) -> dict[str, Recording]:
    """Make the recordings that our section of a config names.

    Parameters
    ----------
    config : mapping
        The whole config, for the lines of messages.
    path, folder : Path
        The config's file and the project's folder.
    ours : OurFields
        Our section.

    Raises
    ------
    DataError
        If a recording or an offset is of a camera that the project does not have, or a video
        lies outside the project without its whole path being given.
    """
    _check_cameras(config, path, ours)
    return {name: _recording(config, path, folder, name, ours) for name in ours.recordings}


def _check_cameras(config, path, ours):
    """Refuse recordings and offsets of cameras that the project does not have."""
    for key, entries in (("recordings", ours.recordings), ("offsets", ours.offsets)):
        for recording, cameras in entries.items():
            if recording not in ours.recordings:
                line = line_of(config, ("pose3d", key, recording))
                raise DataError(
                    f"{path}, line {line}: pose3d.offsets names {recording!r}, which is no "
                    f"recording; they are {', '.join(ours.recordings) or 'none'}."
                )
            for camera in cameras:
                if camera not in ours.cameras:
                    line = line_of(config, ("pose3d", key, recording, camera))
                    raise DataError(
                        f"{path}, line {line}: pose3d.{key}.{recording} names {camera!r}, which is "
                        f"no camera; they are {', '.join(ours.cameras)}."
                    )


def _recording(config, path, folder, name, ours):
    """Make a recording from its part of the config."""
    videos = ours.recordings[name]
    offsets = ours.offsets.get(name, {})
    cameras = [camera for camera in ours.cameras if camera in videos]
    resolved = {}
    for camera in cameras:
        line = line_of(config, ("pose3d", "recordings", name, camera))
        resolved[camera] = resolve(folder, videos[camera], f"{path}, line {line}", name)
    return Recording(name, resolved, [offsets.get(camera, 0.0) for camera in cameras])


def resolve(folder: Path, text: str, place: str, recording: str = "") -> Path:
    """Find a file that a config names: below the project, or anywhere by its whole path.

    A whole path that leads nowhere, as after a move to another computer, is sought by its name
    among the project's own videos.

    Parameters
    ----------
    folder : Path
        The project.
    text : str
        The path as it is written, of any system.
    place : str
        Where it is written, for messages.
    recording : str
        The recording it belongs to.

    Raises
    ------
    DataError
        If it is relative and leads out of the project.
    """
    windows, posix = PureWindowsPath(text), PurePosixPath(text)
    if posix.is_absolute() or windows.drive or windows.root:
        known = Path(text)
        if known.exists():
            return known
        name = windows.name
        for inside in (folder / "videos" / recording / name, folder / "videos" / name):
            if name and inside.exists():
                return inside
        return known
    if ".." in windows.parts:
        raise DataError(
            f"{place}: {text!r} leads out of the project. Move the file below the project, or "
            "give its whole path."
        )
    return folder.joinpath(*windows.parts)


def deeplabcut_recordings(folder: Path, video_sets: Iterable[str]) -> dict[str, Recording]:
    """Make a recording of each video of a project of DeepLabCut's own.

    Parameters
    ----------
    folder : Path
        The project; videos that lie in its ``videos`` count although they are not listed.
    video_sets : iterable of str
        The videos that config.yaml lists; what is no video there is passed over.
    """
    listed = [text for text in video_sets if PureWindowsPath(text).suffix.lower() in VIDEO_SUFFIXES]
    videos = [resolve(folder, text, folder / "config.yaml") for text in listed]
    if (folder / "videos").is_dir():
        videos += [
            path
            for path in sorted((folder / "videos").iterdir())
            if path.suffix.lower() in VIDEO_SUFFIXES and "_labeled" not in path.stem
        ]
    recordings = {}
    for video in videos:
        recordings.setdefault(video.stem, Recording(video.stem, {ONLY_CAMERA: video}))
    return recordings
