"""Points of a scene, and where pictures show them: tables that a spreadsheet writes."""

import csv
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from calibration.cameras import METRES
from calibration.errors import DataError


def load_scene_points(
    path: str | os.PathLike, units: str | None = None
) -> tuple[tuple[str, ...], np.ndarray, str]:
    """Load points whose places are known.

    Parameters
    ----------
    path : path
        A .csv with the columns name, x, y, z and units (the same in every row), or a .toml
        with ``units = "m"`` and a section ``[points]`` of ``name = [x, y, z]``.
    units : str, optional
        The unit, for a table that does not say it.

    Returns
    -------
    names : tuple of str
    places : ndarray of shape (n_points, 3)
        NaN where a cell is empty.
    units : str

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If columns are missing, a name comes twice, a place is no number, or the unit is not
        said.
    """
    path = Path(path)
    said = set()
    if path.suffix.lower() == ".toml":
        document = _toml(path)
        if "units" in document:
            said.add(str(document["units"]))
        table = document.get("points", {})
        rows = [(f"point {name!r}", str(name), place) for name, place in table.items()]
    else:
        rows = []
        for line, row in _csv(path, ("name", "x", "y", "z")):
            if row.get("units"):
                said.add(row["units"])
            rows.append((f"line {line}", row["name"], [row[axis] for axis in "xyz"]))
    names, places = [], []
    for where, name, place in rows:
        if name in names:
            raise DataError(f"{path}, {where}: the point {name!r} comes twice. Name it otherwise.")
        names.append(name)
        places.append([_number(path, where, each) for each in place])
    if not names:
        raise DataError(f"{path} holds no points; expected rows of name, x, y, z, units.")
    if any(len(place) != 3 for place in places):
        raise DataError(f"{path}: every point needs three coordinates, x, y and z.")
    if units is not None:
        said.add(units)
    if len(said) != 1 or not said <= set(METRES):
        found = f"says {', '.join(sorted(said))}" if said else "does not say its unit of length"
        raise DataError(
            f"{path} {found}; one of {', '.join(METRES)} is needed: in a column units, in a .toml "
            'as units = "mm", or as --units.'
        )
    return tuple(names), np.array(places), said.pop()


def load_clicks(path: str | os.PathLike) -> dict[str, dict[str, tuple[float, float]]]:
    """Load where each camera's picture shows each point.

    Parameters
    ----------
    path : path
        A .csv with the columns camera, point, x, y; or a folder with a .csv per camera, named
        after it, with the columns point, x, y. Pixel (0, 0) is the centre of the top-left
        one.

    Returns
    -------
    dict
        By camera, by point: x and y in pixels.

    Raises
    ------
    FileNotFoundError
        If there is nothing there.
    DataError
        If columns are missing, a point is marked twice in a camera, or a cell is no number.
    """
    path = Path(path)
    clicks: dict[str, dict[str, tuple[float, float]]] = {}
    if path.is_dir():
        files = [(file, file.stem) for file in sorted(path.glob("*.csv"))]
        if not files:
            raise DataError(f"{path} holds no .csv; expected one per camera, named after it.")
    else:
        files = [(path, None)]
    for file, camera in files:
        columns = ("point", "x", "y") if camera else ("camera", "point", "x", "y")
        for line, row in _csv(file, columns):
            if not (row["x"] and row["y"]):
                continue
            seen = clicks.setdefault(camera or row["camera"], {})
            if row["point"] in seen:
                raise DataError(
                    f"{file}, line {line}: point {row['point']!r} is marked twice in camera "
                    f"{camera or row['camera']!r}. Keep the right one."
                )
            seen[row["point"]] = tuple(_number(file, f"line {line}", row[axis]) for axis in "xy")
    if not clicks:
        raise DataError(f"{path} holds no marks; expected rows of camera, point, x, y.")
    return clicks


def click_array(
    cameras: Sequence[str],
    clicks: Mapping[str, Mapping[str, tuple[float, float]]],
    path: str | os.PathLike,
    names: Sequence[str] | None = None,
) -> tuple[tuple[str, ...], np.ndarray]:
    """Lay clicks out as an array.

    Parameters
    ----------
    cameras : sequence of str
        Names along the first axis.
    clicks : mapping
        By camera, by point: x and y.
    path : path
        The table, for messages.
    names : sequence of str, optional
        Points along the second axis; those of the clicks, in order, if not given.

    Returns
    -------
    names : tuple of str
    ndarray of shape (n_cameras, n_points, 2)
        NaN where a camera has no mark.
    """
    strange = [camera for camera in clicks if camera not in cameras]
    if strange:
        raise DataError(
            f"{path} names the camera{'s' if len(strange) > 1 else ''} {', '.join(strange)}; "
            f"known are {', '.join(cameras)}."
        )
    if names is None:
        names = list(dict.fromkeys(name for each in clicks.values() for name in each))
    seen = np.full((len(cameras), len(names), 2), np.nan)
    for camera, each in clicks.items():
        for name, xy in each.items():
            seen[cameras.index(camera), names.index(name)] = xy
    return tuple(names), seen


def _csv(path, columns):
    """Yield line numbers and rows of a table, cells stripped."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{path} is no table of text (UTF-8). Save it as .csv.") from None
    except FileNotFoundError:
        raise FileNotFoundError(
            f"There is no {path}; expected a .csv with the columns {', '.join(columns)}."
        ) from None
    lines = text.splitlines()
    first = lines[0] if lines else ""
    delimiter = ";" if first.count(";") > first.count(",") else ","
    reader = csv.DictReader(lines, delimiter=delimiter, skipinitialspace=True)
    header = [(name or "").strip() for name in reader.fieldnames or ()]
    reader.fieldnames = header
    missing = [name for name in columns if name not in header]
    if missing:
        raise DataError(
            f"{path} has the columns {', '.join(header) or '(none)'}; {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing. Its first line must name "
            f"{', '.join(columns)}."
        )
    for row in reader:
        cells = {
            key: (value or "").strip() for key, value in row.items() if isinstance(key, str) and key
        }
        if any(cells.values()):
            yield reader.line_num, cells


def _toml(path):
    if not path.is_file():
        raise FileNotFoundError(f"There is no {path}.")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no TOML file ({error}).") from None


def _number(path, where, cell):
    """Read a number; an empty cell is a point that is not known."""
    if cell == "" or cell is None:
        return np.nan
    try:
        value = float(cell)
    except (TypeError, ValueError):
        raise DataError(
            f"{path}, {where}: {cell!r} is no number (write 1.5, with a point)."
        ) from None
    if not np.isfinite(value):
        raise DataError(f"{path}, {where}: {cell!r} is no place. Leave it empty if not known.")
    return value
