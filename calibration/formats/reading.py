"""What readers of other programs' calibrations share: bounded files, careful YAML, checks."""

import re
import tomllib
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from calibration.cameras import METRES, Camera, CameraRig, Intrinsics
from calibration.errors import DataError, DataWarning
from calibration.rotations import nearest_rotations, rotation_vectors

#: A calibration of 32 cameras takes some 20 kB; what is larger is something else.
MAX_BYTES = 5_000_000

#: Characters of YAML: a reader in Python takes seconds for more.
MAX_YAML = 1_000_000

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


class PlainLoader(yaml.SafeLoader):
    """YAML without aliases and repeated keys: neither belongs in a calibration.

    Keys are text as they stand, so that a camera called ``no`` or ``1`` keeps its name.
    """

    def compose_node(self, parent, index):
        """Make a node of what comes next, unless it is an alias."""
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError(f"an alias on line {self.peek_event().start_mark.line + 1}")
        return super().compose_node(parent, index)

    def construct_mapping(self, node, deep=True):
        """Make a dict of a mapping; see the class."""
        if not isinstance(node, yaml.MappingNode):
            raise yaml.YAMLError(f"no mapping on line {node.start_mark.line + 1}")
        found = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.YAMLError(f"a name that is none, on line {line}")
            if key.value in found:
                raise yaml.YAMLError(f"{key.value!r} twice, on line {line}")
            found[key.value] = self.construct_object(value, deep=True)
        return found


PlainLoader.add_constructor(
    yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, PlainLoader.construct_mapping
)


def load_yaml(path: Path, text: str, loader: type[PlainLoader] = PlainLoader) -> dict[str, Any]:
    """Read YAML of plain values: no aliases, no repeated keys, no objects.

    Raises
    ------
    DataError
        If it is no YAML, or anything but a mapping, or larger than a calibration.
    """
    if len(text) > MAX_YAML:
        raise DataError(
            f"{path} has {len(text)} characters; a calibration in YAML has fewer than {MAX_YAML}. "
            "Give the calibration file itself."
        )
    try:
        found = yaml.load(text, Loader=loader)  # noqa: S506  a SafeLoader
    except (
        yaml.YAMLError,
        RecursionError,
        ArithmeticError,
        LookupError,
        TypeError,
        ValueError,
    ) as error:
        raise DataError(
            f"{path} is no YAML file that can be used: {error or type(error).__name__}. Was it cut "
            "short? Export it again."
        ) from None
    if not isinstance(found, dict):
        raise DataError(f"{path} holds no named values. Give the calibration file itself.")
    return found


def read_yaml(path: Path) -> Mapping[str, Any]:
    """Read a YAML file of plain values; see `load_yaml`."""
    return load_yaml(path, read_text(path))


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    FileNotFoundError, DataError
        If there is none, or it is no TOML.
    """
    try:
        return tomllib.loads(read_text(path))
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise DataError(
            f"{path} is no TOML file, or was cut short ({error}). Restore it, or export it again."
        ) from None


def counted(n_cameras: int) -> str:
    """Return the comment that says how many cameras a file has, for TOML and YAML."""
    return f"# {n_cameras} cameras"


def check_count(path: Path, text: str, n_cameras: int) -> None:
    """Notice a file of text that was cut short, as far as that can be noticed.

    Raises
    ------
    DataError
        If it says in its first line how many cameras it has, as files from here do, and has
        another number.

    Warns
    -----
    DataWarning
        If its last line does not end.
    """
    said = re.match(r"# (\d{1,6}) cameras\s", text)
    if said and int(said[1]) != n_cameras:
        raise DataError(
            f"{path} says {said[1]} cameras and holds {n_cameras}. It was cut short or changed: "
            "export it again."
        )
    if not text.endswith("\n"):
        warnings.warn(
            f"{path} does not end with the end of a line: it may have been cut short. It holds "
            f"{n_cameras} cameras; see that none is missing, and that the last one is right.",
            DataWarning,
            stacklevel=3,
        )


def in_order(names: Iterable[Path]) -> list[Path]:
    """Return files in the order of the numbers in their names: cam_2 before cam_10."""
    return sorted(
        names,
        key=lambda path: [
            (int(part), "") if part.isdecimal() else (-1, part)
            for part in re.split(r"(\d+)", path.stem)
        ],
    )


def check_file_names(rig: CameraRig) -> None:
    """Refuse cameras whose names cannot be those of files, as formats of folders need.

    Raises
    ------
    DataError
        Naming the camera.
    """
    for name in rig.names:
        if not name.strip(". ") or set(name) & set('/\\:*?"<>|') or not name.isprintable():
            raise DataError(
                f"Camera {name!r} cannot be a file's name, which this format takes it for. Rename "
                "it first."
            )


def make_rig(path: Path, cameras: Iterable[Camera], units: str) -> CameraRig:
    """Make a rig of a file's cameras, or say what is wrong with them."""
    cameras = tuple(cameras)
    if units not in METRES:
        raise ValueError(f"units is {units!r}; expected one of {', '.join(METRES)}.")
    if not cameras:
        raise DataError(f"{path} holds no camera. Was it cut short? Export it again.")
    try:
        return CameraRig(cameras, units)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None


def numbers(
    path: Path, where: str, field: str, values: Any, shape: tuple[int, ...] | None
) -> np.ndarray:
    """Return a field as finite numbers, or say which field of which camera is wrong.

    Parameters
    ----------
    path : path
        The file, for messages.
    where, field : str
        Camera and field, for messages.
    values : object
        What the file has.
    shape : tuple of int or None
        The shape to give them; None for a row of any length.
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        array = np.full(1, np.nan)
    if shape is None:
        array = array.ravel()
    elif array.size == int(np.prod(shape)):
        array = array.reshape(shape)
    if (shape is not None and array.shape != shape) or not np.isfinite(array).all():
        wanted = "" if shape is None else " x ".join(map(str, shape)) + " "
        raise DataError(
            f"{path}, {where}: {field} is {_short(values)}; expected {wanted}finite numbers. "
            "Restore the file, or export it again."
        )
    return array


def rotation_of(path: Path, where: str, values: Any) -> np.ndarray:
    """Return a rotation as a matrix of shape (3, 3) or a vector of shape (3,), as it stands."""
    given = numbers(path, where, "its rotation", values, None)
    return numbers(path, where, "its rotation", given, (3, 3) if given.size == 9 else (3,))


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
    rotation = rotation_of(path, f"camera {name!r}", rotation)
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
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{path}, camera {name!r}: {error}") from None


def make_lens(path: Path, name: str, matrix, dist, size, model: str) -> Intrinsics:
    """Make a lens, or say which camera's is none."""
    try:
        sides = tuple(float(side) for side in size)
        if len(sides) != 2 or not all(side.is_integer() for side in sides):
            raise ValueError(f"the image size is {_short(size)}; expected two whole numbers.")
        return Intrinsics(matrix, dist, tuple(int(side) for side in sides), model)
    except (TypeError, ValueError, OverflowError) as error:
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
