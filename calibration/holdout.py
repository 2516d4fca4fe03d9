"""The test on moments kept out of the fit: in pixels, in lengths, and in what it changes."""

import numpy as np

from calibration.boards import Board
from calibration.bundle import bundle_adjust
from calibration.cameras import CameraRig
from calibration.extrinsics import linked_groups, shared_views
from calibration.joint import Solution
from calibration.multiview import triangulate_dlt
from calibration.results import HeldOut

#: Fewest moments that must link the cameras in the half that is fitted for the test.
_MIN_SHARED_TO_TEST = 3


def hold_out_moments(solution: Solution) -> HeldOut | None:
    """Fit the first, third, fifth ... moment; test the others, cameras held.

    Once with rigid boards, for the error in pixels; once with every corner triangulated
    freely, so that the distances between neighbours, and how flat they lie, show whether the
    rig measures lengths right.

    Parameters
    ----------
    solution : Solution
        The fit of all moments.

    Returns
    -------
    HeldOut or None
        None where there are too few moments to keep any out.
    """
    result, detections = solution.result, solution.placed.detections
    known = np.flatnonzero(np.isfinite(result.board_poses[:, 0, 0]))
    fitted, tested = known[::2], known[1::2]
    # links of one or two moments would be tested, not the calibration
    links = shared_views(detections.at(fitted)) >= _MIN_SHARED_TO_TEST
    if len(tested) == 0 or len(linked_groups(links)) > 1:
        return None
    rig = CameraRig(result.rig.cameras, result.rig.units)
    half = bundle_adjust(
        rig,
        detections.at(fitted),
        result.board_poses[fitted],
        tolerance=1e-7,
        **solution.settings,
    )
    held = [np.zeros(camera.n_parameters, dtype=bool) for camera in half.rig]
    test = bundle_adjust(
        half.rig, detections.at(tested), result.board_poses[tested], free=held, tolerance=1e-7
    )
    used = np.where(test.used[..., np.newaxis], detections.corners[:, tested], np.nan)
    return HeldOut(
        rms_px=float(np.sqrt(np.nanmean(test.residuals**2))),
        **measured_lengths(half.rig, detections.board, used),
        position_change=np.array(
            [
                np.linalg.norm(a.position - b.position)
                for a, b in zip(half.rig, result.rig, strict=True)
            ]
        ),
        focal_change=np.array(
            [
                np.abs(np.diag(a.intrinsics.matrix - b.intrinsics.matrix)[:2]).max()
                for a, b in zip(half.rig, result.rig, strict=True)
            ]
        ),
    )


def measured_lengths(rig: CameraRig, board: Board, corners: np.ndarray) -> dict[str, float]:
    """Measure a board with a rig: every corner triangulated on its own.

    Parameters
    ----------
    rig : CameraRig
        The rig.
    board : Checkerboard or CharucoBoard
        What the board is.
    corners : ndarray of shape (n_cameras, n_frames, n_corners, 2)
        Pixels; NaN where not seen.

    Returns
    -------
    dict
        "n_lengths"; "length_bias", the mean distance of neighbours over the true one, less one;
        "length_rms" and "flatness_rms", the root mean square error of a distance and of the
        corners from their best plane, in the board's unit; NaN where there are too few.
    """
    points = triangulate_dlt(rig, corners)
    rows, columns = board.squares_y - 1, board.squares_x - 1
    grid = points.reshape(-1, rows, columns, 3)
    lengths = np.concatenate(
        [np.linalg.norm(np.diff(grid, axis=axis), axis=-1).ravel() for axis in (1, 2)]
    )
    lengths = lengths[np.isfinite(lengths)]
    heights = []
    for cloud in points:
        cloud = cloud[np.isfinite(cloud).all(axis=1)]
        if len(cloud) >= 6:
            normal = np.linalg.svd(cloud - cloud.mean(axis=0), full_matrices=False)[2][2]
            heights.append((cloud - cloud.mean(axis=0)) @ normal)
    heights = np.concatenate(heights) if heights else np.array([np.nan])
    if len(lengths) == 0:
        lengths = np.array([np.nan])
    return {
        "n_lengths": int(np.isfinite(lengths).sum()),
        "length_bias": float(lengths.mean() / board.square_length - 1),
        "length_rms": float(np.sqrt(np.mean((lengths - board.square_length) ** 2))),
        "flatness_rms": float(np.sqrt(np.mean(heights**2))),
    }
