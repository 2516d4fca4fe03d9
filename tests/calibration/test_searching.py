from dataclasses import replace

import cv2
import numpy as np
import pytest

from calibration import CharucoBoard, Checkerboard, detect_boards
from calibration.board_images import board_image
from calibration.errors import CalibrationError, DataError, DataWarning
from calibration.formats.boards import load_board
from calibration.sources import find_camera_videos
from calibration.video import VideoWriter, write_image

BOARD = CharucoBoard(5, 4, 20.0, 15.0, "DICT_4X4_50")
SIZE = (320, 240)


def picture(moment, *, board=BOARD, mirrored=False, size=SIZE):
    """A board that wanders and turns a little from moment to moment."""
    drawn = cv2.copyMakeBorder(
        board_image(board, 36), 18, 18, 18, 18, cv2.BORDER_CONSTANT, value=255
    )
    turn = cv2.getRotationMatrix2D((drawn.shape[1] / 2, drawn.shape[0] / 2), 3.0 * moment, 0.95)
    turn[:, 2] += (35 + 2 * moment, 20)
    image = cv2.warpAffine(drawn, turn, size, flags=cv2.INTER_AREA, borderValue=110)
    image = cv2.GaussianBlur(image, (0, 0), 0.7)
    return np.ascontiguousarray(image[:, ::-1]) if mirrored else image


EMPTY = np.full(SIZE[::-1], 110, np.uint8)


def pictures(folder, moments=range(4), name="{:03d}.png", **options):
    for moment in moments:
        write_image(folder / name.format(moment), picture(moment, **options))
    return folder


def video(path, shown):
    """A video of the moments at which the board is shown; None shows nothing."""
    with VideoWriter(path, 10, crf=12) as writer:
        for moment in shown:
            writer.write(EMPTY if moment is None else picture(moment))
    return path


def test_pictures_belong_together_by_the_number_in_their_names(tmp_path):
    left = pictures(tmp_path / "left", (0, 1, 2, 5))
    right = pictures(tmp_path / "right", (1, 2, 3), "take2-{}.png")
    told = []
    found = detect_boards(
        BOARD, {"left": left, "right": right}, progress=lambda *count: told.append(count)
    )
    np.testing.assert_array_equal(found.frames, [0, 1, 2, 3, 5])
    np.testing.assert_array_equal(found.n_seen > 0, [[1, 1, 1, 0, 1], [0, 1, 1, 1, 0]])
    np.testing.assert_array_equal(found.corners[0, 1], found.corners[1, 1])
    np.testing.assert_array_equal(found.image_sizes, [SIZE, SIZE])
    assert told[-1] == (7, 7)


def test_patterns_of_files_name_the_pictures_of_a_camera(tmp_path):
    pictures(tmp_path, name="a{}.png")
    pictures(tmp_path, name="b{}.png")
    found = detect_boards(BOARD, {"a": f"{tmp_path}/a*.png", "b": f"{tmp_path}/b*.png"})
    assert found.corners.shape == (2, 4, BOARD.n_corners, 2)
    with pytest.raises(FileNotFoundError, match=r"Camera 'c': .*c\*\.png is no video"):
        detect_boards(BOARD, {"c": f"{tmp_path}/c*.png"})


def test_pictures_whose_names_share_nothing_go_by_position_or_are_refused(tmp_path):
    left = pictures(tmp_path / "left", name="{}.png")
    right = tmp_path / "right"
    for moment in range(4):
        write_image(right / f"{'abcd'[moment]}.png", picture(moment))
    found = detect_boards(BOARD, {"left": left, "right": right})
    np.testing.assert_array_equal(found.corners[0], found.corners[1])
    (right / "d.png").unlink()
    with pytest.raises(DataError, match="left 4, right 3 pictures and their names share no"):
        detect_boards(BOARD, {"left": left, "right": right})


def test_videos_belong_together_by_frame_and_empty_moments_are_left_out(tmp_path):
    shown = [None, 1, 2, None, 4, None]
    sources = {
        "left": video(tmp_path / "left.mp4", shown),
        "right": video(tmp_path / "right.mp4", [None, None, 2, 3, 4, None]),
    }
    found = detect_boards(BOARD, sources)
    np.testing.assert_array_equal(found.frames, [1, 2, 3, 4])
    np.testing.assert_array_equal(found.n_seen > 0, [[1, 1, 0, 1], [0, 1, 1, 1]])
    assert found.sources == (str(sources["left"]), str(sources["right"]))


def test_a_video_cut_short_is_named_and_the_rest_used(tmp_path):
    long = video(tmp_path / "left.mp4", range(12))
    short = video(tmp_path / "right.mp4", range(12))
    data = short.read_bytes()
    short.write_bytes(data[: int(len(data) * 0.6)])
    with pytest.warns(DataWarning) as caught:
        found = detect_boards(BOARD, {"left": long, "right": short})
    told = " ".join(str(warning.message) for warning in caught)
    assert "differ in length (left 12, right" in told
    assert 3 <= len(found.frames) < 12
    assert (found.n_seen > 0).all()


def test_videos_of_different_rates_and_mixed_sources_are_refused(tmp_path):
    slow = video(tmp_path / "slow.mp4", range(3))
    with VideoWriter(tmp_path / "fast.mp4", 20) as writer:
        for moment in range(3):
            writer.write(picture(moment))
    with pytest.raises(DataError, match=r"different rates \(slow 10, fast 20 frames"):
        detect_boards(BOARD, {"slow": slow, "fast": tmp_path / "fast.mp4"})
    with pytest.raises(DataError, match="Cameras slow have videos and the others pictures"):
        detect_boards(BOARD, {"slow": slow, "other": pictures(tmp_path / "other")})


def test_a_camera_that_lost_frames_is_named(tmp_path, monkeypatch):
    videos = {name: video(tmp_path / f"{name}.mp4", range(6)) for name in ("left", "right")}
    times = {"left": np.arange(6) / 10, "right": np.array([0, 1, 2, 5, 6, 7]) / 10}
    monkeypatch.setattr("calibration.searching.frame_times", lambda path: times[path.stem])
    with pytest.warns(DataWarning, match=r"'right' lost frames 1 times.*after frame 2 \(2 frames"):
        detect_boards(BOARD, videos)


def test_pictures_of_mixed_sizes_are_refused_and_broken_ones_left_out(tmp_path):
    folder = pictures(tmp_path / "left")
    (folder / "002.png").write_bytes((folder / "002.png").read_bytes()[:500])
    with pytest.warns(DataWarning, match=r"002\.png is only part of a picture.*left out"):
        found = detect_boards(BOARD, {"left": folder})
    np.testing.assert_array_equal(found.frames, [0, 1, 3])
    pictures(folder, [2], size=(400, 240))
    with pytest.raises(DataError, match=r"'left': .*002\.png has 400 x 240 pixels"):
        detect_boards(BOARD, {"left": folder})


def test_the_board_is_recognised_and_told(tmp_path, caplog):
    folder = pictures(tmp_path / "left", board=replace(BOARD, inverted=True))
    found = detect_boards(BOARD, {"left": folder})
    assert found.board == replace(BOARD, inverted=True)
    assert "white on black" in caplog.text


def test_a_wrong_dictionary_is_named_and_no_board_at_all_too(tmp_path):
    folder = pictures(tmp_path / "left")
    wrong = CharucoBoard(5, 4, 20.0, 15.0, "DICT_6X6_50")
    with pytest.raises(CalibrationError, match="Set dictionary to DICT_4X4_50"):
        detect_boards(wrong, {"left": folder})
    empty = tmp_path / "empty"
    write_image(empty / "0.png", EMPTY)
    with pytest.raises(CalibrationError, match="No board was found in the pictures of left"):
        detect_boards(BOARD, {"left": empty})


def test_a_camera_that_sees_the_board_mirrored_is_named(tmp_path):
    sources = {
        "front": pictures(tmp_path / "front"),
        "back": pictures(tmp_path / "back", mirrored=True),
    }
    with pytest.warns(DataWarning, match="Camera 'back' sees the board mirrored"):
        found = detect_boards(BOARD, sources)
    np.testing.assert_array_equal((found.n_seen > 0).sum(axis=1), [4, 0])


def test_cameras_named_twice_in_different_case_are_refused(tmp_path):
    folder = pictures(tmp_path / "left", [0])
    with pytest.raises(ValueError, match="differ only in case"):
        detect_boards(BOARD, {"left": folder, "Left": folder})


def test_long_videos_are_looked_at_here_and_there_and_closely_in_a_few_places(tmp_path):
    shown = [k % 30 if 100 <= k < 500 else None for k in range(640)]
    sources = {name: video(tmp_path / f"{name}.mp4", shown) for name in ("a", "b")}
    found = detect_boards(BOARD, sources)
    steps = np.diff(found.frames)
    assert found.frames.min() >= 100
    assert found.frames.max() < 500
    # about every second frame, and three stretches without a gap
    runs = np.split(steps, np.flatnonzero(steps != 1))
    assert sum(np.count_nonzero(run == 1) >= 8 for run in runs) >= 2
    assert 180 < len(found.frames) < 260


def test_layouts_of_folders(tmp_path):
    session = tmp_path / "session"
    for camera in ("cam_1", "cam_10"):
        pictures(session / camera / "calibration_images", [0])
        video(session / camera / "animal.mp4", [None])
    assert find_camera_videos(session) == {
        camera: session / camera / "calibration_images" for camera in ("cam_1", "cam_10")
    }
    files = tmp_path / "files"
    for camera in ("cam_1", "cam_10"):
        video(files / f"board_{camera}.mp4", [None])
    (files / "notes.txt").write_text("no video")
    assert find_camera_videos(files, ["cam_10", "cam_1"]) == {
        "cam_10": files / "board_cam_10.mp4",
        "cam_1": files / "board_cam_1.mp4",
    }
    assert list(find_camera_videos(files)) == ["board_cam_1", "board_cam_10"]
    with pytest.raises(DataError, match=r"camera 'top' has 0 videos .*\(none\)"):
        find_camera_videos(files, ["cam_1", "top"])
    with pytest.raises(FileNotFoundError, match="no folder"):
        find_camera_videos(tmp_path / "gone")
    (tmp_path / "bare").mkdir()
    with pytest.raises(DataError, match="holds no videos"):
        find_camera_videos(tmp_path / "bare")


def test_the_real_session_is_found_whole(data_folder):
    session = data_folder / "sleap_anipose_minimal_session"
    found = detect_boards(load_board(session / "board.toml"), find_camera_videos(session))
    assert found.cameras == ("back", "mid", "side", "top")
    assert found.n_seen.sum() >= 5870  # of 5880


def test_the_real_camera_behind_the_board_is_named(data_folder):
    folder = data_folder / "caliscope_4cam_charuco"
    board = load_board(folder / "charuco.toml")
    videos = find_camera_videos(folder / "calibration" / "extrinsic")
    with pytest.warns(DataWarning, match="Camera 'cam_1' sees the board mirrored"):
        found = detect_boards(replace(board, inverted=False), videos)
    assert found.board == board
    np.testing.assert_array_less([46, -1, 46, 23], (found.n_seen > 0).sum(axis=1))


def test_checkerboards_in_real_pictures(data_folder):
    folder = data_folder / "opencv_stereo"
    sources = {side: f"{folder}/{side}*.jpg" for side in ("left", "right")}
    found = detect_boards(Checkerboard(10, 7, 30.0), sources)
    np.testing.assert_array_equal(found.frames, np.arange(1, 15))
    assert (found.n_seen == 54).all()


def test_an_interrupted_search_goes_on_with_the_next_camera(tmp_path, monkeypatch):
    from calibration import searching

    image = np.full((480, 640), 90, np.uint8)
    picture = board_image(BOARD, 40)
    image[40 : 40 + picture.shape[0], 60 : 60 + picture.shape[1]] = picture
    sources = {}
    for name in ("left", "right"):
        (tmp_path / name).mkdir()
        for k in range(4):
            cv2.imwrite(str(tmp_path / name / f"img{k}.png"), np.roll(image, 5 * k, axis=1))
        sources[name] = tmp_path / name
    whole = detect_boards(BOARD, sources)
    looks = []
    real = searching.detect_board

    def counted(board, image, **settings):
        looks.append(1)
        if len(looks) == stop:
            raise KeyboardInterrupt
        return real(board, image, **settings)

    monkeypatch.setattr(searching, "detect_board", counted)
    stop = 6  # in the second camera
    with pytest.raises(KeyboardInterrupt):
        detect_boards(BOARD, sources, keep=tmp_path / "kept")
    assert len(list((tmp_path / "kept").glob("*.npy"))) == 1
    looks.clear()
    stop = 0
    again = detect_boards(BOARD, sources, keep=tmp_path / "kept")
    np.testing.assert_array_equal(again.corners, whole.corners)
    assert len(looks) == 4
