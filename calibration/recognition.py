"""What a board really looks like, where it is not quite what was said."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import cv2
import numpy as np

from calibration.board_images import marker_dictionary
from calibration.boards import DICTIONARIES, Board, CharucoBoard
from calibration.detection import detect_board
from calibration.errors import CalibrationError

#: Markers of a foreign dictionary that must be read in one picture before it is believed.
_MIN_MARKERS = 6

#: Share of its corners in one picture that settles which board it is.
_SURE = 0.6


def recognise_board(board: Board, images: Sequence[np.ndarray]) -> Board:
    """Find out how a board is laid out and printed, from a few pictures of it.

    Nobody remembers whether a ChArUco board was drawn before OpenCV 4.6 (`legacy`) or printed
    white on black (`inverted`): both are tried where the board is not found as given.

    Parameters
    ----------
    board : Checkerboard or CharucoBoard
        The board as described.
    images : sequence of ndarray of uint8 of shape (height, width)
        Pictures (luma), some of which show it; ten are plenty.

    Returns
    -------
    Checkerboard or CharucoBoard
        The board, with `legacy` and `inverted` as found; as given where no picture shows any
        board.

    Raises
    ------
    CalibrationError
        If the pictures show another board than the one described: other counts of squares,
        columns and rows exchanged, another dictionary of markers, or a mirrored picture.
    """
    if isinstance(board, CharucoBoard):
        return _recognise_charuco(board, images)
    _check_counts(board, images)
    return board


def describe(board: Board) -> str:
    """Say in a few words which board this is."""
    size = f"{board.squares_x} x {board.squares_y} squares of {board.square_length:g} {board.units}"
    if not isinstance(board, CharucoBoard):
        return f"checkerboard of {size}"
    layout = ", layout from before OpenCV 4.6" if board.legacy else ""
    colours = ", white on black" if board.inverted else ""
    return f"ChArUco board of {size}, {board.dictionary}{layout}{colours}"


def _share(board, images):
    """Return the largest share of a board's corners that one of some pictures shows."""
    shares = (np.isfinite(detect_board(board, image)[:, 0]).mean() for image in images)
    best = 0.0
    for share in shares:
        best = max(best, share)
        if best > _SURE:
            break
    return best


def _recognise_charuco(board, images):
    """Find the variant of a ChArUco board that the pictures show."""
    exchanged = replace(board, squares_x=board.squares_y, squares_y=board.squares_x)
    mirrored = [np.ascontiguousarray(image[:, ::-1]) for image in images]
    # the wrong variant can show some corners by chance, never most of them
    best, best_share, complaint = board, 0.0, ""
    for kind, pictures, words in (
        (board, images, ""),
        (
            exchanged,
            images,
            "The pictures show the board with columns and rows exchanged: set squares_x = "
            f"{board.squares_y}, squares_y = {board.squares_x} (given was the {describe(board)}).",
        ),
        (
            board,
            mirrored,
            f"The pictures of the {describe(board)} are mirrored. Switch mirroring off in the "
            "recording program, or mirror the files back.",
        ),
    ):
        if words and kind.squares_x == kind.squares_y and pictures is images:
            continue
        for legacy, inverted in product((board.legacy, not board.legacy), (False, True)):
            variant = replace(kind, legacy=legacy, inverted=inverted != board.inverted)
            share = _share(variant, pictures)
            if share > 1.5 * best_share:
                best, best_share, complaint = variant, share, words
            if best_share > _SURE:
                break
        if best_share > _SURE:
            break
    if best_share < _SURE:
        foreign = _foreign_markers(images)
        own = set(range(board.squares_x * board.squares_y // 2))
        if foreign and (complaint or best_share == 0 or not foreign[1] <= own):
            raise CalibrationError(_foreign_message(board, *foreign))
    if complaint:
        raise CalibrationError(complaint)
    return best


def _foreign_markers(images):
    """Find the dictionary whose markers the pictures show, and the numbers of these."""
    parameters = cv2.aruco.DetectorParameters()
    parameters.adaptiveThreshWinSizeMin = parameters.adaptiveThreshWinSizeMax = 7
    best = ("", frozenset())
    for name in DICTIONARIES:
        if "X" in name and not name.endswith("_1000"):
            continue  # the first markers of the largest one
        detector = cv2.aruco.ArucoDetector(marker_dictionary(name), parameters)
        for image, inverted in product(images[:6], (False, True)):
            _, ids, _ = detector.detectMarkers(255 - image if inverted else image)
            numbers = frozenset([] if ids is None else np.asarray(ids).ravel().tolist())
            if len(numbers) > len(best[1]):
                best = (name, numbers)
        if len(best[1]) >= 2 * _MIN_MARKERS:
            break
    return best if len(best[1]) >= _MIN_MARKERS else None


def _foreign_message(board, name, numbers):
    """Say which markers were found instead of the board's own."""
    first, last = min(numbers), max(numbers)
    family = name.removesuffix("_1000")
    if family != name:  # the small dictionaries are the first markers of the large ones
        name = next(f"{family}_{size}" for size in (50, 100, 250, 1000) if last < size)
    own = f"{board.squares_x * board.squares_y // 2 - 1} of {board.dictionary}"
    remedy = (
        f"Set dictionary to {name} or a larger one of the same kind"
        if not board.dictionary.startswith(family)
        else "Count its squares again, columns first; markers must be numbered from 0"
    )
    return (
        f"The pictures show another board than the {describe(board)}: its markers would be 0 to "
        f"{own}, and markers {first} to {last} of {name} were found. {remedy}."
    )


def _check_counts(board, images):
    """Refuse a checkerboard that has other counts of squares than described.

    OpenCV finds a smaller grid within a larger board, at any place in it: with a count too
    small the corners would be others from picture to picture.
    """
    for thorough, some in ((False, images), (True, images[:4])):
        seen = [image for image in some if _finds(board, image, thorough)][:6]
        if seen:
            break
    larger = [(1, 1), (1, 0), (0, 1)]
    for more_x, more_y in larger if seen else [*larger, (-1, -1), (-1, 0), (0, -1)]:
        x, y = board.squares_x + more_x, board.squares_y + more_y
        if min(x, y) < 3 or (x == y and x % 2):
            continue
        other = replace(board, squares_x=x, squares_y=y)
        shown = sum(_finds(other, image, thorough) for image in seen or some)
        if shown > len(seen) / 2:
            inner = " (the numbers given are those of its inner corners)" * (more_x == more_y == 1)
            raise CalibrationError(
                f"The pictures show a checkerboard of {x} x {y} squares, not of "
                f"{board.squares_x} x {board.squares_y}{inner}. Set squares_x = {x}, "
                f"squares_y = {y}: squares as printed, not inner corners."
            )


def _finds(board, image, thorough):
    """Tell whether a board is found in a picture."""
    return bool(np.isfinite(detect_board(board, image, thorough=thorough)).any())
