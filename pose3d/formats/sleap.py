"""SLEAP's exports: analysis files of 2D tracks, and sleap-anipose's 3D points.

SLEAP writes MATLAB's order of axes (track, xy, node, frame); newer exports may write another and
name it in the attribute ``dims``. Points that a person placed have no score: their likelihood is 1.
"""

import json
import logging
import os
import warnings
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from calibration.errors import DataError, DataWarning
from pose3d.formats import hdf5
from pose3d.keypoints import Keypoints2D
from pose3d.skeleton import Skeleton

logger = logging.getLogger(__name__)

_MATLAB = ("track", "xy", "node", "frame")
_UNTRANSPOSED = ("frame", "node", "xy", "track")


def load_analysis(path: str | os.PathLike, *, camera: str, fps: float) -> Keypoints2D:
    """Load the tracks of one video.

    Parameters
    ----------
    path : path
        The analysis .h5.
    camera : str
        The camera that took the video.
    fps : float
        Frames per second of the video, which the file does not tell.

    Returns
    -------
    Keypoints2D
        One camera; the individuals are the tracks. Scores above 1, which SLEAP's networks give,
        count as 1.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If it is no analysis file, is cut short or is damaged.
    """
    if not fps > 0:
        raise ValueError(f"fps is {fps}; expected frames per second above 0.")
    with hdf5.open_hdf5(path, "SLEAP analysis") as file:
        nodes = hdf5.read_names(file, "node_names")
        tracks = hdf5.read_texts(file, "track_names") if "track_names" in file else []
        dims = _dims(file)
        order = tuple(dims.index(axis) for axis in ("frame", "track", "node", "xy"))
        stored = hdf5.read_array(file, "tracks", "f")
        if stored.ndim != 4:
            raise _no_analysis(path, stored.shape, dims, nodes, tracks)
        xy = stored.transpose(order)
        tracks = tracks or [f"track_{i}" for i in range(xy.shape[1])]
        if xy.shape[1:] != (len(tracks), len(nodes), 2):
            raise _no_analysis(path, stored.shape, dims, nodes, tracks)
        seen = np.isfinite(xy).all(axis=-1)
        likelihood = seen.astype(float)
        if "point_scores" in file:
            scores = hdf5.read_array(file, "point_scores", "f")
            left = [axis for axis in dims if axis != "xy"]
            if scores.shape != tuple(stored.shape[dims.index(axis)] for axis in left):
                raise DataError(f"{path}: point_scores has shape {scores.shape}, not the tracks'.")
            scores = scores.transpose([left.index(axis) for axis in ("frame", "track", "node")])
            likelihood = np.where(seen, np.where(np.isnan(scores), 1.0, scores), 0.0)
    beyond = (likelihood < 0) | (likelihood > 1)
    if beyond.any():
        logger.info("%s: %d scores outside 0 to 1 are cut off there", path, beyond.sum())
    try:
        return Keypoints2D(
            xy=np.where(seen[..., np.newaxis], xy, np.nan)[np.newaxis],
            likelihood=np.clip(likelihood, 0, 1)[np.newaxis],
            cameras=(camera,),
            individuals=tuple(tracks),
            keypoints=nodes,
            times=np.arange(len(xy)) / fps,
        )
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None


def load_analyses(paths: Mapping[str, str | os.PathLike], *, fps: float) -> Keypoints2D:
    """Load the tracks of synchronous videos, one analysis file per camera.

    Parameters
    ----------
    paths : mapping of str to path
        Analysis file of each camera.
    fps : float
        Frames per second of the videos.

    Returns
    -------
    Keypoints2D
        All cameras, keypoints in the first file's order; NaN where a file is shorter than the
        longest, which a `DataWarning` tells.

    Raises
    ------
    DataError
        If the files differ in keypoints or in tracks.
    """
    parts = {camera: load_analysis(path, camera=camera, fps=fps) for camera, path in paths.items()}
    if not parts:
        raise ValueError("paths is empty; expected one analysis file per camera.")
    first_camera, first = next(iter(parts.items()))
    for camera, part in parts.items():
        for what in ("keypoints", "individuals"):
            if set(getattr(part, what)) != set(getattr(first, what)):
                raise DataError(
                    f"Cameras {first_camera!r} and {camera!r} differ in {what}: "
                    f"{', '.join(getattr(first, what))} and {', '.join(getattr(part, what))} "
                    f"({paths[first_camera]}, {paths[camera]}). Name them alike in SLEAP."
                )
    lengths = {camera: part.n_frames for camera, part in parts.items()}
    n_frames = max(lengths.values())
    if min(lengths.values()) < n_frames:
        told = ", ".join(f"{camera} {length}" for camera, length in lengths.items())
        warnings.warn(
            f"The tracks differ in length ({told} frames); the shorter ones end in NaN.",
            DataWarning,
            stacklevel=2,
        )
    shape = (len(parts), n_frames, len(first.individuals), len(first.keypoints))
    xy, likelihood = np.full((*shape, 2), np.nan), np.zeros(shape)
    for i, part in enumerate(parts.values()):
        animals = [part.individuals.index(name) for name in first.individuals]
        keypoints = [part.keypoints.index(name) for name in first.keypoints]
        xy[i, : part.n_frames] = part.xy[0][:, animals][:, :, keypoints]
        likelihood[i, : part.n_frames] = part.likelihood[0][:, animals][:, :, keypoints]
    times = np.arange(n_frames) / fps
    return Keypoints2D(xy, likelihood, tuple(parts), first.individuals, first.keypoints, times)


def load_skeleton(path: str | os.PathLike) -> Skeleton:
    """Load the keypoints and edges of an analysis file; older ones have no edges."""
    with hdf5.open_hdf5(path, "SLEAP analysis") as file:
        nodes = hdf5.read_names(file, "node_names")
        edges = hdf5.read_array(file, "edge_inds", "iu") if "edge_inds" in file else ()
    try:
        return Skeleton(nodes, [(nodes[a], nodes[b]) for a, b in edges if a >= 0 and b >= 0])
    except (IndexError, TypeError, ValueError) as error:
        raise DataError(f"{path}: edge_inds joins what cannot be joined ({error}).") from None


def load_points3d(path: str | os.PathLike) -> np.ndarray:
    """Load the 3D points that sleap-anipose triangulated.

    Parameters
    ----------
    path : path
        Its ``points3d.h5``.

    Returns
    -------
    ndarray of shape (n_frames, n_tracks, n_nodes, 3)
        World points in the unit of the board that calibrated the cameras; NaN where there is
        none. The file names neither tracks nor nodes: they are those of the 2D analysis.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If it holds no such points.
    """
    with hdf5.open_hdf5(path, "sleap-anipose's 3D points") as file:
        points = hdf5.read_array(file, "tracks", "f")
    if points.ndim != 4 or points.shape[-1] != 3:
        raise DataError(
            f"{path}: tracks has shape {points.shape}; expected (n_frames, n_tracks, n_nodes, 3)."
        )
    return points.astype(float)


def _dims(file: h5py.File) -> tuple[str, ...]:
    """Find the order of the axes of the tracks as they are stored."""
    text = hdf5.read_attribute(hdf5.get_dataset(file, "tracks"), "dims")
    if text:
        try:
            dims = tuple(json.loads(text))
        except (ValueError, TypeError):
            dims = ()
        if sorted(map(str, dims)) != sorted(_MATLAB):
            raise DataError(f"{file.filename}: the axes of tracks are {text}; that is not known.")
        return dims
    transposed = hdf5.read_attribute(file, "transpose") or "True"
    return _MATLAB if transposed.casefold() in ("true", "1") else _UNTRANSPOSED


def _no_analysis(path, shape, dims, nodes, tracks):
    """Say that the shape of the tracks cannot be."""
    return DataError(
        f"{Path(path)}: tracks has shape {shape}; expected {', '.join(dims)} with 2 coordinates, "
        f"{len(nodes)} nodes and {len(tracks)} tracks. Export the analysis again from SLEAP."
    )
