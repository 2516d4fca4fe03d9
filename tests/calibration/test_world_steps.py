"""The verbs orient-rig and place-cameras: tables in, calibration files out."""

import tomllib
from dataclasses import replace

import numpy as np
import pytest

from calibration.boards import CharucoBoard
from calibration.errors import CalibrationError, DataError
from calibration.formats.boards import save_board
from calibration.formats.detections import save_detections
from calibration.formats.scene import load_clicks, load_scene_points
from calibration.formats.toml import load_calibration, load_rig, read_verdict, save_rig
from calibration.solve import calibrate
from calibration.steps.rigs import calibrate_rig, show_rig
from calibration.steps.scenes import place_cameras
from calibration.steps.worlds import orient_rig
from calibration.synthetic import moving_board, ring_rig, simulate_detections

BOARD = CharucoBoard(8, 11, 24.0, 18.0, "DICT_4X4_250")
PLACES = {
    "origin": (0, 0, 0),
    "x": (200, 0, 0),
    "plane": (0, 200, 0),
    "post": (50, 80, 150),
    "door": (-150, 100, 60),
    "lamp": (100, -120, 90),
    "nail": (-90, -160, 20),
}


def write_clicks(path, rig, places, skip=()):
    lines = ["camera,point,x,y"]
    for camera in rig:
        for name, place in places.items():
            if (camera.name, name) not in skip:
                x, y = camera.project(np.array(place, dtype=float))
                lines.append(f"{camera.name}, {name}, {x:.2f}, {y:.2f}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_points(path, places, units="mm"):
    rows = [f"{name},{x},{y},{z},{units}" for name, (x, y, z) in places.items()]
    path.write_text("\n".join(["name,x,y,z,units", *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def seen():
    rng = np.random.default_rng(3)
    rig = ring_rig(3, rng=rng)
    poses = moving_board(BOARD, 16, rng=rng)
    return rig, simulate_detections(rig, BOARD, poses, noise_px=0.2, rng=rng)


@pytest.fixture
def folder(tmp_path, seen):
    rig, detections = seen
    save_rig(calibrate(detections, hold_out=False), tmp_path / "calibration.toml")
    write_clicks(tmp_path / "clicks.csv", rig, PLACES)
    write_points(tmp_path / "points.csv", PLACES)
    return tmp_path


def test_a_board_moment_becomes_the_world_and_the_file_says_so(folder):
    done = orient_rig(folder / "calibration.toml", world="board:4")
    assert done.path == folder / "calibration.oriented.toml"
    metadata = tomllib.loads(done.path.read_text())["metadata"]
    assert metadata["world"] == "board:4"
    assert metadata["units"] == "mm"
    assert metadata["errors_relative_to"] == ["cam_0"]
    moved, old = load_calibration(done.path), load_calibration(folder / "calibration.toml")
    np.testing.assert_allclose(moved.board_poses[4], np.diag([1, -1, -1, 1.0]), atol=1e-9)
    assert moved.rig.world == "board:4"
    assert moved.rig.covariance is not None
    assert moved.verdict == old.verdict
    shown = show_rig(done.path, out=folder / "view.html", open_browser=False)
    assert shown.figures["verdict"] == old.verdict.level


def test_clicked_points_become_the_world(folder, seen):
    truth, _ = seen
    for world, more in (
        ("points", {"points": folder / "points.csv"}),
        ("axes", {}),
    ):
        done = orient_rig(
            folder / "calibration.toml", world=world, clicks=folder / "clicks.csv", **more
        )
        for camera in load_rig(done.path):
            np.testing.assert_allclose(camera.position, truth[camera.name].position, atol=3.0)
    floor = {name: (x, y, 0) for name, (x, y, _) in PLACES.items()}
    write_clicks(folder / "floor.csv", truth, floor)
    done = orient_rig(
        folder / "calibration.toml",
        world="floor",
        clicks=folder / "floor.csv",
        distance=("origin", "x", 400.0),
    )
    for camera in load_rig(done.path):
        assert camera.position[2] == pytest.approx(2 * truth[camera.name].position[2], abs=5.0)
    assert "That is much" in done.summary


def test_a_rig_alone_is_oriented_too_and_keeps_its_verdict(folder):
    rig = replace(load_rig(folder / "calibration.toml"), covariance=None)
    save_rig(rig, folder / "alone.toml")
    done = orient_rig(folder / "alone.toml", world="cameras", out=folder / "up.toml")
    assert "A guess" in done.summary
    assert load_rig(folder / "up.toml").world == "cameras"
    with pytest.raises(DataError, match="needs the boards of the calibration"):
        orient_rig(folder / "alone.toml", world="board:3")


def test_what_cannot_be_is_refused_in_words(folder):
    path = folder / "calibration.toml"
    with pytest.raises(ValueError, match="Say what to do: --world"):
        orient_rig(path)
    with pytest.raises(ValueError, match="expected board:FRAME"):
        orient_rig(path, world="table")
    with pytest.raises(ValueError, match="expected frame numbers, such as board:12"):
        orient_rig(path, world="board:first")
    with pytest.raises(ValueError, match="at least two cameras: --clicks"):
        orient_rig(path, world="floor")
    with pytest.raises(ValueError, match="is read to make the result"):
        orient_rig(path, world="board:4", out=path)
    with pytest.raises(CalibrationError, match="At frame 40 no board was found"):
        orient_rig(path, world="board:40")
    write_points(folder / "metres.csv", PLACES, "m")
    with pytest.raises(DataError, match="is in m, the rig in mm"):
        orient_rig(path, world="points", clicks=folder / "clicks.csv", points=folder / "metres.csv")


def test_calibrate_rig_takes_the_world_along(tmp_path, seen):
    _, detections = seen
    save_detections(detections, tmp_path / "seen.h5")
    save_board(BOARD, tmp_path / "board.toml")
    calibrate_rig(
        tmp_path / "seen.h5",
        board=tmp_path / "board.toml",
        out=tmp_path / "r.toml",
        world="board:2",
    )
    assert load_rig(tmp_path / "r.toml").world == "board:2"
    with pytest.raises(ValueError, match="Clicked points come afterwards"):
        calibrate_rig(tmp_path / "seen.h5", board=tmp_path / "board.toml", world="floor")


def test_cameras_are_placed_from_tables(folder, seen):
    truth, _ = seen
    done = place_cameras(
        folder / "points.csv",
        folder / "clicks.csv",
        lenses=folder / "calibration.toml",
        out=folder / "placed.toml",
    )
    assert not done.failed
    placed = load_rig(done.path)
    assert placed.units == "mm"
    assert placed.covariance is not None
    assert read_verdict(done.path) == done.figures["verdict"]
    for camera in placed:
        np.testing.assert_allclose(camera.position, truth[camera.name].position, atol=10.0)
    # a file with a verdict and no boards can be looked at
    show_rig(done.path, out=folder / "view.html", open_browser=False)
    turned = orient_rig(done.path, world="cameras")
    assert read_verdict(turned.path) == done.figures["verdict"]


def test_places_that_cannot_be_believed_go_beside(folder, seen):
    truth, _ = seen
    write_clicks(
        folder / "wrong.csv", truth, dict(zip(PLACES, [*PLACES.values()][::-1], strict=True))
    )
    good = (folder / "calibration.toml").read_bytes()
    few = {name: PLACES[name] for name in ("origin", "x", "plane", "post")}
    write_clicks(folder / "few.csv", truth, few)
    text = (folder / "few.csv").read_text().replace("cam_1, post, ", "cam_1, post, 9")
    (folder / "few.csv").write_text(text)
    with pytest.raises(CalibrationError, match="No place of camera 'cam_1' explains four"):
        place_cameras(
            folder / "points.csv",
            folder / "few.csv",
            lenses=folder / "calibration.toml",
            out=folder / "placed.toml",
        )
    assert (folder / "calibration.toml").read_bytes() == good
    with pytest.raises(CalibrationError, match="explains four of its 7 points|lie on one line"):
        place_cameras(
            folder / "points.csv",
            folder / "wrong.csv",
            lenses=folder / "calibration.toml",
            out=folder / "placed.toml",
        )


def test_tables_that_cannot_be_read_say_why(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("name;x;y;z\na;1;2;3\n")
    names, places, units = load_scene_points(table, "m")
    assert names == ("a",)
    assert units == "m"
    np.testing.assert_array_equal(places, [[1, 2, 3]])
    with pytest.raises(DataError, match="does not say its unit of length"):
        load_scene_points(table)
    table.write_text("name,x,y,z,units\na,1,2,,mm\nb,,,,\nb,1,1,1,mm\n")
    with pytest.raises(DataError, match="line 4: the point 'b' comes twice"):
        load_scene_points(table)
    table.write_text("point,x,y\na,1,2\n")
    with pytest.raises(DataError, match="camera is missing. Its first line must name camera"):
        load_clicks(table)
    table.write_text("camera,point,x,y\nc,a,1,two\n")
    with pytest.raises(DataError, match="line 2: 'two' is no number"):
        load_clicks(table)
    each = tmp_path / "each"
    each.mkdir()
    (each / "left.csv").write_text("point,x,y\na,1,2\nb,,\n")
    assert load_clicks(each) == {"left": {"a": (1.0, 2.0)}}
    toml = tmp_path / "p.toml"
    toml.write_text('units = "cm"\n[points]\na = [1, 2, 3]\n')
    assert load_scene_points(toml)[2] == "cm"
    with pytest.raises(FileNotFoundError, match="expected a .csv with the columns"):
        load_clicks(tmp_path / "none.csv")
