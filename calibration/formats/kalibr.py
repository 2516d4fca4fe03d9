"""Kalibr's ``camchain.yaml``: each camera's pose in the one before, ``T_cn_cnm1``; metres."""

import os
from pathlib import Path

import numpy as np
import yaml

from calibration.cameras import METRES, CameraRig
from calibration.errors import DataError
from calibration.files import write_text
from calibration.formats.carrying import as_brown
from calibration.formats.reading import (
    check_count,
    counted,
    field,
    load_yaml,
    make_camera,
    make_lens,
    make_rig,
    numbers,
    read_text,
    read_yaml,
)


def is_kalibr(path: Path) -> bool:
    """Tell whether a file is Kalibr's."""
    try:
        found = read_yaml(path)
    except DataError:
        return False
    return any(isinstance(each, dict) and "camera_model" in each for each in found.values())


def load_kalibr(path: str | os.PathLike) -> CameraRig:
    """Load a chain of cameras; the first one's coordinates are the world.

    Raises
    ------
    FileNotFoundError, DataError
        If there is no such file, or a camera is of a model that Kalibr has and this has not.
    """
    path = Path(path)
    text = read_text(path)
    found = {key: each for key, each in load_yaml(path, text).items() if _is_camera(each)}
    names = sorted(found, key=lambda key: (len(key), key))
    wanted = [f"cam{i}" for i in range(len(names))]
    if names != wanted:
        # each camera's pose is given in the one before: without one, all after it are wrong
        raise DataError(
            f"{path} holds {', '.join(names)}; expected {', '.join(wanted)}, each placed in the "
            "one before. A camera was lost or renamed: export it again."
        )
    cameras, pose = [], np.eye(4)
    for i, key in enumerate(names):
        section, where = found[key], f"camera {key!r}"
        if field(path, where, section, "camera_model") != "pinhole":
            raise DataError(
                f"{path}, {where}: its model is {section['camera_model']!r}; pinhole alone is "
                "known. Calibrate it in Kalibr as pinhole-radtan or pinhole-equi."
            )
        inner = field(path, where, section, "intrinsics")
        fx, fy, cx, cy = numbers(path, where, "intrinsics", inner, (4,))
        kind = str(field(path, where, section, "distortion_model"))
        models = {"radtan": "brown", "equidistant": "fisheye", "none": "pinhole"}
        if kind not in models:
            raise DataError(
                f"{path}, {where}: its distortion is {kind!r}; expected {', '.join(models)}."
            )
        coefficients = section.get("distortion_coeffs", [])
        dist = (
            [] if kind == "none" else numbers(path, where, "distortion_coeffs", coefficients, (4,))
        )
        matrix = [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]
        lens = make_lens(
            path, key, matrix, dist, field(path, where, section, "resolution"), models[kind]
        )
        if i:
            motion = field(path, where, section, "T_cn_cnm1")
            motion = numbers(path, where, "T_cn_cnm1", motion, (4, 4))
            if not np.array_equal(motion[3], [0, 0, 0, 1]):
                raise DataError(
                    f"{path}, {where}: the last row of T_cn_cnm1 is {motion[3].tolist()}; expected "
                    "0, 0, 0, 1. Is it transposed? Export it again."
                )
            pose = motion @ pose
        elif "T_cn_cnm1" in section:
            raise DataError(
                f"{path}, {where}: it is placed in a camera before, and there is none. A camera "
                "was lost: export the file again."
            )
        name = str(section.get("name", key))
        cameras.append(make_camera(path, name, lens, pose[:3, :3], pose[:3, 3]))
    check_count(path, text, len(cameras))
    return make_rig(path, cameras, "m")


def _is_camera(section):
    return isinstance(section, dict) and bool(
        {"camera_model", "intrinsics", "distortion_model", "T_cn_cnm1"} & set(section)
    )


def save_kalibr(rig: CameraRig, path: str | os.PathLike) -> None:
    """Write a camchain: metres, four coefficients, each camera in the one before."""
    scale, chain = METRES[rig.units], {}
    for i, camera in enumerate(rig):
        lens = camera.intrinsics
        fisheye = lens.model == "fisheye"
        if not fisheye:
            lens = as_brown(camera, 4, "Kalibr")
        if lens.matrix[0, 1] != 0:
            raise DataError(f"Camera {camera.name!r} has skew, which Kalibr cannot hold.")
        section = {
            "name": camera.name,
            "camera_model": "pinhole",
            "intrinsics": [float(lens.matrix[k]) for k in ((0, 0), (1, 1), (0, 2), (1, 2))],
            "distortion_model": "equidistant" if fisheye else "radtan",
            "distortion_coeffs": lens.dist[:4].tolist(),
            "resolution": list(lens.image_size),
        }
        if i:
            before = rig.cameras[i - 1].camera_from_world
            motion = camera.camera_from_world @ np.linalg.inv(before)
            motion[:3, 3] *= scale
            section["T_cn_cnm1"] = motion.tolist()
        chain[f"cam{i}"] = section
    text = yaml.safe_dump(chain, sort_keys=False, allow_unicode=True, default_flow_style=None)
    write_text(path, f"{counted(len(rig))}\n{text}")
