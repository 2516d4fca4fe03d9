"""The .csv in which DeepLabCut keeps labels and predictions."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from calibration.errors import DataError
from calibration.files import write_text
from pose3d.formats.pytables import Table

#: The header rows, from top to bottom; projects of one animal have no individuals.
LEVELS = ("scorer", "individuals", "bodyparts", "coords")

_LARGEST = 1 << 28


def load_csv(path: Path) -> tuple[Table, list[str]]:
    """Load a .csv with three or four header rows and one or three columns of names.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    table : Table
        Its numbers; NaN where a cell is empty.
    places : list of str
        What each row is called in messages: "row 4".

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If it is no such table; names row and column.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no {path}.")
    if path.stat().st_size > _LARGEST:
        raise DataError(f"{path} has {path.stat().st_size:,} bytes; a table of labels has fewer.")
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = content[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, row {row} is no UTF-8 text. Save the table as UTF-8.") from None
    first = text.split("\n", 1)[0]
    if ";" in first and "," not in first:
        raise DataError(
            f"{path}, row 1 is separated by semicolons: it was saved by a spreadsheet in another "
            "locale. Save it with commas between cells and points in numbers."
        )
    try:
        reader = csv.reader(io.StringIO(text), strict=True)
        rows = [(reader.line_num, row) for row in reader if any(row)]
    except csv.Error as error:
        raise DataError(f"{path} is no table with commas ({error}). Save it again.") from None
    header: dict[str, list[str]] = {}
    while rows and rows[0][1][0] in LEVELS:
        row = rows.pop(0)[1]
        header[row[0]] = row
    missing = [name for name in ("scorer", "bodyparts", "coords") if name not in header]
    if missing:
        raise DataError(
            f"{path} has no header row {missing[0]!r}; expected scorer, bodyparts and coords in "
            "the first rows."
        )
    n_names = 1 + next((i for i, cell in enumerate(header["coords"][1:]) if cell), 0)
    n_cells = len(header["coords"])
    for level, cells in header.items():
        if len(cells) != n_cells or not all(cells[n_names:]):
            raise DataError(
                f"{path}, header row {level!r} has {sum(map(bool, cells[n_names:]))} names; "
                f"the table has {n_cells - n_names} columns."
            )
    levels = [header[level][n_names:] for level in LEVELS if level in header]
    columns = tuple(zip(*levels, strict=True))
    values = np.empty((len(rows), len(columns)))
    lines = [f"row {line_number}" for line_number, _ in rows]
    for i, (line, (_, row)) in enumerate(zip(lines, rows, strict=True)):
        if len(row) != n_cells:
            raise DataError(
                f"{path}, {line} ({'/'.join(row[:n_names])}) has {len(row)} cells; expected "
                f"{n_cells}. The row is cut short or has a comma too many."
            )
        for k, cell in enumerate(row[n_names:]):
            values[i, k] = number = _number(cell)
            if math.isinf(number):
                column = " ".join(columns[k][1:])
                raise DataError(
                    f"{path}, {line} ({'/'.join(row[:n_names])}), column {column} holds {cell!r}; "
                    "expected a number, or nothing where the point is not labelled."
                )
    return Table(tuple(tuple(row[:n_names]) for _, row in rows), columns, values), lines


def _number(cell):
    """Read a number; NaN for nothing, infinity for anything else."""
    if cell.strip().casefold() in ("", "nan"):
        return math.nan
    try:
        return math.inf if "_" in cell else float(cell)
    except ValueError:
        return math.inf


def save_csv(path: Path, table: Table, names: Sequence[str]) -> None:
    """Save a table as pandas would, whole or not at all; every number comes back bit for bit.

    Parameters
    ----------
    path : Path
        The file.
    table : Table
        Rows named by text.
    names : sequence of str
        What the levels of the columns are called.
    """
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    blank = [""] * (len(table.rows[0]) - 1)
    for k, name in enumerate(names):
        writer.writerow([name, *blank, *(column[k] for column in table.columns)])
    for row, values in zip(table.rows, table.values, strict=True):
        cells = ("" if math.isnan(value) else repr(float(value)) for value in values)
        writer.writerow([*row, *cells])
    write_text(path, written.getvalue())
