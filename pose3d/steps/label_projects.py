"""Step: bring in the label projects of other programs."""

import os
import re
import shutil
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from tqdm import tqdm

from calibration.errors import DataError, DataWarning
from calibration.files import atomic_path
from calibration.results import Outcome


def import_label_project(
    source: str | os.PathLike,
    project: str | os.PathLike,
    *,
    format: str = "auto",
    videos: str | os.PathLike | None = None,
    keypoints: list[str] | None = None,
    scorer: str = "scorer",
    blank: bool = False,
    overwrite: bool = False,
) -> Outcome:
    """Make a project of another program's labels, or add them to one.

    Reads Lightning Pose, SLEAP's .slp, COCO keypoints, JARVIS' training sets and Label3D's .mat,
    and says what could not be carried over. DeepLabCut's projects open as they are.

    Parameters
    ----------
    source : path
        The other program's project: a folder or a file.
    project : path
        The project's folder; made if it is not there.
    format : str
        lightning-pose, sleap, coco, jarvis or label3d; found out unless told.
    videos : path
        Folder with the videos, where the source does not say where they are.
    keypoints : list of str
        Names of the points, for Label3D, which does not tell.
    scorer : str
        Who labelled, in a new project.
    blank : bool
        Take grey pictures where there are none, to look at labels alone.
    overwrite : bool
        Replace labels that are there already.
    """
    from pose3d.formats import foreign_labels
    from pose3d.project import Project

    source, folder = Path(source), Path(project)
    kind = foreign_labels.recognise(source) if format == "auto" else format
    if kind not in foreign_labels.FORMATS:
        raise ValueError(
            f"format is {format!r}; expected auto, {', '.join(foreign_labels.FORMATS)}."
        )
    found = _load(kind, source, None if videos is None else Path(videos), keypoints)
    if not found.images:
        raise DataError(f"{source} holds no labels of people.")
    groups: dict[tuple[str, str], list] = {}
    for image in found.images:
        groups.setdefault((_plain(image.recording), _plain(image.camera)), []).append(image)
    _refuse_twins(groups, source)
    if not (folder / "config.yaml").is_file():
        _create(folder, found, scorer)
    loaded = Project.load(folder)
    _check(loaded, found, source)
    _add_recordings(loaded, groups)
    loaded = Project.load(folder)
    rows, absent = [], Counter()
    for (recording, camera), images in groups.items():
        row = _bring(loaded, found, recording, camera, images, blank, overwrite, absent)
        rows.append({"recording": recording, "camera": camera} | row)
    if absent:
        name, count = absent.most_common(1)[0]
        warnings.warn(
            f"{sum(absent.values())} labelled images have no picture here and are left out; "
            f"{count} of them are of {name}. Give --videos, or --blank for grey pictures.",
            DataWarning,
            stacklevel=2,
        )
    taken = sum(row["images"] for row in rows)
    dropped = "; ".join(found.dropped) or "nothing"
    return Outcome(
        folder,
        f"{taken} labelled images of {kind} in {len(rows)} folders. Not carried over: {dropped}.",
        table=tuple(rows),
        figures={
            "n_images": taken, "n_points": sum(row["points"] for row in rows),
            "format": kind, "dropped": list(found.dropped),
        },
        failed="" if taken or any(row["there_before"] for row in rows) else "No image came in.",
    )  # fmt: skip


def _load(kind, source, videos, keypoints):
    """Load a label project."""
    from pose3d.formats import foreign_labels, label3d, slp

    if keypoints is not None and kind != "label3d":
        raise ValueError("keypoints are for label3d alone; the other formats name their points.")
    if kind == "lightning-pose":
        return foreign_labels.load_lightning_pose(source)
    if kind == "sleap":
        return slp.load_slp(source)
    if kind == "label3d":
        names = None if keypoints is None else tuple(keypoints)
        return label3d.load_label3d_labels(source, videos=videos, keypoints=names)
    return foreign_labels.load_coco(source)


def _create(folder, found, scorer):
    """Make a project for labels."""
    from pose3d.steps.projects import create_project

    create_project(
        folder,
        cameras=[_plain(camera) for camera in found.cameras],
        keypoints=list(found.keypoints),
        skeleton=[f"{a}-{b}" for a, b in found.edges] or None,
        symmetric=[f"{a}:{b}" for a, b in found.symmetric] or None,
        individuals=list(found.individuals) or None,
        scorer=scorer,
    )


def _check(project, found, source):
    """Check that labels fit a project."""
    for what, theirs, ours in (
        ("keypoints", set(found.keypoints), set(project.skeleton.keypoints)),
        ("cameras", set(map(_plain, found.cameras)), set(project.cameras)),
    ):
        if unknown := sorted(theirs - ours):
            raise DataError(
                f"{source} has {what} {', '.join(unknown)}, which {project.path} has not; it has "
                f"{', '.join(sorted(ours))}. Import into a new project, or add them there first."
            )
    if len(found.individuals) > len(project.individuals):
        raise DataError(
            f"{source} has {len(found.individuals)} individuals and {project.path} "
            f"{len(project.individuals)}. Import into a new project."
        )


def _refuse_twins(groups, source):
    """Refuse two images of one frame: one of them would be lost without a word."""
    for (recording, camera), images in groups.items():
        frame, count = Counter(image.frame for image in images).most_common(1)[0]
        if count > 1:
            raise DataError(
                f"{source} labels {count} images as frame {frame} of {recording!r}, camera "
                f"{camera!r}. Rename the images so that the last numbers in their names differ."
            )


def _add_recordings(project, groups):
    """Note recordings that the project does not have, with their videos where all are there."""
    from pose3d.formats.config import edit_config, quoted
    from pose3d.steps.projects import add_recording

    if project.plain_deeplabcut:
        return
    for recording in dict.fromkeys(name for name, _ in groups):
        if recording in project.recordings:
            continue
        films = {}
        for (name, camera), images in groups.items():
            video = next((i.video for i in images if i.video and i.video.is_file()), None)
            if name == recording and video is not None:
                films[camera] = video
        if films:
            add_recording(project.path, recording, [f"{c}={v}" for c, v in films.items()])
            continue

        def add(config, name=recording):
            if not config["pose3d"].get("recordings"):
                config["pose3d"]["recordings"] = {}
            config["pose3d"]["recordings"][quoted(name)] = {}

        edit_config(project.config_path, add)


def _bring(project, found, recording, camera, images, blank, overwrite, absent):
    """Write the pictures and labels of one folder; return a line of the table."""
    from pose3d.steps.project_labels import keep_labels, known_labels

    folder = project.labeled_folder(recording, camera)
    folder.mkdir(parents=True, exist_ok=True)
    labelled = known_labels(project, folder)
    order = [found.keypoints.index(name) if name in found.keypoints else -1
             for name in project.skeleton.keypoints]  # fmt: skip
    n_individuals = len(project.individuals)
    names, points, kept = [], [], 0
    films = _frames_of_videos(images, folder, labelled, overwrite)
    for image in tqdm(images, f"{recording} {camera}", disable=None, unit="image", leave=False):
        stem = f"img{image.frame:05d}"
        there = [name for name in labelled if Path(name).stem == stem]
        if there and not overwrite:
            kept += 1
            continue
        name = films.get(image.frame) or _picture(image, folder, stem)
        if name is None and blank:
            name = _grey(folder, stem, images)
        if name is None:
            absent[f"{recording}, {camera}"] += 1
            continue
        xy = np.full((n_individuals, len(order), 2), np.nan)
        padded = np.concatenate([image.xy, np.full((len(image.xy), 1, 2), np.nan)], axis=1)
        xy[: len(image.xy)] = padded[:, order]
        names.append(name)
        points.append(xy)
    count = int(np.isfinite(np.array(points)).all(axis=-1).sum()) if points else 0
    if names:
        keep_labels(project, recording, camera, folder, labelled, names, np.array(points))
    return {"images": len(names), "points": count, "there_before": kept}


def _frames_of_videos(images, folder, labelled, overwrite):
    """Write the frames of images that lie in a video; return their names by frame."""
    from calibration.video import read_frames, write_image

    known = {Path(name).stem for name in labelled}
    wanted: dict[Path, list[int]] = {}
    for image in images:
        stem = f"img{image.frame:05d}"
        usable = image.image is None and image.video is not None and image.video.is_file()
        if usable and (overwrite or stem not in known):
            wanted.setdefault(image.video, []).append(image.frame)
    written = {}
    for video, frames in wanted.items():
        for frame in read_frames(video, frames=sorted(set(frames))):
            name = f"img{frame.index:05d}.png"
            write_image(folder / name, frame.image)
            written[frame.index] = name
    return written


def _picture(image, folder, stem):
    """Copy or write the picture of an image; return its name, None where there is none."""
    if isinstance(image.image, bytes):
        ending = ".png" if image.image.startswith(b"\x89PNG") else ".jpg"
        with atomic_path(folder / f"{stem}{ending}") as temporary:
            Path(temporary).write_bytes(image.image)
        return f"{stem}{ending}"
    if image.image is None or not image.image.is_file():
        return None
    target = folder / f"{stem}{image.image.suffix.lower()}"
    if not (target.exists() and target.samefile(image.image)):
        with atomic_path(target) as temporary:
            shutil.copyfile(image.image, temporary)
    return target.name


def _grey(folder, stem, images):
    """Write a grey picture that holds all labels of a camera."""
    from calibration.video import write_image

    far = np.nanmax([np.nanmax(image.xy, axis=(0, 1)) for image in images], axis=0)
    width, height = (int(np.ceil(value / 64 + 0.5)) * 64 for value in np.nan_to_num(far, nan=64.0))
    write_image(folder / f"{stem}.png", np.full((height, width, 3), 128, np.uint8))
    return f"{stem}.png"


def _plain(name):
    """Return a name that files can bear."""
    return re.sub(r"[^\w.+-]+", "-", name).strip("-. ") or "labels"
