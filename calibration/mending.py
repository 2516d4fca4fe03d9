"""Mend cameras that are late, lost frames or moved: faults added up, corners shifted."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from calibration.boards import BoardDetections
from calibration.results import TimeFault

#: Between moments farther apart than this many frames a board's way is not known.
MAX_GAP = 8
#: A camera is late from this many frames on.
MIN_LATE = 0.15


def offsets_as_faults(
    camera: str, before: float, after: float, last: int | None, frame: int | None
) -> tuple[TimeFault, ...]:
    """Say as faults by how many frames a camera is late before and after a moment."""
    faults = []
    if abs(before) > 1e-9:
        faults.append(TimeFault(camera, "late", frames=float(before)))
    if abs(after - before) > 1e-9:
        faults.append(
            TimeFault(camera, "lost", last=last, frame=frame, frames=float(before - after))
        )
    return tuple(faults)


def merged(faults: Iterable[TimeFault], more: Iterable[TimeFault]) -> tuple[TimeFault, ...]:
    """Add faults found after some were mended to those; both of one camera become one."""
    out = [fault for fault in faults if fault.kind == "moved"]
    out += [fault for fault in more if fault.kind == "moved"]
    late: dict[str, list] = {}
    for fault in (*faults, *more):
        if fault.kind == "moved":
            continue
        entry = late.setdefault(fault.camera, [0.0, 0.0, None, None])
        if fault.kind == "late":
            entry[0] += fault.frames
            entry[1] += fault.frames
        else:
            entry[1] -= fault.frames
            entry[2:] = fault.last, fault.frame
    for camera, (before, after, last, frame) in late.items():
        # frames are lost whole
        jump = round(after - before)
        before = whole(before if jump == 0 else before + (after - before - jump) / 2)
        out += offsets_as_faults(camera, before, before + jump, last, frame)
    return tuple(out)


def whole(frames: float) -> float:
    """Take for whole a number of frames that is so but for its error."""
    return float(round(frames)) if abs(frames - round(frames)) < MIN_LATE / 2 else float(frames)


def mend(detections: BoardDetections, faults: Iterable[TimeFault]) -> BoardDetections:
    """Return detections as if cameras had been in time and stood still.

    A late camera's corners are shifted, between two frames interpolated where the board is
    seen in both and moved little; so are those after a lost frame. Of a camera that moved, the
    shorter part of its moments is left out.

    Parameters
    ----------
    detections : BoardDetections
        Corners as filmed.
    faults : iterable of TimeFault
        What to mend.

    Returns
    -------
    BoardDetections
        At the same frame numbers; NaN where the camera has no frame for the moment.
    """
    corners, frames = np.array(detections.corners), detections.frames
    for fault in faults:
        i = detections.cameras.index(fault.camera)
        first = frames.min() if fault.frame is None else fault.frame
        after, before = frames >= first, frames <= (first if fault.last is None else fault.last)
        if fault.kind == "moved":
            seen = np.isfinite(corners[i, ..., 0]).any(axis=-1)
            kept = after if (seen & after).sum() > (seen & before).sum() else before
            corners[i, ~kept] = np.nan
        else:
            late = fault.frames if fault.kind == "late" else np.where(after, -fault.frames, 0.0)
            corners[i] = _shifted(corners[i], frames, late)
            if fault.kind == "lost":
                corners[i, ~after & ~before] = np.nan
    return replace(detections, corners=corners)


def _shifted(corners, frames, late):
    """Return one camera's corners (n_frames, n_corners, 2) as of its frames somewhat later."""
    order = np.argsort(frames, kind="stable")
    rank, at = frames[order], frames + late
    above = np.searchsorted(rank, at - 1e-9).clip(0, len(rank) - 1)
    exact = np.abs(rank[above] - at) < 1e-6
    below = np.where(exact, above, np.maximum(above - 1, 0))
    gap = rank[above] - rank[below]
    inside = (rank[below] <= at + 1e-6) & (at <= rank[above] + 1e-6) & (gap <= MAX_GAP)
    weight = np.where(gap > 0, (at - rank[below]) / np.maximum(gap, 1), 0.0)[:, None, None]
    first, second = (corners[order[k]] for k in (below, above))
    return np.where(inside[:, None, None], first + weight * (second - first), np.nan)
