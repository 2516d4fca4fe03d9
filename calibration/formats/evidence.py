"""What a calibration rests on, in HDF5 beside ``calibration.toml``: corners, poses, covariance."""

import json
from dataclasses import asdict
from pathlib import Path

import h5py
import numpy as np

from calibration.boards import Board, BoardDetections
from calibration.cameras import CameraRig
from calibration.errors import DataError
from calibration.files import atomic_path
from calibration.results import HeldOut, RigCalibration, TimeFault, Verdict

_ARRAYS = ("board_poses", "residuals", "shared_views")


def save(path: Path, checksum: str, rig: CameraRig, calibration: RigCalibration | None) -> None:
    """Save the covariance of a rig, and of a calibration its evidence.

    Parameters
    ----------
    path : Path
        The .h5 file; an old one is removed where there is nothing to save.
    checksum : str
        That of the rig, by which the two files know each other.
    rig : CameraRig
        The rig.
    calibration : RigCalibration or None
        The calibration it comes from.
    """
    if rig.covariance is None and calibration is None:
        path.unlink(missing_ok=True)
        return
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["format"] = "pose3d calibration evidence"
        file.attrs["checksum"] = checksum
        if rig.covariance is not None:
            file["covariance"] = rig.covariance
        if calibration is None:
            return
        if calibration.held_out is not None:
            tested = file.create_group("held_out")
            for name, value in asdict(calibration.held_out).items():
                tested[name] = value
        for name in ("time_faults", "fixed_faults"):
            file.attrs[name] = json.dumps([asdict(each) for each in getattr(calibration, name)])
        file.attrs["lens_notes"] = json.dumps(dict(calibration.lens_notes))
        for name in _ARRAYS:
            file.create_dataset(name, data=getattr(calibration, name), compression="gzip")
        seen = calibration.detections
        file.create_dataset("corners", data=seen.corners, compression="gzip")
        file["image_sizes"] = seen.image_sizes
        file["frames"] = seen.frames
        file.create_dataset("sources", data=list(seen.sources), dtype=h5py.string_dtype())
        errors = file.create_group("standard_errors")
        for name, values in calibration.standard_errors.items():
            errors[name] = np.asarray(values)


def _opened(path):
    """Open the file, or say what is wrong with it."""
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error}). Remove it to do without, or calibrate again."
        ) from None
    if file.attrs.get("format") != "pose3d calibration evidence":
        file.close()
        raise DataError(f"{path} is no evidence of a calibration. Remove it, or calibrate again.")
    return file


def load_covariance(path: Path, checksum: str) -> np.ndarray | None:
    """Load the covariance of the rig with a checksum; None if there is none."""
    if not path.exists():
        return None
    with _opened(path) as file:
        if file.attrs["checksum"] != checksum or "covariance" not in file:
            return None
        return file["covariance"][:]


def load_calibration(
    path: Path, checksum: str, rig: CameraRig, board: Board, verdict: Verdict
) -> RigCalibration:
    """Load the evidence of the rig with a checksum.

    Raises
    ------
    FileNotFoundError, DataError
        If there is none, or it is that of another calibration.
    """
    if not path.exists():
        raise FileNotFoundError(f"There is no {path}, which holds the evidence. Calibrate again.")
    with _opened(path) as file:
        if file.attrs["checksum"] != checksum or "corners" not in file:
            raise DataError(f"{path} belongs to another calibration. Calibrate again.")
        detections = BoardDetections(
            file["corners"][:],
            rig.names,
            board,
            file["image_sizes"][:],
            file["frames"][:],
            tuple(file["sources"].asstr()[:]),
        )
        return RigCalibration(
            rig,
            detections,
            **{name: file[name][:] for name in _ARRAYS},
            held_out=_held_out(file),
            standard_errors={name: each[:] for name, each in file["standard_errors"].items()},
            verdict=verdict,
            **{
                name: tuple(TimeFault(**each) for each in json.loads(file.attrs.get(name, "[]")))
                for name in ("time_faults", "fixed_faults")
            },
            lens_notes=json.loads(file.attrs.get("lens_notes", "{}")),
        )


def _held_out(file):
    """Read the test on moments kept out, where there was one."""
    if "held_out" not in file:
        return None
    return HeldOut(**{name: value[()] for name, value in file["held_out"].items()})
