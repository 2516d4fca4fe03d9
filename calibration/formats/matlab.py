"""MATLAB's level 5 ``.mat`` files, the part that calibrations use, read within bounds.

``scipy.io.loadmat`` reads outside its memory when a file is damaged (a changed byte ended the
whole program) and unpacks whatever size a file asks for, so files of others are read here: numbers,
text, cells and structs. Format: MathWorks, "MAT-File Format", level 5.
"""

import math
import struct
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from calibration.errors import DataError
from calibration.formats.reading import read_bounded

#: Bytes that one variable may unpack to: cameras take thousands.
_MAX_UNPACKED = 20_000_000
_MAX_DEPTH = 12
_TAG = 8
_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
}  # fmt: skip
_TEXTS = {1: "latin-1", 2: "utf-8", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_CELL, _STRUCT, _CHAR, _NUMERIC = 1, 2, 4, range(6, 16)


class _Broken(ValueError):
    """What stands in the file cannot be."""


def read_mat(path: Path, names: Collection[str]) -> dict[str, Any]:
    """Read some variables of a .mat file.

    Parameters
    ----------
    path : path
        The file.
    names : collection of str
        The variables wanted; others are skipped unread.

    Returns
    -------
    dict
        Of those that are there: an array of float64 for numbers, a str for a row of text, a flat
        list for cells, a flat list of dicts for structs, None for what is none of these.

    Raises
    ------
    FileNotFoundError, DataError
        If there is no such file, or it is cut short, too large, or of another version.
    """
    data = read_bounded(path)
    if data[:4] == b"\x89HDF" or data[:20].startswith(b"MATLAB 7.3"):
        raise DataError(f"{path} is of MATLAB's version 7.3. Save it in MATLAB with -v7.")
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if len(data) < 136 or order is None:
        raise DataError(
            f"{path} is no MATLAB file, or was cut short in its head. Save it in MATLAB with -v7."
        )
    found: dict[str, Any] = {}
    at = 128
    try:
        while at < len(data):
            kind, body, at = _element(data, at, order)
            if kind == _COMPRESSED:
                # the name stands within the first bytes: the rest is unpacked where it is wanted
                kind, body = _unpacked(body, order, names)
            if kind != _MATRIX or body is None:
                continue
            name = _head(body, order)[2]
            if name in names:
                found[name] = _value(body, order, 0)
    except (_Broken, struct.error, zlib.error, UnicodeDecodeError, RecursionError) as error:
        raise DataError(
            f"{path} cannot be read as a MATLAB file ({error}): it was cut short or changed. Save "
            "it in MATLAB again, with -v7."
        ) from None
    return found


def _element(data, at, order):
    """Return kind and bytes of the element at a place, and where the next one is."""
    if at + _TAG > len(data):
        raise _Broken("it ends in the head of a value")
    first, size = struct.unpack_from(f"{order}II", data, at)
    if first >> 16:  # a small one: kind, size and four bytes of data in one
        kind, size = first & 0xFFFF, first >> 16
        if size > 4:
            raise _Broken(f"a small value of {size} bytes")
        return kind, data[at + 4 : at + 4 + size], at + _TAG
    start, stop = at + _TAG, at + _TAG + size
    if stop > len(data):
        raise _Broken(f"a value of {size} bytes where {len(data) - start} are left")
    return first, data[start:stop], stop if first == _COMPRESSED else stop + -size % 8


def _unpacked(body, order, names):
    """Unpack a compressed variable, if it is wanted and within bounds."""
    start = zlib.decompressobj().decompress(body, 4096)
    if len(start) < _TAG:
        raise _Broken("a compressed value that ends in its head")
    kind, size = struct.unpack_from(f"{order}II", start)
    if kind != _MATRIX or _head(start[_TAG:], order)[2] not in names:
        return kind, None
    if size > _MAX_UNPACKED:
        raise _Broken(f"a value of {size} bytes, more than any camera's")
    whole = zlib.decompressobj().decompress(body, _TAG + size)
    if len(whole) < _TAG + size:
        raise _Broken("a compressed value that ends before its end")
    return kind, whole[_TAG:]


def _head(body, order):
    """Return class, number of entries by axis, name, and where the content of a value starts."""
    _, flags, at = _element(body, 0, order)
    kind, dims, at = _element(body, at, order)
    _, name, at = _element(body, at, order)
    if len(flags) < 4 or kind != 5 or len(dims) % 4:
        raise _Broken("a value without its class or size")
    shape = struct.unpack(f"{order}{len(dims) // 4}i", dims)
    if not 1 <= len(shape) <= 8 or min(shape) < 0:
        raise _Broken(f"a value of size {shape}")
    return struct.unpack_from(f"{order}I", flags)[0], shape, name.decode("utf-8"), at


def _value(body, order, depth):
    """Make a value of the bytes of a matrix."""
    if not body:
        return np.zeros((0, 0))
    if depth > _MAX_DEPTH:
        raise _Broken("values within values, too deep")
    flags, shape, _, at = _head(body, order)
    of, size = flags & 0xFF, math.prod(shape)
    if of == _CELL:
        return _children(body, at, order, depth, size)
    if of == _STRUCT:
        _, length, at = _element(body, at, order)
        _, text, at = _element(body, at, order)
        step = struct.unpack(f"{order}i", length)[0] if len(length) == 4 else 0
        if step < 1 or len(text) % step:
            raise _Broken("a struct without the names of its fields")
        parts = [text[i : i + step] for i in range(0, len(text), step)]
        keys = [part.split(b"\0")[0].decode("utf-8") for part in parts]
        values = _children(body, at, order, depth, size * len(keys))
        rows = [values[i : i + len(keys)] for i in range(0, len(values), max(len(keys), 1))]
        return [dict(zip(keys, row, strict=True)) for row in rows]
    if of != _CHAR and of not in _NUMERIC:
        return None  # sparse, objects, functions: no camera's
    kind, content, _ = _element(body, at, order)
    if of == _CHAR:
        if kind not in _TEXTS:
            raise _Broken(f"text of kind {kind}")
        ends = "" if _TEXTS[kind] in ("latin-1", "utf-8") else {"<": "-le", ">": "-be"}[order]
        return content.decode(_TEXTS[kind] + ends)
    if kind not in _NUMBERS:
        raise _Broken(f"numbers of kind {kind}")
    dtype = np.dtype(order + _NUMBERS[kind])
    if len(content) != size * dtype.itemsize:
        raise _Broken(f"{len(content)} bytes of numbers for the size {shape}")
    return np.frombuffer(content, dtype).astype(np.float64).reshape(shape, order="F")


def _children(body, at, order, depth, count):
    """Read so many values, one after the other."""
    if count * _TAG > len(body):
        raise _Broken(f"{count} values in {len(body)} bytes")
    values = []
    for _ in range(count):
        kind, inner, at = _element(body, at, order)
        if kind != _MATRIX:
            raise _Broken(f"a value of kind {kind} among cells or fields")
        values.append(_value(inner, order, depth + 1))
    return values
