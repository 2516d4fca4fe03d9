"""Detected boards in HDF5, so that a rig is solved again without searching the videos again."""

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


def _opened(path):
    """Open a file of detections, or say what it is instead."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no {path}. Make it with detect-boards.")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}). Make it again.") from None
    if file.attrs.get("format") != _FORMAT:
        file.close()
        raise DataError(f"{path} holds no detected boards. Make it with detect-boards.")
    return file


def load_detections(path: str | os.PathLike) -> BoardDetections:
    """Load detected boards.

    Raises
    ------
    FileNotFoundError, DataError
        If there is no such file or it holds something else.
    """
    with _opened(path) as file:
        board = json.loads(file.attrs["board"])
        kind = CharucoBoard if "marker_length" in board else Checkerboard
        return BoardDetections(
            file["corners"][:],
            tuple(file["cameras"].asstr()[:]),
            kind(**board),
            file["image_sizes"][:],
            file["frames"][:],
            tuple(file["sources"].asstr()[:]),
        )


def read_origin(path: str | os.PathLike) -> dict[str, Any]:
    """Read which step made the file, with which arguments and from which inputs."""
    with _opened(path) as file:
        return json.loads(file.attrs["origin"])
