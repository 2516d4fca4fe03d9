"""Calibrations that were cut, changed or made to harm: refused or told, never wrong in silence."""

import random
import struct
import warnings
import zlib
from dataclasses import replace

import numpy as np
import pytest

from calibration.cameras import Camera, CameraRig
from calibration.errors import DataError, DataWarning
from calibration.formats.exchange import FORMATS, load_any, save_as
from calibration.formats.matlab import read_mat
from calibration.formats.storage import read_storage
from calibration.formats.toml import load_rig, save_rig
from calibration.synthetic import ring_rig

SIZES = {None: (1280, 1024)}
UNITS = {"opencv": "mm", "jarvis": "mm", "label3d": "mm", "dlt": "mm", "mvg": "mm", "pose2sim": "m"}
WRITTEN = [name for name, each in FORMATS.items() if each.save]


def rig_for(format, n_cameras=3):
    """A rig that a format can hold."""
    model = "pinhole" if format in ("dlt", "mvg") else "brown"
    rig = ring_rig(n_cameras, model=model, rng=np.random.default_rng(3))
    cameras = []
    for i, camera in enumerate(rig):
        lens = camera.intrinsics
        if format in ("pose2sim", "kalibr"):
            lens = replace(lens, dist=[*lens.dist[:4], 0.0])
        name = f"cam_{i + 1}" if format == "dlt" else f"cam_{i}"
        cameras.append(Camera(name, lens, camera.rvec, camera.tvec))
    return CameraRig(tuple(cameras), "mm", world="board:0")


def written(format, folder, rig=None):
    """Write a rig; return its path, and the file to harm (a folder's last)."""
    path = folder / f"rig{FORMATS[format].ending}"
    save_as(rig or rig_for(format), path, format)
    file = path if FORMATS[format].ending else sorted(path.iterdir())[-1]
    return path, file


def attempt(path, format, **settings):
    """Load; return the rig or None where it was refused, and the warnings."""
    settings = {"units": UNITS.get(format), "image_sizes": SIZES} | settings
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            rig = load_any(path, format, **settings)[1]
        except DataError:
            rig = None
    return rig, {str(each.message) for each in told}


def numbers_of(rig):
    parts = []
    for camera in rig:
        lens = camera.intrinsics
        parts += [lens.matrix.ravel(), lens.dist, camera.rvec, camera.tvec, lens.image_size]
    return np.concatenate(parts)


@pytest.mark.parametrize("format", WRITTEN)
def test_a_file_cut_at_any_byte_is_refused_told_or_whole(format, tmp_path):
    path, file = written(format, tmp_path)
    whole = file.read_bytes()
    right, usual = attempt(path, format)
    loaded = 0
    # YAML takes its time: every third byte, and each of the last ones
    step = 3 if format in ("opencv", "jarvis", "kalibr") else 1
    for size in sorted({*range(0, len(whole), step), *range(len(whole) - 80, len(whole))}):
        file.write_bytes(whole[:size])
        rig, told = attempt(path, format)
        if rig is None or told - usual:
            continue
        loaded += 1
        assert rig.names == right.names, f"cut at {size}"
        np.testing.assert_allclose(numbers_of(rig), numbers_of(right), rtol=1e-12)
    assert loaded <= 8  # the end of the last line, a zero after the point


@pytest.mark.parametrize("format", WRITTEN)
def test_a_changed_file_never_ends_in_anything_but_a_refusal_or_a_rig(format, tmp_path):
    path, file = written(format, tmp_path)
    whole = file.read_bytes()
    rng = random.Random(0)
    refused = 0
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(rng.choice([1, 1, 3])):
            data[rng.randrange(len(data))] = rng.choice([rng.randrange(256), *b"09- \n[]e{:&*!#"])
        if rng.random() < 0.3:
            start = rng.randrange(len(data))
            del data[start : start + rng.randrange(80)]
        file.write_bytes(bytes(data))
        rig, _ = attempt(path, format)
        refused += rig is None
        if rig is not None:
            assert np.isfinite(numbers_of(rig)).all()
    assert refused > 15


def test_qualisys_files_cut_anywhere_are_refused(data_folder, tmp_path):
    source = data_folder / "pose2sim_single_person" / "calibration" / "Calib.qca.txt"
    whole = source.read_bytes()
    path = tmp_path / "cut.qca.txt"
    for size in range(0, len(whole.rstrip()), 61):
        path.write_bytes(whole[:size])
        assert attempt(path, "qualisys")[0] is None


def test_caliscopes_own_file_cut_anywhere_is_refused_told_or_loses_whole_cameras(
    data_folder, tmp_path
):
    # the file says nowhere how many cameras there are: a cut between two is for the reader to see
    source = data_folder / "caliscope_4cam_charuco" / "camera_array.toml"
    whole = source.read_text()
    path = tmp_path / "camera_array.toml"
    right = load_any(source)[1]
    silent = []
    for size in range(1, len(whole.rstrip())):
        path.write_text(whole[:size])
        rig, told = attempt(path, "caliscope")
        if rig is not None and not told and len(rig) < len(right):
            silent.append(size)
            np.testing.assert_array_equal(
                numbers_of(rig), numbers_of(right.subset(right.names[: len(rig)]))
            )
    # of thousands of cuts, those at the end of a line behind all that is needed of a camera
    assert 0 < len(silent) < 12


# Formats one by one.


def changed(path, old, new, count=1):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("cam1:", "cam3:", "expected cam0, cam1, cam2"),
        ("T_cn_cnm1", "T_lost", "'cam1': there is no 'T_cn_cnm1'"),
        ("[0.0, 0.0, 0.0, 1.0]", "[0.0, 0.0, 1.0, 1.0]", "the last row of T_cn_cnm1"),
        ("radtan", "[radtan]", "its distortion is"),
        ("cam0:", "cam1: {}\ncam0:", "'cam1' twice"),
        ("resolution: [1280, 1024]", "resolution: [1280.5, 1024]", "image size"),
        ("resolution: [1280, 1024]", "resolution: [.inf, 1024]", "image size"),
        ("resolution: [1280, 1024]", "resolution: 1280", "'cam0'"),
    ],
)
def test_a_broken_chain_is_refused_by_what_is_wrong(old, new, named, tmp_path):
    path, _ = written("kalibr", tmp_path)
    changed(path, old, new)
    with pytest.raises(DataError, match=named):
        load_any(path, "kalibr")


def test_a_chain_without_its_first_camera_is_refused(tmp_path):
    path, _ = written("kalibr", tmp_path)
    text = path.read_text()
    start, rest = text.index("cam0:"), text.index("cam1:")
    path.write_text("\n" + text[:start].split("\n", 1)[1] + text[rest:].replace("cam1", "cam0", 1))
    changed(path, "cam2", "cam1")
    with pytest.raises(DataError, match="placed in a camera before"):
        load_any(path, "kalibr")


def test_cameras_keep_their_names_in_caliscopes_layout(tmp_path):
    names = ("left", "top view", 'the "old" one')
    named = [
        replace(camera, name=name) for camera, name in zip(rig_for("caliscope"), names, strict=True)
    ]
    path, _ = written("caliscope", tmp_path, CameraRig(tuple(named), "mm"))
    assert load_any(path)[1].names == names


def test_two_cameras_of_one_name_are_refused_as_the_files_fault(tmp_path):
    for format in ("anipose", "caliscope", "kalibr"):
        path, _ = written(format, tmp_path)
        changed(path, "cam_1", "cam_0")
        with pytest.raises(DataError, match="'cam_0'"):
            load_any(path, format)


@pytest.mark.parametrize("format", ["opencv", "jarvis", "mvg"])
def test_folders_keep_the_order_of_numbers_and_write_nowhere_else(format, tmp_path):
    rig = rig_for(format, 12)
    path, _ = written(format, tmp_path, rig)
    assert attempt(path, format)[0].names == rig.names
    for name in ("../evil", "a/b", "..", "a\\b", "a\nb"):
        evil = CameraRig((replace(rig.cameras[0], name=name),), "mm")
        with pytest.raises(DataError, match="cannot be a file's name"):
            save_as(evil, tmp_path / "other", format)
    assert not (tmp_path / "other").exists()
    assert not (tmp_path / "evil.P").exists()


def test_no_matrix_is_written_where_one_lens_is_bent(tmp_path):
    straight, bent = rig_for("mvg").cameras[0], ring_rig(2).cameras[1]
    with pytest.raises(DataError, match="bends lines"):
        save_as(CameraRig((straight, bent), "mm"), tmp_path / "matrices", "mvg")
    assert not (tmp_path / "matrices").exists()


def test_files_of_older_opencv_are_read(tmp_path):
    path = tmp_path / "left.yaml"
    path.write_text(
        "%YAML:1.0\n---\n# JARVIS\nintrinsicMatrix: !!opencv-matrix\n   rows: 3\n   cols: 3\n"
        "   dt: d\n   data: [ 900., 0., 0., 0., 910., 0., 640., 5.1200000000000000e+02,\n"
        "       1. ]\ndistortionCoefficients: !!opencv-matrix\n   rows: 1\n   cols: 5\n"
        "   dt: d\n   data: [ -1.0000000000000001e-01, 0., 0., 0., 0. ]\n"
        "R: !!opencv-matrix\n   rows: 3\n   cols: 3\n   dt: d\n"
        "   data: [ 0., 1., 0., -1., 0., 0., 0., 0., 1. ]\n"
        "T: !!opencv-matrix\n   rows: 3\n   cols: 1\n   dt: d\n   data: [ 1., -2., 3.e+02 ]\n"
    )
    format, rig = load_any(path, units="mm", image_sizes=SIZES)
    assert format == "jarvis"
    camera = rig["left"]
    np.testing.assert_array_equal(
        camera.intrinsics.matrix, [[900, 0, 640], [0, 910, 512], [0, 0, 1]]
    )
    np.testing.assert_allclose(camera.rotation, [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-12)
    np.testing.assert_array_equal(camera.tvec, [1, -2, 300])
    assert camera.intrinsics.dist[0] == -0.1


def test_opencvs_xml_and_yaml_are_read_as_opencv_reads_them(tmp_path, rng):
    import cv2

    matrix, row = rng.normal(size=(3, 3)) * 1e3, rng.normal(size=(1, 5)) * 1e-7
    for ending in ("yaml", "xml"):
        path = tmp_path / f"a.{ending}"
        storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
        storage.write("camera_matrix", matrix)
        storage.write("dist", row)
        storage.write("image_width", 640)
        storage.write("who", "on: a")
        storage.release()
        found = read_storage(path)
        np.testing.assert_array_equal(found["camera_matrix"], matrix)
        np.testing.assert_array_equal(found["dist"], row)
        assert float(found["image_width"]) == 640


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("%YAML:1.0\n---\na: !!python/object/apply:os.system [ls]\n", "YAML"),
        ("%YAML:1.0\n---\na: &x [1]\nb: *x\n", "alias"),
        ("%YAML:1.0\n---\na: 1\na: 2\n", "'a' twice"),
        ("%YAML:1.0\n---\n" + "[" * 5000, "YAML"),
        (
            "%YAML:1.0\n---\nK: !!opencv-matrix\n   rows: 99999999\n   cols: 99999999\n"
            "   dt: d\n   data: [ 1. ]\n",
            "'K' is 99999999 x 99999999 and has 1 numbers",
        ),
        ("<opencv_storage><K>1</K>", "whole XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><opencv_storage><K>&b;</K></opencv_storage>', "entities"),
        ("<opencv_storage>" + "<a>" * 100 + "</a>" * 100 + "</opencv_storage>", "deeply"),
        ("<opencv_storage><K>1</K><K>2</K></opencv_storage>", "twice"),
    ],
)
def test_storage_that_would_harm_is_refused(text, named, tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=named):
        read_storage(path)


def test_large_yaml_is_not_even_begun(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("intrinsicMatrix: 1\n" + "# long\n" * 200_000)
    with pytest.raises(DataError, match="1400019 characters"):
        load_any(path, "kalibr")


def test_what_needs_deep_nesting_is_refused(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text("a = " + "[" * 50_000)
    with pytest.raises(DataError, match="TOML"):
        load_any(path)


# MATLAB.


def test_matlab_files_are_read_as_scipy_reads_them(tmp_path, rng):
    from scipy.io import savemat

    path = tmp_path / "a.mat"
    cell = np.empty((1, 2), dtype=object)
    cell[0, 0], cell[0, 1] = "left", np.arange(6.0).reshape(2, 3)
    content = {
        "number": rng.normal(size=(3, 4)),
        "whole": np.array([[1, -2, 300]], dtype=np.int16),
        "text": "täxt",
        "cells": cell,
        "one": {"a": 1.5, "b": "x"},
    }
    for packed in (False, True):
        savemat(path, content, do_compression=packed)
        found = read_mat(path, list(content))
        np.testing.assert_array_equal(found["number"], content["number"])
        np.testing.assert_array_equal(found["whole"], content["whole"])
        assert found["text"] == "täxt"
        assert found["cells"][0] == "left"
        np.testing.assert_array_equal(found["cells"][1], cell[0, 1])
        (one,) = found["one"]
        assert (float(one["a"].item()), one["b"]) == (1.5, "x")
        assert set(read_mat(path, ["text"])) == {"text"}


def test_real_matlab_files_are_read_as_scipy_reads_them(data_folder):
    from scipy.io import loadmat

    for path in sorted((data_folder / "dannce_mouse_1").glob("*.mat")):
        theirs = loadmat(path, squeeze_me=True, struct_as_record=False)
        ours = read_mat(path, ["params", "camnames"])
        assert ("params" in ours) == ("params" in theirs)
        for (each,), other in zip(ours.get("params", []), theirs.get("params", []), strict=True):
            for key in ("K", "RDistort", "TDistort", "r", "t"):
                np.testing.assert_array_equal(np.squeeze(each[key]), getattr(other, key))


def test_a_matlab_file_that_unpacks_to_gigabytes_is_refused_unread(tmp_path):
    # a compressed double matrix "params" of 1 x 200 million zeros
    head = struct.pack("<IIII", 6, 8, 6, 0) + struct.pack("<IIii", 5, 8, 1, 200_000_000)
    head += struct.pack("<II6s2x", 1, 6, b"params") + struct.pack("<II", 9, 1_600_000_000)
    packer = zlib.compressobj(9)
    packed = packer.compress(struct.pack("<II", 14, len(head) + 1_600_000_000) + head)
    for _ in range(40):
        packed += packer.compress(bytes(1_000_000))
    packed += packer.flush()
    path = tmp_path / "bomb.mat"
    path.write_bytes(
        b"MATLAB 5.0 MAT-file".ljust(124)
        + b"\x00\x01IM"
        + struct.pack("<II", 15, len(packed))
        + packed
    )
    with pytest.raises(DataError, match="1600000056 bytes, more than any camera's"):
        read_mat(path, ["params"])
    assert read_mat(path, ["other"]) == {}


def test_matlabs_newer_version_is_named_with_its_remedy(tmp_path):
    path = tmp_path / "new.mat"
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(200))
    with pytest.raises(DataError, match="7.3. Save it in MATLAB with -v7"):
        load_any(path, "label3d", units="mm", image_sizes=SIZES)


def test_label3d_without_names_or_with_others_is_told(tmp_path):
    from scipy.io import loadmat, savemat

    path, _ = written("label3d", tmp_path)
    content = loadmat(path)
    savemat(path, {"params": content["params"]})
    rig, told = attempt(path, "label3d")
    assert rig.names == ("Camera1", "Camera2", "Camera3")
    assert any("has no camnames" in each for each in told)
    savemat(path, {"params": content["params"], "camnames": content["camnames"][:, :2]})
    with pytest.raises(DataError, match="3 cameras in params and 2 in camnames"):
        load_any(path, "label3d", units="mm", image_sizes=SIZES)


# DLT and matrices.


def test_coefficients_of_pictures_with_y_up_are_turned_over(tmp_path, rng):
    path, file = written("dlt", tmp_path)
    right = attempt(path, "dlt")[0]
    table = np.array([[float(each) for each in row.split(",")] for row in file.read_text().split()])
    # as the older programs count: row v of 1024 from one at the bottom, so v -> 1025 - v
    flipped = table.copy()
    bottom = np.vstack([table[8:], np.ones(table.shape[1])])
    flipped[4:8] = 1025 * bottom - table[4:8]
    file.write_text("\n".join(",".join(map(repr, map(float, row))) for row in flipped) + "\n")
    with pytest.warns(DataWarning, match="y up from the lower left"):
        _, rig = load_any(path, "dlt", units="mm", image_sizes=SIZES)
    points = rng.uniform(-100, 100, size=(30, 3))
    np.testing.assert_allclose(rig.project(points), right.project(points), atol=1e-6)
    mixed = np.hstack([table[:, :1], flipped[:, 1:]])
    file.write_text("\n".join(",".join(map(repr, map(float, row))) for row in mixed) + "\n")
    with pytest.raises(DataError, match="cam_2, cam_3 are of pictures that are mirrored"):
        load_any(path, "dlt", units="mm", image_sizes=SIZES)


def test_dlt_is_not_written_where_the_origin_is_behind_a_camera(tmp_path):
    rig = rig_for("dlt")
    first = rig.cameras[0]
    turned = replace(first, name="away", tvec=first.tvec * [1, 1, -1])
    with pytest.raises(DataError, match="behind camera 'away'"):
        save_as(CameraRig((*rig.cameras, turned), "mm"), tmp_path / "rig.csv", "dlt")


def test_a_changed_number_that_makes_a_lens_impossible_is_told(tmp_path):
    path, file = written("mvg", tmp_path)
    rows = file.read_text().split("\n")
    first, *rest = rows[0].split(" ")
    rows[0] = " ".join([str(float(first) + 300), *rest])
    file.write_text("\n".join(rows))
    rig, told = attempt(path, "mvg")
    assert rig is None or any("which no camera has" in each for each in told)


@pytest.mark.parametrize("word", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("format", ["dlt", "mvg"])
def test_numbers_that_are_none_are_named_by_their_place(word, format, tmp_path):
    path, file = written(format, tmp_path)
    comma = "," if format == "dlt" else " "
    lines = file.read_text().split("\n")
    cells = lines[1].split(comma)
    lines[1] = comma.join([cells[0], word, *cells[2:]])
    file.write_text("\n".join(lines))
    with pytest.raises(DataError, match=f"row 2, column 2: {word}"):
        load_any(path, format, units="mm", image_sizes=SIZES)


# Our own and aniposelib's files.


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('units = "mm"', "units = [1]", "units"),
        ("[metadata]", "metadata = 3\n[other]", "no cameras"),
        (
            "rotation = [",
            "rotation = [[2.0, 0, 0], [0, 2.0, 0], [0, 0, 2.0]] # [",
            "rotation is none",
        ),
        ("distortions = [", "distortions = 3 # [", "distort|dist"),
        ("size = [", "size = 3 # [", "'cam_0'"),
        ("rotation = [", "rotation = [[1.0], ", "'cam_0'.*its rotation"),
        ("distortions = [", "distortions = [[1.0], ", "'cam_0'.*distortions"),
        ("size = [1280", "size = [inf", "image_size"),
        ("0.0, 0.0, 1.0]]", "0.0, 0.5, 1.0]]", "matrix is"),
    ],
)
def test_our_own_file_with_a_wrong_field_is_refused_by_name(old, new, named, tmp_path):
    path = tmp_path / "calibration.toml"
    save_rig(ring_rig(2), path)
    changed(path, old, new)
    with pytest.raises(DataError, match=named):
        load_rig(path)


def test_a_camera_lost_from_the_middle_of_aniposelibs_file_is_told(tmp_path):
    path = tmp_path / "calibration.toml"
    save_rig(ring_rig(3), path)
    text = path.read_text()
    sections = text.split("\n[")
    theirs = [each for each in sections if not each.startswith(("[metadata", "cam_01"))]
    path.write_text("[" + "\n[".join(theirs) + '\n[metadata]\nunits = "mm"\n')
    with pytest.warns(DataWarning, match="cam_00, cam_02, whose numbers have gaps"):
        assert len(load_rig(path)) == 2


def test_a_file_far_too_large_is_refused_unread(tmp_path):
    for ending, format in ((".toml", "anipose"), (".csv", "dlt"), (".mat", "label3d")):
        path = tmp_path / f"large{ending}"
        with open(path, "wb") as file:
            file.truncate(3_000_000_000)
        with pytest.raises(DataError, match="large"):
            load_any(path, units="mm", image_sizes=SIZES)
        with pytest.raises(DataError, match="3000000000 bytes"):
            load_any(path, format, units="mm", image_sizes=SIZES)
