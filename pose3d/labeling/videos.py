"""Frames of a recording's videos for the page: around a moment, along time, and to be labelled."""

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from calibration.errors import DataError
from calibration.video import count_frames, frame_times, read_frame, read_frames, write_image
from pose3d.labeling.session import LabelSession

#: Encoded frames that are kept; a held key shows the same ones again.
_KEPT = 240
#: Frames before and after a moment that are read together.
AROUND = 2


class RecordingVideos:
    """The videos of one open recording.

    Parameters
    ----------
    session : LabelSession
        Its labels; `LabelSession.frame` tells a camera's frame of a moment.
    """

    def __init__(self, session: LabelSession):
        self.session = session
        take = session.take
        self.paths: dict[str, Path] = {
            camera: path for camera, path in (take.videos if take else {}).items() if path.exists()
        }
        self._pictures: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._locks = {camera: threading.Lock() for camera in self.paths}

    def path(self, camera: str) -> Path:
        """Return the video of a camera; DataError if it is not there."""
        if camera not in self.paths:
            raise DataError(
                f"{self.session.recording!r} has no video of {camera!r} here. Put it where "
                "config.yaml says, or say there where it is (pose3d: recordings)."
            )
        return self.paths[camera]

    def about(self) -> dict[str, Any]:
        """Tell how many moments the videos hold, and how many they are a second."""
        ends = [
            count_frames(path) - self.session.frame(camera, 0)
            for camera, path in self.paths.items()
        ]
        if not ends:
            return {"n_frames": 0, "fps": 0.0, "cameras": []}
        times = frame_times(next(iter(self.paths.values())))
        fps = (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 0.0
        return {"n_frames": max(ends), "fps": float(fps), "cameras": list(self.paths)}

    def picture(self, camera: str, moment: int, *, around: int = 0) -> bytes:
        """Return a frame as JPEG.

        Parameters
        ----------
        camera : str
            The camera.
        moment : int
            The moment, from 0.
        around : int
            So many frames before and after it are read too, and kept.

        Raises
        ------
        DataError, FileNotFoundError
            If the video is not there, or has no such frame.
        """
        path, frame = self.path(camera), self.session.frame(camera, moment)
        with self._locks[camera]:
            if (camera, frame) not in self._pictures:
                first, end = max(0, frame - around), min(count_frames(path), frame + around + 1)
                for read in read_frames(path, frames=range(first, end)):
                    self._pictures[camera, read.index] = _encoded(read.image)
                while len(self._pictures) > _KEPT:
                    self._pictures.popitem(last=False)
            if (camera, frame) not in self._pictures:
                raise FileNotFoundError(f"The video of {camera!r} has no frame {frame}.")
            return self._pictures[camera, frame]

    def add_moment(self, moment: int) -> list[Path]:
        """Write a moment's frames of all cameras into the folders of images to label.

        Images that are there stay as they are.

        Parameters
        ----------
        moment : int
            The moment, from 0.

        Returns
        -------
        list of Path
            The images that were written.

        Raises
        ------
        DataError
            If no video has the moment.
        """
        session, written, there = self.session, [], 0
        for camera, path in self.paths.items():
            frame = session.frame(camera, moment)
            if not 0 <= frame < count_frames(path):
                continue
            there += 1
            folder = session.project.labeled_folder(session.recording, camera)
            image = folder / f"img{frame:05d}.png"
            if str(moment) in session.places and camera in session.images(str(moment)):
                continue
            if not image.exists():
                folder.mkdir(parents=True, exist_ok=True)
                written.append(write_image(image, read_frame(path, frame)))
        if not there:
            raise DataError(
                f"No video of {session.recording!r} has frame {moment}; choose another one."
            )
        session.take_new_images()
        return written


def _encoded(image: np.ndarray) -> bytes:
    import cv2

    done, content = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    if not done:
        raise DataError("A frame cannot be shown.")
    return content.tobytes()
