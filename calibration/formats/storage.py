"""OpenCV's FileStorage, YAML or XML, read without OpenCV.

``cv2.FileStorage`` writes outside its memory when a file is damaged (a changed byte ended the
whole program), so files of others are read here: matrices and plain values alone.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np

from calibration.errors import DataError
from calibration.formats.reading import PlainLoader, load_yaml, read_text

#: No file of a camera has a larger matrix than this (corners of a few hundred board pictures).
_MAX_ENTRIES = 200_000
_MAX_DEPTH = 20


def read_storage(path: Path) -> dict[str, Any]:
    """Read what lies in a file of FileStorage: matrices as arrays, values as they are.

    Parameters
    ----------
    path : path
        The .yaml, .yml or .xml file.

    Returns
    -------
    dict
        By name: an array of shape (rows, columns) for a matrix, a number, a text, or a list.

    Raises
    ------
    FileNotFoundError, DataError
        If there is no such file, it is cut short, or a matrix has not the entries it says.
    """
    text = read_text(path)
    found = _read_xml(path, text) if text.lstrip().startswith("<") else _read_yaml(path, text)
    return {name: _matrix(path, name, value) for name, value in found.items()}


class _Loader(PlainLoader):
    """YAML with OpenCV's matrices, which are mappings by another name."""


_Loader.add_constructor(
    "tag:yaml.org,2002:opencv-matrix",
    lambda loader, node: {"type_id": "opencv-matrix", **loader.construct_mapping(node, deep=True)},
)


def _read_yaml(path, text):
    # OpenCV's first line, %YAML:1.0, is none of YAML's
    lines = text.split("\n")
    if lines[0].startswith("%YAML"):
        lines[0] = ""
    return load_yaml(path, "\n".join(lines), _Loader)


def _read_xml(path, text):
    """Read XML into mappings, lists of words and words."""
    stack: list[tuple[str, dict, list]] = [("", {}, [])]

    def forbid(*_):
        raise DataError(f"{path} declares entities, which no calibration does. Export it again.")

    def start(tag, attributes):
        if len(stack) > _MAX_DEPTH:
            raise DataError(f"{path} is nested too deeply for a calibration. Export it again.")
        inner = {"type_id": attributes["type_id"]} if "type_id" in attributes else {}
        stack.append((tag, inner, []))

    def end(tag):
        name, inner, words = stack.pop()
        outer = stack[-1][1]
        if name in outer and name != "_":
            raise DataError(f"{path} has {name!r} twice. Export it again.")
        values = "".join(words).split()
        outer[name] = inner or (values[0] if len(values) == 1 else values)

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = lambda words: stack[-1][2].append(words)
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = forbid
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        raise DataError(f"{path} is no whole XML file ({error}). Export it again.") from None
    found = stack[0][1].get("opencv_storage")
    if not isinstance(found, dict):
        raise DataError(f"{path} holds no OpenCV storage. Give the calibration file itself.")
    return found


def _matrix(path, name, value):
    """Make an array of a matrix; leave anything else."""
    if not isinstance(value, Mapping) or value.get("type_id") != "opencv-matrix":
        return value
    try:
        rows, columns = int(value["rows"]), int(value["cols"])
        data = np.asarray(value["data"], dtype=np.float64).ravel()
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"{path}: the matrix {name!r} is not whole ({type(error).__name__}: {error}). Export "
            "the file again."
        ) from None
    channels = data.size // max(rows * columns, 1)
    whole = rows > 0 and columns > 0 and channels > 0 and data.size == rows * columns * channels
    if not whole or data.size > _MAX_ENTRIES:
        raise DataError(
            f"{path}: the matrix {name!r} is {rows} x {columns} and has {data.size} numbers. It "
            "was cut short or changed: export the file again."
        )
    return data.reshape(rows, columns * channels)
