"""A world that people can use: origin, axes, and scale of a calibrated rig.

A calibration comes out in its first camera's axes. Here it is turned so that z is up, and so
that lengths are those of a known distance; nothing that cameras see changes. The covariance is
carried along, rotated and scaled: it stays relative to the camera that was held in the fit (its
gauge), and what says where the floor is counts as exact; how well it is known is told beside.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from calibration.arrays import float_array
from calibration.cameras import CameraRig
from calibration.errors import CalibrationError
from calibration.multiview import align_points, move_rig, projection_jacobian
from calibration.results import RigCalibration
from calibration.rotations import cross_matrix
from calibration.solve import standard_errors

#: Points spread less than this share of their length across a line are on the line.
_LINE = 0.01


@dataclass(frozen=True, eq=False)
class WorldFrame:
    """Where the new world lies in the old one.

    Attributes
    ----------
    motion : ndarray of shape (4, 4)
        New world from old.
    name : str
        What files say of it, such as "board:12".
    note : str
        A sentence on how it was found.
    tilt_error : float
        How well the direction of z is known, one standard deviation in degrees; NaN where
        nothing tells.
    """

    motion: np.ndarray
    name: str
    note: str
    tilt_error: float = np.nan

    def __post_init__(self):
        motion = float_array("motion", self.motion, (4, 4), finite=True)
        object.__setattr__(self, "motion", motion)


def in_world(rig: CameraRig | RigCalibration, frame: WorldFrame) -> CameraRig | RigCalibration:
    """Return a rig, or a calibration with its boards, in another world.

    Parameters
    ----------
    rig : CameraRig or RigCalibration
        In the old world.
    frame : WorldFrame
        The new one; a motion that scales also scales the board.

    Returns
    -------
    CameraRig or RigCalibration
        The same kind; every reprojection stays.
    """
    if isinstance(rig, CameraRig):
        return replace(move_rig(rig, frame.motion), world=frame.name)
    moved = in_world(rig.rig, frame)
    factor = float(np.cbrt(np.linalg.det(frame.motion[:3, :3])))
    poses = frame.motion @ rig.board_poses
    poses[:, :3, :3] /= factor
    detections = rig.detections
    if abs(factor - 1) > 1e-12:
        lengths = ("square_length", "marker_length")
        board = detections.board
        board = replace(
            board,
            **{each: factor * getattr(board, each) for each in lengths if hasattr(board, each)},
        )
        detections = replace(detections, board=board)
    return replace(
        rig,
        rig=moved,
        board_poses=poses,
        detections=detections,
        standard_errors=standard_errors(moved),
    )


def world_from_board(calibration: RigCalibration, frame: int) -> WorldFrame:
    """Take origin and axes from a board lying still, such as on the floor, at one moment.

    The origin is the outer corner of the board's first square, x runs along its rows, z out
    of the print: up, where the board lies face up.

    Parameters
    ----------
    calibration : RigCalibration
        With its board poses.
    frame : int
        Number of the frame (or picture) at which the board lay there.

    Raises
    ------
    CalibrationError
        If the board was not found at that moment.
    """
    k = _moment(calibration, frame)
    pose = calibration.board_poses[k]
    # a board's y runs down the print and its z into the table
    flip = np.diag([1.0, -1.0, -1.0, 1.0])
    tilt, place = _board_errors(calibration, k)
    units = calibration.rig.units
    note = (
        f"Origin and axes are those of the board at frame {frame}, z out of the print "
        f"(± {tilt:.2g} degrees, origin ± {place:.2g} {units}, cameras counted as exact)."
    )
    return WorldFrame(np.linalg.inv(pose @ flip), f"board:{frame}", note, tilt)


def board_corners(calibration: RigCalibration, frames: Sequence[int]) -> np.ndarray:
    """Return the corners of the board, (n_frames, n_corners, 3), at moments it was found.

    Raises
    ------
    CalibrationError
        If it was not found at one of them.
    """
    poses = calibration.board_poses[[_moment(calibration, frame) for frame in frames]]
    board = calibration.detections.board.corners
    return board @ np.swapaxes(poses[:, :3, :3], 1, 2) + poses[:, np.newaxis, :3, 3]


def _moment(calibration, frame):
    frames = calibration.detections.frames
    known = frames[np.isfinite(calibration.board_poses[:, 0, 0])]
    rows = np.flatnonzero(frames == frame)
    if len(rows) == 0 or not np.isfinite(calibration.board_poses[rows[0], 0, 0]):
        nearest = known[np.argsort(np.abs(known - frame), kind="stable")[:5]]
        raise CalibrationError(
            f"At frame {frame} no board was found; it was at {len(known)} moments, the nearest "
            f"of which are the frames {', '.join(map(str, sorted(nearest.tolist())))}. Choose one "
            "of those."
        )
    return int(rows[0])


def _board_errors(calibration, k):
    """Return standard errors of a board's tilt (degrees) and place, cameras taken as exact."""
    board = calibration.detections.board.corners
    pose = calibration.board_poses[k]
    turned = board @ pose[:3, :3].T
    normal, count, square = np.zeros((6, 6)), 0, 0.0
    for i, camera in enumerate(calibration.rig):
        seen = np.isfinite(calibration.detections.corners[i, k, :, 0])
        slope = projection_jacobian(camera, turned[seen] + pose[:3, 3])
        slope = np.concatenate([-slope @ cross_matrix(turned[seen]), slope], axis=2).reshape(-1, 6)
        normal += slope.T @ slope
        count += 2 * np.count_nonzero(seen)
        square += np.nansum(calibration.residuals[i, k, seen] ** 2)
    covariance = np.linalg.pinv(normal, hermitian=True) * square / max(count - 6, 1)
    across = pose[:3, :2].T @ covariance[:3, :3] @ pose[:3, :2]
    return (
        float(np.degrees(np.sqrt(np.trace(across)))),
        float(np.sqrt(np.trace(covariance[3:, 3:]))),
    )


def world_from_points(
    found: np.ndarray,
    known: np.ndarray,
    names: Sequence[str],
    *,
    scale: bool = False,
    units: str = "",
) -> WorldFrame:
    """Take the world in which points lie where they are known to lie.

    Parameters
    ----------
    found : ndarray of shape (n_points, 3)
        Points in the rig's world; NaN where not found.
    known : ndarray of shape (n_points, 3)
        Where they lie in the new one; NaN where not known.
    names : sequence of str
        Their names.
    scale : bool
        Whether the known points also tell the scale.
    units : str
        For messages.

    Raises
    ------
    CalibrationError
        If fewer than three points are both, or they lie on one line.
    """
    both = np.isfinite(found).all(axis=1) & np.isfinite(known).all(axis=1)
    check_points(known[both], [n for n, b in zip(names, both, strict=True) if b])
    motion = align_points(found, known, scale=scale)
    off = np.linalg.norm(found @ motion[:3, :3].T + motion[:3, 3] - known, axis=1)
    worst = int(np.nanargmax(off))
    rms = float(np.sqrt(np.nanmean(off**2)))
    factor = np.cbrt(np.linalg.det(motion[:3, :3]))
    spread = np.linalg.svd(known[both] - known[both].mean(axis=0), compute_uv=False)[1]
    count = np.count_nonzero(both)
    tilt = np.degrees(rms / max(spread, 1e-12)) if count > 3 else np.nan
    note = (
        f"{count} points lie {rms:.3g} {units} (RMS) from where they are known to lie, "
        f"the farthest, {names[worst]!r}, {off[worst]:.3g}."
    )
    if scale:
        note += f" The rig was scaled by {factor:.5g}."
    return WorldFrame(motion, "points", note, float(tilt))


def check_points(points: np.ndarray, names: Sequence[str]) -> None:
    """Refuse points (n, 3) that hold no world: fewer than three, or all on one line."""
    if len(points) < 3:
        raise CalibrationError(
            f"{len(points)} points are both known and found ({', '.join(names) or 'none'}); at "
            "least 3, not on one line, are needed. Mark more of them in at least two cameras."
        )
    spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    if spread[1] < _LINE * spread[0]:
        raise CalibrationError(
            f"The points {', '.join(names)} lie on one line: the world can turn about it. Add a "
            "point well off the line."
        )


def world_from_axes(origin: np.ndarray, x: np.ndarray, plane: np.ndarray) -> WorldFrame:
    """Take the world with a given origin, a point on its x axis and one in its x-y plane.

    Parameters
    ----------
    origin, x, plane : ndarray of shape (3,)
        Points in the rig's world; the last has a positive y.

    Raises
    ------
    CalibrationError
        If they lie on one line.
    """
    points = np.stack(
        [float_array("point", each, (3,), finite=True) for each in (origin, x, plane)]
    )
    check_points(points, ["origin", "x", "plane"])
    along = points[1] - points[0]
    up = np.cross(along, points[2] - points[0])
    note = "Origin, x axis and x-y plane are those of three points; z by the right hand."
    return WorldFrame(frame_of(points[0], up, along), "axes", note)


def frame_of(origin: np.ndarray, up: np.ndarray, along: np.ndarray) -> np.ndarray:
    """Return the motion (4, 4) to a world with an origin, z up, x as near a way as can be."""
    z = up / np.linalg.norm(up)
    x = along - (along @ z) * z
    if np.linalg.norm(x) < 1e-9 * np.linalg.norm(along):
        x = np.cross([0.0, 1.0, 0.0] if abs(z[0]) > 0.5 else [1.0, 0.0, 0.0], z)
    x = x / np.linalg.norm(x)
    motion = np.eye(4)
    motion[:3, :3] = np.stack([x, np.cross(z, x), z])
    motion[:3, 3] = -motion[:3, :3] @ origin
    return motion


def scaled_world(
    rig: CameraRig, first: str, second: str, length: float, points: Mapping[str, np.ndarray] = {}
) -> WorldFrame:
    """Scale the world, about its origin, so that a known distance comes out right.

    Parameters
    ----------
    rig : CameraRig
        The rig.
    first, second : str
        Two cameras, or two of the points.
    length : float
        Their distance in the rig's unit; between cameras that of their optical centres, which
        lie a few millimetres behind the front lens.
    points : mapping of str to ndarray of shape (3,)
        Points by name, in the rig's world.

    Raises
    ------
    ValueError
        If a name is unknown or the length is not above 0.
    CalibrationError
        If both are at the same place.
    """
    places = {camera.name: camera.position for camera in rig} | dict(points)
    for name in (first, second):
        if name not in places:
            raise ValueError(f"There is no {name!r}; known are {', '.join(places)}.")
    if not (np.isfinite(length) and length > 0):
        raise ValueError(f"The distance is {length}; it must be above 0.")
    found = float(np.linalg.norm(places[first] - places[second]))
    if not found > 1e-9:
        raise CalibrationError(f"{first!r} and {second!r} are at the same place; take others.")
    motion = np.eye(4)
    motion[:3, :3] *= length / found
    note = (
        f"{first!r} and {second!r} were {found:.6g} {rig.units} apart, are {length:g}: scaled by "
        f"{length / found:.5g}."
    )
    if abs(length / found - 1) > 0.05:
        note += " That is much: is the board's square length, or the unit, wrong?"
    return WorldFrame(motion, rig.world, note)
