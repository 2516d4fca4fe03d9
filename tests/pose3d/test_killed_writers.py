"""A writer that is killed leaves the old file or the new one, never anything else."""

import subprocess
import sys
import time
import warnings

import numpy as np

from pose3d.formats.config import read_config
from pose3d.formats.deeplabcut import load_label_folder
from pose3d.formats.keypoints import load_keypoints_2d

WRITER = """
import sys
from pathlib import Path
import numpy as np
from pose3d.formats.config import edit_config
from pose3d.formats.deeplabcut import LabelTable, save_labels
from pose3d.formats.keypoints import save_keypoints_2d
from pose3d.keypoints import Keypoints2D

folder = Path(sys.argv[1])
(folder / "config.yaml").write_text("Task: '0'\\nsame: '0'\\n")

def change(config):
    config["Task"] = config["same"] = str(i)

i = 0
while True:
    xy = np.full((1, 4000, 1, 2, 2), float(i))
    seen = Keypoints2D(xy, np.ones(xy.shape[:-1]), ("a",), ("b",), ("c", "d"), np.arange(4000.0))
    save_keypoints_2d(folder / "keypoints.h5", seen)
    images = [f"labeled-data/a/{n}.png" for n in range(50)]
    labels = LabelTable(xy[0, :50], images, (), ("c", "d"), "e")
    save_labels(folder, labels)
    edit_config(folder / "config.yaml", change)
    if i == 0:
        print("ready", flush=True)
    i += 1
"""


def test_a_kill_leaves_whole_files(tmp_path, rng):
    for _ in range(6):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, tmp_path], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0.01, 0.1))
        writer.kill()
        writer.wait()
        writer.stdout.close()
        assert np.unique(load_keypoints_2d(tmp_path / "keypoints.h5").xy).size == 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # killed between .h5 and .csv, they disagree
            assert np.unique(load_label_folder(tmp_path, "e").xy).size == 1
        config = read_config(tmp_path / "config.yaml")
        assert config["Task"] == config["same"]
