"""Detected boards in HDF5, so that a rig is solved again without searching the videos again."""

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import h5py

from calibration.boards import BoardDetections, CharucoBoard, Checkerboard
from calibration.errors import DataError
from calibration.files import atomic_path

_FORMAT = "pose3d board detections"


def save_detections(
    detections: BoardDetections, path: str | os.PathLike, origin: Mapping[str, Any] | None = None
) -> None:
    """Save detected boards, whole or not at all.

    Parameters
    ----------
    detections : BoardDetections
        What to save.
    path : path
        The .h5 file to write.
    origin : mapping, optional
        Which step made it from what, see `calibration.files.provenance`.
    """
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["format"] = _FORMAT
        file.attrs["board"] = json.dumps(asdict(detections.board))
        file.attrs["origin"] = json.dumps(dict(origin or {}))
        file.create_dataset("corners", data=detections.corners, compression="gzip")
        file["image_sizes"] = detections.image_sizes
        file["frames"] = detections.frames
        text = h5py.string_dtype()
        file.create_dataset("cameras", data=list(detections.cameras), dtype=text)
        file.create_dataset("sources", data=list(detections.sources), dtype=text)


@contextlib.contextmanager
def _opened(path):
    """Open a file of detections, or say what it is instead."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no {path}. Make it with detect-boards.")
    try:
        with h5py.File(path, "r", locking=False) as file:
            if file.attrs.get("format") != _FORMAT:
                raise DataError(f"{path} holds no detected boards. Make some with detect-boards.")
            yield file
    except DataError:
        raise
    except (OSError, RuntimeError, LookupError, TypeError, ValueError, MemoryError) as error:
        # h5py meets damage with any of these
        raise DataError(
            f"{path} cannot be read as detected boards ({error}). Remove it and run detect-boards "
            "again."
        ) from None


def _read(file, name):
    """Read a dataset that lies in this file and is not larger than the file can hold."""
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise KeyError(f"{name!r} is missing, or a link to another file")
    dataset = file[name]
    declared = dataset.size * dataset.dtype.itemsize
    # deflate shrinks by a factor of 1032 at most
    if dataset.is_virtual or dataset.external:
        raise ValueError(f"{name!r} keeps its data in another file")
    if declared > (1 << 20) + 1100 * dataset.id.get_storage_size():
        raise ValueError(f"{name!r} declares {declared:,} bytes that are not there")
    return dataset.asstr()[:] if h5py.check_string_dtype(dataset.dtype) else dataset[:]


def load_detections(path: str | os.PathLike) -> BoardDetections:
    """Load detected boards.

    Raises
    ------
    FileNotFoundError, DataError
        If there is no such file, it holds something else or is damaged.
    """
    with _opened(path) as file:
        board = json.loads(file.attrs["board"])
        kind = CharucoBoard if "marker_length" in board else Checkerboard
        return BoardDetections(
            _read(file, "corners"),
            tuple(_read(file, "cameras")),
            kind(**board),
            _read(file, "image_sizes"),
            _read(file, "frames"),
            tuple(_read(file, "sources")),
        )


def read_origin(path: str | os.PathLike) -> dict[str, Any]:
    """Read which step made the file, with which arguments and from which inputs."""
    with _opened(path) as file:
        return json.loads(file.attrs["origin"])
