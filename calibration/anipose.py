"""Camera groups of aniposelib: to and from, for a second opinion and for its users.

Importing this module takes seconds (aniposelib brings jax and numba).
"""

import contextlib
import io
import re

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
