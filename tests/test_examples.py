"""The examples run, on the real recordings, and find what they say they find."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def run(script, *arguments):
    done = subprocess.run(
        [sys.executable, EXAMPLES / script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONUTF8": "1", "TQDM_DISABLE": "1"},
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_the_mouse_goes_from_videos_to_3d(data_folder, tmp_path):
    session = data_folder / "sleap_anipose_minimal_session"
    told = run("mouse_four_cameras.py", session, "--out", tmp_path / "mouse", "--steps", 60)
    # the source's own calibration is wrong, and both of the cameras are named
    assert "'side' and 'top' stand at the same place" in told
    assert "one is a copy of the other" in told.partition("Triangulating with the source")[2]
    held_out = float(re.search(r"out of the fit lie ([\d.]+) px", told)[1])
    assert held_out < 0.35
    assert (tmp_path / "mouse" / "reports" / "minimal.html").stat().st_size > 5e6


@pytest.mark.slow
def test_deeplabcuts_own_project_trains_two_networks(data_folder, tmp_path):
    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"
    told = run(
        "open_field.py",
        data_folder / "dlc_openfield",
        *("--weights", data_folder / "keras_backbones" / name),
        *("--out", tmp_path / "project", "--steps", 20),
    )
    assert len(re.findall(r"test px [\d.]+", told)) == 2
