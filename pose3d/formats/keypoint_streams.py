"""Keypoints files read and written some frames at a time, so that memory stays flat."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from pose3d.formats import hdf5
from pose3d.formats.keypoints import FIELDS_2D, FIELDS_3D, NAMES, VERSION, build, check_format
from pose3d.keypoints import Keypoints2D, Keypoints3D

#: Frames that are compressed together.
_CHUNK = 512


class Frames2D:
    """A file of 2D keypoints, open for reading.

    Attributes
    ----------
    cameras, individuals, keypoints : tuple of str
        Names.
    times : ndarray of shape (n_frames,)
        Seconds.
    """

    def __init__(self, path, file):
        self._path, self._file = path, file
        check_format(file, "pose3d keypoints 2d")
        self._names = {name: hdf5.read_names(file, name) for name in NAMES}
        self.times = hdf5.read_array(file, "times")
        self._sizes = hdf5.read_array(file, "image_sizes") if "image_sizes" in file else None
        self._data = {
            name: hdf5.get_dataset(file, name)
            for name in FIELDS_2D
            if name in file and name not in ("times", "image_sizes")
        }
        for name in NAMES:
            setattr(self, name, self._names[name])

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return len(self.times)

    @property
    def n_points(self) -> int:
        """Image points of one frame, in all cameras."""
        return len(self.cameras) * len(self.individuals) * len(self.keypoints)

    def read(self, frames: slice, cameras: list[str] | None = None) -> Keypoints2D:
        """Return some of the frames."""
        fields = dict(self._names)
        fields |= {name: data[:, frames] for name, data in self._data.items()}
        fields["times"] = self.times[frames]
        if self._sizes is not None:
            fields["image_sizes"] = self._sizes
        found = build(self._path, Keypoints2D, fields)
        return found if cameras is None else found.subset(cameras)


@contextlib.contextmanager
def open_frames_2d(path: str | os.PathLike) -> Iterator[Frames2D]:
    """Open a file of 2D keypoints to be read some frames at a time.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If it holds something else, is cut short or is damaged.
    """
    with hdf5.open_hdf5(path, "2D keypoints") as file:
        yield Frames2D(path, file)


@contextlib.contextmanager
def write_frames_3d(
    path: str | os.PathLike, n_frames: int, origin: Mapping[str, Any] | None = None
) -> Iterator[Callable[[Keypoints3D], None]]:
    """Write a file of 3D keypoints some frames at a time, whole or not at all.

    Parameters
    ----------
    path : path
        The .h5 file to write.
    n_frames : int
        Frames that are to come.
    origin : mapping, optional
        Which step made it from what, see `calibration.files.provenance`.

    Yields
    ------
    callable
        Takes the next frames.
    """
    with hdf5.write_hdf5(path) as file:
        file.attrs["format"] = "pose3d keypoints 3d"
        file.attrs["format_version"] = VERSION
        file.attrs["origin"] = json.dumps(dict(origin or {}), ensure_ascii=False)
        written = 0

        def put(part: Keypoints3D) -> None:
            nonlocal written
            if not written:
                file.attrs["units"] = part.units
                for name in NAMES:
                    hdf5.write_names(file, name, getattr(part, name))
            for name, axes in FIELDS_3D.items():
                array = getattr(part, name)
                if array is None:
                    continue
                axis = axes.split().index("frame")
                if name not in file:
                    _create(file, name, array, axis, n_frames).attrs["axes"] = axes
                where = (slice(None),) * axis + (slice(written, written + part.n_frames),)
                file[name][where] = array
            written += part.n_frames

        yield put
        if written != n_frames:
            raise ValueError(f"{written} of {n_frames} frames were written to {path}.")


def _create(file, name, array, axis, n_frames):
    """Create a dataset for all frames, like the first ones."""
    shape = list(array.shape)
    shape[axis] = n_frames
    chunks = list(array.shape)
    chunks[axis] = max(1, min(_CHUNK, n_frames))
    return file.create_dataset(
        name,
        shape=tuple(shape),
        dtype=np.uint8 if array.dtype == np.uint8 else array.dtype,
        chunks=tuple(chunks),
        compression="gzip",
        compression_opts=1,
        shuffle=True,
        fletcher32=True,
    )
