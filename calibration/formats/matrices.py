"""Projection matrices: 3 x 4 text files as multi-view geometry uses them, and DLT coefficients.

A matrix is of a pinhole: its lens, and place, follow from it (RQ decomposition). DLT's eleven
coefficients, as easyWand and DLTdv use them, are such a matrix with its last entry one, and count
pixels from one with y upwards or downwards as the user's program did.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from calibration.cameras import Camera, CameraRig, Intrinsics
from calibration.errors import DataError
from calibration.files import write_text
from calibration.formats.reading import image_size, make_camera, make_lens, read_text

_SUFFIXES = (".p", ".txt", ".pmat")
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


def _table(path: Path) -> np.ndarray:
    """Read a table of numbers separated by blanks or commas."""
    rows = []
    for line in read_text(path).splitlines():
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
        raise DataError(f"{path} holds no table of numbers, or rows of unequal length.")
    return np.array(rows)


def matrix_files(path: Path) -> list[Path]:
    """Return the files of projection matrices at a path: itself, or those of a folder."""
    found = sorted(path.iterdir()) if path.is_dir() else [path]
    return [each for each in found if each.suffix.lower() in _SUFFIXES and each.is_file()]


def table_kind(path: Path) -> str | None:
    """Tell what numbers lie at a path: "mvg" (3 x 4 files), "dlt" (11 rows), or None."""
    try:
        if path.is_dir():
            files = matrix_files(path)
            return "mvg" if files and all(_table(file).shape == (3, 4) for file in files) else None
        table = _table(path)
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
    return CameraRig(tuple(cameras), units)


def _camera(path, name, projection, size):
    if np.linalg.matrix_rank(projection[:, :3]) < 3:
        raise DataError(f"{path}, camera {name!r}: its matrix is no projection (rank below 3).")
    matrix, rotation, place = split_projection(projection)
    matrix[np.tril_indices(3, -1)] = 0.0
    lens = make_lens(path, name, matrix, [], size, "pinhole")
    return make_camera(path, name, lens, rotation, place)


def save_mvg(rig: CameraRig, folder: str | os.PathLike) -> None:
    """Write a folder of 3 x 4 matrices, ``<camera>.P``; lenses must be straight."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for camera in rig:
        rows = _projection(camera.intrinsics, camera)
        text = "\n".join(" ".join(repr(float(value)) for value in row) for row in rows)
        write_text(folder / f"{camera.name}.P", text + "\n")


def load_dlt(
    path: str | os.PathLike,
    *,
    units: str,
    image_sizes: Mapping[str, tuple[int, int]] | None = None,
) -> CameraRig:
    """Load a table of DLT coefficients: eleven rows, a column per camera.

    Pixels are taken to count from one at the top left, y down, as DLTdv stores them; distortion
    is not in the file, and none is assumed.

    Raises
    ------
    FileNotFoundError, DataError
        If there is no such file, or a column is no camera.
    """
    path = Path(path)
    table = _table(path)
    if len(table) != 11:
        raise DataError(f"{path} has {len(table)} rows; eleven DLT coefficients are needed.")
    cameras = []
    shift = np.array([[1.0, 0, -_FIRST_PIXEL], [0, 1.0, -_FIRST_PIXEL], [0, 0, 1.0]])
    for i, column in enumerate(table.T):
        name = f"cam_{i + 1}"
        projection = shift @ np.append(column, 1.0).reshape(3, 4)
        cameras.append(_camera(path, name, projection, image_size(path, name, image_sizes)))
    return CameraRig(tuple(cameras), units)


def save_dlt(rig: CameraRig, path: str | os.PathLike) -> None:
    """Write DLT coefficients, a column per camera; lenses must be straight."""
    shift = np.array([[1.0, 0, _FIRST_PIXEL], [0, 1.0, _FIRST_PIXEL], [0, 0, 1.0]])
    columns = []
    for camera in rig:
        projection = shift @ _projection(camera.intrinsics, camera)
        if abs(projection[2, 3]) < 1e-9 * np.abs(projection[2]).max():
            raise DataError(
                f"The world's origin lies in the plane of camera {camera.name!r}, where DLT has no "
                "answer. Move the origin (orient-rig) before exporting."
            )
        columns.append((projection / projection[2, 3]).ravel()[:11])
    rows = np.array(columns).T
    text = "\n".join(",".join(repr(float(value)) for value in row) for row in rows)
    write_text(path, text + "\n")
