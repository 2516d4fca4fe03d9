"""How `import_labels` brings labels in: frames of tracks out of videos, or images by copying."""

import os
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from calibration.errors import DataError, DataWarning
from calibration.files import atomic_path
from calibration.video import probe_video, read_frames, write_image
from pose3d.formats import deeplabcut, hdf5, sleap
from pose3d.labels import LabeledFrames
from pose3d.project import Project, save_labels


def select_frames(frames: str | None, every: int) -> Callable[[np.ndarray], np.ndarray]:
    """Read which frames are wanted.

    Parameters
    ----------
    frames : str or None
        Numbers and ranges that include their ends, as in "0,10,20-30"; None for all.
    every : int
        Only frames whose number it divides.

    Returns
    -------
    callable
        Takes an ndarray of frame numbers and gives those that are wanted.
    """
    if every < 1:
        raise ValueError(f"every is {every}; expected 1 or more.")
    ranges = []
    for part in (frames or "").split(",") if frames is not None else ():
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        if not match or int(match[2] or match[1]) < int(match[1]):
            raise ValueError(f"frames holds {part!r}; expected numbers and ranges as in '0,20-30'.")
        ranges.append((int(match[1]), int(match[2] or match[1])))

    def select(numbers):
        wanted = numbers % every == 0
        if frames is not None:
            wanted &= np.any([(a <= numbers) & (numbers <= b) for a, b in ranges], axis=0)
        return numbers[wanted]

    return select


def is_tracks(path: str | os.PathLike) -> bool:
    """Tell whether a file is a SLEAP analysis, whose frames lie in a video."""
    path = Path(path)
    if path.is_dir() or path.suffix.lower() not in (".h5", ".hdf5"):
        return False
    with hdf5.open_hdf5(path, "labels") as file:
        return "tracks" in file and "node_names" in file


def import_tracks(
    project: Project,
    recording: str,
    camera: str,
    path: Path,
    select: Callable[[np.ndarray], np.ndarray],
    overwrite: bool,
) -> dict[str, int]:
    """Make labelled images of the frames of a track.

    Parameters
    ----------
    project : Project
        Where they go.
    recording, camera : str
        Whose video the track was made of.
    path : Path
        The SLEAP analysis file.
    select : callable
        As `select_frames` gives it.
    overwrite : bool
        Whether labels that are there already are replaced.

    Returns
    -------
    dict
        ``images`` and ``points`` that came in, and ``kept``: images that were labelled already.
    """
    videos = project.recording(recording).videos
    if camera not in videos:
        raise DataError(f"Recording {recording!r} has no video of camera {camera!r}; add it first.")
    tracks = sleap.load_analysis(path, camera=camera, fps=1.0)
    # a track's names are SLEAP's; where there is one animal, it is the project's
    table = deeplabcut.LabelTable(
        tracks.xy[0], map(str, range(tracks.n_frames)), tracks.individuals, tracks.keypoints, "-"
    )
    xy = deeplabcut.arrange(table, project.individuals, project.skeleton.keypoints, path)
    seen = np.flatnonzero(np.isfinite(xy[..., 0]).any(axis=(1, 2)))
    wanted = select(seen)
    if wanted.size == 0:
        raise DataError(
            f"{path} has points in {seen.size} of {tracks.n_frames} frames, none of which is "
            "wanted. Ask for other frames."
        )
    folder = project.labeled_folder(recording, camera)
    names = {int(index): f"img{index:05d}.png" for index in wanted}
    labelled = known_labels(project, folder)
    new = [i for i in names if overwrite or names[i] not in labelled]
    width, height = probe_video(videos[camera]).image_size
    read = []
    frames = read_frames(videos[camera], frames=new)
    for frame in tqdm(frames, camera, len(new), disable=None, unit="frame", leave=False):
        write_image(folder / names[frame.index], frame.image)
        read.append(frame.index)
    points = xy[read]
    with np.errstate(invalid="ignore"):
        outside = ((points < -0.5) | (points > np.array([width, height]) - 0.5)).any(axis=-1)
    if outside.any():
        first, _, keypoint = np.argwhere(outside)[0]
        warnings.warn(
            f"{path}: {outside.sum()} points lie outside the {width} x {height} image, the first "
            f"being {project.skeleton.keypoints[keypoint]!r} in frame {read[first]}. Is it the "
            "track of this video?",
            DataWarning,
            stacklevel=3,
        )
    keep_labels(project, recording, camera, folder, labelled, [names[i] for i in read], points)
    return {
        "images": len(read),
        "points": int(np.isfinite(points[..., 0]).sum()),
        "there_before": len(names) - len(new),
    }


def import_images(
    project: Project, recording: str, camera: str, path: Path, overwrite: bool
) -> dict[str, int]:
    """Copy images and their labels from DeepLabCut's layout.

    Parameters
    ----------
    project : Project
        Where they go.
    recording, camera : str
        What the images show.
    path : Path
        A CollectedData .csv or .h5, or the folder it lies in.
    overwrite : bool
        Whether images and labels that are there already are replaced.

    Returns
    -------
    dict
        ``images`` and ``points`` that came in, and ``kept``: images that were labelled already.
    """
    table = (
        deeplabcut.load_label_folder(path, project.scorer)
        if path.is_dir()
        else deeplabcut.load_labels(path)
    )
    if table is None:
        raise DataError(f"{path} holds no CollectedData .csv or .h5.")
    base = path if path.is_dir() else path.parent
    xy = deeplabcut.arrange(table, project.individuals, project.skeleton.keypoints, path)
    folder = project.labeled_folder(recording, camera)
    labelled = known_labels(project, folder)
    names: list[str] = []
    taken, absent, kept = [], [], 0
    for i, image in enumerate(tqdm(table.images, camera, disable=None, unit="image", leave=False)):
        source, name = _source(base, image), image.rpartition("/")[2]
        if name in names:
            raise DataError(f"{path} labels two images that are called {name}; rename one.")
        if name in labelled and not overwrite:
            kept += 1
        elif source is None:
            absent.append(image)
        else:
            target = folder / name
            if not (target.exists() and target.samefile(source)):
                with atomic_path(target) as temporary:
                    shutil.copyfile(source, temporary)
            names.append(name)
            taken.append(i)
    if absent:
        shown = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
        warnings.warn(
            f"{path}: {len(absent)} labelled images are not there and are left out: {shown}",
            DataWarning,
            stacklevel=3,
        )
    keep_labels(project, recording, camera, folder, labelled, names, xy[taken])
    return {
        "images": len(names),
        "points": int(np.isfinite(xy[taken][..., 0]).sum()),
        "there_before": kept,
    }


def _source(base, image):
    """Find an image beside its labels, or where they say, seen from any folder above."""
    parts = image.split("/")
    places = [base / parts[-1], base / image, base.parent.parent / image]
    return next((place for place in places if place.is_file()), None)


def known_labels(project, folder) -> dict[str, np.ndarray]:
    """Labels that a folder has already, by the names of the images."""
    table = deeplabcut.load_label_folder(folder, project.scorer)
    if table is None:
        return {}
    xy = deeplabcut.arrange(table, project.individuals, project.skeleton.keypoints, folder)
    return dict(zip(deeplabcut.image_names(table, folder), xy, strict=True))


def keep_labels(project, recording, camera, folder, labelled, names, xy):
    """Save the labels of a folder: the old ones and the new ones, in the order of their names."""
    merged = labelled | dict(zip(names, xy, strict=True))
    if not names:
        return
    images = sorted(merged, key=lambda name: [int(n) if n.isdigit() else n for n in _parts(name)])
    count = len(images)
    save_labels(
        project,
        LabeledFrames(
            xy=np.stack([merged[name] for name in images]),
            images=[f"labeled-data/{folder.name}/{name}" for name in images],
            recordings=[recording] * count,
            cameras=[camera] * count,
            frames=np.arange(count),
            individuals=project.individuals,
            keypoints=project.skeleton.keypoints,
        ),
    )


def _parts(name):
    """Divide a name into text and numbers, which sort by their value."""
    return re.split(r"([0-9]+)", name)
