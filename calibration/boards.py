"""The printed boards that calibrate a rig, and where cameras saw their corners."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from calibration.arrays import checked_array, float_array, name_tuple
from calibration.cameras import METRES

#: The ArUco dictionaries of OpenCV by name, with their number of markers.
DICTIONARIES = {
    f"DICT_{bits}X{bits}_{size}": size for bits in (4, 5, 6, 7) for size in (50, 100, 250, 1000)
} | {
    "DICT_ARUCO_ORIGINAL": 1024,
    "DICT_APRILTAG_16h5": 30,
    "DICT_APRILTAG_25h9": 35,
    "DICT_APRILTAG_36h10": 2320,
    "DICT_APRILTAG_36h11": 587,
}


def _grid(squares_x, squares_y, square_length):
    """Inner corners of a board, row by row, ndarray of shape (n_corners, 3)."""
    y, x = np.mgrid[1:squares_y, 1:squares_x]
    points = np.stack([x, y, np.zeros_like(x)], axis=-1).reshape(-1, 3) * float(square_length)
    points.flags.writeable = False
    return points


def _check_squares(board):
    """Check what both kinds of board share."""
    for field in ("squares_x", "squares_y"):
        value = getattr(board, field)
        if not isinstance(value, int) or isinstance(value, bool) or not 3 <= value <= 100:
            raise ValueError(
                f"{field} is {value!r}; expected a whole number from 3 to 100 "
                "(squares as printed, not inner corners)."
            )
    if not (np.isfinite(board.square_length) and board.square_length > 0):
        raise ValueError(f"square_length is {board.square_length!r}; expected a length above 0.")
    if board.units not in METRES:
        raise ValueError(f"units is {board.units!r}; expected one of {', '.join(METRES)}.")


@dataclass(frozen=True)
class Checkerboard:
    """A plain checkerboard.

    Attributes
    ----------
    squares_x, squares_y : int
        Squares as printed; there is one inner corner less each way.
    square_length : float
        Side of a square.
    units : str
        Unit of `square_length` and of everything calibrated with the board.
    """

    squares_x: int
    squares_y: int
    square_length: float
    units: str = "mm"

    def __post_init__(self):
        _check_squares(self)

    @cached_property
    def corners(self) -> np.ndarray:
        """Inner corners on the board, row by row, ndarray of shape (n_corners, 3)."""
        return _grid(self.squares_x, self.squares_y, self.square_length)

    @property
    def n_corners(self) -> int:
        """Number of inner corners."""
        return (self.squares_x - 1) * (self.squares_y - 1)


@dataclass(frozen=True)
class CharucoBoard:
    """A checkerboard with an ArUco marker in every white square.

    Attributes
    ----------
    squares_x, squares_y : int
        Squares as printed.
    square_length, marker_length : float
        Sides of a square and of a marker.
    dictionary : str
        Name of the ArUco dictionary, such as "DICT_4X4_50"; the markers are its first ones.
    units : str
        Unit of the lengths and of everything calibrated with the board.
    legacy : bool
        Whether the layout is that of OpenCV before 4.6 (a marker in the top-left square of
        boards with an even number of rows).
    inverted : bool
        Whether it is printed white on black.
    """

    squares_x: int
    squares_y: int
    square_length: float
    marker_length: float
    dictionary: str = "DICT_4X4_50"
    units: str = "mm"
    legacy: bool = False
    inverted: bool = False

    def __post_init__(self):
        _check_squares(self)
        if not (np.isfinite(self.marker_length) and 0 < self.marker_length < self.square_length):
            raise ValueError(
                f"marker_length is {self.marker_length!r}; expected a length above 0 and below "
                f"square_length {self.square_length!r}."
            )
        if self.dictionary not in DICTIONARIES:
            raise ValueError(
                f"dictionary is {self.dictionary!r}; expected one of {', '.join(DICTIONARIES)}."
            )
        needed = self.squares_x * self.squares_y // 2
        if needed > DICTIONARIES[self.dictionary]:
            raise ValueError(
                f"dictionary {self.dictionary} has {DICTIONARIES[self.dictionary]} markers; a "
                f"board of {self.squares_x} x {self.squares_y} squares needs {needed}. "
                "Use a larger dictionary."
            )

    @cached_property
    def corners(self) -> np.ndarray:
        """Inner corners on the board in the order of their ids, ndarray (n_corners, 3)."""
        return _grid(self.squares_x, self.squares_y, self.square_length)

    @property
    def n_corners(self) -> int:
        """Number of inner corners."""
        return (self.squares_x - 1) * (self.squares_y - 1)


Board = Checkerboard | CharucoBoard


@dataclass(frozen=True, eq=False)
class BoardDetections:
    """Where each camera saw each corner of a board, moment by moment.

    Attributes
    ----------
    corners : ndarray of shape (n_cameras, n_frames, n_corners, 2)
        Image points in pixels; NaN where a corner was not seen.
    cameras : tuple of str
        Names along the first axis.
    board : Checkerboard or CharucoBoard
        The board as it was found (layout and print may differ from what was asked for).
    image_sizes : ndarray of int of shape (n_cameras, 2)
        Width and height of each camera's images.
    frames : ndarray of int of shape (n_frames,)
        Frame number of each moment, the same in all cameras.
    sources : tuple of str
        Where each camera's images came from, for messages; empty if unknown.
    """

    corners: np.ndarray
    cameras: tuple[str, ...]
    board: Board
    image_sizes: np.ndarray
    frames: np.ndarray
    sources: tuple[str, ...] = ()

    def __post_init__(self):
        cameras = name_tuple("cameras", self.cameras)
        shape = (len(cameras), "n_frames", self.board.n_corners, 2)
        if np.isinf(np.asarray(self.corners)).any():
            camera, frame, corner, _ = np.argwhere(np.isinf(self.corners))[0]
            raise ValueError(
                f"corners is infinite for camera {cameras[camera]!r}, moment {frame}, corner "
                f"{corner}; use NaN where a corner was not seen."
            )
        corners = float_array("corners", self.corners, shape)
        half = np.isnan(corners[..., 0]) != np.isnan(corners[..., 1])
        if half.any():
            camera, frame, corner = np.argwhere(half)[0]
            raise ValueError(
                f"corners has x without y for camera {cameras[camera]!r}, moment {frame}, "
                f"corner {corner}; both must be numbers or both NaN."
            )
        sizes = checked_array("image_sizes", self.image_sizes, (len(cameras), 2), np.int64)
        frames = checked_array("frames", self.frames, (corners.shape[1],), np.int64)
        object.__setattr__(self, "cameras", cameras)
        object.__setattr__(self, "corners", corners)
        object.__setattr__(self, "image_sizes", sizes)
        object.__setattr__(self, "frames", frames)
        object.__setattr__(self, "sources", tuple(self.sources))

    @cached_property
    def n_seen(self) -> np.ndarray:
        """Number of corners each camera saw, ndarray of shape (n_cameras, n_frames)."""
        return np.isfinite(self.corners[..., 0]).sum(axis=2)

    def at(self, moments) -> "BoardDetections":
        """Return the detections at some moments (a slice, a mask or indices)."""
        return BoardDetections(
            self.corners[:, moments],
            self.cameras,
            self.board,
            self.image_sizes,
            self.frames[moments],
            self.sources,
        )
