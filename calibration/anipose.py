"""Camera groups of aniposelib: to and from, for a second opinion and for its users.

Importing this module takes seconds (aniposelib brings jax and numba).
"""

import contextlib
import io
import re
import warnings

import numpy as np
from aniposelib.boards import CharucoBoard as AniposeCharuco
from aniposelib.boards import Checkerboard as AniposeCheckerboard
from aniposelib.cameras import Camera as AniposeCamera
from aniposelib.cameras import CameraGroup, FisheyeCamera

from calibration.boards import DICTIONARIES, BoardDetections, CharucoBoard
from calibration.cameras import Camera, CameraRig, Intrinsics
from calibration.errors import CalibrationError
from calibration.poses import posable_views


def to_camera_group(rig: CameraRig) -> CameraGroup:
    """Make aniposelib's camera group of a rig.

    Parameters
    ----------
    rig : CameraRig
        The rig; its lens models are passed on whole, but aniposelib's own adjustment keeps only
        one focal length and k1 of them, and ignores skew when it projects.

    Returns
    -------
    aniposelib.cameras.CameraGroup
        Cameras in the same order.
    """
    cameras = []
    for camera in rig:
        lens = camera.intrinsics
        kind = FisheyeCamera if lens.model == "fisheye" else AniposeCamera
        cameras.append(
            kind(
                matrix=lens.matrix.copy(),
                dist=lens.dist.copy() if lens.dist.size else np.zeros(5),
                size=lens.image_size,
                rvec=camera.rvec.copy(),
                tvec=camera.tvec.copy(),
                name=camera.name,
            )
        )
    return CameraGroup(cameras, metadata={"units": rig.units})


def from_camera_group(group: CameraGroup, *, units: str) -> CameraRig:
    """Make a rig of aniposelib's camera group.

    Parameters
    ----------
    group : aniposelib.cameras.CameraGroup
        The group, with sizes set.
    units : str
        Unit of its lengths, which it does not know: that of the board's squares.

    Returns
    -------
    CameraRig
        Cameras in the same order.
    """
    cameras = []
    for camera in group.cameras:
        dist = np.ravel(camera.get_distortions())
        fisheye = isinstance(camera, FisheyeCamera)
        model = "fisheye" if fisheye else "rational" if dist.size == 8 else "brown"
        if camera.get_size() is None:
            raise ValueError(
                f"Camera {camera.get_name()!r} of the group has no image size; "
                "call set_size((width, height)) on it first."
            )
        lens = Intrinsics(camera.get_camera_matrix(), dist, tuple(camera.get_size()), model)
        rvec, tvec = np.ravel(camera.get_rotation()), np.ravel(camera.get_translation())
        cameras.append(Camera(str(camera.get_name()), lens, rvec, tvec))
    return CameraRig(tuple(cameras), units)


def calibrate_rig_rows(detections: BoardDetections) -> CameraRig:
    """Solve a rig with aniposelib from the same corners, as a second opinion.

    aniposelib fits one focal length and k1 per camera, the principal point in the middle, and
    draws its corners at random: the same data may give another answer.

    Parameters
    ----------
    detections : BoardDetections
        Corners of a ChArUco board or checkerboard.

    Returns
    -------
    CameraRig
        In aniposelib's world, the first camera's.

    Raises
    ------
    CalibrationError
        If aniposelib gives up, with what it said.
    """
    board = detections.board
    if isinstance(board, CharucoBoard):
        bits = re.search(r"(\d)X", board.dictionary)
        theirs = AniposeCharuco(
            board.squares_x,
            board.squares_y,
            square_length=board.square_length,
            marker_length=board.marker_length,
            marker_bits=int(bits[1]) if bits else 4,
            dict_size=min(DICTIONARIES[board.dictionary], 1000),
        )
    else:
        theirs = AniposeCheckerboard(
            board.squares_x - 1, board.squares_y - 1, square_length=board.square_length
        )
    posable, rows = posable_views(detections), []
    for i in range(len(detections.cameras)):
        found = []
        for k in np.flatnonzero(posable[i]):
            ids = np.flatnonzero(np.isfinite(detections.corners[i, k, :, 0]))
            if isinstance(board, CharucoBoard) or len(ids) == board.n_corners:
                corners = np.array(detections.corners[i, k, ids]).reshape(-1, 1, 2)
                moment = (0, int(detections.frames[k]))
                row = {"framenum": moment, "corners": corners, "ids": ids[:, np.newaxis]}
                found.append(row)
        rows.append(theirs.fill_points_rows(found))
    group = CameraGroup.from_names(list(detections.cameras))
    for camera, size in zip(group.cameras, detections.image_sizes, strict=True):
        camera.set_size(tuple(int(side) for side in size))
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            group.calibrate_rows(rows, theirs, verbose=False)
        return from_camera_group(group, units=board.units)
    except Exception as error:  # noqa: BLE001  it fails in any way, with any error
        raise CalibrationError(
            f"aniposelib gave up: {type(error).__name__}: {error}. Use the default engine, which "
            "says what is wrong with the boards."
        ) from error


def triangulate_group(
    rig: CameraRig, points_2d: np.ndarray, how: str, limbs: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Triangulate with aniposelib.

    Parameters
    ----------
    rig : CameraRig
        The cameras.
    points_2d : ndarray of shape (n_cameras, n_frames, n_keypoints, 2)
        Image points of one animal; NaN where missing.
    how : {"anipose", "anipose-ransac", "anipose-optim"}
        Its `triangulate`, `triangulate_ransac` or `triangulate_optim` with their defaults.
    limbs : ndarray of int of shape (n_limbs, 2), optional
        For optim: keypoints at a constant distance.

    Returns
    -------
    xyz : ndarray of shape (n_frames, n_keypoints, 3)
        Points; NaN where it finds none.
    used : ndarray of bool of shape (n_cameras, n_frames, n_keypoints)
        The views that it used.
    """
    group = to_camera_group(rig)
    used = np.isfinite(points_2d).all(axis=-1)
    shape = points_2d.shape[1:-1]
    flat = points_2d.reshape(len(rig), -1, 2)
    xyz = np.full((flat.shape[1], 3), np.nan)
    some = np.flatnonzero(np.count_nonzero(used.reshape(len(rig), -1), axis=0) >= 2)
    if not some.size:
        return xyz.reshape(*shape, 3), used
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if how == "anipose":
            xyz[some] = group.triangulate(flat[:, some], progress=False)
        elif how == "anipose-ransac":
            # it fails where fewer than two cameras see a point
            xyz[some], _, picked, _ = group.triangulate_ransac(flat[:, some], progress=False)
            used = used.reshape(len(rig), -1)
            used[:, some] = np.isfinite(picked).all(axis=-1)
            used = used.reshape(len(rig), *shape)
        else:
            constraints = [] if limbs is None else np.asarray(limbs).tolist()
            found = group.triangulate_optim(np.array(points_2d), constraints=constraints)
            xyz[:] = np.where(used.any(axis=0)[..., np.newaxis], found, np.nan).reshape(-1, 3)
    return xyz.reshape(*shape, 3), used
