"""What stands around the animal: which way is up, the floor, the cameras, how much to show."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from calibration.cameras import Camera, CameraRig

#: Up counts as the world's z where cameras agree with it to 25 degrees.
_NEARLY = np.cos(np.radians(25))

#: How much a camera's own up counts beside being level; with 0.02, an overhead camera of the
#: sleap-anipose recording looks down at 83 degrees (by the mean up alone, at 60).
_LEVEL = 0.02


@dataclass(frozen=True, eq=False)
class Scene:
    """A world turned so that up is up, for drawing.

    Attributes
    ----------
    rotation : ndarray of shape (3, 3)
        Drawing from world.
    low, high : ndarray of shape (3,)
        Corners of the box in which the animal moves, in the drawing.
    description : dict
        Cameras and floor as lines in the drawing, and in words what was assumed; for JSON.
    """

    rotation: np.ndarray
    low: np.ndarray
    high: np.ndarray
    description: dict[str, Any]


def lay_scene(points: np.ndarray, rig: CameraRig | None, units: str) -> Scene:
    """Find up, floor and bounds for points and the cameras that saw them.

    Parameters
    ----------
    points : ndarray of shape (..., 3)
        World points; NaN where missing.
    rig : CameraRig or None
        The cameras.
    units : str
        Unit of length, for the words.

    Returns
    -------
    Scene
    """
    up, words = choose_up(rig)
    rotation = _turn_up(up)
    points = points.reshape(-1, 3)
    points = points[np.isfinite(points).all(axis=1)] @ rotation.T
    low, high = _bounds(points, rig, rotation)
    floor, spacing, height_words = _floor(low, high, points, aligned=up[2] == 1.0)
    cameras = []
    if rig is not None and len(rig):
        places = np.stack([camera.position for camera in rig]) @ rotation.T
        size = 0.1 * float(np.median(np.linalg.norm(places - (low + high) / 2, axis=1)))
        for camera in rig:
            corners = frustum(camera, size) @ rotation.T
            cameras.append({"name": camera.name, "corners": corners.tolist()})
    description = {
        "rotation": rotation.tolist(),
        "low": low.tolist(),
        "high": high.tolist(),
        "floor": floor,
        "cameras": cameras,
        "words": f"{words}; {height_words}; grid {spacing:g} {units}",
    }
    return Scene(rotation, low, high, description)


def choose_up(rig: CameraRig | None) -> tuple[np.ndarray, str]:
    """Choose which way is up in the world.

    The mean of the cameras' own ups, turned towards the direction along which their x axes
    are least: cameras that look down are not upright, but they are mostly level.

    Parameters
    ----------
    rig : CameraRig or None
        The cameras.

    Returns
    -------
    up : ndarray of shape (3,)
        A unit vector; exactly the world's z where the cameras agree with it.
    words : str
        What it rests on.
    """
    z = np.array([0.0, 0.0, 1.0])
    if rig is None or not len(rig):
        return z, "z drawn upwards (no cameras are known)"
    mean_up = -np.mean([camera.rotation[1] for camera in rig], axis=0)
    if np.linalg.norm(mean_up) < 1e-6:
        return z, "z drawn upwards (the cameras' own ups cancel)"
    rights = np.stack([camera.rotation[0] for camera in rig])
    up = np.linalg.solve(rights.T @ rights / len(rig) + _LEVEL * np.eye(3), mean_up)
    up = up / np.linalg.norm(up)
    if up @ z > _NEARLY:
        return z, "z is up"
    return up, "up is the cameras' common up (the world is not aligned)"


def frustum(camera: Camera, size: float) -> np.ndarray:
    """Return a camera's position and where its image's corners lie at a distance.

    Parameters
    ----------
    camera : Camera
        The camera.
    size : float
        Distance along the optical axis, in the rig's unit.

    Returns
    -------
    ndarray of shape (5, 3)
        World points: position, corners top left, top right, bottom right, bottom left.
    """
    lens = camera.intrinsics
    right, bottom = np.array(lens.image_size) - 0.5
    corners = np.array([[-0.5, -0.5], [right, -0.5], [right, bottom], [-0.5, bottom]])
    rays = lens.undistort(corners)
    # beyond the lens model's reach, and for lenses that see sideways: as a pinhole
    straight = np.linalg.solve(lens.matrix, np.column_stack([corners, np.ones(4)]).T).T[:, :2]
    wild = ~(np.abs(rays) < 3).all(axis=1)
    rays[wild] = np.clip(straight[wild], -3, 3)
    points = np.vstack([np.zeros(3), size * np.column_stack([rays, np.ones(4)])])
    return (points - camera.tvec) @ camera.rotation


def _turn_up(up):
    """Rotation that takes up to z by the shortest way."""
    z = np.array([0.0, 0.0, 1.0])
    cosine = up @ z
    if cosine < -1 + 1e-9:
        return np.diag([1.0, -1.0, -1.0])
    axis = np.cross(up, z)
    skew = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + skew + skew @ skew / (1 + cosine)


def _bounds(points, rig, rotation):
    """Box in which the points lie, but for the last few in a thousand."""
    if len(points):
        # quantiles of a part: a long recording has millions of points
        some = points[:: max(1, len(points) // 200_000)]
        low, high = np.percentile(some, [0.2, 99.8], axis=0)
    elif rig is not None and len(rig):
        places = np.stack([camera.position for camera in rig]) @ rotation.T
        low, high = places.min(axis=0), places.max(axis=0)
    else:
        low, high = -np.ones(3), np.ones(3)
    least = 0.2 * max((high - low).max(), 1e-6)
    middle, half = (low + high) / 2, np.maximum((high - low) / 2, least / 2)
    return middle - half, middle + half


def _floor(low, high, points, aligned):
    """Lines of the floor, their spacing, and where it was laid."""
    size = max(high[0] - low[0], high[1] - low[1])
    lowest = low[2]
    height, words = lowest, "floor drawn under the lowest points"
    reach = max(size, high[2] - low[2])
    if aligned and -0.15 * reach <= lowest <= 0.5 * reach:
        height, words = 0.0, "floor at z = 0"
    elif not len(points):
        words = "floor drawn under the cameras"
    spacing = _round_step(size / 6)
    first = np.floor((low[:2] - 0.25 * size) / spacing) * spacing
    last = np.ceil((high[:2] + 0.25 * size) / spacing) * spacing
    lines = []
    for x in np.arange(first[0], last[0] + spacing / 2, spacing):
        lines.append([[x, first[1], height], [x, last[1], height]])
    for y in np.arange(first[1], last[1] + spacing / 2, spacing):
        lines.append([[first[0], y, height], [last[0], y, height]])
    return [np.round(line, 6).tolist() for line in lines], spacing, words


def _round_step(length):
    """Return the number 1, 2 or 5 times a power of ten that is nearest above a length."""
    power = 10.0 ** np.floor(np.log10(length))
    return float(next(step * power for step in (1, 2, 5, 10) if step * power >= length * 0.999))
