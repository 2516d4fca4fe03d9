"""Which labelled images a network is trained on, and which are kept to test it."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from calibration.errors import DataError
from calibration.files import write_text
from pose3d.formats import deeplabcut
from pose3d.labels import LabeledFrames
from pose3d.project import PSEUDO_LABELED, Project, frame_number, load_labels

_FORMAT = "pose3d training dataset"


def check_one_animal(project: Project) -> None:
    """Check that a project has one animal: a network here finds one.

    Raises
    ------
    DataError
        If it has several.
    """
    if len(project.individuals) > 1:
        raise DataError(
            f"{project.path} has {len(project.individuals)} individuals "
            f"({', '.join(project.individuals)}); networks find one animal per image so far."
        )


def single_animal_labels(project: Project) -> LabeledFrames:
    """Load a project's labels, of its only animal; see `check_one_animal`."""
    check_one_animal(project)
    return load_labels(project)


def pseudo_labels_of(
    project: Project, labels: LabeledFrames, numbers: Callable[[LabeledFrames], np.ndarray]
) -> LabeledFrames:
    """Load what geometry labelled, of moments that no person labelled.

    Parameters
    ----------
    project : Project
        The project.
    labels : LabeledFrames
        What people labelled, to train or to test on.
    numbers : callable
        Numbers the moments of images, as cameras may be late.

    Raises
    ------
    DataError
        If there is nothing.
    """
    found = load_labels(project, PSEUDO_LABELED)
    by_hand = set(zip(labels.recordings, numbers(labels).tolist(), strict=True))
    theirs = zip(found.recordings, numbers(found).tolist(), strict=True)
    found = found.at(np.array([moment not in by_hand for moment in theirs], dtype=bool))
    if not len(found):
        raise DataError(
            f"{project.path / PSEUDO_LABELED} has no labels of other moments than people "
            "labelled. Run extract-confirmed-frames on a triangulated recording."
        )
    return found


def labels_of(project: Project, split: "Split") -> LabeledFrames:
    """Load the labels that a split was made of: today's, or those kept of an earlier iteration."""
    if split.iteration is None or split.iteration == project.iteration:
        return single_animal_labels(project)
    return load_iteration(project, split.iteration)


def iteration_folder(project: Project, iteration: int) -> Path:
    """Return where the labels of an iteration are kept, as DeepLabCut keeps them."""
    return project.path / "training-datasets" / f"iteration-{iteration}"


def save_iteration(project: Project, labels: LabeledFrames) -> Path:
    """Keep all labels as they are now, under the project's iteration; return the file."""
    table = deeplabcut.LabelTable(
        labels.xy,
        labels.images,
        labels.individuals if project.multianimal else (),
        labels.keypoints,
        project.scorer,
    )
    folder = iteration_folder(project, project.iteration)
    folder.mkdir(parents=True, exist_ok=True)
    return deeplabcut.save_labels(folder, table, unique=project.unique)


def load_iteration(project: Project, iteration: int) -> LabeledFrames:
    """Load the labels that were kept of an iteration.

    Raises
    ------
    DataError
        If none were kept, or images are gone.
    """
    folder = iteration_folder(project, iteration)
    path = folder / f"CollectedData_{project.scorer}.h5"
    if not path.is_file():
        raise DataError(
            f"The labels of iteration {iteration} were not kept: {path} is not there. Take a "
            "network of this iteration, or make a new split with create-training-dataset."
        )
    table = deeplabcut.load_labels(path)
    absent = [image for image in table.images if not (project.path / image).is_file()]
    if absent:
        raise DataError(
            f"{len(absent)} images of iteration {iteration} are gone, such as {absent[0]}. Restore "
            "them, or take a network of this iteration."
        )
    owners = [project.whose_folder(image.split("/")[-2]) or ("", "") for image in table.images]
    return LabeledFrames(
        xy=deeplabcut.arrange(table, project.individuals, project.skeleton.keypoints, path),
        images=table.images,
        recordings=[recording for recording, _ in owners],
        cameras=[camera for _, camera in owners],
        frames=[frame_number(image) for image in table.images],
        individuals=project.individuals,
        keypoints=project.skeleton.keypoints,
    )


@dataclass(frozen=True)
class Split:
    """The images to train and to test on, by their paths in the project.

    Attributes
    ----------
    train, test : tuple of str
        The images.
    seed : int
        Seed of the split.
    train_fraction : float
        Share of the moments to train on.
    test_from : int or None
        Frame number from which images are for testing; None for a random split.
    test_recordings : tuple of str
        Recordings whose images are for testing; none for a random split.
    unused : tuple of str
        Images that are for neither, to see what fewer labels would give.
    iteration : int or None
        The project's iteration when the split was made; None for splits from before there were
        any. Those of an earlier one go with the labels that were kept then.
    """

    train: tuple[str, ...]
    test: tuple[str, ...]
    seed: int
    train_fraction: float
    test_from: int | None = None
    test_recordings: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    iteration: int | None = None

    def indices(self, labels: LabeledFrames) -> tuple[np.ndarray, np.ndarray]:
        """Return which of the labelled images are for training and which for testing.

        Raises
        ------
        DataError
            If images were labelled, or labels removed, since the split was made.
        """
        place = {image: i for i, image in enumerate(labels.images)}
        known = [*self.train, *self.test, *self.unused]
        gone = [image for image in known if image not in place]
        added = sorted(set(labels.images) - set(known))
        if gone or added:
            some = (gone or added)[0]
            raise DataError(
                f"The training dataset is not of today's labels: {len(added)} images were "
                f"labelled since and {len(gone)} are no longer there, such as {some}. Run "
                "create-training-dataset again, under another name if this one is trained."
            )
        return (
            np.array([place[image] for image in self.train], dtype=int),
            np.array([place[image] for image in self.test], dtype=int),
        )


def split_labels(
    labels: LabeledFrames,
    *,
    train_fraction: float,
    seed: int = 0,
    test_from: int | None = None,
    test_recordings: Sequence[str] = (),
    test_images: Sequence[str] = (),
    limit: int | None = None,
    iteration: int | None = None,
    numbers: np.ndarray | None = None,
) -> Split:
    """Divide labelled images into those to train and those to test on.

    Images of one moment in several cameras go to the same side: they show the same pose.

    Parameters
    ----------
    labels : LabeledFrames
        The labelled images.
    train_fraction : float
        Share of the moments to train on, above 0 and at most 1; below 1, one at least is kept
        for testing.
    seed : int
        Seed of the random choice.
    test_from : int, optional
        Test on frames of this number and above instead of a random choice.
    test_recordings : sequence of str
        Test on all frames of these recordings instead.
    test_images : sequence of str
        Test on the moments of these images instead.
    limit : int, optional
        Train on so many moments alone. A smaller limit's moments are among a larger one's, and
        the test images are those of no limit, so that errors can be compared.
    iteration : int, optional
        Noted in the split.
    numbers : ndarray of int of shape (n_images,), optional
        Number of each image's moment, where cameras are late; its frame's unless given.

    Raises
    ------
    DataError
        If fewer than two images are labelled, or a side would be empty.
    """
    if not 0 < train_fraction <= 1:
        raise ValueError(f"train_fraction is {train_fraction}; expected above 0 and at most 1.")
    if len(labels) < 2:
        raise DataError(
            f"{len(labels)} images are labelled; a network needs two at least, and 50 to be any "
            "good. Label more frames."
        )
    if (test_from is not None) + bool(test_recordings) + bool(test_images) > 1:
        raise ValueError("The test images are told in two ways; give one of them.")
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}; expected at least 1.")
    # images without a frame number are moments of their own
    numbers = labels.frames if numbers is None else numbers
    keys = [
        (recording, number) if frame >= 0 else (image,)
        for image, recording, frame, number in zip(
            labels.images, labels.recordings, labels.frames, numbers.tolist(), strict=True
        )
    ]
    moments = list(dict.fromkeys(keys))
    order = [moments[i] for i in np.random.default_rng(seed).permutation(len(moments))]
    if test_from is not None:
        tested = numbers >= test_from
        if tested.all() or not tested.any():
            raise DataError(
                f"Frame numbers of the labelled images are {labels.frames.min()} to "
                f"{labels.frames.max()}; none lies on "
                f"{'the training' if tested.all() else 'the test'} side of {test_from}."
            )
    elif test_images:
        old = {key for key, image in zip(keys, labels.images, strict=True) if image in test_images}
        tested = np.array([key in old for key in keys])
        if tested.all() or not tested.any():
            raise DataError(
                f"{tested.sum()} of {len(labels)} images are of the {len(test_images)} test images "
                "to keep; there must be some, and others to train on."
            )
    elif test_recordings:
        tested = _of_recordings(labels, test_recordings)
    else:
        most = len(moments) - (train_fraction < 1)
        n_train = max(1, min(most, round(len(moments) * train_fraction)))
        chosen = set(order[:n_train])
        tested = np.array([key not in chosen for key in keys])
    trained = {key for key, test in zip(keys, tested, strict=True) if not test}
    kept = set([key for key in order if key in trained][:limit])
    return Split(
        train=tuple(image for image, key in zip(labels.images, keys, strict=True) if key in kept),
        test=tuple(image for image, test in zip(labels.images, tested, strict=True) if test),
        seed=seed,
        train_fraction=train_fraction,
        test_from=test_from,
        test_recordings=tuple(test_recordings),
        unused=tuple(
            image
            for image, key in zip(labels.images, keys, strict=True)
            if key in trained and key not in kept
        ),
        iteration=iteration,
    )


def _of_recordings(labels, names):
    """Say which images are of some recordings; all of them may not be."""
    known = sorted(set(labels.recordings))
    if unknown := [name for name in names if name not in known]:
        raise DataError(
            f"No image of a recording {unknown[0]!r} is labelled; there are labels of "
            f"{', '.join(known)}."
        )
    tested = np.isin(labels.recordings, list(names))
    if tested.all():
        raise DataError(
            f"All labelled images are of {', '.join(names)}: none is left to train on. Test on "
            "fewer recordings."
        )
    return tested


def save_split(path: Path, split: Split) -> None:
    """Save a split as JSON."""
    content = {
        "format": _FORMAT,
        "seed": split.seed,
        "train_fraction": split.train_fraction,
        "test_from": split.test_from,
        "test_recordings": list(split.test_recordings),
        "train": list(split.train),
        "test": list(split.test),
        "unused": list(split.unused),
        "iteration": split.iteration,
    }
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def load_split(path: Path) -> Split:
    """Load a split.

    Raises
    ------
    DataError
        If the file is absent, damaged or no split.
    """
    if not path.is_file():
        raise DataError(
            f"There is no {path}, which says what images a network is trained and tested on. Make "
            "it with create-training-dataset, or restore it."
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != _FORMAT:
            raise ValueError(f"its format is {content['format']!r}")
        return Split(
            tuple(map(str, content["train"])),
            tuple(map(str, content["test"])),
            int(content["seed"]),
            float(content["train_fraction"]),
            None if content["test_from"] is None else int(content["test_from"]),
            tuple(map(str, content.get("test_recordings", ()))),
            tuple(map(str, content.get("unused", ()))),
            None if content.get("iteration") is None else int(content["iteration"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} is no training dataset ({error}). Remove it and run create-training-dataset."
        ) from None


def labels_digest(labels: LabeledFrames) -> str:
    """Return a digest that changes with the images' names, their order or their labels."""
    digest = hashlib.sha256(json.dumps([labels.images, labels.keypoints]).encode())
    digest.update(np.ascontiguousarray(labels.xy).data)
    return digest.hexdigest()[:16]


def describe_split(split: Split) -> dict[str, Any]:
    """Return a split's settings and sizes, as JSON knows them."""
    return {
        "seed": split.seed,
        "train_fraction": split.train_fraction,
        "test_from": split.test_from,
        "test_recordings": list(split.test_recordings),
        "n_train": len(split.train),
        "n_test": len(split.test),
    }
