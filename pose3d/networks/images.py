"""Images at a network's scale, and points there and back."""

import cv2
import numpy as np


def network_size(image_size: tuple[int, int], scale: float) -> tuple[int, int]:
    """Return the width and height to which an image is shrunk for a network."""
    width, height = image_size
    return max(1, round(width * scale)), max(1, round(height * scale))


def shrink(image: np.ndarray, scale: float) -> np.ndarray:
    """Shrink an image to a network's scale; every pixel counts, so nothing aliases.

    Parameters
    ----------
    image : ndarray of uint8 of shape (height, width) or (height, width, 3)
        As read.
    scale : float
        Network pixels per image pixel.

    Returns
    -------
    ndarray of uint8 of shape (height, width, channels)
    """
    size = network_size(image.shape[1::-1], scale)
    if size != image.shape[1::-1]:
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        image = cv2.resize(image, size, interpolation=method)
    return image.reshape(*image.shape[:2], -1)


def to_network_pixels(xy: np.ndarray, image_size, scale: float) -> np.ndarray:
    """Move points (..., 2) from an image's pixels to those of the shrunk image."""
    ratio = np.divide(network_size(image_size, scale), image_size)
    return (np.asarray(xy) + 0.5) * ratio - 0.5


def to_image_pixels(xy: np.ndarray, image_size, scale: float) -> np.ndarray:
    """Move points (..., 2) from the shrunk image's pixels to those of the image."""
    ratio = np.divide(network_size(image_size, scale), image_size)
    return (np.asarray(xy) + 0.5) / ratio - 0.5
