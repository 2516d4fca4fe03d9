"""Caliscope's ``camera_array.toml``, and the ``config.toml`` of its older versions: metres."""

import os
import warnings
from pathlib import Path

from calibration.cameras import METRES, CameraRig
from calibration.errors import DataError, DataWarning
from calibration.files import write_text
from calibration.formats.carrying import as_brown
from calibration.formats.reading import (
    check_count,
    counted,
    field,
    make_camera,
    make_lens,
    make_rig,
    numbers,
    read_text,
    read_toml,
)


def is_caliscope(path: Path) -> bool:
    """Tell whether a file is Caliscope's."""
    try:
        sections = _sections(path)
    except DataError:
        return False
    return any("rotation_count" in each or "grid_count" in each for each in sections.values())


def _sections(path):
    """Return the cameras' sections by their names."""
    document = read_toml(path)
    cameras = document.get("cameras")
    if isinstance(cameras, dict):
        found = {f"cam_{key}": each for key, each in cameras.items() if isinstance(each, dict)}
        lost = [key for key, each in cameras.items() if not isinstance(each, dict)]
        if lost:
            raise DataError(f"{path}: cameras.{lost[0]} is no section. Export it again.")
        return found
    return {
        key: each
        for key, each in document.items()
        if key.startswith("cam_") and isinstance(each, dict)
    }


def load_caliscope(path: str | os.PathLike) -> CameraRig:
    """Load the cameras that have a place; the others are named in a warning.

    Raises
    ------
    FileNotFoundError, DataError
        If there is no such file, or it holds no camera that can be.
    """
    path = Path(path)
    cameras, placeless = [], []
    for name, section in _sections(path).items():
        if section.get("ignore"):
            placeless.append(f"{name!r} (set to be ignored)")
            continue
        if section.get("rotation") is None or section.get("translation") is None:
            placeless.append(f"{name!r} (without a place)")
            continue
        where = f"camera {name!r}"
        matrix = numbers(path, where, "matrix", field(path, where, section, "matrix"), (3, 3))
        fisheye = bool(section.get("fisheye", False))
        dist = field(path, where, section, "distortions")
        dist = numbers(path, where, "distortions", dist, None)
        model = "fisheye" if fisheye else "brown"
        lens = make_lens(path, name, matrix, dist, field(path, where, section, "size"), model)
        place = numbers(path, where, "translation", section["translation"], (3,))
        name = str(section.get("name", name))  # Caliscope has none; what is written here has
        cameras.append(make_camera(path, name, lens, section["rotation"], place))
    if placeless:
        warnings.warn(f"{path}: {', '.join(placeless)} left out.", DataWarning, stacklevel=2)
    if not cameras:
        raise DataError(f"{path} holds no camera with a place. Calibrate in Caliscope, or here.")
    check_count(path, read_text(path), len(cameras) + len(placeless))
    return make_rig(path, cameras, "m")


def save_caliscope(rig: CameraRig, path: str | os.PathLike) -> None:
    """Write ``camera_array.toml``: metres, five coefficients, cameras by number."""
    scale = METRES[rig.units]
    lines = [counted(len(rig))]
    for i, camera in enumerate(rig):
        lens = camera.intrinsics
        if lens.model != "fisheye":
            lens = as_brown(camera, 5, "Caliscope")
        lines += [
            f"[cameras.{i}]",
            f"cam_id = {i}",
            f"name = {_text(camera.name)}",
            "rotation_count = 0",
            "ignore = false",
            f"fisheye = {str(lens.model == 'fisheye').lower()}",
            f"size = {list(lens.image_size)}",
            f"matrix = {lens.matrix.tolist()}",
            f"distortions = {lens.dist.tolist()}",
            f"rotation = {camera.rvec.tolist()}",
            f"translation = {(camera.tvec * scale).tolist()}",
            "",
        ]
    write_text(path, "\n".join(lines))


def _text(name):
    import json

    return json.dumps(name, ensure_ascii=False)
