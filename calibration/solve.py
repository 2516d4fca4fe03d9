"""The whole calibration: lenses, places, the joint fit, and the test on moments kept out of it."""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import numpy as np

from calibration.boards import BoardDetections
from calibration.bundle import bundle_adjust
from calibration.cameras import CameraRig, Intrinsics
from calibration.errors import CalibrationError
from calibration.explaining import explain_disagreement
from calibration.extrinsics import check_links, place_boards, shared_views
from calibration.holdout import hold_out_moments
from calibration.intrinsics import LensFit, calibrate_lens, check_choice
from calibration.joint import board_residuals, solve_jointly
from calibration.poses import without_false_views
from calibration.results import RigCalibration, TimeFault, Verdict
from calibration.rotations import cross_matrix
from calibration.verdict import judge

logger = logging.getLogger(__name__)


def calibrate(
    detections: BoardDetections,
    *,
    model: str | Mapping[str, str] = "auto",
    intrinsics: Mapping[str, Intrinsics] | None = None,
    lens_detections: Mapping[str, BoardDetections] | None = None,
    hold_out: bool = True,
    fix_sync: bool = False,
    distances: Iterable[tuple[str, str, float]] = (),
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
        Lens model of all cameras or of each: "auto" (Brown, rational or fisheye, with the
        coefficients that the boards bear out), "pinhole", "k1", "k1k2", "k1k2p1p2", "brown",
        "rational" or "fisheye".
    intrinsics : mapping of str to Intrinsics, optional
        Lenses that are known; they are kept as they are.
    lens_detections : mapping of str to BoardDetections, optional
        Boards filmed for a camera's lens alone, one camera each, at any time. What they say of
        the lens is believed, within its errors, when everything is fitted together.
    hold_out : bool
        Whether to fit once more on every other moment and test on the rest.
    fix_sync : bool
        Whether to mend cameras that are found late, short of a frame or moved half-way (see
        `calibration.mending.mend`) and calibrate again; they are named in any case.
    distances : iterable of (str, str, float)
        Measured distances between two cameras, in the board's unit, to check the result.
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
    apart = _checked_apart(detections, lens_detections or {})
    for name in names:
        if name in known:
            continue
        say(f"lens of {name}")
        if name in apart:
            fits[name] = calibrate_lens(apart[name], name, model=models[name], believed=True)
        else:
            fits[name] = calibrate_lens(detections, name, model=models[name])
    lenses = known | {name: fit.intrinsics for name, fit in fits.items()}
    alone = {name: fit.rms_px for name, fit in fits.items()}
    try:
        solution, failure = solve_jointly(detections, lenses, fits, say), None
    except CalibrationError as error:
        solution, failure = None, error
    faults: tuple[TimeFault, ...] = ()
    if solution is None or solution.disagrees(alone):
        say("cameras' times")
        faults, mended = explain_disagreement(everything, detections, lenses, fits, solution, alone)
        if faults and fix_sync:
            solution, everything, detections = mended
        elif failure is not None:
            told = f"{_told(faults, detections.board.units)} " if faults else ""
            raise CalibrationError(f"{told}{failure}") from failure
    result, placed = solution.result, solution.placed
    fixed, faults = (faults, ()) if fix_sync else ((), faults)
    held_out = None
    if hold_out:
        say("test on moments kept out")
        held_out = hold_out_moments(solution)
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
    verdict = judge(calibration, alone_px=alone, distances=distances)
    logger.info("calibrated %d cameras: %s", len(names), verdict.level)
    return replace(calibration, verdict=verdict)


def judge_rig(
    rig: CameraRig,
    detections: BoardDetections,
    *,
    distances: Iterable[tuple[str, str, float]] = (),
) -> RigCalibration:
    """Judge a rig that something else solved by the boards its cameras saw.

    The cameras stay as they are; boards are placed between them. Standard errors are what the
    corners allow, as if the rig were the best fit to them.

    Parameters
    ----------
    rig : CameraRig
        The rig; its cameras are those of the detections, in their order.
    detections : BoardDetections
        Corners of a board that several cameras saw at the same moments.
    distances : iterable of (str, str, float)
        Measured distances between two cameras.

    Returns
    -------
    RigCalibration
    """
    rig = CameraRig(rig.cameras, rig.units)
    fresh, poses = place_boards(detections, rig)
    held = [np.zeros(camera.n_parameters, dtype=bool) for camera in rig]
    fit = bundle_adjust(rig, fresh, poses, free=held)
    used = replace(fresh, corners=np.where(fit.used[..., np.newaxis], fresh.corners, np.nan))
    spread = bundle_adjust(rig, used, fit.board_poses, robust=False, max_iterations=0)
    calibration = RigCalibration(
        spread.rig,
        used,
        fit.board_poses,
        board_residuals(rig, fresh, fit.board_poses),
        None,
        shared_views(detections),
        standard_errors(spread.rig),
        Verdict(()),
    )
    return replace(calibration, verdict=judge(calibration, distances=distances))


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


def _checked_apart(detections, lens_detections):
    """Refuse boards filmed apart of cameras that are not there or at another size."""
    for name, apart in lens_detections.items():
        if name not in detections.cameras or name not in apart.cameras:
            raise ValueError(
                f"lens_detections are given for {name!r}; the cameras are "
                f"{', '.join(detections.cameras)}."
            )
        size = detections.image_sizes[detections.cameras.index(name)]
        other = apart.image_sizes[apart.cameras.index(name)]
        if not np.array_equal(size, other):
            raise CalibrationError(
                f"Camera {name!r} filmed the boards for its lens at {other[0]} x {other[1]} pixels "
                f"and the shared boards at {size[0]} x {size[1]}. Record both at one size and zoom."
            )
    return lens_detections


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
