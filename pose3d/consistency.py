"""Does this recording belong to this calibration? Told before anyone believes the 3D.

Each camera is compared with where the others say the keypoints are. What the detector's noise
does not explain is tried against what happens in laboratories: files exchanged, videos of another
size or mirrored, a camera that is late, one that moved before or during the recording. An
explanation counts where mending it would take most of the misfit away.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from calibration.cameras import CameraRig
from calibration.errors import CalibrationError, DataError
from calibration.results import Finding, Verdict
from calibration.selfcalibration import resolve_camera
from pose3d.keypoints import Keypoints2D
from pose3d.mixups import COARSE, exchanged, misfit
from pose3d.timeshift import estimate_offsets, shift_times
from pose3d.triangulation import triangulate

#: Frames that are looked at.
_FRAMES = 1500

#: Blocks of time in which a camera is followed.
_BLOCKS = 40

#: Statistic of a change (about a normal deviate) from which a camera has moved; the largest of
#: many, so well above what chance gives.
_MOVED = 7.0

#: Share of the misfit that a late or moved camera must leave at most.
_WORTH, _WORTH_POOR = 0.94, 0.6

#: Misfit, px, above which the detector is poor, or more than that is wrong.
_POOR = 5.0

#: Share of a camera's errors that must shift or turn its image before it is placed anew.
_LEAN = 0.1

#: Frames by which a camera is placed anew.
_PLACED = 300

#: Standard errors of a lateness, and frames, from which it is told.
_LATE, _FRAME = 5.0, 0.1


@dataclass(frozen=True, eq=False)
class Consistency:
    """How well a recording fits its calibration.

    Attributes
    ----------
    verdict : Verdict
        What was found, with figures and remedies.
    cameras : tuple of str
        Names.
    misfit_px : ndarray of shape (n_cameras,)
        Median distance of each camera's keypoints from where the others say they are.
    shift_px : ndarray of shape (n_cameras, n_blocks, 2)
        Mean error of each camera, over time: a camera that moves shows as a step.
    block_frames : ndarray of int of shape (n_blocks,)
        First frame of each block.
    moved_from : dict of str to int
        Frame from which a camera stands elsewhere.
    late_seconds : dict of str to float
        Cameras that are late, by how much.
    """

    verdict: Verdict
    cameras: tuple[str, ...]
    misfit_px: np.ndarray
    shift_px: np.ndarray
    block_frames: np.ndarray
    moved_from: dict[str, int]
    late_seconds: dict[str, float]


def check_recording(
    keypoints_2d: Keypoints2D, rig: CameraRig, *, min_likelihood: float = 0.6
) -> Consistency:
    """Compare a recording with its calibration.

    Parameters
    ----------
    keypoints_2d : Keypoints2D
        What each camera saw; cameras are matched by name.
    rig : CameraRig
        The cameras.
    min_likelihood : float
        Views less likely than this are left out.

    Returns
    -------
    Consistency
        FAIL where files, sizes or mirror images are exchanged or nothing fits, WARN where a
        camera moved or is late.

    Raises
    ------
    DataError
        If there are fewer than two cameras or no keypoint is seen twice.
    """
    rig = rig.subset(keypoints_2d.cameras)
    if len(rig.names) < 2:
        raise DataError("One camera alone cannot be compared; analyse another of the rig.")
    step = max(1, keypoints_2d.n_frames // _FRAMES)
    seen = keypoints_2d.confident(min_likelihood)
    some = seen.take(slice(None, None, step))
    whole = misfit(some, rig)
    if np.isnan(whole):
        raise DataError(
            "No keypoint is seen by two cameras at once, to the likelihood that counts: nothing "
            "can be compared. Lower the cutoff, or look at the 2D keypoints."
        )
    findings = list(exchanged(some, rig, whole)) if whole > COARSE else []
    moved: dict[str, int] = {}
    late: dict[str, float] = {}
    errors = _left_out(seen, rig)
    blocks = np.array_split(np.arange(seen.n_frames), min(_BLOCKS, seen.n_frames))
    shift = _shifts(errors, blocks)
    if not findings:
        tried = [
            _late(seen, rig),
            *_moved(seen, rig, shift, blocks),
            *_elsewhere(seen, rig, errors),
        ]
        # a poor detector's errors are bent to many a place of a camera: that must explain more
        share = _WORTH if whole < _POOR else _WORTH_POOR
        tried = [one for one in tried if one is not None and one.left < share * whole]
        if tried:
            best = min(tried, key=lambda one: one.left * one.cost)
            findings, moved, late = list(best.findings), best.moved, best.late
        elif whole > COARSE:
            findings = [_unexplained(whole)]
    if not findings:
        findings.append(
            Finding("PASS", "recording", f"The cameras agree to {whole:.2f} px (median).", "")
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        apart = np.linalg.norm(errors, axis=-1).reshape(len(errors), -1)
        by_camera = np.nanmedian(apart, axis=1)
    first = np.array([block[0] for block in blocks])
    return Consistency(
        Verdict(tuple(findings)), rig.names, by_camera, shift[..., :2], first, moved, late
    )


def _left_out(seen, rig):
    """Return errors in each camera beside where the others say the points are, px."""
    errors = np.full(seen.xy.shape, np.nan)
    many = len(rig.names) > 2
    for i, name in enumerate(rig.names):
        rest = [other for other in rig.names if other != name] if many else list(rig.names)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = triangulate(seen.subset(rest), rig, min_likelihood=0.0)
            errors[i] = seen.xy[i] - rig[name].project(found.xyz)
    return errors


def _shifts(errors, blocks):
    """Return each camera's median error in each block of time, (n_cameras, n_blocks, 2)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        # what a detector always does wrong with a keypoint is not a movement
        own = errors - np.nanmedian(errors, axis=1, keepdims=True)
        usual = np.nanmedian(errors.reshape(len(errors), -1, 2), axis=1)
        by_block = [
            np.nanmedian(own[:, block].reshape(len(errors), -1, 2), axis=1) for block in blocks
        ]
    return np.stack(by_block, axis=1) + usual[:, np.newaxis]


@dataclass(frozen=True)
class _Explanation:
    """What may be wrong; the misfit that it leaves, and how much simpler others must be."""

    findings: tuple[Finding, ...]
    left: float
    cost: float
    moved: dict[str, int]
    late: dict[str, float]


def _unexplained(whole):
    """Say that nothing explains the misfit."""
    return Finding(
        "WARN",
        "views",
        f"The cameras disagree on the keypoints by {whole:.1f} px (median), and neither a late or "
        "moved camera nor exchanged or scaled files would explain it.",
        "Look at the 2D keypoints (create-labeled-video): the networks may place them differently "
        "in each view. Else calibrate anew.",
    )


def _late(seen, rig) -> _Explanation | None:
    """Look for cameras that are late."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = estimate_offsets(seen, rig, max_seconds=0.5, min_likelihood=0.0)
    except DataError:
        return None
    step = float(np.median(np.diff(seen.times)))
    # the usual camera is on time: the others are late or early beside it
    seconds = found.seconds - (np.median(found.seconds) if len(rig.names) > 2 else 0.0)
    findings, late = [], {}
    for name, value, error in zip(rig.names, seconds, found.errors, strict=True):
        if abs(value) > max(_FRAME * step, _LATE * error):
            late[name] = float(value)
            word = "late" if value > 0 else "early"
            findings.append(
                Finding(
                    "WARN",
                    "time",
                    f"Camera {name!r} is {word} by {abs(value) / step:.2f} frames "
                    f"({abs(value) * 1e3:.1f} ± {error * 1e3:.1f} ms).",
                    "Store it with sync-recording; triangulation then takes it into account.",
                )
            )
    if not findings or not _keypoints_agree(seen, rig, seconds, found.errors, late):
        return None
    left = misfit(shift_times(seen, found.seconds), rig)
    return _Explanation(tuple(findings), left, 1.0, {}, late)


def _keypoints_agree(seen, rig, seconds, errors, late):
    """Tell whether each half of the keypoints finds the same lateness by itself."""
    step = float(np.median(np.diff(seen.times)))
    n_keypoints = len(seen.keypoints)
    for half in range(2 if n_keypoints > 1 else 0):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                own = estimate_offsets(
                    _without(seen, np.arange(n_keypoints) % 2 == half),
                    rig,
                    max_seconds=0.5,
                    min_likelihood=0.0,
                ).seconds
        except DataError:
            return False
        own = own - (np.median(own) if len(rig.names) > 2 else 0.0)
        for i, name in enumerate(rig.names):
            if name in late and abs(own[i] - seconds[i]) > max(0.25 * step, 10 * errors[i]):
                return False
    return True


def _moved(seen, rig, shift, blocks) -> Iterator[_Explanation]:
    """Look for a camera that moved during the recording."""
    if len(rig.names) < 3:
        return
    focal = np.array([camera.intrinsics.matrix[0, 0] for camera in rig])
    best = None
    for i in range(len(rig.names)):
        where = np.flatnonzero(np.isfinite(shift[i]).all(axis=1))
        own = shift[i][where]
        if len(own) < 8:
            continue
        noise = np.median(np.abs(np.diff(own, axis=0)), axis=0) / 0.6745 / np.sqrt(2)
        noise = np.maximum(noise, 0.02)
        for at in range(3, len(own) - 2):
            change = own[at:].mean(axis=0) - own[:at].mean(axis=0)
            size = np.sqrt((change**2 / (noise**2 * (1 / at + 1 / (len(own) - at)))).sum())
            # a camera that moved shows the whole of its movement, the others a part of it
            angle = np.linalg.norm(change) / focal[i]
            if size > _MOVED and (best is None or angle > best[0]):
                best = (angle, i, int(blocks[where[at]][0]))
    if best is None:
        return
    _, i, frame = best
    name = rig.names[i]
    placed = _placed_anew(seen, rig, name, slice(frame, None))
    if placed is None:
        return
    before, after = seen.take(slice(None, frame)), seen.take(slice(frame, None))
    left = _left_elsewhere(after, rig, name)
    if left is None:
        return
    left = (misfit(before, rig) * frame + left * after.n_frames) / seen.n_frames
    finding = Finding(
        "WARN",
        "movement",
        f"Camera {name!r} moved at about frame {frame} ({seen.times[frame]:.2f} s): it has turned "
        f"by {_how_far(rig, placed, name)}.",
        f"Place it anew for the frames from {frame} on (refine-rig --camera {name}), or leave it "
        "out there.",
    )
    yield _Explanation((finding,), left, 1.0, {name: frame}, {})


def _elsewhere(seen, rig, errors) -> Iterator[_Explanation]:
    """Try for each camera whether it stands elsewhere than where it was calibrated."""
    if len(rig.names) < 3:
        return
    for i, name in enumerate(rig.names):
        if not _leans(seen.xy[i], errors[i]) > _LEAN:
            continue
        placed = _placed_anew(seen, rig, name, slice(None))
        left = _left_elsewhere(seen, rig, name)
        if placed is None or left is None:
            continue
        finding = Finding(
            "WARN",
            "movement",
            f"Camera {name!r} stands elsewhere than where it was calibrated: it has turned by "
            f"{_how_far(rig, placed, name)}.",
            f"Place it anew (refine-rig --camera {name}), or calibrate again.",
        )
        yield _Explanation((finding,), left, 1.1, {name: 0}, {})


def _left_elsewhere(seen, rig, name):
    """Return the misfit that placing a camera anew leaves in keypoints that did not place it.

    Networks place keypoints a little differently in each view; a camera could be bent to that,
    but what some keypoints then gain the others do not.
    """
    n_keypoints = len(seen.keypoints)
    if n_keypoints < 4:
        placed = _placed_anew(seen, rig, name, slice(None))
        return None if placed is None else misfit(seen, placed)
    ratios = []
    for half in range(2):
        own, others = np.arange(n_keypoints) % 2 == half, np.arange(n_keypoints) % 2 != half
        placed = _placed_anew(_without(seen, others), rig, name, slice(None))
        if placed is None:
            return None
        judged = _without(seen, own)
        ratios.append(misfit(judged, placed) / misfit(judged, rig))
    return float(np.mean(ratios)) * misfit(seen, rig)


def _without(seen, keypoints):
    """Leave some keypoints out."""
    return replace(seen, xy=np.where(keypoints[:, np.newaxis], np.nan, seen.xy))


def _leans(xy, errors):
    """Return the share of a camera's errors that shift, turn or scale its image."""
    there = np.isfinite(errors).all(axis=-1) & np.isfinite(xy).all(axis=-1)
    if np.count_nonzero(there) < 50:
        return 0.0
    xy, errors = xy[there], errors[there]
    # gross errors would be most of the squares
    size = np.linalg.norm(errors, axis=1)
    near = size <= 4 * np.median(size)
    xy, errors = xy[near], errors[near]
    rows = np.column_stack([np.ones(len(xy)), (xy - xy.mean(axis=0)) / (xy.std(axis=0) + 1e-9)])
    fitted = rows @ np.linalg.lstsq(rows, errors, rcond=None)[0]
    return float((fitted**2).sum() / (errors**2).sum())


def _placed_anew(seen, rig, name, frames):
    """Return the rig with one camera placed by the keypoints of some frames; None if it fails."""
    part = seen.take(frames)
    part = part.take(slice(None, None, max(1, part.n_frames // _PLACED)))
    xy = part.xy.reshape(len(rig.names), part.n_frames, -1, 2)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return resolve_camera(rig, name, xy, noise_px=2.0).rig
    except (CalibrationError, ValueError):
        return None


def _how_far(rig, placed, name):
    """Say how far a camera went."""
    old, new = rig[name], placed[name]
    turn = new.rotation @ old.rotation.T
    angle = np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1)))
    distance = np.linalg.norm(new.position - old.position)
    return f"{angle:.2f} degrees and moved by {distance:.1f} {rig.units}"
