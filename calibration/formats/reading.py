"""What readers of other programs' calibrations share: bounded files, careful YAML, lens models."""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from calibration import lenses
from calibration.cameras import Camera, Intrinsics
from calibration.errors import DataError, DataWarning
from calibration.rotations import nearest_rotations, rotation_vectors

#: A calibration of 32 cameras takes some 20 kB; what is larger is something else.
MAX_BYTES = 5_000_000

#: Rows of a rotation may be off a rotation by this, by the rounding of their file.
_ROTATION_TOLERANCE = 1e-3


def read_bounded(path: Path) -> bytes:
    """Read a file that is a calibration by its size.

    Raises
    ------
    FileNotFoundError, DataError
        If there is no such file, or it is empty or far too large.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no calibration file {path}. Give its path.")
    size = path.stat().st_size
    if not 0 < size <= MAX_BYTES:
        raise DataError(
            f"{path} has {size} bytes; a calibration has some, and fewer than {MAX_BYTES}. Give "
            "the calibration file itself."
        )
    return path.read_bytes()


def read_text(path: Path) -> str:
    """Read a text file that is a calibration by its size."""
    try:
        return read_bounded(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(
            f"{path} is not a text file, as its format would be. Give the file as the other "
            "program wrote it."
        ) from None


class _Loader(yaml.SafeLoader):
    """YAML without aliases and repeated keys: neither belongs in a calibration."""

    def compose_node(self, parent, index):
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError(f"an alias on line {self.peek_event().start_mark.line + 1}")
        return super().compose_node(parent, index)


def _mapping(loader, node, deep=False):
    keys = [loader.construct_object(key) for key, _ in node.value]
    repeated = {key for key in keys if keys.count(key) > 1}
    if repeated:
        line = node.start_mark.line + 1
        raise yaml.YAMLError(
            f"{sorted(map(str, repeated))[0]!r} twice, in the part from line {line}"
        )
    return {
        key: loader.construct_object(value, deep=True)
        for key, (_, value) in zip(keys, node.value, strict=True)
    }


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_yaml(path: Path) -> Mapping[str, Any]:
    """Read a YAML file of plain values.

    Raises
    ------
    FileNotFoundError, DataError
        If there is none, or it is no YAML, has aliases, repeated keys or anything but a mapping.
    """
    try:
        found = yaml.load(read_text(path), Loader=_Loader)  # noqa: S506  a SafeLoader
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise DataError(f"{path} is no YAML file that can be used: {error}. Restore it.") from None
    if not isinstance(found, dict):
        raise DataError(f"{path} holds no named values. Give the calibration file itself.")
    return found


def numbers(path: Path, where: str, field: str, values: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return a field as finite numbers of a shape, or say which field of which camera is wrong."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.full(0, np.nan)
    if array.size == int(np.prod(shape)):
        array = array.reshape(shape)
    if array.shape != shape or not np.isfinite(array).all():
        raise DataError(
            f"{path}, {where}: {field} is {_short(values)}; expected {' x '.join(map(str, shape))} "
            "finite numbers. Restore the file, or export it again."
        )
    return array


def field(path: Path, where: str, section: Mapping[str, Any], name: str) -> Any:
    """Return a field, or say which one of which camera is missing."""
    if name not in section:
        raise DataError(
            f"{path}, {where}: there is no {name!r}. It was cut short or is of another format: "
            "restore the file, or export it again."
        )
    return section[name]


def _short(values):
    text = str(values).replace("\n", " ")
    return text if len(text) < 60 else f"{text[:57]}..."


def make_camera(
    path: Path, name: str, lens: Intrinsics, rotation: np.ndarray, tvec: np.ndarray
) -> Camera:
    """Make a camera of a rotation matrix or vector, checked to be one."""
    rotation = np.asarray(rotation, dtype=np.float64)
    if rotation.shape == (3, 3):
        nearest = nearest_rotations(rotation)
        if not np.abs(rotation - nearest).max() < _ROTATION_TOLERANCE:
            raise DataError(
                f"{path}, camera {name!r}: its rotation is none (off by "
                f"{np.abs(rotation - nearest).max():.2g}). Is it scaled, transposed or cut short? "
                "Export it again."
            )
        rotation = rotation_vectors(nearest)
    try:
        return Camera(name, lens, rotation, tvec)
    except ValueError as error:
        raise DataError(f"{path}, camera {name!r}: {error}") from None


def make_lens(path: Path, name: str, matrix, dist, size, model: str) -> Intrinsics:
    """Make a lens, or say which camera's is none."""
    try:
        return Intrinsics(matrix, dist, tuple(int(side) for side in size), model)
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}, camera {name!r}: {error}") from None


def image_size(path: Path, name: str, sizes: Mapping[str, tuple[int, int]] | None):
    """Return a camera's image size from what the user gave, for formats that have none."""
    sizes = sizes or {}
    if name in sizes:
        return sizes[name]
    if len(set(sizes.values())) == 1 and None in sizes:
        return sizes[None]
    raise DataError(
        f"{path} does not say the image size of camera {name!r}, as its format never does. Give "
        f"it (--image-size {name}=1280x1024, or 1280x1024 for all cameras), or the cameras' videos."
    )


#: A lens is carried over by fitting another model where that is off by less than this, px.
REFIT_PX = 0.5


def as_brown(camera: Camera, n_coefficients: int, target: str) -> Intrinsics:
    """Carry a lens over to the Brown model with so many coefficients (4 or 5).

    Parameters
    ----------
    camera : Camera
        Whose lens.
    n_coefficients : {4, 5}
        k1, k2, p1, p2 and perhaps k3.
    target : str
        What it is for, for messages.

    Returns
    -------
    Intrinsics
        Of model "brown", five coefficients, k3 zero where there are four.

    Warns
    -----
    DataWarning
        Where the model had to be fitted: by how much it is off in the image.

    Raises
    ------
    DataError
        If it is off by half a pixel or more.
    """
    lens = camera.intrinsics
    dist = np.zeros(5)
    if lens.model == "pinhole":
        return replace(lens, dist=dist, model="brown")
    if lens.model == "brown" and (n_coefficients == 5 or lens.dist[4] == 0):
        return lens
    x, y = (np.linspace(0, side - 1, 33) for side in lens.image_size)
    pixels = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    straight = lens.undistort(pixels)
    good = np.isfinite(straight).all(axis=1)
    points, bent = straight[good], lenses.distort(straight[good], lens.dist, lens.model)
    a, b = points.T
    r2 = a * a + b * b
    slopes = np.stack(
        [
            np.stack([a * r2, b * r2], axis=1),
            np.stack([a * r2**2, b * r2**2], axis=1),
            np.stack([2 * a * b, r2 + 2 * b * b], axis=1),
            np.stack([r2 + 2 * a * a, 2 * a * b], axis=1),
            np.stack([a * r2**3, b * r2**3], axis=1),
        ][:n_coefficients],
        axis=-1,
    )
    found = np.linalg.lstsq(
        slopes.reshape(-1, n_coefficients), (bent - points).ravel(), rcond=None
    )[0]
    dist[:n_coefficients] = found
    off = lens.matrix[0, 0] * np.linalg.norm(lenses.distort(points, dist, "brown") - bent, axis=1)
    if not good.all() or off.max() >= REFIT_PX:
        raise DataError(
            f"Camera {camera.name!r} has a {lens.model} lens, which {target} cannot hold: the "
            f"nearest it has is up to {off.max():.2g} px off in the image. Calibrate with "
            "--model brown (or k1k2p1p2), or export to another format."
        )
    warnings.warn(
        f"{target} cannot hold the {lens.model} lens of camera {camera.name!r}; the nearest it has "
        f"is written, up to {off.max():.2g} px off in the image.",
        DataWarning,
        stacklevel=3,
    )
    return replace(lens, dist=dist, model="brown")
