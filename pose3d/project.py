"""A project: config.yaml as a frozen dataclass, and where each of its files lies."""

import difflib
import os
import re
import unicodedata
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from calibration.boards import Board
from calibration.errors import DataError, DataWarning
from calibration.recordings import Recording, match_camera
from pose3d.formats import deeplabcut
from pose3d.formats.config import line_of, read_config
from pose3d.formats.config_fields import check_fields, check_file_name
from pose3d.formats.config_videos import (
    ONLY_CAMERA,
    deeplabcut_recordings,
    named_recordings,
    resolve,
)
from pose3d.labels import LabeledFrames
from pose3d.skeleton import Skeleton

#: The individual of a project that does not name any.
ONLY_INDIVIDUAL = "animal"

#: Folders of a project: of images that people labelled, and of those that geometry did.
LABELED, PSEUDO_LABELED = "labeled-data", "pseudo-labels"


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
    multianimal : bool
        Whether labels name the animal that each point belongs to.
    unique : tuple of str
        Keypoints that only the individual "single" has, whatever the number of animals.
    iteration : int
        How often labels were merged for another training, see `merge_datasets`.
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
    multianimal: bool = False
    unique: tuple[str, ...] = ()
    iteration: int = 0
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
        config_path = path if path.name == "config.yaml" else path / "config.yaml"
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

        keypoints, individuals = fields.keypoints, fields.animals
        edges = [tuple(pair) for pair in fields.skeleton]
        if ours is None:
            # DeepLabCut fills in a skeleton of "bodypart1" and "objectA" that many leave there
            edges = [pair for pair in edges if set(pair) <= set(keypoints)]
        attempt(
            lambda: Skeleton(keypoints), "multianimalbodyparts" if fields.grouped else "bodyparts"
        )
        attempt(lambda: Skeleton(keypoints, edges), "skeleton")
        symmetric = ours.symmetric if ours else ()
        skeleton = attempt(lambda: Skeleton(keypoints, edges, symmetric), "pose3d", "symmetric")
        if ours is None:
            cameras: tuple[str, ...] = (ONLY_CAMERA,)
            recordings = deeplabcut_recordings(folder, fields.video_sets)
        else:
            cameras = tuple(ours.cameras)
            recordings = named_recordings(config, config_path, folder, ours)
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
            calibration_videos=resolve(folder, ours.calibration_videos, config_path)
            if ours and ours.calibration_videos
            else None,
            plain_deeplabcut=ours is None,
            multianimal=fields.multianimalproject or len(individuals) > 1,
            unique=tuple(fields.uniquebodyparts) if fields.grouped else (),
            iteration=fields.iteration,
            settings=config,
        )

    @property
    def config_path(self) -> Path:
        """The project's config.yaml."""
        return self.path / "config.yaml"

    def cutoff(self, min_likelihood: float | None) -> float:
        """Return the likelihood from which a keypoint counts: what was asked for, else pcutoff."""
        if min_likelihood is None:
            return self.pcutoff
        if not 0 <= min_likelihood <= 1:
            raise ValueError(f"min_likelihood is {min_likelihood}; expected 0 to 1.")
        return min_likelihood

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

    def labeled_folder(self, recording: str, camera: str, root: str = LABELED) -> Path:
        """Folder of the labelled images of one camera in one recording."""
        name = recording if self.plain_deeplabcut else f"{recording}_{camera}"
        return self.path / root / name

    def whose_folder(self, name: str) -> tuple[str, str] | None:
        """Tell which recording and camera a folder of labelled images belongs to.

        Parameters
        ----------
        name : str
            Name of the folder in ``labeled-data``.

        Returns
        -------
        (str, str) or None
            Recording and camera; None if no camera of the project stands in the name, and for
            the drawings of check-labels.
        """
        plain = name.removesuffix("_labeled")
        drawings = plain != name and (self.path / LABELED / plain).is_dir()
        name = unicodedata.normalize("NFC", name)
        if self.plain_deeplabcut:
            return None if drawings else (name, self.cameras[0])
        cameras = sorted(self.cameras, key=len, reverse=True)
        for recording in sorted(self.recordings, key=len, reverse=True):
            for camera in cameras:
                if name == unicodedata.normalize("NFC", f"{recording}_{camera}"):
                    return recording, camera
        if drawings:
            return None
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
        """Folder of a trained network; its name must not lead out of the project."""
        try:
            check_file_name(name)
        except ValueError as error:
            raise ValueError(f"The network's name {name!r} {error}.") from None
        return self.path / "networks" / name


def load_labels(project: Project, root: str = LABELED) -> LabeledFrames:
    """Load the labels of all folders of a project.

    Images that nobody labelled, images that are not there, keypoints that the project does not
    have and folders of no camera are left out; all but the first with a `DataWarning`.

    Parameters
    ----------
    project : Project
        The project.
    root : str
        Where the folders lie: `LABELED`, or `PSEUDO_LABELED`.

    Returns
    -------
    LabeledFrames
        The labels, with the project's individuals and keypoints, folder by folder; a frame is -1
        where the name of the image holds no number.

    Raises
    ------
    DataError
        If a file of labels cannot be read or labels what cannot be.
    """
    parts: list[tuple[np.ndarray, list[str], tuple[str, str]]] = []
    place = project.path / root
    for folder in sorted(place.iterdir()) if place.is_dir() else ():
        table = deeplabcut.load_label_folder(folder, project.scorer) if folder.is_dir() else None
        if table is None:
            continue
        owner = project.whose_folder(folder.name)
        if owner is None:
            _warn(
                f"{folder} belongs to no camera of the project ({', '.join(project.cameras)}); "
                "its labels are not used. Rename it to <recording>_<camera>."
            )
            continue
        xy = deeplabcut.arrange(table, project.individuals, project.skeleton.keypoints, folder)
        names = deeplabcut.image_names(table, folder)
        there = {entry.name for entry in folder.iterdir()}
        absent = [name for name in names if name not in there]
        if absent:
            shown = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
            _warn(f"{folder} lacks {len(absent)} labelled images, which are not used: {shown}")
        kept = [
            i for i, name in enumerate(names) if name in there and np.isfinite(xy[i, ..., 0]).any()
        ]
        parts.append((xy[kept], [f"{root}/{folder.name}/{names[i]}" for i in kept], owner))
    shape = (0, len(project.individuals), len(project.skeleton.keypoints), 2)
    images = [image for _, part, _ in parts for image in part]
    owners = [owner for _, part, owner in parts for _ in part]
    return LabeledFrames(
        xy=np.concatenate([np.zeros(shape)] + [xy for xy, _, _ in parts]),
        images=images,
        recordings=[recording for recording, _ in owners],
        cameras=[camera for _, camera in owners],
        frames=[frame_number(image) for image in images],
        individuals=project.individuals,
        keypoints=project.skeleton.keypoints,
    )


def save_labels(project: Project, labels: LabeledFrames) -> list[Path]:
    """Save labels into the folders of their images, as .h5 and .csv.

    Parameters
    ----------
    project : Project
        The project.
    labels : LabeledFrames
        All labels of every folder that is named: those that were there before are replaced.

    Returns
    -------
    list of Path
        The .h5 files.
    """
    for what, names, wanted in (
        ("keypoints", labels.keypoints, project.skeleton.keypoints),
        ("individuals", labels.individuals, project.individuals),
    ):
        if names != wanted:
            raise ValueError(f"{what} are {names}; the project has {wanted}.")
    folders: dict[str, list[int]] = {}
    for i, image in enumerate(labels.images):
        deeplabcut.image_path([image], "images")
        folders.setdefault(image.rpartition("/")[0], []).append(i)
    written = []
    for folder, indices in folders.items():
        table = deeplabcut.LabelTable(
            labels.xy[indices],
            tuple(labels.images[i] for i in indices),
            labels.individuals if project.multianimal else (),
            labels.keypoints,
            project.scorer,
        )
        path = deeplabcut.save_labels(project.path / folder, table, unique=project.unique)
        written.append(path)
    return written


def frame_number(image: str) -> int:
    """Read the frame number from the name of an image; -1 where it holds none."""
    numbers = re.findall(r"[0-9]+", Path(image).stem)
    return int(numbers[-1]) if numbers and len(numbers[-1]) < 18 else -1


def _warn(message):
    """Tell the user of `load_labels` something about the data."""
    warnings.warn(message, DataWarning, stacklevel=4)
