"""Rigs, moving boards and detections with a known answer, for tests and the demo."""

import numpy as np

from calibration.boards import Board, BoardDetections
from calibration.cameras import Camera, CameraRig, Intrinsics
from calibration.rotations import rotation_matrices, rotation_vectors

#: Moderate distortion of each lens model, such as machine vision lenses of 60 degrees have.
_TYPICAL_DIST = {
    "pinhole": (),
    "brown": (-0.2, 0.06, 0.0005, -0.0004, -0.01),
    "rational": (0.1, 0.02, 0.0005, -0.0004, 0.001, 0.3, 0.05, 0.001),
    "fisheye": (-0.03, 0.005, -0.002, 0.0005),
}


def looking_at(
    name: str, intrinsics: Intrinsics, position: np.ndarray, target: np.ndarray
) -> Camera:
    """Return a camera that stands at a position and looks at a target, upright (z is up).

    Parameters
    ----------
    name : str
        Name of the camera.
    intrinsics : Intrinsics
        Its lens.
    position, target : ndarray of shape (3,)
        In the world's unit; the target must not stand exactly above or below.
    """
    position = np.asarray(position, dtype=np.float64)
    forward = np.asarray(target, dtype=np.float64) - position
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    return Camera(name, intrinsics, rotation_vectors(rotation), -rotation @ position)


def ring_rig(
    n_cameras: int = 4,
    *,
    image_size: tuple[int, int] = (1280, 1024),
    radius: float = 1000.0,
    focal: float = 1000.0,
    model: str = "brown",
    units: str = "mm",
    rng: np.random.Generator | None = None,
) -> CameraRig:
    """Place cameras on a ring around the origin, looking inwards and down.

    Parameters
    ----------
    n_cameras : int
        Two stand 60 degrees apart, more at equal angles.
    image_size : tuple of int
        Width and height in pixels.
    radius : float
        Distance of each camera from the origin.
    focal : float
        Focal length in pixels.
    model : {"pinhole", "brown", "rational", "fisheye"}
        Lens model; the distortion is moderate.
    units : str
        Unit of the radius.
    rng : Generator, optional
        Makes the cameras differ, as real ones do: focal length by 10 %, its ratio by 0.1 %,
        principal point by 8 px, distortion by a quarter, places by a few degrees. Without
        it they are regular.

    Returns
    -------
    CameraRig
        Cameras "cam_0", "cam_1", ...; z is up.
    """
    step = np.pi / 3 if n_cameras == 2 else 2 * np.pi / n_cameras
    size = np.asarray(image_size, dtype=np.float64)
    cameras = []
    for i in range(n_cameras):
        shake = np.zeros(12) if rng is None else rng.uniform(-1, 1, size=12)
        fx = focal * (1 + 0.1 * shake[0])
        fy = fx * (1 + 0.001 * shake[1])
        cx, cy = (size - 1) / 2 + 8 * shake[2:4]
        dist = np.array(_TYPICAL_DIST[model]) * (1 + 0.25 * shake[4])
        intrinsics = Intrinsics([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], dist, image_size, model)
        azimuth = i * step + np.radians(5) * shake[5]
        elevation = np.radians((20 if i % 2 else 40) + 5 * shake[6])
        flat = np.cos(elevation)
        place = radius * np.array(
            [flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)]
        )
        target = 0.02 * radius * shake[7:10]
        cameras.append(looking_at(f"cam_{i}", intrinsics, place, target))
    return CameraRig(tuple(cameras), units)


def moving_board(
    board: Board,
    n_frames: int,
    *,
    reach: float = 150.0,
    tilt: float = 60.0,
    rng: np.random.Generator,
) -> np.ndarray:
    """Hold a board in different ways around the origin.

    Parameters
    ----------
    board : Checkerboard or CharucoBoard
        The board; its middle is what moves.
    n_frames : int
        Number of moments.
    reach : float
        Half the side of the cube in which its middle stays, in the board's unit.
    tilt : float
        Largest angle in degrees between the board's back and straight down.
    rng : Generator
        Source of the poses.

    Returns
    -------
    ndarray of shape (n_frames, 4, 4)
        World from board; the printed side looks up, tilted towards all sides in turn.
    """
    poses = np.tile(np.eye(4), (n_frames, 1, 1))
    middle = board.corners.mean(axis=0)
    for pose in poses:
        towards = rng.uniform(0, 2 * np.pi)
        lean = np.radians(tilt) * np.sqrt(rng.uniform())
        spin = rng.uniform(0, 2 * np.pi)
        axis = lean * np.array([np.cos(towards), np.sin(towards), 0.0])
        # a board lies x right, y down, so its z axis points into the table
        turn = (
            rotation_matrices(axis)
            @ rotation_matrices([0.0, 0.0, spin])
            @ np.diag([1.0, -1.0, -1.0])
        )
        pose[:3, :3] = turn
        pose[:3, 3] = rng.uniform(-reach, reach, size=3) - turn @ middle
    return poses


def simulate_detections(
    rig: CameraRig,
    board: Board,
    board_poses: np.ndarray,
    *,
    noise_px: float = 0.0,
    covered: float = 0.0,
    outliers: float = 0.0,
    steepest: float = 75.0,
    rng: np.random.Generator | None = None,
) -> BoardDetections:
    """Let every camera see a board as a detector would report it.

    Parameters
    ----------
    rig : CameraRig
        The cameras.
    board : Checkerboard or CharucoBoard
        The board.
    board_poses : ndarray of shape (n_frames, 4, 4)
        World from board.
    noise_px : float
        Standard deviation of each coordinate in pixels.
    covered : float
        Share of views of which a random part, cut off by a straight line, is covered.
    outliers : float
        Share of corners that are put anywhere in the image.
    steepest : float
        Largest angle in degrees between board and image at which corners are found.
    rng : Generator, optional
        Source of the noise; needed where any of the three shares is above zero.

    Returns
    -------
    BoardDetections
        Corners in the image, on the printed side of the board.
    """
    world = board.corners @ np.swapaxes(board_poses[:, :3, :3], 1, 2) + board_poses[:, None, :3, 3]
    corners = rig.project(world)
    sizes = np.array([camera.intrinsics.image_size for camera in rig])
    for i, camera in enumerate(rig):
        towards = world - camera.position
        towards /= np.linalg.norm(towards, axis=-1, keepdims=True)
        facing = np.einsum("fki,fi->fk", towards, board_poses[:, :3, 2])
        with np.errstate(invalid="ignore"):
            inside = ((corners[i] >= 0) & (corners[i] <= sizes[i] - 1)).all(axis=-1)
        corners[i][~inside | (facing < np.cos(np.radians(steepest)))] = np.nan
    if covered:
        middle = board.corners[:, :2].mean(axis=0)
        for view in corners.reshape(-1, board.n_corners, 2):
            if rng.uniform() < covered:
                angle = rng.uniform(0, 2 * np.pi)
                side = (board.corners[:, :2] - middle) @ [np.cos(angle), np.sin(angle)]
                view[side > rng.uniform(0.2, 0.9) * side.max()] = np.nan
    if noise_px:
        corners += rng.normal(scale=noise_px, size=corners.shape)
    if outliers:
        wrong = rng.uniform(size=corners.shape[:-1]) < outliers
        anywhere = rng.uniform(size=corners.shape) * (sizes[:, None, None] - 1)
        corners = np.where((wrong & np.isfinite(corners[..., 0]))[..., None], anywhere, corners)
    return BoardDetections(corners, rig.names, board, sizes, np.arange(len(board_poses)))
