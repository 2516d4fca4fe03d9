"""What the labels say about how to train: how large the animal is, which way it points."""

from collections.abc import Iterable

import numpy as np

from pose3d.metrics import label_boxes
from pose3d.networks.images import network_size

#: Median distance between two keypoints, in network pixels, at which a small network tells them
#: apart and is fast; and the longer side in network pixels below which shrinking gains nothing.
KEYPOINT_DISTANCE = 34.0
LEAST_SIDE = 320.0

#: Turns of training images, in degrees: all the way round, or a little.
ALL_ROUND, UPRIGHT = 180.0, 30.0

#: Length of the mean of all turns as unit vectors, above which they count as one direction: 0.85
#: is a spread of 33 degrees. A mouse seen from above that looks left most of the time has 0.75.
_ONE_WAY = 0.85


def animal_size_px(xy: np.ndarray) -> float:
    """Return the median over images of the diagonal of the labels' box, in pixels.

    Parameters
    ----------
    xy : ndarray of shape (n_images, n_keypoints, 2)
        Labels; NaN where there is none.

    Returns
    -------
    float
        NaN where no image has two labels.
    """
    diagonals = np.linalg.norm(label_boxes(xy), axis=-1)
    diagonals = diagonals[np.isfinite(diagonals)]
    return float(np.median(diagonals)) if diagonals.size else float("nan")


def keypoint_distance_px(xy: np.ndarray) -> float:
    """Return the median distance between two keypoints in pixels; NaN without two labels.

    Unlike the length of the animal it hardly depends on how far its tail is labelled.

    Parameters
    ----------
    xy : ndarray of shape (n_images, n_keypoints, 2)
        Labels; NaN where there is none.
    """
    first, second = np.triu_indices(xy.shape[1], 1)
    apart = np.linalg.norm(xy[:, first] - xy[:, second], axis=-1)
    apart = apart[np.isfinite(apart)]
    return float(np.median(apart)) if apart.size else float("nan")


def choose_scale(
    xy: np.ndarray, image_sizes: Iterable[tuple[int, int]] = (), multiple: int = 1
) -> float:
    """Choose the scale at which keypoints are about `KEYPOINT_DISTANCE` apart, at most 1.

    A network's input is padded to a multiple of its own: a tenth more or less in scale can save
    half of the work, so the cheapest scale within a tenth is taken.

    Parameters
    ----------
    xy : ndarray of shape (n_images, n_keypoints, 2)
        Labels in the images' pixels; NaN where there is none.
    image_sizes : iterable of (int, int)
        Widths and heights of the images.
    multiple : int
        What the network's width and height are padded to a multiple of.
    """
    image_sizes = list(image_sizes)
    distance = keypoint_distance_px(xy)
    wanted = KEYPOINT_DISTANCE / distance if distance > 0 else 0.5
    least = max((LEAST_SIDE / max(size) for size in image_sizes), default=0.0)
    wanted = min(1.0, max(wanted, least))
    scales = np.arange(1, 101) / 100
    near = scales[(scales >= 0.9 * wanted) & (scales <= 1.1 * wanted)]
    if not near.size:
        return float(round(wanted, 4))

    def cost(scale):
        cells = [
            np.ceil(np.divide(network_size(image_size, scale), multiple)).prod()
            for image_size in image_sizes
        ]
        # of equally cheap scales the one at which the animal is largest
        return sum(cells), -scale

    return float(min(near, key=cost))


def choose_crop_size(xy: np.ndarray, scale: float, multiple: int) -> int:
    """Choose the side of training crops: the animal with room around it, within bounds.

    On a mouse of 65 network pixels, twice as many steps with crops of 128 took as long as those
    with crops of 192, which are mostly floor, and left 1.75 instead of 2.09 px on held-out images.

    Parameters
    ----------
    xy : ndarray of shape (n_images, n_keypoints, 2)
        Labels in the images' pixels.
    scale : float
        Network pixels per image pixel.
    multiple : int
        What the side must be a multiple of.
    """
    size = animal_size_px(xy) * scale
    wanted = np.clip(1.8 * size, 128, 256) if size > 0 else 128
    return int(np.ceil(wanted / multiple) * multiple)


def choose_rotation(xy: np.ndarray, cameras: tuple[str, ...]) -> float:
    """Choose how far to turn training images, in degrees, by how the animal lies in them.

    A camera that looks down sees it point anywhere; one that looks from the side sees it upright,
    facing left or right. So each image's labels are laid on those of another by a turn, or by
    a turn after mirroring left and right if that fits better; turns that go all round are learnt.

    Parameters
    ----------
    xy : ndarray of shape (n_images, n_keypoints, 2)
        Labels; NaN where there is none.
    cameras : tuple of str
        The camera of each image.
    """
    points = xy[..., 0] + 1j * xy[..., 1]
    names = np.array(cameras)
    for camera in sorted(set(cameras)):
        shapes = points[names == camera]
        reference = shapes[np.isfinite(shapes).sum(axis=1).argmax()]
        turns = [turn for shape in shapes if (turn := _turn(reference, shape)) is not None]
        if len(turns) > 1 and abs(np.mean(turns)) < _ONE_WAY:
            return ALL_ROUND
    return UPRIGHT


def _turn(reference, shape):
    """Return the turn from one shape to another as a unit complex number; None if unknown."""
    known = np.isfinite(reference) & np.isfinite(shape)
    if known.sum() < 3:
        return None
    reference = reference[known] - reference[known].mean()
    shape = shape[known] - shape[known].mean()
    fits = [np.vdot(reference, shape), np.vdot(-reference.conj(), shape)]
    best = max(fits, key=abs)
    return best / abs(best) if abs(best) else None
