"""The whole calibration: lenses, places, the joint fit, and the test on moments kept out of it."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from calibration.boards import BoardDetections
from calibration.bundle import BundleResult, bundle_adjust, free_parameters, lens_prior
from calibration.cameras import CameraRig, Intrinsics
from calibration.errors import CalibrationError
from calibration.extrinsics import (
    check_links,
    linked_groups,
    place_boards,
    place_cameras,
    shared_views,
)
from calibration.intrinsics import LensFit, calibrate_lens, check_choice
from calibration.poses import without_false_views
from calibration.results import RigCalibration, TimeFault, Verdict
from calibration.rotations import cross_matrix
from calibration.timing import find_time_faults, lateness, mend, merged
from calibration.verdict import judge

logger = logging.getLogger(__name__)

#: Cameras are looked at for their times where one fits so much worse together than alone ...
_TOGETHER_RATIO = 1.15
_TOGETHER_MORE_PX = 0.03
#: ... or so many of its corners are judged wrong.
_WRONG_SHARE = 0.02
#: Rounds in which faults in time are looked for, and by how much each must lessen the misfit,
#: in which no residual counts for more than a few pixels.
_MAX_MENDINGS = 4
#: Cameras that are each held against the others.
_SUSPECTS = 4
_BETTER = 0.85
_FAR_PX = 5.0

#: Fewest moments that must link the cameras in the half that is fitted for the test.
_MIN_SHARED_TO_TEST = 3


def calibrate(
    detections: BoardDetections,
    *,
    model: str | Mapping[str, str] = "auto",
    intrinsics: Mapping[str, Intrinsics] | None = None,
    hold_out: bool = True,
    fix_sync: bool = False,
    progress: Callable[[str], None] | None = None,
) -> RigCalibration:
    """Calibrate a rig from the boards its cameras saw.

    Each camera's lens is fitted to its own boards, the cameras are placed by the boards they
    share, and everything is fitted together with a robust loss. The world is the first
    camera's: x right, y down, z forward, lengths in the board's unit.

    Parameters
    ----------
    detections : BoardDetections
        Corners of a board that several cameras saw at the same moments.
    model : str or mapping of str to str
        Lens model of all cameras or of each: "auto" (the Brown model with the coefficients
        that the boards bear out), "pinhole", "k1", "k1k2", "k1k2p1p2", "brown", "rational" or
        "fisheye".
    intrinsics : mapping of str to Intrinsics, optional
        Lenses that are known; they are kept as they are.
    hold_out : bool
        Whether to fit once more on every other moment and test on the rest.
    fix_sync : bool
        Whether to mend cameras that are found late, short of a frame or moved half-way (see
        `calibration.timing.mend`) and calibrate again; they are named in any case.
    progress : callable, optional
        Told, in a few words, what is being done.

    Returns
    -------
    RigCalibration

    Raises
    ------
    CalibrationError
        If the boards do not determine the rig; it names cameras and what to record.
    """
    say = progress or (lambda words: None)
    names = detections.cameras
    known = _checked(names, detections.image_sizes, intrinsics or {})
    models = dict.fromkeys(names, model) if isinstance(model, str) else dict(model)
    for name in names:
        check_choice(models.setdefault(name, "auto"))
    _check_sizes(detections)
    everything, detections = detections, without_false_views(detections)
    check_links(detections)
    fits: dict[str, LensFit] = {}
    for name in names:
        if name not in known:
            say(f"lens of {name}")
            fits[name] = calibrate_lens(detections, name, model=models[name])
    lenses = known | {name: fit.intrinsics for name, fit in fits.items()}
    alone = {name: fit.rms_px for name, fit in fits.items()}
    try:
        solution, failure = _solve(detections, lenses, fits, say), None
    except CalibrationError as error:
        solution, failure = None, error
    faults: tuple[TimeFault, ...] = ()
    if solution is None or _disagrees(solution, alone):
        say("cameras' times")
        faults, mended = _explained(everything, detections, lenses, fits, solution, alone)
        if faults and fix_sync:
            solution, everything, detections = mended
        elif failure is not None:
            told = f"{_told(faults, detections.board.units)} " if faults else ""
            raise CalibrationError(f"{told}{failure}") from failure
    result, placed, settings = solution
    fixed, faults = (faults, ()) if fix_sync else ((), faults)
    held_out = np.nan
    if hold_out:
        say("test on moments kept out")
        held_out = _held_out_rms(placed.detections, result, settings)
    used = np.where(result.used[..., np.newaxis], placed.detections.corners, np.nan)
    # residuals are of all that was detected; checkerboards as they were turned for the fit
    seen = np.where(np.isfinite(detections.corners), placed.detections.corners, everything.corners)
    calibration = RigCalibration(
        result.rig,
        replace(detections, corners=used),
        result.board_poses,
        board_residuals(result.rig, replace(detections, corners=seen), result.board_poses),
        held_out,
        shared_views(detections),
        standard_errors(result.rig),
        Verdict(()),
        faults,
        fixed,
        {name: fit.why for name, fit in fits.items()},
    )
    verdict = judge(calibration, alone_px=alone)
    logger.info("calibrated %d cameras: %s, held out %.3f px", len(names), verdict.level, held_out)
    return replace(calibration, verdict=verdict)


def _solve(detections, lenses, fits, say=lambda words: None):
    """Place the cameras and fit everything together."""
    say("places of the cameras")
    placed = place_cameras(detections, lenses)
    say("joint fit")
    settings = {
        "free": [_free(camera, fits.get(camera.name)) for camera in placed.rig],
        "priors": [lens_prior(camera) for camera in placed.rig],
    }
    result = bundle_adjust(placed.rig, placed.detections, placed.board_poses, **settings)
    again = _other_poses(placed.detections, result)
    if again is not None:
        placed = replace(placed, detections=again[0])
        result = bundle_adjust(result.rig, again[0], again[1], **settings)
    return result, placed, settings


def _disagrees(solution, alone):
    """Tell whether cameras agree better with themselves than with each other."""
    result, placed, _ = solution
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


def _against_others(detections, lenses, fits, solution, alone):
    """Yield what each of the worst cameras' lateness against the others would explain."""
    if solution is None:
        return
    result, placed, _ = solution
    names = detections.cameras
    misfit = np.sqrt(np.nanmean(np.fmin(result.residuals**2, _FAR_PX**2), axis=(1, 2, 3)))
    worse = misfit / [alone.get(name, misfit.min()) for name in names]
    for i in np.argsort(-worse, kind="stable")[:_SUSPECTS]:
        rest = [k for k in range(len(names)) if k != i]
        others = BoardDetections(
            placed.detections.corners[rest],
            tuple(names[k] for k in rest),
            detections.board,
            detections.image_sizes[rest],
            detections.frames,
        )
        try:
            boards = _solve(others, lenses, fits)[0].board_poses
        except CalibrationError:
            continue
        yield lateness(names[i], lenses[names[i]], detections, placed.detections.corners[i], boards)


def _misfit(solution):
    """Root mean square length of the residuals, none longer than a few pixels."""
    result, placed, _ = solution
    length = np.linalg.norm(result.residuals, axis=-1)
    length = length[np.isfinite(placed.detections.corners[..., 0])]
    return float(np.sqrt(np.mean(np.fmin(np.nan_to_num(length, nan=np.inf), _FAR_PX) ** 2)))


def _explained(filmed, detections, lenses, fits, solution, alone):
    """Find cameras that are late, gappy or moved, by trying what mending each would bring.

    Returns
    -------
    faults : tuple of TimeFault
        What explains the data better than nothing; perhaps empty.
    mended : tuple
        Solution, all corners and good corners with the faults mended.
    """
    faults: tuple[TimeFault, ...] = ()
    mended, misfit = (solution, filmed, detections), np.inf
    if solution is not None:
        misfit = _misfit(solution)
    for _ in range(_MAX_MENDINGS):
        solution, _, detections = mended
        guesses = [
            find_time_faults(detections, lenses),
            *_against_others(detections, lenses, fits, solution, alone),
        ]
        trials = []
        for guess in dict.fromkeys(merged(faults, guess) for guess in guesses if guess):
            try:
                corners = mend(filmed, guess)
                good = without_false_views(corners)
                trial = _solve(good, lenses, fits)
            except CalibrationError:
                continue
            trials.append((_misfit(trial), len(trials), guess, (trial, corners, good)))
        if not trials:
            break
        least, _, guess, trial = min(trials)
        if not least < _BETTER * misfit:
            break
        faults, mended, misfit = guess, trial, least
        if not _disagrees(trial[0], alone):
            break
    return faults, mended


def _told(faults, units):
    """Say which cameras are out of time, and what to do."""
    told = "; ".join(fault.told(units) for fault in faults)
    return f"{told}. Mend that (--fix-sync) or record again."


def _checked(names, image_sizes, intrinsics):
    """Refuse known lenses of cameras that are not there or of images of another size."""
    for name, lens in intrinsics.items():
        if name not in names:
            raise ValueError(
                f"intrinsics are given for {name!r}; the cameras are {', '.join(names)}."
            )
        size = tuple(int(side) for side in image_sizes[names.index(name)])
        if lens.image_size != size:
            raise CalibrationError(
                f"The known lens of {name!r} is for images of {lens.image_size[0]} x "
                f"{lens.image_size[1]} pixels; its pictures have {size[0]} x {size[1]}. Give the "
                "lens of this image size (Intrinsics.resized, if the images were scaled)."
            )
    return dict(intrinsics)


def _check_sizes(detections):
    """Refuse corners that lie outside the images they are said to come from."""
    corners = detections.corners
    for i, name in enumerate(detections.cameras):
        width, height = detections.image_sizes[i]
        largest = np.nanmax(corners[i], axis=(0, 1), initial=-np.inf)
        if largest[0] > width or largest[1] > height:
            raise CalibrationError(
                f"Camera {name!r} has corners up to x {largest[0]:.0f}, y {largest[1]:.0f}, "
                f"outside its images of {width} x {height} pixels. Give the size of the pictures "
                "in which the corners were detected (width first)."
            )


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


def _held_out_rms(detections, result, settings):
    """Fit the first, third, fifth ... moment; test the others, cameras held, boards rigid."""
    known = np.flatnonzero(np.isfinite(result.board_poses[:, 0, 0]))
    fitted, tested = known[::2], known[1::2]
    # links of one or two moments would be tested, not the calibration
    links = shared_views(detections.at(fitted)) >= _MIN_SHARED_TO_TEST
    if len(tested) == 0 or len(linked_groups(links)) > 1:
        return np.nan
    rig = CameraRig(result.rig.cameras, result.rig.units)
    half = bundle_adjust(
        rig, detections.at(fitted), result.board_poses[fitted], tolerance=1e-7, **settings
    )
    held = [np.zeros(camera.n_parameters, dtype=bool) for camera in half.rig]
    test = bundle_adjust(
        half.rig, detections.at(tested), result.board_poses[tested], free=held, tolerance=1e-7
    )
    return float(np.sqrt(np.nanmean(test.residuals**2)))


def standard_errors(rig: CameraRig) -> dict[str, np.ndarray]:
    """Return one standard deviation of what people ask of a rig, from its covariance.

    Parameters
    ----------
    rig : CameraRig
        With its covariance.

    Returns
    -------
    dict
        "focal" and "principal_point" (n_cameras, 2) in px, "position" (n_cameras, 3) in the
        rig's unit, "rotation" (n_cameras, 3) in radians about the camera's axes; places are
        relative to the first camera.
    """
    focal, centre, position, rotation = [], [], [], []
    for camera in rig:
        start, stop = rig.parameter_range(camera.name)
        block = rig.covariance[start:stop, start:stop]
        deviation = np.sqrt(np.maximum(np.diag(block), 0.0))
        rotation.append(deviation[:3])
        focal.append(deviation[6:8])
        centre.append(deviation[8:10])
        # position = -R' t; a turn w of the camera adds -R' (t x w)
        slope = -camera.rotation.T @ np.hstack([cross_matrix(camera.tvec), np.eye(3)])
        position.append(np.sqrt(np.maximum(np.diag(slope @ block[:6, :6] @ slope.T), 0.0)))
    return {
        "focal": np.array(focal),
        "principal_point": np.array(centre),
        "position": np.array(position),
        "rotation": np.array(rotation),
    }
