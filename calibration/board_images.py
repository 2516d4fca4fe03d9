"""Boards as OpenCV knows them, and their pictures."""

from functools import lru_cache

import cv2
import numpy as np

from calibration.boards import Board, CharucoBoard

#: Codes of the dictionaries of markers that OpenCV names otherwise or not in every version.
_CODES = {
    "DICT_APRILTAG_16h5": 17,
    "DICT_APRILTAG_25h9": 18,
    "DICT_APRILTAG_36h10": 19,
    "DICT_APRILTAG_36h11": 20,
}


def marker_dictionary(name: str, n_markers: int | None = None) -> cv2.aruco.Dictionary:
    """Return a dictionary of markers, cut to its first ones.

    Matching a candidate costs a comparison with every marker, so that a dictionary of 1000
    makes detection ten times slower than the 44 markers that are on the board.

    Parameters
    ----------
    name : str
        One of `calibration.boards.DICTIONARIES`.
    n_markers : int, optional
        How many; all unless given.
    """
    code = _CODES.get(name, getattr(cv2.aruco, name, None))
    whole = cv2.aruco.getPredefinedDictionary(code)
    return cv2.aruco.Dictionary(
        whole.bytesList[:n_markers], whole.markerSize, whole.maxCorrectionBits
    )


@lru_cache(maxsize=64)
def opencv_board(board: CharucoBoard) -> cv2.aruco.CharucoBoard:
    """Return the ChArUco board as OpenCV's own, with the board's own markers alone."""
    n_markers = board.squares_x * board.squares_y // 2
    made = cv2.aruco.CharucoBoard(
        (board.squares_x, board.squares_y),
        board.square_length,
        board.marker_length,
        marker_dictionary(board.dictionary, n_markers),
    )
    made.setLegacyPattern(board.legacy)
    return made


def board_image(board: Board, px_per_square: int) -> np.ndarray:
    """Draw a board as it is printed, without a margin.

    Parameters
    ----------
    board : Checkerboard or CharucoBoard
        The board.
    px_per_square : int
        Side of a square in pixels.

    Returns
    -------
    ndarray of uint8 of shape (squares_y * px_per_square, squares_x * px_per_square)
        Grey; a corner that lies at (x, y) squares is at pixel x * px_per_square - 0.5.
    """
    size = (board.squares_x * px_per_square, board.squares_y * px_per_square)
    if isinstance(board, CharucoBoard):
        image = opencv_board(board).generateImage(size, marginSize=0, borderBits=1)
        return 255 - image if board.inverted else image
    rows, columns = np.mgrid[: size[1], : size[0]] // px_per_square
    return np.where((rows + columns) % 2, 255, 0).astype(np.uint8)
