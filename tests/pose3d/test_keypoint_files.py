"""Keypoints on disk: what was saved comes back, and nothing else is taken for it."""

import subprocess
import sys

import h5py
import numpy as np
import pytest

from calibration.errors import DataError
from calibration.files import provenance
from pose3d.formats.keypoints import (
    load_keypoints_2d,
    load_keypoints_3d,
    read_origin,
    save_keypoints_2d,
    save_keypoints_3d,
)
from pose3d.keypoints import Keypoints2D, Keypoints3D, Missing


def make_2d(rng, n_frames=7, **more):
    xy = rng.uniform(0, 1000, (2, n_frames, 1, 3, 2))
    xy[0, : n_frames // 2, 0, 1] = np.nan
    return Keypoints2D(
        xy=xy,
        likelihood=rng.uniform(0, 1, xy.shape[:-1]),
        cameras=("cam_0", "Überblick 上"),
        individuals=("animal",),
        keypoints=("nose", "left ear", "tail"),
        times=np.cumsum(rng.uniform(0.01, 0.02, n_frames)),
        **more,
    )


def make_3d(rng, n_frames=5):
    xyz = rng.normal(0, 100, (n_frames, 1, 3, 3))
    reason = np.zeros((n_frames, 1, 3), np.uint8)
    xyz[1, 0, 2] = np.nan
    reason[1, 0, 2] = Missing.ONE_VIEW
    return Keypoints3D(
        xyz=xyz,
        covariance=rng.normal(0, 1, (n_frames, 1, 3, 3, 3)),
        reprojection_error=rng.uniform(0, 1, (n_frames, 1, 3)),
        view_errors=rng.uniform(0, 1, (2, n_frames, 1, 3)),
        used_views=rng.uniform(0, 1, (2, n_frames, 1, 3)) > 0.5,
        reason=reason,
        filled=reason > 0,
        cameras=("back", "top"),
        individuals=("animal",),
        keypoints=("nose", "ear", "tail"),
        times=np.arange(n_frames) / 30,
        units="mm",
    )


def assert_same(first, second):
    assert type(first) is type(second)
    for name in first.__dataclass_fields__:
        one, two = getattr(first, name), getattr(second, name)
        if isinstance(one, np.ndarray):
            assert one.dtype == two.dtype
            np.testing.assert_array_equal(one, two)
        else:
            assert one == two


@pytest.mark.parametrize("n_frames", [0, 1, 7, 5000])
def test_saved_2d_keypoints_come_back_bit_for_bit(tmp_path, rng, n_frames):
    seen = make_2d(rng, n_frames)
    save_keypoints_2d(tmp_path / "keypoints-2d" / "trot.h5", seen)
    assert_same(load_keypoints_2d(tmp_path / "keypoints-2d" / "trot.h5"), seen)


def test_covariance_and_image_sizes_come_back(tmp_path, rng):
    covariance = rng.normal(0, 1, (2, 7, 1, 3, 2, 2))
    seen = make_2d(rng, covariance=covariance, image_sizes=[[640, 480], [1280, 1024]])
    save_keypoints_2d(tmp_path / "a.h5", seen)
    assert_same(load_keypoints_2d(tmp_path / "a.h5"), seen)


def test_saved_3d_keypoints_come_back_bit_for_bit(tmp_path, rng):
    path = make_3d(rng)
    save_keypoints_3d(tmp_path / "a.h5", path)
    assert_same(load_keypoints_3d(tmp_path / "a.h5"), path)


def test_a_file_says_where_it_came_from(tmp_path, rng):
    video = tmp_path / "back.mp4"
    video.write_bytes(b"not really")
    origin = provenance("analyze_recording", {"network": "größe"}, {"back": video})
    save_keypoints_2d(tmp_path / "a.h5", make_2d(rng), origin)
    assert read_origin(tmp_path / "a.h5") == origin
    save_keypoints_2d(tmp_path / "b.h5", make_2d(rng))
    assert read_origin(tmp_path / "b.h5") == {}


def test_datasets_bear_the_names_of_the_fields_and_their_axes(tmp_path, rng):
    save_keypoints_2d(tmp_path / "a.h5", make_2d(rng))
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["xy"].attrs["axes"] == "camera frame individual keypoint coordinate"
        assert [name.decode() for name in file["cameras"][()]] == ["cam_0", "Überblick 上"]
        assert set(file) == {"xy", "likelihood", "times", "cameras", "individuals", "keypoints"}


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="No 2D keypoints at .*gone.h5"):
        load_keypoints_2d(tmp_path / "gone.h5")


@pytest.mark.parametrize("kept", [0, 100, 0.5, 0.9])
def test_a_truncated_file_is_refused_by_name(tmp_path, rng, kept):
    path = tmp_path / "cut.h5"
    save_keypoints_2d(path, make_2d(rng, 500))
    content = path.read_bytes()
    path.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    with pytest.raises(DataError, match=r"cut\.h5 cannot be read as 2D keypoints"):
        load_keypoints_2d(path)


def test_a_flipped_bit_in_the_numbers_is_noticed(tmp_path, rng):
    path = tmp_path / "flipped.h5"
    save_keypoints_2d(path, make_2d(rng, 5000))
    with h5py.File(path) as file:
        place = file["xy"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[place.byte_offset + place.size // 2] ^= 16
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"flipped\.h5"):
        load_keypoints_2d(path)


def test_other_files_are_not_taken_for_keypoints(tmp_path, rng):
    save_keypoints_3d(tmp_path / "3d.h5", make_3d(rng))
    with pytest.raises(DataError, match="holds pose3d keypoints 3d; expected pose3d keypoints 2d"):
        load_keypoints_2d(tmp_path / "3d.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["tracks"] = np.zeros(3)
    with pytest.raises(DataError, match=r"other\.h5 holds something else"):
        load_keypoints_2d(tmp_path / "other.h5")
    with pytest.raises(DataError, match=r"other\.h5 holds something else"):
        read_origin(tmp_path / "other.h5")


def test_a_later_format_is_refused_with_both_versions(tmp_path, rng):
    save_keypoints_2d(tmp_path / "a.h5", make_2d(rng))
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file.attrs["format_version"] = 7
    with pytest.raises(DataError, match="format version 7; this program reads 1"):
        load_keypoints_2d(tmp_path / "a.h5")


def test_fields_that_do_not_belong_together_are_refused(tmp_path, rng):
    save_keypoints_2d(tmp_path / "a.h5", make_2d(rng))
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        del file["times"]
        file["times"] = np.arange(3.0)
    with pytest.raises(DataError, match=r"a\.h5 .*times has shape \(3,\); expected \(7,\)"):
        load_keypoints_2d(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        del file["times"]
    with pytest.raises(DataError, match="has no 'times'"):
        load_keypoints_2d(tmp_path / "a.h5")


def test_links_and_invented_sizes_are_not_followed(tmp_path, rng):
    save_keypoints_2d(tmp_path / "other.h5", make_2d(rng))
    for case in ("external link", "soft link", "external storage", "shape bomb"):
        path = tmp_path / f"{case}.h5"
        save_keypoints_2d(path, make_2d(rng))
        with h5py.File(path, "r+") as file:
            del file["xy"]
            if case == "external link":
                file["xy"] = h5py.ExternalLink("other.h5", "/xy")
            elif case == "soft link":
                file["xy"] = h5py.SoftLink("/xy")
            elif case == "external storage":
                (tmp_path / "secret").write_bytes(bytes(2 * 7 * 3 * 2 * 8))
                file.create_dataset(
                    "xy", (2, 7, 1, 3, 2), "f8", external=[(str(tmp_path / "secret"), 0, 672)]
                )
            else:
                file.create_dataset("xy", (2, 10**12, 1, 3, 2), "f8", chunks=(1, 1000, 1, 3, 2))
        with pytest.raises(DataError, match=f"{case}.h5.*'xy'"):
            load_keypoints_2d(path)


WRITER = """
import resource, sys
import numpy as np
from pose3d.formats.keypoints import save_keypoints_2d
from pose3d.keypoints import Keypoints2D
n = 20000
seen = Keypoints2D(np.random.rand(1, n, 1, 4, 2), np.ones((1, n, 1, 4)), ("a",), ("b",),
                   tuple("cdef"), np.arange(n) / 30)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
try:
    save_keypoints_2d(sys.argv[1], seen)
except OSError as error:
    print(error)
    sys.exit(7)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on file sizes to set")
def test_a_full_disk_leaves_the_old_file(tmp_path, rng):
    path = tmp_path / "full.h5"
    save_keypoints_2d(path, make_2d(rng))
    before = path.read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", WRITER, path], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 7, done.stderr
    assert "full.h5 could not be written" in done.stdout
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["full.h5"]
