"""Arrays by group and name in HDF5, with a checksum: weights, checkpoints, parts of results."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from calibration.errors import DataError
from pose3d.formats import hdf5

_FORMAT = "pose3d tensors"

#: Groups in groups that are read: Keras has three.
_DEEPEST = 8


def tensors_digest(groups: Mapping[str, Mapping[str, np.ndarray]]) -> str:
    """Return a digest of arrays by group and name that changes with any of their bits."""
    digest = hashlib.sha256()
    for group in sorted(groups):
        for name in sorted(groups[group]):
            array = np.ascontiguousarray(groups[group][name])
            digest.update(f"{group}\0{name}\0{array.dtype.str}\0{array.shape}\n".encode())
            digest.update(array.data)
    return digest.hexdigest()


def save_tensors(
    path: str | os.PathLike,
    groups: Mapping[str, Mapping[str, np.ndarray]],
    notes: Mapping[str, Any] | None = None,
) -> str:
    """Save arrays by group and name, whole or not at all.

    Parameters
    ----------
    path : path
        The .h5 file to write.
    groups : mapping of str to mapping of str to ndarray
        The arrays.
    notes : mapping, optional
        Anything that JSON knows, kept beside them.

    Returns
    -------
    str
        Digest of the arrays, which the file holds too.
    """
    digest = tensors_digest(groups)
    with hdf5.write_hdf5(path) as file:
        file.attrs["format"] = _FORMAT
        file.attrs["digest"] = digest
        file.attrs["notes"] = json.dumps(dict(notes or {}))
        for group, tensors in groups.items():
            node = file.create_group(group)
            for name, array in tensors.items():
                node.create_dataset(name, data=array)
    return digest


def load_tensors(
    path: str | os.PathLike, what: str = "network weights"
) -> tuple[dict[str, dict[str, np.ndarray]], dict, str]:
    """Load what `save_tensors` saved, and check that not a bit has changed.

    Parameters
    ----------
    path : path
        The file.
    what : str
        What it should be, for messages.

    Returns
    -------
    groups : dict of str to dict of str to ndarray
        The arrays.
    notes : dict
        What was kept beside them.
    digest : str
        Digest of the arrays.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If it holds something else, is cut short or is damaged.
    """
    path = Path(path)
    with hdf5.open_hdf5(path, what) as file:
        if hdf5.read_attribute(file, "format") != _FORMAT:
            raise DataError(f"{path} holds no {what} of pose3d. Make them again.")
        groups = {group: read_tensors(hdf5.get_group(file, group)) for group in file}
        stored = hdf5.read_attribute(file, "digest")
        notes = hdf5.read_attribute(file, "notes")
    digest = tensors_digest(groups)
    if digest != stored:
        raise DataError(
            f"{path} is damaged: its contents do not match their checksum. Restore it from a "
            "copy, or make it again."
        )
    try:
        return groups, json.loads(notes or "{}"), digest
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: its notes are no JSON ({error}).") from None


def read_tensors(group: h5py.Group, prefix: str = "") -> dict[str, np.ndarray]:
    """Read all arrays below a group by their path; links are not followed."""
    if prefix.count("/") > _DEEPEST:  # a group can lie in itself
        raise DataError(f"{group.file.filename}: {group.name} lies deeper than weights do.")
    tensors = {}
    for name in group:
        hard = isinstance(group.get(name, getlink=True), h5py.HardLink)
        if hard and isinstance(group[name], h5py.Group):
            tensors |= read_tensors(hdf5.get_group(group, name), f"{prefix}{name}/")
        else:
            tensors[prefix + name] = hdf5.read_array(group, name)
    return tensors
