"""A take: the videos that several cameras made of the same scene at the same time."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from calibration.arrays import float_array, name_tuple


@dataclass(frozen=True, eq=False)
class Recording:
    """The videos of one take by camera.

    Attributes
    ----------
    name : str
        The user's name for the take.
    videos : mapping of str to Path
        Video file, or folder of images, of each camera; empty where keypoints alone are there.
    offsets : ndarray of shape (n_cameras,)
        Seconds by which each camera is late; zero where cameras are synchronous.
    """

    name: str
    videos: Mapping[str, Path]
    offsets: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self):
        name_tuple("name", [self.name])
        cameras = name_tuple("videos", self.videos, empty=True)
        offsets = np.zeros(len(cameras)) if len(self.offsets) == 0 else self.offsets
        offsets = float_array("offsets", offsets, (len(cameras),), finite=True)
        object.__setattr__(self, "videos", {name: Path(path) for name, path in self.videos.items()})
        object.__setattr__(self, "offsets", offsets)

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras, in order."""
        return tuple(self.videos)


def match_camera(text: str, cameras: Iterable[str]) -> str | None:
    """Find which of the known cameras a file or folder name speaks of.

    A name counts where it stands between the text's start, its end and characters that are
    neither letters nor digits. One at the end wins, as in ``<recording>_<camera>``, then the
    longest, then the last. Camera names are the user's own and may hold underscores, so the
    text is never split.

    Returns
    -------
    str or None
        The camera, or None where no known name stands in the text.

    Examples
    --------
    >>> match_camera("trot_cam_10", ["cam_1", "cam_10"])
    'cam_10'
    >>> match_camera("laptop", ["top"]) is None
    True
    """
    found = []
    for name in cameras:
        for match in re.finditer(f"(?={re.escape(name)})", text):
            start, end = match.start(), match.start() + len(name)
            if not text[start - 1 : start].isalnum() and not text[end : end + 1].isalnum():
                found.append((end == len(text), len(name), start, name))
    return max(found)[-1] if found else None
