"""Step: divide the labels into those to train on and those to test on."""

import os

from calibration.errors import DataError
from calibration.results import Outcome
from pose3d.steps.moments import moment_numbers


def create_training_dataset(
    project: str | os.PathLike,
    *,
    name: str = "network",
    train_fraction: float | None = None,
    test_from: int | None = None,
    test_recordings: list[str] | None = None,
    like: str | None = None,
    limit: int | None = None,
    shuffles: int = 1,
    seed: int = 0,
) -> Outcome:
    """Divide the labelled images into those to train on and those to test on.

    Parameters
    ----------
    project : path
        The project's folder.
    name : str
        The network that it is for.
    train_fraction : float
        Share of the moments to train on; the project's TrainingFraction unless told.
    test_from : int
        Test on the frames of this number and above, by the clock of cameras that are not late,
        instead of a random choice.
    test_recordings : list of str
        Test on these recordings and train on the others, instead of a random choice.
    like : str
        Test on the images of this network's test, and train on all others: so the networks of two
        iterations can be compared.
    limit : int
        Train on so many moments alone, and test on the same images as without: how the error
        falls with the number of labels.
    shuffles : int
        Make so many splits, of seeds that follow each other: for networks NAME, NAME-2, NAME-3 ...
    seed : int
        Seed of the random choice.
    """
    from pose3d.networks.datasets import (
        describe_split,
        load_split,
        save_iteration,
        save_split,
        single_animal_labels,
        split_labels,
    )
    from pose3d.project import Project

    if shuffles < 1:
        raise ValueError(f"shuffles is {shuffles}; expected at least 1.")
    project = Project.load(project)
    labels = single_animal_labels(project)
    if not len(labels):
        raise DataError(
            f"{project.path} has no labels yet. Label frames with label-frames, or bring labels in "
            "with import-labels."
        )
    kept: tuple[str, ...] = ()
    if like is not None:
        kept = load_split(project.network_folder(like) / "split.json").test
    numbers = moment_numbers(project, labels)
    save_iteration(project, labels)
    table, figures = [], {}
    for shuffle in range(shuffles):
        each = name if shuffle == 0 else f"{name}-{shuffle + 1}"
        folder = project.network_folder(each)
        path = folder / "split.json"
        split = split_labels(
            labels,
            train_fraction=project.train_fraction if train_fraction is None else train_fraction,
            seed=seed + shuffle,
            test_from=test_from,
            test_recordings=test_recordings or (),
            test_images=kept,
            limit=limit,
            iteration=project.iteration,
            numbers=numbers,
        )
        if any(folder.glob("**/training.json")) and path.is_file() and load_split(path) != split:
            raise DataError(
                f"A network is trained in {folder} on another split. Give another name, or remove "
                "that folder."
            )
        save_split(path, split)
        figures = figures or describe_split(split)
        for part, images in (("train", split.train), ("test", split.test)):
            chosen = set(images)
            cameras = [
                camera
                for image, camera in zip(labels.images, labels.cameras, strict=True)
                if image in chosen
            ]
            counts = {camera: cameras.count(camera) for camera in project.cameras}
            table.append({"network": each, "part": part, "images": len(images)} | counts)
    return Outcome(
        project.network_folder(name) / "split.json",
        f"{figures['n_train']} images to train on, {figures['n_test']} to test on.",
        table=tuple(table),
        figures=figures,
    )
