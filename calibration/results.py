"""What a calibration found, how far to trust it, and what a step hands back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from calibration.arrays import checked_array, float_array
from calibration.boards import BoardDetections
from calibration.cameras import CameraRig

LEVELS = ("PASS", "WARN", "FAIL")


@dataclass(frozen=True)
class Finding:
    """One thing that is right or wrong with a calibration.

    Attributes
    ----------
    level : {"PASS", "WARN", "FAIL"}
        How bad it is.
    name : str
        What was looked at, in a few words.
    found : str
        What was found, with figures, cameras by name.
    remedy : str
        What to do; empty where nothing is wrong.
    """

    level: str
    name: str
    found: str
    remedy: str = ""

    def __post_init__(self):
        if self.level not in LEVELS:
            raise ValueError(f"level is {self.level!r}; expected one of {', '.join(LEVELS)}.")


@dataclass(frozen=True)
class Verdict:
    """Whether to believe a calibration: its findings, the worst of which counts."""

    findings: tuple[Finding, ...]

    @property
    def level(self) -> str:
        """The worst level among the findings."""
        return max((finding.level for finding in self.findings), key=LEVELS.index, default="PASS")

    def __str__(self) -> str:
        lines = [self.level]
        for finding in self.findings:
            if finding.level != "PASS":
                lines.append(f"{finding.level} {finding.name}: {finding.found} {finding.remedy}")
        return "\n".join(lines)


@dataclass(frozen=True)
class TimeFault:
    """A camera that does not show the moments, or not from the place, it is taken for.

    Attributes
    ----------
    camera : str
        Its name.
    kind : {"late", "lost", "moved"}
        Late all along; short of frames from a moment on; moved at a moment.
    last, frame : int or None
        It happened after the one frame and no later than the other; None where all frames
        are concerned.
    frames : float
        By how many frames it is late (negative: early), or how many it lost (negative: has
        twice).
    distance, angle : float
        By how much it moved, in the rig's unit and radians.
    """

    camera: str
    kind: str
    last: int | None = None
    frame: int | None = None
    frames: float = 0.0
    distance: float = 0.0
    angle: float = 0.0

    def told(self, units: str) -> str:
        """Say it in words."""
        name, count = repr(self.camera), f"{abs(self.frames):.3g}"
        plural = "" if count == "1" else "s"
        if self.kind == "late":
            word = "late" if self.frames > 0 else "early"
            return f"{name} is {count} frame{plural} {word}"
        if self.kind == "lost":
            word = "lost" if self.frames > 0 else "repeats"
            return f"{name} {word} {count} frame{plural} {self._when()}"
        return (
            f"{name} moved {self._when()}, by {self.distance:.3g} {units} and "
            f"{np.degrees(self.angle):.2g} degrees"
        )

    def _when(self) -> str:
        """Say between which frames it happened."""
        if self.last is None or self.frame is None or self.frame - self.last <= 1:
            return f"just before frame {self.frame}"
        return f"between frames {self.last} and {self.frame}"


@dataclass(frozen=True, eq=False)
class HeldOut:
    """How a fit of half of the moments does on the other half.

    Attributes
    ----------
    rms_px : float
        Root mean square residual per coordinate, boards rigid, all corners.
    n_lengths : int
        Distances between neighbouring corners, each triangulated on its own.
    length_bias : float
        Their mean over the square's side, less one.
    length_rms, flatness_rms : float
        Root mean square error of a distance, and of corners from their best plane, in the
        board's unit.
    position_change, focal_change : ndarray of shape (n_cameras,)
        How far each camera lies, and its focal length (px), from that of the whole fit.
    """

    rms_px: float
    n_lengths: int
    length_bias: float
    length_rms: float
    flatness_rms: float
    position_change: np.ndarray
    focal_change: np.ndarray


@dataclass(frozen=True, eq=False)
class RigCalibration:
    """A calibrated rig with the evidence for it.

    Attributes
    ----------
    rig : CameraRig
        The cameras, with the covariance of their parameters.
    detections : BoardDetections
        The corners that were fitted; those judged wrong are NaN.
    board_poses : ndarray of shape (n_frames, 4, 4)
        World from board at each moment; NaN where no camera saw it well enough.
    residuals : ndarray of shape (n_cameras, n_frames, n_corners, 2)
        Detected minus projected corner in pixels, rigid boards, all detected corners, those
        judged wrong included; NaN where nothing was seen.
    held_out : HeldOut or None
        The test on moments kept out of the fit; None if there were too few, or it was not
        asked for.
    shared_views : ndarray of int of shape (n_cameras, n_cameras)
        Moments at which two cameras saw the board together; on the diagonal, alone or not.
    standard_errors : mapping of str to ndarray of shape (n_cameras, ...)
        One standard deviation of "focal" (px, 2), "principal_point" (px, 2), "position" (3,
        rig's unit), "rotation" (3, radians), relative to the first camera.
    verdict : Verdict
        Whether to believe it.
    time_faults : tuple of TimeFault
        Cameras found late, short of a frame, or moved.
    fixed_faults : tuple of TimeFault
        Those that were mended, before the fit, in the detections kept here.
    lens_notes : mapping of str to str
        Why each camera's lens model was chosen.
    """

    rig: CameraRig
    detections: BoardDetections
    board_poses: np.ndarray
    residuals: np.ndarray
    held_out: HeldOut | None
    shared_views: np.ndarray
    standard_errors: Mapping[str, np.ndarray]
    verdict: Verdict
    time_faults: tuple[TimeFault, ...] = ()
    fixed_faults: tuple[TimeFault, ...] = ()
    lens_notes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self):
        n_cameras, n_frames, n_corners, _ = self.detections.corners.shape
        poses = float_array("board_poses", self.board_poses, (n_frames, 4, 4))
        residuals = float_array("residuals", self.residuals, (n_cameras, n_frames, n_corners, 2))
        shared = checked_array("shared_views", self.shared_views, (n_cameras, n_cameras), np.int64)
        object.__setattr__(self, "board_poses", poses)
        object.__setattr__(self, "residuals", residuals)
        object.__setattr__(self, "shared_views", shared)

    @property
    def camera_errors(self) -> np.ndarray:
        """Mean reprojection error of each camera in pixels, ndarray of shape (n_cameras,)."""
        return _nanmean(np.linalg.norm(self.residuals, axis=-1), (1, 2))

    @property
    def board_errors(self) -> np.ndarray:
        """Mean reprojection error at each moment, ndarray of shape (n_cameras, n_frames)."""
        return _nanmean(np.linalg.norm(self.residuals, axis=-1), 2)

    @property
    def held_out_rms_px(self) -> float:
        """Root mean square residual per coordinate on moments kept out; NaN if none were."""
        return np.nan if self.held_out is None else self.held_out.rms_px

    @property
    def rms_px(self) -> float:
        """Root mean square residual per coordinate, all detected corners."""
        return float(np.sqrt(_nanmean(self.residuals**2, None)))


def _nanmean(values, axis):
    """Mean over what is there; NaN, without a warning, where nothing is."""
    count = np.isfinite(values).sum(axis=axis)
    with np.errstate(invalid="ignore"):
        return np.nansum(values, axis=axis) / np.where(count, count, np.nan)


@dataclass(frozen=True)
class Outcome:
    """What a step did: the file it made, and the figures a person wants to see.

    An outcome can be used wherever a path can.

    Attributes
    ----------
    path : Path
        The file or folder to look at.
    summary : str
        One sentence.
    table : tuple of mappings
        Rows for the table printed at the end; all have the same keys.
    figures : mapping
        Single numbers by name, for programs.
    failed : str
        Why the data cannot be trusted; empty where the step succeeded.
    """

    path: Path
    summary: str
    table: tuple[Mapping[str, Any], ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)
    failed: str = ""

    def __fspath__(self) -> str:
        return str(self.path)
