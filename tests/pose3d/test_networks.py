"""Networks: every backbone, weights in files, and geometry from image to point and back."""

import json

import cv2
import h5py
import numpy as np
import pytest

from calibration.errors import DataError
from pose3d.networks.architecture import build_model, initialize
from pose3d.networks.engine import keras
from pose3d.networks.images import shrink, to_image_pixels, to_network_pixels
from pose3d.networks.inference import Predictor
from pose3d.networks.spec import BACKBONES, NetworkSpec
from pose3d.networks.storage import PoseNetwork, check_keypoints, load_networks, save_network
from pose3d.networks.weights import (
    fetch_imagenet_weights,
    imagenet_url,
    load_pretrained,
    model_tensors,
)

KEYPOINTS = ("nose", "tail")
SPEC = NetworkSpec("unet", KEYPOINTS, scale=0.5)


class Frame:
    def __init__(self, index, image):
        self.index, self.image = index, image


def dot(size, xy, sigma=9.0):
    """Draw a bright dot on black."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    gaussian = np.exp(-((x - xy[0]) ** 2 + (y - xy[1]) ** 2) / 2 / sigma**2)
    return np.rint(250 * gaussian).astype(np.uint8)


def seeing_model(spec):
    """Build a network that needs no training: its heat is how bright a cell is on average."""
    image = keras.Input((None, None, spec.channels))
    bright = keras.layers.AveragePooling2D(spec.stride)(image)
    share = keras.ops.clip(keras.ops.mean(bright, axis=-1, keepdims=True) / 256, 1e-6, 1 - 1e-6)
    logit = keras.ops.log(share) - keras.ops.log(1 - share)
    heat = keras.ops.concatenate([logit] * len(spec.keypoints), axis=-1)
    locref = keras.ops.concatenate([heat * 0] * 2, axis=-1)
    return keras.Model(image, [heat, locref])


@pytest.mark.parametrize(
    ("backbone", "stride"),
    [(name, 4) for name in BACKBONES if name[-3:] not in ("101", "152", "_b1", "_b2", ".75")]
    + [("unet", 8), ("mobilenet_v2_0.35", 8), ("mobilenet_0.25", 8), ("resnet_50", 8)],
)
def test_every_backbone_gives_a_map_per_keypoint_at_the_wanted_stride(backbone, stride):
    spec = NetworkSpec(backbone, ("a", "b", "c"), stride=stride)
    model = build_model(spec)
    size = np.array([2, 3]) * spec.multiple
    heat, locref = model(keras.KerasTensor((5, *size.tolist(), 1)))
    assert heat.shape == (5, *size // stride, 3)
    assert locref.shape == (5, *size // stride, 6)


def test_the_middle_of_a_deep_resnet_can_be_supervised():
    spec = NetworkSpec("resnet_101", KEYPOINTS, supervised="conv4_block12_out")
    outputs = build_model(spec).outputs
    assert [output.shape[-1] for output in outputs] == [2, 4, 2, 4]
    with pytest.raises(ValueError, match="unet cannot be supervised"):
        NetworkSpec("unet", KEYPOINTS, supervised="conv4_block12_out")
    with pytest.raises(ValueError, match="no layer 'conv9'"):
        build_model(NetworkSpec("resnet_101", KEYPOINTS, supervised="conv9"))


def test_resnets_have_the_layers_of_keras_by_name_and_shape():
    ours = build_model(NetworkSpec("resnet_50", KEYPOINTS))
    theirs = keras.applications.ResNet50(weights=None, include_top=False, input_shape=(64, 64, 3))
    shapes = {weight.path: weight.shape for weight in ours.weights}
    assert len(theirs.weights) == 318
    for weight in theirs.weights:
        assert shapes[weight.path] == weight.shape, weight.path


def test_first_weights_depend_on_the_seed_alone():
    first, second, other = (build_model(SPEC) for _ in range(3))
    initialize(first, 1)
    initialize(second, 1)
    initialize(other, 2)
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first.get_weights()[0], other.get_weights()[0])


@pytest.mark.parametrize("scale", [1.0, 0.5, 0.37])
@pytest.mark.parametrize("size", [(320, 240), (333, 251)])
@pytest.mark.parametrize("pixels", ["luma", "rgb"])
def test_a_dot_is_found_where_it_is_whatever_the_size_of_the_image(rng, scale, size, pixels):
    spec = NetworkSpec("unet", KEYPOINTS, scale=scale, pixels=pixels)
    predictor = Predictor(seeing_model(spec), spec)
    truth = rng.uniform([60, 60], np.array(size) - 60, size=(24, 2))
    images = [dot(size, xy) for xy in truth]
    if pixels == "rgb":
        images = [np.repeat(image[..., np.newaxis], 3, axis=2) for image in images]
    xy, likelihood, _ = predictor.predict(images)
    error = xy[:, 0] - truth
    assert np.abs(error.mean(axis=0)).max() < 0.05  # half a pixel wrong would be 0.5 / scale
    assert np.abs(error).max() < 0.3
    np.testing.assert_array_equal(xy[:, 0], xy[:, 1])
    assert likelihood.min() > 0.8


def test_points_go_to_the_network_and_back():
    xy = np.array([[0.0, 0.0], [638.0, 479.0], [-0.5, 479.5]])
    there = to_network_pixels(xy, (639, 480), 0.37)
    np.testing.assert_allclose(to_image_pixels(there, (639, 480), 0.37), xy, atol=1e-9)
    # the corner of the image is the corner of the shrunk image
    np.testing.assert_allclose(there[2], [-0.5, 178 - 0.5])


def test_shrinking_averages_all_pixels():
    stripes = np.tile(np.array([0, 255], np.uint8), (40, 20))
    assert np.abs(shrink(stripes, 0.5).astype(int) - 127.5).max() <= 1


@pytest.fixture(scope="module")
def untrained():
    model = build_model(SPEC)
    initialize(model, 0)
    return model


def test_a_result_does_not_depend_on_what_else_is_in_the_batch(untrained, rng):
    images = [
        cv2.GaussianBlur(rng.integers(0, 256, (90, 130), np.uint8), (0, 0), 3) for _ in range(7)
    ]
    one_by_one = Predictor(untrained, SPEC, batch_size=1)
    alone = np.concatenate([one_by_one.predict([image])[0] for image in images])
    for size in (4, 16):
        together, *_ = Predictor(untrained, SPEC, batch_size=size).predict(images)
        np.testing.assert_allclose(together, alone, atol=1e-3)


def test_a_stream_gives_what_single_images_give_and_cuts_batches_where_told(untrained, rng):
    images = [rng.integers(0, 256, (90, 130), np.uint8) for _ in range(13)]
    predictor = Predictor(untrained, SPEC, batch_size=4)
    frames = [Frame(i, image) for i, image in enumerate(images) if i != 6]
    parts = list(predictor.stream(iter(frames), (130, 90), cut=5))
    assert [part.frames.tolist() for part in parts] == [
        [0, 1, 2, 3], [4], [5, 7, 8, 9], [10, 11, 12]
    ]  # fmt: skip
    xy = np.concatenate([part.xy for part in parts])
    expected, *_ = predictor.predict([images[i] for i in range(13) if i != 6])
    np.testing.assert_allclose(xy, expected, atol=1e-3)


@pytest.mark.parametrize("kind", ["black", "white", "noise"])
def test_nothing_to_see_gives_finite_points_without_likelihood(untrained, rng, kind):
    image = {
        "black": np.zeros((100, 120), np.uint8),
        "white": np.full((100, 120), 255, np.uint8),
        "noise": rng.integers(0, 256, (100, 120), np.uint8),
    }[kind]
    xy, likelihood, _ = Predictor(untrained, SPEC).predict([image])
    assert np.isfinite(xy).all()
    assert likelihood.max() < 0.2


def test_a_keypoint_that_was_never_seen_is_missing(untrained):
    predictor = Predictor(untrained, SPEC, untrained=("tail",))
    xy, likelihood, _ = predictor.predict([np.zeros((100, 120), np.uint8)])
    assert np.isnan(xy[0]).all(axis=1).tolist() == [False, True]
    assert likelihood[0, 1] == 0


def test_a_network_is_the_same_after_saving(tmp_path, untrained):
    save_network(tmp_path, PoseNetwork(SPEC, untrained, ("left", "top"), ("tail",)))
    networks = load_networks(tmp_path)
    assert list(networks) == ["left", "top"]
    assert networks["left"] is networks["top"]
    assert networks["left"].spec == SPEC
    assert networks["left"].untrained == ("tail",)
    for name, tensor in model_tensors(untrained).items():
        np.testing.assert_array_equal(model_tensors(networks["left"].model)[name], tensor)


def test_networks_of_single_cameras_are_found_by_camera(tmp_path, untrained):
    for camera in ("left", "top"):
        save_network(tmp_path / camera, PoseNetwork(SPEC, untrained, (camera,)))
    networks = load_networks(tmp_path)
    assert set(networks) == {"left", "top"}
    assert networks["left"] is not networks["top"]


def test_where_there_is_no_network_the_message_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="no trained network .* train-network"):
        load_networks(tmp_path)


def corrupt(path, change):
    with h5py.File(path, "r+") as file:
        change(file)


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "weights.h5").write_bytes(b""), "cannot be read as network"),
        (
            lambda folder: (folder / "weights.h5").write_bytes(
                (folder / "weights.h5").read_bytes()[:100_000]
            ),
            "weights.h5",
        ),
        (lambda folder: flip_a_bit(folder / "weights.h5"), "weights.h5"),
        (lambda folder: (folder / "network.json").write_text("{"), "is no JSON"),
        (lambda folder: (folder / "network.json").write_text("[]"), "describe a pose3d network"),
        (lambda folder: (folder / "network.json").write_text(" " * (5 << 20)), "5,242,880 bytes"),
    ],
)
def test_damaged_networks_are_refused(tmp_path, untrained, damage, message):
    save_network(tmp_path, PoseNetwork(SPEC, untrained, ("left",)))
    damage(tmp_path)
    with pytest.raises(DataError, match=message):
        load_networks(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backbone": "vit"}, "backbone is 'vit'; expected one of unet"),
        ({"scale": float("nan")}, "scale is nan"),
        ({"keypoints": ["nose"]}, r"tensor 'heat/kernel' has shape \(1, 1, 32, 2\)"),
        ({"hidden": "__import__('os')"}, "unknown field 'hidden'"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(tmp_path, untrained, change, message):
    path = save_network(tmp_path, PoseNetwork(SPEC, untrained, ("left",)))
    content = json.loads(path.read_text())
    content["spec"] |= change
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=message):
        load_networks(tmp_path)


def test_weights_that_are_not_finite_are_refused_by_name(tmp_path):
    model = build_model(SPEC)
    weight = next(w for w in model.weights if w.path == "down3a_conv/kernel")
    weight.assign(np.full(weight.shape, np.nan))
    save_network(tmp_path, PoseNetwork(SPEC, model, ("left",)))
    with pytest.raises(DataError, match="'down3a_conv/kernel' has values that are not finite"):
        load_networks(tmp_path)


def test_a_file_whose_groups_lie_in_themselves_is_refused(tmp_path):
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        layer = file.create_group("layer")
        layer["again"] = layer
    with pytest.raises(DataError, match="lies deeper than weights do"):
        load_pretrained(build_model(SPEC), tmp_path / "weights.h5")


def test_a_network_for_other_keypoints_is_refused(tmp_path, untrained):
    network = PoseNetwork(SPEC, untrained, ("left",))
    check_keypoints(network, KEYPOINTS, tmp_path)
    with pytest.raises(DataError, match="without paw and with tail"):
        check_keypoints(network, ("nose", "paw"), tmp_path)


def test_pretrained_weights_are_taken_by_layer(data_folder):
    path = (
        data_folder / "keras_backbones"
        / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"
    )  # fmt: skip
    spec = NetworkSpec("mobilenet_v2_0.35", KEYPOINTS, pixels="rgb")
    model = build_model(spec)
    initialize(model, 0)
    # all but the last layer, "Conv_1", which the head does not use
    assert load_pretrained(model, path) == 255
    theirs = keras.applications.MobileNetV2(
        input_shape=(None, None, 3), alpha=0.35, include_top=False, weights=str(path)
    )
    tap = "block_6_expand_relu"
    image = np.random.default_rng(0).uniform(0, 255, (1, 64, 64, 3)).astype(np.float32)
    ours = keras.Model(model.input, model.get_layer(tap).output)(image)
    wanted = keras.Model(theirs.input, theirs.get_layer(tap).output)(image / 127.5 - 1)
    np.testing.assert_allclose(ours, wanted, atol=1e-4)
    with pytest.raises(DataError, match="has shape .* Take the file of the same backbone"):
        load_pretrained(build_model(NetworkSpec("mobilenet_v2_0.5", KEYPOINTS)), path)
    with pytest.raises(DataError, match="has 0 of the .* tensors of unet's body"):
        load_pretrained(build_model(SPEC), path)


def test_a_network_starts_from_another_network_s_weights(tmp_path, untrained):
    save_network(tmp_path, PoseNetwork(SPEC, untrained, ("left",)))
    model = build_model(NetworkSpec("unet", ("a", "b", "c")))
    initialize(model, 5)
    before = model.get_layer("heat").get_weights()
    load_pretrained(model, tmp_path / "weights.h5")
    np.testing.assert_array_equal(
        model.get_layer("stem_conv").get_weights()[0],
        untrained.get_layer("stem_conv").get_weights()[0],
    )
    np.testing.assert_array_equal(model.get_layer("heat").get_weights()[0], before[0])


def test_imagenet_weights_lie_where_keras_keeps_them_and_offline_one_is_told_what_to_do(
    monkeypatch,
):
    assert imagenet_url("mobilenet_0.75").endswith("mobilenet/mobilenet_7_5_224_tf_no_top.h5")
    assert imagenet_url("resnet_50").endswith(
        "resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
    )
    with pytest.raises(ValueError, match="no ImageNet weights for 'unet'"):
        imagenet_url("unet")

    def offline(**kwargs):
        raise Exception(f"URL fetch failure on {kwargs['origin']}: None -- no connection")

    monkeypatch.setattr(keras.utils, "get_file", offline)
    with pytest.raises(DataError, match="resnet_101 could not be downloaded.*give that file"):
        fetch_imagenet_weights("resnet_101")
