"""Pose2Sim's ``Calib*.toml``: a section per camera by its name, metres, four coefficients."""

import json
import os
import warnings

from calibration.cameras import METRES, CameraRig
from calibration.errors import DataError, DataWarning
from calibration.files import write_text
from calibration.formats.carrying import as_brown


def save_pose2sim(rig: CameraRig, path: str | os.PathLike) -> None:
    """Write a rig for Pose2Sim. Its reader is `calibration.formats.toml.load_rig`.

    Pose2Sim takes the world's z axis for up: orient the rig first.

    Raises
    ------
    DataError
        If a lens cannot be held, or a camera bears a name that Pose2Sim skips.

    Warns
    -----
    DataWarning
        If nobody chose the rig's world, whose z axis is then the first camera's line of sight.
    """
    if not rig.world:
        warnings.warn(
            "Pose2Sim takes z for up, and nobody chose this calibration's world: its z may point "
            "anywhere. Turn it first (orient-rig).",
            DataWarning,
            stacklevel=2,
        )
    scale = METRES[rig.units]
    lines = []
    for camera in rig:
        if camera.name in ("metadata", "capture_volume", "charuco", "checkerboard"):
            raise DataError(
                f"Pose2Sim skips a camera called {camera.name!r}. Give it another name."
            )
        lens = camera.intrinsics
        if lens.model != "fisheye":
            lens = as_brown(camera, 4, "Pose2Sim")
        name = json.dumps(camera.name, ensure_ascii=False)
        lines += [
            f"[{name}]",
            f"name = {name}",
            f"size = {[float(side) for side in lens.image_size]}",
            f"matrix = {lens.matrix.tolist()}",
            f"distortions = {lens.dist[:4].tolist()}",
            f"rotation = {camera.rvec.tolist()}",
            f"translation = {(camera.tvec * scale).tolist()}",
            f"fisheye = {str(lens.model == 'fisheye').lower()}",
            "",
        ]
    lines += ["[metadata]", "adjusted = false", "error = 0.0"]
    write_text(path, "\n".join(lines) + "\n")
