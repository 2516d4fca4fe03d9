"""Checks of a verdict that need no residual: motion of the board, lenses, places, scale.

What the figures are for stands in the table of `calibration.verdict`.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from calibration.cameras import CameraRig
from calibration.errors import DataError
from calibration.evidence import Evidence, by_camera, finding, listed
from calibration.intrinsics import blind_share
from calibration.results import Finding
from calibration.rotations import cross_matrix, rotation_vectors

MIN_TILT = (np.radians(5), np.radians(1))
MIN_DEPTH = (0.05, 0.01)
FOCAL_ERROR = (0.01, 0.05)
POSITION_ERROR = (0.01, 0.05)
FOCAL_SIDES = ((0.3, 20.0), (0.15, 200.0))
PRINCIPAL_POINT = 0.2
ASPECT = 0.03
MIDDLE = (0.04, 0.08)
NEAR = 0.005
DISTANCE = (0.01, 0.05)


def motion(evidence: Evidence) -> list[Finding]:
    """Tell whether the board was tilted and moved before each camera, and at all."""
    told, weak, still = [], [], []
    for i, name in enumerate(evidence.names):
        boards = evidence.boards[i, evidence.views[i]]
        middles = evidence.middles[i, evidence.views[i]]
        distance = np.median(middles[:, 2])
        turn = np.ptp(rotation_vectors(boards[:, :3, :3] @ boards[0, :3, :3].T), axis=0).max()
        shift = np.ptp(middles, axis=0).max() / distance
        still.append(turn < MIN_TILT[1] and shift < MIN_DEPTH[1])
        normals = boards[:, :3, 2]
        mean = normals.mean(axis=0) / np.linalg.norm(normals.mean(axis=0))
        tilt = np.arccos(np.clip(normals @ mean, -1, 1)).max()
        depth = np.ptp(middles[:, 2]) / distance
        told.append(
            f"{name!r} {np.degrees(tilt):.0f} degrees of tilt, {100 * depth:.0f} % of distance"
        )
        if tilt < MIN_TILT[0] and depth < MIN_DEPTH[0]:
            weak.append(told[-1])
    return finding(
        "FAIL" if all(still) else "WARN" if weak else "PASS",
        "motion of the board",
        "The board never moves." if all(still) else f"{listed(weak or told)}.",
        "Tilt the board by 30 to 45 degrees to all sides, near and far.",
    )


def focal_errors(evidence: Evidence) -> list[Finding]:
    """Tell how well the boards determine each focal length."""
    errors = evidence.calibration.standard_errors["focal"]
    focal = np.array([camera.intrinsics.matrix[[0, 1], [0, 1]] for camera in evidence.rig])
    return by_camera(
        evidence,
        "standard error of the focal length",
        (errors / focal).max(axis=1),
        FOCAL_ERROR,
        lambda value: f"{100 * value:.2f} %",
        "The boards hardly determine it: tilt the board by 30 to 45 degrees, near and far, before "
        "these cameras.",
    )


def position_errors(evidence: Evidence) -> list[Finding]:
    """Tell how well the boards determine where each camera stands."""
    errors = np.linalg.norm(evidence.calibration.standard_errors["position"], axis=1)
    return by_camera(
        evidence,
        "standard error of the position",
        errors / evidence.distances,
        POSITION_ERROR,
        lambda value: f"{100 * value:.2f} % of its distance to the board",
        "Record more moments at which these cameras and others see the board.",
    )


def lenses(evidence: Evidence) -> list[Finding]:
    """Look for lenses that no camera has, and for models that turn back inside the image."""
    findings, folded = [], []
    for camera in evidence.rig:
        lens = camera.intrinsics
        size = np.array(lens.image_size, dtype=np.float64)
        focal = lens.matrix[[0, 1], [0, 1]]
        sides = focal / size.max()
        told, level = [], "PASS"
        for limits, worse in zip(FOCAL_SIDES, ("WARN", "FAIL"), strict=True):
            if sides.min() < limits[0] or sides.max() > limits[1]:
                level = worse
        if level != "PASS":
            told.append(f"focal lengths {focal[0]:.0f} and {focal[1]:.0f} px")
        off = np.abs(lens.matrix[:2, 2] - (size - 1) / 2) / size
        if off.max() > PRINCIPAL_POINT:
            told.append(f"principal point {lens.matrix[0, 2]:.0f}, {lens.matrix[1, 2]:.0f}")
        if abs(focal[0] / focal[1] - 1) > ASPECT:
            told.append(f"fx {focal[0]:.0f} and fy {focal[1]:.0f} px differ")
        share = blind_share(lens)
        if share > 0:
            folded.append(f"{camera.name!r} in {100 * share:.0f} % of its image")
        if told:
            text = f"{camera.name!r}, {size[0]:.0f} x {size[1]:.0f} pixels: {listed(told)}."
            level = "WARN" if level == "PASS" else level
            remedy = (
                "Such lenses are rare. Check the size of the pictures and of the squares, move the "
                "board to all corners of the image and tilt it, or choose a simpler lens model."
            )
            findings += finding(level, "lens", text, remedy)
    if folded:
        text = f"The lens model turns back outside what the board covered: {listed(folded)}."
        remedy = "Points there have no ray. Move the board to the image's edges and corners."
        findings += finding("WARN", "lens beyond the board", text, remedy)
    return findings or finding("PASS", "lens", "All lenses look like lenses.", "")


def sizes(evidence: Evidence) -> list[Finding]:
    """Look for principal points in the middle of images of another size than was stated."""
    told = []
    for camera in evidence.rig:
        stated = np.array(camera.intrinsics.image_size, dtype=np.float64)
        centre = camera.intrinsics.matrix[:2, 2]
        if (np.abs(centre - (stated - 1) / 2) / stated).max() < MIDDLE[1]:
            continue
        for size in (stated[::-1], 2 * stated, stated / 2):
            if (np.abs(centre - (size - 1) / 2) / size).max() < MIDDLE[0]:
                told.append(
                    f"{camera.name!r} is stated to have {stated[0]:.0f} x {stated[1]:.0f} pixels; "
                    f"its lens looks as if they were {size[0]:.0f} x {size[1]:.0f}"
                )
    return finding(
        "WARN" if told else "PASS",
        "image sizes",
        f"{listed(told)}." if told else "The middles of all lenses fit the sizes stated.",
        "Give the size of the pictures in which the corners were detected, width first.",
    )


def places(evidence: Evidence) -> list[Finding]:
    """Look for cameras that stand in one another or behind the board."""
    findings = []
    copies = evidence.rig.coincident()
    for first, second in copies:
        text = f"{first!r} and {second!r} stand at the same place and look the same way."
        remedy = "One is a copy of the other: check which pictures belong to which camera."
        findings += finding("FAIL", "places", text, remedy)
    positions = np.stack([camera.position for camera in evidence.rig])
    for i, first in enumerate(evidence.names):
        for j in range(i + 1, len(evidence.names)):
            apart = np.linalg.norm(positions[i] - positions[j])
            near = NEAR * np.nanmedian(evidence.distances)
            if apart < near and (first, evidence.names[j]) not in copies:
                units = evidence.rig.units
                text = f"{first!r} and {evidence.names[j]!r} stand {apart:.2g} {units} apart."
                remedy = "Their rays hardly cross: points that only they see have no depth."
                findings += finding("WARN", "places", text, remedy)
    # the printed side looks against its z axis, so that a camera before it looks along it
    facing = np.einsum("cfi,cfi->cf", evidence.boards[..., :3, 2], np.nan_to_num(evidence.middles))
    behind = ((facing < 0) & evidence.views).sum(axis=1) > 0.5 * evidence.views.sum(axis=1)
    if behind.any():
        told = ", ".join(
            repr(name) for name, back in zip(evidence.names, behind, strict=True) if back
        )
        # no residual shows a mirrored world; where some cameras see the front it is none
        findings += finding(
            "FAIL" if behind.all() else "WARN",
            "places",
            f"{told} see{'s' if behind.sum() == 1 else ''} the board from behind.",
            "Right for a board printed on both sides; else the pictures are mirrored or the "
            "corners numbered in mirrored order.",
        )
    return findings or finding("PASS", "places", "All cameras stand apart, before the board.", "")


def scale(evidence: Evidence) -> list[Finding]:
    """State the board and the distances: a wrong square size shows in no residual."""
    board, rig = evidence.calibration.detections.board, evidence.rig
    apart = [
        f"{first.name!r} to {second.name!r} {np.linalg.norm(first.position - second.position):.4g}"
        for first, second in zip(rig.cameras, rig.cameras[1:], strict=False)
    ]
    return finding(
        "PASS",
        "scale",
        f"Squares of {board.square_length:g} {board.units}, {board.squares_x} x "
        f"{board.squares_y}; in {rig.units}: {listed(apart) or 'one camera'}. "
        "Compare with a measured distance.",
        "",
    )


def distances(evidence: Evidence, told: Iterable[tuple[str, str, float]]) -> list[Finding]:
    """Compare distances between cameras with what somebody measured."""
    findings, rig = [], evidence.rig
    for first, second, measured in told:
        unknown = [name for name in (first, second) if name not in rig.names]
        if unknown or not measured > 0:
            what = f"camera {unknown[0]!r}" if unknown else f"distance {measured}"
            raise ValueError(
                f"There is no {what} to check; the cameras are {', '.join(rig.names)}, and "
                f"distances are in {rig.units}."
            )
        found, error = distance_between(rig, first, second)
        off = abs(found - measured)
        level = "PASS"
        if off > max(DISTANCE[0] * measured, 3 * error):
            level = "FAIL" if off > DISTANCE[1] * measured else "WARN"
        findings += finding(
            level,
            "distances told",
            f"{first!r} to {second!r}: {found:.5g} ± {error:.2g} {rig.units}, told {measured:g}.",
            f"All lengths may be too {'long' if found > measured else 'short'} by a factor of "
            f"{max(found, measured) / min(found, measured):.4g}. Measure the board's squares on "
            "the print (and from lens to lens); correct square_length.",
        )
    return findings


def distance_between(rig: CameraRig, first: str, second: str) -> tuple[float, float]:
    """Return the distance of two cameras and its standard error, NaN where it is not known."""
    ends = [rig[first], rig[second]]
    apart = ends[1].position - ends[0].position
    length = float(np.linalg.norm(apart))
    if rig.covariance is None or length == 0:
        return length, np.nan
    slope = np.zeros(len(rig.covariance))
    for sign, camera in zip((-1.0, 1.0), ends, strict=True):
        start, _ = rig.parameter_range(camera.name)
        # position = -R' t; a turn w of the camera adds -R' (t x w)
        by_place = -camera.rotation.T @ np.hstack([cross_matrix(camera.tvec), np.eye(3)])
        slope[start : start + 6] = sign * (apart / length) @ by_place
    return length, float(np.sqrt(max(slope @ rig.covariance @ slope, 0.0)))


def check_sizes(
    rig: CameraRig, filmed: Mapping[str, tuple[int, int]], source: object = "the calibration"
) -> None:
    """Refuse a rig whose image sizes are not those of the cameras' videos, or that lacks one.

    Parameters
    ----------
    rig : CameraRig
        The rig.
    filmed : mapping of str to (int, int)
        Width and height of each camera's videos.
    source : object
        Where the rig comes from, for the message.

    Raises
    ------
    DataError
        Naming camera, sizes, and what to do.
    """
    for name, size in filmed.items():
        if name is None:
            continue
        if name not in rig.names:
            raise DataError(
                f"There is a video of camera {name!r}, and {source} has the cameras "
                f"{', '.join(rig.names)}. Rename the video or the camera, or leave the video out."
            )
        stated = rig[name].intrinsics.image_size
        if tuple(size) == stated:
            continue
        hint = "Use a calibration of the same size, or the pictures that it was made for."
        if tuple(size) == stated[::-1]:
            hint = "Width and height are exchanged: turn the video, or correct the calibration."
        elif stated[0] * size[1] == stated[1] * size[0]:
            hint = "The video was scaled: scale the calibration with it (Intrinsics.resized)."
        raise DataError(
            f"Camera {name!r} films {size[0]} x {size[1]} pixels; {source} is for "
            f"{stated[0]} x {stated[1]}. {hint}"
        )
