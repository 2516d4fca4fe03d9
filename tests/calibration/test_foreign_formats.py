"""Calibrations of other programs: there and back, real files, and files that lie."""

import pickle
import re
import warnings
from dataclasses import replace

import numpy as np
import pytest

from calibration.cameras import METRES, Camera, CameraRig, Intrinsics
from calibration.errors import DataError, DataWarning
from calibration.formats.carrying import as_brown
from calibration.formats.exchange import FORMATS, load_any, recognise, save_as
from calibration.formats.matrices import split_projection
from calibration.formats.toml import load_rig, save_rig
from calibration.multiview import align_rigs, move_rig, reprojection_errors, triangulate_dlt
from calibration.plausibility import check_sizes
from calibration.steps.exchange import export_calibration, import_calibration
from calibration.synthetic import ring_rig

SIZES = {None: (1280, 1024)}
WRITTEN = [name for name, each in FORMATS.items() if each.save]


def rig_for(format, n_cameras=12):
    """A rig that a format can hold: twelve cameras, whose names sort badly as text."""
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


def path_for(format, folder):
    return folder / f"rig{FORMATS[format].ending}"


def points_of(rig):
    return np.random.default_rng(0).uniform(-100, 100, size=(50, 3))


@pytest.mark.parametrize("format", WRITTEN)
def test_rigs_come_back_from_every_format(format, tmp_path):
    rig = rig_for(format)
    path = path_for(format, tmp_path)
    save_as(rig, path, format)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        # Pose2Sim's file is aniposelib's but for the unit and the number of coefficients
        assert recognise(path) == {"pose2sim": "anipose"}.get(format, format)
        given = None if format in ("pose2sim", "kalibr", "caliscope", "anipose") else "mm"
        _, back = load_any(path, format, units=given, image_sizes=SIZES)
    assert len(back) == 12
    scale = METRES[rig.units] / METRES[back.units]
    points = points_of(rig)
    expected = rig.project(points)
    # by name: some of these formats lose the order, none the names
    names = rig.names
    if set(back.names) == set(names):
        back = back.subset(names)
    found = back.project(points * scale)
    if format == "kalibr":  # its world is the first camera
        motion = rig.cameras[0].camera_from_world
        moved = points @ motion[:3, :3].T + motion[:3, 3]
        found = back.project(moved * scale)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_aniposelib_itself_reads_twelve_cameras_in_order(tmp_path):
    from calibration.anipose import CameraGroup

    rig = rig_for("anipose")
    save_as(rig, tmp_path / "rig.toml", "anipose")
    group = CameraGroup.load(str(tmp_path / "rig.toml"))
    assert [camera.get_name() for camera in group.cameras] == list(rig.names)


@pytest.mark.parametrize("format", ["pose2sim", "caliscope", "jarvis", "label3d", "kalibr"])
@pytest.mark.parametrize("model", ["rational", "fisheye"])
def test_lenses_that_a_format_cannot_hold_are_fitted_or_refused_by_name(format, model, tmp_path):
    rig = ring_rig(3, model=model)
    able = model == "fisheye" and format in ("pose2sim", "caliscope", "kalibr")
    refusal = ""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            save_as(rig, path_for(format, tmp_path), format)
        except DataError as error:
            refusal = str(error)
    if refusal:
        assert not able
        assert "'cam_0'" in refusal
        assert not path_for(format, tmp_path).exists()
    else:
        assert able or any("px off" in str(each.message) for each in told)


def test_a_lens_carried_over_is_as_near_as_it_says():
    camera = ring_rig(1, model="rational").cameras[0]
    with pytest.warns(DataWarning, match="up to"):
        lens = as_brown(camera, 5, "This")
    grid = np.stack(np.meshgrid(np.linspace(0, 1279, 9), np.linspace(0, 1023, 9)), axis=-1)
    straight = camera.intrinsics.undistort(grid)
    points = np.concatenate([straight, np.ones((*straight.shape[:-1], 1))], axis=-1)
    assert np.linalg.norm(lens.project(points) - grid, axis=-1).max() < 0.5


def test_bent_lenses_are_refused_where_matrices_alone_are_kept(tmp_path):
    with pytest.raises(DataError, match="'cam_0' has a lens that bends lines"):
        save_as(ring_rig(2), tmp_path / "rig.csv", "dlt")


@pytest.mark.parametrize("format", WRITTEN)
def test_skew_is_kept_or_told_or_refused_but_never_lost_in_silence(format, tmp_path):
    rig = rig_for(format, 2)
    first = rig.cameras[0]
    for skew, refused in ((8.0, True), (0.1, False)):
        matrix = first.intrinsics.matrix.copy()
        matrix[0, 1] = skew
        bent = replace(first, intrinsics=replace(first.intrinsics, matrix=matrix))
        skewed = replace(rig, cameras=(bent, rig.cameras[1]))
        path = path_for(format, tmp_path / str(refused))
        path.parent.mkdir()
        if format == "kalibr" or (refused and format in ("pose2sim", "caliscope", "opencv")):
            with pytest.raises(DataError, match=f"'{first.name}'.* skew"):
                save_as(skewed, path, format)
        elif format in ("pose2sim", "caliscope", "opencv", "anipose"):
            with pytest.warns(DataWarning, match=f"'{first.name}' has a skew .* px off"):
                save_as(skewed, path, format)
        else:
            save_as(skewed, path, format)
            _, back = load_any(path, format, units="mm", image_sizes=SIZES)
            assert back.cameras[0].intrinsics.matrix[0, 1] == pytest.approx(skew, abs=1e-9)


def test_a_world_that_nobody_chose_is_told_before_pose2sim_takes_z_for_up(tmp_path):
    rig = rig_for("pose2sim", 2)
    rig = replace(rig, world="")
    with pytest.warns(DataWarning, match=r"z for up.*orient-rig"):
        save_as(rig, tmp_path / "Calib.toml", "pose2sim")
    save_as(replace(rig, world="board:12"), tmp_path / "Calib.toml", "pose2sim")


def test_projection_matrices_are_taken_apart_whatever_their_scale_and_sign():
    camera = ring_rig(1, model="pinhole", rng=np.random.default_rng(1)).cameras[0]
    matrix = camera.intrinsics.matrix @ camera.camera_from_world[:3]
    for factor in (1.0, -3.7):
        lens, rotation, place = split_projection(factor * matrix)
        np.testing.assert_allclose(lens, camera.intrinsics.matrix, atol=1e-9)
        np.testing.assert_allclose(rotation, camera.rotation, atol=1e-12)
        np.testing.assert_allclose(place, camera.tvec, atol=1e-9)


# Real files.


def test_dannces_cameras_are_read_with_their_skew(data_folder):
    from scipy.io import loadmat

    path = data_folder / "dannce_mouse_1" / "label3d_dannce.mat"
    format, rig = load_any(path, units="mm", image_sizes={None: (1152, 1024)})
    assert format == "label3d"
    labels = loadmat(path, squeeze_me=True, struct_as_record=False)["labelData"]
    points = labels[0].data_3d.reshape(-1, 22, 3)
    for camera, label in zip(rig, labels, strict=True):
        seen = label.data_2d.reshape(-1, 22, 2)
        there = np.isfinite(seen[..., 0])
        np.testing.assert_allclose(camera.project(points)[there], seen[there], atol=1e-6)


@pytest.mark.parametrize("name", ["camera_array.toml", "config.toml"])
def test_caliscopes_files_new_and_old_are_read(name, data_folder):
    format, rig = load_any(data_folder / "caliscope_4cam_charuco" / name)
    assert format == "caliscope"
    assert (len(rig), rig.units) == (4, "m")
    np.testing.assert_allclose(rig["cam_0"].tvec, [-0.64251767, 0.26286810, 1.45153832], atol=1e-7)


def test_qualisys_and_pose2sim_describe_the_same_cameras(data_folder):
    folder = data_folder / "pose2sim_single_person"
    format, rig = load_any(folder / "calibration" / "Calib.qca.txt")
    assert format == "qualisys"
    with pytest.warns(DataWarning, match="Pose2Sim"):
        other = load_rig(folder / "reference_2024" / "Calib_qualisys.toml")
    focal = [camera.intrinsics.matrix[0, 0] for camera in rig]
    np.testing.assert_allclose(
        focal, [camera.intrinsics.matrix[0, 0] for camera in other], rtol=1e-6
    )
    points = np.random.default_rng(0).uniform(-500, 500, size=(40, 3)) + [0, 0, 1000]
    for camera, theirs in zip(rig, other, strict=True):
        np.testing.assert_allclose(camera.project(points), theirs.project(points / 1000), atol=1.5)


def test_the_mouse_sessions_copy_of_a_camera_is_named(data_folder):
    path = data_folder / "sleap_anipose_minimal_session" / "calibration.toml"
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        load_any(path)
    assert any("'side' and 'top' stand at the same place" in str(each.message) for each in told)


# Files that lie.


def test_pickles_are_refused_with_a_way_out(tmp_path):
    path = tmp_path / "stereo_params.pickle"
    path.write_bytes(pickle.dumps({"cam1-cam2": {"R": 1}}))
    with pytest.raises(DataError, match=r"pickle.*none is ever loaded.*calibrate-rig"):
        recognise(path)


@pytest.mark.parametrize("text", ["hello", "a: 1\n", "{}", "1 2 3\n4 5\n", "\x00\x01", "[a]\nb=1"])
@pytest.mark.parametrize("ending", [".toml", ".yaml", ".csv", ".mat", ".txt"])
def test_unknown_files_are_refused_with_what_is_known(text, ending, tmp_path):
    path = tmp_path / f"thing{ending}"
    path.write_text(text)
    with pytest.raises((DataError, ValueError)) as caught:
        load_any(path, units="mm", image_sizes=SIZES)
    assert "thing" in str(caught.value)


@pytest.mark.parametrize("format", ["anipose", "caliscope", "kalibr", "label3d", "dlt"])
def test_files_cut_short_never_lose_a_camera_in_silence(format, tmp_path):
    rig = rig_for(format, 3)
    path = path_for(format, tmp_path)
    save_as(rig, path, format)
    whole = path.read_bytes()
    for size in range(1, len(whole), max(1, len(whole) // 60)):
        path.write_bytes(whole[:size])
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            try:
                _, back = load_any(
                    path, format, image_sizes=SIZES, units=None if format != "dlt" else "mm"
                )
            except (DataError, ValueError):
                continue
        # Caliscope and Kalibr say nowhere how many cameras there are: a cut between two of them
        # cannot be noticed, and the number loaded is stated by import-calibration
        if format not in ("caliscope", "kalibr"):
            assert len(back) == 3 or told


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda text: re.sub(r"intrinsics: \[[^,]*", "intrinsics: [.nan", text), "'cam0'.*finite"),
        (lambda text: text.replace("resolution", "solution"), "resolution"),
        (lambda text: text.replace("radtan", "fov"), "'fov'"),
        (lambda text: text + text, "twice"),
        (lambda text: "a: &x [1]\nb: *x\n" + text, "alias"),
    ],
)
def test_broken_camchains_are_refused_by_what_is_wrong(change, named, tmp_path):
    path = tmp_path / "chain.yaml"
    save_as(rig_for("kalibr", 2), path, "kalibr")
    text = path.read_text()
    assert change(text) != text
    path.write_text(change(text))
    with pytest.raises(DataError, match=named):
        load_any(path, "kalibr")


def test_a_rotation_that_is_none_is_refused(tmp_path):
    rig = rig_for("jarvis", 2)
    save_as(rig, tmp_path / "cams", "jarvis")
    file = tmp_path / "cams" / "cam_1.yaml"
    wrong = rig["cam_1"].rotation.T.copy()
    text = file.read_text()
    start = text.index("R:")
    data = text.index("data:", start)
    end = text.index("]", data)
    file.write_text(text[:data] + "data: [ " + ", ".join(map(str, 2 * wrong.ravel())) + text[end:])
    with pytest.raises(DataError, match="'cam_1': its rotation is none"):
        load_any(tmp_path / "cams", units="mm", image_sizes=SIZES)


def test_sizes_are_asked_for_and_checked_against_videos(tmp_path):
    rig = rig_for("jarvis", 2)
    save_as(rig, tmp_path / "cams", "jarvis")
    with pytest.raises(
        DataError, match=r"image size of camera 'cam_0'.*--image-size cam_0=1280x1024"
    ):
        load_any(tmp_path / "cams", units="mm")
    check_sizes(rig, {"cam_0": (1280, 1024)})
    for size, hint in (
        ((1024, 1280), "exchanged"),
        ((640, 512), "scaled"),
        ((800, 600), "same size"),
    ):
        with pytest.raises(DataError, match=f"'cam_1'.*{hint}"):
            check_sizes(rig, {"cam_1": size})
    with pytest.raises(DataError, match="'left'"):
        check_sizes(rig, {"left": (1280, 1024)})


# The verbs.


def test_the_verbs_take_over_and_hand_on(tmp_path):
    rig = rig_for("caliscope", 3)
    save_rig(rig, tmp_path / "calibration.toml")
    done = export_calibration(
        tmp_path / "calibration.toml", tmp_path / "camera_array.toml", format="caliscope"
    )
    assert len(done.table) == 3
    back = import_calibration(tmp_path / "camera_array.toml", out=tmp_path / "back.toml")
    assert "Caliscope" in back.summary
    found = load_rig(tmp_path / "back.toml")
    assert found.units == "m"
    np.testing.assert_allclose(found["cam_1"].tvec * 1000, rig["cam_1"].tvec, atol=1e-9)
    with pytest.raises(ValueError, match="is there"):
        import_calibration(tmp_path / "camera_array.toml", out=tmp_path / "back.toml")
    with pytest.raises(ValueError, match="is there"):
        export_calibration(
            tmp_path / "calibration.toml", tmp_path / "camera_array.toml", format="caliscope"
        )
    metres = export_calibration(
        tmp_path / "calibration.toml", tmp_path / "m.mat", format="label3d", units="m"
    )
    assert metres.figures["units"] == "m"
    assert align_rigs(move_rig(rig, np.eye(4)), rig).shape == (4, 4)
    seen = rig.project(points_of(rig))
    assert np.nanmax(reprojection_errors(rig, triangulate_dlt(rig, seen), seen)) < 1e-6


def test_image_sizes_are_read_as_they_are_told(tmp_path):
    save_as(rig_for("dlt", 2), tmp_path / "rig.csv", "dlt")
    import_calibration(
        tmp_path / "rig.csv",
        out=tmp_path / "a.toml",
        units="mm",
        image_size=["cam_1=1280x1024", "cam_2=640x512"],
    )
    assert load_rig(tmp_path / "a.toml")["cam_2"].intrinsics.image_size == (640, 512)
    with pytest.raises(ValueError, match="1280x1024"):
        import_calibration(
            tmp_path / "rig.csv", out=tmp_path / "b.toml", units="mm", image_size=["large"]
        )


def test_an_image_size_that_the_file_contradicts_is_not_passed_over(tmp_path):
    save_as(rig_for("caliscope", 2), tmp_path / "camera_array.toml", "caliscope")
    for told, said in (
        ("800x600", "800x600 for 'cam_0'; .* itself is for 1280x1024"),
        ("cam_1=800x600", "800x600 for 'cam_1'; "),
        ("cam_7=1280x1024", "names cam_7; .* has cam_0, cam_1"),
    ):
        with pytest.raises(ValueError, match=said):
            import_calibration(
                tmp_path / "camera_array.toml", out=tmp_path / "a.toml", image_size=[told]
            )
    import_calibration(
        tmp_path / "camera_array.toml", out=tmp_path / "a.toml", image_size=["1280x1024"]
    )


def test_an_intrinsics_of_no_distortion_is_written_with_zeros(tmp_path):
    lens = Intrinsics([[900, 0, 640], [0, 900, 512], [0, 0, 1]], [], (1280, 1024), "pinhole")
    rig = CameraRig((Camera("a", lens, np.zeros(3), np.zeros(3)),), "mm")
    save_as(rig, tmp_path / "chain.yaml", "kalibr")
    assert not load_any(tmp_path / "chain.yaml")[1]["a"].intrinsics.dist.any()


# Conventions, from the programs' own descriptions and not from what is written here.


def test_kalibrs_chain_leads_from_each_camera_to_the_next(tmp_path):
    path = tmp_path / "camchain.yaml"
    path.write_text(
        "cam0:\n  cam_overlaps: [1]\n  camera_model: pinhole\n"
        "  distortion_coeffs: [-0.1, 0.02, 0.001, -0.002]\n  distortion_model: radtan\n"
        "  intrinsics: [460.5, 459.25, 370.0, 240.0]\n  resolution: [752, 480]\n"
        "  rostopic: /cam0/image_raw\n"
        "cam1:\n  T_cn_cnm1:\n  - [0.0, 1.0, 0.0, -0.11]\n  - [-1.0, 0.0, 0.0, 0.02]\n"
        "  - [0.0, 0.0, 1.0, 0.03]\n  - [0.0, 0.0, 0.0, 1.0]\n  cam_overlaps: [0, 2]\n"
        "  camera_model: pinhole\n  distortion_coeffs: [0.01, 0.02, 0.003, 0.004]\n"
        "  distortion_model: equidistant\n  intrinsics: [450.0, 451.0, 371.0, 241.0]\n"
        "  resolution: [752, 480]\n  rostopic: /cam1/image_raw\n"
        "cam2:\n  T_cn_cnm1:\n  - [1.0, 0.0, 0.0, 0.5]\n  - [0.0, 1.0, 0.0, 0.0]\n"
        "  - [0.0, 0.0, 1.0, 0.0]\n  - [0.0, 0.0, 0.0, 1.0]\n  cam_overlaps: [1]\n"
        "  camera_model: pinhole\n  distortion_coeffs: [0.0, 0.0, 0.0, 0.0]\n"
        "  distortion_model: radtan\n  intrinsics: [450.0, 451.0, 371.0, 241.0]\n"
        "  resolution: [752, 480]\n  rostopic: /cam2/image_raw\n"
    )
    format, rig = load_any(path)
    assert (format, rig.units, rig.names) == ("kalibr", "m", ("cam0", "cam1", "cam2"))
    assert [camera.intrinsics.model for camera in rig] == ["brown", "fisheye", "brown"]
    point = np.array([0.3, -0.2, 2.0])  # in the first camera
    in_second = np.array([-0.2 - 0.11, -0.3 + 0.02, 2.03])
    np.testing.assert_allclose(
        rig["cam1"].camera_from_world @ [*point, 1], [*in_second, 1], atol=1e-12
    )
    np.testing.assert_allclose(
        rig["cam2"].camera_from_world @ [*point, 1], [*(in_second + [0.5, 0, 0]), 1], atol=1e-12
    )


def test_dlt_coefficients_give_pixels_that_count_from_one(tmp_path):
    rig = rig_for("dlt", 3)
    path = path_for("dlt", tmp_path)
    save_as(rig, path, "dlt")
    rows = [[float(cell) for cell in line.split(",")] for line in path.read_text().split()]
    x, y, z = 12.0, -30.0, 45.0
    for c, camera in zip(np.transpose(rows), rig, strict=True):
        below = c[8] * x + c[9] * y + c[10] * z + 1
        u = (c[0] * x + c[1] * y + c[2] * z + c[3]) / below
        v = (c[4] * x + c[5] * y + c[6] * z + c[7]) / below
        np.testing.assert_allclose([u - 1, v - 1], camera.project(np.array([x, y, z])), atol=1e-8)
