"""Find a calibration board in an image.

`detect_board` gives the corners of a ChArUco board or checkerboard, fitted to a few hundredths
of a pixel, and only those that the whole board agrees with. What the board looks like, if it
is not quite what was said, is found out by `calibration.recognition`.
"""

import cv2
import numpy as np

from calibration.board_images import opencv_board
from calibration.boards import Board, CharucoBoard
from calibration.corners import (
    drop_strays,
    local_grid,
    quadrant_contrast,
    refine_corners,
    spacing,
)
from calibration.errors import CalibrationError

#: How the markers of a ChArUco board are looked for: the least that the longest side is shrunk
#: to, the largest share of it, and windows of the threshold. The first look takes a few
#: milliseconds; the others are for what it leaves open.
_MARKER_LOOKS = (
    (640, 0.5, (5, 5, 10)),
    (1600, 0.0, (7, 7, 10)),
    (1_000_000, 0.0, (3, 23, 10)),
)
#: A look is enough where it leaves no more than this share of the corners in the image open.
_LEFT_OPEN = 0.02

_FAST = cv2.CALIB_CB_ADAPTIVE_THRESH | cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_FAST_CHECK

#: How a checkerboard is looked for: longest side of the image, finder, flags. The first look
#: takes a few milliseconds; each of the others finds boards that those before it miss.
_CHECKERBOARD_LOOKS = (
    (640, cv2.findChessboardCorners, _FAST),
    (1280, cv2.findChessboardCorners, _FAST),
    (960, cv2.findChessboardCorners, cv2.CALIB_CB_ADAPTIVE_THRESH),
    (960, cv2.findChessboardCornersSB, cv2.CALIB_CB_EXHAUSTIVE),
    (2560, cv2.findChessboardCorners, _FAST),
)

#: Fewest corners that say anything about a camera.
MIN_CORNERS = 6


def detect_board(board: Board, image: np.ndarray, *, thorough: bool = True) -> np.ndarray:
    """Find the corners of a board in an image.

    Parameters
    ----------
    board : Checkerboard or CharucoBoard
        The board, with its layout (`legacy`) and print (`inverted`) as they are.
    image : ndarray of uint8 of shape (height, width)
        Luma.
    thorough : bool
        Whether to look again, more closely and several times slower, where the first look
        misses the board or part of it.

    Returns
    -------
    ndarray of shape (n_corners, 2)
        Pixels; NaN where a corner was not seen, all NaN where the board was not found. The
        order is that of ``board.corners``; see `half_turn` for boards that look the same
        upside down.

    Raises
    ------
    CalibrationError
        If the corners of such a board cannot be told apart.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 2:
        raise ValueError(
            f"image has shape {image.shape} and type {image.dtype}; expected (height, width) of "
            'uint8. Read it with pixels="luma".'
        )
    if not isinstance(board, CharucoBoard):
        start, axes = _find_checkerboard(board, image, thorough)
        return _settle(board, image, start, axes, 0.2)
    if board.inverted:
        image = 255 - image
    margin = (1 - board.marker_length / board.square_length) / 2
    found: dict[int, np.ndarray] = {}
    settled = np.full((board.n_corners, 2), np.nan)
    for look, (longest, share, windows) in enumerate(_MARKER_LOOKS):
        # a quick look ends where there is no marker, or where it found the board
        if look and not thorough and (not found or np.isfinite(settled[:, 0]).any()):
            break
        small, scale = _shrunk(image, max(longest, share * max(image.shape)))
        fresh = _markers(board, small, windows)
        if fresh.keys() <= found.keys() and np.isfinite(settled[:, 0]).any():
            continue
        found |= {number: (points + 0.5) / scale - 0.5 for number, points in fresh.items()}
        start, axes = _predicted(board, found)
        settled = _settle(board, image, start, axes, min(0.5 * margin, 0.2))
        if _is_complete(board, image, settled):
            break
    return settled


def _is_complete(board, image, settled):
    """Tell whether all corners were found that lie in the image by those that were."""
    seen = np.isfinite(settled[:, 0])
    if seen.all():
        return True
    if seen.sum() < MIN_CORNERS:
        return False
    grid = _grid(board)
    homography, _ = cv2.findHomography(grid[seen], settled[seen])
    if homography is None:
        return False
    mapped = cv2.perspectiveTransform(grid[np.newaxis], homography)[0]
    height, width = image.shape
    inside = ((mapped > 2) & (mapped < (width - 3, height - 3))).all(axis=1)
    return np.count_nonzero(inside & ~seen) <= _LEFT_OPEN * inside.sum()


def half_turn(board: Board) -> np.ndarray | None:
    """Return how corners change places if a board is turned upside down unnoticed.

    A checkerboard with both counts of squares odd or both even looks the same after half a
    turn: one image cannot tell the two orders apart. `detect_board` then gives either; which
    one it is follows from the other cameras, so the calibration settles it.

    Returns
    -------
    ndarray of int of shape (n_corners,) or None
        ``corners[half_turn(board)]`` is the other order; None where the board's colours or
        markers leave no doubt.
    """
    if isinstance(board, CharucoBoard) or (board.squares_x + board.squares_y) % 2:
        return None
    return np.arange(board.n_corners)[::-1]


def _grid(board):
    """Inner corners in squares, (n_corners, 2)."""
    return board.corners[:, :2] / board.square_length


def _black_first(board):
    """Tell for each corner whether the square towards +x and +y is black."""
    column, row = np.round(_grid(board)).astype(int).T
    shifted = isinstance(board, CharucoBoard) and board.legacy and board.squares_y % 2 == 0
    return (column + row + shifted) % 2 == 0


def _settle(board, image, start, axes, clear):
    """Refine corners and keep those that look like corners and lie where they should.

    Twice: a first value too far off can end on the edge of a marker; the second time every
    corner starts where its refined neighbours put it.
    """
    grid = _grid(board)
    settled = np.full((board.n_corners, 2), np.nan)
    # the first time to find what is no corner, the second to be exact
    for squares, rounds in ((0.1, 1), (0.05, 3)):
        fitted = _fitted(board, image, start, axes, clear, rounds)
        settled = drop_strays(grid, fitted, squares=squares)
        if np.isfinite(settled[:, 0]).sum() < MIN_CORNERS:
            settled[:] = np.nan
            break
        start, axes = local_grid(grid, settled)
    return settled


def _fitted(board, image, start, axes, clear, rounds):
    """Refine corners; NaN where the image holds no such corner near the first value."""
    fitted = np.full_like(start, np.nan)
    height, width = image.shape
    # NaN compares as False
    inside = ((start >= 1) & (start <= (width - 2, height - 2))).all(axis=1)
    # a board seen from its front is never mirrored
    facing = axes[:, 0, 0] * axes[:, 1, 1] > axes[:, 0, 1] * axes[:, 1, 0]
    tried = np.flatnonzero(inside & facing & (spacing(axes) > 3))
    spread = np.full(len(start), np.nan)
    fitted[tried], spread[tried] = refine_corners(
        image, start[tried], axes[tried], clear=clear, rounds=rounds
    )
    moved = np.linalg.norm(fitted - start, axis=1)
    tried = np.flatnonzero(moved < np.maximum(0.2 * spacing(axes), 1.5))
    if len(tried) < MIN_CORNERS:
        return np.full_like(start, np.nan)
    # on real pictures the clean corners of a board stay below 2.2, covered ones reach 30
    tried = tried[spread[tried] < 2.5 * np.median(spread[tried])]
    black_first = _black_first(board)[tried]
    contrast = quadrant_contrast(image, fitted[tried], axes[tried], black_first, clear)
    sharp = tried[contrast > max(0.15 * np.median(contrast), 2.0)]
    return np.where(np.isin(np.arange(len(start)), sharp)[:, np.newaxis], fitted, np.nan)


def _shrunk(image, longest):
    """Return an image no longer than so many pixels, and how much it was shrunk."""
    scale = longest / max(image.shape)
    if scale >= 1:
        return image, 1.0
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), scale


def _predicted(board, found):
    """Predict the corners of a ChArUco board from its markers."""
    places = np.asarray(opencv_board(board).getObjPoints(), dtype=np.float64)[..., :2]
    grid = places[list(found)] / board.square_length
    points = np.array(list(found.values())).reshape(-1, 4, 2)
    grid, points = _agreeing(grid, points, board)
    return local_grid(grid.reshape(-1, 2), points.reshape(-1, 2), at=_grid(board))


def _agreeing(grid, points, board):
    """Keep the markers that lie on one board, (n, 4, 2) each; none if most do not.

    A marker read wrongly, or of another board with the same markers, is elsewhere. One alone
    could be anything.
    """
    none = np.zeros((0, 4, 2)), np.zeros((0, 4, 2))
    if len(points) < 2:
        return none
    side = np.linalg.norm(points - np.roll(points, 1, axis=1), axis=2).max(axis=1)
    square = np.median(side) * board.square_length / board.marker_length
    # even a wide lens bends a board by less than this from the nearest homography
    homography, inlying = cv2.findHomography(
        grid.reshape(-1, 2), points.reshape(-1, 2), cv2.RANSAC, 0.5 * float(square)
    )
    if homography is None or np.linalg.det(homography) <= 0:  # mirrored
        return none
    good = inlying.reshape(-1, 4).all(axis=1)
    middle = points.mean(axis=1)
    predicted, axes = local_grid(grid.mean(axis=1), middle)
    # False where too few are near to say
    if (np.linalg.norm(predicted - middle, axis=1) > 0.5 * spacing(axes)).any():
        near = drop_strays(grid.mean(axis=1), middle, squares=0.3)
        good &= np.isfinite(near[:, 0])
    return (grid[good], points[good]) if 0.6 * len(points) <= good.sum() >= 2 else none


def _markers(board, image, windows):
    """Find markers with some windows of OpenCV's adaptive threshold: corners (4, 2) by number."""
    parameters = cv2.aruco.DetectorParameters()
    parameters.adaptiveThreshWinSizeMin = windows[0]
    parameters.adaptiveThreshWinSizeMax = windows[1]
    parameters.adaptiveThreshWinSizeStep = windows[2]
    detector = cv2.aruco.ArucoDetector(opencv_board(board).getDictionary(), parameters)
    found, ids, _ = detector.detectMarkers(image)
    ids = [] if ids is None else np.asarray(ids).ravel().tolist()
    return dict(zip(ids, np.asarray(found, dtype=np.float64).reshape(-1, 4, 2), strict=True))


def _find_checkerboard(board, image, thorough):
    """Find the corners of a checkerboard roughly, in an order that its colours allow."""
    columns, rows = board.squares_x - 1, board.squares_y - 1
    if board.squares_x == board.squares_y and board.squares_x % 2:
        raise CalibrationError(
            f"A checkerboard of {board.squares_x} x {board.squares_y} squares looks the same "
            "after every quarter turn, so its corners cannot be told apart. Use a board with "
            "one side odd and one even, or a ChArUco board."
        )
    for longest, find, flags in _CHECKERBOARD_LOOKS[: None if thorough else 1]:
        small, scale = _shrunk(image, longest)
        found, corners = find(small, (columns, rows), flags=flags)
        if found:  # OpenCV hands over corners where it found none, too
            # OpenCV 4 gives (n, 1, 2), OpenCV 5 (n, 2)
            corners = np.asarray(corners, dtype=np.float64).reshape(-1, 2)
            corners = _ordered((corners + 0.5) / scale - 0.5, board, image)
            return corners, local_grid(_grid(board), corners)[1]
    return np.full((board.n_corners, 2), np.nan), np.full((board.n_corners, 2, 2), np.nan)


def _ordered(corners, board, image):
    """Turn a grid of corners so that it is not mirrored and its black squares are black."""
    grid = corners.reshape(board.squares_y - 1, board.squares_x - 1, 2)
    along, down = grid[0, -1] - grid[0, 0], grid[-1, 0] - grid[0, 0]
    if along[0] * down[1] - along[1] * down[0] < 0:
        grid = grid[::-1]
    turns = [grid, grid[::-1, ::-1]]
    if board.squares_x == board.squares_y:
        quarter = np.swapaxes(grid, 0, 1)[::-1]
        turns += [quarter, quarter[::-1, ::-1]]
    # of orders that look alike, the one whose first corner is nearest the top left
    turns.sort(key=lambda turn: turn[0, 0].sum())
    return max(turns, key=lambda turn: _fits_colours(turn, image)).reshape(-1, 2)


def _fits_colours(grid, image):
    """Tell whether the squares between corners are black and white as the order says."""
    middles = (grid[:-1, :-1] + grid[1:, :-1] + grid[:-1, 1:] + grid[1:, 1:]) / 4
    middles = middles.astype(np.float32)
    levels = cv2.remap(image, middles[..., 0], middles[..., 1], cv2.INTER_LINEAR)
    row, column = np.indices(levels.shape)
    black = (row + column) % 2 == 0  # the square below right of the first corner, as at (1, 1)
    return levels[~black].mean() > levels[black].mean()
