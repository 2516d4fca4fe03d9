"""A project: config.yaml as a frozen dataclass, and where each of its files lies."""

import difflib
import os
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from calibration.boards import Board
from calibration.errors import DataError
from calibration.recordings import Recording, match_camera
from pose3d.formats.config import line_of, read_config
from pose3d.formats.config_fields import check_fields
from pose3d.skeleton import Skeleton

#: What video files are called.
VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")

#: The individual of a project that does not name any.
ONLY_INDIVIDUAL = "animal"

#: The camera of a project that does not name any, such as DeepLabCut's own.
ONLY_CAMERA = "camera"


@dataclass(frozen=True, eq=False)
class Project:
    """The settings of a project and the places of its files.

    Attributes
    ----------
    path : Path
        The project's folder, absolute.
    task, scorer : str
        What the project is about and who labels.
    skeleton : Skeleton
        Keypoints, edges and symmetric pairs.
    individuals : tuple of str
        Names of the animals; ("animal",) where the config names none.
    cameras : tuple of str
        Names of the cameras; ("camera",) in a project of DeepLabCut's own.
    recordings : mapping of str to Recording
        The takes by name, their videos with absolute paths.
    pcutoff : float
        Likelihood from which a keypoint counts.
    train_fraction : float
        Share of the labelled images to train on, above 0 and at most 1.
    units : str
        Unit of length of everything in 3D.
    board : Checkerboard, CharucoBoard or None
        The printed board, if the config describes one.
    calibration_videos : Path or None
        Folder with the videos of the board, if the config names one.
    plain_deeplabcut : bool
        Whether it is a project of DeepLabCut's own, without our section: one camera, and
        ``labeled-data/<recording>`` folders.
    settings : mapping of str
        All keys of config.yaml as they are written: text, lists and mappings.
    """

    path: Path
    task: str
    scorer: str
    skeleton: Skeleton
    individuals: tuple[str, ...]
    cameras: tuple[str, ...]
    recordings: Mapping[str, Recording]
    pcutoff: float
    train_fraction: float
    units: str
    board: Board | None = None
    calibration_videos: Path | None = None
    plain_deeplabcut: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Project":
        """Load a project; nothing in its folder is changed.

        Parameters
        ----------
        path : path
            The project's folder or its config.yaml. Where the folder lies now counts, not the
            ``project_path`` that DeepLabCut once wrote.

        Raises
        ------
        FileNotFoundError
            If there is no config.yaml.
        DataError
            If config.yaml cannot be read or holds what it cannot hold; the message names the
            line, the field and what is legal.
        """
        path = Path(path)
        config_path = path / "config.yaml" if path.is_dir() else path
        config = read_config(config_path)
        fields = check_fields(config, config_path)
        folder = config_path.resolve().parent
        ours = fields.pose3d

        def attempt(make, *location):
            try:
                return make()
            except DataError:
                raise
            except ValueError as error:
                line = line_of(config, location)
                raise DataError(
                    f"{config_path}, line {line}: {'.'.join(location)}: {error}"
                ) from None

        multi = fields.bodyparts == "MULTI!" or fields.multianimalproject
        if multi:
            keypoints = tuple(fields.multianimalbodyparts) + tuple(fields.uniquebodyparts)
            individuals = tuple(fields.individuals)
            if fields.uniquebodyparts and "single" not in individuals:
                individuals += ("single",)
        else:
            keypoints, individuals = tuple(fields.bodyparts), tuple(fields.individuals)
        edges = [tuple(pair) for pair in fields.skeleton]
        if ours is None:
            # DeepLabCut fills in a skeleton of "bodypart1" and "objectA" that many leave there
            edges = [pair for pair in edges if set(pair) <= set(keypoints)]
        attempt(lambda: Skeleton(keypoints), "multianimalbodyparts" if multi else "bodyparts")
        attempt(lambda: Skeleton(keypoints, edges), "skeleton")
        symmetric = ours.symmetric if ours else ()
        skeleton = attempt(lambda: Skeleton(keypoints, edges, symmetric), "pose3d", "symmetric")
        if ours is None:
            cameras: tuple[str, ...] = (ONLY_CAMERA,)
            recordings = _deeplabcut_recordings(folder, fields.video_sets)
        else:
            cameras = tuple(ours.cameras)
            _check_cameras(config, config_path, ours)
            recordings = {
                name: _recording(config, config_path, folder, name, ours)
                for name in ours.recordings
            }
        return cls(
            path=folder,
            task=fields.Task,
            scorer=fields.scorer,
            skeleton=skeleton,
            individuals=individuals or (ONLY_INDIVIDUAL,),
            cameras=cameras,
            recordings=recordings,
            pcutoff=fields.pcutoff,
            train_fraction=fields.TrainingFraction[0] if fields.TrainingFraction else 0.95,
            units=ours.units if ours else "mm",
            board=attempt(ours.board.board, "pose3d", "board") if ours and ours.board else None,
            calibration_videos=_resolve(folder, ours.calibration_videos, config_path)
            if ours and ours.calibration_videos
            else None,
            plain_deeplabcut=ours is None,
            settings=config,
        )

    @property
    def config_path(self) -> Path:
        """The project's config.yaml."""
        return self.path / "config.yaml"

    def recording(self, name: str) -> Recording:
        """Return a recording by name.

        Raises
        ------
        DataError
            If there is none of that name; the message lists those there are.
        """
        if name not in self.recordings:
            near = difflib.get_close_matches(name, list(self.recordings), 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            held = ", ".join(self.recordings) or "none yet: add one with add-recording"
            raise DataError(f"{self.path} has no recording {name!r}.{hint} Recordings: {held}.")
        return self.recordings[name]

    def labeled_folder(self, recording: str, camera: str) -> Path:
        """Folder of the labelled images of one camera in one recording."""
        name = recording if self.plain_deeplabcut else f"{recording}_{camera}"
        return self.path / "labeled-data" / name

    def whose_folder(self, name: str) -> tuple[str, str] | None:
        """Tell which recording and camera a folder of labelled images belongs to.

        Parameters
        ----------
        name : str
            Name of the folder in ``labeled-data``.

        Returns
        -------
        (str, str) or None
            Recording and camera; None if no camera of the project stands in the name.
        """
        name = unicodedata.normalize("NFC", name)
        if self.plain_deeplabcut:
            return name, self.cameras[0]
        cameras = sorted(self.cameras, key=len, reverse=True)
        for recording in sorted(self.recordings, key=len, reverse=True):
            for camera in cameras:
                if name == unicodedata.normalize("NFC", f"{recording}_{camera}"):
                    return recording, camera
        for camera in cameras:
            ending = unicodedata.normalize("NFC", f"_{camera}")
            if name.endswith(ending) and len(name) > len(ending):
                return name[: -len(ending)], camera
        found = match_camera(name, self.cameras)
        return (name, found) if found else None

    def keypoints_2d_path(self, recording: str) -> Path:
        """File of a recording's 2D keypoints."""
        return self.path / "keypoints-2d" / f"{recording}.h5"

    def keypoints_3d_path(self, recording: str) -> Path:
        """File of a recording's 3D keypoints."""
        return self.path / "keypoints-3d" / f"{recording}.h5"

    def report_path(self, recording: str) -> Path:
        """File of a recording's viewer and report."""
        return self.path / "reports" / f"{recording}.html"

    def calibration_path(self, recording: str | None = None) -> Path:
        """File of the calibration that counts: the recording's own, else the project's."""
        if recording is not None:
            own = self.path / "calibrations" / f"{recording}.toml"
            if own.is_file():
                return own
        return self.path / "calibration.toml"

    def network_folder(self, name: str) -> Path:
        """Folder of a trained network."""
        return self.path / "networks" / name


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
        resolved[camera] = _resolve(folder, videos[camera], f"{path}, line {line}", name)
    return Recording(name, resolved, [offsets.get(camera, 0.0) for camera in cameras])


def _resolve(folder, text, place, recording=""):
    """Find a file that a config names: below the project, or anywhere by its whole path.

    A whole path that leads nowhere, as after a move to another computer, is sought by its name
    among the project's own videos.
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


def _deeplabcut_recordings(folder, video_sets):
    """One recording for each video of a project of DeepLabCut's own, listed or lying there."""
    listed = [text for text in video_sets if PureWindowsPath(text).suffix.lower() in VIDEO_SUFFIXES]
    videos = [_resolve(folder, text, folder / "config.yaml") for text in listed]
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
