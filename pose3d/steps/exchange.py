"""Step: hand 3D keypoints to other programs."""

import os

import numpy as np

from calibration.results import Outcome
from pose3d.keypoints import Keypoints2D, Keypoints3D
from pose3d.steps.choice import most_refined

__all__ = ["export_keypoints"]

#: Ending of the file in each format.
ENDINGS = {
    "csv": ".csv",
    "anipose": ".anipose.csv",
    "trc": ".trc",
    "deeplabcut": ".deeplabcut.csv",
}


def export_keypoints(
    project: str | os.PathLike,
    recording: str,
    *,
    format: str = "csv",
    out: str | os.PathLike | None = None,
    overwrite: bool = False,
) -> Outcome:
    """Write the 3D keypoints of a recording for another program.

    Parameters
    ----------
    project : path
        The project's folder.
    recording : str
        Name of the recording.
    format : str
        csv is one row a point with its spread; anipose is Anipose's pose-3d table; trc is for
        OpenSim, y up; deeplabcut is its table of 3D points.
    out : path
        The file to write; exports/<recording> in the project unless told.
    overwrite : bool
        Write over a file that is there.
    """
    from calibration.files import checked_output
    from pose3d.formats.deeplabcut_tables import save_points3d
    from pose3d.formats.keypoints import load_keypoints_2d, load_keypoints_3d
    from pose3d.formats.tables import save_anipose_csv, save_long_csv
    from pose3d.formats.trc import save_trc
    from pose3d.project import Project

    if format not in ENDINGS:
        raise ValueError(f"format is {format!r}; expected one of {', '.join(ENDINGS)}.")
    project = Project.load(project)
    project.recording(recording)
    path = project.keypoints_3d_path(recording)
    source = most_refined(path, "refined")
    if source is None:
        raise FileNotFoundError(
            f"{path} is not there: {recording!r} has no 3D keypoints yet. Find them with "
            "triangulate-recording."
        )
    ending = ENDINGS[format]
    target = checked_output(
        out or project.path / "exports" / f"{recording}{ending}", [f".{ending.split('.')[-1]}"]
    )
    if target.exists() and not overwrite:
        raise FileExistsError(
            f"{target} is there already. Name another file (--out) or allow --overwrite."
        )
    found = load_keypoints_3d(source)
    if format == "csv":
        save_long_csv(target, found)
    elif format == "trc":
        save_trc(target, found)
    elif format == "deeplabcut":
        save_points3d(target, found)
    else:
        seen_path = project.keypoints_2d_path(recording)
        seen = load_keypoints_2d(seen_path) if seen_path.is_file() else None
        save_anipose_csv(target, found, None if seen is None else _score(seen, found))
    return Outcome(
        path=target,
        summary=f"{found.n_frames} frames of {recording!r} from {source.name}, in {found.units}.",
        figures={
            "n_frames": found.n_frames,
            "n_individuals": len(found.individuals),
            "n_keypoints": len(found.keypoints),
            "units": found.units,
        },
    )


def _score(seen: Keypoints2D, found: Keypoints3D) -> np.ndarray | None:
    """Return the smallest likelihood of the used views; None if they are of other frames."""
    if not set(found.cameras) <= set(seen.cameras):
        return None
    likelihood = seen.subset(found.cameras).likelihood
    if likelihood.shape != found.used_views.shape:
        return None
    return np.where(found.used_views, likelihood, 1.0).min(axis=0)
