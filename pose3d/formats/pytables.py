"""The HDF5 layouts in which pandas keeps a table, read and written with h5py alone.

pandas reads them through PyTables, which unpickles attributes: a file of labels could run any
code. Here the *fixed* layout (labels) is read and written, the *table* layout (predictions, and
labels of old projects) read. Its column names are a pickled list; of the pickle language only the
words for lists, tuples, text and numbers are understood (`parse_literal`), and nothing is ever
called.
"""

import os
import pickletools
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from calibration.arrays import float_array
from calibration.errors import DataError
from pose3d.formats import hdf5

#: The words of the pickle language that stand for text and numbers.
_VALUES = frozenset(
    ("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE")
    + ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "FLOAT", "BINFLOAT")
)


@dataclass(frozen=True, eq=False)
class Table:
    """A table of numbers with named rows and columns.

    Attributes
    ----------
    rows : tuple of tuple
        Name of each row: one part or several; text or whole numbers.
    columns : tuple of tuple of str
        Name of each column, level by level.
    values : ndarray of shape (n_rows, n_columns)
        The numbers; NaN where there is none.
    """

    rows: tuple[tuple[Any, ...], ...]
    columns: tuple[tuple[str, ...], ...]
    values: np.ndarray

    def __post_init__(self):
        shape = (len(self.rows), len(self.columns))
        object.__setattr__(self, "values", float_array("values", self.values, shape))


def load_table(path: str | os.PathLike) -> Table:
    """Load a table that pandas wrote, in its fixed or its table layout.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If it is no such table, is damaged, or could only be read by running what it holds.
    """
    with hdf5.open_hdf5(path, "a table of labels or predictions") as file:
        names = [name for name in file if hdf5.is_group(file, name)]
        for name in sorted(names, key=lambda name: name != "df_with_missing"):
            group = hdf5.get_group(file, name)
            kind = hdf5.read_attribute(group, "pandas_type")
            try:
                if kind == "frame":
                    return _load_fixed(group)
                if kind == "frame_table":
                    return _load_table(group)
            except DataError:
                raise
            except ValueError as error:
                raise DataError(f"{path}: {error}") from None
        held = ", ".join(names) or "nothing"
        raise DataError(
            f"{path} holds no table of pandas such as 'df_with_missing', only {held}. "
            "Is it a file of DeepLabCut?"
        )


def parse_literal(pickled: bytes) -> Any:
    """Read a pickle of lists, tuples, dicts, text, numbers, True, False and None.

    Only these are understood. Whatever would look something up or call something is refused, so
    reading cannot run anything.

    Raises
    ------
    DataError
        If there is anything else in it.
    """
    mark = object()
    stack: list[Any] = []
    memo: dict[int, Any] = {}

    def since_mark():
        place = len(stack) - 1 - stack[::-1].index(mark)
        entries = stack[place + 1 :]
        del stack[place:]
        return entries

    try:
        for opcode, value, _ in pickletools.genops(pickled):
            match opcode.name:
                case "PROTO" | "FRAME":
                    pass
                case "STOP":
                    (result,) = stack
                    return result
                case "MARK":
                    stack.append(mark)
                case "EMPTY_LIST":
                    stack.append([])
                case "EMPTY_DICT":
                    stack.append({})
                case "EMPTY_TUPLE":
                    stack.append(())
                case "LIST":
                    stack.append(since_mark())
                case "TUPLE":
                    stack.append(tuple(since_mark()))
                case "DICT":
                    entries = since_mark()
                    stack.append(dict(zip(entries[::2], entries[1::2], strict=True)))
                case "TUPLE1" | "TUPLE2" | "TUPLE3":
                    count = int(opcode.name[-1])
                    stack[-count:] = [tuple(stack[-count:])]
                case "APPEND":
                    entry = stack.pop()
                    stack[-1].append(entry)
                case "APPENDS":
                    entries = since_mark()
                    stack[-1].extend(entries)
                case "SETITEM":
                    entry, key = stack.pop(), stack.pop()
                    stack[-1][key] = entry
                case "SETITEMS":
                    entries = since_mark()
                    stack[-1].update(zip(entries[::2], entries[1::2], strict=True))
                case "PUT" | "BINPUT" | "LONG_BINPUT":
                    memo[value] = stack[-1]
                case "MEMOIZE":
                    memo[len(memo)] = stack[-1]
                case "GET" | "BINGET" | "LONG_BINGET":
                    stack.append(memo[value])
                case "NONE":
                    stack.append(None)
                case "NEWTRUE" | "NEWFALSE":
                    stack.append(opcode.name == "NEWTRUE")
                case _ if isinstance(value, (str, int, float)) and opcode.name in _VALUES:
                    stack.append(value)
                case _:
                    raise DataError(f"the pickle says {opcode.name}, which is never obeyed")
    except DataError:
        raise
    except (AttributeError, LookupError, TypeError, ValueError, struct.error) as error:
        raise DataError(f"the pickle is damaged ({error})") from None
    raise DataError("the pickle does not end")


def _load_table(group):
    """Read the table layout: records with an index and blocks of numbers."""
    dataset = hdf5.get_dataset(group, "table")
    path = group.file.filename
    fields = dataset.dtype.fields or {}
    if "index" not in fields or dataset.ndim != 1:
        raise DataError(f"{path}: its table has no index; expected pandas' layout.")
    for name, (dtype, _) in fields.items():
        if dtype.base.kind not in "fiubS":
            raise DataError(f"{path}: field {name!r} of the table holds {dtype}; expected numbers.")
    records = dataset[()]
    columns: list[tuple[str, ...]] = []
    blocks = []
    for name in fields:
        if not name.startswith("values_block_"):
            continue
        if fields[name][0].base.kind == "S":
            raise DataError(f"{path}: field {name!r} of the table holds text; expected numbers.")
        kind = hdf5.read_attribute(dataset, f"{name}_kind")
        try:
            found = _column_names(parse_literal((kind or "").encode("latin1")))
        except (ValueError, UnicodeEncodeError) as error:
            raise DataError(
                f"{path}: the column names of {name!r} cannot be read: {error}. "
                "Use the .csv beside it, or save the file again with DeepLabCut."
            ) from None
        columns += found
        blocks.append(records[name].reshape(len(records), -1))
    values = np.concatenate(blocks, axis=1) if blocks else np.zeros((len(records), 0))
    if values.shape[1] != len(columns):
        raise DataError(
            f"{path}: the table has {values.shape[1]} columns and names {len(columns)} of them."
        )
    return Table(tuple((_plain(entry, path),) for entry in records["index"]), columns, values)


def _column_names(literal):
    """Check that a literal is a list of tuples of text."""
    if not isinstance(literal, list) or not all(
        isinstance(name, tuple) and all(isinstance(part, str) for part in name) for name in literal
    ):
        raise ValueError("they are no list of names")
    return literal


def _load_fixed(group):
    """Read the fixed layout: two axes and blocks of numbers."""
    columns = _load_axis(group, "axis0")
    rows = _load_axis(group, "axis1")
    place = {name: i for i, name in enumerate(columns)}
    values = np.full((len(rows), len(columns)), np.nan)
    path = group.file.filename
    n_blocks = int(hdf5.read_attribute(group, "nblocks") or 0)
    if n_blocks > len(columns):
        raise DataError(f"{path} says it has {n_blocks} blocks; it has {len(columns)} columns.")
    for i in range(n_blocks):
        items = _load_axis(group, f"block{i}_items")
        block = hdf5.read_array(group, f"block{i}_values")
        if hdf5.read_attribute(group[f"block{i}_values"], "transposed") in (None, "0", "False"):
            block = block.T
        if block.shape != (len(rows), len(items)) or not set(items) <= set(place):
            raise DataError(
                f"{path}: block {i} has shape {block.shape} and {len(items)} columns; expected "
                f"{len(rows)} rows and columns of the table."
            )
        values[:, [place[name] for name in items]] = block
    return Table(rows, tuple(tuple(map(str, name)) for name in columns), values)


def _load_axis(group, key):
    """Read the names along an axis, as a tuple of tuples."""
    variety = hdf5.read_attribute(group, f"{key}_variety")
    path = group.file.filename
    if variety == "regular":
        return tuple((entry,) for entry in _load_level(group, key))
    if variety != "multi":
        raise DataError(f"{path}: {key} is kept as {variety or 'nothing known'}; expected names.")
    n_levels = int(hdf5.read_attribute(group, f"{key}_nlevels") or 0)
    if not 1 <= n_levels <= 8:
        raise DataError(f"{path}: {key} has {n_levels} levels; expected 1 to 8.")
    levels = []
    for k in range(n_levels):
        names = _load_level(group, f"{key}_level{k}")
        codes = hdf5.read_array(group, f"{key}_label{k}", "iu")
        if codes.ndim != 1 or (codes.size and not 0 <= codes.min() <= codes.max() < len(names)):
            raise DataError(f"{path}: {key} names something that is not there.")
        levels.append([names[code] for code in codes])
    if len({len(level) for level in levels}) != 1:
        raise DataError(f"{path}: the levels of {key} differ in length.")
    return tuple(zip(*levels, strict=True))


def _load_level(group, key):
    """Read the names of one level: text or whole numbers."""
    dataset = hdf5.get_dataset(group, key)
    path = group.file.filename
    kind = hdf5.read_attribute(dataset, "kind")
    if dataset.ndim != 1 or dataset.dtype.kind not in "Siu":
        raise DataError(
            f"{path}: {key} keeps its names as {kind or dataset.dtype}, which could only be read "
            "by running code from the file. Use the .csv beside it, or save the file again."
        )
    return [_plain(entry, path) for entry in dataset[()]]


def _plain(entry, path):
    """Make Python text or a Python number."""
    if not isinstance(entry, bytes):
        return int(entry)
    try:
        return entry.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} holds a name that is no UTF-8 ({error}).") from None


def save_table(path: str | os.PathLike, table: Table, level_names: Sequence[str]) -> None:
    """Save a table in pandas' fixed layout, under the key ``df_with_missing``.

    `pandas.read_hdf` opens it, and so does DeepLabCut.

    Parameters
    ----------
    path : path
        The .h5 file, written whole or not at all.
    table : Table
        Rows named by text.
    level_names : sequence of str
        What the levels of the columns are called, such as scorer, bodyparts and coords.
    """
    if not table.rows or not table.columns:
        raise ValueError(f"{path}: a table without rows or columns cannot be saved.")
    with hdf5.write_hdf5(path) as file:
        _attributes(file, CLASS="GROUP", PYTABLES_FORMAT_VERSION="2.1", TITLE="", VERSION="1.0")
        group = file.create_group("df_with_missing")
        _attributes(group, CLASS="GROUP", TITLE="", VERSION="1.0", encoding="UTF-8")
        _attributes(group, errors="strict", pandas_type="frame", pandas_version="0.15.2")
        group.attrs["ndim"] = 2
        group.attrs["nblocks"] = 1
        _save_axis(group, "axis0", table.columns, level_names)
        _save_axis(group, "axis1", table.rows, [None] * len(table.rows[0]))
        _save_axis(group, "block0_items", table.columns, level_names)
        _save_array(group, "block0_values", table.values)


def _save_axis(group, key, names, level_names):
    """Write the names along an axis, level by level."""
    _attributes(group, **{f"{key}_variety": "multi"})
    group.attrs[f"{key}_nlevels"] = len(level_names)
    for k, level_name in enumerate(level_names):
        level = sorted({name[k] for name in names})
        place = {entry: i for i, entry in enumerate(level)}
        codes = [place[name[k]] for name in names]
        small = next(dtype for dtype in ("i1", "i2", "i4") if len(level) <= np.iinfo(dtype).max)
        entries = np.array([entry.encode("utf-8") for entry in level])
        node = _save_array(group, f"{key}_level{k}", entries)
        _attributes(node, kind="string", nan_rep="")
        if level_name is not None:
            _attributes(node, name=level_name)
        _save_array(group, f"{key}_label{k}", np.array(codes, small))


def _save_array(group, key, array):
    """Write an array as PyTables would."""
    node = group.create_dataset(key, data=array)
    _attributes(node, CLASS="ARRAY", FLAVOR="numpy", TITLE="", VERSION="2.4")
    node.attrs["transposed"] = np.uint8(1)
    return node


def _attributes(node, **attributes):
    """Write text attributes as PyTables wants them: UTF-8 of fixed length."""
    for name, value in attributes.items():
        data = value.encode("utf-8")
        if data:
            node.attrs.create(name, data, dtype=h5py.string_dtype("utf-8", len(data)))
        else:
            node.attrs[name] = h5py.Empty("S1")
