"""A network gives the same points however it is run."""

import numpy as np
import pytest

from calibration.errors import DataError
from pose3d.networks import engines
from pose3d.networks.architecture import build_model, initialize
from pose3d.networks.folding import fold
from pose3d.networks.following import Follower
from pose3d.networks.inference import Predictor
from pose3d.networks.spec import NetworkSpec

KEYPOINTS = ("nose", "tail")


def trained_looking(backbone, rng):
    """Build a network whose normalisation is not that of an untrained one."""
    model = build_model(NetworkSpec(backbone, KEYPOINTS))
    initialize(model, 0)
    for layer in model.layers:
        if "Normalization" in type(layer).__name__:
            layer.set_weights([rng.uniform(0.7, 1.3, w.shape) for w in layer.get_weights()])
    return model


@pytest.mark.parametrize("backbone", ["unet", "mobilenet_v2_0.35"])
def test_folding_changes_nothing(rng, backbone):
    model = trained_looking(backbone, rng)
    image = rng.uniform(0, 255, (2, 64, 128, 1)).astype(np.float32)
    folded = fold(model)
    assert not [layer for layer in folded.layers if "Normalization" in type(layer).__name__]
    for expected, found in zip(model(image), folded(image), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_every_engine_finds_the_same_points(rng):
    model = trained_looking("unet", rng)
    spec = NetworkSpec("unet", KEYPOINTS, scale=1.0)
    images = [rng.integers(0, 256, (64, 128), np.uint8) for _ in range(3)]
    expected = Predictor(model, spec, batch_size=2, engine="plain").predict(images)
    for engine in engines.available_engines():
        found = Predictor(model, spec, batch_size=2, engine=engine).predict(images)
        exact = engine == "float32"
        error = np.linalg.norm(found.xy - expected.xy, axis=-1)
        assert np.median(error) < (1e-3 if exact else 0.3)  # noise has peaks of equal height
    auto = Predictor(model, spec, batch_size=None, engine="auto")
    assert auto.prepare((128, 64)) in engines.available_engines()
    assert auto.batch_size in (8, 16, 32, 64, 128)


def test_an_engine_that_is_not_there_says_how_to_get_it(rng, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    model = build_model(NetworkSpec("unet", KEYPOINTS))
    with pytest.raises(DataError, match=r"pip install pose3d\[fast\]"):
        engines.compile_engine(model, lambda *maps: maps, (1, 64, 64, 1), "openvino")
    with pytest.raises(ValueError, match="expected one of plain"):
        engines.compile_engine(model, lambda *maps: maps, (1, 64, 64, 1), "turbo")


def test_a_window_follows_the_animal_and_is_left_where_it_is_lost():
    follower = Follower((512, 640), 64)
    sure = np.full((2, 3), 0.9)
    xy = np.array([[300.0, 200.0], [320, 210], [310, 230]]) + np.zeros((2, 1, 1))
    follower.learn(xy, sure, whole=True)
    rows, columns = follower.window
    assert (rows.start % 64, columns.start % 64) == (0, 0)
    assert rows.start <= 168
    assert rows.stop >= 262
    assert (columns.stop - columns.start) < 320
    assert follower.trusts(xy, sure)
    assert not follower.trusts(xy, sure * [1, 1, 0.1])  # one keypoint less than usual
    edge = xy + [columns.stop - 321.0, 0]
    assert not follower.trusts(edge, sure)  # it may go on outside
    follower.learn(xy, sure * 0, whole=True)
    assert follower.window is None


def test_an_engine_that_fails_is_not_the_quickest(monkeypatch):
    def compile_engine(model, head, shape, engine):
        if engine == broken:
            raise RuntimeError("this processor has no such instruction")
        return lambda batch: ()

    monkeypatch.setattr(engines, "available_engines", lambda: ("float32", "bfloat16"))
    monkeypatch.setattr(engines, "compile_engine", compile_engine)
    broken = "bfloat16"
    assert engines.quickest_engine(None, None, (1, 8, 8, 1)) == "float32"
    broken = "float32"
    with pytest.raises(RuntimeError, match="no such instruction"):
        engines.quickest_engine(None, None, (1, 8, 8, 1))
