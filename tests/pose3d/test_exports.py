"""3D keypoints as other programs read them, and back."""

import csv
import io

import numpy as np
import pytest

from calibration.errors import DataError
from calibration.synthetic import ring_rig
from pose3d.formats.tables import save_anipose_csv, save_long_csv
from pose3d.formats.trc import load_trc, save_trc
from pose3d.keypoints import Keypoints2D
from pose3d.triangulation import triangulate


@pytest.fixture
def found(rng):
    """Two animals, five frames, one point missing."""
    rig = ring_rig(3, rng=rng)
    points = rng.uniform(-100, 100, size=(5, 2, 3, 3))
    xy = rig.project(points) + rng.normal(size=(3, 5, 2, 3, 2))
    xy[:, 2, 1, 0] = np.nan
    seen = Keypoints2D(
        xy, np.ones(xy.shape[:-1]), rig.names, ("anna", "ben"), ("nose", "paw, left", "tail"),
        np.array([0.0, 0.01, 0.02, 0.04, 0.05]),
    )  # fmt: skip
    return triangulate(seen, rig, noise_px=1.0)


def test_trc_comes_back_as_it_went(found, tmp_path):
    save_trc(tmp_path / "walk.trc", found)
    back = load_trc(tmp_path / "walk.trc")
    np.testing.assert_array_equal(back.xyz, found.xyz.reshape(5, 6, 3))
    np.testing.assert_array_equal(back.times, found.times)
    assert back.units == "mm"
    assert back.names[0] == "anna_nose"
    assert back.names[5] == "ben_tail"


def test_trc_is_y_up_and_leaves_cells_empty(found, tmp_path):
    save_trc(tmp_path / "walk.trc", found)
    lines = (tmp_path / "walk.trc").read_text(encoding="utf-8").split("\n")
    assert lines[2].split("\t")[2:5] == ["5", "6", "mm"]
    x, y, z = found.xyz[0, 0, 0]
    assert [float(cell) for cell in lines[5].split("\t")[2:5]] == [y, z, x]
    third = lines[7].split("\t")
    assert third[2 + 9 : 2 + 12] == ["", "", ""]
    assert len(third) == 2 + 18


def test_a_trc_that_is_cut_or_wrong_is_named(tmp_path):
    path = tmp_path / "walk.trc"
    path.write_text("nothing of the kind", encoding="utf-8")
    with pytest.raises(DataError, match=r"walk.trc does not begin with PathFileType"):
        load_trc(path)
    header = "PathFileType\t4\nUnits\n{}\nFrame#\tTime\tnose\t\t\n\t\tX1\tY1\tZ1\n"
    path.write_text(header.format("furlong"), encoding="utf-8")
    with pytest.raises(DataError, match="line 3: Units is 'furlong'"):
        load_trc(path)
    path.write_text(header.format("m") + "1\t0\t1\t2\tthree\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 6: .*three"):
        load_trc(path)


def test_a_trc_of_pose2sim_is_read(data_folder):
    folder = data_folder / "pose2sim_single_person" / "reference_2024" / "balancing" / "pose-3d"
    markers = load_trc(folder / "S00_P00_T01_BalancingTrial_0-100.trc")
    assert markers.xyz.shape == (100, 21, 3)
    assert markers.units == "m"
    # a standing person: the head is above the toes
    height = np.nanmedian(markers.xyz[..., 2], axis=0)
    assert height[markers.names.index("Head")] > height[markers.names.index("RBigToe")] + 1


def test_the_long_table_holds_every_point(found, tmp_path):
    save_long_csv(tmp_path / "walk.csv", found)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "walk.csv").read_text(encoding="utf-8"))))
    assert len(rows) == 5 * 2 * 3
    row = rows[2 * 6 + 4]
    assert (row["frame"], row["individual"], row["keypoint"]) == ("2", "ben", "paw, left")
    assert [float(row[f"{axis}_mm"]) for axis in "xyz"] == found.xyz[2, 1, 1].tolist()
    assert float(row["sd_y_mm"]) == pytest.approx(found.covariance[2, 1, 1, 1, 1] ** 0.5)
    assert (row["n_views"], row["missing"]) == ("3", "")
    gone = rows[2 * 6 + 3]
    assert (gone["x_mm"], gone["n_views"], gone["missing"]) == ("", "0", "not seen")


def test_anipose_finds_its_columns(found, tmp_path):
    save_anipose_csv(tmp_path / "walk.csv", found)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "walk.csv").read_text(encoding="utf-8"))))
    assert len(rows) == 5
    assert [float(rows[1][f"ben_tail_{axis}"]) for axis in "xyz"] == found.xyz[1, 1, 2].tolist()
    assert float(rows[1]["ben_tail_ncams"]) == 3
    assert float(rows[1]["ben_tail_score"]) == 1
    assert rows[2]["ben_nose_x"] == rows[2]["ben_nose_error"] == ""
    assert [rows[3][name] for name in ("M_00", "M_01", "center_2", "fnum")] == [
        "1.0",
        "0.0",
        "0.0",
        "3",
    ]
