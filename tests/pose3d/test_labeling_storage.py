"""Labels while they are edited: nothing lost, nothing overwritten in silence."""

import errno
import json
import os
import sys
import types

import numpy as np
import pytest

from calibration.errors import DataError
from calibration.video import write_image
from pose3d.formats import deeplabcut
from pose3d.labeling.journal import Journal
from pose3d.labeling.session import ChangedElsewhere, LabelSession
from pose3d.project import Project, load_labels

CONFIG = """\
Task: reaching
scorer: Ada
bodyparts: [nose, left_ear, tail]
pose3d:
  cameras: [cam_1, cam_10]
  recordings: {trot: {cam_1: a.mp4, cam_10: b.mp4}}
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "config.yaml").write_text(CONFIG)
    for camera in ("cam_1", "cam_10"):
        folder = tmp_path / "labeled-data" / f"trot_{camera}"
        folder.mkdir(parents=True)
        for frame in (3, 20):
            write_image(folder / f"img{frame:05d}.png", np.zeros((8, 10, 3), np.uint8))
    return Project.load(tmp_path)


def change(after, *, before=None, camera="cam_1", image="img00003.png", keypoint="nose"):
    where = {"camera": camera, "image": image, "individual": "animal", "keypoint": keypoint}
    return {**where, "before": before, "after": after}


def clicked(x, y, state="clicked"):
    return {"state": state, "xy": [x, y]}


def crash(session):
    """End a session as SIGKILL would: only what is on the disk stays."""
    session._timer and session._timer.cancel()
    session.journal.close()


def test_moments_are_the_frames_that_cameras_share(project):
    session = LabelSession(project, "trot")
    assert session.moments[0] == ("3", {"cam_1": "img00003.png", "cam_10": "img00003.png"})
    assert [name for name, _ in session.moments] == ["3", "20"]
    session.close()


def test_labels_are_written_as_deeplabcut_has_them_and_come_back_with_their_states(project):
    session = LabelSession(project, "trot")
    session.change([change(clicked(1.1, 2.3)), change(clicked(4, 5, "occluded"), keypoint="tail")])
    session.change([change(clicked(7, 8, "reprojected"), camera="cam_10", image="img00020.png")])
    session.close()
    labels = load_labels(project)
    assert labels.images[0] == "labeled-data/trot_cam_1/img00003.png"
    np.testing.assert_array_equal(labels.xy[0, 0], [[1.1, 2.3], [np.nan] * 2, [np.nan] * 2])
    np.testing.assert_array_equal(labels.xy[1, 0, 0], [7, 8])
    session = LabelSession(project, "trot")
    assert session.point("cam_1", "img00003.png", "animal", "tail") == clicked(4, 5, "occluded")
    assert session.point("cam_10", "img00020.png", "animal", "nose")["state"] == "reprojected"
    sidecar = json.loads(session.sidecar_path.read_text())
    point = sidecar["points"]["cam_1"]["img00003.png"][0][2]
    assert point["who"] == "Ada"
    assert point["when"].startswith("20")
    session.close()


def test_a_killed_session_loses_nothing_that_was_acknowledged(project):
    session = LabelSession(project, "trot")
    session.change([change(clicked(1, 2))])
    session.write()
    session.change([change(clicked(3, 4), before=clicked(1, 2))])
    session.change([change({"state": "absent", "xy": None}, keypoint="tail")])
    crash(session)
    with open(session.journal.path, "ab") as file:
        file.write(b'{"kind": "change", "changes": [{"cam')  # cut short by the kill
    session = LabelSession(project, "trot")
    assert session.point("cam_1", "img00003.png", "animal", "nose") == clicked(3, 4)
    assert session.point("cam_1", "img00003.png", "animal", "tail")["state"] == "absent"
    session.change([change(clicked(5, 6), keypoint="left_ear")])
    crash(session)
    session = LabelSession(project, "trot")
    assert session.point("cam_1", "img00003.png", "animal", "left_ear") == clicked(5, 6)
    session.close()
    np.testing.assert_array_equal(load_labels(project).xy[0, 0, 0], [3, 4])


def test_a_kill_between_the_files_loses_nothing(project, monkeypatch):
    """The .h5 is new, the .csv and the sidecar are old: the journal has it all."""
    session = LabelSession(project, "trot")
    session.change([change(clicked(1, 2))])
    session.write()
    session.change([change(clicked(3, 4), before=clicked(1, 2))])

    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(deeplabcut, "save_csv", killed)
        with pytest.raises(KeyboardInterrupt):
            session.write()
    crash(session)
    session = LabelSession(project, "trot")
    assert session.point("cam_1", "img00003.png", "animal", "nose") == clicked(3, 4)
    session.close()
    folder = project.path / "labeled-data" / "trot_cam_1"
    for ending in (".csv", ".h5"):
        table = deeplabcut.load_labels(folder / f"CollectedData_Ada{ending}")
        np.testing.assert_array_equal(table.xy[0, 0, 0], [3, 4])


def test_undo_and_redo_survive_a_restart(project):
    session = LabelSession(project, "trot")
    session.change([change(clicked(1, 2))])
    session.change([change(clicked(3, 4), before=clicked(1, 2))])
    session.change([change(clicked(1, 2), before=clicked(3, 4))], kind="undo")
    crash(session)
    session = LabelSession(project, "trot")
    history = session.history()
    assert [c[0]["after"]["xy"] for c in history["undo"]] == [[1.0, 2.0]]
    assert [c[0]["after"]["xy"] for c in history["redo"]] == [[3.0, 4.0]]
    session.close()


def test_a_second_tab_overwrites_nothing_that_it_has_not_seen(project):
    session = LabelSession(project, "trot")
    session.change([change(clicked(1, 2))], tab="one")
    with pytest.raises(ChangedElsewhere, match="'nose' in img00003.png of cam_1.*another tab"):
        session.change([change(clicked(9, 9))], tab="two")
    assert session.point("cam_1", "img00003.png", "animal", "nose") == clicked(1, 2)
    kinds = [entry["kind"] for entry in session.journal.entries()]
    assert kinds == ["change", "refused"]
    session.close()


def test_a_second_server_is_refused(project):
    session = LabelSession(project, "trot")
    with pytest.raises(DataError, match="open in another label-frames"):
        LabelSession(project, "trot")
    session.close()
    LabelSession(project, "trot").close()


def test_a_full_disk_changes_nothing_and_is_told(project, monkeypatch):
    session = LabelSession(project, "trot")
    session.change([change(clicked(1, 2))])
    size = session.journal.size
    write = os.write

    def full(handle, content):
        if len(content) > 20:
            return write(handle, content[:20])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            session.change([change(clicked(3, 4), before=clicked(1, 2))])
    assert session.journal.size == size
    assert session.point("cam_1", "img00003.png", "animal", "nose") == clicked(1, 2)
    session.change([change(clicked(5, 6), before=clicked(1, 2))])
    session.close()
    np.testing.assert_array_equal(load_labels(project).xy[0, 0, 0], [5, 6])


def test_what_another_program_changed_is_merged_and_told(project):
    session = LabelSession(project, "trot")
    session.change([change(clicked(1, 2)), change(clicked(3, 4), keypoint="tail")])
    session.write()
    folder = project.path / "labeled-data" / "trot_cam_1"
    table = deeplabcut.load_labels(folder / "CollectedData_Ada.h5")
    xy = table.xy.copy()
    xy[0, 0, 0], xy[0, 0, 1], xy[0, 0, 2] = [11, 12], [21, 22], [31, 32]
    deeplabcut.save_labels(
        folder, deeplabcut.LabelTable(xy, table.images, (), table.keypoints, "Ada")
    )
    session.change([change(clicked(5, 6), before=clicked(1, 2))])
    session.write()
    expected = [[5, 6], [21, 22], [31, 32]]  # ours, theirs, theirs
    np.testing.assert_array_equal(load_labels(project).xy[0, 0], expected)
    told = session.notices[-1]
    assert "changed by another program: 2 points were taken over" in told
    assert "'nose' in img00003.png" in told
    (kept,) = folder.glob("replaced-*")
    kept.rename(folder / "CollectedData_Eve.h5")  # readable, with the other's point
    other = deeplabcut.load_labels(folder / "CollectedData_Eve.h5")
    np.testing.assert_array_equal(other.xy[0, 0, 0], [11, 12])
    session.close()


def test_keypoints_that_only_the_files_have_are_kept(project):
    folder = project.path / "labeled-data" / "trot_cam_1"
    table = deeplabcut.LabelTable(
        np.arange(8.0).reshape(1, 1, 4, 2), ["labeled-data/trot_cam_1/img00003.png"], (),
        ("nose", "left_ear", "tail", "whisker"), "Ada",
    )  # fmt: skip
    deeplabcut.save_labels(folder, table)
    session = LabelSession(project, "trot")
    session.change([change(clicked(50, 60), before=clicked(0, 1))])
    session.close()
    table = deeplabcut.load_labels(folder / "CollectedData_Ada.h5")
    assert table.keypoints[-1] == "whisker"
    np.testing.assert_array_equal(table.xy[0, 0], [[50, 60], [2, 3], [4, 5], [6, 7]])


@pytest.mark.parametrize(
    "after",
    [
        {"state": "guessed", "xy": [1, 2]},
        {"state": "clicked", "xy": None},
        {"state": "clicked", "xy": [1, float("nan")]},
        {"state": "clicked", "xy": [1, 1e9]},
        {"state": "clicked", "xy": ["1", 2]},
        {"state": "clicked", "xy": [1, 2, 3]},
    ],
)
def test_a_point_that_cannot_be_is_refused(project, after):
    session = LabelSession(project, "trot")
    with pytest.raises(ValueError, match="state|xy|number|place"):
        session.change([change(after)])
    with pytest.raises(ValueError, match="There is no point"):
        session.change([change(clicked(1, 2), image="../img00003.png")])
    assert session.journal.size == 0
    session.close()


def test_a_recording_without_images_says_what_to_do(project):
    with pytest.raises(DataError, match="extract-frames"):
        LabelSession(project, "walk")


@pytest.mark.parametrize("there", [True, False], ids=["video", "no video"])
def test_a_late_cameras_images_stand_beside_those_of_the_same_moment(project, there):
    """cam_10 is 17 frames late: its frame 20 is the others' frame 3."""
    config = project.path / "config.yaml"
    config.write_text(
        CONFIG.replace("b.mp4", "late") + f"  offsets: {{trot: {{cam_10: {17 / 30}}}}}\n"
    )
    if there:  # a folder of pictures counts 30 a second
        (project.path / "late").mkdir()
        write_image(project.path / "late" / "0.png", np.zeros((8, 10, 3), np.uint8))
    session = LabelSession(Project.load(project.path), "trot")
    assert session.synchronous == there
    if there:
        assert ("3", {"cam_1": "img00003.png", "cam_10": "img00020.png"}) in session.moments
    else:
        assert "'cam_10' is 0.5667 s late" in session.notices[0]
    session.close()


@pytest.mark.skipif(os.name == "nt", reason="Windows has the real one.")
def test_the_journal_needs_nothing_that_windows_lacks(tmp_path, monkeypatch):
    """Windows has no pread and no fcntl; its lock is of a byte far behind the end."""
    locked = []
    windows = types.SimpleNamespace(
        LK_NBLCK=2, locking=lambda handle, mode, n: locked.append(os.lseek(handle, 0, os.SEEK_CUR))
    )
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", windows)
    monkeypatch.delattr(os, "pread")
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"kind": "change"}\n{"kind": "cut sho')
    journal = Journal(path)
    journal.append({"kind": "undo"})
    assert [entry["kind"] for entry in journal.entries()] == ["change", "undo"]
    assert path.read_bytes().startswith(b'{"kind": "change"}\n{"kind": "cut sho\n{"kind"')
    assert locked == [1 << 40]
    journal.close()
