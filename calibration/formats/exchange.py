"""Whose calibration a file is, and how it is read and written: one table of formats."""

import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from calibration.cameras import CameraRig
from calibration.errors import DataError, DataWarning


@dataclass(frozen=True)
class Format:
    """A calibration format.

    Attributes
    ----------
    told : str
        What it is, for people.
    module : str
        Where it is read and written.
    load, save : str
        Names of the functions; empty where there is none.
    ending : str
        Of the files it writes; empty for a folder.
    needs : tuple of str
        What its reader must be told: "units", "image_sizes".
    """

    told: str
    module: str
    load: str
    save: str
    ending: str
    needs: tuple[str, ...] = ()


_HERE = "calibration.formats"

FORMATS = {
    "anipose": Format(
        "aniposelib, Anipose, Lightning Pose, sleap-anipose (.toml)",
        f"{_HERE}.toml", "load_rig", "save_rig", ".toml", ("units",),
    ),
    "pose2sim": Format(
        "Pose2Sim's Calib.toml", f"{_HERE}.toml", "load_rig", "save_pose2sim", ".toml", ("units",)
    ),
    "caliscope": Format(
        "Caliscope's camera_array.toml", f"{_HERE}.caliscope", "load_caliscope", "save_caliscope",
        ".toml",
    ),
    "opencv": Format(
        "OpenCV's FileStorage, a .yaml per camera in a folder", f"{_HERE}.opencv_yaml",
        "load_opencv", "save_opencv", "", ("units", "image_sizes"),
    ),
    "jarvis": Format(
        "JARVIS' .yaml per camera in a folder", f"{_HERE}.opencv_yaml", "load_jarvis",
        "save_jarvis", "", ("units", "image_sizes"),
    ),
    "label3d": Format(
        "Label3D's and DANNCE's .mat", f"{_HERE}.label3d", "load_label3d", "save_label3d", ".mat",
        ("units", "image_sizes"),
    ),
    "kalibr": Format(
        "Kalibr's camchain.yaml", f"{_HERE}.kalibr", "load_kalibr", "save_kalibr", ".yaml"
    ),
    "dlt": Format(
        "DLT coefficients (easyWand, DLTdv): eleven rows, a column per camera",
        f"{_HERE}.matrices", "load_dlt", "save_dlt", ".csv", ("units", "image_sizes"),
    ),
    "mvg": Format(
        "3 x 4 projection matrices, a .P file per camera in a folder", f"{_HERE}.matrices",
        "load_mvg", "save_mvg", "", ("units", "image_sizes"),
    ),
    "qualisys": Format(
        "Qualisys' .qca.txt (read only)", f"{_HERE}.qualisys", "load_qualisys", "", ".txt"
    ),
}  # fmt: skip

#: Who projects with OpenCV, which ignores skew; Kalibr cannot say it and refuses.
_BLIND_TO_SKEW = {
    "anipose": "aniposelib",
    "pose2sim": "Pose2Sim",
    "caliscope": "Caliscope",
    "opencv": "OpenCV",
}

#: Unit that a format's files are in by habit where they do not say.
_HABITS = {"jarvis": "mm", "label3d": "mm"}


def recognise(path: str | os.PathLike) -> str:
    """Tell which of `FORMATS` a file or folder is, by what it holds.

    Raises
    ------
    FileNotFoundError
        If there is no such file or folder.
    DataError
        If it is a pickle, or none of the known formats.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no calibration {path}. Give its path.")
    if path.suffix.lower() in (".pickle", ".pkl") or _is_pickle(path):
        raise DataError(
            f"{path} is a pickle (DeepLabCut's stereo_params, OpenCap's cameras): loading one may "
            "run any code, so none is ever loaded. Calibrate again from the board's pictures "
            "(calibrate-rig), which takes seconds; or, if you trust it, open it in its own "
            "program and write its matrices as OpenCV YAML."
        )
    from calibration.formats import caliscope, kalibr, label3d, matrices, opencv_yaml, qualisys

    suffix = path.suffix.lower()
    if path.is_dir():
        kind = opencv_yaml.storage_kind(path) or matrices.table_kind(path)
    elif suffix == ".toml":
        kind = "caliscope" if caliscope.is_caliscope(path) else "anipose"
    elif suffix == ".mat":
        kind = "label3d" if label3d.is_label3d(path) else None
    elif suffix in (".yaml", ".yml", ".xml"):
        kind = opencv_yaml.storage_kind(path)
        kind = kind or ("kalibr" if suffix != ".xml" and kalibr.is_kalibr(path) else None)
    else:
        kind = "qualisys" if qualisys.is_qualisys(path) else matrices.table_kind(path)
    if kind is None:
        known = "; ".join(f"{name}: {each.told}" for name, each in FORMATS.items())
        raise DataError(
            f"{path} is none of the calibrations that are known by what they hold. Known are "
            f"{known}. If it is one of these, it was cut short or changed: export it again."
        )
    return kind


def _is_pickle(path):
    """Look for the mark of a pickle: protocol 2 or later, and a stop at its end."""
    if path.is_dir() or path.suffix.lower() not in (".pickle", ".pkl", ".dat", ""):
        return False
    with open(path, "rb") as file:
        head = file.read(2)
    return head[:1] == b"\x80" and head[1:] in (b"\x02", b"\x03", b"\x04", b"\x05")


def load_any(
    path: str | os.PathLike,
    format: str | None = None,
    *,
    units: str | None = None,
    image_sizes: Mapping[str | None, tuple[int, int]] | None = None,
) -> tuple[str, CameraRig]:
    """Load a rig from whatever program wrote it.

    Parameters
    ----------
    path : path
        The file, or the folder of files.
    format : str, optional
        One of `FORMATS`; found out unless given.
    units : str, optional
        Unit of length, for formats that do not say it.
    image_sizes : mapping of str to (int, int), optional
        For formats without image sizes, by camera, or under None for all of them.

    Returns
    -------
    str
        The format.
    CameraRig

    Raises
    ------
    FileNotFoundError, DataError, ValueError
        If there is none, or it cannot be believed.

    Warns
    -----
    DataWarning
        If two cameras are copies of each other, or a unit is taken by habit.
    """
    if format is not None and format not in FORMATS:
        raise ValueError(f"format is {format!r}; expected one of {', '.join(FORMATS)}.")
    format = format or recognise(path)
    entry = FORMATS[format]
    settings: dict[str, Any] = {}
    if "image_sizes" in entry.needs:
        settings["image_sizes"] = image_sizes
    if "units" in entry.needs:
        if units is None and format in _HABITS:
            units = _HABITS[format]
            warnings.warn(
                f"{path} does not say its unit of length; taken as {units}, by habit. Give it "
                "(--units) if that is wrong.",
                DataWarning,
                stacklevel=2,
            )
        if units is None and "image_sizes" in entry.needs:
            raise DataError(
                f"{path} does not say its unit of length, and it may be any. Give it (--units mm)."
            )
        settings["units"] = units
    rig = getattr(import_module(entry.module), entry.load)(path, **settings)
    if units is not None and rig.units != units:
        raise DataError(f"{path} is in {rig.units}, not in {units}.")
    if entry.load != "load_rig":  # which says so itself
        for first, second in rig.coincident():
            warnings.warn(
                f"{path}: cameras {first!r} and {second!r} stand at the same place and look the "
                "same way; one is a copy of the other. Calibrate again, or leave one of them out.",
                DataWarning,
                stacklevel=2,
            )
    return format, rig


def save_as(rig: CameraRig, path: str | os.PathLike, format: str) -> None:
    """Write a rig for another program.

    Raises
    ------
    ValueError, DataError
        If there is no such format, it is only read, or it cannot hold the rig.
    """
    if format not in FORMATS or not FORMATS[format].save:
        able = ", ".join(name for name, each in FORMATS.items() if each.save)
        raise ValueError(f"format is {format!r}; what can be written is {able}.")
    entry = FORMATS[format]
    if format in _BLIND_TO_SKEW:
        from calibration.formats.carrying import check_skew

        check_skew(rig, _BLIND_TO_SKEW[format], keeps=format == "anipose")
    module = f"{_HERE}.pose2sim" if format == "pose2sim" else entry.module
    writer: Callable[..., None] = getattr(import_module(module), entry.save)
    writer(rig, path)
