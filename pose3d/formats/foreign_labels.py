"""Label projects of other programs: images, points, and what could not be carried over.

================  ==================================================================
lightning-pose    folder with project.yaml and CollectedData_<view>.csv, or one CSV
sleap             ``.slp``, its images embedded or in videos; see `slp`
coco              annotations .json with keypoints; jarvis is one with framesets
label3d           Label3D's and DANNCE's .mat; see `label3d`
================  ==================================================================
"""

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from calibration.errors import DataError

FORMATS = ("lightning-pose", "sleap", "coco", "jarvis", "label3d")


@dataclass(frozen=True, eq=False)
class ForeignImage:
    """A labelled image of another program.

    Attributes
    ----------
    recording, camera : str
        The take and the view.
    frame : int
        Number of the frame in its video; of the image in its file where there is none.
    xy : ndarray of shape (n_individuals, n_keypoints, 2)
        Points in pixels, (0, 0) being the centre of the first; NaN where there is none.
    image : Path, bytes or None
        The picture: a file, or its encoded content. None where it is a frame of `video`.
    video : Path or None
        The video that it is of.
    """

    recording: str
    camera: str
    frame: int
    xy: np.ndarray
    image: Path | bytes | None = None
    video: Path | None = None


@dataclass(frozen=True, eq=False)
class ForeignLabels:
    """A label project of another program.

    Attributes
    ----------
    keypoints, individuals, cameras : tuple of str
        Names; one individual has none.
    edges, symmetric : tuple of (str, str)
        Bones, and left and right partners, as far as the format tells.
    images : tuple of ForeignImage
        The labelled images.
    dropped : tuple of str
        What could not be carried over, in sentences.
    """

    keypoints: tuple[str, ...]
    individuals: tuple[str, ...]
    cameras: tuple[str, ...]
    images: tuple[ForeignImage, ...]
    edges: tuple[tuple[str, str], ...] = ()
    symmetric: tuple[tuple[str, str], ...] = ()
    dropped: tuple[str, ...] = field(default=())


def recognise(path: Path) -> str:
    """Tell of which program a label project is.

    Raises
    ------
    FileNotFoundError, DataError
        If there is nothing, or nothing that is known.
    """
    if not path.exists():
        raise FileNotFoundError(f"There is no {path}.")
    if path.is_dir():
        if list(path.glob("CollectedData*.csv")):
            return "lightning-pose"
        if list(path.glob("annotations/instances_*.json")):
            return "jarvis"
    elif path.suffix.lower() == ".slp":
        return "sleap"
    elif path.suffix.lower() == ".mat":
        return "label3d"
    elif path.suffix.lower() == ".csv":
        return "lightning-pose"
    elif path.suffix.lower() == ".json":
        return "jarvis" if "framesets" in _json(path) else "coco"
    raise DataError(
        f"{path} is no label project that is known: a folder of Lightning Pose or JARVIS, SLEAP's "
        ".slp, COCO's .json, Label3D's .mat. DeepLabCut's projects open as they are."
    )


def load_lightning_pose(path: Path) -> ForeignLabels:
    """Load a project of Lightning Pose: a table for each view, or one.

    Parameters
    ----------
    path : Path
        The project's folder, or its only table.
    """
    root = path if path.is_dir() else path.parent
    tables = sorted(root.glob("CollectedData*.csv")) if path.is_dir() else [path]
    images, names, ignored, hidden = [], None, 0, 0
    for table in tables:
        view = table.stem.removeprefix("CollectedData").lstrip("_") or "camera"
        keypoints, rows = _collected(table)
        if names is not None and keypoints != names:
            raise DataError(
                f"{table} has keypoints {', '.join(keypoints)}; {tables[0]} has "
                f"{', '.join(names)}. They must be the same, in the same order."
            )
        names = keypoints
        for number, (image, xy, visible) in enumerate(rows):
            ignored += int((visible == 0).sum())
            hidden += int((visible == 1).sum())
            xy = np.where((visible == 0)[:, np.newaxis], np.nan, xy)
            folder = image.split("/")[-2] if "/" in image else "labels"
            recording = folder.removesuffix(f"_{view}") if len(tables) > 1 else folder
            if recording in ("labeled-data", "labels"):
                recording = root.name
            digits = re.findall(r"\d+", image.rpartition("/")[2])
            frame = int(digits[-1]) if digits else number
            images.append(
                ForeignImage(recording, view, frame, xy[np.newaxis], image=_found(root, image))
            )
    if names is None:
        raise DataError(f"{path} has no CollectedData.csv.")
    dropped = []
    if hidden:
        dropped.append(f"{hidden} points marked as hidden are labelled like visible ones")
    if ignored:
        dropped.append(f"{ignored} points marked to be ignored have no label")
    if list(root.glob("*.unlabeled.jsonl")):
        dropped.append("the queue of unlabelled frames")
    cameras = tuple(dict.fromkeys(image.camera for image in images))
    return ForeignLabels(names, (), cameras, tuple(images), dropped=tuple(dropped))


def _collected(path):
    """Read a CollectedData.csv, with or without a column for visibility."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.reader(file))
    head = next((i for i, row in enumerate(rows) if row and row[0] == "coords"), None)
    if head is None or head < 1:
        raise DataError(f"{path} is no table of labels: it has no line that begins with coords.")
    names, coords = rows[head - 1], rows[head]
    first = next((i for i, name in enumerate(coords) if name == "x"), 1)
    keypoints = tuple(dict.fromkeys(names[first:]))
    column = {(name, coord): i for i, (name, coord) in enumerate(zip(names, coords, strict=True))}
    read = []
    for row in rows[head + 1 :]:
        if not row:
            continue
        image = "/".join(part for part in row[:first] if part)

        def value(name, coord, row=row):
            place = column.get((name, coord))
            text = row[place].strip() if place is not None and place < len(row) else ""
            return float(text) if text else np.nan

        try:
            xy = np.array([[value(name, "x"), value(name, "y")] for name in keypoints])
            visible = np.array([value(name, "visible") for name in keypoints])
        except ValueError as error:
            raise DataError(f"{path}, {image}: {error}.") from None
        read.append((image, xy, visible))
    return keypoints, read


def load_coco(path: Path) -> ForeignLabels:
    """Load keypoints in COCO's annotations, or a training set of JARVIS.

    Parameters
    ----------
    path : Path
        The .json, or JARVIS' folder with annotations/instances_train.json and _val.json.
    """
    files = sorted(path.glob("annotations/instances_*.json")) if path.is_dir() else [path]
    parts = [_coco_part(file) for file in files]
    names = parts[0][0]
    for file, (keypoints, *_) in zip(files, parts, strict=True):
        if keypoints != names:
            raise DataError(f"{file} has other keypoints than {files[0]}; import them apart.")
    images = tuple(image for _, _, part, _, _ in parts for image in part)
    most = max((count for *_, count, _ in parts), default=1)
    dropped = dict.fromkeys(text for *_, texts in parts for text in texts)
    images = tuple(_padded(image, most) for image in images)
    return ForeignLabels(
        names,
        tuple(f"animal_{i + 1}" for i in range(most)) if most > 1 else (),
        tuple(dict.fromkeys(image.camera for image in images)),
        images,
        edges=parts[0][1],
        dropped=tuple(dropped),
    )


def _padded(image, n_individuals):
    """Give an image as many individuals as there are anywhere."""
    missing = n_individuals - len(image.xy)
    filler = np.full((missing, *image.xy.shape[1:]), np.nan)
    xy = np.concatenate([image.xy, filler])
    return ForeignImage(image.recording, image.camera, image.frame, xy, image.image, image.video)


def _coco_part(path):
    """Read one annotations file: keypoints, edges, images, most individuals, what is dropped."""
    content = _json(path)
    try:
        jarvis = "framesets" in content or "keypoint_names" in content
        category = next((c for c in content["categories"] if c.get("keypoints")), None)
        if category is None and not jarvis:
            raise DataError(f"{path} has no category with keypoints.")
        names = tuple(map(str, content.get("keypoint_names") or category["keypoints"]))
        if jarvis:
            bones = content.get("skeleton") or ()
            edges = tuple((str(b["keypointA"]), str(b["keypointB"])) for b in bones)
        else:
            edges = tuple(
                (names[int(a) - 1], names[int(b) - 1]) for a, b in category.get("skeleton") or ()
            )
        by_image: dict[Any, list[Mapping[str, Any]]] = {}
        crowds = boxes = hidden = 0
        for annotation in content["annotations"]:
            crowds += bool(annotation.get("iscrowd"))
            if annotation.get("iscrowd") or not annotation.get("keypoints"):
                boxes += not annotation.get("iscrowd")
                continue
            by_image.setdefault(annotation["image_id"], []).append(annotation)
        images, used = [], {}
        root = path.parent.parent if path.parent.name == "annotations" else path.parent
        for number, entry in enumerate(content["images"]):
            points = []
            for annotation in by_image.get(entry["id"], ()):
                values = np.array(annotation["keypoints"], float)
                if values.size != 3 * len(names):
                    raise DataError(
                        f"{path}: annotation {annotation.get('id')!r} of image {entry['id']!r} has "
                        f"{values.size} numbers; {len(names)} keypoints need {3 * len(names)}."
                    )
                values = values.reshape(len(names), 3)
                hidden += int((values[:, 2] == 1).sum())
                points.append(np.where(values[:, 2:] > 0, values[:, :2], np.nan))
            if not points:
                continue
            name = str(entry["file_name"]).replace("\\", "/")
            recording, camera = path.stem, "camera"
            if jarvis and name.count("/") >= 1:
                *sets, camera, _ = name.split("/")
                recording = "-".join(sets) or path.stem.removeprefix("instances_")
            digits = re.findall(r"\d+", Path(name).stem)
            frame = int(digits[-1]) if digits else number
            if used.setdefault((recording, camera, frame), number) != number:
                frame = 10**6 + number  # two images of one number
            sets = [root, root / "images", root / "train", root / "val"]
            image = next((p for p in (s / name for s in sets) if p.is_file()), None)
            images.append(
                ForeignImage(recording, camera, frame, np.array(points), image=image or root / name)
            )
    except DataError:
        raise
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(f"{path} is no COCO file of keypoints: {error!r}.") from None
    dropped = []
    if hidden:
        dropped.append(f"{hidden} points marked as hidden are labelled like visible ones")
    if crowds or boxes:
        dropped.append(f"{crowds} crowds and {boxes} boxes without keypoints")
    if jarvis and content.get("calibrations"):
        dropped.append("the calibration: import it with import-calibration")
    most = max((len(image.xy) for image in images), default=1)
    if most > 1:
        dropped.append("who is who from image to image, which the format does not tell")
    return names, edges, images, most, dropped


def _json(path) -> Mapping[str, Any]:
    """Read a JSON file that holds a mapping."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{path} is no JSON ({error}).") from None
    if not isinstance(content, Mapping):
        raise DataError(f"{path} holds no mapping.")
    return content


def _found(root: Path, image: str) -> Path:
    """Find an image under a folder, by as much of its path as fits."""
    parts: Sequence[str] = image.split("/")
    places = [root.joinpath(*parts[i:]) for i in range(len(parts))]
    places.append(root / "labeled-data" / parts[-1])
    return next((place for place in places if place.is_file()), places[0])
