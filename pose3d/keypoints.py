"""Where each camera sees each keypoint, and where the keypoints are in space."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np

from calibration.arrays import checked_array, float_array, name_tuple
from calibration.cameras import METRES


class Missing(IntEnum):
    """Why a 3D point is missing."""

    PRESENT = 0
    NOT_SEEN = 1
    ONE_VIEW = 2
    BEHIND_CAMERA = 3
    PARALLEL_RAYS = 4
    VIEWS_DISAGREE = 5


def _times(times, n_frames):
    """Check time stamps: finite and rising."""
    times = float_array("times", times, (n_frames,), finite=True)
    falling = np.flatnonzero(np.diff(times) <= 0)
    if falling.size:
        raise ValueError(
            f"times falls or stands from {times[falling[0]]} s to {times[falling[0] + 1]} s at "
            f"frame {falling[0] + 1}; time stamps must rise."
        )
    return times


def _fps(times):
    """Frames per second by the median step; NaN for a single frame."""
    return float(1 / np.median(np.diff(times))) if len(times) > 1 else float("nan")


@dataclass(frozen=True, eq=False)
class Keypoints2D:
    """Where each camera sees each keypoint, frame by frame.

    Attributes
    ----------
    xy : ndarray of shape (n_cameras, n_frames, n_individuals, n_keypoints, 2)
        Image points in pixels; NaN where a keypoint was not found.
    likelihood : ndarray of shape (n_cameras, n_frames, n_individuals, n_keypoints)
        How sure the network is, from 0 to 1; a missing likelihood counts as 0.
    cameras, individuals, keypoints : tuple of str
        Names along the first, third and fourth axis.
    times : ndarray of shape (n_frames,)
        Seconds since the start of the recording.
    covariance : ndarray of shape (..., n_keypoints, 2, 2) or None
        Spread of each image point in px²; None where it is not known.
    image_sizes : ndarray of int of shape (n_cameras, 2) or None
        Width and height of each camera's images, so that a calibration made at another size
        is noticed; None where it is not known.
    """

    xy: np.ndarray
    likelihood: np.ndarray
    cameras: tuple[str, ...]
    individuals: tuple[str, ...]
    keypoints: tuple[str, ...]
    times: np.ndarray
    covariance: np.ndarray | None = None
    image_sizes: np.ndarray | None = None

    def __post_init__(self):
        for axis in ("cameras", "individuals", "keypoints"):
            object.__setattr__(self, axis, name_tuple(axis, getattr(self, axis)))
        shape = (len(self.cameras), "n_frames", len(self.individuals), len(self.keypoints), 2)
        xy = float_array("xy", self.xy, shape)
        likelihood = float_array("likelihood", self.likelihood, xy.shape[:-1])
        if np.isnan(likelihood).any():
            likelihood = np.nan_to_num(likelihood, nan=0.0)
            likelihood.flags.writeable = False
        outside = (likelihood < 0) | (likelihood > 1)
        if outside.any():
            camera, frame, _, keypoint = np.argwhere(outside)[0]
            raise ValueError(
                f"likelihood is {likelihood[outside][0]} for {self.keypoints[keypoint]!r} in "
                f"camera {self.cameras[camera]!r}, frame {frame}; expected 0 to 1."
            )
        object.__setattr__(self, "xy", xy)
        object.__setattr__(self, "likelihood", likelihood)
        object.__setattr__(self, "times", _times(self.times, xy.shape[1]))
        if self.covariance is not None:
            covariance = float_array("covariance", self.covariance, (*xy.shape, 2))
            object.__setattr__(self, "covariance", covariance)
        if self.image_sizes is not None:
            sizes = checked_array("image_sizes", self.image_sizes, (len(self.cameras), 2), np.int64)
            object.__setattr__(self, "image_sizes", sizes)

    @property
    def fps(self) -> float:
        """Frames per second."""
        return _fps(self.times)

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return self.xy.shape[1]

    def confident(self, min_likelihood: float) -> "Keypoints2D":
        """Return a copy in which less likely points are NaN."""
        keep = self.likelihood >= min_likelihood
        return replace(self, xy=np.where(keep[..., np.newaxis], self.xy, np.nan))

    def take(self, frames: slice) -> "Keypoints2D":
        """Return some of the frames."""
        return replace(
            self,
            xy=self.xy[:, frames],
            likelihood=self.likelihood[:, frames],
            times=self.times[frames],
            covariance=None if self.covariance is None else self.covariance[:, frames],
        )

    def subset(self, cameras) -> "Keypoints2D":
        """Return the named cameras, in the order of the names."""
        cameras = tuple(cameras)
        for name in cameras:
            if name not in self.cameras:
                raise KeyError(f"No camera {name!r} in these keypoints; they have {self.cameras}.")
        index = [self.cameras.index(name) for name in cameras]
        return replace(
            self,
            xy=self.xy[index],
            likelihood=self.likelihood[index],
            cameras=cameras,
            covariance=None if self.covariance is None else self.covariance[index],
            image_sizes=None if self.image_sizes is None else self.image_sizes[index],
        )


@dataclass(frozen=True, eq=False)
class Candidates2D:
    """Several peaks of each keypoint in each camera, of which one at most is right.

    Attributes
    ----------
    xy : ndarray of shape (n_cameras, n_frames, n_individuals, n_keypoints, n_candidates, 2)
        Image points in pixels, the likeliest first; NaN where there are fewer.
    likelihood : ndarray of shape (n_cameras, n_frames, n_individuals, n_keypoints, n_candidates)
        How sure the network is of each, from 0 to 1; a missing one counts as 0.
    cameras, individuals, keypoints : tuple of str
        Names along the first, third and fourth axis.
    times : ndarray of shape (n_frames,)
        Seconds since the start of the recording.
    image_sizes : ndarray of int of shape (n_cameras, 2) or None
        Width and height of each camera's images.
    """

    xy: np.ndarray
    likelihood: np.ndarray
    cameras: tuple[str, ...]
    individuals: tuple[str, ...]
    keypoints: tuple[str, ...]
    times: np.ndarray
    image_sizes: np.ndarray | None = None

    def __post_init__(self):
        for axis in ("cameras", "individuals", "keypoints"):
            object.__setattr__(self, axis, name_tuple(axis, getattr(self, axis)))
        shape = (len(self.cameras), "n_frames", len(self.individuals), len(self.keypoints))
        xy = float_array("xy", self.xy, (*shape, "n_candidates", 2))
        likelihood = float_array("likelihood", self.likelihood, xy.shape[:-1])
        likelihood = np.nan_to_num(likelihood, nan=0.0)
        if ((likelihood < 0) | (likelihood > 1)).any():
            raise ValueError("likelihood holds values outside of 0 to 1.")
        likelihood.flags.writeable = False
        object.__setattr__(self, "xy", xy)
        object.__setattr__(self, "likelihood", likelihood)
        object.__setattr__(self, "times", _times(self.times, xy.shape[1]))

    def chosen(self, xy: np.ndarray, likelihood: np.ndarray) -> "Keypoints2D":
        """Return keypoints of these cameras and frames from one peak of each."""
        names = (self.cameras, self.individuals, self.keypoints)
        return Keypoints2D(xy, likelihood, *names, self.times, image_sizes=self.image_sizes)


@dataclass(frozen=True, eq=False)
class Keypoints3D:
    """Where each keypoint is in space, frame by frame, and how far to trust it.

    Attributes
    ----------
    xyz : ndarray of shape (n_frames, n_individuals, n_keypoints, 3)
        World points in `units`; NaN where they cannot be known.
    covariance : ndarray of shape (n_frames, n_individuals, n_keypoints, 3, 3)
        Their covariance in units².
    reprojection_error : ndarray of shape (n_frames, n_individuals, n_keypoints)
        Root mean square distance in pixels over the views that were used.
    view_errors : ndarray of shape (n_cameras, n_frames, n_individuals, n_keypoints)
        Distance in pixels in each view that saw the keypoint, used or not.
    used_views : ndarray of bool of shape (n_cameras, n_frames, n_individuals, n_keypoints)
        The views that were believed.
    reason : ndarray of uint8 of shape (n_frames, n_individuals, n_keypoints)
        Why a point is missing: a code of `Missing`, 0 where it is there.
    filled : ndarray of bool of shape (n_frames, n_individuals, n_keypoints)
        Whether a point was inferred from its neighbours in time or along the body.
    cameras, individuals, keypoints : tuple of str
        Names along their axes.
    times : ndarray of shape (n_frames,)
        Seconds since the start of the recording.
    units : str
        Unit of length.
    rig_covariance : ndarray of shape (n_frames, n_individuals, n_keypoints, 3, 3) or None
        The part of the covariance that comes from the calibration. Points share it: it does not
        average out over frames. None where the rig carries no covariance.
    """

    xyz: np.ndarray
    covariance: np.ndarray
    reprojection_error: np.ndarray
    view_errors: np.ndarray
    used_views: np.ndarray
    reason: np.ndarray
    filled: np.ndarray
    cameras: tuple[str, ...]
    individuals: tuple[str, ...]
    keypoints: tuple[str, ...]
    times: np.ndarray
    units: str
    rig_covariance: np.ndarray | None = None

    def __post_init__(self):
        for axis in ("cameras", "individuals", "keypoints"):
            object.__setattr__(self, axis, name_tuple(axis, getattr(self, axis)))
        if self.units not in METRES:
            raise ValueError(f"units is {self.units!r}; expected one of {', '.join(METRES)}.")
        points = ("n_frames", len(self.individuals), len(self.keypoints))
        xyz = float_array("xyz", self.xyz, (*points, 3))
        points = xyz.shape[:-1]
        views = (len(self.cameras), *points)
        checked = {
            "xyz": xyz,
            "covariance": float_array("covariance", self.covariance, (*points, 3, 3)),
            "reprojection_error": float_array(
                "reprojection_error", self.reprojection_error, points
            ),
            "view_errors": float_array("view_errors", self.view_errors, views),
            "used_views": checked_array("used_views", self.used_views, views, bool),
            "reason": checked_array("reason", self.reason, points, np.uint8),
            "filled": checked_array("filled", self.filled, points, bool),
            "times": _times(self.times, xyz.shape[0]),
        }
        # a sum is NaN where one of its parts is, and quicker to look through
        missing = np.isnan(xyz[..., 0] + xyz[..., 1] + xyz[..., 2])
        lying = missing != (checked["reason"] != Missing.PRESENT)
        if lying.any():
            frame, _, keypoint = np.argwhere(lying)[0]
            raise ValueError(
                f"reason and xyz disagree for {self.keypoints[keypoint]!r} in frame {frame}: a "
                "point is NaN exactly where a reason is given."
            )
        if self.rig_covariance is not None:
            checked["rig_covariance"] = float_array(
                "rig_covariance", self.rig_covariance, (*points, 3, 3)
            )
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def __getitem__(self, keypoint: str) -> np.ndarray:
        """Return one keypoint's path, ndarray of shape (n_frames, n_individuals, 3)."""
        if keypoint not in self.keypoints:
            raise KeyError(f"No keypoint {keypoint!r}; they are {', '.join(self.keypoints)}.")
        return self.xyz[:, :, self.keypoints.index(keypoint)]

    @property
    def fps(self) -> float:
        """Frames per second."""
        return _fps(self.times)

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return self.xyz.shape[0]

    def take(self, frames: slice) -> "Keypoints3D":
        """Return some of the frames, copied: the others may go."""
        parts = {name: getattr(self, name) for name in _BY_FRAME}
        parts = {name: part[frames].copy() for name, part in parts.items() if part is not None}
        parts |= {name: getattr(self, name)[:, frames].copy() for name in _BY_VIEW}
        return replace(self, **parts)

    @classmethod
    def joined(cls, parts: Sequence["Keypoints3D"]) -> "Keypoints3D":
        """Return recordings of the same cameras and keypoints, one after the other."""
        fields = {}
        for axis, names in enumerate((_BY_FRAME, _BY_VIEW)):
            for name in names:
                arrays = [getattr(part, name) for part in parts]
                if all(array is not None for array in arrays):
                    fields[name] = np.concatenate(arrays, axis=axis)
        return replace(parts[0], **fields)

    @property
    def n_views(self) -> np.ndarray:
        """Number of views used for each point, ndarray (n_frames, n_individuals, n_keypoints)."""
        return self.used_views.sum(axis=0)


#: Fields of `Keypoints3D` whose first axis is the frame, and those whose second is.
_BY_FRAME = (
    "xyz", "covariance", "reprojection_error", "reason", "filled", "times", "rig_covariance"
)  # fmt: skip
_BY_VIEW = ("view_errors", "used_views")
