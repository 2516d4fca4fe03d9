"""Keypoints in HDF5: one dataset per field of the noun, and where the file came from.

``keypoints-2d/<recording>.h5`` holds `Keypoints2D`, ``keypoints-3d/<recording>.h5`` `Keypoints3D`.
Datasets bear the names of the fields, their attribute ``axes`` names the axes, names are UTF-8,
and the root has the attributes ``format``, ``format_version`` and ``origin`` (JSON).
"""

import json
import os
from collections.abc import Mapping
from typing import Any

from calibration.errors import DataError
from pose3d.formats import hdf5
from pose3d.keypoints import Keypoints2D, Keypoints3D

VERSION = 1

_POINTS = "frame individual keypoint"

FIELDS_2D = {
    "xy": f"camera {_POINTS} coordinate",
    "likelihood": f"camera {_POINTS}",
    "times": "frame",
    "covariance": f"camera {_POINTS} coordinate coordinate",
    "image_sizes": "camera coordinate",
}

FIELDS_3D = {
    "xyz": f"{_POINTS} coordinate",
    "covariance": f"{_POINTS} coordinate coordinate",
    "reprojection_error": _POINTS,
    "view_errors": f"camera {_POINTS}",
    "used_views": f"camera {_POINTS}",
    "reason": _POINTS,
    "filled": _POINTS,
    "times": "frame",
    "rig_covariance": f"{_POINTS} coordinate coordinate",
}

NAMES = ("cameras", "individuals", "keypoints")
_OPTIONAL_2D = ("covariance", "image_sizes")
_OPTIONAL_3D = ("rig_covariance",)


def save_keypoints_2d(
    path: str | os.PathLike, keypoints: Keypoints2D, origin: Mapping[str, Any] | None = None
) -> None:
    """Save 2D keypoints, whole or not at all.

    Parameters
    ----------
    path : path
        The .h5 file to write.
    keypoints : Keypoints2D
        What to save.
    origin : mapping, optional
        Which step made it from what, see `calibration.files.provenance`.
    """
    _save(path, keypoints, "pose3d keypoints 2d", FIELDS_2D, origin)


def save_keypoints_3d(
    path: str | os.PathLike, keypoints: Keypoints3D, origin: Mapping[str, Any] | None = None
) -> None:
    """Save 3D keypoints, whole or not at all.

    Parameters
    ----------
    path : path
        The .h5 file to write.
    keypoints : Keypoints3D
        What to save.
    origin : mapping, optional
        Which step made it from what, see `calibration.files.provenance`.
    """
    _save(path, keypoints, "pose3d keypoints 3d", FIELDS_3D, origin)


def load_keypoints_2d(path: str | os.PathLike) -> Keypoints2D:
    """Load 2D keypoints.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If it holds something else, is cut short or is damaged.
    """
    with hdf5.open_hdf5(path, "2D keypoints") as file:
        check_format(file, "pose3d keypoints 2d")
        fields = {name: hdf5.read_names(file, name) for name in NAMES}
        for name in FIELDS_2D:
            if name in file or name not in _OPTIONAL_2D:
                fields[name] = hdf5.read_array(file, name)
    return build(path, Keypoints2D, fields)


def load_keypoints_3d(path: str | os.PathLike) -> Keypoints3D:
    """Load 3D keypoints.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If it holds something else, is cut short or is damaged.
    """
    with hdf5.open_hdf5(path, "3D keypoints") as file:
        check_format(file, "pose3d keypoints 3d")
        fields = {name: hdf5.read_names(file, name) for name in NAMES}
        for name in FIELDS_3D:
            if name in file or name not in _OPTIONAL_3D:
                fields[name] = hdf5.read_array(file, name)
        fields["units"] = hdf5.read_attribute(file, "units")
    return build(path, Keypoints3D, fields)


def read_origin(path: str | os.PathLike) -> dict[str, Any]:
    """Read which step made a keypoints file, with which arguments and from which inputs.

    Returns
    -------
    dict
        As `calibration.files.provenance` gave it; empty if the file was saved without.
    """
    with hdf5.open_hdf5(path, "keypoints") as file:
        check_format(file, None)
        text = hdf5.read_attribute(file, "origin")
    try:
        origin = json.loads(text or "{}")
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: its origin is no JSON ({error}). Make the file again.") from None
    return origin if isinstance(origin, dict) else {}


def _save(path, keypoints, kind, fields, origin):
    """Write the fields of a noun."""
    with hdf5.write_hdf5(path) as file:
        file.attrs["format"] = kind
        file.attrs["format_version"] = VERSION
        file.attrs["origin"] = json.dumps(dict(origin or {}), ensure_ascii=False)
        if hasattr(keypoints, "units"):
            file.attrs["units"] = keypoints.units
        for name in NAMES:
            hdf5.write_names(file, name, getattr(keypoints, name))
        for name, axes in fields.items():
            array = getattr(keypoints, name)
            if array is not None:
                hdf5.write_array(file, name, array).attrs["axes"] = axes


def check_format(file, kind):
    """Refuse a file of another kind or of a later version."""
    found = hdf5.read_attribute(file, "format") or ""
    if not found.startswith("pose3d keypoints") or kind not in (None, found):
        raise DataError(
            f"{file.filename} holds {found or 'something else'}; expected "
            f"{kind or 'pose3d keypoints'}. analyze-recording and triangulate-recording make them."
        )
    version = hdf5.read_attribute(file, "format_version") or "0"
    if version != str(VERSION):
        raise DataError(
            f"{file.filename} has format version {version}; this program reads {VERSION}. "
            "Update pose3d, or make the file again."
        )


def build(path, noun, fields):
    """Make the noun, whose own checks catch what does not belong together."""
    try:
        return noun(**fields)
    except (TypeError, ValueError) as error:
        raise DataError(f"{path} holds keypoints that cannot be: {error}") from None
