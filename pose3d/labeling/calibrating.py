"""A calibration from labels: where there is none, views that are labelled can place the cameras.

Lenses come from a file, or their focal length is found too: labels of one body in several views
fit together best at the right one. That is enough to draw curves and offer points; the verdict
says that lengths in 3D want a board.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from calibration.cameras import Intrinsics
from calibration.errors import CalibrationError, DataError, DataWarning
from calibration.files import provenance
from calibration.formats.toml import load_rig, save_rig
from calibration.results import Finding, Verdict
from calibration.selfcalibration import SelfCalibration, calibrate_from_keypoints
from pose3d.labeling.content import RecordingContent, image_size

#: Focal lengths that are tried first, by the longer side of the image: 90 to 23 degrees wide.
_FOCALS = (0.5, 0.7, 1.0, 1.4, 2.0, 2.5)
#: Steps towards the best one after that.
_STEPS = 4
#: Standard deviation of a labelled coordinate that is expected, px for images of 1000 px.
_NOISE_PX = 3.0


def lens_files(content: RecordingContent) -> list[str]:
    """Names of the project's calibration files that know the lenses of all labelled cameras."""
    found = []
    root = content.project.path
    for path in [*sorted(root.glob("*.toml")), *sorted(root.glob("calibrations/*.toml"))]:
        try:
            _lenses(content, path.relative_to(root).as_posix())
        except (DataError, ValueError, OSError):
            continue
        found.append(path.relative_to(root).as_posix())
    return found


def calibrate_from_labels(
    content: RecordingContent,
    *,
    length: float,
    bone: Sequence[str] | None = None,
    cameras: Sequence[str] | None = None,
    lenses: str | None = None,
) -> dict[str, Any]:
    """Place the cameras of a recording by its labels, and save where they are.

    Parameters
    ----------
    content : RecordingContent
        The open recording; its rig is the new one afterwards, unless the verdict is FAIL.
    length : float
        The known length, in the project's unit.
    bone : (str, str), optional
        Keypoints that are so far apart.
    cameras : (str, str), optional
        Cameras that are so far apart; give this or `bone`.
    lenses : str, optional
        A file of `lens_files`; the focal length is found from the labels unless given.

    Returns
    -------
    dict
        ``verdict``, ``said`` (its findings in words), ``sigma_px``, ``focal_px`` and ``path`` of
        the file.

    Raises
    ------
    CalibrationError, DataError
        If the labels do not suffice; the message says what is needed.
    """
    session, project = content.session, content.project
    if not session.synchronous:
        raise DataError("How late cameras are is not known, so their labels cannot be compared.")
    out = project.path / "calibrations" / f"{session.recording}.toml"
    if out.exists():
        raise DataError(f"{out} is there already; rename it to make another from labels.")
    if not (isinstance(length, int | float) and 0 < length < 1e9):
        raise ValueError(f"length is {length!r}; expected a number above 0.")
    names = tuple(session.folders)
    xy = content.labelled_points(names)
    scale = _scale(project, xy, length, bone, cameras, names)
    sizes = {name: image_size(session.folders[name]) for name in names}
    unreadable = [name for name, size in sizes.items() if size is None]
    if unreadable:
        raise DataError(f"No image of {unreadable[0]!r} can be read to know its size.")
    noise = _NOISE_PX * max(1.0, max(map(max, sizes.values())) / 1000)
    flat = xy.reshape(*xy.shape[:2], -1, 2)

    def fit(known: Mapping[str, Intrinsics]) -> SelfCalibration:
        return calibrate_from_keypoints(known, flat, units=project.units, noise_px=noise, **scale)

    focal = None
    if lenses is None:
        found, focal = _with_focal(fit, sizes)
        guessed = Finding(
            "WARN",
            "lenses",
            f"The focal length, {focal * max(map(max, sizes.values())):.0f} px, was found from the "
            "labels, one for all cameras, and lenses count as free of distortion.",
            "Good for labelling; before lengths in 3D are believed, film a board (calibrate-rig).",
        )
        verdict = Verdict((*found.verdict.findings, guessed))
    else:
        found = fit(_lenses(content, lenses))
        verdict = found.verdict
    failed = verdict.level == "FAIL"
    target = out.with_suffix(".rejected.toml") if failed else out
    inputs = {} if lenses is None else {"lenses": project.path / lenses}
    arguments = {"recording": session.recording, "length": length, "labels": int(_count(xy))}
    arguments |= {"between": list(bone or cameras or ())}
    save_rig(
        found.rig, target, provenance("calibrate_from_labels", arguments, inputs), verdict=verdict
    )
    if not failed:
        for ending in (".rejected.toml", ".rejected.covariance.h5"):
            out.with_suffix(ending).unlink(missing_ok=True)
        content.load_rig_anew()
    causes = [f for f in verdict.findings if f.level != "PASS"]
    return {
        "verdict": verdict.level,
        "said": [f"{f.level} {f.name}: {f.found} {f.remedy}".strip() for f in causes],
        "sigma_px": found.sigma_px,
        "focal_px": None if focal is None else focal * max(map(max, sizes.values())),
        "path": target.relative_to(project.path).as_posix(),
    }


def _with_focal(fit, sizes):
    """Find the focal length, over the image's longer side, at which labels agree best."""
    fits: dict[float, SelfCalibration] = {}
    causes = []

    def misfit(log_focal):
        try:
            found = fit({name: _lens(size, np.exp(log_focal)) for name, size in sizes.items()})
        except CalibrationError as error:
            causes.append(error)
            return np.inf
        fits[log_focal] = found
        # views that were left out count as badly as those at the limit
        left_out = 1 - found.used.sum() / max(1, np.isfinite(found.residuals[..., 0]).sum())
        return np.log(found.sigma_px) + 3 * left_out

    tried = {float(np.log(focal)): misfit(np.log(focal)) for focal in _FOCALS}
    if not fits:
        raise causes[-1]
    for _ in range(_STEPS):
        order = sorted(tried)
        k = order.index(min(tried, key=tried.__getitem__))
        if not 0 < k < len(order) - 1:
            break
        # to where a parabola through the best and its neighbours is lowest, else into the wider gap
        a, b, c = order[k - 1 : k + 2]
        fa, fb, fc = (min(tried[each], 1e6) for each in (a, b, c))
        down = (b - a) * (fb - fc) - (b - c) * (fb - fa)
        best = b - 0.5 * ((b - a) ** 2 * (fb - fc) - (b - c) ** 2 * (fb - fa)) / down if down else b
        if not a < best < c or min(abs(best - each) for each in (a, b, c)) < 0.01:
            best = (a + b) / 2 if b - a > c - b else (b + c) / 2
        tried[float(best)] = misfit(best)
    best = min(fits, key=tried.__getitem__)
    return fits[best], float(np.exp(best))


def _lens(size, focal):
    width, height = size
    px = focal * max(size)
    matrix = np.array([[px, 0, (width - 1) / 2], [0, px, (height - 1) / 2], [0, 0, 1.0]])
    return Intrinsics(matrix, np.zeros(0), size, "pinhole")


def _lenses(content, name):
    """Load the lenses of all labelled cameras from a file of the project."""
    path = (content.project.path / name).resolve()
    if not path.is_relative_to(content.project.path.resolve()):
        raise DataError(f"{name} does not lie in the project.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        rig = load_rig(path)
    known = {}
    for camera, folder in content.session.folders.items():
        if camera not in rig.names:
            raise DataError(f"{name} has no camera {camera!r}.")
        known[camera] = rig[camera].intrinsics
        size = image_size(folder)
        if size not in (None, known[camera].image_size):
            raise DataError(f"{name} has another image size of {camera!r} than its images.")
    return known


def _scale(project, xy, length, bone, cameras, names):
    """Say what is so long, as `calibrate_from_keypoints` takes it."""
    if (bone is None) == (cameras is None):
        raise ValueError("Give one known length: of a bone, or between two cameras.")
    if cameras is not None:
        if len(cameras) != 2 or not set(cameras) <= set(names) or cameras[0] == cameras[1]:
            raise ValueError(f"cameras are {cameras!r}; expected two of {', '.join(names)}.")
        return {"distance": (cameras[0], cameras[1], float(length))}
    keypoints = project.skeleton.keypoints
    if len(bone) != 2 or not set(bone) <= set(keypoints) or bone[0] == bone[1]:
        raise ValueError(f"bone is {bone!r}; expected two keypoints of the project.")
    a, b = (keypoints.index(name) for name in bone)
    both = np.isfinite(xy[..., [a, b], 0]).sum(axis=0).min(axis=-1) >= 2
    individual = int(both.sum(axis=0).argmax())
    return {"limbs": {tuple(individual * len(keypoints) + k for k in (a, b)): float(length)}}


def _count(xy):
    return np.isfinite(xy[..., 0]).sum()
