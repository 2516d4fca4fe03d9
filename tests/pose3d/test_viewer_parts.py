"""What the viewer's page is made of, without a browser."""

import base64
import gzip
import tomllib

import cv2
import numpy as np
import pytest

from calibration.cameras import Camera, CameraRig, Intrinsics
from calibration.errors import DataWarning
from calibration.multiview import move_rig
from calibration.synthetic import ring_rig
from pose3d.keypoints import Keypoints2D, Keypoints3D
from pose3d.viewer import write_viewer
from pose3d.viewer.content import choose_rows
from pose3d.viewer.film import plan_film
from pose3d.viewer.packing import Packer
from pose3d.viewer.scene import choose_up, frustum, lay_scene


def unpacked(packer, entry):
    """Undo the packing as the page does."""
    kind = np.dtype(entry["type"])
    planes = np.frombuffer(gzip.decompress(base64.b64decode(packer.blobs[entry["id"]])), np.uint8)
    steps = planes.reshape(kind.itemsize, -1).T.copy().view(f"<u{kind.itemsize}")
    values = np.cumsum(steps.reshape(entry["shape"][0], -1), axis=0, dtype=steps.dtype)
    return values.view(kind).reshape(entry["shape"])


def test_numbers_survive_packing(rng):
    values = rng.uniform(-50, 150, size=(30, 2, 3))
    values[4, 1] = np.nan
    values[7, 0, 0] = 151
    packer = Packer()
    entry = packer.numbers(values, -50, 150)
    steps = unpacked(packer, entry)
    numbers = np.where(steps == -32768, np.nan, steps * entry["scale"] + entry["offset"])
    wanted = np.where(values > 150, np.nan, values)
    np.testing.assert_allclose(numbers, wanted, atol=200 / 65534 / 2 * 1.001)


def test_magnitudes_keep_their_proportion():
    values = np.array([[1e-9], [0.003], [2.0], [np.nan], [4e5]])
    packer = Packer()
    entry = packer.magnitudes(values)
    steps = unpacked(packer, entry)
    numbers = np.where(steps == -32768, np.nan, np.exp(steps * entry["scale"] + entry["offset"]))
    np.testing.assert_allclose(numbers, [[1e-6], [0.003], [2.0], [np.nan], [4e5]], rtol=1e-3)


@pytest.mark.parametrize("kind", [np.uint8, np.uint32, np.int16])
def test_whole_numbers_are_packed_exactly(rng, kind):
    info = np.iinfo(kind)
    values = rng.integers(info.min, info.max, size=(9, 4), dtype=kind, endpoint=True)
    packer = Packer()
    np.testing.assert_array_equal(unpacked(packer, packer.integers(values)), values)


def angle(a, b):
    return np.degrees(np.arccos(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1)))


def test_z_is_up_where_the_cameras_agree():
    up, words = choose_up(ring_rig(4))
    assert up.tolist() == [0, 0, 1]
    assert words == "z is up"


@pytest.mark.parametrize("n_cameras", [2, 3, 6])
def test_up_is_found_in_a_world_that_is_not_aligned(n_cameras):
    motion = np.eye(4)
    motion[:3, :3] = cv2.Rodrigues(np.array([1.9, 0.4, -0.7]))[0]
    motion[:3, 3] = [10, -500, 90]
    up, words = choose_up(move_rig(ring_rig(n_cameras), motion))
    # two cameras on one side look down and so lean: half of how far they do
    assert angle(up, motion[:3, 2]) < (25 if n_cameras == 2 else 2)
    assert "not aligned" in words


def test_up_is_found_on_a_real_rig(data_folder):
    folder = data_folder / "sleap_anipose_minimal_session"
    text = (folder / "derived" / "recalibrated_aniposelib.toml").read_text(encoding="utf-8")
    sections = [section for name, section in tomllib.loads(text).items() if name != "metadata"]
    rig = CameraRig(
        tuple(
            Camera(
                section["name"],
                Intrinsics(section["matrix"], section["distortions"], section["size"]),
                section["rotation"],
                section["translation"],
            )
            for section in sections
        )
    )
    up, _ = choose_up(rig)
    assert angle(rig["top"].rotation[2], -up) < 12
    assert abs(angle(rig["side"].rotation[2], up) - 90) < 15


def test_floor_lies_under_the_animal_in_every_world(rng):
    rig = ring_rig(4)
    points = rng.uniform([-80, -60, 0], [80, 60, 50], size=(500, 3))
    aligned = lay_scene(points, rig, "mm")
    assert {point[2] for line in aligned.description["floor"] for point in line} == {0.0}
    assert "floor at z = 0; grid 50 mm" in aligned.description["words"]
    motion = np.eye(4)
    motion[:3, :3] = cv2.Rodrigues(np.array([2.5, 0.3, 0.2]))[0]
    motion[:3, 3] = [0, 300, 700]
    turned = lay_scene(
        points @ motion[:3, :3].T + motion[:3, 3], move_rig(rig, motion), "mm"
    ).description
    assert "under the lowest points" in turned["words"]
    heights = {point[2] for line in turned["floor"] for point in line}
    moved = (points @ motion[:3, :3].T + motion[:3, 3]) @ np.array(turned["rotation"]).T
    assert len(heights) == 1
    assert abs(heights.pop() - moved[:, 2].min()) < 3


@pytest.mark.parametrize("model", ["pinhole", "brown", "rational", "fisheye"])
def test_a_frustum_ends_at_the_corners_of_the_picture(model):
    camera = ring_rig(2, image_size=(640, 480), focal=600, model=model).cameras[1]
    corners = frustum(camera, 50.0)
    np.testing.assert_allclose(corners[0], camera.position, atol=1e-9)
    wanted = [[-0.5, -0.5], [639.5, -0.5], [639.5, 479.5], [-0.5, 479.5]]
    np.testing.assert_allclose(camera.project(corners[1:]), wanted, atol=1e-3)


def test_long_recordings_are_thinned_to_the_allowed_size():
    assert len(choose_rows(range(10_000), 4, 20, 30.0)) == 10_000
    rows = choose_rows(range(1_000_000), 4, 20, 30.0)
    assert 30_000 < len(rows) < 40_000
    assert len(set(np.diff(rows))) == 1
    np.testing.assert_array_equal(choose_rows(range(5, 50, 5), 4, 20, 30.0), range(5, 50, 5))


def test_films_give_up_sharpness_before_pictures():
    sizes = [(1280, 1024)] * 4
    short, every = plan_film(sizes, 300, 40e6, 4 / 3)
    assert every == 1
    assert short.width * short.height > 1.9e6
    longer, every = plan_film(sizes, 20_000, 40e6, 4 / 3)
    assert every == 1
    assert longer.width < short.width
    longest, every = plan_film(sizes, 500_000, 40e6, 4 / 3)
    assert every > 1
    assert longest.tiles[0].width > 300


def test_film_stays_under_its_limit_even_for_noise(tmp_path, rng):
    from calibration.video import VideoWriter

    video = tmp_path / "noise.mp4"
    with VideoWriter(video, 30, crf=10) as film:
        for _ in range(90):
            film.write(rng.integers(0, 256, size=(240, 320, 3), dtype=np.uint8))
    written = write_viewer(tmp_path / "v.html", recording={"a": video}, max_video_mb=0.5)
    assert 0.2e6 < written.video_bytes < 0.5e6


def test_a_broken_video_is_left_out_and_named(tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"not a video" * 100)
    xy = np.zeros((1, 2, 1, 1, 2))
    seen = Keypoints2D(xy, xy[..., 0], ("a",), ("mouse",), ("nose",), [0, 1])
    with pytest.warns(DataWarning, match="a: its video is left out"):
        written = write_viewer(
            tmp_path / "v.html", recording={"a": tmp_path / "broken.mp4"}, keypoints_2d=seen
        )
    assert written.video_bytes == 0
    assert "left out" in written.path.read_text(encoding="utf-8")


def test_another_animal_in_3d_is_refused(tmp_path):
    xy = np.zeros((1, 2, 1, 1, 2))
    seen = Keypoints2D(xy, xy[..., 0], ("a",), ("mouse",), ("nose",), [0, 1])
    none = np.zeros((2, 1, 1))
    path = Keypoints3D(
        np.zeros((2, 1, 1, 3)), np.zeros((2, 1, 1, 3, 3)), none, none[None], none[None], none,
        none, ("a",), ("mouse",), ("tail",), [0, 1], "mm",
    )  # fmt: skip
    with pytest.raises(ValueError, match="keypoints nose and keypoints_3d tail"):
        write_viewer(tmp_path / "v.html", keypoints_2d=seen, keypoints_3d=path)
    with pytest.raises(ValueError, match="within the recording's 2 frames"):
        write_viewer(tmp_path / "v.html", keypoints_2d=seen, frames=range(0, 3))
    assert not (tmp_path / "v.html").exists()
