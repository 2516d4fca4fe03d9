"""Pictures as videos store them: brightness and two planes of colour, BT.601, 16 to 235."""

from typing import NamedTuple

import cv2
import numpy as np


class Planes(NamedTuple):
    """A picture as brightness and colour; nothing is converted between reading and writing.

    Attributes
    ----------
    y : ndarray of uint8 of shape (height, width)
        Brightness, 16 (black) to 235 (white).
    u, v : ndarray of uint8 of shape (rows, columns)
        Blue and red, 128 for grey; as many as `y` or half as many, rounded up, along each side.
    """

    y: np.ndarray
    u: np.ndarray
    v: np.ndarray

    def part(self, x: int, y: int, width: int, height: int) -> "Planes":
        """Return a view on a part with even place and size; colour must be of half size."""
        half = (slice(y // 2, (y + height) // 2), slice(x // 2, (x + width) // 2))
        return Planes(self.y[y : y + height, x : x + width], self.u[half], self.v[half])

    @classmethod
    def blank(cls, width: int, height: int) -> "Planes":
        """Return a black picture of even size."""
        half = (height // 2, width // 2)
        return cls(
            np.full((height, width), 16, np.uint8),
            np.full(half, 128, np.uint8),
            np.full(half, 128, np.uint8),
        )


def to_planes(image: np.ndarray) -> Planes:
    """Turn a picture of shape (height, width, 3) RGB or (height, width) into planes.

    Colour is of half size, rounded up.
    """
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    height, width = image.shape[:2]
    if height % 2 or width % 2:
        image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    rows, columns = image.shape[0] // 2, image.shape[1] // 2
    packed = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2YUV_I420)
    u, v = packed[2 * rows :].reshape(2, rows, columns)
    return Planes(packed[:height, :width], u, v)


def to_ycc(rgb: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return brightness, blue and red of a colour, as `Planes` hold them.

    Examples
    --------
    >>> to_ycc((255, 255, 255)), to_ycc((0, 0, 0))
    ((235, 128, 128), (16, 128, 128))
    """
    red, green, blue = (part / 255 for part in rgb)
    brightness = 0.299 * red + 0.587 * green + 0.114 * blue
    return (
        round(16 + 219 * brightness),
        round(128 + 224 * (blue - brightness) / 1.772),
        round(128 + 224 * (red - brightness) / 1.402),
    )
