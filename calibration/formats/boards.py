"""Boards in ``board.toml``: ours, sleap-anipose's and Caliscope's."""

import difflib
import json
import os
import tomllib
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from calibration.boards import DICTIONARIES, Board, CharucoBoard, Checkerboard
from calibration.errors import DataError
from calibration.files import write_text


def save_board(board: Board, path: str | os.PathLike) -> None:
    """Write a board.toml, whole or not at all."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in asdict(board).items()]
    write_text(path, "\n".join(lines) + "\n")


def load_board(path: str | os.PathLike) -> Board:
    """Load a board: a ChArUco board if the file gives a marker's length, else a checkerboard.

    Parameters
    ----------
    path : path
        Our board.toml (the fields of `CharucoBoard` or `Checkerboard`), sleap-anipose's
        (board_x, board_y, square_length, marker_length, marker_bits, dict_size; in mm by habit)
        or Caliscope's charuco.toml (columns, rows, dictionary, square_size_override_cm).

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If a field is missing, unknown or cannot be.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no board file {path}. draw-board writes one beside the board it draws."
        )
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no TOML file ({error}).") from None
    try:
        if "board_x" in values:
            return _sleap_anipose(values)
        if "square_size_override_cm" in values or "aruco_scale" in values:
            return _caliscope(values)
        return _ours(values)
    except KeyError as error:
        raise DataError(f"{path}: the field {error.args[0]!r} is missing.") from None
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: {error}") from None


def _ours(values: dict[str, Any]) -> Board:
    """Make the board of our own keys."""
    kind = CharucoBoard if "marker_length" in values else Checkerboard
    known = {field.name: field.type for field in fields(kind)}
    for name, value in values.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            meant = f" Did you mean {near[0]!r}?" if near else f" Known are {', '.join(known)}."
            raise ValueError(f"{name!r} is no field of a {kind.__name__}.{meant}")
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if name.endswith("_length") and not number:
            raise ValueError(f"{name} is {value!r}; expected a number.")
        if name in ("legacy", "inverted") and not isinstance(value, bool):
            raise ValueError(f"{name} is {value!r}; expected true or false.")
    missing = [name for name in ("squares_x", "squares_y", "square_length") if name not in values]
    if missing:
        raise KeyError(missing[0])
    return kind(**values)


def _sleap_anipose(values: dict[str, Any]) -> Board:
    """Make the board of sleap-anipose's keys."""
    squares = (values["board_x"], values["board_y"], float(values["square_length"]))
    if "marker_length" not in values:
        return Checkerboard(*squares)
    bits, size = values["marker_bits"], values["dict_size"]
    name = f"DICT_{bits}X{bits}_{size}"
    if name not in DICTIONARIES:
        raise ValueError(f"marker_bits {bits} and dict_size {size} name no dictionary of OpenCV.")
    return CharucoBoard(*squares, float(values["marker_length"]), name)


def _caliscope(values: dict[str, Any]) -> Board:
    """Make the board of Caliscope's keys, whose square size is in cm."""
    if "square_size_override_cm" not in values:
        raise ValueError(
            "square_size_override_cm is missing; measure a square and write its side there, in cm."
        )
    square = 10 * float(values["square_size_override_cm"])
    return CharucoBoard(
        values["columns"],
        values["rows"],
        square,
        square * float(values.get("aruco_scale", 0.75)),
        values["dictionary"],
        "mm",
        legacy=bool(values.get("legacy_pattern", False)),
        inverted=bool(values.get("inverted", False)),
    )
