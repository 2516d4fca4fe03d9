"""DeepLabCut's tables: labels (``CollectedData_<scorer>.csv`` and ``.h5``) and predictions.

Columns are named by scorer, (individual,) body part and coordinate, in three or four header rows
of the .csv; rows by image, as one path or as its three parts, or by frame number.
"""

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calibration.arrays import float_array, name_tuple
from calibration.errors import DataError, DataWarning
from pose3d.formats.deeplabcut_csv import LEVELS, load_csv, save_csv
from pose3d.formats.pytables import Table, load_table, save_table
from pose3d.keypoints import Keypoints2D

#: How DeepLabCut calls the animal that has the points of which there is only one.
SINGLE = "single"


@dataclass(frozen=True, eq=False)
class LabelTable:
    """The labelled images of one file.

    Attributes
    ----------
    xy : ndarray of shape (n_images, n_individuals, n_keypoints, 2)
        Image points in pixels; NaN where a keypoint is not labelled.
    images : tuple of str
        Path of each image as the file names it, with forward slashes, from ``labeled-data`` on
        where that stands in it.
    individuals : tuple of str
        Names of the animals; empty where the file does not name its only one.
    keypoints : tuple of str
        Names along the third axis of `xy`.
    scorer : str
        Who labelled.
    """

    xy: np.ndarray
    images: tuple[str, ...]
    individuals: tuple[str, ...]
    keypoints: tuple[str, ...]
    scorer: str

    def __post_init__(self):
        object.__setattr__(self, "images", tuple(self.images))
        for axis, empty in (("individuals", True), ("keypoints", False)):
            object.__setattr__(self, axis, name_tuple(axis, getattr(self, axis), empty=empty))
        shape = (len(self.images), len(self.individuals) or 1, len(self.keypoints), 2)
        object.__setattr__(self, "xy", float_array("xy", self.xy, shape))


def load_labels(path: str | os.PathLike) -> LabelTable:
    """Load labels from a .csv or .h5 of DeepLabCut's.

    Parameters
    ----------
    path : path
        The file; both layouts of the rows (one path, or three parts) and both HDF5 layouts
        are read.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If it cannot be read, or labels what cannot be; names row, column, image and body part.
    """
    path = Path(path)
    table, lines = _load(path)
    scorer, individuals, keypoints, values, _ = _by_keypoint(table, path)
    images = []
    seen: dict[str, int] = {}
    for row, line in zip(table.rows, lines, strict=True):
        image = image_path(row, f"{path}, {line}")
        if image in seen:
            raise DataError(f"{path}, {line}: {image} is labelled twice. Remove one of the rows.")
        seen[image] = len(images)
        images.append(image)
    half = np.isnan(values[..., 0]) != np.isnan(values[..., 1])
    if half.any():
        image, _, keypoint = np.argwhere(half)[0]
        raise DataError(
            f"{path}, {lines[image]}: {keypoints[keypoint]!r} in {images[image]} has x without y "
            "or y without x. Label both or neither."
        )
    return LabelTable(values, tuple(images), individuals, keypoints, scorer)


def load_label_folder(folder: str | os.PathLike, scorer: str) -> LabelTable | None:
    """Load the labels of a folder of images.

    The .h5 counts where it and the .csv disagree, as it does for DeepLabCut; a `DataWarning`
    names the first difference.

    Parameters
    ----------
    folder : path
        A folder such as ``labeled-data/trot_top``.
    scorer : str
        Whose labels are wanted; where there are none, somebody else's are taken and it is told.

    Returns
    -------
    LabelTable or None
        None if the folder has no labels.
    """
    folder = Path(folder)
    files = sorted(folder.glob("CollectedData*.csv")) + sorted(folder.glob("CollectedData*.h5"))
    own = [path for path in files if path.stem == f"CollectedData_{scorer}"]
    if files and not own:
        own = [path for path in files if path.stem == files[0].stem]
        warnings.warn(
            f"{folder} has no labels of {scorer!r}; those in {own[0].name} are used.",
            DataWarning,
            stacklevel=3,
        )
    tables = {path.suffix: load_labels(path) for path in own}
    if len(tables) == 2:
        difference = _difference(tables[".csv"], tables[".h5"])
        if difference:
            warnings.warn(
                f"{own[0]} and its .h5 disagree ({difference}). The .h5 is used, as DeepLabCut "
                "does; if the .csv is right, delete the .h5.",
                DataWarning,
                stacklevel=3,
            )
    return tables.get(".h5", tables.get(".csv"))


def save_labels(
    folder: str | os.PathLike, labels: LabelTable, *, unique: Sequence[str] = ()
) -> Path:
    """Save the labels of a folder of images as .h5 and .csv, in DeepLabCut's layout.

    Parameters
    ----------
    folder : path
        The folder of the images.
    labels : LabelTable
        All the labels of the folder; those that were there before are replaced.
    unique : sequence of str
        Keypoints that only the individual "single" has.

    Returns
    -------
    Path
        The .h5 file, which counts.
    """
    rows = [tuple(image.split("/")) for image in labels.images]
    wrong = next((row for row in rows if len(row) != 3), None)
    if wrong:
        raise ValueError(
            f"images holds {'/'.join(wrong)!r}; expected labeled-data/<folder>/<image>."
        )
    columns = []
    values = []
    for i, individual in enumerate(labels.individuals or ("",)):
        for k, keypoint in enumerate(labels.keypoints):
            if individual and (keypoint in unique) != (individual == SINGLE):
                continue
            for c, coordinate in enumerate("xy"):
                named = (individual,) if individual else ()
                columns.append((labels.scorer, *named, keypoint, coordinate))
                values.append(labels.xy[:, i, k, c])
    table = Table(tuple(rows), tuple(columns), np.stack(values, axis=1))
    names = LEVELS if labels.individuals else ("scorer", "bodyparts", "coords")
    path = Path(folder) / f"CollectedData_{labels.scorer}.h5"
    save_table(path, table, names)
    save_csv(path.with_suffix(".csv"), table, names)
    return path


def load_predictions(path: str | os.PathLike, *, camera: str, fps: float) -> Keypoints2D:
    """Load what DeepLabCut found in one video, from its .h5 or .csv.

    Parameters
    ----------
    path : path
        The file, such as ``trot_topDLC_resnet50_...h5``.
    camera : str
        The camera that took the video.
    fps : float
        Frames per second of the video, which the file does not tell.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If it cannot be read or holds no predictions.
    """
    path = Path(path)
    table, _ = _load(path)
    _, individuals, keypoints, xy, likelihood = _by_keypoint(table, path)
    if likelihood is None or not all(len(row) == 1 for row in table.rows):
        raise DataError(f"{path} holds no likelihood by frame; it looks like labels.")
    try:
        numbers = np.array([int(row[0]) for row in table.rows])
    except ValueError:
        raise DataError(
            f"{path} has rows such as {table.rows[0][0]!r}; predictions have frame numbers."
        ) from None
    if not np.array_equal(numbers, np.arange(len(numbers))):
        raise DataError(f"{path} skips or repeats frames; expected 0, 1, 2 and so on.")
    try:
        return Keypoints2D(
            xy=xy[np.newaxis],
            likelihood=likelihood[np.newaxis],
            cameras=(camera,),
            individuals=individuals or ("animal",),
            keypoints=keypoints,
            times=np.arange(len(numbers)) / fps,
        )
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None


def image_path(row: Sequence, place: str) -> str:
    """Find which image a row speaks of.

    Parameters
    ----------
    row : sequence of str
        Its name: one path, of any system, or its parts.
    place : str
        File and row, for messages.

    Returns
    -------
    str
        The path with forward slashes, from ``labeled-data`` on where that stands in it; of
        another whole path, folder and name.

    Raises
    ------
    DataError
        If it names no image or leads upwards.
    """
    text = "/".join(str(part) for part in row).replace("\\", "/")
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in text:
        raise DataError(f"{place}: {text!r} leads out of the project. Name the image itself.")
    if "labeled-data" in parts:
        parts = parts[len(parts) - 1 - parts[::-1].index("labeled-data") :]
    elif text.startswith("/") or ":" in parts[0]:
        parts = parts[-2:]
    if not parts or "." not in parts[-1]:
        raise DataError(
            f"{place}: {text!r} is no image; expected labeled-data/<folder>/<image>.png."
        )
    return "/".join(parts)


def arrange(
    table: LabelTable,
    individuals: Sequence[str],
    keypoints: Sequence[str],
    folder: str | os.PathLike,
) -> np.ndarray:
    """Put labels into the order of a project's animals and keypoints.

    Parameters
    ----------
    table : LabelTable
        Labels; what the project does not have is left out with a `DataWarning`.
    individuals, keypoints : sequence of str
        The project's. A single animal may be called otherwise in the labels, or not at all.
    folder : path
        Where the labels lie, for messages.

    Returns
    -------
    ndarray of shape (n_images, n_individuals, n_keypoints, 2)
        Image points in pixels; NaN where the table has none.

    Raises
    ------
    DataError
        If no keypoint or no animal has a name of the project's.
    """
    strange = [name for name in table.keypoints if name not in keypoints]
    lacking = [name for name in keypoints if name not in table.keypoints]
    if len(lacking) == len(keypoints):
        raise DataError(
            f"{folder} labels {', '.join(table.keypoints)}; the project has "
            f"{', '.join(keypoints)}. Not one name agrees."
        )
    if strange or lacking:
        _tell(
            f"{folder} labels other keypoints than the project: "
            f"left out {', '.join(strange) or 'none'}; missing {', '.join(lacking) or 'none'}."
        )
    animals: tuple[str, ...] = table.individuals
    if len(animals) <= 1 and len(individuals) == 1:
        animals = individuals
    unknown = [name for name in animals if name not in individuals]
    if not animals or len(unknown) == len(animals):
        raise DataError(
            f"{folder} labels the animals {', '.join(animals) or 'without naming them'}; the "
            f"project has {', '.join(individuals)}. Name them in config.yaml."
        )
    if unknown:
        _tell(f"{folder} labels animals that the project does not have: {', '.join(unknown)}")
    xy = np.full((len(table.images), len(individuals), len(keypoints), 2), np.nan)
    for i, animal in enumerate(animals):
        for k, keypoint in enumerate(table.keypoints):
            if animal not in unknown and keypoint not in strange:
                xy[:, individuals.index(animal), keypoints.index(keypoint)] = table.xy[:, i, k]
    return xy


def image_names(table: LabelTable, folder: Path) -> list[str]:
    """Names of the images in their folder, whatever folder the table says they lie in."""
    names = [image.rpartition("/")[2] for image in table.images]
    named = {image.split("/")[-2] for image in table.images if "/" in image}
    if named - {folder.name, "labeled-data"}:
        _tell(
            f"The labels in {folder} speak of images in {', '.join(sorted(named))}; the images "
            "of that name in the folder itself are used."
        )
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{folder}: the labels name {twice} twice. Remove one of the rows.")
    return names


def _load(path):
    """Load a table and the words that name each of its rows in messages."""
    if path.suffix.lower() == ".csv":
        return load_csv(path)
    if path.suffix.lower() not in (".h5", ".hdf5"):
        raise ValueError(f"{path} is neither a .csv nor an .h5 of DeepLabCut's.")
    table = load_table(path)
    return table, [f"row {i}" for i in range(len(table.rows))]


def _by_keypoint(table, path):
    """Arrange columns by individual and keypoint, whatever their order."""
    n_levels = {len(name) for name in table.columns}
    if n_levels not in ({3}, {4}):
        raise DataError(
            f"{path} has columns such as {table.columns[:1]}; expected scorer, (individual,) body "
            "part and coordinate."
        )
    scorers = list(dict.fromkeys(name[0] for name in table.columns))
    if len(scorers) > 1:
        raise DataError(f"{path} has the scorers {', '.join(scorers)}; expected one.")
    place: dict[tuple[str, ...], int] = {}
    for i, name in enumerate(table.columns):
        if name in place:
            raise DataError(f"{path}: the column {' '.join(name[1:])} stands twice. Remove one.")
        place[name] = i
    keypoints = tuple(dict.fromkeys(name[-2] for name in table.columns))
    individuals = tuple(dict.fromkeys(name[1] for name in table.columns if len(name) == 4))
    values = np.full((len(table.rows), len(individuals) or 1, len(keypoints), 3), np.nan)
    scored = False
    for name, i in place.items():
        animal = individuals.index(name[1]) if individuals else 0
        if name[-1] in ("x", "y", "likelihood"):
            coordinate = ("x", "y", "likelihood").index(name[-1])
            values[:, animal, keypoints.index(name[-2]), coordinate] = table.values[:, i]
            scored = scored or name[-1] == "likelihood"
        if not {(*name[:-1], "x"), (*name[:-1], "y")} <= set(place):
            raise DataError(f"{path}: {' '.join(name[1:-1])} has no column x or no column y.")
    likelihood = values[..., 2] if scored else None
    return scorers[0], individuals, keypoints, values[..., :2], likelihood


def _difference(first, second):
    """Say where two tables of the same labels differ; empty if nowhere."""
    for what in ("keypoints", "individuals", "images"):
        one, two = getattr(first, what), getattr(second, what)
        if set(one) != set(two):
            name = sorted(set(one) ^ set(two))[0]
            where = "the .csv" if name in one else "the .h5"
            return f"{what}: only {where} has {name!r}"
    place = dict(zip(second.images, range(len(second.images)), strict=True))
    images = [place[image] for image in first.images]
    keypoints = [second.keypoints.index(name) for name in first.keypoints]
    animals = [second.individuals.index(name) for name in first.individuals] or [0]
    other = second.xy[np.ix_(images, animals, keypoints)]
    same = np.isclose(first.xy, other, rtol=1e-9, atol=1e-6, equal_nan=True).all(axis=-1)
    if same.all():
        return ""
    image, animal, keypoint = np.argwhere(~same)[0]
    return (
        f"{first.keypoints[keypoint]!r} in {first.images[image]} is at "
        f"{first.xy[image, animal, keypoint]} and at {other[image, animal, keypoint]}"
    )


def _tell(message):
    """Tell the user of a loaded folder something about its labels."""
    warnings.warn(message, DataWarning, stacklevel=4)
