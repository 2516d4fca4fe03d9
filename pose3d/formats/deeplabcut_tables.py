"""Keypoints as DeepLabCut writes them: 2D predictions of one video, and 3D points."""

import os
from pathlib import Path

import numpy as np

from pose3d.formats.deeplabcut_csv import save_csv
from pose3d.formats.pytables import Table, save_table
from pose3d.keypoints import Keypoints2D, Keypoints3D


def save_predictions(path: str | os.PathLike, keypoints_2d: Keypoints2D, camera: str) -> None:
    """Save what one camera saw as DeepLabCut's predictions, .csv or .h5.

    Parameters
    ----------
    path : path
        The file to write; its ending decides.
    keypoints_2d : Keypoints2D
        The keypoints; a covariance does not fit in and stays behind.
    camera : str
        Which camera.
    """
    one = keypoints_2d.subset([camera])
    parts = np.concatenate([one.xy[0], one.likelihood[0][..., np.newaxis]], axis=-1)
    _save(path, one, parts, ("x", "y", "likelihood"))


def save_points3d(path: str | os.PathLike, keypoints_3d: Keypoints3D) -> None:
    """Save 3D points as DeepLabCut's, .csv or .h5: x, y, z of each keypoint.

    Parameters
    ----------
    path : path
        The file to write; its ending decides.
    keypoints_3d : Keypoints3D
        The points; unit, covariance, errors and reasons do not fit in and stay behind.
    """
    _save(path, keypoints_3d, keypoints_3d.xyz, ("x", "y", "z"))


def _save(path, noun, values, coordinates):
    """Write a table with a row for each frame."""
    several = len(noun.individuals) > 1
    columns = [
        ("pose3d", *((individual,) if several else ()), keypoint, coordinate)
        for individual in noun.individuals
        for keypoint in noun.keypoints
        for coordinate in coordinates
    ]
    levels = ["scorer", *(["individuals"] if several else []), "bodyparts", "coords"]
    rows = tuple((str(frame),) for frame in range(noun.n_frames))
    table = Table(rows, tuple(columns), values.reshape(noun.n_frames, -1))
    path = Path(path)
    if path.suffix.lower() == ".csv":
        save_csv(path, table, levels)
    else:
        save_table(path, table, levels)
