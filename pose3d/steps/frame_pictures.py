"""Moments of a recording as pictures to label: which there are, and how more are written."""

import warnings
from collections.abc import Iterable

import numpy as np
from tqdm import tqdm

from calibration.errors import DataError, DataWarning
from calibration.recordings import Recording
from pose3d.project import LABELED, Project, frame_number
from pose3d.steps.moments import Moments


def pictured(project: Project, take: Recording, moments: Moments) -> set[int]:
    """Return the moments of which some camera has a picture to label already."""
    from pose3d.labeling.folders import image_files

    found: set[int] = set()
    for camera, frames in moments.frames.items():
        folder = project.labeled_folder(take.name, camera)
        numbers = [frame_number(name) for name in image_files(folder)] if folder.is_dir() else []
        found |= set(np.flatnonzero(np.isin(frames, numbers) & (frames >= 0)).tolist())
    return found


def write_moments(
    project: Project,
    take: Recording,
    moments: Moments,
    chosen: Iterable[int],
    root: str = LABELED,
) -> dict[str, int]:
    """Write the frames of some moments, of all cameras, as pictures to label.

    Parameters
    ----------
    project, take : Project, Recording
        Whose they are.
    moments : Moments
        The recording's.
    chosen : iterable of int
        Which of them.
    root : str
        Where the folders of pictures lie, see `load_labels`.

    Returns
    -------
    dict of str to int
        Pictures that were written, by camera; those that were there stay as they are.
    """
    from calibration.video import read_frames, write_image

    chosen = np.array(sorted(chosen), dtype=int)
    written = {}
    for camera, video in take.videos.items():
        folder = project.labeled_folder(take.name, camera, root)
        folder.mkdir(parents=True, exist_ok=True)
        wanted = moments.frames[camera][chosen]
        wanted = [f for f in wanted.tolist() if f >= 0 and not (folder / picture_name(f)).exists()]
        written[camera] = 0
        frames = read_frames(video, frames=wanted) if wanted else ()
        for frame in tqdm(frames, camera, len(wanted), disable=None, unit="frame", leave=False):
            write_image(folder / picture_name(frame.index), frame.image)
            written[camera] += 1
        if written[camera] < len(wanted):
            warnings.warn(
                f"{len(wanted) - written[camera]} of the wanted frames of {camera!r} could not be "
                f"read from {video.name}.",
                DataWarning,
                stacklevel=3,
            )
    return written


def picture_name(frame: int) -> str:
    """Return what the picture of a frame is called."""
    return f"img{frame:05d}.png"


def small_pictures(
    take: Recording, moments: Moments, looked: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Read some moments as small grey pictures of all cameras, side by side in a row.

    Parameters
    ----------
    take : Recording
        The recording.
    moments : Moments
        Its moments.
    looked : ndarray of int
        Which of them to look at.

    Returns
    -------
    read : ndarray of int of shape (n_read,)
        The moments that some camera could show; a damaged video has fewer than it says.
    pictures : ndarray of float32 of shape (n_read, n_cameras * 768)
        Without what all of them have in common.

    Raises
    ------
    DataError
        If none can be read.
    """
    import cv2

    from calibration.video import read_frames

    size = (32, 24)
    found = np.zeros((len(looked), len(take.videos), size[0] * size[1]), np.float32)
    seen = np.zeros(found.shape[:2], dtype=bool)
    for i, (camera, video) in enumerate(take.videos.items()):
        frames = moments.frames[camera][looked]
        place = {int(f): k for k, f in enumerate(frames) if f >= 0}
        reading = read_frames(video, frames=sorted(place), pixels="luma") if place else ()
        for frame in tqdm(reading, camera, len(place), disable=None, unit="frame", leave=False):
            small = cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA)
            found[place[frame.index], i] = small.ravel()
            seen[place[frame.index], i] = True
    read = seen.any(axis=1)
    if not read.any():
        raise DataError(
            f"No frame of {take.name!r} can be read; copy its videos again, or convert them."
        )
    mean = found.sum(axis=0) / np.maximum(seen.sum(axis=0), 1)[:, np.newaxis]
    # a camera without a frame does not make a moment look different
    found = np.where(seen[..., np.newaxis], found - mean, 0)[read].astype(np.float32)
    return looked[read], found.reshape(len(found), -1)
