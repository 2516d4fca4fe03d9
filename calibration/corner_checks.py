"""Checks of a verdict on corners: which were judged wrong, where in the image, where on the board.

What the figures are for stands in the table of `calibration.verdict`.
"""

import numpy as np

from calibration.evidence import Evidence, by_camera, finding, listed
from calibration.results import Finding

WRONG_SHARE = (0.10, 0.50)
WRONG_VIEWS = (0.02, 0.50)
#: A view is wrong where this share of its corners is.
WRONG_IN_VIEW = 0.7
MIN_COVERED = 0.2
#: A part of an image is wrong where so many of its corners, of no fewer than this, are.
WRONG_IN_CELL = 0.4
MIN_IN_CELL = 8
#: Cells across and down an image when its coverage is counted.
CELLS = (8, 6)
#: Parts of an image, and corners of a board, are told of where they are this far off, px.
FAR_PX = 1.0


def wrong_corners(evidence: Evidence) -> list[Finding]:
    """Tell how many corners, and whole views, of each camera were judged wrong."""
    seen, fitted = evidence.seen.sum(axis=2), evidence.fitted.sum(axis=2)
    corners = 1 - fitted.sum(axis=1) / np.maximum(seen.sum(axis=1), 1)
    wrong = (seen > 0) & (fitted < (1 - WRONG_IN_VIEW) * seen)
    views = wrong.sum(axis=1) / np.maximum((seen > 0).sum(axis=1), 1)

    def percent(value):
        return f"{100 * value:.1f} %"

    return by_camera(
        evidence,
        "corners judged wrong",
        corners,
        WRONG_SHARE,
        percent,
        "They were left out of the fit. Look at their pictures: blur, reflections, something "
        "that is taken for the board.",
    ) + by_camera(
        evidence,
        "views judged wrong",
        views,
        WRONG_VIEWS,
        percent,
        "Whole boards stand elsewhere than the other cameras say: a camera is late, lost a frame "
        "or was moved. Check that equal frame numbers are equal moments; record again.",
    )


def _bent_corners(evidence):
    """Tell which corners of the board are judged wrong in most views of a camera: (cameras, n)."""
    views = (
        evidence.seen & (evidence.fitted.sum(axis=2) > 0.3 * evidence.seen.sum(axis=2))[..., None]
    )
    count = views.sum(axis=1)
    wrong = (views & ~evidence.fitted).sum(axis=1)
    return (count >= MIN_IN_CELL) & (wrong > WRONG_IN_CELL * count)


def board_corners(evidence: Evidence) -> list[Finding]:
    """Name corners of the board that lie elsewhere than they should, seen from most sides."""
    bent = _bent_corners(evidence).sum(axis=0)
    numbers = np.flatnonzero(bent >= max(1, len(evidence.names) / 2))
    length = np.linalg.norm(evidence.calibration.residuals[:, :, numbers], axis=-1)
    off = float(np.nanmean(length)) if len(numbers) and np.isfinite(length).any() else 0.0
    told = ", ".join(map(str, numbers))
    return finding(
        "WARN" if off > FAR_PX else "PASS",
        "corners of the board",
        f"Corners {told} are judged wrong in most views, {off:.1f} px off on average."
        if told
        else "No corner of the board is wrong in most views.",
        "They were left out of the fit. The print is bent, soiled or damaged there: glue it flat.",
    )


def wrong_regions(evidence: Evidence) -> list[Finding]:
    """Find parts of images where most corners are judged wrong: there the lens model fails."""
    told = []
    fitted = evidence.fitted.sum(axis=2)
    seen = evidence.seen.sum(axis=2)
    # views that are wrong as a whole have other causes
    whole = fitted < (1 - WRONG_IN_VIEW) * seen
    bent = _bent_corners(evidence)
    bent &= bent.sum(axis=0) >= max(1, len(evidence.names) / 2)
    poses = evidence.boards
    points = np.array(evidence.calibration.detections.board.corners)
    for i, camera in enumerate(evidence.rig):
        in_camera = points @ np.swapaxes(poses[i, :, :3, :3], 1, 2) + poses[i, :, None, :3, 3]
        corners = camera.intrinsics.project(in_camera) + evidence.calibration.residuals[i]
        good = evidence.seen[i] & ~whole[i][:, np.newaxis] & np.isfinite(corners[..., 0])
        # nor do corners that the board has elsewhere speak of the lens
        good &= ~bent[i]
        cells = ((corners[good] + 0.5) / camera.intrinsics.image_size * CELLS).astype(int)
        cells = cells.clip(0, np.array(CELLS) - 1) @ (1, CELLS[0])
        count = np.bincount(cells, minlength=CELLS[0] * CELLS[1])
        wrong = np.bincount(cells, ~evidence.fitted[i][good], minlength=CELLS[0] * CELLS[1])
        length = np.linalg.norm(evidence.calibration.residuals[i][good], axis=-1)
        off = np.bincount(cells, length, CELLS[0] * CELLS[1]) / np.maximum(count, 1)
        bad = (count >= MIN_IN_CELL) & (wrong > WRONG_IN_CELL * count) & (off > FAR_PX)
        if bad.any():
            share = bad.sum() / np.count_nonzero(count)
            told.append(f"{camera.name!r} in {100 * share:.0f} % of what the board covered")
    return finding(
        "WARN" if told else "PASS",
        "lens in all of the image",
        f"Most corners are judged wrong: {listed(told)}."
        if told
        else "No part of an image has mostly wrong corners.",
        "There the lens model does not follow the lens, and points come out wrong. Choose a richer "
        "model (--model auto, brown, rational or fisheye), or keep the animal out of that part.",
    )


def coverage(evidence: Evidence) -> list[Finding]:
    """Tell how much of each image the board covered."""
    shares = []
    for i, camera in enumerate(evidence.rig):
        corners = evidence.calibration.detections.corners[i][evidence.fitted[i]]
        cells = ((corners + 0.5) / camera.intrinsics.image_size * CELLS).astype(int)
        cells = cells[((cells >= 0) & (cells < CELLS)).all(axis=1)] @ (1, CELLS[0])
        shares.append(np.count_nonzero(np.bincount(cells)) / (CELLS[0] * CELLS[1]))
    return by_camera(
        evidence,
        "image covered",
        [-share for share in shares],
        (-MIN_COVERED, np.inf),
        lambda value: f"{-100 * value:.0f} %",
        "Move the board to the edges and corners of these cameras' images, or trust them in the "
        "middle only.",
    )
