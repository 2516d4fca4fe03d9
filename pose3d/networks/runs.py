"""One network's training from labels to a folder: begun, gone on with, or already done."""

import csv
import io
import json
import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from calibration.errors import DataError, DataWarning
from calibration.files import file_digest, write_text
from pose3d.confidence import Confidence, learn_confidence
from pose3d.labels import LabeledFrames
from pose3d.metrics import animal_sizes
from pose3d.networks.batches import Examples, spread_out
from pose3d.networks.checkpoints import History, check_same_run
from pose3d.networks.datasets import labels_digest
from pose3d.networks.engine import keras
from pose3d.networks.inference import Predictor
from pose3d.networks.spec import NetworkSpec
from pose3d.networks.storage import PoseNetwork, load_networks, save_network
from pose3d.networks.training import TrainingSettings, train

#: A point is right within this share of the animal's size from its label.
RIGHT_WITHIN = 0.1

#: Held-out images from which a network's confidence is learnt.
_MOST_MEASURED = 400

#: What a training leaves, the file first that makes a network whole, and what was measured of it.
_LEFT_BEHIND = (
    "network.json", "training.json", "weights.h5", "history.csv", "learning-curve.html",
    "evaluation.json", "evaluation.html", "evaluation.csv", "evaluation-images.csv",
)  # fmt: skip

#: Rows of history.csv, about.
_CURVE_POINTS = 400


@dataclass(frozen=True)
class Run:
    """Everything that decides what a training gives.

    Attributes
    ----------
    spec : NetworkSpec
        What is trained.
    settings : TrainingSettings
        How.
    cameras : tuple of str
        Whose images it is trained on.
    root : Path
        Where the images' paths begin.
    train, test : LabeledFrames
        Images to train on, and to test on; of one individual.
    mirrored : ndarray of int of shape (n_keypoints,)
        Each keypoint's partner, see `Skeleton.mirrored`.
    pretrained : Path or None
        Weights to start from.
    pseudo : LabeledFrames or None
        Images that geometry labelled, to train on as well: half of each batch. A keypoint without
        a label is unknown in them.
    """

    spec: NetworkSpec
    settings: TrainingSettings
    cameras: tuple[str, ...]
    root: Path
    train: LabeledFrames
    test: LabeledFrames
    mirrored: np.ndarray
    pretrained: Path | None = None
    pseudo: LabeledFrames | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return what another run must equal to go on with this one, as JSON knows it."""
        return {
            "network": self.spec.to_dict(),
            "training": self.settings.to_dict(),
            "cameras": list(self.cameras),
            "n_train": len(self.train),
            "n_test": len(self.test),
            "labels": labels_digest(self.train) + labels_digest(self.test),
            "weights": file_digest(self.pretrained) if self.pretrained else None,
            "mirrored": self.mirrored.tolist() if self.settings.augmentation.flip else None,
            "pseudo_labels": labels_digest(self.pseudo) if self.pseudo else None,
        }


def perform(
    run: Run,
    folder: Path,
    *,
    origin: Mapping[str, Any],
    restart: bool = False,
    progress: Callable[[History], None] | None = None,
    saved: Callable[[History], None] | None = None,
) -> PoseNetwork:
    """Train a network in a folder, or go on, or return what was trained there before.

    Parameters
    ----------
    run : Run
        What to train.
    folder : Path
        Where the network, its history and meanwhile its checkpoints lie.
    origin : mapping
        What is noted in the network, see `calibration.files.provenance`.
    restart : bool
        Whether to throw away what was trained there.
    progress, saved : callable, optional
        See `pose3d.networks.training.train`.

    Raises
    ------
    DataError
        If a training with other settings was begun there, or the labels do not suffice.
    """
    check_enough(run)
    if restart:
        clear(folder)
    begun, checkpoints = folder / "training.json", folder / "checkpoints"
    content = run.to_dict()
    if begun.is_file():
        check_same_run(begun, content)
    elif (folder / "network.json").is_file():
        raise DataError(
            f"The network in {folder} was not trained there: training.json is not beside it. "
            "Give another name, or restart to throw it away."
        )
    else:
        shutil.rmtree(checkpoints, ignore_errors=True)  # nobody knows of what
        write_text(begun, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    if (folder / "network.json").is_file():
        shutil.rmtree(checkpoints, ignore_errors=True)  # if it was killed between the two
        return load_networks(folder)[run.cameras[0]]
    names = run.spec.keypoints
    labelled = np.isfinite(run.train.xy[:, 0]).all(axis=-1).any(axis=0)
    untrained = tuple(name for name, known in zip(names, labelled, strict=True) if not known)
    if untrained:
        warnings.warn(
            f"No training image of {', '.join(run.cameras)} has a label of "
            f"{', '.join(untrained)}: the network will not find them.",
            DataWarning,
            stacklevel=2,
        )

    def keep(history):
        save_history(folder / "history.csv", history)
        if saved is not None:
            saved(history)

    examples = _examples(run, run.train, run.pseudo)
    tests = _examples(run, run.test) if len(run.test) else None
    model, history = train(
        run.spec,
        run.settings,
        examples,
        checkpoints,
        mirrored=run.mirrored,
        tests=tests,
        pretrained=run.pretrained,
        progress=progress,
        saved=keep,
    )
    keep(history)
    notes = {
        "training": content,
        "steps": history.step,
        "seconds": round(history.seconds, 1),
        "image_sizes": sorted(examples.image_sizes),
        "test_error_px": history.test_errors[-1] if history.test_errors else None,
        "origin": dict(origin),
    }
    if tests:
        asked = run.settings.unlabeled == "absent"
        notes["confidence"] = measure_confidence(model, tests, untrained, absent=asked).to_dict()
    network = PoseNetwork(run.spec, model, run.cameras, untrained, notes=notes)
    save_network(folder, network)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return load_networks(folder)[run.cameras[0]]


def check_enough(run: Run) -> None:
    """Check that there is something to train on.

    Raises
    ------
    DataError
        If fewer than two images are.
    """
    if len(run.train) < 2:
        raise DataError(
            f"{len(run.train)} images of {', '.join(run.cameras)} are labelled and for training; "
            "two are needed at least, and 50 to be any good. Label more frames."
        )


def measure_confidence(
    model: keras.Model, tests: Examples, untrained: tuple[str, ...], *, absent: bool
) -> Confidence:
    """Learn what a network's likelihood is worth from images that it was not trained on.

    Parameters
    ----------
    model : keras.Model
        The network.
    tests : Examples
        The images.
    untrained : tuple of str
        Keypoints that it never saw.
    absent : bool
        Whether a keypoint without a label is hidden, so that finding it is wrong.
    """
    some = spread_out(len(tests), _MOST_MEASURED)
    predictor = Predictor(model, tests.spec)
    xy, raw, shape = predictor.predict_shrunk([tests.image(i) for i in some])
    labels = tests.xy[some]
    error = xy - labels
    size = animal_sizes(labels)[:, np.newaxis]
    with np.errstate(invalid="ignore"):
        right = np.linalg.norm(error, axis=-1) <= RIGHT_WITHIN * size
    asked = np.isfinite(labels).all(axis=-1) | absent
    asked[:, [tests.spec.keypoints.index(name) for name in untrained]] = False
    return learn_confidence(raw[asked], shape[asked], error[asked], right[asked])


def clear(folder: Path) -> None:
    """Remove what a training and its evaluation left in a folder, and nothing else."""
    for name in _LEFT_BEHIND:
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def _examples(run, labels, pseudo=None):
    """Read labelled images, of people's labels and of geometry's."""
    parts = [labels] if pseudo is None else [labels, pseudo]
    return Examples(
        [run.root / image for part in parts for image in part.images],
        np.concatenate([part.xy[:, 0] for part in parts]),
        run.spec,
        pseudo=np.repeat([False, True][: len(parts)], [len(part) for part in parts]),
    )


def save_history(path: Path, history: History) -> None:
    """Save a learning curve as CSV: mean loss up to each step since the row before, test error."""
    every = max(1, history.step // _CURVE_POINTS)
    tests = dict(zip(history.test_steps, history.test_errors, strict=True))
    steps = sorted({*range(every, history.step + 1, every), *tests, history.step} - {0})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["step", "loss", "test_error_px"])
    before = 0
    for step in steps:
        loss = np.mean(history.losses[before:step])
        error = f"{tests[step]:.4f}" if step in tests else ""
        writer.writerow([step, f"{loss:.6f}", error])
        before = step
    write_text(path, text.getvalue())
