"""Networks for other programs, and poses while frames arrive."""

import json
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest

import pose3d
from calibration.errors import DataError
from calibration.video import write_image
from pose3d import steps
from pose3d.labels import LabeledFrames
from pose3d.networks import export, storage
from pose3d.networks.engine import keras, tf
from pose3d.networks.inference import Predictor
from pose3d.networks.live import LiveNetwork, live
from pose3d.networks.spec import NetworkSpec
from pose3d.networks.storage import PoseNetwork, save_network
from pose3d.project import Project, save_labels
from pose3d.scoremaps import decode_peaks

KEYPOINTS = ("nose", "tail")
SPEC = NetworkSpec("unet", KEYPOINTS, scale=0.5)
SIZE = (210, 150)  # shrunk to 105 x 75, padded to 128 x 128
PACKAGES = {"saved-model": "tensorflow", "onnx": "tf2onnx", "openvino": "openvino"}


def seeing_model(spec):
    """A network that needs no training: its heat is how bright a cell is on average."""
    image = keras.Input((None, None, spec.channels))
    bright = keras.layers.AveragePooling2D(spec.stride)(image)
    share = keras.ops.clip(keras.ops.mean(bright, axis=-1, keepdims=True) / 256, 1e-6, 1 - 1e-6)
    logit = keras.ops.log(share) - keras.ops.log(1 - share)
    heat = keras.ops.concatenate([logit] * len(spec.keypoints), axis=-1)
    locref = keras.ops.concatenate([heat * 0] * 2, axis=-1)
    return keras.Model(image, [heat, locref])


def dot(xy, size=SIZE, sigma=9.0):
    """Draw a bright dot on black."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    gaussian = np.exp(-((x - xy[0]) ** 2 + (y - xy[1]) ** 2) / 2 / sigma**2)
    return np.rint(250 * gaussian).astype(np.uint8)


@pytest.fixture(scope="module")
def seeing():
    return PoseNetwork(SPEC, seeing_model(SPEC), ("top",), untrained=("tail",))


def exported(network, folder, file_format):
    """Export a network, or skip."""
    pytest.importorskip(PACKAGES[file_format])
    if file_format == "onnx":
        pytest.importorskip("onnxruntime")
    export.export_network(network, folder, SIZE, file_format=file_format)
    return live(folder)


def test_points_are_placed_in_their_cells_as_analysis_places_them(rng):
    heat = rng.uniform(0, 1, (1, 400, 3, 3))
    heat[..., 1, 1] = rng.uniform(0.5, 1, (1, 400))
    heat[0, :40, 0] = 0  # at the map's edge
    locref = rng.normal(0, 0.7, (1, 400, 3, 3, 2))
    cells = rng.integers(0, 30, (1, 400, 2))
    xy, likelihood = decode_peaks(heat, locref, cells, 4, sigma=SPEC.sigma)
    ours = export._decoded(
        tf.constant(heat, tf.float32), tf.constant(locref, tf.float32), tf.constant(cells), SPEC
    )
    np.testing.assert_allclose(ours[0], xy, atol=2e-3)
    np.testing.assert_allclose(ours[1], likelihood, atol=1e-4)


@pytest.mark.parametrize("file_format", PACKAGES)
def test_an_exported_network_sees_what_the_trained_one_sees(seeing, tmp_path, file_format):
    network = exported(seeing, tmp_path / "out", file_format)
    image = dot((91.3, 80.6))
    pose = network(image)
    # OpenVINO computes in bfloat16 where the processor prefers it
    np.testing.assert_allclose(pose.xy[0], (91.3, 80.6), atol=0.3)
    predictor = Predictor(
        seeing.model, SPEC, batch_size=1, untrained=("tail",), confidence=seeing.confidence
    )
    xy, likelihood = predictor.predict([image])[:2]
    np.testing.assert_allclose(pose.xy, xy[0], atol=0.2)
    np.testing.assert_allclose(pose.likelihood, likelihood[0], atol=0.02)
    precise = live(tmp_path / "out", precise=True)(image)
    np.testing.assert_allclose(precise.xy, xy[0], atol=0.005)
    assert np.isnan(pose.xy[1]).all()
    assert pose.likelihood[1] == 0
    assert 0 < pose.seconds < 1


def test_the_description_suffices_for_another_program(seeing, tmp_path):
    path = export.export_network(seeing, tmp_path / "out", SIZE)
    told = json.loads(path.read_text(encoding="utf-8"))
    graph = tf.saved_model.load(str(tmp_path / "out")).signatures["serving_default"]
    shape, name = told["input"]["shape"], told["input"]["name"]
    assert shape == [1, 75, 105, 1]
    found = graph(**{name: tf.zeros(shape, told["input"]["type"])})
    assert set(found) == set(told["outputs"])
    assert found["xy"].shape == (1, len(told["keypoints"]), 2)


def test_an_export_starts_without_tensorflow(seeing, tmp_path):
    exported(seeing, tmp_path / "out", "onnx")
    code = (
        "import sys, pose3d\n"
        f"pose3d.live({str(tmp_path / 'out')!r})\n"
        "print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


def test_what_onnx_cannot_say_is_refused_and_nothing_is_left(seeing, tmp_path, monkeypatch):
    pytest.importorskip("tf2onnx")
    decoded = export._decoded

    def strange(*arguments):
        xy, likelihood = decoded(*arguments)
        return xy, tf.math.log1p(likelihood)

    monkeypatch.setattr(export, "_decoded", strange)
    with pytest.raises(DataError, match="cannot be written as ONNX"):
        export.export_network(seeing, tmp_path / "out", SIZE, file_format="onnx")
    assert list(tmp_path.iterdir()) == []


def test_what_lies_in_the_folder_is_kept_unless_it_is_an_export(seeing, tmp_path):
    export.export_network(seeing, tmp_path / "out", SIZE)
    (tmp_path / "out" / "old").write_text("of the export before")
    export.export_network(seeing, tmp_path / "out", SIZE)
    assert not (tmp_path / "out" / "old").exists()
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(ValueError, match="holds something else"):
        export.export_network(seeing, tmp_path, SIZE)
    with pytest.raises(ValueError, match="expected one of saved-model, onnx, openvino"):
        export.export_network(seeing, tmp_path / "x", SIZE, file_format="caffe")
    assert {path.name for path in tmp_path.iterdir()} == {"out", "thesis.txt"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "x"}, "does not describe a pose3d exported network"),
        ({"format_version": 2}, "Update pose3d"),
        ({"image_size": [0, 4]}, "names no format or size"),
        ({"file_format": "../x"}, "names no format or size"),
        ({"spec": {}}, "lacks the field"),
        ({"file_format": "onnx"}, "lacks model.onnx"),
    ],
)
def test_damaged_descriptions_are_refused(seeing, tmp_path, change, message):
    (tmp_path / "saved_model.pb").write_bytes(b"")
    told = {
        "format": "pose3d exported network", "format_version": 1, "file_format": "saved-model",
        "image_size": list(SIZE), "spec": SPEC.to_dict(),
    }  # fmt: skip
    (tmp_path / "export.json").write_text(json.dumps(told | change))
    with pytest.raises(DataError, match=message):
        live(tmp_path)


def watching(pixels="luma", **options):
    """A live network that finds the brightest pixel."""

    def run(image):
        y, x = np.unravel_index(image.reshape(*image.shape[:2], -1)[..., 0].argmax(),
                                image.shape[:2])  # fmt: skip
        return np.array([[x, y]], float), np.ones(1)

    return LiveNetwork(NetworkSpec("unet", ("spot",), pixels=pixels), run, **options)


def spot(x):
    image = np.zeros((8, 40, 3), np.uint8)
    image[4, x] = 255
    return image


def test_frames_may_be_grey_or_colour():
    for pixels in ("luma", "rgb"):
        for image in (spot(7), spot(7)[..., 0]):
            assert watching(pixels)(image).xy.tolist() == [[7, 4]]
    with pytest.raises(ValueError, match=r"shape \(8, 40, 3\) and type float64"):
        watching()(spot(7) / 255)
    with pytest.raises(ValueError, match="exported for 40 x 9"):
        watching(image_size=(40, 9))(spot(7))


def test_latency_is_counted_without_the_first_frame_of_a_size():
    network = watching()
    assert network.latency.n_frames == 0
    network.prepare((40, 8))
    poses = [network(spot(x)) for x in range(5)]
    assert [pose.frame for pose in poses] == list(range(5))
    assert network.latency.n_frames == 5
    assert network.latency.longest == max(pose.seconds for pose in poses)


def test_a_slow_network_follows_the_newest_frame():
    """Frames that come while the network works are passed over, the last one never."""
    network = watching()
    network.prepare((40, 8))
    taken, find = threading.Event(), network._run

    def slow(image):
        taken.wait(10)  # until the camera has sent all
        return find(image)

    network._run = slow

    def camera():
        for x in range(30):
            yield spot(x)
        taken.set()

    poses = list(network.follow(camera()))
    assert poses[-1].frame == 29
    assert len(poses) <= 3
    assert all(pose.xy[0, 0] == pose.frame for pose in poses)


def test_what_goes_wrong_in_the_camera_is_heard():
    def camera():
        yield spot(3)
        raise OSError("cable")

    network = watching()
    with pytest.raises(OSError, match="cable"):
        list(network.follow(camera()))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project of two cameras with a network of both and two labelled images of each."""
    folder = tmp_path_factory.mktemp("live") / "project"
    steps.create_project(folder, cameras=["left", "top"], keypoints=list(KEYPOINTS))
    images = [f"labeled-data/take_{c}/img{i:05d}.png" for c in ("left", "top") for i in (0, 1)]
    rng = np.random.default_rng(0)
    for image in images:
        write_image(folder / image, dot(rng.uniform(20, 120, 2)))
    save_labels(
        Project.load(folder),
        LabeledFrames(
            xy=np.full((4, 1, 2, 2), 20.0), images=images, recordings=["take"] * 4,
            cameras=["left", "left", "top", "top"], frames=[0, 1] * 2, individuals=("animal",),
            keypoints=KEYPOINTS,
        ),
    )  # fmt: skip
    model = seeing_model(SPEC)
    save_network(folder / "networks" / "network", PoseNetwork(SPEC, model, ("left", "top")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "build_model", seeing_model)
        yield folder


def test_the_verb_exports_and_says_how_far_points_moved(project):
    outcome = steps.export_network(project)
    assert outcome.path == project / "networks" / "network" / "exported" / "saved-model"
    assert outcome.figures["worst_px"] < 0.01
    assert outcome.table[0]["size"] == "210x150"
    assert (outcome.table[0]["images"], outcome.table[0]["points"]) == (4, 8)
    trained = pose3d.live(project / "networks" / "network", precise=True)
    again = pose3d.live(outcome.path)
    image = dot((60, 60))
    np.testing.assert_allclose(trained(image).xy, again(image).xy, atol=0.02)


def test_points_that_were_not_compared_are_not_called_alike(project, tmp_path):
    outcome = steps.export_network(project, image_size="96x64", out=tmp_path / "small")
    assert outcome.table[0]["points"] > 0  # in the labelled images, brought to that size
    other = tmp_path / "other"
    shutil.copytree(project, other)
    for path in (other / "labeled-data").glob("*/*.png"):
        write_image(path, np.zeros((150, 210), np.uint8))
    outcome = steps.export_network(other)
    assert outcome.table[0]["points"] == 0
    assert "points could not be compared" in outcome.summary
    assert "worst_px" not in outcome.figures


def test_an_export_in_the_network_s_folder_is_not_taken_for_it(project):
    folder = project / "networks" / "network"
    out = folder / "for_the_rig"
    steps.export_network(project, out=out, image_size="96x64")
    assert live(out).image_size == (96, 64)
    assert live(folder, precise=True).image_size is None
    live(folder, precise=True)(dot((60, 60)))


def test_networks_of_several_cameras_are_exported_each(project, tmp_path):
    folder = project / "networks" / "each"
    for camera in ("left", "top"):
        save_network(folder / camera, PoseNetwork(SPEC, seeing_model(SPEC), (camera,)))
    outcome = steps.export_network(project, "each", out=tmp_path / "out", image_size="96x64")
    assert [row["cameras"] for row in outcome.table] == ["left", "top"]
    assert [path.name for path in sorted(outcome.path.iterdir())] == ["left", "top"]
    for place in (folder, tmp_path / "out"):
        with pytest.raises(ValueError, match="for left, top"):
            live(place)
    image = dot((60, 30), (96, 64))
    # by itself a trained network may run in bfloat16 here
    ours, theirs = (
        live(place, camera="top", precise=True)(image) for place in (folder, tmp_path / "out")
    )
    np.testing.assert_allclose(ours.xy, theirs.xy, atol=0.02)


def test_a_size_that_is_not_known_is_asked_for(project):
    with pytest.raises(ValueError, match="expected width and height"):
        steps.export_network(project, image_size="large")
    write_image(project / "labeled-data/take_left/img00000.png", np.zeros((30, 40), np.uint8))
    with pytest.raises(DataError, match="left 40x30, top 210x150. Give --image-size"):
        steps.export_network(project)
