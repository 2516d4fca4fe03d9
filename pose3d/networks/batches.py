"""Training batches: labelled images read once, changed at random, drawn as targets."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from calibration.errors import DataError, DataWarning
from calibration.images import read_image
from pose3d.networks.augmentation import Augmentation, augment
from pose3d.networks.images import shrink, to_network_pixels
from pose3d.networks.spec import NetworkSpec
from pose3d.scoremaps import Targets, encode

#: Largest share of unreadable images that training goes on without.
_MOST_UNREADABLE = 0.1


def spread_out(n_images: int, most: int) -> np.ndarray:
    """Choose images from first to last: they lie camera by camera, and all shall count.

    Parameters
    ----------
    n_images : int
        How many there are.
    most : int
        How many to choose at most.

    Returns
    -------
    ndarray of int of shape (n_chosen,)
    """
    return np.linspace(0, n_images - 1, min(n_images, most)).round().astype(int)


class Examples:
    """Labelled images at a network's scale, kept in memory as far as they fit.

    Parameters
    ----------
    paths : sequence of path
        The images.
    xy : ndarray of shape (n_images, n_keypoints, 2)
        Labels in the images' pixels; NaN where there is none.
    spec : NetworkSpec
        Gives scale and colour.
    pseudo : ndarray of bool of shape (n_images,), optional
        Which images geometry labelled, and no person.
    max_bytes : int
        Memory for images; what does not fit is read again each time.

    Attributes
    ----------
    paths : list of Path
        The images that can be read.
    xy : ndarray of shape (n_images, n_keypoints, 2)
        Their labels in network pixels.
    pseudo : ndarray of bool of shape (n_images,)
        Which of them geometry labelled: a keypoint without a label is unknown there.
    image_sizes : set of (int, int)
        Widths and heights of the images as they are stored.

    Raises
    ------
    DataError
        If more than a tenth of the images cannot be read; fewer are left out with a warning.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        xy: np.ndarray,
        spec: NetworkSpec,
        *,
        pseudo: np.ndarray | None = None,
        max_bytes: int = 2 << 30,
    ):
        self.spec = spec
        self._images: dict[int, np.ndarray] = {}
        self.paths: list[Path] = []
        self.image_sizes: set[tuple[int, int]] = set()
        points, pseudos, unreadable = [], [], []
        held = 0
        pseudo = np.zeros(len(paths), dtype=bool) if pseudo is None else pseudo
        for path, labels, is_pseudo in zip(paths, xy, pseudo, strict=True):
            try:
                image = read_image(path, pixels=spec.pixels)
            except (DataError, OSError) as error:
                unreadable.append(str(error))
                continue
            points.append(to_network_pixels(labels, image.shape[1::-1], spec.scale))
            pseudos.append(is_pseudo)
            self.image_sizes.add(image.shape[1::-1])
            image = shrink(image, spec.scale)
            held += image.nbytes
            if held <= max_bytes:
                self._images[len(self.paths)] = image
            self.paths.append(Path(path))
        if unreadable:
            message = (
                f"{len(unreadable)} of {len(paths)} labelled images cannot be read; the first: "
                f"{unreadable[0]}"
            )
            if len(unreadable) > _MOST_UNREADABLE * len(paths):
                raise DataError(f"{message} Restore the images, or remove their labels.")
            warnings.warn(f"{message} Training goes on without them.", DataWarning, stacklevel=2)
        self.xy = np.array(points).reshape(len(points), len(spec.keypoints), 2)
        self.pseudo = np.array(pseudos, dtype=bool)

    def __len__(self) -> int:
        return len(self.paths)

    def image(self, index: int) -> np.ndarray:
        """Return an image, ndarray of uint8 (height, width, channels), at the network's scale."""
        if index in self._images:
            return self._images[index]
        return shrink(read_image(self.paths[index], pixels=self.spec.pixels), self.spec.scale)


class Batch(NamedTuple):
    """One step's crops and targets.

    Attributes
    ----------
    step : int
        The step it is for.
    images : ndarray of uint8 of shape (batch_size, size, size, channels)
    xy : ndarray of shape (batch_size, n_keypoints, 2)
        Labels in pixels of the crops.
    targets : Targets
        The same, drawn.
    indices : ndarray of int of shape (batch_size,)
        Which examples the crops are of.
    """

    step: int
    images: np.ndarray
    xy: np.ndarray
    targets: Targets
    indices: np.ndarray


def make_batch(
    examples: Examples,
    step: int,
    *,
    seed: int,
    batch_size: int,
    crop_size: int,
    augmentation: Augmentation,
    mirrored: np.ndarray,
    unlabeled: str = "absent",
) -> Batch:
    """Make the batch of a step; it depends on the seed and the step alone.

    Every example is taken once before any is taken again, in another order each time. Half of the
    batch are examples that geometry labelled, if there are such.

    Parameters
    ----------
    examples : Examples
        The labelled images.
    step : int
        Number of the step, from 0.
    seed : int
        Seed of the training.
    batch_size, crop_size : int
        Number of crops and their side in network pixels.
    augmentation : Augmentation
        How much the images are changed.
    mirrored : ndarray of int of shape (n_keypoints,)
        Each keypoint's partner.
    unlabeled : {"absent", "unknown"}
        What a keypoint without a label in a labelled image is, see `TrainingSettings`.
    """
    n_pseudo = batch_size // 2 if examples.pseudo.any() else 0
    indices = np.concatenate(
        [
            _taken(np.flatnonzero(~examples.pseudo), step, batch_size - n_pseudo, (seed, 0)),
            _taken(np.flatnonzero(examples.pseudo), step, n_pseudo, (seed, 2)),
        ]
    )
    rng = np.random.default_rng([seed, 1, step])
    spec = examples.spec
    images = np.empty((batch_size, crop_size, crop_size, spec.channels), np.uint8)
    xy = np.empty((batch_size, len(spec.keypoints), 2))
    for place, index in enumerate(indices):
        images[place], xy[place] = augment(
            examples.image(index), examples.xy[index], crop_size, rng, augmentation, mirrored
        )
    # a keypoint far outside is asked for, and must not be found
    absent = ~examples.pseudo[indices] & (unlabeled == "absent")
    asked = np.where(np.isnan(xy) & absent[:, np.newaxis, np.newaxis], -1e6, xy)
    size = (crop_size, crop_size)
    targets = encode(asked, size, spec.stride, sigma=spec.sigma, radius=spec.radius)
    return Batch(step, images, xy, targets, indices)


def _taken(examples, step, count, seed):
    """Return the examples that a step takes."""
    rounds, places = np.divmod(np.arange(step * count, (step + 1) * count), max(1, len(examples)))
    orders = {
        number: np.random.default_rng([*seed, number]).permutation(examples)
        for number in set(rounds.tolist())
    }
    return np.array([orders[n][place] for n, place in zip(rounds, places, strict=True)], dtype=int)
