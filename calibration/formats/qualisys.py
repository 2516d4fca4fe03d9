"""Qualisys' ``.qca.txt``: XML, millimetres, sensor units of a 64th of a pixel; read only."""

import os
import re
from pathlib import Path
from xml.parsers import expat

import numpy as np

from calibration.cameras import CameraRig
from calibration.errors import DataError
from calibration.formats.reading import make_camera, make_lens, make_rig, read_text

#: Qualisys counts a pixel in 64 parts.
_PARTS = 64.0


def is_qualisys(path: Path) -> bool:
    """Tell whether a file is Qualisys'."""
    try:
        head = read_text(path)[:20000]
    except (DataError, OSError):
        return False
    return "<calibration" in head and "<camera " in head and "centerPointU" in head


def load_qualisys(path: str | os.PathLike) -> CameraRig:
    """Load the cameras of a Qualisys calibration.

    ``transform`` holds the camera's axes in the world, row by row, its y and z axes opposite to
    OpenCV's, and its position; lengths are millimetres.

    Raises
    ------
    FileNotFoundError, DataError
        If there is no such file, or it was cut short.
    """
    path = Path(path)
    text = read_text(path)
    found: list[dict] = []

    def start(tag, attributes):
        if tag == "camera":
            found.append({"camera": attributes})
        elif found and tag in ("transform", "intrinsic", "fov_video"):
            found[-1].setdefault(tag, attributes)

    def forbid(*_):
        raise DataError(f"{path} declares entities, which no calibration does. Export it again.")

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = forbid
    try:
        # some writers leave out the declaration's encoding or lie about it
        parser.Parse(re.sub(r"^<\?xml[^>]*\?>", "", text.strip()), True)
    except expat.ExpatError as error:
        raise DataError(f"{path} is no whole XML file ({error}). Export it again.") from None
    cameras = []
    for i, each in enumerate(found):
        name = each["camera"].get("serial") or f"cam_{i + 1}"
        missing = [tag for tag in ("transform", "intrinsic", "fov_video") if tag not in each]
        if missing:
            raise DataError(f"{path}, camera {name!r}: there is no {missing[0]}. Export it again.")
        try:
            inner = {key: float(value) for key, value in each["intrinsic"].items()}
            view = {key: float(value) for key, value in each["fov_video"].items()}
            outer = {key: float(value) for key, value in each["transform"].items()}
            size = (view["right"] - view["left"] + 1, view["bottom"] - view["top"] + 1)
            matrix = [
                [inner["focalLengthU"] / _PARTS, 0, inner["centerPointU"] / _PARTS - view["left"]],
                [0, inner["focalLengthV"] / _PARTS, inner["centerPointV"] / _PARTS - view["top"]],
                [0, 0, 1],
            ]
            dist = [
                inner["radialDistortion1"] / _PARTS,
                inner["radialDistortion2"] / _PARTS,
                inner["tangentalDistortion1"] / _PARTS,
                inner["tangentalDistortion2"] / _PARTS,
                inner["radialDistortion3"] / _PARTS,
            ]
            axes = np.array([[outer[f"r{i}{j}"] for j in (1, 2, 3)] for i in (1, 2, 3)])
            position = np.array([outer["x"], outer["y"], outer["z"]])
        except (KeyError, ValueError) as error:
            raise DataError(f"{path}, camera {name!r}: {error} is missing or no number.") from None
        lens = make_lens(path, name, matrix, dist, size, "brown")
        rotation = np.diag([1.0, -1.0, -1.0]) @ axes
        cameras.append(make_camera(path, name, lens, rotation, -rotation @ position))
    return make_rig(path, cameras, "mm")
