"""Training: it learns, stops where it must, and goes on as if nothing had happened."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import cv2
import h5py
import numpy as np
import pytest

from calibration.errors import DataError, DataWarning
from calibration.images import write_image
from pose3d.networks import backbones
from pose3d.networks.augmentation import Augmentation
from pose3d.networks.batches import Examples
from pose3d.networks.checkpoints import (
    History,
    check_same_run,
    checkpoint_files,
    load_checkpoint,
    save_checkpoint,
)
from pose3d.networks.running import Interruption, only_one
from pose3d.networks.spec import NetworkSpec
from pose3d.networks.training import TrainingSettings, train

SPEC = NetworkSpec("unet", ("bright", "dark"), scale=1.0)
SETTINGS = TrainingSettings(
    steps=30, batch_size=2, crop_size=64, tests=3, warm_up=10, averaging=0.9,
    augmentation=Augmentation(rotation_degrees=30.0),
)  # fmt: skip
NO_PARTNERS = np.arange(2)


def picture(rng, xy, size=(128, 96)):
    """Draw a bright and a dark dot on a grey texture."""
    image = cv2.GaussianBlur(rng.normal(128, 60, size[::-1]), (0, 0), 2)
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    for (px, py), height in zip(xy, (100, -100), strict=True):
        image += height * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 2 / 2.5**2)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def examples_in(folder, n_images=10, seed=0):
    rng = np.random.default_rng(seed)
    xy = rng.uniform([20, 20], [107, 75], size=(n_images, 2, 2))
    paths = [write_image(folder / f"img{i:03d}.png", picture(rng, p)) for i, p in enumerate(xy)]
    return Examples(paths, xy, SPEC)


@pytest.fixture(scope="module", autouse=True)
def small_network():
    """What is tested here does not depend on the size of the network; its tracing takes time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backbones, "_LEVELS", (16, 24, 32))
        yield


@pytest.fixture
def examples(tmp_path):
    return examples_in(tmp_path / "images")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The weights and the curve of a training that nothing disturbed."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    examples = examples_in(folder / "images")
    model, history = train(
        SPEC, SETTINGS, examples, folder / "checkpoints", mirrored=NO_PARTNERS, tests=examples
    )
    return model.get_weights(), history


def assert_same(model, history, uninterrupted):
    weights, expected = uninterrupted
    assert history.losses == expected.losses
    assert history.test_steps == expected.test_steps == [10, 20, 30]
    assert history.test_errors == expected.test_errors
    for ours, theirs in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_network_learns_to_find_dots_to_a_pixel(tmp_path):
    settings = replace(SETTINGS, steps=250, batch_size=4, crop_size=128, tests=1)
    _, history = train(
        SPEC, settings, examples_in(tmp_path / "train", 24), tmp_path, mirrored=NO_PARTNERS,
        tests=examples_in(tmp_path / "test", 12, seed=1),
    )  # fmt: skip
    assert history.test_errors[-1] < 1.0  # 0.6; the dots are 2.5 px wide
    assert history.losses[-1] < history.losses[0] / 3


def test_one_seed_gives_one_network(tmp_path, examples, uninterrupted):
    model, history = train(
        SPEC, SETTINGS, examples, tmp_path / "c", mirrored=NO_PARTNERS, tests=examples
    )
    assert_same(model, history, uninterrupted)


def stop_at(step, number):
    def stop(history):
        if history.step == step:
            signal.raise_signal(number)

    return stop


def test_a_request_to_stop_saves_and_the_rest_is_as_if_nothing_had_happened(
    tmp_path, examples, uninterrupted
):
    arguments = {"mirrored": NO_PARTNERS, "tests": examples}
    with pytest.raises(KeyboardInterrupt):
        train(
            SPEC, SETTINGS, examples, tmp_path / "c", progress=stop_at(17, signal.SIGINT),
            **arguments,
        )  # fmt: skip
    assert [path.name for path in checkpoint_files(tmp_path / "c")] == ["checkpoint-000000017.h5"]
    model, history = train(SPEC, SETTINGS, examples, tmp_path / "c", **arguments)
    assert_same(model, history, uninterrupted)


def test_the_system_s_request_ends_with_its_exit_code():
    with Interruption() as interruption:
        signal.raise_signal(signal.SIGTERM)
        assert interruption.signal == signal.SIGTERM
    with pytest.raises(SystemExit) as error:
        interruption.end()
    assert error.value.code == 143


#: Two processors in the place of two graphics cards, each with half of every batch.
SHARED = """
import numpy as np
from pose3d.networks import backbones
from pose3d.networks.engine import tf
backbones._LEVELS = (8, 12)
processor = tf.config.list_physical_devices("CPU")[0]
parts = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(processor, parts)
from pose3d.networks.batches import Batch
from pose3d.networks.spec import NetworkSpec
from pose3d.networks.training import TrainingSettings, _Trainer
from pose3d.scoremaps import encode
rng = np.random.default_rng(0)
images = np.tile(rng.integers(0, 255, (2, 64, 64, 1), dtype=np.uint8), (2, 1, 1, 1))
xy = np.tile(rng.uniform(10, 50, (2, 2, 2)), (2, 1, 1))
batch = Batch(0, images, xy, encode(xy, (64, 64), 4), np.arange(4))
settings = TrainingSettings(batch_size=4, crop_size=64, learning_rate=1e-3)
spec = NetworkSpec("unet", ("a", "b"), scale=1.0)
cards = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
alone, shared = _Trainer(spec, settings, None), _Trainer(spec, settings, None, cards)
for step in range(3):
    one, two = (trainer.step(batch, 1e-3, step) for trainer in (alone, shared))
    assert abs(one - two) < 0.1 * one, (one, two)
pairs = zip(alone.averaged.get_weights(), shared.averaged.get_weights(), strict=True)
assert max(float(np.abs(a - b).max()) for a, b in pairs) < 5e-3
"""


def test_several_cards_learn_together_what_one_learns():
    subprocess.run([sys.executable, "-c", SHARED], check=True)


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path, examples, uninterrupted):
    often = replace(SETTINGS, checkpoint_seconds=0.0)
    folder = tmp_path / "c"
    arguments = {"mirrored": NO_PARTNERS, "tests": examples}
    with pytest.raises(KeyboardInterrupt):
        train(
            SPEC, often, examples, folder, progress=stop_at(12, signal.SIGINT), **arguments
        )  # fmt: skip
    newest = checkpoint_files(folder)[-1]
    content = bytearray(newest.read_bytes())
    for damaged in (content[: len(content) // 3], b"", flipped(content, newest)):
        newest.write_bytes(damaged)
        with pytest.warns(DataWarning, match=f"the one before it is taken.*{newest.name}"):
            _, history = load_checkpoint(folder)
        assert history.step == 11
    with pytest.warns(DataWarning, match="the one before it is taken"):
        model, history = train(SPEC, SETTINGS, examples, folder, **arguments)
    assert_same(model, history, uninterrupted)


def flipped(content, path):
    """Flip one bit of one number; a byte anywhere may lie between the tensors."""
    with h5py.File(path) as file:
        kernels = []
        file.visititems(
            lambda name, item: kernels.append(item) if name.endswith("kernel") else None
        )
        kernel = kernels[len(kernels) // 2]
        start = kernel.id.get_offset() or kernel.id.get_chunk_info(0).byte_offset
    content = bytearray(content)
    content[start + 2] ^= 1
    return content


def test_a_loss_that_is_not_finite_stops_and_names_step_and_images(tmp_path, examples):
    wild = replace(SETTINGS, learning_rate=1e30, warm_up=1, checkpoint_seconds=0.0, tests=0)
    with pytest.raises(DataError, match=r"loss of step \d+ is (nan|inf).*img0\d\d.png") as error:
        train(SPEC, wild, examples, tmp_path / "c", mirrored=NO_PARTNERS)
    step = int(str(error.value).split("step ")[1].split(" ")[0])
    for path in checkpoint_files(tmp_path / "c"):
        assert int(path.stem.partition("-")[2]) <= step
        groups, _ = load_checkpoint(tmp_path / "c")
        assert all(np.isfinite(array).all() for array in groups["averaged"].values())


def test_a_training_ends_after_its_minutes(tmp_path, examples):
    settings = replace(SETTINGS, steps=100_000, minutes=2 / 60, tests=0)
    _, history = train(SPEC, settings, examples, tmp_path / "c", mirrored=NO_PARTNERS)
    assert 2 <= history.seconds < 20
    assert settings.rate(history) == 0


@pytest.mark.parametrize(
    ("schedule", "halfway", "late"),
    [("cosine", 0.5, 0.0245), ("linear", 1.0, 0.2), ("steps", 1.0, 0.01), ("constant", 1.0, 1.0)],
)
def test_the_learning_rate_rises_and_falls(schedule, halfway, late):
    settings = replace(SETTINGS, steps=1000, warm_up=100, learning_rate=1.0, schedule=schedule)
    rates = [settings.rate(History(losses=[0.0] * step)) for step in (0, 49, 500, 900)]
    assert rates[0] == pytest.approx(0.01)
    assert 0.45 <= rates[1] <= 0.5
    assert rates[2:] == pytest.approx([halfway, late], abs=1e-3)


def test_training_ends_when_trials_no_longer_improve():
    settings = replace(SETTINGS, patience=2)
    history = History(test_errors=[5.0, 3.0, 3.1])
    assert settings.share_done(history) < 1
    history.test_errors.append(3.2)
    assert settings.share_done(history) == 1


def test_two_checkpoints_are_kept(tmp_path):
    for n in range(1, 6):
        history = History(losses=[1.0] * n, test_steps=[1], test_errors=[2.0], seconds=3.5)
        save_checkpoint(tmp_path, {"weights": {"a/b": np.arange(3.0)}}, history)
    assert len(checkpoint_files(tmp_path)) == 2
    groups, found = load_checkpoint(tmp_path)
    assert found.step == 5
    assert (found.test_steps, found.test_errors, found.seconds) == ([1], [2.0], 3.5)
    np.testing.assert_array_equal(groups["weights"]["a/b"], np.arange(3.0))
    assert load_checkpoint(tmp_path / "nowhere") is None


def test_other_settings_are_refused_one_by_one(tmp_path):
    path = tmp_path / "training.json"
    path.write_text(json.dumps({"training": {"steps": 5, "seed": 1}, "labels": "ab"}))
    check_same_run(path, {"training": {"steps": 5, "seed": 1}, "labels": "ab"})
    with pytest.raises(DataError, match="training.seed was 1, is 2; labels was 'ab', is 'cd'"):
        check_same_run(path, {"training": {"steps": 5, "seed": 2}, "labels": "cd"})


def test_a_second_process_is_told_who_is_at_work(tmp_path):
    with (
        only_one(tmp_path / "training.lock"),
        pytest.raises(DataError, match=f"Process {os.getpid()} on .* is at work"),
        only_one(tmp_path / "training.lock"),
    ):
        pass
    with only_one(tmp_path / "training.lock"):
        pass
