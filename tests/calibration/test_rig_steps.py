"""From detected boards to a calibration file: what is written, what is refused, what is kept."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.boards import CharucoBoard
from calibration.errors import DataError
from calibration.formats.boards import save_board
from calibration.formats.detections import save_detections
from calibration.formats.toml import load_rig
from calibration.steps.rigs import calibrate_rig, show_rig
from calibration.synthetic import moving_board, ring_rig, simulate_detections

BOARD = CharucoBoard(8, 11, 24.0, 18.0, "DICT_4X4_250")


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    poses = moving_board(BOARD, 20, rng=rng)
    seen = simulate_detections(ring_rig(3), BOARD, poses, noise_px=0.2, rng=rng)
    save_detections(seen, tmp_path / "seen.h5")
    blurred = simulate_detections(ring_rig(3), BOARD, poses, noise_px=2.5, rng=rng)
    save_detections(blurred, tmp_path / "blurred.h5")
    save_detections(
        replace(seen, corners=seen.corners[:1], cameras=("a",), image_sizes=seen.image_sizes[:1]),
        tmp_path / "one.h5",
    )
    save_board(BOARD, tmp_path / "board.toml")
    save_board(replace(BOARD, square_length=48.0), tmp_path / "larger.toml")
    return tmp_path


def run(folder, seen, *, board="board.toml", out="rig.toml", **more):
    return calibrate_rig(folder / seen, board=folder / board, out=folder / out, **more)


def test_a_good_calibration_is_written_with_its_report(folder):
    done = run(folder, "seen.h5")
    assert not done.failed
    assert len(load_rig(folder / "rig.toml")) == 3
    assert done.figures["held_out_rms_px"] < 0.3
    text = done.path.read_text(encoding="utf-8")
    assert "<script" in text
    assert "http-equiv" not in text or "Content-Security-Policy" in text
    shown = show_rig(folder / "rig.toml", out=folder / "view.html", open_browser=False)
    assert shown.path.stat().st_size > 1e6


def test_a_calibration_that_is_wrong_does_not_replace_a_good_one(folder):
    good = run(folder, "seen.h5")
    before = (folder / "rig.toml").read_bytes(), good.path.read_bytes()
    bad = run(folder, "blurred.h5")
    assert bad.failed
    assert (folder / "rig.rejected.toml").exists()
    assert ((folder / "rig.toml").read_bytes(), good.path.read_bytes()) == before
    run(folder, "seen.h5")
    assert not (folder / "rig.rejected.toml").exists()


def test_boards_that_were_measured_again_are_not_ignored(folder):
    with pytest.raises(DataError, match=r"another board than .*larger.toml \(square_length"):
        run(folder, "seen.h5", board="larger.toml")


def test_one_camera_is_no_rig(folder):
    with pytest.raises(DataError, match="the one camera 'a'; a rig has at least two"):
        run(folder, "one.h5")


def test_nothing_that_is_read_is_written_over(folder):
    with pytest.raises(ValueError, match="board.toml is read to make the result"):
        run(folder, "seen.h5", out="board.toml")
    run(folder, "seen.h5")
    with pytest.raises(ValueError, match="ends in .html"):
        show_rig(folder / "rig.toml", out=folder / "rig.toml", open_browser=False)
    with pytest.raises(FileNotFoundError, match="expected a folder with a video of the board"):
        run(folder, "none.h5")
