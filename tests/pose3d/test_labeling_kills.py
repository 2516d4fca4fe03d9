"""A labelling server that is killed at random moments: what it acknowledged is there."""

import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

from calibration.video import write_image
from pose3d.labeling.session import LabelSession
from pose3d.project import Project, load_labels

CONFIG = """\
Task: reaching
scorer: Ada
bodyparts: [nose, tail]
pose3d:
  cameras: [cam_1, cam_2]
  recordings: {trot: {cam_1: a.mp4, cam_2: b.mp4}}
"""
N_KILLS = 30


def start(project):
    """Start label-frames as a person does; give the process, port and token."""
    server = subprocess.Popen(
        [sys.executable, "-m", "pose3d", "label-frames", str(project), "--no-open-browser"],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    for line in server.stderr:
        if "http://127.0.0.1:" in line:
            port, token = line.split("127.0.0.1:")[1].strip().split("/?token=")
            return server, int(port), token
    raise AssertionError("label-frames ended before it gave its link")


def post(connection, token, changes):
    body = json.dumps({"changes": changes})
    connection.request("POST", "/api/change/trot", body, {"X-Token": token})
    answer = connection.getresponse()
    return answer.status, answer.read()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL.")
def test_thirty_kills_lose_no_label_that_was_acknowledged(tmp_path):
    (tmp_path / "config.yaml").write_text(CONFIG)
    for camera in ("cam_1", "cam_2"):
        for frame in range(10):
            image = tmp_path / "labeled-data" / f"trot_{camera}" / f"img{frame:05d}.png"
            image.parent.mkdir(parents=True, exist_ok=True)
            write_image(image, np.zeros((8, 8, 3), np.uint8))
    chance = random.Random(0)
    saved, unsure = {}, {}
    for _ in range(N_KILLS):
        server, port, token = start(tmp_path)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        # from before the first change to after the files are written (a second after it)
        killer = threading.Timer(chance.uniform(0.02, 1.3), os.kill, (server.pid, signal.SIGKILL))
        killer.start()
        try:
            while True:
                where = (
                    chance.choice(("cam_1", "cam_2")), f"img{chance.randrange(10):05d}.png",
                    chance.choice(("nose", "tail")),
                )  # fmt: skip
                camera, image, keypoint = where
                after = {"state": "clicked", "xy": [chance.uniform(0, 8), chance.uniform(0, 8)]}
                change = {
                    "camera": camera, "image": image, "individual": "animal",
                    "keypoint": keypoint, "before": saved.get(where), "after": after,
                }  # fmt: skip
                unsure = {where: after}
                status, told = post(connection, token, [change])
                assert status == 200, told
                saved[where] = after
                unsure = {}
        except (OSError, http.client.HTTPException):
            pass  # killed
        connection.close()
        killer.join()
        server.wait()
        server.stderr.close()
        session = LabelSession(Project.load(tmp_path), "trot")
        for where in {**saved, **unsure}:
            camera, image, keypoint = where
            point = session.point(camera, image, "animal", keypoint)
            if where in unsure:  # on the disk, or not, when the answer was cut off
                assert point in (unsure[where], saved.get(where))
                if point is not None:
                    saved[where] = point
            else:
                assert point == saved[where]
        session._timer and session._timer.cancel()
        session.journal.close()
    assert len(saved) == 40
    LabelSession(Project.load(tmp_path), "trot").close()
    labels = load_labels(Project.load(tmp_path))
    for (camera, image, keypoint), point in saved.items():
        row = labels.images.index(f"labeled-data/trot_{camera}/{image}")
        column = labels.keypoints.index(keypoint)
        assert labels.xy[row, 0, column].tolist() == point["xy"]
