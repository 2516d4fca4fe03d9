"""TRC: marker trajectories for OpenSim and its kin.

A text file with tabs: five lines of header, then frame, time and three coordinates for each
marker. y is up there and z here, so coordinates are written as (Y, Z, X). A missing point is
three empty cells. Covariances, errors and reasons do not fit in and stay behind.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calibration.arrays import float_array, name_tuple
from calibration.cameras import METRES
from calibration.errors import DataError
from calibration.files import atomic_path
from pose3d.keypoints import Keypoints3D

#: Our coordinate behind each of the file's.
_TURN = [1, 2, 0]


@dataclass(frozen=True, eq=False)
class Markers:
    """What a TRC file holds.

    Attributes
    ----------
    xyz : ndarray of shape (n_frames, n_markers, 3)
        Points in `units`, z up; NaN where missing.
    names : tuple of str
        Names of the markers.
    times : ndarray of shape (n_frames,)
        Seconds.
    units : str
        Unit of length.
    """

    xyz: np.ndarray
    names: tuple[str, ...]
    times: np.ndarray
    units: str

    def __post_init__(self):
        names = name_tuple("names", self.names)
        xyz = float_array("xyz", self.xyz, ("n_frames", len(names), 3))
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "xyz", xyz)
        object.__setattr__(self, "times", float_array("times", self.times, xyz.shape[:1]))


def marker_names(keypoints_3d: Keypoints3D) -> list[str]:
    """Name the markers: keypoints, and before them the individual if there are several.

    Raises
    ------
    ValueError
        If a name holds a tab or a line end, which no such table can hold.
    """
    for name in (*keypoints_3d.individuals, *keypoints_3d.keypoints):
        if not name.isprintable():
            raise ValueError(f"{name!r} holds a tab or a line end; rename it before exporting.")
    if len(keypoints_3d.individuals) == 1:
        return list(keypoints_3d.keypoints)
    return [
        f"{name}_{point}" for name in keypoints_3d.individuals for point in keypoints_3d.keypoints
    ]


def save_trc(path: str | os.PathLike, keypoints_3d: Keypoints3D) -> None:
    """Save points for OpenSim, y up.

    Parameters
    ----------
    path : path
        The .trc file to write.
    keypoints_3d : Keypoints3D
        The points; of several individuals, each marker bears its individual's name too.
    """
    names = marker_names(keypoints_3d)
    n_frames, fps = keypoints_3d.n_frames, keypoints_3d.fps
    rate = repr(round(float(fps), 6)) if np.isfinite(fps) else "1"
    header = (
        ["PathFileType", "4", "(X/Y/Z)", Path(path).name],
        [
            "DataRate",
            "CameraRate",
            "NumFrames",
            "NumMarkers",
            "Units",
            "OrigDataRate",
            "OrigDataStartFrame",
            "OrigNumFrames",
        ],
        [rate, rate, n_frames, len(names), keypoints_3d.units, rate, 1, n_frames],
        ["Frame#", "Time", *(cell for name in names for cell in (name, "", ""))],
        ["", "", *(f"{axis}{i}" for i in range(1, len(names) + 1) for axis in "XYZ")],
    )
    rows = keypoints_3d.xyz[..., _TURN].reshape(n_frames, -1)
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        for line in header:
            file.write("\t".join(map(str, line)) + "\n")
        for i, (time, row) in enumerate(zip(keypoints_3d.times.tolist(), rows, strict=True), 1):
            cells = ("" if value != value else repr(value) for value in row.tolist())
            file.write("\t".join([str(i), repr(time), *cells]) + "\n")


def load_trc(path: str | os.PathLike) -> Markers:
    """Load markers, turned so that z is up.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If it is no TRC file or a row is cut short; the message names the line.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise DataError(f"{path} is no text; expected a TRC file.") from None
    if len(lines) < 5 or not lines[0].startswith("PathFileType"):
        raise DataError(f"{path} does not begin with PathFileType; expected a TRC file.")
    fields = dict(zip(lines[1].split("\t"), lines[2].split("\t"), strict=False))
    units = fields.get("Units", "").strip()
    if units not in METRES:
        raise DataError(
            f"{path}, line 3: Units is {units!r}; expected one of {', '.join(METRES)}. "
            "Correct the header."
        )
    names = [cell for cell in lines[3].rstrip("\t\r").split("\t")[2:] if cell.strip()]
    rows = []
    for number, line in enumerate(lines[5:], 6):
        if not line.strip():
            continue
        cells = line.split("\t")
        # editors cut the empty cells at the end of a line
        cells += [""] * (2 + 3 * len(names) - len(cells))
        try:
            rows.append(
                [float(cell) if cell.strip() else np.nan for cell in cells[1:]][
                    : 1 + 3 * len(names)
                ]
            )
        except ValueError as error:
            raise DataError(f"{path}, line {number}: {error}.") from None
    table = np.array(rows, dtype=np.float64).reshape(-1, 1 + 3 * len(names))
    xyz = table[:, 1:].reshape(-1, len(names), 3)[..., np.argsort(_TURN)]
    try:
        return Markers(xyz, tuple(names), table[:, 0], units)
    except ValueError as error:
        raise DataError(f"{path} holds markers that cannot be: {error}") from None
