"""Which way is up: the floor that points lie on, or cameras that stand upright."""

import numpy as np

from calibration.arrays import float_array
from calibration.cameras import CameraRig
from calibration.errors import CalibrationError
from calibration.world import WorldFrame, check_points, frame_of

#: A camera tilted sideways by more than this, in degrees, is named: its picture is not upright.
_MAX_ROLL = 30.0
#: Threes of points tried for a plane.
_N_DRAWS = 300
#: A plane's points lie off it by at most this share of their spread in it.
_THICK = 0.1
#: Points within so many robust standard deviations lie in the plane.
_IN_PLANE = 2.5


def world_from_floor(rig: CameraRig, points: np.ndarray, name: str = "floor") -> WorldFrame:
    """Take the plane in which most points lie as the floor, z up towards the cameras.

    The origin is the floor under the place at which the cameras look, x is to the right in the
    first camera's picture.

    Parameters
    ----------
    rig : CameraRig
        The cameras, most of which stand above the floor.
    points : ndarray of shape (..., 3)
        Points in the rig's world that lie on the floor, at least half of them; NaN is left out.
    name : str
        What files say of it.

    Raises
    ------
    CalibrationError
        If fewer than three points are given, or they lie on one line, or fewer than half in
        one plane.
    """
    points = float_array("points", points, (..., 3)).reshape(-1, 3)
    points = points[np.isfinite(points).all(axis=1)]
    check_points(points, [f"{len(points)} on the floor"])
    centre, up, on, sigma = _plane(points)
    share = np.count_nonzero(on) / len(points)
    spread = np.linalg.svd(points[on] - centre, compute_uv=False)
    check_points(points[on], [f"{np.count_nonzero(on)} in the best plane"])
    # half of any points lie in some slab; a floor is thin
    thick = sigma / (spread[1] / np.sqrt(np.count_nonzero(on)))
    if share < 0.5 or thick > _THICK:
        raise CalibrationError(
            f"The {len(points)} points lie in no plane: {100 * share:.0f} % of them lie "
            f"{sigma:.3g} {rig.units} off the best one, {100 * thick:.0f} % of their spread in it; "
            f"at least half within {100 * _THICK:.0f} % are needed. Give points on the floor."
        )
    above = np.array([(camera.position - centre) @ up for camera in rig])
    if np.count_nonzero(above < 0) > len(rig) / 2:
        up, above = -up, -above
    target = _looked_at(rig)
    origin = target - ((target - centre) @ up) * up
    tilt = float(np.degrees(sigma * np.sqrt(1 / spread[0] ** 2 + 1 / spread[1] ** 2)))
    note = (
        f"z = 0 is the plane of {np.count_nonzero(on)} of {len(points)} points (they lie "
        f"{sigma:.2g} {rig.units} off it, ± {tilt:.2g} degrees); z is up towards the cameras."
    )
    under = [c.name for c, height in zip(rig, above, strict=True) if height < 0]
    if under:
        note += f" Under it stand{'s' if len(under) == 1 else ''} {', '.join(map(repr, under))}."
    right = rig.cameras[0].rotation[0]
    return WorldFrame(frame_of(origin, up, right), name, note, tilt)


def _plane(points):
    """Robust plane: centre, normal, which points lie in it, and how far off they are."""
    rng = np.random.default_rng(0)
    draws = np.array([rng.choice(len(points), 3, replace=False) for _ in range(_N_DRAWS)])
    first, second, third = (points[draws[:, k]] for k in range(3))
    normals = np.cross(second - first, third - first)
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    normals = normals / np.where(lengths > 0, lengths, np.inf)
    off = np.abs(np.einsum("dk,pk->dp", normals, points) - (normals * first).sum(axis=1)[:, None])
    middle = np.where(lengths[:, 0] > 0, np.median(off, axis=1), np.inf)
    best = int(np.argmin(middle))
    extent = np.linalg.norm(np.ptp(points, axis=0))
    # the median of three-point planes includes the three themselves: a floor keeps it sane
    scale = max(1.4826 * middle[best] * (1 + 5 / len(points)), 1e-9 * extent)
    on = off[best] < _IN_PLANE * scale
    for _ in range(3):
        centre = points[on].mean(axis=0)
        normal = np.linalg.svd(points[on] - centre)[2][2]
        off_now = np.abs((points - centre) @ normal)
        sigma = np.sqrt((off_now[on] ** 2).sum() / max(np.count_nonzero(on) - 3, 1))
        on = off_now < _IN_PLANE * max(sigma, 1e-9 * extent)
    return centre, normal, on, float(sigma)


def world_from_cameras(rig: CameraRig) -> WorldFrame:
    """Guess which way is up from cameras that stand upright: a guess, with its spread.

    Upright cameras do not lean sideways, whatever they look at: up is the direction nearest
    to square to all rows of pixels. Where all look the same way, their mean up is taken.

    Parameters
    ----------
    rig : CameraRig
        The cameras.

    Raises
    ------
    CalibrationError
        If they do not agree on which side is up.
    """
    right = np.stack([camera.rotation[0] for camera in rig])
    mean_up = -np.sum([camera.rotation[1] for camera in rig], axis=0)
    values, vectors = np.linalg.eigh(right.T @ right)
    weights = np.ones(len(rig))
    for _ in range(10):
        values, vectors = np.linalg.eigh((weights[:, np.newaxis] * right).T @ right)
        # beyond six degrees a camera was not meant to stand upright: Huber's weights
        weights = 1 / np.maximum(np.abs(right @ vectors[:, 0]), 0.1)
    how = "square to the rows of pixels"
    if values[1] < 0.05 * values[2]:
        # only the plane square to the common row is known; their ups say where in it
        along = vectors[:, 2]
        up = mean_up - (mean_up @ along) * along
        how = "the mean of the cameras' own (they look the same way, so it leans as they do)"
    else:
        up = vectors[:, 0]
    length = np.linalg.norm(up)
    if length < 1e-9 or np.linalg.norm(mean_up) < 0.2 * len(rig):
        raise CalibrationError(
            f"The {len(rig)} cameras do not agree on which way is up: their pictures are turned "
            "against each other, or they look straight down. Give the floor or a board instead."
        )
    up = up / length * (1.0 if up @ mean_up > 0 else -1.0)
    roll = np.degrees(np.arcsin(np.clip(right @ up, -1, 1)))
    spread = float(np.sqrt(np.mean(roll**2)))
    note = (
        f"A guess: up is {how}; the cameras lean sideways by {spread:.1f} degrees (RMS) against "
        "it. z = 0 is where they look, not the floor."
    )
    turned = [c.name for c, each in zip(rig, roll, strict=True) if abs(each) > _MAX_ROLL]
    if turned:
        note += f" Not upright: {', '.join(map(repr, turned))}."
    # each camera tells of one of two angles; two cameras agree whatever they do
    spare = len(rig) - 2
    tilt = 2 * spread / np.sqrt(spare) if spare > 0 else np.nan
    return WorldFrame(frame_of(_looked_at(rig), up, right[0]), "cameras", note, tilt)


def _looked_at(rig):
    """Place nearest to all optical axes; the middle of the cameras if these are parallel."""
    axes = np.stack([camera.rotation[2] for camera in rig])
    places = np.stack([camera.position for camera in rig])
    across = np.eye(3) - axes[:, :, np.newaxis] * axes[:, np.newaxis]
    normal = across.sum(axis=0)
    if np.linalg.eigvalsh(normal)[0] < 1e-3 * len(rig):
        return places.mean(axis=0)
    return np.linalg.solve(normal, np.einsum("nij,nj->i", across, places))


def share_below_floor(points: np.ndarray) -> float:
    """Return the share of points under z = 0 of their world; most of them: it is upside down.

    Parameters
    ----------
    points : ndarray of shape (..., 3)
        An animal's points, in a world whose floor is z = 0; NaN is left out.
    """
    height = np.asarray(points, dtype=np.float64)[..., 2]
    height = height[np.isfinite(height)]
    return float(np.mean(height < 0)) if height.size else np.nan


def check_floor(points: np.ndarray, *, most: float = 0.5) -> str:
    """Say in words if an animal lives under the floor; nothing if it does not.

    Reprojection errors cannot tell: a world turned upside down fits the pictures as well.

    Parameters
    ----------
    points : ndarray of shape (..., 3)
        An animal's points in a world whose floor is z = 0.
    most : float
        Share of points under the floor from which it is said.
    """
    share = share_below_floor(points)
    if not share > most:
        return ""
    middle = np.nanmedian(np.asarray(points)[..., 2])
    return (
        f"{100 * share:.0f} % of the points lie under the floor (median z {middle:.4g}): z points "
        "down, or z = 0 is not the floor. Choose a board moment whose print faces up, or points "
        "on the floor, with orient-rig."
    )
