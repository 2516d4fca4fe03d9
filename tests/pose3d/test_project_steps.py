"""The verbs that make a project and fill it: what they write opens again, nothing is lost."""

import shutil

import numpy as np
import pytest

from calibration.boards import CharucoBoard
from calibration.errors import DataError, DataWarning
from calibration.video import VideoWriter, read_frame, read_image, write_image
from pose3d.formats import deeplabcut
from pose3d.project import Project, load_labels
from pose3d.steps.label_checks import check_labels
from pose3d.steps.project_labels import select_frames
from pose3d.steps.projects import add_recording, create_project, import_labels

CAMERAS = ["cam_1", "cam_10"]


def film(path, n_frames=6, size=(32, 24), fps=25):
    """Write a video whose frame i is of brightness 20 i."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, fps) as writer:
        for i in range(n_frames):
            writer.write(np.full((size[1], size[0], 3), 20 * i, np.uint8))
    return path


def dark_film(path):
    """Write a video whose frames are all black."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, 25) as writer:
        for _ in range(6):
            writer.write(np.zeros((24, 32, 3), np.uint8))
    return path


@pytest.fixture
def folder(tmp_path):
    create_project(
        tmp_path / "reach",
        cameras=CAMERAS,
        keypoints=["nose", "left-ear", "right-ear"],
        skeleton=["nose-left-ear", "nose-right-ear"],
        symmetric=["left-ear:right-ear"],
        scorer="Ada",
    )
    return tmp_path / "reach"


@pytest.fixture
def filmed(folder, tmp_path):
    videos = [f"{camera}={film(tmp_path / 'films' / f'{camera}.mp4')}" for camera in CAMERAS]
    add_recording(folder, "trot", videos)
    return folder


def analysis(path, tracks, nodes=("nose", "left-ear", "right-ear"), names=("track_0",)):
    """Write a SLEAP analysis from tracks (frame, track, node, xy)."""
    import h5py

    with h5py.File(path, "w") as file:
        file["tracks"] = tracks.transpose(1, 3, 2, 0)
        file["node_names"] = np.array([node.encode() for node in nodes])
        file["track_names"] = np.array([name.encode() for name in names])
    return path


def test_a_new_project_opens_as_it_was_asked_for(folder):
    project = Project.load(folder)
    assert project.task == "reach"
    assert project.cameras == tuple(CAMERAS)
    assert project.skeleton.edges == (("nose", "left-ear"), ("nose", "right-ear"))
    assert project.skeleton.symmetric == (("left-ear", "right-ear"),)
    assert (project.units, project.scorer, project.individuals) == ("mm", "Ada", ("animal",))
    assert (project.recordings, project.board) == ({}, None)
    assert (folder / "labeled-data").is_dir()
    assert "# Several cameras" in (folder / "config.yaml").read_text(encoding="utf-8")


def test_deeplabcut_reads_the_new_config(folder):
    from ruamel.yaml import YAML

    config = YAML(typ="safe").load((folder / "config.yaml").read_text(encoding="utf-8"))
    assert config["bodyparts"] == ["nose", "left-ear", "right-ear"]
    assert config["TrainingFraction"] == [0.95]
    assert config["multianimalproject"] is False
    assert config["skeleton"] == [["nose", "left-ear"], ["nose", "right-ear"]]
    assert config["project_path"] == str(folder.resolve())


def test_awkward_names_and_folders_are_kept(tmp_path):
    folder = tmp_path / "größe 目 🐁: 1"
    names = ["no", "01", "it's", 'say "hi"', "a: b", "#x"]
    create_project(folder, cameras=["on", "top view"], keypoints=names, individuals=["~", "1e3"])
    project = Project.load(folder)
    assert project.skeleton.keypoints == tuple(names)
    assert project.cameras == ("on", "top view")
    assert project.individuals == ("~", "1e3")
    assert project.multianimal
    assert project.task == "größe 目 🐁: 1"


def test_nothing_is_overwritten(folder):
    before = (folder / "config.yaml").read_bytes()
    with pytest.raises(FileExistsError, match=r"config\.yaml is there already"):
        create_project(folder, cameras=["a"], keypoints=["b"])
    assert (folder / "config.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cameras": ["a", "A"], "keypoints": ["x"]}, "rename one"),
        ({"cameras": ["a/b"], "keypoints": ["x"]}, "pose3d.cameras.*cannot be part of a file"),
        ({"cameras": ["a"], "keypoints": ["x", "x"]}, "keypoints holds 'x' twice"),
        ({"cameras": ["a"]}, "either keypoints, or skeleton_from"),
        ({"cameras": ["a"], "keypoints": ["x", "y"], "skeleton": ["x-z"]}, "skeleton holds 'x-z'"),
        ({"cameras": ["a"], "keypoints": ["x", "y"], "symmetric": ["x-y"]}, "symmetric .* 'x:y'"),
        ({"cameras": ["a"], "keypoints": ["x"], "units": "feet"}, "pose3d.units is 'feet'"),
        ({"cameras": ["a"], "keypoints": ["x"], "scorer": "../x"}, "scorer is '../x'"),
    ],
)
def test_a_project_that_cannot_be_is_not_made(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        create_project(tmp_path / "new", **arguments)
    assert not (tmp_path / "new").exists()


def test_a_folder_of_the_board_must_be_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no folder .*gone"):
        create_project(
            tmp_path / "new", cameras=["a"], keypoints=["x"], calibration_videos=tmp_path / "gone"
        )
    assert not (tmp_path / "new").exists()


def test_a_skeleton_may_come_from_sleap(tmp_path, data_folder):
    source = data_folder / "sleap_anipose_minimal_session" / "top"
    source = source / "minimal_top_proofread.analysis.h5"
    create_project(tmp_path / "mouse", cameras=["top"], skeleton_from=source)
    skeleton = Project.load(tmp_path / "mouse").skeleton
    assert len(skeleton.keypoints) == 15
    assert ("Head", "Nose") in skeleton.edges


def test_the_board_is_noted_with_its_unit(tmp_path):
    from calibration.formats.boards import save_board

    board = CharucoBoard(8, 11, 2.4, 1.875, "DICT_4X4_1000", "cm", inverted=True)
    save_board(board, tmp_path / "board.toml")
    (tmp_path / "boards").mkdir()
    create_project(
        tmp_path / "a",
        cameras=["top"],
        keypoints=["x"],
        board=tmp_path / "board.toml",
        calibration_videos=tmp_path / "boards",
    )
    project = Project.load(tmp_path / "a")
    assert (project.board, project.units) == (board, "cm")
    assert project.calibration_videos == (tmp_path / "boards").resolve()


def test_a_recording_is_noted_where_it_lies(folder, tmp_path):
    outside = film(tmp_path / "films" / "a.mp4")
    inside = film(folder / "videos" / "trot" / "cam_10.mp4")
    outcome = add_recording(folder, "trot", [f"cam_10={inside}", f"cam_1={outside}"])
    assert [row["camera"] for row in outcome.table] == CAMERAS
    assert outcome.figures["n_frames"] == 6
    project = Project.load(folder)
    assert project.recordings["trot"].videos == {"cam_1": outside, "cam_10": inside}
    text = (folder / "config.yaml").read_text(encoding="utf-8")
    assert "cam_10: videos/trot/cam_10.mp4" in text
    assert "crop: 0, 32, 0, 24" in text
    assert "# Several cameras" in text


def test_videos_are_copied_when_asked(folder, tmp_path):
    video = film(tmp_path / "films" / "one.MP4".lower())
    pictures = tmp_path / "pictures"
    for i in range(6):
        pictures.mkdir(exist_ok=True)
        write_image(pictures / f"p{i}.png", np.zeros((24, 32, 3), np.uint8))
    with pytest.warns(DataWarning, match="frames per second"):
        add_recording(folder, "trot", [f"cam_1={video}", f"cam_10={pictures}"], copy=True)
    shutil.rmtree(tmp_path / "films")
    shutil.rmtree(pictures)
    videos = Project.load(folder).recordings["trot"].videos
    assert videos["cam_1"] == folder / "videos" / "trot" / "cam_1.mp4"
    assert videos["cam_10"] == folder / "videos" / "trot" / "cam_10"
    assert read_frame(videos["cam_1"], 3).mean() == pytest.approx(60, abs=3)
    assert read_frame(videos["cam_10"], 3).mean() == 0


def brightness(folder, name="trot"):
    """Mean of the last picture of each camera's video."""
    videos = Project.load(folder).recordings[name].videos
    return [read_frame(videos[camera], 5).mean() for camera in CAMERAS]


def test_swapped_cameras_keep_both_copies(folder, tmp_path):
    bright = film(tmp_path / "cam_1.mp4")
    dark = dark_film(tmp_path / "cam_10.mp4")
    add_recording(folder, "trot", [str(bright), str(dark)], copy=True)
    before = brightness(folder)
    assert before == pytest.approx([100, 0], abs=3)
    copies = folder / "videos" / "trot"
    swapped = [f"cam_1={copies / 'cam_10.mp4'}", f"cam_10={copies / 'cam_1.mp4'}"]
    add_recording(folder, "trot", swapped, copy=True, overwrite=True)
    assert brightness(folder) == before[::-1]
    assert sorted(path.name for path in copies.iterdir()) == ["cam_1.mp4", "cam_10.mp4"]


def test_a_copy_replaces_no_other_file_unless_told(folder, tmp_path):
    videos = [str(film(tmp_path / f"{camera}.mp4", 6 + i)) for i, camera in enumerate(CAMERAS)]
    there = folder / "videos" / "trot" / "cam_1.mp4"
    dark_film(there)
    before = there.read_bytes()
    with pytest.raises(DataError, match=r"cam_1\.mp4 is there already and differs"):
        add_recording(folder, "trot", videos, copy=True)
    assert there.read_bytes() == before
    assert [path.name for path in there.parent.iterdir()] == ["cam_1.mp4"]
    shutil.copy(videos[0], there)  # the same contents are no other file
    with pytest.warns(DataWarning, match="differ in length"):
        add_recording(folder, "trot", videos, copy=True)
    dark_film(there)
    with pytest.warns(DataWarning, match="differ in length"):
        add_recording(folder, "trot", videos, copy=True, overwrite=True)
    assert brightness(folder)[0] == pytest.approx(100, abs=3)


def test_copied_pictures_are_not_mixed_with_others(folder, tmp_path):
    there = folder / "videos" / "trot" / "cam_1"
    for place in (tmp_path / "pictures" / "a.png", there / "b.png"):
        write_image(place, np.zeros((24, 32, 3), np.uint8))
    with pytest.raises(DataError, match=r"b\.png would lie among the pictures"):
        add_recording(folder, "trot", [f"cam_1={tmp_path / 'pictures'}"], copy=True, overwrite=True)
    assert [path.name for path in there.iterdir()] == ["b.png"]


def test_one_video_is_not_of_two_cameras(folder, tmp_path):
    video = film(tmp_path / "a.mp4")
    with pytest.raises(DataError, match=r"a\.mp4 is given for both camera 'cam_1' and .*'cam_10'"):
        add_recording(folder, "trot", [f"cam_1={video}", f"cam_10={video}"])


def test_videos_that_were_left_aside_are_named(folder, tmp_path):
    for name in ("cam_1.mp4", "kam_10.mp4"):
        film(tmp_path / "films" / name)
    with pytest.warns(DataWarning, match=r"no video of cam_10 \(left aside.*: kam_10\.mp4\)"):
        add_recording(folder, "trot", [str(tmp_path / "films")])


def test_the_only_camera_s_video_need_not_bear_its_name(tmp_path):
    create_project(tmp_path / "one", cameras=["camera"], keypoints=["nose"])
    video = film(tmp_path / "films" / "mouse 7.mp4")
    add_recording(tmp_path / "one", "trot", [str(video.parent)])
    assert Project.load(tmp_path / "one").recordings["trot"].videos == {"camera": video}
    film(tmp_path / "films" / "mouse 8.mp4")
    with pytest.raises(DataError, match=r"Both .*mouse 7\.mp4 and .*mouse 8\.mp4 are of"):
        add_recording(tmp_path / "one", "two", [str(video.parent)])


@pytest.mark.parametrize("layout", ["{camera}/take.mp4", "take_{camera}.mp4", "{camera}.mp4"])
def test_cameras_are_found_in_a_folder_by_name(folder, tmp_path, layout):
    videos = {camera: film(tmp_path / "f" / layout.format(camera=camera)) for camera in CAMERAS}
    add_recording(folder, "trot", [str(tmp_path / "f")])
    assert Project.load(folder).recordings["trot"].videos == videos


def test_the_four_videos_of_the_mouse_are_found(tmp_path, data_folder):
    session = data_folder / "sleap_anipose_minimal_session"
    create_project(tmp_path / "a", cameras=["back", "mid", "side", "top"], keypoints=["x"])
    outcome = add_recording(tmp_path / "a", "session", [str(session)])
    assert outcome.figures == {"n_cameras": 4, "n_frames": 120}
    assert {(row["width"], row["height"]) for row in outcome.table} == {(1280, 1024)}


def test_differences_between_videos_are_told(folder, tmp_path):
    one, two = film(tmp_path / "f" / "cam_1.mp4", 6), film(tmp_path / "f" / "cam_10.mp4", 4, fps=30)
    with pytest.warns(
        DataWarning, match=r"length \(cam_1 6, cam_10 4 frames\).*cam_1 25, cam_10 30"
    ):
        add_recording(folder, "trot", [str(one), str(two)])
    with pytest.warns(DataWarning, match="no video of cam_10"):
        add_recording(folder, "walk", [str(one)])


def test_recordings_that_cannot_be_are_refused(filmed, tmp_path):
    before = (filmed / "config.yaml").read_bytes()
    video = tmp_path / "films" / "cam_1.mp4"
    other = shutil.copy(video, tmp_path / "films" / "take_cam_1.mp4")
    (tmp_path / "empty").mkdir()
    cases = [
        ("trot", [str(video)], DataError, "'trot' already"),
        ("a/b", [str(video)], ValueError, "'a/b' holds '/'"),
        ("walk", [f"cam_2={video}"], ValueError, "names the camera 'cam_2'"),
        ("walk", ["cam_1=gone.mp4"], FileNotFoundError, r"gone\.mp4"),
        ("walk", [str(tmp_path / "nowhere")], FileNotFoundError, "There is no .*nowhere"),
        ("walk", [str(video), str(other)], DataError, "are of camera 'cam_1'"),
        ("walk", [str(tmp_path / "empty")], DataError, "it holds nothing"),
        ("walk", [], DataError, "No videos"),
    ]
    for name, videos, error, message in cases:
        with pytest.raises(error, match=message):
            add_recording(filmed, name, videos)
    assert (filmed / "config.yaml").read_bytes() == before
    with pytest.warns(DataWarning, match="no video of cam_10"):
        add_recording(filmed, "trot", [str(video)], overwrite=True)
    assert Project.load(filmed).recordings["trot"].cameras == ("cam_1",)


@pytest.mark.parametrize(
    ("frames", "every", "expected"),
    [
        (None, 1, range(12)),
        (None, 5, [0, 5, 10]),
        ("3", 1, [3]),
        ("0-2, 9-30", 1, [0, 1, 2, 9, 10, 11]),
        ("2-8", 3, [3, 6]),
    ],
)
def test_frames_are_chosen_as_they_are_spelled(frames, every, expected):
    chosen = select_frames(frames, every)(np.arange(12))
    assert chosen.tolist() == list(expected)


@pytest.mark.parametrize("frames", ["", "a", "3-1", "1;2", "-4", "1-"])
def test_frames_that_cannot_be_read_are_refused(frames):
    with pytest.raises(ValueError, match="frames holds"):
        select_frames(frames, 1)
    with pytest.raises(ValueError, match="every is 0"):
        select_frames(None, 0)


def test_tracks_become_labelled_images(filmed, tmp_path, rng):
    tracks = rng.uniform(1, 20, (6, 1, 3, 2))
    tracks[2] = np.nan  # nothing to see
    tracks[4, 0, 1] = np.nan
    one = analysis(tmp_path / "cam_1.h5", tracks)
    two = analysis(tmp_path / "x.h5", tracks[:, :, ::-1], ("right-ear", "left-ear", "nose"))
    outcome = import_labels(filmed, "trot", [str(one), f"cam_10={two}"], frames="1-5")
    assert outcome.figures == {"n_images": 8, "n_kept": 0, "n_points": 22}
    labels = load_labels(Project.load(filmed))
    assert labels.cameras == ("cam_1",) * 4 + ("cam_10",) * 4
    assert labels.frames.tolist() == [1, 3, 4, 5] * 2
    for i in range(4):
        np.testing.assert_array_equal(labels.xy[i], tracks[labels.frames[i]])
        np.testing.assert_array_equal(labels.xy[4 + i], tracks[labels.frames[i]])
        image = read_image(filmed / labels.images[i])
        assert image.mean() == pytest.approx(20 * labels.frames[i], abs=3)
        assert image.shape == (24, 32, 3)


def test_labels_that_are_there_are_kept_unless_told(filmed, tmp_path, rng):
    tracks = rng.uniform(1, 20, (6, 1, 3, 2))
    path = analysis(tmp_path / "cam_1.h5", tracks)
    import_labels(filmed, "trot", [str(path)], every=2)
    analysis(path, tracks + 1)
    with pytest.warns(DataWarning, match="3 images were labelled already; their labels are kept"):
        outcome = import_labels(filmed, "trot", [str(path)])
    assert outcome.figures["n_images"] == 3
    project = Project.load(filmed)
    moved = load_labels(project).xy - tracks
    np.testing.assert_allclose(moved[0::2], 0)
    np.testing.assert_allclose(moved[1::2], 1)
    import_labels(filmed, "trot", [str(path)], overwrite=True)
    np.testing.assert_allclose(load_labels(project).xy - tracks, 1)


def test_tracks_of_another_video_are_noticed(filmed, tmp_path):
    tracks = np.full((9, 1, 3, 2), 31.0)
    path = analysis(tmp_path / "cam_1.h5", tracks)
    with pytest.warns(DataWarning) as told:
        outcome = import_labels(filmed, "trot", [str(path)])
    texts = " ".join(str(warning.message) for warning in told)
    assert "3 of the frames asked for cannot be read (6, 7, 8)" in texts
    assert "18 points lie outside the 32 x 24 image" in texts
    assert outcome.figures["n_images"] == 6


def test_what_cannot_be_imported_is_refused(filmed, tmp_path):
    tracks = np.full((6, 1, 3, 2), 3.0)
    path = analysis(tmp_path / "cam_1.h5", tracks)
    nowhere = analysis(tmp_path / "cam_1_empty.h5", tracks * np.nan)
    cases = [
        ("trit", [str(path)], DataError, "no recording 'trit'. Did you mean 'trot'"),
        ("trot", [f"top={path}"], ValueError, "names the camera 'top'"),
        ("trot", [str(tmp_path / "a.h5")], ValueError, "tells no camera"),
        ("trot", ["cam_1=gone.h5"], FileNotFoundError, r"gone\.h5"),
        ("trot", [str(path), f"cam_1={path}"], ValueError, "both of camera 'cam_1'"),
        ("trot", [], ValueError, "files is empty"),
        ("trot", [str(nowhere)], DataError, "points in 0 of 6 frames"),
    ]
    for recording, files, error, message in cases:
        with pytest.raises(error, match=message):
            import_labels(filmed, recording, files)
    analysis(path, tracks, ("a", "b", "c"))
    with pytest.raises(DataError, match="labels a, b, c; the project has nose"):
        import_labels(filmed, "trot", [str(path)])
    assert list((filmed / "labeled-data").iterdir()) == []


def pictured(folder, xy, scorer="Eve"):
    """Write labels in DeepLabCut's layout with their pictures beside them."""
    names = [f"img{i}.png" for i in range(len(xy))]
    for name in names:
        write_image(folder / name, np.zeros((24, 32, 3), np.uint8))
    images = [f"labeled-data/{folder.name}/{name}" for name in names]
    keypoints = ("nose", "left-ear", "right-ear")
    deeplabcut.save_labels(folder, deeplabcut.LabelTable(xy, images, (), keypoints, scorer))
    return folder / f"CollectedData_{scorer}.csv"


def test_the_folder_of_labelled_pictures_tells_their_camera(filmed, tmp_path, rng):
    xy = rng.uniform(1, 20, (2, 1, 3, 2))
    path = pictured(tmp_path / "trot_cam_10", xy)
    outcome = import_labels(filmed, "trot", [str(path)])
    assert [row["camera"] for row in outcome.table] == ["cam_10"]
    assert (outcome.figures["n_images"], outcome.failed) == (2, "")
    for choice in ({"frames": "0"}, {"every": 2}):
        with pytest.raises(ValueError, match=r"CollectedData_Eve\.csv holds labelled pictures"):
            import_labels(filmed, "trot", [str(path)], **choice)


def test_a_file_named_after_another_camera_is_told(filmed, tmp_path):
    path = analysis(tmp_path / "trot_cam_10.h5", np.full((6, 1, 3, 2), 3.0))
    with pytest.warns(DataWarning, match="given for camera 'cam_1', but .* speaks of 'cam_10'"):
        import_labels(filmed, "trot", [f"cam_1={path}"])


def test_two_flies_come_in_under_their_names(tmp_path, rng):
    folder = tmp_path / "flies"
    create_project(
        folder, cameras=["top"], keypoints=["head", "tail"], individuals=["anna", "otto"]
    )
    add_recording(folder, "duel", [str(film(tmp_path / "top.mp4"))])
    tracks = rng.uniform(1, 20, (6, 2, 2, 2))
    path = analysis(tmp_path / "t.h5", tracks, ("head", "tail"), ("otto", "anna"))
    import_labels(folder, "duel", [str(path)])
    labels = load_labels(Project.load(folder))
    np.testing.assert_array_equal(labels.xy, tracks[:, ::-1])


def test_deeplabcut_labels_are_copied_with_their_images(tmp_path, data_folder):
    source = data_folder / "dlc_openfield" / "labeled-data" / "m4s1"
    folder = tmp_path / "field"
    names = ["tailbase", "leftear", "rightear", "snout"]  # another order
    create_project(folder, cameras=["above"], keypoints=names, scorer="Ada")
    outcome = import_labels(folder, "m4s1", [str(source / "CollectedData_Pranav.csv")])
    assert outcome.figures == {"n_images": 116, "n_kept": 0, "n_points": 464}
    project = Project.load(folder)
    labels = load_labels(project)
    table = deeplabcut.load_labels(source / "CollectedData_Pranav.h5")
    np.testing.assert_array_equal(labels.xy[:, :, [3, 1, 2, 0]], table.xy)
    assert set(labels.recordings) == {"m4s1"}
    copied = project.labeled_folder("m4s1", "above") / "img0007.png"
    assert copied.read_bytes() == (source / "img0007.png").read_bytes()
    with (
        pytest.warns(DataWarning, match="no labels of 'Ada'"),
        pytest.warns(DataWarning, match="116 images were labelled already"),
    ):
        again = import_labels(folder, "m4s1", [f"above={source}"])
    assert again.figures == {"n_images": 0, "n_kept": 116, "n_points": 0}


def test_lightning_pose_labels_with_gaps_are_copied(tmp_path, data_folder):
    source = data_folder / "lp_mirror_mouse" / "CollectedData.csv"
    table = deeplabcut.load_labels(source)
    create_project(tmp_path / "a", cameras=["front"], keypoints=list(table.keypoints))
    import_labels(tmp_path / "a", "run", [f"front={source}"])
    labels = load_labels(Project.load(tmp_path / "a"))
    assert len(labels) == 90
    np.testing.assert_array_equal(labels.xy, table.xy)
    assert labels.frames.tolist() == list(range(1, 91))


def test_absent_images_are_told(tmp_path, data_folder):
    source = data_folder / "dlc_openfield" / "labeled-data" / "m4s1" / "CollectedData_Pranav.csv"
    create_project(
        tmp_path / "a", cameras=["c"], keypoints=["snout", "leftear", "rightear", "tailbase"]
    )
    shutil.copy(source, tmp_path / "CollectedData_Pranav.csv")
    with pytest.warns(DataWarning, match="116 labelled images are not there"):
        outcome = import_labels(tmp_path / "a", "m", [str(tmp_path / "CollectedData_Pranav.csv")])
    assert outcome.figures["n_images"] == 0
    assert "lay CollectedData_Pranav.csv beside its pictures" in outcome.failed


def test_a_project_of_deeplabcut_is_not_given_recordings(tmp_path, data_folder):
    shutil.copytree(data_folder / "dlc_openfield", tmp_path / "field")
    with pytest.raises(DataError, match="DeepLabCut's own"):
        add_recording(tmp_path / "field", "trot", ["a.mp4"])


def test_labels_are_drawn_where_they_are(filmed, tmp_path, rng):
    tracks = np.full((6, 1, 3, 2), np.nan)
    tracks[1:, 0, 0] = [20, 8]
    tracks[3, 0, 1] = [5, 5]
    paths = [analysis(tmp_path / f"{camera}.h5", tracks) for camera in CAMERAS]
    import_labels(filmed, "trot", [str(path) for path in paths])
    outcome = check_labels(filmed)
    assert outcome.figures == {"n_images": 10, "n_outside": 0, "n_suspects": 0}
    assert [row["points"] for row in outcome.table] == [6, 6]
    assert "Nothing suspicious" in outcome.path.read_text(encoding="utf-8")
    folder = filmed / "labeled-data" / "trot_cam_1_labeled"
    drawn = read_image(folder / "img00002.png").astype(float)
    changed = np.abs(drawn - 40).max(axis=-1) > 10
    y, x = np.nonzero(changed)
    assert (x.mean(), y.mean()) == pytest.approx((20, 8), abs=0.5)
    assert len(load_labels(Project.load(filmed))) == 10  # the drawings are no labels
    with pytest.raises(DataError, match="no labels of 'walk'; there are labels of trot"):
        check_labels(filmed, recording="walk")


def test_labels_outside_their_images_are_told(tmp_path, data_folder):
    source = data_folder / "dlc_openfield"
    folder = tmp_path / "field" / "labeled-data" / "m4s1"
    folder.mkdir(parents=True)
    shutil.copyfile(source / "config.yaml", tmp_path / "field" / "config.yaml")
    table = deeplabcut.load_labels(source / "labeled-data" / "m4s1" / "CollectedData_Pranav.h5")
    for image in table.images[:9]:
        shutil.copyfile(source / image, tmp_path / "field" / image)
    xy = table.xy[:9].copy()
    xy[:, 0, 2] = np.nan
    xy[7, 0, 1] = [640, 3]
    labels = deeplabcut.LabelTable(xy, table.images[:9], (), table.keypoints, "Pranav")
    deeplabcut.save_labels(folder, labels)
    with pytest.warns(DataWarning, match=r"1 images have labels .* leftear in img0007\.png"):
        outcome = check_labels(tmp_path / "field", recording="m4s1")
    assert (outcome.figures["n_images"], outcome.figures["n_outside"]) == (9, 1)
