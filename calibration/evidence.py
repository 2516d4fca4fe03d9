"""What a verdict looks at, drawn from a calibration once."""

from collections.abc import Callable, Iterable

import numpy as np

from calibration.results import LEVELS, Finding, RigCalibration


class Evidence:
    """What several checks of a verdict need of a calibration.

    Attributes
    ----------
    known : ndarray of bool of shape (n_frames,)
        Moments at which the board's pose is known.
    seen, fitted : ndarray of bool of shape (n_cameras, n_frames, n_corners)
        Corners detected, and those of them not judged wrong.
    views : ndarray of bool of shape (n_cameras, n_frames)
        Views with fitted corners.
    n_moments : int
        Moments with fitted corners of two cameras.
    rms, camera_rms : float, ndarray of shape (n_cameras,)
        Root mean square residual per coordinate of the fitted corners, px.
    boards : ndarray of shape (n_cameras, n_frames, 4, 4)
        Camera from board.
    middles : ndarray of shape (n_cameras, n_frames, 3)
        The board's middle in each camera.
    distances : ndarray of shape (n_cameras,)
        Median distance of the board from each camera.
    """

    def __init__(self, calibration: RigCalibration):
        self.calibration = calibration
        self.rig = calibration.rig
        self.names = calibration.rig.names
        self.known = np.isfinite(calibration.board_poses[:, 0, 0])
        self.fitted = np.isfinite(calibration.detections.corners[..., 0])
        residuals = np.where(self.fitted[..., np.newaxis], calibration.residuals, np.nan)
        self.rms = float(np.sqrt(np.nanmean(residuals**2))) if self.fitted.any() else np.nan
        self.camera_rms = np.array([_rms(part) for part in residuals])
        self.seen = np.isfinite(calibration.residuals[..., 0])
        board = np.array(calibration.detections.board.corners).mean(axis=0)
        # boards as each camera has them, (n_cameras, n_frames): pose, middle, seen at all
        motions = np.stack([camera.camera_from_world for camera in self.rig])
        self.boards = motions[:, np.newaxis] @ calibration.board_poses
        self.middles = self.boards[..., :3, :3] @ board + self.boards[..., :3, 3]
        fitted = self.fitted.any(axis=2)
        # a camera whose corners are all judged wrong is described by those it saw
        self.views = np.where(fitted.any(axis=1, keepdims=True), fitted, self.seen.any(axis=2))
        enough = self.views.sum(axis=0) >= min(2, len(self.names))
        self.n_moments = int(np.count_nonzero(enough))
        distance = np.linalg.norm(self.middles, axis=-1)
        self.distances = np.array(
            [
                np.median(d[v]) if v.any() else np.nan
                for d, v in zip(distance, self.views, strict=True)
            ]
        )


def _rms(residuals):
    """Root mean square of what is there; NaN without a warning where nothing is."""
    values = residuals[np.isfinite(residuals)]
    return float(np.sqrt(np.mean(values**2))) if values.size else np.nan


def listed(texts: Iterable[str]) -> str:
    """Write several findings as one."""
    return "; ".join(texts)


def graded(value: float, limits: tuple[float, float]) -> str:
    """Return PASS, WARN or FAIL by two limits that a value must stay below."""
    return "FAIL" if not value < limits[1] else "WARN" if not value < limits[0] else "PASS"


def finding(level: str, name: str, found: str, remedy: str) -> list[Finding]:
    """Make a finding; one that is well needs no remedy."""
    return [Finding(level, name, found, "" if level == "PASS" else remedy)]


def by_camera(
    evidence: Evidence,
    name: str,
    values: Iterable[float],
    limits: tuple[float, float],
    write: Callable[[float], str],
    remedy: str,
) -> list[Finding]:
    """Make one finding of a figure of every camera: the worst level, and the cameras at fault."""
    values = list(values)
    levels = [graded(value, limits) for value in values]
    worst = max(levels, key=LEVELS.index)
    told = [
        f"{camera!r} {write(value)}"
        for camera, value, level in zip(evidence.names, values, levels, strict=True)
        if worst == "PASS" or level != "PASS"
    ]
    return finding(worst, name, f"{listed(told)}.", remedy)


def worse_than(
    value: float, base: float, ratios: tuple[float, float], more: tuple[float, float]
) -> str:
    """Return PASS, WARN or FAIL by how far a value lies above what it should be near."""
    level = "PASS"
    for worse, ratio, extra in zip(("WARN", "FAIL"), ratios, more, strict=True):
        if value > max(ratio * base, base + extra):
            level = worse
    return level
