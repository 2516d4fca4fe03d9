"""Moments of a recording: which frames of its videos were taken together."""

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from calibration.errors import DataError, DataWarning
from calibration.recordings import Recording
from pose3d.labels import LabeledFrames

if TYPE_CHECKING:  # slow to import, and the command line starts with this module
    from pose3d.project import Project


@dataclass(frozen=True, eq=False)
class Moments:
    """The moments of a recording.

    Attributes
    ----------
    times : ndarray of shape (n_moments,)
        Seconds since its start.
    frames : dict of str to ndarray of int of shape (n_moments,)
        Each camera's frame; -1 where it has none.
    """

    times: np.ndarray
    frames: dict[str, np.ndarray]


def recording_moments(take: Recording) -> Moments:
    """Match the frames of a recording's videos.

    Raises
    ------
    DataError
        If the recording has no videos, or one is not there.
    """
    from calibration.video import frame_times

    check_videos(take)
    times, frames = match_times({c: frame_times(v) for c, v in take.videos.items()}, take)
    return Moments(times, frames)


def check_videos(take: Recording) -> None:
    """Check that a recording has videos, and that they are there.

    Raises
    ------
    DataError
        Naming what is missing, and what to do.
    """
    if not take.videos:
        raise DataError(
            f"The recording {take.name!r} has no videos; it was imported without. Add its "
            "videos with add-recording --overwrite."
        )
    for camera, path in take.videos.items():
        if not path.exists():
            raise DataError(
                f"The video of {camera!r}, {path}, is not there. Put it there, or say in "
                "config.yaml where it is (pose3d: recordings)."
            )


def match_times(
    times: dict[str, np.ndarray], take: Recording
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Say which frames of several videos were taken at the same moment.

    The camera with the most frames gives the moments; of each other camera the frame nearest in
    time belongs to it, if it is within half a frame.

    Parameters
    ----------
    times : dict of str to ndarray of shape (n_frames,)
        Times of each camera's frames, in seconds since its first.
    take : Recording
        Gives by how much each camera is late.

    Returns
    -------
    common : ndarray of shape (n_moments,)
        Times of the moments.
    places : dict of str to ndarray of int of shape (n_moments,)
        Each camera's frame at each moment; -1 where it has none. A `DataWarning` says so.
    """
    from pose3d.mosaic import match_frames

    clocks = {
        camera: times[camera] - offset
        for camera, offset in zip(take.cameras, take.offsets, strict=True)
    }
    leader = max(clocks, key=lambda camera: len(clocks[camera]))
    common = clocks[leader]
    places = {camera: match_frames(clock, common) for camera, clock in clocks.items()}
    without = []
    for camera, place in places.items():
        near = place >= 0
        if not near.all():
            without.append(
                f"{camera!r} has {len(clocks[camera])} frames and none at "
                f"{np.count_nonzero(~near)} of the {len(common)} moments (the first at "
                f"{common[~near][0]:.3f} s)"
            )
    if without:
        warnings.warn(
            f"The videos of {take.name!r} do not have the same moments, which are those of "
            f"{leader!r}: {'; '.join(without)}. Its keypoints are missing there. If the cameras "
            "were started apart, set the recording's offsets.",
            DataWarning,
            stacklevel=3,
        )
    return common, places


def applied_lateness(times, common, places, take):
    """Return the lateness that matching whole frames has taken into account, by camera."""
    applied = {}
    for camera, offset in zip(take.cameras, take.offsets, strict=True):
        there = places[camera] >= 0
        clock = times[camera][places[camera][there]] - offset
        left = float(np.median(clock - common[there])) if there.any() else 0.0
        # stamps are rounded: what is below a hundredth of a frame is none
        step = float(np.median(np.diff(common))) if len(common) > 1 else 0.0
        applied[camera] = float(offset) + (left if abs(left) > 0.01 * step else 0.0)
    return applied


def moment_numbers(project: "Project", labels: LabeledFrames) -> np.ndarray:
    """Tell which labelled images are of one moment, also where a camera is late.

    Parameters
    ----------
    project : Project
        Says by how much cameras are late.
    labels : LabeledFrames
        The labelled images.

    Returns
    -------
    ndarray of int of shape (n_images,)
        Frame numbers by the clock of cameras that are not late; an image's own where it cannot be
        told how many frames its camera is late.
    """
    from pose3d.labeling.moments import late_frames

    numbers = labels.frames.copy()
    recordings, cameras = np.array(labels.recordings), np.array(labels.cameras)
    for name in sorted(set(labels.recordings)):
        late, _ = late_frames(project.recordings.get(name), project.cameras)
        for camera, frames in late.items():
            numbers[(recordings == name) & (cameras == camera)] -= frames
    return numbers
