"""The README is true: its commands run, its script runs, its figures' sources exist."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.M | re.S)


def test_the_files_it_names_are_there():
    for path in re.findall(r"(?:scripts|examples)/[\w.]+", README):
        assert (ROOT / path).exists(), path


def test_the_two_commands_are_programs():
    for command in ("scripts/demo", "scripts/test"):
        assert f"python3 {command}" in README
        subprocess.run([sys.executable, "-m", "py_compile", ROOT / command], check=True)


@pytest.fixture(scope="module")
def somebody(tmp_path_factory):
    """What a user has before the first command: videos of a board and an animal, and labels."""
    from pose3d.synthetic import recording

    folder = tmp_path_factory.mktemp("somebody")
    truth = recording.render_recording(
        folder / "rendered", n_cameras=3, n_frames=24, n_board_frames=40, image_size=(320, 240)
    )
    shutil.move(folder / "rendered" / "calibration", folder / "board")
    shutil.move(folder / "rendered" / "videos", folder / "trot")
    save_labels(folder / "labels", truth)
    return folder


def save_labels(folder, truth):
    """Write the labels as SLEAP does: one analysis file per camera."""
    import h5py

    from pose3d.synthetic import SKELETON

    wanted = ["nose", "left_ear", "right_ear", "tail_base"]
    index = [SKELETON.keypoints.index(name) for name in wanted]
    folder.mkdir()
    for camera, points in zip(truth.rig.names, truth.labels(0.5)[:, :, 0, index], strict=True):
        with h5py.File(folder / f"{camera}.h5", "w") as file:
            file["tracks"] = points.transpose(2, 1, 0)[np.newaxis]
            text = h5py.string_dtype()
            file.create_dataset("node_names", data=wanted, dtype=text)
            file.create_dataset("track_names", data=["track_0"], dtype=text)


@pytest.mark.slow
def test_every_command_and_the_first_script_run(somebody):
    (commands,) = blocks("sh")
    for line in commands.replace("\\\n", " ").splitlines():
        program, verb, *arguments = shlex.split(line)
        assert program == "pose3d"
        if verb == "train-network":
            arguments[arguments.index("--steps") + 1] = "30"
        if verb == "show-recording":
            arguments.append("--no-open-browser")
        if verb == "triangulate-recording":
            # thirty steps do not make a network that is sure of anything
            arguments += ["--min-likelihood", "0"]
        done = subprocess.run(
            [sys.executable, "-m", "pose3d", verb, *arguments],
            cwd=somebody, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
    (script,) = blocks("python")
    script = script.replace("min_likelihood=0.6", "min_likelihood=0.0")
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=somebody, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "mm/s" in done.stdout
    assert (somebody / "rat" / "reports" / "trot.html").stat().st_size > 4e6
