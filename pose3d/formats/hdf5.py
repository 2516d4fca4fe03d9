"""HDF5 files, read without trust: no pickle, no links that leave the file, no invented sizes."""

import contextlib
import io
import math
import os
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from calibration.arrays import name_tuple
from calibration.errors import DataError
from calibration.files import atomic_path

#: Deflate shrinks by a factor of 1032 at most; a file that declares more holds nothing.
_MOST_SHRUNK = 1100

#: Arrays below this many bytes are not worth the argument.
_SMALL = 1 << 20


@contextlib.contextmanager
def open_hdf5(path: str | os.PathLike, what: str) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading, or say why it cannot be read.

    Parameters
    ----------
    path : path
        The file.
    what : str
        What it should be, for messages, such as "labels" or "2D keypoints".

    Yields
    ------
    h5py.File
        Open for reading. What goes wrong with HDF5 inside the block is a `DataError` too.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If it is no HDF5 file, is cut short or is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No {what} at {path}: there is no such file.")
    try:
        # files here are replaced whole, never changed in place: readers need no lock
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except DataError:
        raise
    except (OSError, RuntimeError, LookupError, TypeError, ValueError, MemoryError) as error:
        # h5py meets damage with any of these
        reason = str(error).strip("'\"")
        raise DataError(
            f"{path} cannot be read as {what} ({reason}). The file is no HDF5 file, is cut short "
            "or is damaged: restore it from a copy or make it again."
        ) from None


class _PatientFile(io.FileIO):
    """A file that remembers a failed write instead of raising.

    The HDF5 library crashes the process (h5py 3.14: segmentation fault) when the disk is full
    while it closes a file; so it is told that all went well, and the error is raised afterwards.
    """

    error: OSError | None = None

    def write(self, data) -> int:
        """Write what can be written and report all of it as written."""
        try:
            return super().write(data)
        except OSError as error:
            self.error = self.error or error
            return len(data)

    def truncate(self, size=None) -> int:
        """Set the length of the file, if that can be done."""
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0


@contextlib.contextmanager
def write_hdf5(path: str | os.PathLike) -> Iterator[h5py.File]:
    """Give an empty HDF5 file that takes its name when the block ends well."""
    path = Path(path)
    try:
        with atomic_path(path) as temporary, _PatientFile(temporary, "w+") as patient:
            with h5py.File(patient, "w") as file:
                yield file
            if patient.error:
                raise patient.error
    except OSError as error:
        raise OSError(
            error.errno,
            f"{path} could not be written ({error.strerror or error}). Check that the disk has "
            "room and that you may write there; the file that was there, if any, is untouched",
        ) from error


def write_array(group: h5py.Group, name: str, array: np.ndarray) -> h5py.Dataset:
    """Write an array; larger ones are compressed and carry checksums."""
    array = np.asarray(array)
    if array.nbytes < _SMALL // 16:
        return group.create_dataset(name, data=array)
    return group.create_dataset(
        name, data=array, compression="gzip", compression_opts=1, shuffle=True, fletcher32=True
    )


def write_names(group: h5py.Group, name: str, names: tuple[str, ...]) -> h5py.Dataset:
    """Write names as variable-length UTF-8."""
    return group.create_dataset(name, data=list(names), dtype=h5py.string_dtype("utf-8"))


def get_dataset(group: h5py.Group, name: str) -> h5py.Dataset:
    """Find a dataset that lies in this very file and is as large as it says.

    Raises
    ------
    DataError
        If it is absent, a link, stored elsewhere, or declares more than the file can hold.
    """
    path = group.file.filename
    node = _get_node(group, name)
    if not isinstance(node, h5py.Dataset):
        raise DataError(f"{path}: {name!r} should be a dataset and is a group.")
    if node.is_virtual or node.external:
        raise DataError(
            f"{path}: dataset {name!r} keeps its data in another file, which is not followed. "
            "Copy the data into this file."
        )
    declared = math.prod(node.shape or ()) * node.dtype.itemsize
    stored = node.id.get_storage_size()
    if declared > _SMALL + _MOST_SHRUNK * stored:
        raise DataError(
            f"{path}: dataset {name!r} declares {declared:,} bytes and stores {stored:,}; "
            "no honest file shrinks that far. Make the file again."
        )
    return node


def get_group(group: h5py.Group, name: str) -> h5py.Group:
    """Find a group that lies in this very file."""
    node = _get_node(group, name)
    if not isinstance(node, h5py.Group):
        raise DataError(f"{group.file.filename}: {name!r} should be a group and is a dataset.")
    return node


def is_group(group: h5py.Group, name: str) -> bool:
    """Tell whether a name stands for a group that lies in this very file."""
    link = group.get(name, getlink=True)
    return isinstance(link, h5py.HardLink) and isinstance(group[name], h5py.Group)


def _get_node(group, name):
    """Find what a hard link leads to."""
    path = group.file.filename
    link = group.get(name, getlink=True)
    if link is None:
        held = ", ".join(sorted(group)) or "nothing"
        raise DataError(f"{path} has no {name!r} in {group.name}; it holds {held}.")
    if not isinstance(link, h5py.HardLink):
        raise DataError(
            f"{path}: {name!r} is a link, which is not followed. Store the data itself."
        )
    return group[name]


def read_array(group: h5py.Group, name: str, kinds: str = "fiub") -> np.ndarray:
    """Read an array of numbers.

    Parameters
    ----------
    group : h5py.Group
        Where it lies.
    name : str
        Name of the dataset.
    kinds : str
        NumPy's letters for the kinds of number that are welcome.
    """
    dataset = get_dataset(group, name)
    if dataset.dtype.kind not in kinds:
        raise DataError(
            f"{group.file.filename}: dataset {name!r} holds {dataset.dtype}; expected numbers."
        )
    return dataset[()]


def read_texts(group: h5py.Group, name: str) -> list[str]:
    """Read a list of text, of fixed or variable length."""
    dataset = get_dataset(group, name)
    path = group.file.filename
    if h5py.check_string_dtype(dataset.dtype) is None or dataset.ndim != 1:
        raise DataError(
            f"{path}: dataset {name!r} holds {dataset.dtype} of shape {dataset.shape}; "
            "expected a list of text."
        )
    try:
        return [entry.decode("utf-8") for entry in dataset[()]]
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: dataset {name!r} is no UTF-8 text ({error}).") from None


def read_names(group: h5py.Group, name: str) -> tuple[str, ...]:
    """Read names, which are distinct."""
    try:
        return name_tuple(name, read_texts(group, name))
    except DataError:
        raise
    except ValueError as error:
        raise DataError(f"{group.file.filename}: {error}") from None


def read_attribute(node: h5py.Group | h5py.Dataset, name: str) -> str | None:
    """Read an attribute as text; None where there is none.

    Bytes become characters one by one if they are no UTF-8, so nothing is lost or refused.
    """
    if name not in node.attrs:
        return None
    size = node.attrs.get_id(name).get_storage_size()
    if size > 1 << 24:
        raise DataError(
            f"{node.file.filename}: attribute {name!r} of {node.name} has {size:,} bytes; "
            "expected a name or a few."
        )
    value = node.attrs[name]
    if isinstance(value, h5py.Empty):
        return ""
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return value.decode("latin1")
    return str(value)
