"""Images that a person labelled."""

from dataclasses import dataclass, replace

import numpy as np

from calibration.arrays import checked_array, float_array, name_tuple


@dataclass(frozen=True, eq=False)
class LabeledFrames:
    """Labelled images: which camera and moment each is, and where its keypoints are.

    Attributes
    ----------
    xy : ndarray of shape (n_images, n_individuals, n_keypoints, 2)
        Image points in pixels; NaN where a keypoint is not labelled.
    images : tuple of str
        Path of each image inside the project, with forward slashes.
    recordings, cameras : tuple of str
        The take and the camera of each image.
    frames : ndarray of int of shape (n_images,)
        Frame number of each image in its video.
    individuals, keypoints : tuple of str
        Names along the second and third axis of `xy`.
    """

    xy: np.ndarray
    images: tuple[str, ...]
    recordings: tuple[str, ...]
    cameras: tuple[str, ...]
    frames: np.ndarray
    individuals: tuple[str, ...]
    keypoints: tuple[str, ...]

    def __post_init__(self):
        images = tuple(self.images)
        if len(set(images)) != len(images):
            twice = next(image for image in images if images.count(image) > 1)
            raise ValueError(f"images holds {twice!r} twice; an image is labelled once.")
        for axis in ("individuals", "keypoints"):
            object.__setattr__(self, axis, name_tuple(axis, getattr(self, axis)))
        for field in ("recordings", "cameras"):
            entries = tuple(getattr(self, field))
            if len(entries) != len(images):
                raise ValueError(f"{field} has {len(entries)} entries; expected {len(images)}.")
            object.__setattr__(self, field, entries)
        shape = (len(images), len(self.individuals), len(self.keypoints), 2)
        xy = float_array("xy", self.xy, shape)
        half = np.isnan(xy[..., 0]) != np.isnan(xy[..., 1])
        if half.any():
            image, _, keypoint = np.argwhere(half)[0]
            raise ValueError(
                f"{self.keypoints[keypoint]!r} in {images[image]} has x without y; "
                "label both or neither."
            )
        frames = checked_array("frames", self.frames, (len(images),), np.int64)
        object.__setattr__(self, "images", images)
        object.__setattr__(self, "xy", xy)
        object.__setattr__(self, "frames", frames)

    def __len__(self) -> int:
        return len(self.images)

    def at(self, indices) -> "LabeledFrames":
        """Return some of the images, by indices or mask."""
        indices = np.arange(len(self))[indices]

        def pick(entries):
            return tuple(entries[i] for i in indices)

        return replace(
            self,
            xy=self.xy[indices],
            images=pick(self.images),
            recordings=pick(self.recordings),
            cameras=pick(self.cameras),
            frames=self.frames[indices],
        )
