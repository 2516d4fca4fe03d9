"""Pictures in files and folders: read whole or refused, in the order a person would count them."""

import re
from pathlib import Path

import cv2
import numpy as np

from calibration.errors import DataError
from calibration.files import atomic_path
from calibration.planes import Planes, to_planes

#: File name endings that count as pictures.
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})

#: What a picture or frame can be asked for as.
PIXELS = ("rgb", "luma", "planes")


def natural_key(name: str) -> tuple:
    """Return a key that sorts names as a person counts: img2 before img10.

    Examples
    --------
    >>> sorted(["img10.png", "img2.png"], key=natural_key)
    ['img2.png', 'img10.png']
    """
    parts = re.split(r"(\d+)", name.casefold())
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts)


def image_files(folder: str | Path) -> list[Path]:
    """List the pictures in a folder in natural order; hidden files do not count."""
    files = (
        entry
        for entry in Path(folder).iterdir()
        if entry.suffix.lower() in SUFFIXES and not entry.name.startswith(".") and entry.is_file()
    )
    return sorted(files, key=lambda entry: natural_key(entry.name))


def check_pixels(pixels: str) -> None:
    """Refuse what is none of `PIXELS`."""
    if pixels not in PIXELS:
        raise ValueError(f"pixels is {pixels!r}; expected one of {', '.join(PIXELS)}.")


def _is_cut(data):
    """Tell whether a JPEG or PNG ends before its own end mark.

    Decoders fill the missing rest with grey and say nothing. No entropy-coded JPEG data holds
    FF DA or FF D9, so an end mark must follow the last start of scan.
    """
    if data[:2] == b"\xff\xd8":
        return data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")
    if data[:4] == b"\x89PNG":
        return b"IEND" not in data[-64:]
    return False


def read_image(path: str | Path, *, pixels: str = "rgb") -> np.ndarray | Planes:
    """Read a picture, turned as its EXIF orientation says.

    Parameters
    ----------
    path : path
        A JPEG, PNG, BMP, TIFF or WebP file. Deeper pictures become 8 bit.
    pixels : {"rgb", "luma", "planes"}
        What to give.

    Returns
    -------
    ndarray of uint8 of shape (height, width, 3) or (height, width), or Planes

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If it is not a picture, or only part of one.
    """
    check_pixels(pixels)
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no picture {path}.")
    data = path.read_bytes()  # cv2.imread fails on names outside the code page of Windows
    if _is_cut(data):
        raise DataError(
            f"{path} is only part of a picture: it ends after {len(data)} bytes without an end "
            "mark. Copy it again from its source, or remove it."
        )
    flag = cv2.IMREAD_GRAYSCALE if pixels == "luma" else cv2.IMREAD_COLOR
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flag) if data else None
    if image is None:
        raise DataError(
            f"{path} cannot be read as a picture ({len(data)} bytes, starting with "
            f"{data[:8]!r}). Copy it again from its source, or remove it."
        )
    if pixels == "luma":
        return image
    image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return to_planes(image) if pixels == "planes" else image


def write_image(path: str | Path, image: np.ndarray) -> Path:
    """Write a picture; the ending of the name chooses the format (.png, .jpg, ...).

    Parameters
    ----------
    path : path
        The file to make.
    image : ndarray of uint8 of shape (height, width, 3) or (height, width)
        RGB or grey.

    Returns
    -------
    Path
        The file.
    """
    path = Path(path)
    image = np.asarray(image)
    if image.dtype != np.uint8 or not (image.ndim == 2 or image.shape[2:] == (3,)):
        raise ValueError(
            f"image has shape {image.shape} and type {image.dtype}; "
            "expected (height, width, 3) or (height, width) of uint8."
        )
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path} ends in {path.suffix!r}; expected .png, .jpg, ...")
    stored = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(path.suffix.lower(), stored)
    if not done:
        raise DataError(f"{path}: a picture of shape {image.shape} cannot be encoded.")
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.tobytes())
    return path
