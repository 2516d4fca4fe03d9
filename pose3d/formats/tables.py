"""Tables of 3D keypoints as CSV: one row a point, or Anipose's one row a frame.

Numbers are written in full, a missing one is an empty cell. The unit of length stands in the
column names of the long table; Anipose's layout has no place for it.
"""

import csv
import os

import numpy as np

from calibration.files import atomic_path
from pose3d.formats.trc import marker_names
from pose3d.keypoints import Keypoints3D, Missing

#: What Anipose says of each keypoint.
_ANIPOSE = ("x", "y", "z", "error", "ncams", "score")


def save_long_csv(path: str | os.PathLike, keypoints_3d: Keypoints3D) -> None:
    """Save a table with one row for each frame, individual and keypoint.

    Columns are frame, time, individual, keypoint, the coordinates and their standard
    deviations with the unit in their names, the reprojection error in pixels, the number of
    views used, whether the point was filled in, and in words why it is missing.

    Parameters
    ----------
    path : path
        The .csv file to write.
    keypoints_3d : Keypoints3D
        The points.
    """
    units = keypoints_3d.units
    columns = [
        *("frame", "time_s", "individual", "keypoint"),
        *(f"{axis}_{units}" for axis in "xyz"),
        *(f"sd_{axis}_{units}" for axis in "xyz"),
        *("reprojection_error_px", "n_views", "filled", "missing"),
    ]
    reasons = {reason.value: reason.name.lower().replace("_", " ") for reason in Missing}
    reasons[Missing.PRESENT.value] = ""
    with np.errstate(invalid="ignore"):
        spread = np.sqrt(np.diagonal(keypoints_3d.covariance, axis1=-2, axis2=-1))
    numbers = np.concatenate(
        [keypoints_3d.xyz, spread, keypoints_3d.reprojection_error[..., np.newaxis]], axis=-1
    )
    n_views, filled = keypoints_3d.n_views, keypoints_3d.filled
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for frame, time in enumerate(keypoints_3d.times.tolist()):
            for i, individual in enumerate(keypoints_3d.individuals):
                place = (frame, i)
                writer.writerows(
                    [
                        frame,
                        time,
                        individual,
                        keypoint,
                        *_cells(values),
                        views,
                        int(inferred),
                        reasons[reason],
                    ]
                    for keypoint, values, views, inferred, reason in zip(
                        keypoints_3d.keypoints,
                        numbers[place].tolist(),
                        n_views[place].tolist(),
                        filled[place].tolist(),
                        keypoints_3d.reason[place].tolist(),
                        strict=True,
                    )
                )


def save_anipose_csv(
    path: str | os.PathLike, keypoints_3d: Keypoints3D, score: np.ndarray | None = None
) -> None:
    """Save a table as Anipose's ``pose-3d``: a row a frame, six columns a keypoint.

    Parameters
    ----------
    path : path
        The .csv file to write.
    keypoints_3d : Keypoints3D
        The points; of several individuals, each keypoint bears its individual's name too.
    score : ndarray of shape (n_frames, n_individuals, n_keypoints), optional
        Anipose's score, the smallest likelihood of the views that were used; 1 where a point
        is there unless given.
    """
    names = marker_names(keypoints_3d)
    n_frames = keypoints_3d.n_frames
    there = np.isfinite(keypoints_3d.xyz[..., 0])
    score = np.where(there, 1.0 if score is None else score, np.nan)
    n_views = np.where(there, keypoints_3d.n_views, np.nan)
    parts = [keypoints_3d.xyz, keypoints_3d.reprojection_error, n_views, score]
    parts = [part.reshape(n_frames, len(names), -1) for part in parts]
    rows = np.concatenate(parts, axis=-1).reshape(n_frames, -1)
    columns = [
        f"{name}_{what}" for name in names for what in ["x", "y", "z", "error", "ncams", "score"]
    ]
    # the world was not turned: Anipose writes here how it turned its own
    columns += [f"M_{i}{j}" for i in range(3) for j in range(3)]
    columns += [f"center_{i}" for i in range(3)] + ["fnum"]
    unturned = [*np.eye(3).ravel().tolist(), 0.0, 0.0, 0.0]
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for frame, row in enumerate(rows):
            writer.writerow([*_cells(row.tolist()), *unturned, frame])


def _cells(values):
    """Write what is missing as an empty cell."""
    return ["" if value != value else value for value in values]
