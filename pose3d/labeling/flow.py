"""Labels carried from one frame to another by optical flow (Lucas & Kanade, 1981; Bouguet, 2001).

A point is followed from frame to frame to where it is wanted, and back again: how far from its
start it comes back tells how well it was followed (Kalal et al., 2010). What comes back far off
is not offered.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from calibration.errors import DataError
from calibration.video import read_frames, read_image
from pose3d.labeling.folders import LABELLED
from pose3d.labeling.videos import RecordingVideos

#: Frames over which points are followed at most; all are in memory at once.
FARTHEST = 100
#: Points that come back further off than this (px, for images of 1000 px) were lost on the way.
_LOST_PX = 4.0
_WINDOW = (21, 21)
_LEVELS = 4


def follow_points(images: Sequence[np.ndarray], xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Follow points through successive images.

    Parameters
    ----------
    images : sequence of ndarray of uint8 of shape (height, width)
        Grey images, the first one that in which the points are known.
    xy : ndarray of shape (n, 2)
        Points in px.

    Returns
    -------
    xy : ndarray of shape (n, 2)
        Where they are in the last image; NaN where they were lost.
    error : ndarray of shape (n,)
        How far off they come back if they are followed back, px.
    """
    import cv2

    def through(images, start):
        here, found = start, np.ones(len(start), bool)
        for one, two in zip(images[:-1], images[1:], strict=True):
            here, status, _ = cv2.calcOpticalFlowPyrLK(
                one, two, here, None, winSize=_WINDOW, maxLevel=_LEVELS
            )
            found &= status.ravel() > 0
        return here, found

    start = np.ascontiguousarray(xy, np.float32).reshape(-1, 1, 2)
    if not len(start):
        return np.zeros((0, 2)), np.zeros(0)
    there, found = through(images, start)
    back, found_back = through(images[::-1], there)
    error = np.linalg.norm((back - start)[:, 0].astype(float), axis=-1)
    height, width = images[0].shape
    end = there[:, 0].astype(float)
    inside = ((end > -0.5) & (end < [width - 0.5, height - 0.5])).all(axis=-1)
    lost = _LOST_PX * max(1.0, max(height, width) / 1000)
    kept = found & found_back & inside & (error <= lost)
    return np.where(kept[:, np.newaxis], end, np.nan), error


def carried_points(videos: RecordingVideos, moment: str, direction: str) -> dict[str, Any]:
    """Carry labels to a moment, each camera's from its nearest labelled frame.

    Parameters
    ----------
    videos : RecordingVideos
        The open recording's; without a camera's video its two images are compared directly.
    moment : str
        The moment.
    direction : {"before", "after"}
        Where labels come from.

    Returns
    -------
    dict
        ``points``: by camera, [individual, keypoint, x, y, error px]; ``from``: by camera, the
        frame that they come from.

    Raises
    ------
    DataError
        If no camera has labels in that direction, or all are too far.
    """
    if direction not in ("before", "after"):
        raise ValueError(f"direction is {direction!r}; expected before or after.")
    session = videos.session
    points: dict[str, list] = {}
    sources: dict[str, str] = {}
    far = []
    for camera, image in session.images(moment).items():
        source = _nearest(session, camera, session.places[moment], direction)
        if source is None:
            continue
        name, rows, xy = source
        images = _images_between(videos, camera, name, moment, image)
        if images is None:
            far.append(camera)
            continue
        there, error = follow_points(images, xy)
        sources[camera] = name
        points[camera] = [
            [int(i), int(k), float(x), float(y), float(e)]
            for (i, k), (x, y), e in zip(rows, there, error, strict=True)
            if np.isfinite(x)
        ]
    if not sources:
        raise DataError(
            f"The nearest labels {direction} this frame are more than {FARTHEST} frames away."
            if far
            else f"No frame {direction} this one has labels to carry here."
        )
    return {"points": points, "from": sources}


def _nearest(session, camera, place, direction):
    """Find the nearest labelled frame of a camera: its name, what is labelled, and where."""
    n = len(session.project.individuals), len(session.project.skeleton.keypoints)
    folder = session.folders[camera]
    with session.lock:
        before, after = session.moments[:place][::-1], session.moments[place + 1 :]
        for name, images in before if direction == "before" else after:
            if camera not in images:
                continue
            row = folder.place[images[camera]]
            state = folder.state[row, : n[0], : n[1]]
            there = np.argwhere((state > 0) & (state <= LABELLED))
            if len(there):
                return name, there, folder.xy[row, there[:, 0], there[:, 1]]
    return None


def _images_between(videos, camera, start, end, image):
    """Read the grey images from one moment to another; None where they are too many."""
    session = videos.session
    if camera in videos.paths and start.isdigit() and end.isdigit():
        one, two = (session.frame(camera, int(name)) for name in (start, end))
        if abs(two - one) > FARTHEST:
            return None
        frames = range(min(one, two), max(one, two) + 1)
        read = [f.image for f in read_frames(videos.path(camera), frames=frames, pixels="luma")]
        return read if one < two else read[::-1]
    folder = session.folders[camera].path
    names = session.images(start)[camera], image
    return [read_image(folder / name, pixels="luma") for name in names]
