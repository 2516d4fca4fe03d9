"""Projects: what a config may say, what it may not, and where files lie."""

import shutil
import time

import numpy as np
import pytest

from calibration.boards import CharucoBoard
from calibration.errors import DataError, DataWarning
from pose3d.formats.config import edit_config, read_config, spell
from pose3d.project import Project

CONFIG = """\
# who and what
Task: reaching
scorer: Ada
date: Nov20
video_sets: {}
bodyparts:
- nose   # the tip
- left_ear
- right_ear
skeleton:
- [nose, left_ear]
TrainingFraction:
- 0.8
pcutoff: 0.5

pose3d:
  version: 1
  units: mm
  cameras: [cam_1, cam_10, top]
  symmetric:
  - [left_ear, right_ear]
  recordings:
    trot: {top: videos/trot/top.mp4, cam_1: videos/trot/cam_1.mp4}
    trot_fast: {top: videos/trot_fast/top.mp4}
  offsets:
    trot: {cam_1: 0.25}
  board: {squares_x: 8, squares_y: 11, square_length: 24.0, marker_length: 18.75,
          dictionary: DICT_4X4_1000}
  calibration_videos: board
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.yaml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


def rewrite(folder, old, new):
    path = folder / "config.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_a_config_becomes_a_project(folder):
    project = Project.load(folder)
    assert (project.task, project.scorer, project.units) == ("reaching", "Ada", "mm")
    assert project.skeleton.keypoints == ("nose", "left_ear", "right_ear")
    assert project.skeleton.edges == (("nose", "left_ear"),)
    assert project.skeleton.symmetric == (("left_ear", "right_ear"),)
    assert project.individuals == ("animal",)
    assert project.cameras == ("cam_1", "cam_10", "top")
    assert (project.pcutoff, project.train_fraction) == (0.5, 0.8)
    trot = project.recordings["trot"]
    assert trot.cameras == ("cam_1", "top")  # in the project's order
    assert trot.videos["top"] == folder.resolve() / "videos" / "trot" / "top.mp4"
    np.testing.assert_array_equal(trot.offsets, [0.25, 0.0])
    assert project.board == CharucoBoard(8, 11, 24.0, 18.75, "DICT_4X4_1000")
    assert project.calibration_videos == folder.resolve() / "board"
    assert Project.load(folder / "config.yaml").path == project.path


def test_files_lie_where_the_house_says(folder):
    project = Project.load(folder)
    root = folder.resolve()
    assert project.labeled_folder("trot", "top") == root / "labeled-data" / "trot_top"
    assert project.keypoints_2d_path("trot") == root / "keypoints-2d" / "trot.h5"
    assert project.keypoints_3d_path("trot") == root / "keypoints-3d" / "trot.h5"
    assert project.report_path("trot") == root / "reports" / "trot.html"
    assert project.network_folder("all") == root / "networks" / "all"
    assert project.calibration_path("trot") == root / "calibration.toml"
    (root / "calibrations").mkdir()
    (root / "calibrations" / "trot.toml").touch()
    assert project.calibration_path("trot") == root / "calibrations" / "trot.toml"
    assert project.calibration_path("trot_fast") == root / "calibration.toml"


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("trot_top", ("trot", "top")),
        ("trot_fast_top", ("trot_fast", "top")),
        ("trot_cam_1", ("trot", "cam_1")),
        ("trot_cam_10", ("trot", "cam_10")),
        ("gallop_cam_10", ("gallop", "cam_10")),
        ("cam_1-2024", ("cam_1-2024", "cam_1")),
        ("laptop", None),
    ],
)
def test_a_folder_of_images_finds_its_recording_and_camera(folder, name, owner):
    assert Project.load(folder).whose_folder(name) == owner


def test_the_open_field_project_opens_as_it_is(tmp_path, data_folder):
    shutil.copytree(data_folder / "dlc_openfield", tmp_path / "field")
    before = (tmp_path / "field" / "config.yaml").read_bytes()
    project = Project.load(tmp_path / "field")
    assert project.plain_deeplabcut
    assert project.cameras == ("camera",)
    assert project.skeleton.keypoints == ("snout", "leftear", "rightear", "tailbase")
    assert list(project.recordings) == ["m3v1mp4"]
    assert project.recordings["m3v1mp4"].videos["camera"].is_file()
    assert (project.pcutoff, project.train_fraction) == (0.4, 0.95)
    assert project.labeled_folder("m4s1", "camera").is_dir()
    assert project.whose_folder("m4s1") == ("m4s1", "camera")
    assert (tmp_path / "field" / "config.yaml").read_bytes() == before


def test_a_project_of_many_animals_names_them(tmp_path):
    (tmp_path / "config.yaml").write_text(
        "Task: t\nscorer: s\nmultianimalproject: true\nbodyparts: MULTI!\n"
        "individuals: [anna, otto]\nmultianimalbodyparts: [nose, tail]\nuniquebodyparts: [door]\n"
        "skeleton: [[bodypart1, objectA]]\n"
    )
    project = Project.load(tmp_path)
    assert project.individuals == ("anna", "otto", "single")
    assert project.skeleton.keypoints == ("nose", "tail", "door")
    assert project.skeleton.edges == ()  # DeepLabCut's placeholder


def test_a_config_saved_by_windows_is_read(folder):
    text = CONFIG.replace("\n", "\r\n").encode("utf-8-sig")
    (folder / "config.yaml").write_bytes(text)
    assert Project.load(folder).task == "reaching"


BROKEN = {
    "nothing": (b"", "config.yaml, line 1 is empty"),
    "a list": (b"- nose\n", "line 1 does not begin with a key"),
    "tabs": (b"Task: a\nvideo_sets:\n\tb: c\n", "line 3, column 1"),
    "cut in the middle": (b"Task: a\nskeleton: [[a, b], [", "line 3, column 1"),
    "NUL": (b"Task: a\nscorer: \0\n", "line 2 holds a NUL"),
    "UTF-16": ("Task: a\n".encode("utf-16"), "line 1 is no UTF-8"),
    "Latin-1": ("Task: a\nscorer: Zoë\n".encode("latin1"), "line 2 is no UTF-8"),
    "a key twice": (
        b"Task: a\nscorer: b\nTask: c\n",
        "twice, in line 1 and in line 3",
    ),
    "code": (b"Task: !!python/object/apply:os.system ['true']\n", "line 1, column 7: the tag"),
    "an alias": (b"Task: &a [x]\nscorer: *a\n", r"line 2, column 9: the alias \*a"),
    "two documents": (b"Task: a\n---\nTask: b\n", "line 2, column 1: a second document"),
    "a list as key": (b"? [a, b]\n: c\n", "line 1, column 3: a key must be text"),
    "20 000 lists": (b"Task: " + b"[" * 20000, "line 1, column .*: more than 40 levels"),
    "5 MB": (b"Task: " + b"a" * 5_000_000, "5,000,006 bytes"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_config_is_refused_at_its_line(tmp_path, name):
    content, message = BROKEN[name]
    (tmp_path / "config.yaml").write_bytes(content)
    start = time.perf_counter()
    with pytest.raises(DataError, match=message):
        Project.load(tmp_path)
    assert time.perf_counter() - start < 2
    assert (tmp_path / "config.yaml").read_bytes() == content


def test_a_missing_project_says_how_to_make_one(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.yaml.*create-project"):
        Project.load(tmp_path)


WRONG = {
    "no body parts": ("bodyparts:\n- nose   # the tip\n- left_ear\n- right_ear\n", "", "bodyparts"),
    "a typo of body parts": (
        "bodyparts:",
        "bodypart:",
        "missing. There is 'bodypart'",
    ),
    "a part twice": ("- left_ear\n- right", "- nose\n- right", "line 6: bodyparts .*'nose'"),
    "parts that differ in accents": ("- left_ear", "- e\u0301\n- \u00e9", "rename one of them"),
    "an empty part": ("- left_ear", "- ''", "bodyparts .* empty name"),
    "an edge to nowhere": ("[nose, left_ear]", "[nose, paw]", "line 10: skeleton: .*'paw'"),
    "an edge of three": ("[nose, left_ear]", "[nose, left_ear, right_ear]", "skeleton.0"),
    "a partner that is none": ("[left_ear, right_ear]", "[left_ear, paw]", "symmetric.*'paw'"),
    "text for a number": ("pcutoff: 0.5", "pcutoff: high", "line 14: pcutoff is 'high'"),
    "a likelihood above 1": ("pcutoff: 0.5", "pcutoff: 1.5", "pcutoff is '1.5'; .*less than.*1"),
    "NaN": ("pcutoff: 0.5", "pcutoff: .nan", "pcutoff is '.nan'"),
    "no images to train": ("- 0.8", "- 0", r"TrainingFraction\.0 is '0'; it must be above 0"),
    "an unknown field": ("  units: mm", "  unit: mm", "line 18: pose3d.unit is no field.*'units'"),
    "an unknown unit": ("units: mm", "units: feet", "pose3d.units is 'feet'.*um, mm, cm"),
    "an unknown field of the board": (
        "squares_y: 11",
        "square_y: 11",
        "squares_y is missing. There is 'square_y'",
    ),
    "a board too small": ("squares_y: 11", "squares_y: 1", "pose3d.board: squares_y is 1"),
    "no cameras": ("[cam_1, cam_10, top]", "[]", "pose3d.cameras"),
    "a camera of another project": ("{top: videos/trot/top", "{tip: videos/trot/top", "'tip'"),
    "an offset of no recording": ("  trot: {cam_1: 0.25}", "  trit: {cam_1: 0}", "'trit'"),
    "a video outside": ("videos/trot/top.mp4", "../top.mp4", "line 23: .*leads out of the project"),
    "a video outside, Windows": ("videos/trot/top.mp4", "a\\..\\..\\b.mp4", "leads out"),
    "a camera that is a path": ("cam_10, top", "../top, top", "cameras.*'/'"),
    "a recording that is a path": ("trot_fast:", "'a\\b':", r"recordings.*file name"),
    "a reserved name": ("trot_fast:", "aux:", "Windows keeps"),
    "a later version": ("version: 1", "version: 4", "version 4 .* this program reads 1"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_field_is_named_with_its_value(folder, name):
    old, new, message = WRONG[name]
    rewrite(folder, old, new)
    before = (folder / "config.yaml").read_bytes()
    with pytest.raises(DataError, match=rf"(?s)config\.yaml.*{message}"):
        Project.load(folder)
    assert (folder / "config.yaml").read_bytes() == before


def test_a_crop_turned_round_is_refused(folder):
    rewrite(folder, "video_sets: {}", "video_sets: {a.mp4: {crop: '640, 0, 0, 480'}}")
    with pytest.raises(DataError, match="x1 must be below x2"):
        Project.load(folder)
    rewrite(folder, "crop: '640, 0, 0, 480'", "crop: '0, 640, 0, 480'")
    rewrite(folder, "pcutoff: 0.5", "pcutoff: 0.5\ncropping: true\nx1: 9\nx2: 3")
    with pytest.raises(DataError, match="line 16: x1 is 9, 3"):
        Project.load(folder)


def test_an_unknown_key_is_kept_and_a_typo_pointed_at(folder):
    rewrite(folder, "pcutoff: 0.5", "colourmap: jet\nmy_own_key: 3")
    with pytest.warns(DataWarning, match="line 14: 'colourmap'.* 'colormap'"):
        project = Project.load(folder)
    assert project.settings["my_own_key"] == "3"


def test_names_that_yaml_misreads_stay_text_and_are_pointed_at(folder):
    rewrite(folder, "- left_ear\n- right_ear\n", "- no\n- 01\n- left_ear\n- right_ear\n- '1e3'\n")
    with pytest.warns(DataWarning) as warned:
        project = Project.load(folder)
    assert project.skeleton.keypoints == ("nose", "no", "01", "left_ear", "right_ear", "1e3")
    assert ["'no'" in str(w.message) for w in warned] == [True, False]
    assert "line 9: the name '01'" in str(warned[1].message)


def test_a_moved_video_is_found_by_its_name(folder):
    rewrite(folder, "videos/trot/top.mp4", r"D:\rig 2\trot\top.mp4")
    assert Project.load(folder).recordings["trot"].videos["top"].name.endswith("top.mp4")
    (folder / "videos" / "trot").mkdir(parents=True)
    (folder / "videos" / "trot" / "top.mp4").touch()
    video = Project.load(folder).recordings["trot"].videos["top"]
    assert video == folder.resolve() / "videos" / "trot" / "top.mp4"


def test_a_relative_path_written_on_windows_is_read_everywhere(folder):
    rewrite(folder, "videos/trot/top.mp4", r"videos\trot\top.mp4")
    video = Project.load(folder).recordings["trot"].videos["top"]
    assert video == folder.resolve() / "videos" / "trot" / "top.mp4"


def test_a_wrong_recording_gets_a_hint(folder):
    with pytest.raises(DataError, match="no recording 'trod'. Did you mean 'trot'"):
        Project.load(folder).recording("trod")


def test_an_edit_changes_only_its_lines(folder):
    def add(config):
        config["pose3d"]["offsets"]["trot_fast"] = {"top": 0.5}

    edit_config(folder / "config.yaml", add)
    after = (folder / "config.yaml").read_text(encoding="utf-8").splitlines()
    before = CONFIG.splitlines()
    kept = [line for line in before if line in after]
    changed = [line for line in before if line not in after]
    # the board's mapping, broken by hand over two lines, is the only thing written otherwise
    assert len(kept) >= len(before) - 3, changed
    assert "- nose   # the tip" in after
    assert after[0] == "# who and what"
    np.testing.assert_array_equal(Project.load(folder).recordings["trot_fast"].offsets, [0.5])


def test_an_edit_keeps_indented_lists_and_line_ends(tmp_path):
    path = tmp_path / "config.yaml"
    text = "Task: a\r\nbodyparts:\r\n  - nose\r\n  - tail  # long\r\nscorer: b\r\n"
    path.write_bytes(text.encode())
    edit_config(path, lambda config: config.update(scorer="c"))
    assert path.read_bytes() == text.replace("scorer: b", "scorer: c").encode()


def test_an_edit_that_changes_nothing_writes_nothing(folder):
    before = (folder / "config.yaml").stat()
    edit_config(folder / "config.yaml", lambda config: None)
    after = (folder / "config.yaml").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_an_edit_made_by_hand_meanwhile_wins(folder):
    path = folder / "config.yaml"

    def edit(config):
        config["Task"] = "mine"
        rewrite(folder, "Task: reaching", "Task: theirs")

    with pytest.raises(DataError, match="changed by somebody else"):
        edit_config(path, edit)
    assert Project.load(folder).task == "theirs"


@pytest.mark.parametrize(
    "name", ["nose", "no", "01", "a: b", "x#y", 'say "hi"', "目", "", " a", "~"]
)
def test_spelled_names_come_back_as_they_were(tmp_path, name):
    path = tmp_path / "config.yaml"
    path.write_text(f"key: {spell(name)}\nlist: [{spell(name)}]\n", encoding="utf-8")
    config = read_config(path)
    assert config == {"key": name, "list": [name]}
    assert not config["key"].ambiguous
