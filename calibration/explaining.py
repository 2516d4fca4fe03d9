"""What is wrong where cameras disagree: faults in time are tried, and the best kept."""

from collections.abc import Iterator, Mapping

import numpy as np

from calibration.boards import BoardDetections
from calibration.cameras import Intrinsics
from calibration.errors import CalibrationError
from calibration.intrinsics import LensFit
from calibration.joint import FAR_PX, Solution, solve_jointly
from calibration.lateness import lateness
from calibration.mending import mend, merged
from calibration.poses import without_false_views
from calibration.results import TimeFault
from calibration.timing import find_time_faults

#: Rounds in which faults are looked for, and by how much each must lessen the misfit.
_MAX_ROUNDS = 4
_BETTER = 0.85
#: Cameras that are each held against the others.
_SUSPECTS = 4
#: Those whose middle residual is so many times that of the camera alone, or whose misfit is so
#: many times the usual one.
_SUSPICIOUS = (1.2, 1.5)
#: Median length of a residual whose two coordinates have standard deviation one.
_MEDIAN_LENGTH = np.sqrt(2 * np.log(2))


def explain_disagreement(
    filmed: BoardDetections,
    detections: BoardDetections,
    lenses: Mapping[str, Intrinsics],
    fits: Mapping[str, LensFit],
    solution: Solution | None,
    alone: Mapping[str, float],
) -> tuple[tuple[TimeFault, ...], tuple[Solution | None, BoardDetections, BoardDetections]]:
    """Find cameras that are late, lost frames or moved, by trying what mending each would bring.

    Parameters
    ----------
    filmed, detections : BoardDetections
        All corners, and those without views that show no board.
    lenses, fits
        See `calibration.joint.solve_jointly`.
    solution : Solution or None
        What was found so far; None where nothing could be.
    alone : mapping of str to float
        Root mean square residual of each camera that was fitted alone, px.

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
        misfit = solution.misfit
    for _ in range(_MAX_ROUNDS):
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
                trial = solve_jointly(good, lenses, fits)
            except CalibrationError:
                continue
            trials.append((trial.misfit, len(trials), guess, (trial, corners, good)))
        if not trials:
            break
        least, _, guess, trial = min(trials)
        if not least < _BETTER * misfit:
            break
        faults, mended, misfit = guess, trial, least
        if not trial[0].disagrees(alone):
            break
    return faults, mended


def _against_others(detections, lenses, fits, solution, alone) -> Iterator[tuple[TimeFault, ...]]:
    """Yield what each of the worst cameras' lateness against the others would explain."""
    if solution is None:
        return
    placed, names = solution.placed, detections.cameras
    length = np.linalg.norm(solution.result.residuals, axis=-1)
    far = np.sqrt(np.nanmean(np.fmin(length, FAR_PX) ** 2, axis=(1, 2)))
    usual = np.nanmedian(length, axis=(1, 2)) / _MEDIAN_LENGTH
    worse = usual / [max(alone.get(name, usual.min()), 1e-3) for name in names]
    # garbage leaves a camera's middle residual alone, and all cameras have it
    suspects = (worse > _SUSPICIOUS[0]) | (far > _SUSPICIOUS[1] * np.median(far))
    for i in np.argsort(-worse * far, kind="stable")[:_SUSPECTS]:
        if not suspects[i]:
            continue
        rest = [k for k in range(len(names)) if k != i]
        others = BoardDetections(
            placed.detections.corners[rest],
            tuple(names[k] for k in rest),
            detections.board,
            detections.image_sizes[rest],
            detections.frames,
        )
        try:
            boards = solve_jointly(others, lenses, fits).result.board_poses
        except CalibrationError:
            continue
        yield lateness(names[i], lenses[names[i]], detections, placed.detections.corners[i], boards)
