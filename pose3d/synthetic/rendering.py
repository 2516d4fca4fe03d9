"""What a camera films: the animal in the arena, or a tumbling board.

The animal is drawn as balls: a depth buffer finds the nearest ball of every pixel, then all
pixels are shaded at once. Balls are centred where the lens puts them.
"""

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

from calibration.board_images import board_image
from calibration.boards import Board
from calibration.cameras import Camera
from pose3d.synthetic.animal import Body, body
from pose3d.synthetic.arena import FINE, LAMP, Stage, plane_map

#: Standard deviation of the lens's blur in pixels: makes the animal's outline smooth.
_BLUR = 0.6

#: White border around a board, and its back, in mm and grey levels.
_MARGIN, _BACK = 12.0, 190

#: A keypoint this far (mm) below the surface that hides it, beyond the thickness of the body
#: there, is behind another part of the body.
_SLACK = 6.0

#: Thickness of the body around each keypoint in mm, in the order of `SKELETON`.
_FLESH = np.array([4, 7, 7, 15, 21, 16, 4, 3, 6, 5, 6, 5, 8, 5, 8, 5], dtype=np.float64)


class RenderedFrame(NamedTuple):
    """An image of the animal and what can be seen in it.

    Attributes
    ----------
    image : ndarray of uint8 of shape (height, width, 3)
        RGB.
    visible : ndarray of bool of shape (16,)
        Whether each keypoint is in the image and not behind another part of the body.
    """

    image: np.ndarray
    visible: np.ndarray


def render_animal(
    camera: Camera, points_3d: np.ndarray, *, brightness: float = 1.0, seed: int = 0
) -> Iterator[RenderedFrame]:
    """Film the animal with one camera.

    Parameters
    ----------
    camera : Camera
        A camera above the floor z = 0, in mm.
    points_3d : ndarray of shape (n_frames, 16, 3)
        Keypoints of `SKELETON` in mm.
    brightness : float
        Exposure; 1 is right.
    seed : int
        Of floor, fur and noise. Floor and fur are the same in all cameras.

    Yields
    ------
    RenderedFrame
        Image and visible keypoints, frame by frame.
    """
    stage = Stage(camera, brightness=brightness, seed=seed)
    flesh = body(points_3d)
    fur = _fur_pattern(seed)
    pixels = _project(camera, points_3d)
    depths = points_3d @ camera.rotation[2] + camera.tvec[2]
    centers = _project(camera, flesh.centers)
    center_depths = flesh.centers @ camera.rotation[2] + camera.tvec[2]
    shadows = _project(camera, flesh.centers - LAMP * (flesh.centers[..., 2:] / LAMP[2]))
    focal = camera.intrinsics.matrix[0, 0]
    for i, forward in enumerate(points_3d[:, 3] - points_3d[:, 5]):
        radii = focal * flesh.radii / np.abs(center_depths[i])
        box = _box(np.concatenate([centers[i], shadows[i]]), radii.max() + 8, camera)
        corner = np.array([box[1].start, box[0].start])
        patch = stage.floor[box] * _shadow(box, shadows[i] - corner, radii)
        nearest, ball = _depth_buffer(
            patch.shape[:2], centers[i] - corner, radii, center_depths[i], flesh.radii
        )
        color = _shade(ball, centers[i] - corner, radii, flesh, camera, forward, fur)
        cover = cv2.GaussianBlur((ball >= 0).astype(np.float32), (0, 0), _BLUR)[..., np.newaxis]
        color = cv2.GaussianBlur(color, (0, 0), _BLUR) * stage.light[box]
        image = stage.finish(i, box, patch * (1 - cover) + color)
        yield RenderedFrame(image, _visible(pixels[i] - corner, depths[i], nearest))


def render_board(
    camera: Camera,
    board: Board,
    board_poses: np.ndarray,
    *,
    brightness: float = 1.0,
    seed: int = 0,
) -> Iterator[np.ndarray]:
    """Film a moving board with one camera.

    Parameters
    ----------
    camera : Camera
        A camera above the floor z = 0, in mm.
    board : Checkerboard or CharucoBoard
        The board, in mm.
    board_poses : ndarray of shape (n_frames, 4, 4)
        World from board.
    brightness : float
        Exposure; 1 is right.
    seed : int
        Of floor and noise.

    Yields
    ------
    ndarray of uint8 of shape (height, width, 3)
        RGB, frame by frame.
    """
    stage = Stage(camera, brightness=brightness, seed=seed)
    distance = np.linalg.norm(camera.position)
    density = FINE * camera.intrinsics.matrix[0, 0] / distance
    front, density, margin = _board_texture(board, density)
    back = front.copy()
    back[..., 0] = _BACK
    size = np.array(front.shape[1::-1]) / density
    share = np.linspace(0, 1, 20)
    edge = np.zeros((80, 3))
    edge[:, 0] = size[0] * np.concatenate([share, share, 0 * share, 0 * share + 1]) - _MARGIN
    edge[:, 1] = size[1] * np.concatenate([0 * share, 0 * share + 1, share, share]) - _MARGIN
    for i, pose in enumerate(board_poses):
        outline = _project(camera, edge @ pose[:3, :3].T + pose[:3, 3])
        box = _box(outline, 2, camera)
        fine = tuple(slice(FINE * part.start, FINE * part.stop) for part in box)
        texels = plane_map(stage.rays[fine], camera, pose) * density + (margin - 0.5)
        facing = pose[:3, 2] @ (pose[:3, 3] - camera.position) > 0
        drawn = cv2.remap(front if facing else back, texels, None, cv2.INTER_LINEAR)
        patch = stage.floor[box]
        drawn = cv2.resize(drawn, patch.shape[1::-1], interpolation=cv2.INTER_AREA)
        lit = 0.55 + 0.45 * abs(pose[:3, 2] @ LAMP)
        cover = drawn[..., 1:].astype(np.float32) / 255
        gray = lit * drawn[..., :1].astype(np.float32) * stage.light[box]
        yield stage.finish(i, box, patch * (1 - cover) + gray)


def _project(camera, points_3d):
    """Project points; those behind the camera land far outside the image."""
    return np.nan_to_num(camera.project(points_3d), nan=-1e5)


def _board_texture(board, density):
    """Draw a board: brightness and cover (height, width, 2), texels per mm and of margin."""
    side = int(np.ceil(density * board.square_length))
    # drawn larger by a whole factor and averaged: OpenCV rounds the cells of its markers
    large = board_image(board, 4 * side)
    gray = cv2.resize(large, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    margin = int(np.ceil(_MARGIN * side / board.square_length))
    paper = 0 if getattr(board, "inverted", False) else 255
    gray = cv2.copyMakeBorder(gray, *[margin] * 4, cv2.BORDER_CONSTANT, value=paper)
    return np.stack([gray, np.full_like(gray, 255)], axis=-1), side / board.square_length, margin


def _box(points, margin, camera):
    """Return rows and columns that hold all points and a margin, inside the image."""
    width, height = camera.intrinsics.image_size
    low = np.floor(points.min(axis=0) - margin).astype(int)
    high = np.ceil(points.max(axis=0) + margin).astype(int) + 1
    x0, x1 = np.clip([low[0], high[0]], 0, width)
    y0, y1 = np.clip([low[1], high[1]], 0, height)
    # an object outside the image still gets a pixel, so that nobody meets an empty array
    x0, y0 = min(x0, width - 1), min(y0, height - 1)
    return slice(int(y0), int(max(y1, y0 + 1))), slice(int(x0), int(max(x1, x0 + 1)))


def _shadow(box, centers, radii):
    """Return the share of light where balls keep the lamp's off, drawn at a quarter's size."""
    height, width = (part.stop - part.start for part in box)
    mask = np.zeros((height // 4 + 1, width // 4 + 1), dtype=np.uint8)
    for (x, y), radius in zip(centers.tolist(), radii.tolist(), strict=True):
        cv2.circle(mask, (int(x / 4), int(y / 4)), int(radius / 4), 255, -1)
    mask = cv2.resize(cv2.GaussianBlur(mask, (0, 0), 1.2), (width, height))
    return 1 - mask[..., np.newaxis].astype(np.float32) * np.float32(0.5 / 255)


def _depth_buffer(shape, centers, radii, depths, thickness):
    """Find the nearest ball of every pixel.

    Returns
    -------
    nearest : ndarray of float32 of shape (height, width)
        Depth of the surface in mm; infinite where there is none.
    ball : ndarray of int16 of shape (height, width)
        The ball seen; -1 where there is none.
    """
    height, width = shape
    nearest = np.full(shape, np.inf, dtype=np.float32)
    ball = np.full(shape, -1, dtype=np.int16)
    low = np.maximum(np.ceil(centers - radii[:, np.newaxis]), 0).astype(int)
    high = np.floor(centers + radii[:, np.newaxis]).astype(int) + 1
    high = np.minimum(high, (width, height))
    inside = np.flatnonzero((high > low).all(axis=1))
    squares_x = (np.arange(width, dtype=np.float32) - centers[:, :1].astype(np.float32)) ** 2
    squares_y = (np.arange(height, dtype=np.float32) - centers[:, 1:].astype(np.float32)) ** 2
    squares_x -= (radii**2)[:, np.newaxis].astype(np.float32)
    scale = (thickness / radii).astype(np.float32)
    old = np.seterr(invalid="ignore")  # beside the ball the root is NaN, which is not closer
    for k in inside.tolist():
        (x0, y0), (x1, y1) = low[k].tolist(), high[k].tolist()
        bulge = np.sqrt(-(squares_y[k, y0:y1, np.newaxis] + squares_x[k, x0:x1]))
        depth = depths[k] - scale[k] * bulge
        behind = nearest[y0:y1, x0:x1]
        closer = depth < behind
        np.copyto(behind, depth, where=closer)
        np.copyto(ball[y0:y1, x0:x1], k, where=closer)
    np.seterr(**old)
    return nearest, ball


def _shade(ball, centers, radii, flesh: Body, camera, forward, fur):
    """Colour the pixels that show a ball, float32 (height, width, 3), black elsewhere."""
    rows, columns = np.nonzero(ball >= 0)
    k = ball[rows, columns]
    x = (columns - centers[k, 0]) / radii[k]
    y = (rows - centers[k, 1]) / radii[k]
    z = -np.sqrt(np.maximum(1 - x * x - y * y, 0))
    normal = np.stack([x, y, z], axis=-1) @ camera.rotation
    light = 0.42 + 0.62 * np.maximum(normal @ LAMP, 0)
    # the pattern is fixed to the animal: normals relative to where it heads
    turn = np.arctan2(normal[:, 1], normal[:, 0]) - np.arctan2(forward[1], forward[0])
    height, width = fur.shape
    row = (((normal[:, 2] + 1) * 0.5 * height).astype(int) + 11 * k) % height
    column = (turn / (2 * np.pi) * width).astype(int) % width
    furry = flesh.furry[k]
    light *= np.where(furry, fur[row, column], 1.0)
    paler = np.where(furry, np.clip(-normal[:, 2] - 0.1, 0, 1) * 0.5, 0.0)[:, np.newaxis]
    color = np.zeros((*ball.shape, 3), dtype=np.float32)
    color[rows, columns] = light[:, np.newaxis] * (
        flesh.colors[k] * (1 - paler) + np.array([225, 205, 180]) * paler
    )
    return color


def _fur_pattern(seed):
    """Return brightness by height and direction of the surface, ndarray of shape (64, 128)."""
    noise = np.random.default_rng([seed, 2]).normal(size=(64, 128))
    return np.clip(0.95 + 0.25 * cv2.GaussianBlur(noise, (0, 0), 0.8), 0.6, 1.25)


def _visible(pixels, depths, nearest):
    """Tell which keypoints are in the image and on the near side of the body, (16,)."""
    x, y = np.rint(pixels).astype(int).T
    height, width = nearest.shape
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    surface = nearest[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)]
    return inside & (depths < surface + _FLESH + _SLACK)
