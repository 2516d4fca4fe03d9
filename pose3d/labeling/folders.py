"""The images and labels of one camera, as they lie in its folder."""

import os
import re
import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from calibration.files import file_digest
from pose3d.formats import deeplabcut

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")

#: States of a point; the codes stand in arrays. Labelled points go into DeepLabCut's files.
STATES = ("", "clicked", "reprojected", "predicted", "occluded", "absent")
LABELLED = 3


@dataclass
class LabelFolder:
    """Labels of the images of one camera.

    Attributes
    ----------
    path : Path
        The folder.
    scorer : str
        Who labels.
    images : list of str
        Names of all images, those of the labels included, in natural order.
    individuals, keypoints : tuple of str
        The project's, then those that only the files have: they are kept.
    named : bool
        Whether the files name the individuals.
    xy : ndarray of shape (n_images, n_individuals, n_keypoints, 2)
        Image points in pixels; NaN where there is none.
    state : ndarray of uint8 of shape (n_images, n_individuals, n_keypoints)
        Index into `STATES`.
    saved : ndarray
        Points as they stand in the files, shaped like `xy`.
    digests : dict of str to str
        Of the files as they were read or written, by ending.
    place : dict of str to int
        Row of each image.
    stamp : int
        When the folder last changed, as it was looked at; nanoseconds.
    """

    path: Path
    scorer: str
    images: list[str]
    individuals: tuple[str, ...]
    keypoints: tuple[str, ...]
    named: bool
    unique: tuple[str, ...]
    xy: np.ndarray
    state: np.ndarray
    saved: np.ndarray
    digests: dict[str, str]
    place: dict[str, int] = field(default_factory=dict)
    stamp: int = 0

    @classmethod
    def load(cls, path, *, scorer, individuals, keypoints, named, unique, known) -> "LabelFolder":
        """Load a folder.

        Parameters
        ----------
        path : Path
            The folder.
        scorer : str
            Whose labels.
        individuals, keypoints, unique : tuple of str
            The project's.
        named : bool
            Whether the project's files name individuals.
        known : mapping of str to str
            Digests of files that are known to agree; else .csv and .h5 are compared.
        """
        digests = _digests(path, scorer)
        if known and digests == dict(known) and ".h5" in digests:
            table = deeplabcut.load_labels(_file(path, scorer, ".h5"))
        else:
            table = deeplabcut.load_label_folder(path, scorer)
        stamp = path.stat().st_mtime_ns
        names = image_files(path)
        shape = (len(individuals), len(keypoints))
        folder = cls(
            path, scorer, [], individuals, keypoints, named, unique,
            np.zeros((0, *shape, 2)), np.zeros((0, *shape), np.uint8), np.zeros((0, *shape, 2)),
            digests, stamp=stamp,
        )  # fmt: skip
        animals: tuple[str, ...] = ()
        if table is not None:
            animals = _animals(table, individuals)
            folder.individuals += tuple(name for name in animals if name not in individuals)
            folder.keypoints += tuple(name for name in table.keypoints if name not in keypoints)
            folder.named = named or len(folder.individuals) > 1
            labelled = deeplabcut.image_names(table, path)
            names = list(set(names) | set(labelled))
        folder.images = sorted(names, key=_natural)
        folder.place = {name: i for i, name in enumerate(folder.images)}
        shape = (len(names), len(folder.individuals), len(folder.keypoints))
        folder.xy = np.full((*shape, 2), np.nan)
        if table is not None:
            folder.xy[folder._index(table, animals, labelled)] = table.xy
        folder.state = np.isfinite(folder.xy[..., 0]).astype(np.uint8)
        folder.saved = folder.xy.copy()
        return folder

    def _index(self, table, animals, labelled):
        return np.ix_(
            [self.place[name] for name in labelled],
            [self.individuals.index(name) for name in animals],
            [self.keypoints.index(name) for name in table.keypoints],
        )

    def take_new_images(self) -> int:
        """Take in images that appeared in the folder since it was looked at; return how many."""
        stamp = self.path.stat().st_mtime_ns if self.path.is_dir() else self.stamp
        if stamp == self.stamp:
            return 0
        self.stamp = stamp
        added = set(image_files(self.path)) - self.place.keys()
        if added:
            before, rows = self.images, len(self.images)
            self.images = sorted([*before, *added], key=_natural)
            old = {name: row for row, name in enumerate(before)}
            order = [old.get(name, rows) for name in self.images]
            blank = np.full((1, *self.xy.shape[1:]), np.nan)
            self.xy = np.concatenate([self.xy, blank])[order]
            self.saved = np.concatenate([self.saved, blank])[order]
            self.state = np.concatenate([self.state, np.zeros_like(blank[..., 0], np.uint8)])[order]
            self.place = {name: row for row, name in enumerate(self.images)}
        return len(added)

    def take_changes_on_disk(self) -> list[str]:
        """Look whether another program changed the files, and merge what it changed.

        A point changed there alone is taken over. One changed on both sides keeps what was
        labelled here; the other's file is kept beside it, as ``replaced-<time>-<name>``.

        Returns
        -------
        list of str
            What happened, in words; empty if nothing did.
        """
        now = _digests(self.path, self.scorer)
        changed = [
            ending for ending in (".h5", ".csv") if now.get(ending) != self.digests.get(ending)
        ]
        told = []
        there = [ending for ending in changed if ending in now]
        if there:
            file = _file(self.path, self.scorer, there[0])
            table = deeplabcut.load_labels(file)
            told.append(self._merge(table, file))
        elif changed:
            told.append(
                f"{self.path.name}: CollectedData_{self.scorer}{' and '.join(changed)} was removed "
                "by another program; it is written again."
            )
        self.digests = now
        return told

    def _merge(self, table, file):
        animals = _animals(table, self.individuals)
        names = deeplabcut.image_names(table, self.path)
        strange = [n for n in names if n not in self.place]
        strange += [n for n in animals if n not in self.individuals]
        strange += [n for n in table.keypoints if n not in self.keypoints]
        theirs = np.full_like(self.xy, np.nan)
        if not strange:
            theirs[self._index(table, animals, names)] = table.xy
            moved = _differ(theirs, self.saved)
            ours = _differ(self._wanted(), self.saved)
            both = moved & ours & _differ(theirs, self._wanted())
            taken = moved & ~ours
            self.xy[taken] = theirs[taken]
            self.state[taken] = np.isfinite(theirs[taken][..., 0])
            said = f"{int(taken.sum())} points were taken over from it"
            if not both.any():
                return f"{file.name} in {self.path.name} was changed by another program: {said}."
            image, _, k = np.argwhere(both)[0]
            said += (
                f"; {int(both.sum())} changed there and here keep what was labelled here "
                f"({self.keypoints[k]!r} in {self.images[image]} first)"
            )
        else:
            said = f"it names {strange[0]!r}, which was not there before: open the page anew to see"
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        kept = file.with_name(f"replaced-{stamp}-{file.name}")
        shutil.copy2(file, kept)
        return (
            f"{file.name} in {self.path.name} was changed by another program: {said}. The other's "
            f"file is kept as {kept.name}."
        )

    def _wanted(self):
        """Points as DeepLabCut's files are to have them: labelled, not occluded or absent."""
        labelled = (self.state > 0) & (self.state <= LABELLED)
        return np.where(labelled[..., np.newaxis], self.xy, np.nan)

    def save(self) -> None:
        """Write .h5 and .csv; images without labels are left out."""
        wanted = self._wanted()
        kept = np.isfinite(wanted[..., 0]).any(axis=(1, 2))
        if not kept.any() and not self.digests:
            return
        table = deeplabcut.LabelTable(
            wanted[kept],
            tuple(
                f"labeled-data/{self.path.name}/{name}"
                for name, keep in zip(self.images, kept, strict=True)
                if keep
            ),
            self.individuals if self.named else (),
            self.keypoints,
            self.scorer,
        )
        deeplabcut.save_labels(self.path, table, unique=self.unique)
        self.saved = wanted
        self.digests = _digests(self.path, self.scorer)


def image_files(folder: Path) -> list[str]:
    """Names of the images in a folder, in no order; files that are being written are hidden."""
    return [
        name
        for name in os.listdir(folder)
        if not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGES
    ]


def _animals(table, individuals):
    """Names of a table's animals; a single one bears the project's name."""
    if len(table.individuals) <= 1 and len(individuals) == 1:
        return individuals
    return table.individuals or individuals[:1]


def _differ(one, two):
    """Tell where two arrays of points differ, NaN being equal to NaN."""
    return ~((one == two) | (np.isnan(one) & np.isnan(two))).all(axis=-1)


def _file(folder, scorer, ending):
    return folder / f"CollectedData_{scorer}{ending}"


def _digests(folder, scorer):
    files = {ending: _file(folder, scorer, ending) for ending in (".h5", ".csv")}
    return {ending: file_digest(file) for ending, file in files.items() if file.is_file()}


def _natural(name):
    """Sort key: numbers by their value."""
    return [int(part) if part.isdigit() else part for part in re.split(r"([0-9]+)", name)]
