"""Projection matrices: 3 x 4 text files as multi-view geometry uses them, and DLT coefficients.

A matrix is of a pinhole: its lens, and place, follow from it (RQ decomposition). DLT's eleven
coefficients, as easyWand and DLTdv use them, are such a matrix with its last entry one, and count
pixels from one. Older versions of DLTdv and easyWand have the image's origin at the lower left, y
up; newer ones at the upper left, y down: which it is, the coefficients tell (a picture with y up is
mirrored, and no camera takes mirrored pictures).
"""

import os
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from calibration.cameras import Camera, CameraRig, Intrinsics
from calibration.errors import DataError, DataWarning
from calibration.files import write_text
from calibration.formats.reading import (
    check_file_names,
    image_size,
    in_order,
    make_camera,
    make_lens,
    make_rig,
    read_text,
)

_SUFFIXES = (".p", ".txt", ".pmat")
#: Pixels are square and in rows to this share of the focal length; DLT fits them free.
_ODD_LENS = 0.1
#: DLT programs count pixels from one.
_FIRST_PIXEL = 1.0


def split_projection(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Take a 3 x 4 projection matrix apart: lens matrix, rotation, translation.

    Hartley and Zisserman, Multiple View Geometry, 2nd edition, section 6.2.4. The lens matrix
    has a positive diagonal and its last entry one; the rotation is one (no reflection).
    """
    left = matrix[:, :3]
    if np.linalg.det(left) < 0:  # a projection is known but for its sign
        matrix, left = -matrix, -left
    flip = np.eye(3)[::-1]
    q, r = np.linalg.qr((flip @ left).T)
    lens, rotation = flip @ r.T @ flip, flip @ q.T
    signs = np.diag(np.where(np.diag(lens) < 0, -1.0, 1.0))
    lens, rotation = lens @ signs, signs @ rotation
    return lens / lens[2, 2], rotation, np.linalg.solve(lens, matrix[:, 3])


def _projection(lens: Intrinsics, camera: Camera) -> np.ndarray:
    """Return a camera's projection matrix; its lens must be straight."""
    if lens.dist.any():
        raise DataError(
            f"Camera {camera.name!r} has a lens that bends lines, which projection matrices cannot "
            "hold: everything would come out wrong by its distortion. Undistort the pictures "
            "first and export a pinhole, or export to another format."
        )
    return lens.matrix @ camera.camera_from_world[:3]


def _table(path: Path, told: bool = True) -> np.ndarray:
    """Read a table of numbers separated by blanks or commas."""
    rows = []
    text = read_text(path)
    for line in text.splitlines():
        cells = line.replace(",", " ").replace(";", " ").split()
        if cells and not cells[0].startswith(("#", "%")):
            try:
                rows.append([float(cell) for cell in cells])
            except ValueError:
                if rows:
                    raise DataError(
                        f"{path} has {line[:40]!r} among its numbers. Give numbers alone."
                    ) from None
    if not rows or len({len(row) for row in rows}) > 1:
        raise DataError(
            f"{path} holds no table of numbers, or rows of unequal length. Was it cut short? "
            "Export it again."
        )
    table = np.array(rows)
    if not np.isfinite(table).all():
        row, column = np.argwhere(~np.isfinite(table))[0] + 1
        raise DataError(
            f"{path}, row {row}, column {column}: {table[row - 1, column - 1]} is no number that "
            "can be used. Export it again."
        )
    if told and not text.endswith("\n"):
        warnings.warn(
            f"{path} does not end with the end of a line: its last number, {rows[-1][-1]}, may "
            "have been cut short. See that it has not.",
            DataWarning,
            stacklevel=3,
        )
    return table


def matrix_files(path: Path) -> list[Path]:
    """Return the files of projection matrices at a path: itself, or those of a folder."""
    found = path.iterdir() if path.is_dir() else [path]
    return in_order(each for each in found if each.suffix.lower() in _SUFFIXES and each.is_file())


def table_kind(path: Path) -> str | None:
    """Tell what numbers lie at a path: "mvg" (3 x 4 files), "dlt" (11 rows), or None."""
    try:
        if path.is_dir():
            files = matrix_files(path)
            return (
                "mvg"
                if files and all(_table(file, told=False).shape == (3, 4) for file in files)
                else None
            )
        table = _table(path, told=False)
    except (DataError, OSError):
        return None
    return "mvg" if table.shape == (3, 4) else "dlt" if len(table) == 11 else None


def load_mvg(
    path: str | os.PathLike,
    *,
    units: str,
    image_sizes: Mapping[str, tuple[int, int]] | None = None,
) -> CameraRig:
    """Load a folder of 3 x 4 matrices, a text file per camera, named after the files.

    Raises
    ------
    FileNotFoundError, DataError
        If there is none, or one is no projection.
    """
    path = Path(path)
    files = matrix_files(path)
    if not files:
        raise FileNotFoundError(f"There is no file of a 3 x 4 matrix at {path}.")
    cameras = []
    for file in files:
        table = _table(file)
        if table.shape != (3, 4):
            raise DataError(f"{file} holds {table.shape[0]} x {table.shape[1]} numbers, not 3 x 4.")
        cameras.append(_camera(file, file.stem, table, image_size(file, file.stem, image_sizes)))
    return make_rig(path, cameras, units)


def _camera(path, name, projection, size):
    left = projection[:, :3]
    # rows of all sizes: a projection has the scale that its writer liked
    scaled = left / np.maximum(np.linalg.norm(left, axis=1, keepdims=True), 1e-300)
    if np.linalg.matrix_rank(scaled, tol=1e-9) < 3:
        raise DataError(
            f"{path}, camera {name!r}: its matrix is no projection (rank below 3). Export it again."
        )
    matrix, rotation, place = split_projection(projection)
    matrix[np.tril_indices(3, -1)] = 0.0
    lens = make_lens(path, name, matrix, [], size, "pinhole")
    (fx, skew), fy = matrix[0, :2], matrix[1, 1]
    if abs(skew) > _ODD_LENS * fx or not 1 - _ODD_LENS < fx / fy < 1 + _ODD_LENS:
        warnings.warn(
            f"{path}, camera {name!r}: focal lengths {fx:.5g} and {fy:.5g} px and skew {skew:.3g} "
            "px, which no camera has. A number was cut short or changed, or the points that it was "
            "made of were few, flat or wrong: see that it is the file that was exported.",
            DataWarning,
            stacklevel=4,
        )
    return make_camera(path, name, lens, rotation, place)


def save_mvg(rig: CameraRig, folder: str | os.PathLike) -> None:
    """Write a folder of 3 x 4 matrices, ``<camera>.P``; lenses must be straight."""
    folder = Path(folder)
    check_file_names(rig)
    # all of it before the first file: what cannot be held leaves none behind
    projections = [_projection(camera.intrinsics, camera) for camera in rig]
    folder.mkdir(parents=True, exist_ok=True)
    for camera, rows in zip(rig, projections, strict=True):
        text = "\n".join(" ".join(repr(float(value)) for value in row) for row in rows)
        write_text(folder / f"{camera.name}.P", text + "\n")


def load_dlt(
    path: str | os.PathLike,
    *,
    units: str,
    image_sizes: Mapping[str, tuple[int, int]] | None = None,
) -> CameraRig:
    """Load a table of DLT coefficients: eleven rows, a column per camera.

    Pixels count from one, at the upper left with y down, or at the lower left with y up: the
    coefficients tell which, as the world's origin lies in front of every camera by how they are
    made. Distortion is not in the file, and none is assumed.

    Raises
    ------
    FileNotFoundError, DataError
        If there is no such file, or a column is no camera.
    """
    path = Path(path)
    table = _table(path)
    if len(table) != 11:
        raise DataError(f"{path} has {len(table)} rows; eleven DLT coefficients are needed.")
    if not table.shape[1]:
        raise DataError(f"{path} holds no column of coefficients. Export it again.")
    names = [f"cam_{i + 1}" for i in range(table.shape[1])]
    projections = [np.append(column, 1.0).reshape(3, 4) for column in table.T]
    upwards = [bool(np.linalg.det(each[:, :3]) < 0) for each in projections]
    if any(upwards) and not all(upwards):
        raise DataError(
            f"{path}: the coefficients of {_listed(names, upwards)} are of pictures that are "
            "mirrored against the others': the world's origin lies behind some cameras and in "
            "front of others, where DLT cannot say which way they look. Calibrate with the origin "
            "in view of all cameras, or leave out those cameras' columns."
        )
    if all(upwards):
        warnings.warn(
            f"{path}: its coefficients are of pictures with y up from the lower left, as older "
            "versions of DLTdv and easyWand have them; they are turned over, by the images' "
            "height. That is right if the world's origin lies in front of the cameras: see that "
            "the heights are, and that the cameras look where they should (show-rig).",
            DataWarning,
            stacklevel=2,
        )
    cameras = []
    for name, projection, up in zip(names, projections, upwards, strict=True):
        size = image_size(path, name, image_sizes)
        shift = np.array([[1.0, 0, -_FIRST_PIXEL], [0, 1.0, -_FIRST_PIXEL], [0, 0, 1.0]])
        if up:  # row v of h, counted from one at the bottom, is row h - v from zero at the top
            shift[1] = [0, -1.0, size[1]]
        cameras.append(_camera(path, name, shift @ projection, size))
    return make_rig(path, cameras, units)


def _listed(names: list[str], chosen: list[bool]) -> str:
    """Name those that are chosen."""
    return ", ".join(name for name, each in zip(names, chosen, strict=True) if each)


def save_dlt(rig: CameraRig, path: str | os.PathLike) -> None:
    """Write DLT coefficients, a column per camera; lenses must be straight."""
    shift = np.array([[1.0, 0, _FIRST_PIXEL], [0, 1.0, _FIRST_PIXEL], [0, 0, 1.0]])
    columns = []
    for camera in rig:
        projection = shift @ _projection(camera.intrinsics, camera)
        if projection[2, 3] <= 1e-9 * np.abs(projection[2]).max():
            raise DataError(
                f"The world's origin lies behind camera {camera.name!r} or beside it, where DLT "
                "cannot say which way it looks. Move the origin into its view (orient-rig) before "
                "exporting."
            )
        columns.append((projection / projection[2, 3]).ravel()[:11])
    rows = np.array(columns).T
    text = "\n".join(",".join(repr(float(value)) for value in row) for row in rows)
    write_text(path, text + "\n")
