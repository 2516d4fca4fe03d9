"""Label3D's and DANNCE's ``.mat`` files: MATLAB's row vectors and 1-based pixels, millimetres.

``x = [X 1] [r; t] K``, so that K and r are transposed; K may hold skew, which counts.
"""

import os
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from calibration.cameras import CameraRig
from calibration.errors import DataError, DataWarning
from calibration.files import atomic_path
from calibration.formats.carrying import as_brown
from calibration.formats.matlab import read_mat
from calibration.formats.reading import (
    image_size,
    make_camera,
    make_lens,
    make_rig,
    numbers,
)

#: MATLAB counts pixels from one.
_FIRST_PIXEL = 1.0


def _params(path):
    """Return the cameras' fields and names that a file has."""
    found = read_mat(path, ("params", "camParams", "camnames"))
    params = found.get("params", found.get("camParams"))
    if isinstance(params, list):  # a struct array, or cells with a struct each
        params = [each[0] if isinstance(each, list) and each else each for each in params]
    names = found.get("camnames")
    if isinstance(names, str):
        names = [names]
    return params, names


def is_label3d(path: Path) -> bool:
    """Tell whether a file is Label3D's or DANNCE's."""
    if path.suffix.lower() != ".mat":
        return False
    try:
        return isinstance(_params(path)[0], list)
    except DataError:
        return False


def load_label3d(
    path: str | os.PathLike,
    *,
    units: str = "mm",
    image_sizes: Mapping[str, tuple[int, int]] | None = None,
    zero_based: bool = True,
) -> CameraRig:
    """Load the cameras of a Label3D or DANNCE file.

    Parameters
    ----------
    path : path
        The .mat file with ``params`` (or ``camParams``) and perhaps ``camnames``.
    units : str
        Unit of the translations.
    image_sizes : mapping of str to (int, int), optional
        The format has none; under None for all cameras.
    zero_based : bool
        Whether the principal point counts pixels from zero. MATLAB's own calibrations count from
        one (False); DANNCE uses the numbers as they are with pixels from zero (True).

    Raises
    ------
    FileNotFoundError, DataError
        If there is no such file, or a camera lacks a field.
    """
    path = Path(path)
    params, names = _params(path)
    if not isinstance(params, list) or not params:
        raise DataError(f"{path} holds no params with cameras. Give the file that has them.")
    if names is None:
        names = [f"Camera{i + 1}" for i in range(len(params))]
        warnings.warn(
            f"{path} has no camnames: its cameras are called {', '.join(names)}. If it had some, "
            "it was cut short.",
            DataWarning,
            stacklevel=2,
        )
    if not isinstance(names, list) or len(names) != len(params):
        n_names = len(names) if isinstance(names, list) else 0
        raise DataError(
            f"{path} has {len(params)} cameras in params and {n_names} in camnames. Save the two "
            "of the same cameras."
        )
    names = [str(name) for name in names]
    cameras = []
    for name, each in zip(names, params, strict=True):
        where = f"camera {name!r}"
        each = each if isinstance(each, dict) else {}
        fields = {key: each.get(key) for key in ("K", "RDistort", "TDistort", "r", "t")}
        missing = [key for key, value in fields.items() if value is None]
        if missing:
            raise DataError(f"{path}, {where}: there is no {missing[0]!r}. Save its params whole.")
        matrix = numbers(path, where, "K", fields["K"], (3, 3)).T.copy()
        if not zero_based:
            matrix[:2, 2] -= _FIRST_PIXEL
        given = numbers(path, where, "RDistort", fields["RDistort"], None)
        if given.size not in (2, 3):
            raise DataError(
                f"{path}, {where}: RDistort has {given.size} numbers; expected two or three. "
                "Calibrate with the radial model that DANNCE uses."
            )
        radial = np.zeros(3)
        radial[: given.size] = given
        tangential = numbers(path, where, "TDistort", fields["TDistort"], (2,))
        dist = [radial[0], radial[1], *tangential, radial[2]]
        lens = make_lens(path, name, matrix, dist, image_size(path, name, image_sizes), "brown")
        rotation = numbers(path, where, "r", fields["r"], (3, 3)).T
        place = numbers(path, where, "t", fields["t"], (3,))
        cameras.append(make_camera(path, name, lens, rotation, place))
    return make_rig(path, cameras, units)


def save_label3d(rig: CameraRig, path: str | os.PathLike) -> None:
    """Write ``params`` and ``camnames`` as DANNCE reads them, in the rig's unit."""
    from scipy.io import savemat

    params = np.empty((len(rig), 1), dtype=object)
    names = np.empty((1, len(rig)), dtype=object)
    for i, camera in enumerate(rig):
        lens = as_brown(camera, 5, "Label3D")
        k1, k2, p1, p2, k3 = lens.dist
        params[i, 0] = {
            "K": lens.matrix.T,
            "RDistort": np.array([[k1, k2, k3]]),
            "TDistort": np.array([[p1, p2]]),
            "r": camera.rotation.T,
            "t": camera.tvec.reshape(1, 3),
        }
        names[0, i] = camera.name
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        savemat(file, {"camnames": names, "params": params})
