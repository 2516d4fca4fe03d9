"""Lenses that another program's format cannot hold: the nearest it has, told, or refused."""

import warnings
from dataclasses import replace

import numpy as np

from calibration import lenses
from calibration.cameras import Camera, CameraRig, Intrinsics
from calibration.errors import DataError, DataWarning

#: A lens is carried over by fitting another model where that is off by less than this, px.
REFIT_PX = 0.5


def check_skew(rig: CameraRig, target: str, keeps: bool = False) -> None:
    """Tell of skew where a program will ignore it, as all do that project with OpenCV.

    Parameters
    ----------
    rig : CameraRig
        What is to be written.
    target : str
        For whom, for messages.
    keeps : bool
        Whether the file is of use to others who heed skew: then it is told, and not refused.

    Raises
    ------
    DataError
        If ignoring it moves image points by half a pixel or more.

    Warns
    -----
    DataWarning
        If it moves them by less, or the file keeps it.
    """
    for camera in rig:
        matrix, (_, height) = camera.intrinsics.matrix, camera.intrinsics.image_size
        centre = matrix[1, 2]
        off = abs(matrix[0, 1]) * max(abs(centre), abs(height - 1 - centre)) / matrix[1, 1]
        if off == 0:
            continue
        told = (
            f"The lens of camera {camera.name!r} has a skew of {matrix[0, 1]:.3g} px, which "
            f"{target} ignores: its image points will be up to {off:.2g} px off."
        )
        if off >= REFIT_PX and not keeps:
            raise DataError(
                f"{told} Calibrate the camera without skew (calibrate-rig), or export for a "
                "program that heeds it (label3d, jarvis; dlt and mvg for straight lenses)."
            )
        warnings.warn(told, DataWarning, stacklevel=3)


def as_brown(camera: Camera, n_coefficients: int, target: str) -> Intrinsics:
    """Carry a lens over to the Brown model with so many coefficients (4 or 5).

    Parameters
    ----------
    camera : Camera
        Whose lens.
    n_coefficients : {4, 5}
        k1, k2, p1, p2 and perhaps k3.
    target : str
        What it is for, for messages.

    Returns
    -------
    Intrinsics
        Of model "brown", five coefficients, k3 zero where there are four.

    Warns
    -----
    DataWarning
        Where the model had to be fitted: by how much it is off in the image.

    Raises
    ------
    DataError
        If it is off by half a pixel or more.
    """
    lens = camera.intrinsics
    dist = np.zeros(5)
    if lens.model == "pinhole":
        return replace(lens, dist=dist, model="brown")
    if lens.model == "brown" and (n_coefficients == 5 or lens.dist[4] == 0):
        return lens
    x, y = (np.linspace(0, side - 1, 33) for side in lens.image_size)
    pixels = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    straight = lens.undistort(pixels)
    good = np.isfinite(straight).all(axis=1)
    points, bent = straight[good], lenses.distort(straight[good], lens.dist, lens.model)
    a, b = points.T
    r2 = a * a + b * b
    slopes = np.stack(
        [
            np.stack([a * r2, b * r2], axis=1),
            np.stack([a * r2**2, b * r2**2], axis=1),
            np.stack([2 * a * b, r2 + 2 * b * b], axis=1),
            np.stack([r2 + 2 * a * a, 2 * a * b], axis=1),
            np.stack([a * r2**3, b * r2**3], axis=1),
        ][:n_coefficients],
        axis=-1,
    )
    found = np.linalg.lstsq(
        slopes.reshape(-1, n_coefficients), (bent - points).ravel(), rcond=None
    )[0]
    dist[:n_coefficients] = found
    off = lens.matrix[0, 0] * np.linalg.norm(lenses.distort(points, dist, "brown") - bent, axis=1)
    if not good.all() or off.max() >= REFIT_PX:
        raise DataError(
            f"Camera {camera.name!r} has a {lens.model} lens, which {target} cannot hold: the "
            f"nearest it has is up to {off.max():.2g} px off in the image. Calibrate with "
            "--model brown (or k1k2p1p2), or export to another format."
        )
    warnings.warn(
        f"{target} cannot hold the {lens.model} lens of camera {camera.name!r}; the nearest it has "
        f"is written, up to {off.max():.2g} px off in the image.",
        DataWarning,
        stacklevel=3,
    )
    return replace(lens, dist=dist, model="brown")
