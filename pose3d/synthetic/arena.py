"""The stage of a synthetic recording: cameras around an arena, and the arena as each sees it.

Every pixel is shaded along its own ray through the true lens, so what is rendered lies where
`Camera.project` says, to a hundredth of a pixel.
"""

from functools import lru_cache

import cv2
import numpy as np

from calibration.boards import Board, CharucoBoard
from calibration.cameras import Camera, CameraRig, Intrinsics
from calibration.rotations import rotation_matrices
from calibration.synthetic import looking_at

#: The board that is filmed: 21 x 15 cm.
BOARD = CharucoBoard(7, 5, square_length=30.0, marker_length=22.0, dictionary="DICT_4X4_50")

#: Towards the lamp, which is far away.
LAMP = np.array([0.3, -0.35, 0.89]) / np.linalg.norm([0.3, -0.35, 0.89])

#: Rays per pixel and axis; planes are drawn finer and averaged, so that edges are smooth.
FINE = 2

#: Radius of the arena, half the side of the floor that is drawn (mm), its pixels per mm.
_RADIUS, _HALF_FLOOR, _FLOOR_DENSITY = 280.0, 420.0, 1.5

#: What lies beyond the floor, RGB.
_DARK = (45, 46, 50)

#: Standard deviation of the sensor's noise in grey levels, and how many noise images there are.
_NOISE, _NOISE_IMAGES = 2.0, 7


def arena_rig(n_cameras: int = 3, image_size: tuple[int, int] = (480, 360)) -> CameraRig:
    """Place cameras around the arena, looking inwards and down.

    Parameters
    ----------
    n_cameras : int
        Two stand 90 degrees apart, more at equal angles.
    image_size : tuple of int
        Width and height in pixels.

    Returns
    -------
    CameraRig
        Cameras "cam1", "cam2", ... in mm, with Brown distortion that differs a little from
        camera to camera.
    """
    width, height = image_size
    step = np.pi / 2 if n_cameras == 2 else 2 * np.pi / n_cameras
    cameras = []
    for i in range(n_cameras):
        angle = i * step + 0.35
        place = [440 * np.cos(angle), 440 * np.sin(angle), 300 + 60 * (i % 2)]
        focal = (1.07 + 0.01 * (i % 3)) * width
        matrix = [
            [focal, 0, (0.505 - 0.002 * i) * width],
            [0, 1.0004 * focal, (0.495 + 0.003 * i) * height],
            [0, 0, 1],
        ]
        dist = [-0.18 + 0.01 * (i % 4), 0.06, 0.0004, -0.0003, 0]
        lens = Intrinsics(matrix, dist, image_size, "brown")
        cameras.append(looking_at(f"cam{i + 1}", lens, place, [0, 0, 20]))
    return CameraRig(tuple(cameras), "mm")


def tumble(board: Board, n_frames: int) -> np.ndarray:
    """Move a board through the arena, its print upwards, tilted towards all sides in turn.

    Parameters
    ----------
    board : Checkerboard or CharucoBoard
        The board, in mm.
    n_frames : int
        Number of moments in one round.

    Returns
    -------
    ndarray of shape (n_frames, 4, 4)
        World from board.
    """
    angle = 2 * np.pi * np.arange(n_frames) / n_frames
    still = np.zeros(n_frames)
    lean = np.stack([0.4 * np.sin(3 * angle), 0.4 * np.cos(2 * angle), still], axis=-1)
    spin = np.stack([still, still, 2.5 * angle], axis=-1)
    middle = np.stack(
        [110 * np.sin(2 * angle), 90 * np.cos(3 * angle), 70 + 50 * np.sin(5 * angle)], axis=-1
    )
    poses = np.tile(np.eye(4), (n_frames, 1, 1))
    # a board's z axis points into the table
    poses[:, :3, :3] = (
        rotation_matrices(lean) @ rotation_matrices(spin) @ np.diag([1.0, -1.0, -1.0])
    )
    poses[:, :3, 3] = middle - poses[:, :3, :3] @ board.corners.mean(axis=0)
    return poses


def plane_map(rays: np.ndarray, camera: Camera, world_from_plane: np.ndarray) -> np.ndarray:
    """Tell where rays of a camera meet a plane.

    Parameters
    ----------
    rays : ndarray of float32 of shape (height, width, 2)
        x / z and y / z in the camera.
    camera : Camera
        The camera.
    world_from_plane : ndarray of shape (4, 4)
        The plane is where its z is 0.

    Returns
    -------
    ndarray of float32 of shape (height, width, 2)
        x and y on the plane.
    """
    camera_from_plane = camera.camera_from_world @ world_from_plane
    return cv2.perspectiveTransform(rays, np.linalg.inv(camera_from_plane[:3, [0, 1, 3]]))


class Stage:
    """The empty arena as one camera sees it, and the rays with which to draw into it.

    Attributes
    ----------
    camera : Camera
        The camera.
    rays : ndarray of float32 of shape (FINE * height, FINE * width, 2)
        x / z and y / z in the camera, FINE x FINE for every pixel.
    light : ndarray of float32 of shape (height, width, 1)
        Exposure, which falls off towards the corners.
    floor : ndarray of float32 of shape (height, width, 3)
        The empty arena, RGB, as exposed, without noise.
    """

    def __init__(self, camera: Camera, *, brightness: float = 1.0, seed: int = 0):
        self.camera = camera
        width, height = camera.intrinsics.image_size
        self.rays = _fine_rays(camera)
        radius2 = _shrink((self.rays**2).sum(axis=-1), (width, height))[..., np.newaxis]
        self.light = brightness * (1 - 0.35 * radius2 / radius2.max())
        place = plane_map(self.rays, camera, np.eye(4))
        texels = ((place + _HALF_FLOOR) * _FLOOR_DENSITY - 0.5).astype(np.float32)
        fine = cv2.remap(_floor_texture(seed), texels, None, cv2.INTER_LINEAR, borderValue=_DARK)
        self.floor = _shrink(fine, (width, height)).astype(np.float32) * self.light
        rng = np.random.default_rng([seed, *camera.name.encode()])
        self._noise = [
            _NOISE * rng.standard_normal(self.floor.shape, dtype=np.float32)
            for _ in range(_NOISE_IMAGES)
        ]
        self._empty = [to_bytes(self.floor + noise) for noise in self._noise]

    def finish(self, index: int, box: tuple[slice, slice], patch: np.ndarray) -> np.ndarray:
        """Return an image: the empty arena with a patch put in.

        Parameters
        ----------
        index : int
            Frame number, which chooses the noise.
        box : tuple of slice
            Rows and columns of the patch.
        patch : ndarray of float32 of shape (rows, columns, 3)
            RGB as exposed, without noise.

        Returns
        -------
        ndarray of uint8 of shape (height, width, 3)
            RGB.
        """
        index = index % _NOISE_IMAGES
        image = self._empty[index].copy()
        image[box] = to_bytes(patch + self._noise[index][box])
        return image


def to_bytes(image: np.ndarray) -> np.ndarray:
    """Round grey levels to bytes."""
    return np.clip(image + 0.5, 0, 255).astype(np.uint8)


def _shrink(image, image_size):
    """Average FINE x FINE samples."""
    return cv2.resize(image, image_size, interpolation=cv2.INTER_AREA)


def _fine_rays(camera):
    """Return the rays of a camera, exact on a grid of 4 pixels and linear between.

    The lens bends so little over 4 pixels that the error is below 0.01 px.
    """
    width, height = camera.intrinsics.image_size
    weights, nodes = zip(*(_linear(FINE * side) for side in (width, height)), strict=True)
    x, y = np.meshgrid((nodes[0] + 0.5) / FINE - 0.5, (nodes[1] + 0.5) / FINE - 0.5)
    rays = camera.intrinsics.undistort(np.stack([x, y], axis=-1))
    return np.stack(
        [weights[1] @ rays[..., axis] @ weights[0].T for axis in range(2)], axis=-1
    ).astype(np.float32)


def _linear(length, step=4 * FINE):
    """Return the weights (length, n_nodes) of linear interpolation, and where the nodes are."""
    nodes = np.arange(0, length + step, step)
    gap = np.abs(np.arange(length)[:, np.newaxis] - nodes)
    return np.clip(1 - gap / step, 0, None), nodes


@lru_cache(maxsize=1)
def _floor_texture(seed):
    """Draw the floor from above: bedding with lines every 100 mm and a rim, RGB."""
    side = round(2 * _HALF_FLOOR * _FLOOR_DENSITY)
    rng = np.random.default_rng([seed, 1])
    grain = np.zeros((side, side), dtype=np.float32)
    for cells, strength in ((7, 7.0), (50, 5.0), (420, 7.0)):
        spots = rng.normal(scale=strength, size=(cells, cells)).astype(np.float32)
        grain += cv2.resize(spots, (side, side), interpolation=cv2.INTER_CUBIC)
    texture = np.array([172, 165, 150], dtype=np.float32) + grain[..., np.newaxis]
    place = (np.arange(side) + 0.5) / _FLOOR_DENSITY - _HALF_FLOOR
    lines = np.abs((place + 50) % 100 - 50) < 1
    texture[lines] -= 18
    texture[:, lines] -= 18
    distance = np.hypot(*np.meshgrid(place, place))
    texture[distance > _RADIUS] *= 0.45
    texture[np.abs(distance - _RADIUS) < 5] = (92, 82, 72)
    texture[distance > _HALF_FLOOR - 10] = _DARK
    return to_bytes(texture)
