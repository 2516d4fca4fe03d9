"""Rigs in ``calibration.toml``: aniposelib's layout, with what it leaves out beside it.

Sections ``cam_00``, ``cam_01``, ... hold a camera each, as aniposelib, Anipose, Lightning Pose and
Pose2Sim read them, and our lens model and standard errors; ``[metadata]`` holds the unit, the
number of cameras, a checksum, the board, the errors and the verdict. The covariance of the
parameters and the evidence lie in ``calibration.covariance.h5`` beside it.
"""

import hashlib
import json
import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from calibration import lenses
from calibration.boards import CharucoBoard, Checkerboard
from calibration.cameras import CameraRig, Intrinsics
from calibration.errors import DataError, DataWarning
from calibration.files import write_text
from calibration.formats import evidence
from calibration.formats.reading import make_camera, numbers, read_toml
from calibration.results import Finding, RigCalibration, Verdict

_NOT_CAMERAS = ("metadata", "capture_volume", "charuco", "checkerboard")


def save_rig(
    rig: CameraRig | RigCalibration,
    path: str | os.PathLike,
    origin: Mapping[str, Any] | None = None,
    *,
    verdict: Verdict | None = None,
) -> None:
    """Save a rig, or a calibration with its evidence, whole or not at all.

    Parameters
    ----------
    rig : CameraRig or RigCalibration
        What to save; of a calibration also errors, verdict, covariance and board poses.
    path : path
        The .toml file; the covariance goes to ``<name>.covariance.h5`` beside it.
    origin : mapping, optional
        Which step made it from what, see `calibration.files.provenance`.
    verdict : Verdict, optional
        Of a rig that was placed without a board; a calibration has its own.
    """
    path = Path(path)
    calibration = rig if isinstance(rig, RigCalibration) else None
    rig = calibration.rig if calibration else rig
    about: dict[str, Any] = {
        "units": rig.units,
        "n_cameras": len(rig),
        "checksum": _checksum(rig),
        "version": metadata.version("pose3d"),
        "adjusted": False,
    }
    if rig.world:
        about["world"] = rig.world
    if rig.covariance is not None:
        about["errors_relative_to"] = _held(rig)
    if calibration:
        about |= _about(calibration)
    elif verdict is not None:
        about["verdict"] = verdict.level
        about["findings"] = [asdict(finding) for finding in verdict.findings]
    if origin:
        about["origin"] = json.dumps(origin)
    said = calibration.standard_errors if calibration else {}
    if calibration is None and rig.covariance is not None:
        from calibration.solve import standard_errors

        said = standard_errors(rig)
    # the number of cameras stands first: a file that was cut short is noticed
    lines = ["[metadata]"]
    lines += [f"{key} = {_spell(value)}" for key, value in about.items()]
    for i, camera in enumerate(rig):
        lines += ["", f"[cam_{i:02d}]"]
        lines += [f"{key} = {_spell(value)}" for key, value in _camera_fields(camera).items()]
        if said:
            errors = {name: np.asarray(values)[i].tolist() for name, values in said.items()}
            errors = {name: each for name, each in errors.items() if np.isfinite(each).all()}
            lines.append(f"standard_errors = {_spell(errors)}")
    # the evidence first: a kill in between leaves it beside the old rig, whose checksum differs
    evidence.save(evidence_path(path), about["checksum"], rig, calibration)
    write_text(path, "\n".join(lines) + "\n")


def load_rig(path: str | os.PathLike, *, units: str | None = None) -> CameraRig:
    """Load a rig from our own file, aniposelib's or Pose2Sim's.

    Parameters
    ----------
    path : path
        The .toml file.
    units : str, optional
        Unit of length of a file that does not say it.

    Returns
    -------
    CameraRig
        Cameras in the order of their sections' numbers, with the covariance of their parameters
        where it is known.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If it is empty, cut short, or has a camera that cannot be.

    Warns
    -----
    DataWarning
        If two cameras are copies of each other, the unit is not said, or the file was edited
        since it was saved.
    """
    path = Path(path)
    document = _read(path)
    rig = _rig(path, document, units)
    checksum = document.get("metadata", {}).get("checksum")
    if checksum is not None and checksum != _checksum(rig):
        warnings.warn(
            f"{path} was edited since it was saved: its checksum does not fit. The cameras are "
            "taken as they stand; their covariance is left out.",
            DataWarning,
            stacklevel=2,
        )
    elif checksum is not None:
        covariance = evidence.load_covariance(evidence_path(path), checksum)
        rig = replace(rig, covariance=covariance)
    for first, second in rig.coincident():
        warnings.warn(
            f"{path}: cameras {first!r} and {second!r} stand at the same place and look the same "
            "way; one is a copy of the other, and what is triangulated with both is wrong. "
            "Calibrate again, or leave one of them out.",
            DataWarning,
            stacklevel=2,
        )
    return rig


def load_calibration(path: str | os.PathLike) -> RigCalibration:
    """Load a calibration with its evidence, as `save_rig` saved it.

    Raises
    ------
    FileNotFoundError
        If there is no such file, or no evidence beside it.
    DataError
        If it is of another program, or the evidence is that of another calibration.
    """
    path = Path(path)
    document = _read(path)
    rig = load_rig(path)
    about = document.get("metadata", {})
    if "findings" not in about or "board" not in about:
        raise DataError(
            f"{path} holds a rig without its boards (no findings and board in [metadata]); "
            "load_rig reads it, calibrate-rig makes one with its evidence."
        )
    findings = read_findings(path).findings
    board = dict(about["board"])
    kind = {"charuco": CharucoBoard, "checkerboard": Checkerboard}[board.pop("kind")]
    return evidence.load_calibration(
        evidence_path(path), about["checksum"], rig, kind(**board), Verdict(findings)
    )


def read_verdict(path: str | os.PathLike) -> str | None:
    """Return the verdict of a calibration file, PASS, WARN or FAIL; None if it has none."""
    return _read(Path(path)).get("metadata", {}).get("verdict")


def read_findings(path: str | os.PathLike) -> Verdict | None:
    """Return the findings of a calibration file; None if it has none."""
    findings = _read(Path(path)).get("metadata", {}).get("findings")
    return None if findings is None else Verdict(tuple(Finding(**each) for each in findings))


def has_boards(path: str | os.PathLike) -> bool:
    """Tell whether `load_calibration` can read a file: it has boards, and its evidence."""
    about = _read(Path(path)).get("metadata", {})
    return "board" in about and "findings" in about and evidence_path(path).exists()


def evidence_path(path: str | os.PathLike) -> Path:
    """Return where the covariance and the evidence of a calibration file lie."""
    return Path(path).with_suffix(".covariance.h5")


def _camera_fields(camera):
    """Return what the file says of a camera, by aniposelib's keys and ours."""
    lens = camera.intrinsics
    fields = {
        "name": camera.name,
        "size": list(lens.image_size),
        "matrix": lens.matrix.tolist(),
        # aniposelib cannot do without coefficients
        "distortions": lens.dist.tolist() or [0.0] * 5,
        "rotation": camera.rvec.tolist(),
        "translation": camera.tvec.tolist(),
        "model": lens.model,
    }
    if lens.model == "fisheye":
        fields["fisheye"] = True
    return fields


def _held(rig):
    """Name the cameras whose places count as exact: errors are relative to them."""
    rows = np.diag(rig.covariance)
    starts = [rig.parameter_range(name)[0] for name in rig.names]
    return [name for name, k in zip(rig.names, starts, strict=True) if not rows[k : k + 6].any()]


def _about(calibration):
    """Return what the metadata say of a calibration."""
    board = calibration.detections.board
    kind = "charuco" if isinstance(board, CharucoBoard) else "checkerboard"
    about = {
        "verdict": calibration.verdict.level,
        "error": float(np.nanmedian(np.linalg.norm(calibration.residuals, axis=-1))),
        "rms_px": calibration.rms_px,
        "held_out_rms_px": calibration.held_out_rms_px,
        "frames_late": {
            fault.camera: fault.frames for fault in calibration.fixed_faults if fault.kind == "late"
        },
        "mended": [fault.told(calibration.rig.units) for fault in calibration.fixed_faults],
        "camera_errors_px": calibration.camera_errors.tolist(),
        "board": {"kind": kind} | asdict(board),
        "findings": [asdict(finding) for finding in calibration.verdict.findings],
    }
    return {key: value for key, value in about.items() if value == value and value not in ({}, [])}


def _checksum(rig):
    """Digest the cameras and the unit, to notice a file that was cut or edited."""
    text = json.dumps([rig.units, *map(_camera_fields, rig)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _spell(value):
    """Write a value in TOML."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_spell(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_spell, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    # the text, number and truth of JSON are those of TOML
    return json.dumps(value)


def _read(path):
    """Read the TOML document."""
    if not path.exists():
        raise FileNotFoundError(
            f"There is no calibration {path}. Make one with calibrate-rig, or give its path."
        )
    if path.is_file() and not path.stat().st_size:
        raise DataError(f"{path} is empty. Restore it, or calibrate again.")
    document = read_toml(path)
    if not document or not isinstance(document.get("metadata", {}), dict):
        raise DataError(f"{path} holds no cameras. Restore it, or calibrate again.")
    return document


def _rig(path, document, units):
    """Make the rig of a document."""
    sections = {
        name: section
        for name, section in document.items()
        if name not in _NOT_CAMERAS and isinstance(section, dict)
    }
    if sections and all(re.fullmatch(r"cam_\d{1,9}", name) for name in sections):
        sections = dict(sorted(sections.items(), key=lambda item: int(item[0][4:])))
        first, *_, last = (int(name[4:]) for name in [*sections, list(sections)[-1]])
        if last - first + 1 > len(sections):
            warnings.warn(
                f"{path} has the sections {', '.join(sections)}, whose numbers have gaps: a camera "
                "may have been lost. See that none is missing.",
                DataWarning,
                stacklevel=3,
            )
    cameras = tuple(_camera(path, name, section) for name, section in sections.items())
    about = document.get("metadata", {})
    if "metadata" not in document and cameras:
        warnings.warn(
            f"{path} has no section [metadata], which the programs that write such files put at "
            f"their end: it may have been cut short. It holds the cameras "
            f"{', '.join(camera.name for camera in cameras)}; see that none is missing.",
            DataWarning,
            stacklevel=3,
        )
    wanted = about.get("n_cameras", len(cameras))
    if not cameras or wanted != len(cameras):
        raise DataError(
            f"{path} holds {len(cameras)} cameras; expected {wanted or 'at least one'}. It was "
            "cut short or edited: restore it, or calibrate again."
        )
    said = about.get("units")
    if not (said is None or isinstance(said, str)):
        raise DataError(f'{path}: units is {said!r}; expected a text such as "mm". Correct it.')
    if said is None:
        metres = all(np.size(section["distortions"]) == 4 for section in sections.values())
        metres = metres and not any(section.get("fisheye") for section in sections.values())
        said = units or ("m" if metres else "mm")
        if units is None:
            habit = "Pose2Sim's" if metres else "aniposelib's"
            warnings.warn(
                f"{path} does not say its unit of length; taken as {said}, by {habit} habit. If "
                "that is wrong, write units = ... into its section [metadata].",
                DataWarning,
                stacklevel=3,
            )
    elif units is not None and units != said:
        raise DataError(f"{path} is in {said}, not in {units}.")
    try:
        return CameraRig(cameras, said, world=str(about.get("world", "")))
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None


def _camera(path, section, fields):
    """Make a camera of a section."""
    for key in ("size", "matrix", "distortions", "rotation", "translation"):
        if key not in fields:
            raise DataError(
                f"{path}, section {section}: there is no {key!r}. Restore the file, or calibrate "
                "again."
            )
    name = str(fields.get("name", section))
    where = f"camera {name!r} (section {section})"
    dist = numbers(path, where, "distortions", fields["distortions"], None)
    model = fields.get("model")
    if model is None:
        by_length = {4: "brown", 5: "brown", 8: "rational"}
        model = "fisheye" if fields.get("fisheye") else by_length.get(dist.size, "brown")
    try:
        if lenses.COEFFICIENTS.get(model) == 0:
            if np.any(dist):
                raise ValueError(f"distortions are {dist.tolist()}; a pinhole has none.")
            dist = []
        lens = Intrinsics(fields["matrix"], dist, tuple(fields["size"]), model)
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}, {where}: {error}") from None
    return make_camera(path, name, lens, fields["rotation"], fields["translation"])
