"""Step: train a network."""

import contextlib
import functools
import json
import os
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np

from calibration.errors import DataError, DataWarning
from calibration.files import provenance
from calibration.results import Outcome
from pose3d.steps.moments import moment_numbers

#: Learning rates: from scratch, and from pretrained weights. From scratch, with a cosine over 2500
#: steps, 0.002, 0.005 and 0.01 gave 2.40, 2.09 and 2.24 px on images kept from training.
_RATE, _PRETRAINED_RATE = 5e-3, 1e-3


def train_network(
    project: str | os.PathLike,
    *,
    name: str = "network",
    backbone: str = "unet",
    weights: str | None = None,
    per_view: bool = False,
    steps: int = 12_000,
    minutes: float | None = None,
    batch_size: int = 8,
    crop_size: int | None = None,
    scale: float | None = None,
    pixels: str = "luma",
    stride: int = 4,
    supervised: str = "",
    rotation: float | None = None,
    flip: bool | None = None,
    unlabeled: str = "absent",
    pseudo_labels: bool = False,
    learning_rate: float | None = None,
    schedule: str = "cosine",
    patience: int | None = None,
    precision: str = "auto",
    deterministic: bool = False,
    seed: int = 0,
    checkpoint_seconds: float = 60.0,
    restart: bool = False,
) -> Outcome:
    """Train a network on the labelled images, or go on with a training that was interrupted.

    Parameters
    ----------
    project : path
        The project's folder.
    name : str
        Name of the network; its split is made now if create-training-dataset has not.
    backbone : str
        unet (from scratch, the quickest), mobilenet_v2_0.35 (or 0.5, 0.75, 1.0), mobilenet_0.25
        (or 0.5, 0.75, 1.0), resnet_50 (or 101, 152), efficientnet_b0 (to b3).
    weights : str
        Where to start: a file of weights, "imagenet" to download those of Keras, nothing to
        start from scratch.
    per_view : bool
        Train one network for each camera instead of one for all.
    steps : int
        Length of the training: a batch of crops each. 4000 are quick, 12000 thorough.
    minutes : float
        End after this much time if that comes first.
    batch_size : int
        Crops per step.
    crop_size : int
        Side of the crops in network pixels; by the animal's size unless told.
    scale : float
        Network pixels per image pixel; such that keypoints are 34 apart unless told.
    pixels : str
        What the network sees: "luma" (grey) or "rgb".
    stride : int
        Network pixels per cell of the scoremaps, 4 or 8.
    supervised : str
        Layer in the middle of resnet_101 or resnet_152 that is made to draw the scoremaps too
        (intermediate supervision), such as conv4_block12_out.
    rotation : float
        Turn images by up to this many degrees either way; 180 where the labels show the animal
        pointing anywhere, else 30, unless told.
    flip : bool
        Mirror half of the images; where the project names symmetric keypoints, unless told.
    unlabeled : str
        What a keypoint without a label in a labelled image is: "absent" (hidden, and not to be
        found) or "unknown" (somebody did not label it).
    pseudo_labels : bool
        Learn from what extract-confirmed-frames labelled as well: half of each batch. Keep images
        for testing, from which the network's uncertainty is learnt: without, what is stated in 3D
        is too narrow.
    learning_rate : float
        The highest learning rate; 0.005 from scratch and 0.001 from weights unless told.
    schedule : str
        How the learning rate falls: "cosine", "linear", "steps" or "constant".
    patience : int
        Keep a tenth of the training images out, try them now and then (ten times in a training),
        and end when so many trials in a row have not lowered the error. Never on test images.
    precision : str
        Arithmetic of the training: "float32"; "mixed_bfloat16", quicker on some machines; "auto"
        takes what is quicker here.
    deterministic : bool
        Have a resumed training give the very result of an uninterrupted one even where several
        cores or a graphics card add in any order; slower.
    seed : int
        Seed of the first weights and of every batch.
    checkpoint_seconds : float
        Longest time whose work a crash can cost.
    restart : bool
        Begin anew, throwing away what was trained under this name.
    """
    from pose3d.networks import runs
    from pose3d.networks.datasets import labels_of, pseudo_labels_of, single_animal_labels
    from pose3d.networks.running import only_one
    from pose3d.project import Project
    from pose3d.steps.training_views import Progress, save_curve, save_page

    project = Project.load(project)
    folder = project.network_folder(name)
    labels = single_animal_labels(project)
    _warn_of_exchanged(labels, project)
    if flip and not project.skeleton.symmetric:
        warnings.warn(
            "Images are mirrored although the project names no symmetric keypoints: left and "
            "right will be learnt as one. Name them in config.yaml, pose3d: symmetric.",
            DataWarning,
            stacklevel=2,
        )
    flip = bool(project.skeleton.symmetric) if flip is None else flip
    usual = _PRETRAINED_RATE if weights else _RATE
    rate = usual if learning_rate is None else learning_rate
    arguments = {
        "name": name, "backbone": backbone, "weights": weights, "per_view": per_view,
        "steps": steps, "minutes": minutes, "batch_size": batch_size, "crop_size": crop_size,
        "scale": scale, "pixels": pixels, "stride": stride,
        "supervised": supervised, "rotation": rotation, "flip": flip,
        "unlabeled": unlabeled, "pseudo_labels": pseudo_labels,
        "learning_rate": rate, "schedule": schedule, "patience": patience,
        "precision": precision, "seed": seed,
    }  # fmt: skip
    if deterministic:
        from pose3d.networks.devices import make_deterministic

        make_deterministic()
    origin = provenance("train_network", arguments, {"config": project.config_path})
    rows = []
    with only_one(folder / ".training.lock"):
        split = _split(project, name, labels, seed)
        labels = labels_of(project, split)
        train_indices, test_indices = split.indices(labels)
        present = tuple(c for c in project.cameras if c in set(labels.cameras))
        groups = {camera: (camera,) for camera in present} if per_view else {"": present}
        numbers = functools.partial(moment_numbers, project)
        extra = pseudo_labels_of(project, labels, numbers) if pseudo_labels else None
        if extra and not len(test_indices):
            # rendered animal, no test images: the claimed 95 % held 66 % of the points, not 75 %
            warnings.warn(
                "No image is kept for testing, so the network's uncertainty cannot be learnt: "
                "after a training on confirmed frames it is stated too small. Keep some: "
                "create-training-dataset --train-fraction 0.9.",
                DataWarning,
                stacklevel=2,
            )
        planned = {}
        for subfolder, cameras in groups.items():
            of_cameras = np.isin(labels.cameras, cameras)
            place = folder / subfolder
            planned[place] = _run(
                project,
                cameras,
                labels.at(train_indices[of_cameras[train_indices]]),
                labels.at(test_indices[of_cameras[test_indices]]),
                extra and extra.at(np.isin(extra.cameras, cameras)),
                arguments | {"precision": _precision(place, precision, backbone, restart)},
                checkpoint_seconds,
            )
            runs.check_enough(planned[place])
        _clear_other_kind(folder, per_view, restart)
        for place, run in planned.items():
            with Progress(run, ", ".join(run.cameras)) as progress:
                network = runs.perform(
                    run, place, origin=origin, restart=restart,
                    progress=progress, saved=functools.partial(save_curve, place),
                )  # fmt: skip
            save_page(place, run, network)
            rows.append(_row(network, run))
    tested = [row["test_error_px"] for row in rows if row["test_error_px"] is not None]
    figures = {
        "steps": sum(row["steps"] for row in rows),
        "seconds": sum(row["seconds"] for row in rows),
        "test_error_px": float(np.mean(tested)) if tested else None,
    }
    error = f" Test error {figures['test_error_px']:.2f} px." if tested else ""
    networks = "A network" if len(rows) == 1 else f"{len(rows)} networks"
    ended = ""
    if minutes is not None and figures["steps"] < steps * len(rows):
        ended = f", which were up after {figures['steps']} of {steps * len(rows)} steps"
    return Outcome(
        folder if per_view else folder / "learning-curve.html",
        f"{networks} trained in {figures['seconds'] / 60:.1f} minutes{ended}.{error}",
        table=tuple(rows),
        figures=figures,
    )


def _warn_of_exchanged(labels, project):
    """Warn of images with left and right exchanged: two such of a hundred cost half a pixel."""
    from pose3d.suspects import exchanged_sides

    wrong = exchanged_sides(labels, project.skeleton)
    if wrong:
        warnings.warn(
            f"Left and right look exchanged in the labels of {len(wrong)} images: "
            f"{', '.join(suspect.image for suspect in wrong[:5])}. Look at them with check-labels "
            "before you trust what is learnt from them.",
            DataWarning,
            stacklevel=3,
        )


def _split(project, name, labels, seed):
    """Load the split of a network, or make one by the project's fraction."""
    from pose3d.networks.datasets import load_split, save_iteration, save_split, split_labels

    path = project.network_folder(name) / "split.json"
    if not path.is_file():
        made = split_labels(
            labels,
            train_fraction=project.train_fraction,
            seed=seed,
            iteration=project.iteration,
            numbers=moment_numbers(project, labels),
        )
        save_iteration(project, labels)
        save_split(path, made)
    return load_split(path)


def _clear_other_kind(folder, per_view, restart):
    """See to it that a folder holds one network for all cameras or one for each, not both."""
    from pose3d.networks import runs

    others = [folder] if per_view else [path.parent for path in folder.glob("*/training.json")]
    others = [other for other in others if (other / "training.json").is_file()]
    if others and not restart:
        kind = "one for all cameras" if per_view else "one for each camera"
        raise DataError(
            f"{folder} holds another kind of network, {kind}. Give another name, or restart to "
            "throw it away."
        )
    for other in others:
        runs.clear(other)


def _run(project, cameras, train, test, pseudo, arguments, checkpoint_seconds):
    """Choose what was left to be chosen, and describe the training."""
    from pose3d.networks import choices
    from pose3d.networks.augmentation import Augmentation
    from pose3d.networks.runs import Run
    from pose3d.networks.spec import NetworkSpec
    from pose3d.networks.training import TrainingSettings
    from pose3d.networks.weights import fetch_imagenet_weights

    if arguments["patience"]:
        kept, held = _held_out(project, train, arguments["seed"])
        train, test = train.at(kept), train.at(held)
    xy = train.xy[:, 0]
    scale, rotation = arguments["scale"], arguments["rotation"]
    spec = NetworkSpec(
        backbone=arguments["backbone"],
        keypoints=train.keypoints,
        scale=1.0 if scale is None else scale,
        pixels=arguments["pixels"],
        stride=arguments["stride"],
        supervised=arguments["supervised"],
    )
    if scale is None:
        sizes = _image_sizes(project, train)
        spec = replace(spec, scale=choices.choose_scale(xy, sizes, spec.multiple))
    crop_size = arguments["crop_size"]
    if crop_size is None:
        crop_size = choices.choose_crop_size(xy, spec.scale, spec.multiple)
    if crop_size % spec.multiple:
        raise ValueError(
            f"crop_size is {crop_size}; {spec.backbone} needs a multiple of {spec.multiple}."
        )
    augmentation = Augmentation(
        rotation_degrees=choices.choose_rotation(xy, train.cameras)
        if rotation is None
        else rotation,
        flip=arguments["flip"],
    )
    settings = TrainingSettings(
        crop_size=crop_size,
        augmentation=augmentation,
        checkpoint_seconds=checkpoint_seconds,
        **{
            key: arguments[key]
            for key in (
                "steps",
                "minutes",
                "batch_size",
                "learning_rate",
                "schedule",
                "patience",
                "precision",
                "seed",
                "unlabeled",
            )
        },
    )
    weights = arguments["weights"]
    pretrained = None
    if weights == "imagenet":
        pretrained = fetch_imagenet_weights(spec.backbone)
    elif weights is not None:
        pretrained = Path(weights)
        if not pretrained.is_file():
            raise FileNotFoundError(
                f"There is no file of weights {pretrained}. Give a file, or imagenet to download."
            )
    return Run(
        spec, settings, cameras, project.path, train, test, project.skeleton.mirrored, pretrained,
        pseudo or None,
    )  # fmt: skip


def _precision(folder, wanted, backbone, restart):
    """Say in which arithmetic to train: that in which a training was begun, unless told."""
    from pose3d.networks.devices import quicker_precision

    if wanted != "auto":
        return wanted
    begun = folder / "training.json"
    if begun.is_file() and not restart:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            return json.loads(begun.read_text(encoding="utf-8"))["training"]["precision"]
    return quicker_precision(backbone)


def _held_out(project, train, seed):
    """Divide images for training into nine tenths and one, by moments."""
    from pose3d.networks.datasets import split_labels

    numbers = moment_numbers(project, train)
    return split_labels(train, train_fraction=0.9, seed=seed, numbers=numbers).indices(train)


def _image_sizes(project, labels):
    """Return the size of the first readable image of each camera."""
    from calibration.video import read_image

    sizes = {}
    for image, camera in zip(labels.images, labels.cameras, strict=True):
        if camera not in sizes:
            with contextlib.suppress(DataError, OSError):
                sizes[camera] = read_image(project.path / image, pixels="luma").shape[1::-1]
    return sizes.values()


def _row(network, run):
    """Return a line of the table about a trained network."""
    return {
        "cameras": ", ".join(network.cameras),
        "backbone": run.spec.backbone,
        "scale": run.spec.scale,
        "crop": run.settings.crop_size,
        "rotation": run.settings.augmentation.rotation_degrees,
        "images": len(run.train),
        "pseudo_labeled": len(run.pseudo or ()),
        "steps": network.notes["steps"],
        "seconds": network.notes["seconds"],
        "test_error_px": network.notes["test_error_px"],
    }
