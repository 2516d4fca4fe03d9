"""Labels of other programs come in whole, and what could not is said."""

import json

import cv2
import h5py
import numpy as np
import pytest

from calibration.errors import DataError, DataWarning
from calibration.video import VideoWriter, read_image, write_image
from pose3d import steps
from pose3d.labeling.session import LabelSession
from pose3d.project import Project, load_labels

GREY = np.full((40, 60, 3), 90, np.uint8)


def sleap_project(path, *, video=None, version=1.3):
    """Write a .slp of two flies in two frames, the second frame predicted for one of them."""
    nodes = ["head", "thorax", "wingL", "wingR"]
    body = {"py/reduce": [{"py/type": "sleap.skeleton.EdgeType"}, {"py/tuple": [1]}]}
    mirror = {"py/reduce": [{"py/type": "sleap.skeleton.EdgeType"}, {"py/tuple": [2]}]}
    links = [
        {"source": 0, "target": 1, "type": body},
        {"source": 1, "target": 2, "type": {"py/id": 1}},
        {"source": 2, "target": 3, "type": mirror},
        {"source": 3, "target": 2, "type": {"py/id": 2}},
    ]
    settings = {
        "nodes": [{"name": name} for name in nodes],
        "skeletons": [{"nodes": [{"id": i} for i in range(4)], "links": links}],
    }
    frame = [("frame_id", "u8"), ("video", "u4"), ("frame_idx", "u8"),
             ("instance_id_start", "u8"), ("instance_id_end", "u8")]  # fmt: skip
    instance = [("instance_id", "i8"), ("instance_type", "u1"), ("frame_id", "u8"),
                ("skeleton", "u4"), ("track", "i4"), ("from_predicted", "i8"), ("score", "f4"),
                ("point_id_start", "u8"), ("point_id_end", "u8")]  # fmt: skip
    point = [("x", "f8"), ("y", "f8"), ("visible", "?"), ("complete", "?")]
    points = [(10 + i, 20 - i, i != 3, True) for i in range(12)]
    points[1] = (np.nan, np.nan, False, False)
    with h5py.File(path, "w") as file:
        meta = file.create_group("metadata")
        meta.attrs["format_id"] = version
        meta.attrs["json"] = json.dumps(settings)
        file["frames"] = np.array([(0, 0, 3, 0, 2), (1, 0, 7, 2, 4)], frame)
        file["instances"] = np.array(
            [(0, 0, 0, 0, 1, -1, 0, 0, 4), (1, 0, 0, 0, 0, -1, 0, 4, 8),
             (2, 1, 1, 0, 0, -1, 0.9, 0, 4), (3, 0, 1, 0, 1, -1, 0, 8, 12)], instance
        )  # fmt: skip
        file["points"] = np.array(points, point)
        file["tracks_json"] = np.array([b'[0, "left"]', b'[0, "right"]'])
        if video is None:
            group = file.create_group("video0")
            coded = np.array([cv2.imencode(".png", GREY)[1].ravel()] * 2, dtype=object)
            kind = h5py.vlen_dtype(np.uint8)
            data = group.create_dataset("video", (2,), dtype=kind)
            data[0], data[1] = coded[0], coded[1]
            group["frame_numbers"] = [3, 7]
            backend = {"filename": ".", "dataset": "video0/video"}
        else:
            backend = {"filename": f"C:\\\\somewhere\\\\{video.name}"}
        file["videos_json"] = np.array([json.dumps({"backend": backend}).encode()])
    return path


@pytest.mark.parametrize("embedded", [True, False])
def test_a_sleap_project_comes_in(tmp_path, embedded):
    video = None
    if not embedded:
        video = tmp_path / "flies.mp4"
        with VideoWriter(video, 25) as writer:
            for _ in range(10):
                writer.write(GREY)
    source = sleap_project(tmp_path / "flies.slp", video=video)
    outcome = steps.import_label_project(source, tmp_path / "p")
    assert outcome.figures["format"] == "sleap"
    assert any("1 predicted" in text for text in outcome.figures["dropped"])
    assert any("1 points marked as hidden" in text for text in outcome.figures["dropped"])
    project = Project.load(tmp_path / "p")
    assert project.individuals == ("left", "right")
    assert project.skeleton.edges == (("head", "thorax"), ("thorax", "wingL"))
    assert project.skeleton.symmetric == (("wingL", "wingR"),)
    labels = load_labels(project)
    assert labels.frames.tolist() == [3, 7]
    np.testing.assert_array_equal(labels.xy[0, 1, 0], [10, 20])  # track 1 came first
    assert np.isnan(labels.xy[0, 1, 1]).all()
    np.testing.assert_array_equal(labels.xy[0, 0, 0], [14, 16])
    assert np.isnan(labels.xy[1, 0]).all()
    assert np.abs(read_image(project.path / labels.images[0]).astype(int) - 90).max() < 6


def test_no_fly_of_a_sleap_project_is_lost_for_want_of_a_track(tmp_path):
    path = sleap_project(tmp_path / "three.slp")
    with h5py.File(path, "r+") as file:
        instances = file["instances"][()]
        extra = np.repeat(instances[:1], 2)
        extra["track"] = [-1, 1]  # one without a track, and a second one of the first's
        extra["point_id_start"], extra["point_id_end"] = 8, 12
        del file["instances"]
        file["instances"] = np.concatenate([instances[:2], extra, instances[2:]])
        frames = file["frames"][()]
        frames["instance_id_end"][0] = 4
        frames["instance_id_start"][1], frames["instance_id_end"][1] = 4, 6
        file["frames"][...] = frames
    outcome = steps.import_label_project(path, tmp_path / "p")
    labels = load_labels(Project.load(tmp_path / "p"))
    assert labels.individuals == ("left", "right", "animal_3", "animal_4")
    np.testing.assert_array_equal(labels.xy[0, :, 0], [[14, 16], [10, 20], [18, 12], [18, 12]])
    assert any("who is who" in text for text in outcome.figures["dropped"])


def test_a_damaged_sleap_project_is_refused_and_other_skeletons_are_told(tmp_path):
    path = sleap_project(tmp_path / "flies.slp")
    with h5py.File(path, "r+") as file:
        instances = file["instances"][()]
        instances["skeleton"][1] = 1
        file["instances"][...] = instances
    outcome = steps.import_label_project(path, tmp_path / "p")
    assert any("1 instances of other skeletons" in text for text in outcome.figures["dropped"])
    with h5py.File(path, "r+") as file:
        instances["point_id_end"][0] = 2
        file["instances"][...] = instances
    with pytest.raises(DataError, match="frame 3 has 2 points instead of 4"):
        steps.import_label_project(path, tmp_path / "q")
    assert not (tmp_path / "q").exists()


def test_two_images_of_one_frame_are_refused_before_anything_is_made(tmp_path):
    head = "scorer,me,me\nbodyparts,nose,nose\ncoords,x,y\n"
    (tmp_path / "lp").mkdir()
    rows = "labeled-data/a/img7.png,1,2\nlabeled-data/a/img07.png,3,4\n"
    (tmp_path / "lp" / "CollectedData.csv").write_text(head + rows, encoding="utf-8")
    with pytest.raises(DataError, match="labels 2 images as frame 7 of 'a'"):
        steps.import_label_project(tmp_path / "lp", tmp_path / "p")
    assert not (tmp_path / "p").exists()


def test_old_sleap_projects_count_from_the_corner_of_a_pixel(tmp_path):
    steps.import_label_project(sleap_project(tmp_path / "a.slp", version=1.0), tmp_path / "p")
    labels = load_labels(Project.load(tmp_path / "p"))
    np.testing.assert_array_equal(labels.xy[0, 1, 0], [9.5, 19.5])


def coco(path, names, images, annotations, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    category = {"id": 1, "name": "mouse", "keypoints": names, "skeleton": [[1, 2]]}
    content = {"images": images, "annotations": annotations, "categories": [category]} | more
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_coco_keypoints_come_in(tmp_path):
    for name in ("a.png", "b.png"):
        write_image(tmp_path / "set" / "images" / name, GREY)
    images = [{"id": 4, "file_name": "a.png"}, {"id": 9, "file_name": "b.png"}]
    marks = [
        {"image_id": 4, "keypoints": [5, 6, 2, 0, 0, 0]},
        {"image_id": 9, "keypoints": [7, 8, 1, 9, 10, 2]},
        {"image_id": 9, "keypoints": [], "bbox": [0, 0, 3, 3]},
    ]
    source = coco(tmp_path / "set" / "train.json", ["nose", "tail"], images, marks)
    outcome = steps.import_label_project(source, tmp_path / "p")
    assert outcome.figures["n_points"] == 3
    assert "1 points marked as hidden" in outcome.summary
    labels = load_labels(Project.load(tmp_path / "p"))
    np.testing.assert_array_equal(labels.xy[:, 0, 0], [[5, 6], [7, 8]])
    assert np.isnan(labels.xy[0, 0, 1]).all()
    assert Project.load(tmp_path / "p").skeleton.edges == (("nose", "tail"),)


def test_a_short_annotation_is_named(tmp_path):
    images = [{"id": 4, "file_name": "a.png"}]
    marks = [{"id": 31, "image_id": 4, "keypoints": [5, 6, 2]}]
    source = coco(tmp_path / "train.json", ["nose", "tail"], images, marks)
    with pytest.raises(DataError, match="annotation 31 of image 4 has 3 numbers; 2 keypoints"):
        steps.import_label_project(source, tmp_path / "p")


def test_a_training_set_of_jarvis_comes_in_view_by_view(tmp_path):
    images, marks = [], []
    for number, camera in enumerate(("Camera_A", "Camera_B")):
        write_image(tmp_path / "j" / "train" / "trot" / camera / "Frame_12.png", GREY)
        images.append({"id": number, "file_name": f"trot/{camera}/Frame_12.png"})
        marks.append({"image_id": number, "keypoints": [5 + number, 6, 2, 8, 9, 2]})
    coco(
        tmp_path / "j" / "annotations" / "instances_train.json", ["nose", "tail"], images, marks,
        keypoint_names=["nose", "tail"], framesets={},
        skeleton=[{"name": "spine", "keypointA": "nose", "keypointB": "tail", "length": 0}],
        calibrations={"trot": {}},
    )  # fmt: skip
    outcome = steps.import_label_project(tmp_path / "j", tmp_path / "p")
    assert "import-calibration" in outcome.summary
    labels = load_labels(Project.load(tmp_path / "p"))
    assert labels.cameras == ("Camera_A", "Camera_B")
    assert labels.recordings == ("trot", "trot")
    assert labels.frames.tolist() == [12, 12]
    np.testing.assert_array_equal(labels.xy[:, 0, 0], [[5, 6], [6, 6]])


def test_the_views_of_lightning_pose_come_in_with_their_hidden_points(tmp_path):
    head = "scorer,me,me,me,me,me,me\nbodyparts,nose,nose,nose,tail,tail,tail\n"
    head += "coords,x,y,visible,x,y,visible\n"
    for view in ("top", "side"):
        image = f"labeled-data/run1_{view}/img00000042.png"
        write_image(tmp_path / "lp" / image, GREY)
        text = f"{head}{image},1,2,2,3,4,{1 if view == 'top' else 0}\n"
        (tmp_path / "lp" / f"CollectedData_{view}.csv").write_text(text, encoding="utf-8")
    outcome = steps.import_label_project(tmp_path / "lp", tmp_path / "p")
    assert "1 points marked as hidden" in outcome.summary
    assert "1 points marked to be ignored" in outcome.summary
    labels = load_labels(Project.load(tmp_path / "p"))
    assert dict(zip(labels.cameras, labels.frames.tolist(), strict=True)) == {"top": 42, "side": 42}
    assert set(labels.recordings) == {"run1"}
    again = steps.import_label_project(tmp_path / "lp", tmp_path / "p")
    assert [row["there_before"] for row in again.table] == [1, 1]


def test_real_projects_come_in_and_open_in_the_page(tmp_path, data_folder):
    source = data_folder / "lp_mirror_mouse"
    outcome = steps.import_label_project(source, tmp_path / "lp")
    assert (outcome.figures["n_images"], outcome.figures["n_points"]) == (90, 1396)
    session = LabelSession(Project.load(tmp_path / "lp"), "lp_mirror_mouse")
    assert len(session.moments) == 90
    session.close()
    with pytest.warns(UserWarning, match="does not name its 22 points"):
        outcome = steps.import_label_project(
            data_folder / "dannce_mouse_1" / "label3d_demo.mat", tmp_path / "d", blank=True
        )
    assert outcome.figures["n_images"] == 60
    session = LabelSession(Project.load(tmp_path / "d"), "label3d_demo")
    assert len(session.moments) == 10
    assert len(session.folders) == 6
    session.close()
    with (
        pytest.warns(DataWarning, match="486 labelled images have no picture"),
        pytest.warns(UserWarning, match="does not name"),
    ):
        outcome = steps.import_label_project(
            data_folder / "dannce_mouse_1" / "label3d_dannce.mat", tmp_path / "e"
        )
    assert outcome.failed == "No image came in."


def test_what_is_no_project_is_said(tmp_path):
    (tmp_path / "x.txt").write_text("hello", encoding="utf-8")
    with pytest.raises(DataError, match="no label project that is known"):
        steps.import_label_project(tmp_path / "x.txt", tmp_path / "p")
    (tmp_path / "x.json").write_text('{"images": []}', encoding="utf-8")
    with pytest.raises(DataError, match="no COCO file"):
        steps.import_label_project(tmp_path / "x.json", tmp_path / "p")
    with h5py.File(tmp_path / "x.slp", "w"):
        pass
    with pytest.raises(DataError, match="no SLEAP project"):
        steps.import_label_project(tmp_path / "x.slp", tmp_path / "p")
    with pytest.raises(FileNotFoundError):
        steps.import_label_project(tmp_path / "nothing", tmp_path / "p")
