"""Training: seeded batches, AdamW, averaged weights, checkpoints that survive a kill."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from calibration.errors import DataError
from pose3d.networks.architecture import build_model, freeze_normalization, initialize
from pose3d.networks.augmentation import Augmentation
from pose3d.networks.batches import Batch, Examples, make_batch, spread_out
from pose3d.networks.checkpoints import History, load_checkpoint, save_checkpoint
from pose3d.networks.engine import keras, tf
from pose3d.networks.inference import Predictor
from pose3d.networks.losses import pose_loss
from pose3d.networks.prefetching import prefetch
from pose3d.networks.running import Interruption
from pose3d.networks.spec import NetworkSpec
from pose3d.networks.weights import (
    check_tensors,
    load_pretrained,
    model_tensors,
    set_model_tensors,
)
from pose3d.scoremaps import Targets

#: Test images that are tried while training; all of them are when the network is evaluated.
_MOST_TESTS = 64


#: Arithmetic that needs no scaling of the loss; float16 would.
PRECISIONS = ("float32", "mixed_bfloat16")

#: What is left of the learning rate when a share of the training is done.
SCHEDULES = {
    "cosine": lambda done: (1 + np.cos(np.pi * done)) / 2,
    "linear": lambda done: min(1.0, 2 * (1 - done)),
    "steps": lambda done: 1.0 if done < 0.7 else 0.1 if done < 0.9 else 0.01,
    "constant": lambda done: 1.0,
}


@dataclass(frozen=True)
class TrainingSettings:
    """How a network is trained.

    Attributes
    ----------
    steps : int
        Number of steps, a batch each.
    minutes : float or None
        Training time after which it ends if that comes first, interruptions not counted.
    batch_size, crop_size : int
        Crops per step, and their side in network pixels.
    learning_rate : float
        The highest one, reached after `warm_up` steps.
    schedule : {"cosine", "linear", "steps", "constant"}
        How the learning rate falls after that: to zero along a cosine; to zero in a straight line
        over the last half; to a tenth after 70 % and a hundredth after 90 %; not at all.
    warm_up : int
        Steps in which the learning rate rises from zero.
    weight_decay : float
        Of AdamW, on kernels.
    averaging : float
        Each step the averaged weights keep this share of themselves. They are the result.
    seed : int
        Of the first weights and of every batch.
    precision : {"float32", "mixed_bfloat16"}
        Arithmetic of the training; the result is float32.
    tests : int
        How often in the training the averaged network is tried on test images.
    patience : int or None
        End when so many trials in a row have not lowered the least error; None goes on.
    checkpoint_seconds : float
        Longest time whose work a kill can cost.
    augmentation : Augmentation
        How much the images are changed.
    unlabeled : {"absent", "unknown"}
        What a keypoint without a label in a labelled image is: hidden, and not to be found, as
        DeepLabCut has it; or somewhere, and nothing is asked about it. On a rendered recording
        42 % of the hidden keypoints were called sure with "unknown", 4 % with "absent".
    """

    steps: int = 12_000
    minutes: float | None = None
    batch_size: int = 8
    crop_size: int = 128
    learning_rate: float = 5e-3
    schedule: str = "cosine"
    warm_up: int = 200
    weight_decay: float = 1e-4
    averaging: float = 0.998
    seed: int = 0
    precision: str = "float32"
    tests: int = 10
    patience: int | None = None
    checkpoint_seconds: float = 60.0
    augmentation: Augmentation = field(default_factory=Augmentation)
    unlabeled: str = "absent"

    def __post_init__(self):
        if self.unlabeled not in ("absent", "unknown"):
            raise ValueError(f"unlabeled is {self.unlabeled!r}; expected absent or unknown.")
        for name in ("steps", "batch_size", "crop_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least 1.")
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"precision is {self.precision!r}; expected {' or '.join(PRECISIONS)}."
            )
        if self.schedule not in SCHEDULES:
            raise ValueError(
                f"schedule is {self.schedule!r}; expected one of {', '.join(SCHEDULES)}."
            )
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}; expected 0 or more.")
        if not self.checkpoint_seconds >= 0:
            raise ValueError(
                f"checkpoint_seconds is {self.checkpoint_seconds}; expected 0 or more."
            )
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"patience is {self.patience}; expected at least 1 trial.")
        if self.minutes is not None and not self.minutes > 0:
            raise ValueError(f"minutes is {self.minutes}; expected more than 0.")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate is {self.learning_rate}; expected more than 0.")

    def share_done(self, history: History) -> float:
        """Return the share of the training that is done, from 0 to 1."""
        share = history.step / self.steps
        if self.minutes is not None:
            share = max(share, history.seconds / (60 * self.minutes))
        if self.patience is not None:
            since = len(history.test_errors) - 1 - np.argmin(history.test_errors or [0.0])
            if since >= self.patience:
                return 1.0
        return min(share, 1.0)

    def rate(self, history: History) -> float:
        """Return the learning rate of the next step."""
        rising = (history.step + 1) / max(1, min(self.warm_up, self.steps // 4))
        falling = SCHEDULES[self.schedule](self.share_done(history))
        return float(self.learning_rate * min(1.0, rising) * falling)

    def to_dict(self) -> dict[str, Any]:
        """Return what decides the result, as JSON knows it."""
        return {key: value for key, value in asdict(self).items() if key != "checkpoint_seconds"}


def train(
    spec: NetworkSpec,
    settings: TrainingSettings,
    examples: Examples,
    folder: Path,
    *,
    mirrored: np.ndarray,
    tests: Examples | None = None,
    pretrained: Path | None = None,
    progress: Callable[[History], None] | None = None,
    saved: Callable[[History], None] | None = None,
) -> tuple[keras.Model, History]:
    """Train a network, or go on where an interrupted training stopped.

    Parameters
    ----------
    spec : NetworkSpec
        What to train.
    settings : TrainingSettings
        How.
    examples : Examples
        The labelled images to train on.
    folder : Path
        Where checkpoints are kept; what lies there is continued.
    mirrored : ndarray of int of shape (n_keypoints,)
        Each keypoint's partner, see `Skeleton.mirrored`.
    tests : Examples, optional
        Images on which the averaged network is tried now and then, for the learning curve.
    pretrained : Path, optional
        Weights to start from, see `load_pretrained`.
    progress, saved : callable, optional
        Called with the history after every step, and after every checkpoint.

    Returns
    -------
    model : keras.Model
        The averaged network.
    history : History
        How it went.

    Raises
    ------
    DataError
        If the loss is not finite any more; the message names the step and the images.
    KeyboardInterrupt, SystemExit
        If asked to stop; the state is saved before.
    """
    trainer = _Trainer(spec, settings, pretrained)
    stored = load_checkpoint(folder)
    history = trainer.restore(*stored, folder) if stored else History()
    trial = _Trial(trainer.averaged, tests)
    multiple = max(1, round(settings.steps / settings.tests)) if settings.tests else 0

    def make(step):
        return make_batch(
            examples,
            step,
            seed=settings.seed,
            batch_size=settings.batch_size,
            crop_size=settings.crop_size,
            augmentation=settings.augmentation,
            mirrored=mirrored,
            unlabeled=settings.unlabeled,
        )

    def save():
        save_checkpoint(folder, trainer.tensors(), history)
        if saved is not None:
            saved(history)

    last_save = clock = time.monotonic()
    # closed, as an error that is kept would keep it and its thread
    with (
        contextlib.closing(prefetch(make, range(history.step, settings.steps))) as batches,
        Interruption() as interruption,
    ):
        while settings.share_done(history) < 1:
            batch = next(batches)
            loss = trainer.step(batch, settings.rate(history), history.step)
            if not np.isfinite(loss):
                raise DataError(_not_finite(loss, batch, examples, folder))
            history.losses.append(loss)
            now = time.monotonic()
            history.seconds += now - clock
            done = settings.share_done(history) >= 1
            if tests and multiple and (history.step % multiple == 0 or done):
                history.test_steps.append(history.step)
                history.test_errors.append(trial.mean_error_px())
            if progress is not None:
                progress(history)
            if done or interruption.signal or now - last_save > settings.checkpoint_seconds:
                save()
                last_save = time.monotonic()
            if interruption.signal:
                interruption.end()
            clock = time.monotonic()
    return trainer.averaged, history


def _not_finite(loss, batch, examples, folder):
    """Say where a training went wrong."""
    names = ", ".join(examples.paths[i].name for i in np.unique(batch.indices))
    return (
        f"The loss of step {batch.step} is {loss}, so training stopped; the last checkpoint in "
        f"{folder} is from before. The step's images were {names}. Look at their labels, or "
        "begin anew with a lower learning rate."
    )


def training_strategy() -> tf.distribute.Strategy:
    """Return how training is spread: over all graphics cards where there are several."""
    if len(tf.config.list_logical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


class _Trainer:
    """A network, its average, its optimizer; on every graphics card, each with its share."""

    def __init__(self, spec, settings, pretrained, strategy=None):
        self._strategy = strategy or training_strategy()
        self._shares = self._strategy.num_replicas_in_sync
        if settings.batch_size % self._shares:
            raise DataError(
                f"A batch of {settings.batch_size} crops cannot be shared by {self._shares} "
                f"graphics cards; take a batch_size that {self._shares} divides."
            )
        with self._strategy.scope():
            self.model = build_model(spec, precision=settings.precision)
            self.averaged = build_model(spec)
            initialize(self.model, settings.seed)
            if pretrained is not None:
                load_pretrained(self.model, pretrained)
                freeze_normalization(self.model)
            self.averaged.set_weights(self.model.get_weights())
            self.optimizer = keras.optimizers.AdamW(
                settings.learning_rate, weight_decay=settings.weight_decay
            )
            self.optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
            self.optimizer.build(self.model.trainable_variables)
        self._averaging = settings.averaging
        self._batch_size = settings.batch_size
        self._crop_size = settings.crop_size
        self._step = tf.function(self._train_step, reduce_retracing=True)

    def step(self, batch: Batch, rate: float, number: int) -> float:
        """Take one step and return its loss."""
        # the average of few steps would still be mostly the untrained weights
        keep = min(self._averaging, (1 + number) / (10 + number))
        try:
            loss = self._step(
                tf.constant(batch.images),
                Targets(*(tf.constant(part) for part in batch.targets)),
                tf.constant(rate, tf.float32),
                tf.constant(keep, tf.float32),
            )
        except tf.errors.ResourceExhaustedError as error:
            raise DataError(
                f"There is not enough memory for batches of {self._batch_size} crops of "
                f"{self._crop_size} pixels. Take a batch_size of "
                f"{max(1, self._batch_size // 2)}, or a smaller crop_size. ({error.message})"
            ) from None
        return float(loss)

    def _train_step(self, images, targets, rate, keep):
        self.optimizer.learning_rate.assign(rate)
        if self._shares == 1:
            loss = self._learn(images, targets)
        else:
            losses = self._strategy.run(self._learn_share, args=(images, targets))
            loss = self._strategy.reduce("sum", losses, axis=None)
        for average, weight in zip(self.averaged.weights, self.model.weights, strict=True):
            average.assign(weight + keep * (average - weight))
        return loss

    def _learn_share(self, images, targets):
        """Learn from one card's share of the batch; gradients of all cards are added."""
        number = tf.distribute.get_replica_context().replica_id_in_sync_group
        share = images.shape[0] // self._shares
        images, *targets = (
            part[number * share : (number + 1) * share] for part in (images, *targets)
        )
        return self._learn(images, Targets(*targets))

    def _learn(self, images, targets):
        with tf.GradientTape() as tape:
            maps = self.model(tf.cast(images, tf.float32), training=True)
            loss = pose_loss(*maps[:2], targets)
            if len(maps) > 2:  # the middle of the network
                loss += pose_loss(*maps[2:], targets)
            loss /= self._shares
        variables = self.model.trainable_variables
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    def tensors(self):
        """Return the state as arrays by group and name."""
        variables = self.optimizer.variables
        return {
            "weights": model_tensors(self.model),
            "averaged": model_tensors(self.averaged),
            "optimizer": {f"{i:04d}": np.asarray(value) for i, value in enumerate(variables)},
        }

    def restore(self, groups, history, folder):
        """Take on a state, and return its history."""
        for group, tensors in self.tensors().items():
            shapes = {name: array.shape for name, array in tensors.items()}
            check_tensors(groups.get(group, {}), shapes, f"The checkpoint in {folder}, {group}")
        set_model_tensors(self.model, groups["weights"])
        set_model_tensors(self.averaged, groups["averaged"])
        for i, variable in enumerate(self.optimizer.variables):
            variable.assign(groups["optimizer"][f"{i:04d}"])
        return history


class _Trial:
    """The averaged network on test images."""

    def __init__(self, model, tests):
        self._tests = tests
        if tests:
            self._predictor = Predictor(model, tests.spec, engine="plain")
            self._some = spread_out(len(tests), _MOST_TESTS)
            self._images = [tests.image(i) for i in self._some]

    def mean_error_px(self):
        """Return the mean distance to the labels in pixels of the original images."""
        xy = self._predictor.predict_shrunk(self._images).xy
        distances = np.linalg.norm(xy - self._tests.xy[self._some], axis=-1)
        known = distances[np.isfinite(distances)]
        return float(known.mean() / self._tests.spec.scale) if known.size else 0.0
