"""Training crops: an image turned, scaled, moved and mirrored with its labels, in one warp."""

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Augmentation:
    """How much training images are changed.

    Attributes
    ----------
    rotation_degrees : float
        Images are turned by up to this much either way: 180 where the camera looks down, 30
        where up is always up.
    zoom : (float, float)
        Least and largest factor of scale.
    flip : bool
        Whether half of the images are mirrored, symmetric keypoints exchanged.
    jitter : float
        How far a crop's middle is from the animal's, as a share of the crop.
    anywhere : float
        Share of the crops whose middle is anywhere in the image.
    contrast : (float, float)
        Least and largest factor of contrast.
    brightness : float
        Most that is added to or taken from the grey levels.
    noise : float
        Largest standard deviation of added noise, in grey levels.
    light_share, noise_share, blur_share : float
        Shares of the crops whose light is changed, that get noise, that are blurred.
    motion_share, occlusion_share, compression_share : float
        Shares that are smeared in one direction as by movement, in which a rectangle is hidden
        (labels under it stay: the rest of the animal tells where they are), and that go through
        JPEG at a poor quality.
    """

    rotation_degrees: float = 180.0
    zoom: tuple[float, float] = (0.8, 1.25)
    flip: bool = False
    jitter: float = 0.35
    anywhere: float = 0.2
    contrast: tuple[float, float] = (0.7, 1.3)
    brightness: float = 25.0
    noise: float = 8.0
    light_share: float = 0.7
    noise_share: float = 0.3
    blur_share: float = 0.15
    motion_share: float = 0.1
    occlusion_share: float = 0.1
    compression_share: float = 0.1

    def __post_init__(self):
        if not 0 <= self.rotation_degrees <= 360:
            raise ValueError(
                f"rotation is {self.rotation_degrees}; expected 0 to 180 degrees either way."
            )


def augment(
    image: np.ndarray,
    xy: np.ndarray,
    size: int,
    rng: np.random.Generator,
    options: Augmentation,
    mirrored: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Cut a changed square out of an image.

    Parameters
    ----------
    image : ndarray of uint8 of shape (height, width, channels)
        The image, already shrunk to the network's scale.
    xy : ndarray of shape (n_keypoints, 2)
        Labels in its pixels; NaN where there is none.
    size : int
        Side of the square in pixels.
    rng : numpy.random.Generator
        Where chance comes from; a state gives one crop.
    options : Augmentation
        How much to change.
    mirrored : ndarray of int of shape (n_keypoints,)
        Each keypoint's partner, see `Skeleton.mirrored`.

    Returns
    -------
    crop : ndarray of uint8 of shape (size, size, channels)
    xy : ndarray of shape (n_keypoints, 2)
        Labels in the crop's pixels; some may lie outside.
    """
    flip = options.flip and rng.random() < 0.5
    matrix = _crop_from_image(image.shape, xy, size, rng, options, flip)
    crop = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR)
    moved = xy @ matrix[:, :2].T + matrix[:, 2]
    if flip:
        moved = moved[mirrored]
    crop = _change_light(crop.reshape(size, size, image.shape[2]), rng, options)
    return crop, moved


def _crop_from_image(shape, xy, size, rng, options, flip):
    """Draw the matrix (2, 3) that takes image pixels to crop pixels."""
    height, width = shape[:2]
    angle = np.deg2rad(rng.uniform(-options.rotation_degrees, options.rotation_degrees))
    zoom = np.exp(rng.uniform(*np.log(options.zoom)))
    labelled = xy[np.isfinite(xy).all(axis=1)]
    anywhere = rng.random() < options.anywhere or not len(labelled)
    place = rng.uniform(size=2)
    if anywhere:
        middle = place * [width - 1, height - 1]
    else:
        reach = options.jitter * size / zoom
        middle = (labelled.min(axis=0) + labelled.max(axis=0)) / 2 + (2 * place - 1) * reach
    cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]]) @ np.diag([-1.0 if flip else 1.0, 1.0])
    return np.column_stack([turn, (size - 1) / 2 - turn @ middle])


def _change_light(crop, rng, options):
    """Change contrast, sharpness, grain and more; each now and then."""
    light, blur, motion, occlusion, noise, compression = rng.random(6)
    if light < options.light_share:
        contrast = np.exp(rng.uniform(*np.log(options.contrast)))
        brightness = rng.uniform(-options.brightness, options.brightness)
        levels = (np.arange(256) - 128) * contrast + 128 + brightness
        crop = cv2.LUT(crop, np.clip(np.rint(levels), 0, 255).astype(np.uint8))
    if blur < options.blur_share:
        crop = cv2.GaussianBlur(crop, (0, 0), rng.uniform(0.3, 1.2))
    if motion < options.motion_share:
        crop = _smear(crop, rng)
    if occlusion < options.occlusion_share:
        crop = _hide(crop, rng)
    crop = crop.reshape(crop.shape[0], crop.shape[1], -1)
    if noise < options.noise_share:
        sigma = rng.uniform(0, options.noise)
        grain = rng.standard_normal(crop.shape[:2], np.float32)[..., np.newaxis] * sigma
        crop = np.clip(crop + grain, 0, 255).astype(np.uint8)
    if compression < options.compression_share:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(20, 80))]
        coded = cv2.imencode(".jpg", crop, quality)[1]
        crop = cv2.imdecode(coded, cv2.IMREAD_UNCHANGED).reshape(crop.shape)
    return crop


def _smear(crop, rng):
    """Move the image along a line of up to 9 pixels while it is exposed; its middle stays."""
    length, angle = rng.uniform(2, 9), rng.uniform(0, np.pi)
    half = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    kernel = np.zeros((11, 11), np.float32)
    ends = np.rint(16 * (5 + np.stack([-half, half]))).astype(int).tolist()
    cv2.line(kernel, ends[0], ends[1], 1.0, 1, cv2.LINE_AA, 4)
    kernel += kernel[::-1, ::-1]  # symmetric, so that nothing is moved
    return cv2.filter2D(crop, -1, kernel / kernel.sum())


def _hide(crop, rng):
    """Cover a rectangle, up to a third of the crop wide, with one grey level."""
    size = crop.shape[0]
    width, height = rng.integers(size // 12, size // 3, 2)
    left, top = rng.integers(0, size - width), rng.integers(0, size - height)
    crop = crop.copy()
    crop[top : top + height, left : left + width] = rng.integers(0, 256)
    return crop
