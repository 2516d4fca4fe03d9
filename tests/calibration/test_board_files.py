import json

import h5py
import numpy as np
import pytest

from calibration.boards import BoardDetections, CharucoBoard, Checkerboard
from calibration.detection import detect_board
from calibration.errors import DataError
from calibration.files import provenance
from calibration.formats.boards import load_board, save_board
from calibration.formats.detections import load_detections, read_origin, save_detections
from calibration.steps.boards import detect_boards, draw_board
from calibration.video import image_files, read_image, write_image

CHARUCO = CharucoBoard(5, 4, 20.0, 15.0, "DICT_5X5_100", "cm", legacy=True, inverted=True)


@pytest.mark.parametrize("board", [CHARUCO, Checkerboard(8, 5, 30.5)])
def test_a_board_survives_its_file(tmp_path, board):
    save_board(board, tmp_path / "board.toml")
    assert load_board(tmp_path / "board.toml") == board


def test_other_programs_boards_are_read(tmp_path, data_folder):
    session = data_folder / "sleap_anipose_minimal_session"
    assert load_board(session / "board.toml") == CharucoBoard(8, 11, 24.0, 18.75, "DICT_4X4_1000")
    assert load_board(session / "board_checker.toml") == Checkerboard(8, 11, 24.0)
    board = load_board(data_folder / "caliscope_4cam_charuco" / "charuco.toml")
    assert board == CharucoBoard(4, 5, 54.0, 40.5, "DICT_4X4_1000", inverted=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("squares_x = 5\nsquare_length = 20.0", "field 'squares_y' is missing"),
        ("squares_x = 5\nsquares_y = 4\nsquare_lenght = 2", "Did you mean 'square_length'"),
        ("squares_x = 5\nsquares_y = 4\nsquare_length = '2'", "square_length is '2'"),
        ("squares_x = 5.0\nsquares_y = 4\nsquare_length = 2", "squares_x is 5.0"),
        (
            "squares_x = 5\nsquares_y = 4\nsquare_length = 2\nmarker_length = 1\nlegacy = 'no'",
            "legacy is 'no'; expected true or false",
        ),
        ("board_x = 5\nboard_y = 4", "field 'square_length' is missing"),
        (
            "board_x = 5\nboard_y = 4\nsquare_length = 2\nmarker_length = 1\nmarker_bits = 9\n"
            "dict_size = 50",
            "name no dictionary",
        ),
        ("columns = 4\nrows = 5\naruco_scale = 0.75", "square_size_override_cm is missing"),
        ("squares_x = ", "is no TOML file"),
    ],
)
def test_a_wrong_board_file_is_named_with_its_field(tmp_path, text, message):
    path = tmp_path / "board.toml"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        load_board(path)
    assert "board.toml" in str(caught.value)


def test_a_missing_board_file_says_how_to_make_one(tmp_path):
    with pytest.raises(FileNotFoundError, match="draw-board writes one"):
        load_board(tmp_path / "board.toml")


@pytest.fixture
def detections(rng):
    corners = rng.uniform(0, 200, (2, 3, CHARUCO.n_corners, 2))
    corners[0, 1, 2] = np.nan
    sizes = [(320, 240), (640, 480)]
    return BoardDetections(corners, ("left", "right"), CHARUCO, sizes, [0, 4, 7], ("a", "ü.mp4"))


def test_detections_survive_their_file(tmp_path, detections):
    path = tmp_path / "detections.h5"
    origin = provenance("detect_boards", {"cameras": ["left"]}, {})
    save_detections(detections, path, origin)
    back = load_detections(path)
    np.testing.assert_array_equal(back.corners, detections.corners)
    np.testing.assert_array_equal(back.image_sizes, detections.image_sizes)
    np.testing.assert_array_equal(back.frames, detections.frames)
    assert (back.cameras, back.board, back.sources) == (
        detections.cameras, detections.board, detections.sources,
    )  # fmt: skip
    assert read_origin(path) == json.loads(json.dumps(origin))


def test_damaged_and_foreign_detections_are_refused(tmp_path, detections):
    path = tmp_path / "detections.h5"
    save_detections(detections, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot be read as detected boards"):
        load_detections(path)
    with h5py.File(path, "w") as file:
        file["corners"] = np.zeros(3)
    with pytest.raises(DataError, match="holds no detected boards"):
        load_detections(path)
    with pytest.raises(FileNotFoundError, match="Make it with detect-boards"):
        load_detections(tmp_path / "gone.h5")


def test_detections_that_point_elsewhere_or_invent_sizes_are_refused(tmp_path, detections):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["corners"] = detections.corners
    path = tmp_path / "detections.h5"
    save_detections(detections, path)
    with h5py.File(path, "a") as file:
        del file["corners"]
        file["corners"] = h5py.ExternalLink(str(secret), "corners")
    with pytest.raises(DataError, match="a link to another file"):
        load_detections(path)
    with h5py.File(path, "a") as file:
        del file["corners"]
        file.create_dataset("corners", (2, 3, 10**9, 2), chunks=(1, 1, 1000, 2))
    with pytest.raises(DataError, match="bytes that are not there"):
        load_detections(path)


@pytest.mark.parametrize("options", [{}, {"checkerboard": True, "squares_x": 8}])
def test_a_drawn_board_is_found_at_its_true_size(tmp_path, options):
    out = tmp_path / "board.png"
    outcome = draw_board(out, square_length=20.0, marker_length=15.0, dpi=100, **options)
    board = load_board(tmp_path / "board.toml")
    image = read_image(out, pixels="luma")
    corners = detect_board(board, image)
    assert np.isfinite(corners).all()
    across = np.linalg.norm(corners[board.squares_x - 2] - corners[0])
    header = out.read_bytes()
    at = header.find(b"pHYs")
    per_mm = int.from_bytes(header[at + 4 : at + 8], "big") / 1000
    assert across / per_mm == pytest.approx((board.squares_x - 2) * 20.0, rel=2e-3)
    assert outcome.figures["width_mm"] == pytest.approx(image.shape[1] / per_mm, rel=1e-3)


def test_a_board_is_drawn_as_pdf_of_its_size(tmp_path):
    draw_board(tmp_path / "board.pdf", dpi=60)
    data = (tmp_path / "board.pdf").read_bytes()
    assert data.startswith(b"%PDF-1.4")
    assert data.rstrip().endswith(b"%%EOF")
    width, height = (float(x) for x in data.split(b"[0 0 ")[1].split(b"]")[0].split())
    assert width / 72 * 25.4 == pytest.approx(8 * 30, rel=0.02)  # 7 squares and two half margins
    assert height / 72 * 25.4 == pytest.approx(6.5 * 30, rel=0.02)


def test_drawing_leaves_other_files_alone(tmp_path):
    (tmp_path / "board.toml").write_text("[cam_00]\nname = 'a calibration'\n")
    with pytest.raises(ValueError, match=r"board\.toml exists and describes something else"):
        draw_board(tmp_path / "board.png", dpi=50)
    assert "a calibration" in (tmp_path / "board.toml").read_text()
    given = tmp_path / "mine.toml"
    given.write_text("# measured on Friday\nsquares_x = 5\nsquares_y = 4\nsquare_length = 30\n")
    draw_board(tmp_path / "mine.png", board=given, dpi=50)
    assert given.read_text().startswith("# measured on Friday")
    with pytest.raises(ValueError, match=r"ends in \.png or \.pdf"):
        draw_board(tmp_path / "board.jpg")


def test_the_step_writes_detections_once_and_again_when_a_picture_changed(tmp_path):
    drawn = draw_board(tmp_path / "board.png", squares_x=5, squares_y=4, dpi=40)
    image = np.pad(read_image(drawn), ((40, 40), (40, 40), (0, 0)), constant_values=90)
    for camera in ("left", "right"):
        for number in range(3):
            write_image(tmp_path / "videos" / camera / f"{number}.png", image)
    options = {"board": tmp_path / "board.toml", "out": tmp_path / "detections.h5"}
    outcome = detect_boards(tmp_path / "videos", **options)
    assert outcome.figures["n_shared"] == 3
    assert [row["whole boards"] for row in outcome.table] == [3, 3]
    assert load_detections(outcome).cameras == ("left", "right")
    first = options["out"].stat().st_mtime_ns
    assert detect_boards(tmp_path / "videos", **options).figures == outcome.figures
    assert options["out"].stat().st_mtime_ns == first
    files = image_files(tmp_path / "videos" / "left")
    write_image(files[1], np.full_like(image, 90))
    outcome = detect_boards(tmp_path / "videos", **options)
    assert [row["boards"] for row in outcome.table] == [2, 3]


def test_the_step_says_when_the_board_is_another_variant(tmp_path):
    drawn = draw_board(tmp_path / "board.png", squares_x=5, squares_y=4, dpi=40)
    write_image(tmp_path / "videos" / "left" / "0.png", 255 - read_image(drawn))
    outcome = detect_boards(
        tmp_path / "videos", board=tmp_path / "board.toml", out=tmp_path / "detections.h5"
    )
    assert "white on black (not the ChArUco board of" in outcome.summary
