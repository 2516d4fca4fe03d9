"""Step: choose the frames to label."""

import os

import numpy as np

from calibration.errors import DataError
from calibration.results import Outcome

METHODS = ("kmeans", "uniform")


def extract_frames(
    project: str | os.PathLike,
    recording: str | None = None,
    *,
    count: int = 20,
    method: str = "kmeans",
    frames: str | None = None,
    times: list[float] | None = None,
    apart: int | None = None,
    look_at: int = 400,
    seed: int = 0,
) -> Outcome:
    """Choose moments of recordings and write their frames as pictures to label.

    The same moments in all cameras, never one that is there already. Label them with label-frames.
    Of kmeans the table says how unlike the frames are to those chosen: difference_left is what
    remains, where 1 is the difference to the average frame; by_chance, had they been drawn.

    Parameters
    ----------
    project : path
        The project's folder.
    recording : str
        The recording to choose from; each of them unless told.
    count : int
        Moments to choose from each recording.
    method : str
        "kmeans": moments that look as different as possible; "uniform": evenly spread in time.
    frames : str
        These moments instead: frame numbers and ranges, as in "0,20-30".
    times : list of float
        The moments nearest to these times in seconds instead.
    apart : int
        Frames that chosen moments are apart at least; a tenth of the usual distance unless told.
    look_at : int
        Moments of a recording that kmeans looks at, evenly spread; more take longer.
    seed : int
        Of kmeans.
    """
    from pose3d.project import Project

    if method not in METHODS:
        raise ValueError(f"method is {method!r}; expected {' or '.join(METHODS)}.")
    if count < 1 or (apart is not None and apart < 1) or look_at < 2:
        raise ValueError(
            f"count is {count}, apart {apart}, look_at {look_at}; expected at least 1, 1 and 2."
        )
    if frames is not None and times:
        raise ValueError("frames and times are both given; give one of them.")
    project = Project.load(project)
    names = list(project.recordings) if recording is None else [recording]
    if not names:
        raise DataError(f"{project.path} has no recordings. Add one with add-recording.")
    rows = []
    filmed = [name for name in names if project.recording(name).videos]
    if recording is None and filmed:
        names = filmed  # the others came in with their pictures alone
    for name in names:
        take = project.recording(name)
        rows.append(_one(project, take, count, method, frames, times, apart, look_at, seed))
    chosen = sum(row["chosen"] for row in rows)
    return Outcome(
        project.path / "labeled-data",
        f"{chosen} moments chosen; {sum(row['pictures'] for row in rows)} pictures written. "
        "Label them with label-frames.",
        table=tuple(rows),
        figures={"chosen": chosen, "pictures": sum(row["pictures"] for row in rows)},
        failed=""
        if chosen
        else "No moment is left that is not there already, or is too near to one: lower --apart.",
    )


def _one(project, take, count, method, frames, times, apart, look_at, seed):
    """Choose from one recording and write its pictures; return a line of the table."""
    from pose3d import sampling
    from pose3d.steps.frame_pictures import pictured, small_pictures, write_moments
    from pose3d.steps.moments import recording_moments

    moments = recording_moments(take)
    n_moments = len(moments.times)
    taken = pictured(project, take, moments)
    apart = apart or max(1, n_moments // (10 * (count + len(taken))))
    looked = np.unique(np.linspace(0, n_moments - 1, min(look_at, n_moments)).round().astype(int))
    features = None
    if frames is not None or times:
        wanted = _asked(moments.times, frames, times, take.name)
        chosen = np.setdiff1d(wanted, sorted(taken))
    elif method == "uniform":
        chosen = sampling.choose_evenly(n_moments, count, taken=taken, apart=apart)
    else:
        looked, features = small_pictures(take, moments, looked)
        chosen = sampling.choose_diverse(
            features, looked, count, taken=taken, apart=apart, seed=seed
        )
    written = write_moments(project, take, moments, chosen)
    row = {
        "recording": take.name,
        "moments": n_moments,
        "there_before": len(taken),
        "chosen": len(chosen),
        "pictures": sum(written.values()),
        "from_s": float(moments.times[chosen[0]]) if len(chosen) else float("nan"),
        "to_s": float(moments.times[chosen[-1]]) if len(chosen) else float("nan"),
    }
    if features is not None and len(chosen):
        there = np.isin(looked, [*chosen, *taken])
        covered, by_chance = sampling.diversity(features, np.flatnonzero(there), seed=seed)
        # mean difference of a frame to the nearest chosen one; 1 is to the average frame
        row |= {"difference_left": covered, "by_chance": by_chance}
    return row


def _asked(clock, frames, times, name):
    """Return the moments that were asked for by number or time."""
    from pose3d.steps.project_labels import select_frames

    if frames is not None:
        found = select_frames(frames, 1)(np.arange(len(clock)))
        if not len(found):
            raise DataError(
                f"{name!r} has {len(clock)} frames, 0 to {len(clock) - 1}; none is in {frames!r}."
            )
        return found
    wrong = [t for t in times if not clock[0] - 0.5 <= t <= clock[-1] + 0.5]
    if wrong:
        raise DataError(
            f"{name!r} goes from {clock[0]:.2f} to {clock[-1]:.2f} s; {wrong[0]:g} s is outside."
        )
    return np.unique([int(np.abs(clock - t).argmin()) for t in times])
