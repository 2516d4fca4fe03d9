"""OpenCV's FileStorage: a YAML (or XML) file per camera in a folder, OpenCV's names or JARVIS'.

OpenCV's own samples write ``camera_matrix``, ``distortion_coefficients``, ``image_width`` and
``image_height``, and extrinsics as ``R`` or ``rvec`` and ``T`` or ``tvec``. JARVIS writes
``intrinsicMatrix`` and ``R`` transposed, ``distortionCoefficients`` and ``T``, in millimetres, and
no image size.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from calibration.cameras import Camera, CameraRig
from calibration.errors import DataError
from calibration.files import atomic_path
from calibration.formats.carrying import as_brown
from calibration.formats.reading import (
    check_file_names,
    image_size,
    in_order,
    make_camera,
    make_lens,
    make_rig,
    numbers,
    read_bounded,
    rotation_of,
)
from calibration.formats.storage import read_storage

_SUFFIXES = (".yaml", ".yml", ".xml")


def storage_files(path: Path) -> list[Path]:
    """Return the files of FileStorage at a path: itself, or those of a folder."""
    found = path.iterdir() if path.is_dir() else [path]
    return in_order(each for each in found if each.suffix.lower() in _SUFFIXES and each.is_file())


def storage_kind(path: Path) -> str | None:
    """Tell whose files lie at a path: "opencv", "jarvis", or None."""
    for file in storage_files(path):
        head = read_bounded(file)[:200_000]
        if b"intrinsicMatrix" in head:
            return "jarvis"
        stored = b"opencv-matrix" in head or b"opencv_storage" in head
        if stored and (b"camera_matrix" in head or b"cameraMatrix" in head):
            return "opencv"
    return None


def _first(found, *names):
    """Return the first of several names that is there."""
    return next((found[name] for name in names if name in found), None)


def load_opencv(
    path: str | os.PathLike,
    *,
    units: str,
    image_sizes: Mapping[str, tuple[int, int]] | None = None,
) -> CameraRig:
    """Load a folder of FileStorage files, a camera each, named after the files.

    Parameters
    ----------
    path : path
        The folder, or one file.
    units : str
        Unit of the translations.
    image_sizes : mapping of str to (int, int), optional
        For files that do not say it; under None for all cameras.

    Raises
    ------
    FileNotFoundError, DataError
        If there is none, or a camera lacks its matrix or its place.
    """
    return _load(Path(path), units, image_sizes, transposed=False)


def load_jarvis(
    path: str | os.PathLike,
    *,
    units: str = "mm",
    image_sizes: Mapping[str, tuple[int, int]] | None = None,
) -> CameraRig:
    """Load a folder of JARVIS' calibration files, a camera each; see `load_opencv`."""
    return _load(Path(path), units, image_sizes, transposed=True)


def _load(path, units, sizes, *, transposed):
    files = storage_files(path)
    if not files:
        raise FileNotFoundError(f"There is no .yaml or .xml file of a camera at {path}.")
    cameras = []
    for file in files:
        found = read_storage(file)
        matrix = _first(found, "intrinsicMatrix", "camera_matrix", "cameraMatrix", "K")
        dist = _first(found, "distortionCoefficients", "distortion_coefficients", "distCoeffs", "D")
        if matrix is None:
            raise DataError(f"{file} holds no camera matrix. Leave it out of the folder.")
        where = f"camera {file.stem!r}"
        rotation = _first(found, "R", "rotation_matrix", "rvec", "rotation")
        place = _first(found, "T", "tvec", "translation", "t")
        if rotation is None or place is None:
            raise DataError(
                f"{file} holds a lens without a place (no R and T). A rig needs both: calibrate "
                "it, or give the lens to calibrate-rig."
            )
        matrix = numbers(file, where, "the camera matrix", matrix, (3, 3))
        rotation = rotation_of(file, where, rotation)
        if transposed:
            matrix, rotation = matrix.T, rotation.T
        dist = np.zeros(5) if dist is None else dist
        dist = numbers(file, where, "the distortion", dist, None)
        place = numbers(file, where, "T", place, (3,))
        size = _first(found, "image_size", "imageSize")
        if size is None and "image_width" in found and "image_height" in found:
            size = (found["image_width"], found["image_height"])
        if size is not None:
            size = numbers(file, where, "the image size", size, (2,))
        if size is None:
            size = image_size(file, file.stem, sizes)
        model = "rational" if dist.size == 8 else "brown"
        if str(_first(found, "fisheye", "fisheye_model") or 0) not in ("0", "0.0"):
            model = "fisheye"
        elif dist.size == 0:
            model = "pinhole"
        lens = make_lens(file, file.stem, matrix, dist, size, model)
        cameras.append(make_camera(file, file.stem, lens, rotation, place))
    return make_rig(path, cameras, units)


def save_opencv(rig: CameraRig, folder: str | os.PathLike) -> None:
    """Write a folder of FileStorage files, a camera each, in the rig's unit."""

    def entries(camera: Camera):
        lens = camera.intrinsics
        width, height = lens.image_size
        yield "image_width", width
        yield "image_height", height
        yield "camera_matrix", lens.matrix
        yield "distortion_coefficients", lens.dist.reshape(1, -1) if lens.dist.size else None
        yield "fisheye_model", int(lens.model == "fisheye")
        yield "R", camera.rotation
        yield "T", camera.tvec.reshape(3, 1)

    _save(rig, Path(folder), entries)


def save_jarvis(rig: CameraRig, folder: str | os.PathLike) -> None:
    """Write a folder of JARVIS' calibration files: transposed matrices, five coefficients."""

    def entries(camera: Camera):
        lens = as_brown(camera, 5, "JARVIS")
        yield "intrinsicMatrix", lens.matrix.T
        yield "distortionCoefficients", lens.dist.reshape(1, -1)
        yield "R", camera.rotation.T
        yield "T", camera.tvec.reshape(3, 1)

    _save(rig, Path(folder), entries)


def _save(rig, folder, entries):
    import cv2

    # all of it before the first file: what cannot be held leaves none behind
    contents = [(camera, list(entries(camera))) for camera in rig]
    check_file_names(rig)
    folder.mkdir(parents=True, exist_ok=True)
    for camera, fields in contents:
        with atomic_path(folder / f"{camera.name}.yaml") as temporary:
            # OpenCV chooses the format by the ending
            storage = cv2.FileStorage(
                "calibration.yaml", cv2.FILE_STORAGE_WRITE | cv2.FILE_STORAGE_MEMORY
            )
            for key, value in fields:
                if value is not None:
                    whole = isinstance(value, int)
                    storage.write(key, value if whole else np.ascontiguousarray(value))
            temporary.write_text(storage.releaseAndGetString(), encoding="utf-8")
