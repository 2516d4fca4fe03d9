"""Cameras placed and everything fitted together: one solution, and whether it holds together."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from calibration.boards import BoardDetections
from calibration.bundle import BundleResult, bundle_adjust, free_parameters, lens_prior
from calibration.cameras import CameraRig, Intrinsics
from calibration.extrinsics import PlacedRig, place_boards, place_cameras
from calibration.intrinsics import LensFit

#: Cameras disagree where one fits so much worse together than alone ...
_TOGETHER_RATIO = 1.15
_TOGETHER_MORE_PX = 0.03
#: ... or so many of its corners are judged wrong.
_WRONG_SHARE = 0.02
#: In the misfit no residual counts for more than a few pixels.
FAR_PX = 5.0


@dataclass(frozen=True, eq=False)
class Solution:
    """What a joint fit found.

    Attributes
    ----------
    result : BundleResult
        Cameras and boards.
    placed : PlacedRig
        What it began with; its detections have half-turned boards set right.
    settings : mapping
        Arguments of `bundle_adjust`: what was free, what was believed.
    """

    result: BundleResult
    placed: PlacedRig
    settings: Mapping[str, Any]

    @property
    def misfit(self) -> float:
        """Root mean square length of the residuals, none longer than a few pixels."""
        length = np.linalg.norm(self.result.residuals, axis=-1)
        length = length[np.isfinite(self.placed.detections.corners[..., 0])]
        return float(np.sqrt(np.mean(np.fmin(np.nan_to_num(length, nan=np.inf), FAR_PX) ** 2)))

    def disagrees(self, alone: Mapping[str, float]) -> bool:
        """Tell whether cameras agree better with themselves (px RMS) than with each other."""
        result, placed = self.result, self.placed
        seen = np.isfinite(placed.detections.corners[..., 0])
        wrong = 1 - result.used.sum(axis=(1, 2)) / np.maximum(seen.sum(axis=(1, 2)), 1)
        if (wrong > _WRONG_SHARE).any():
            return True
        rms = {
            name: np.sqrt(np.mean(result.residuals[i][result.used[i]] ** 2))
            for i, name in enumerate(placed.detections.cameras)
        }
        usual = min(rms.values())  # of a camera whose lens was known
        return any(
            rms[name] > _TOGETHER_RATIO * alone.get(name, usual) + _TOGETHER_MORE_PX for name in rms
        )


def solve_jointly(
    detections: BoardDetections,
    lenses: Mapping[str, Intrinsics],
    fits: Mapping[str, LensFit],
    say: Callable[[str], None] = lambda words: None,
) -> Solution:
    """Place the cameras and fit everything together.

    Parameters
    ----------
    detections : BoardDetections
        Corners of all cameras.
    lenses : mapping of str to Intrinsics
        First values, or known lenses.
    fits : mapping of str to LensFit
        Of the lenses that are to be fitted; the others are held.
    say : callable
        Told what is being done.

    Raises
    ------
    CalibrationError
        If the boards do not place the cameras.
    """
    say("places of the cameras")
    placed = place_cameras(detections, lenses)
    say("joint fit")
    settings = {
        "free": [_free(camera, fits.get(camera.name)) for camera in placed.rig],
        "priors": [
            _belief(camera, fits[camera.name]) if camera.name in fits else lens_prior(camera)
            for camera in placed.rig
        ],
    }
    result = bundle_adjust(placed.rig, placed.detections, placed.board_poses, **settings)
    again = _other_poses(placed.detections, result)
    if again is not None:
        placed = replace(placed, detections=again[0])
        result = bundle_adjust(result.rig, again[0], again[1], **settings)
    return Solution(result, placed, settings)


def _belief(camera, fit):
    """Return what is believed of a lens: what boards filmed apart say, or that it is a lens."""
    return lens_prior(camera) if fit.belief is None else fit.belief


def _free(camera, fit):
    """Return which parameters the joint fit may change; a known lens stays."""
    if fit is None:
        return free_parameters(camera, lens=False)
    return free_parameters(camera, coefficients=fit.coefficients)


def _other_poses(detections: BoardDetections, result: BundleResult):
    """Look for boards that fit clearly better in another pose: mirrored, or half a turn round.

    Returns
    -------
    tuple of BoardDetections and ndarray, or None
        Detections and board poses set right; None where nothing was wrong.
    """
    seen = np.count_nonzero(np.isfinite(detections.corners[..., 0]), axis=(0, 2))
    used = np.count_nonzero(result.used, axis=(0, 2))
    moments = np.flatnonzero((used < 0.6 * seen) & np.isfinite(result.board_poses[:, 0, 0]))
    if len(moments) == 0:
        return None
    fresh, poses = place_boards(detections.at(moments), result.rig)
    new = _median_lengths(result.rig, fresh, poses)
    old = _median_lengths(result.rig, detections.at(moments), result.board_poses[moments])
    better = np.flatnonzero(new < 0.7 * old)
    if len(better) == 0:
        return None
    corners, board_poses = detections.corners.copy(), result.board_poses.copy()
    corners[:, moments[better]] = fresh.corners[:, better]
    board_poses[moments[better]] = poses[better]
    return replace(detections, corners=corners), board_poses


def board_residuals(
    rig: CameraRig, detections: BoardDetections, board_poses: np.ndarray
) -> np.ndarray:
    """Return detected minus projected corners of rigid boards.

    Parameters
    ----------
    rig : CameraRig
        The cameras.
    detections : BoardDetections
        Corners in pixels.
    board_poses : ndarray of shape (n_frames, 4, 4)
        World from board.

    Returns
    -------
    ndarray of shape (n_cameras, n_frames, n_corners, 2)
        In pixels; NaN where nothing was seen, no pose is known or the corner would lie behind
        the camera.
    """
    points = np.array(detections.board.corners) @ np.swapaxes(board_poses[:, :3, :3], 1, 2)
    return detections.corners - rig.project(points + board_poses[:, np.newaxis, :3, 3])


def _median_lengths(rig, detections, board_poses):
    """Median reprojection error of each moment, all cameras together."""
    lengths = np.linalg.norm(board_residuals(rig, detections, board_poses), axis=-1)
    seen = np.isfinite(detections.corners[..., 0])
    lengths = np.where(seen & np.isnan(lengths), np.inf, lengths)
    return np.nanmedian(np.where(seen, lengths, np.nan), axis=(0, 2))
