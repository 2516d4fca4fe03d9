"""Step: choose the frames whose correction teaches a network most."""

import csv
import io
import os
import warnings

from calibration.errors import DataError, DataWarning
from calibration.files import write_text
from calibration.results import Outcome


def extract_outlier_frames(
    project: str | os.PathLike,
    recording: str,
    *,
    count: int = 20,
    methods: list[str] | None = None,
    min_likelihood: float | None = None,
    apart: int | None = None,
) -> Outcome:
    """Choose moments of an analysed recording that are probably wrong, to be corrected and learnt.

    Of each method in turn the worst, none like another and none that is there already. Their frames
    are written for all cameras; label-frames shows what the network found on them, to be accepted
    or moved. reports/_outliers-RECORDING.csv says why each was chosen.

    Parameters
    ----------
    project : path
        The project's folder.
    recording : str
        Name of the recording.
    count : int
        Moments to choose.
    methods : list of str
        Some of uncertain, jump, fitting (as DeepLabCut's), reprojection, bones, disagreement (of
        triangulated recordings); all that can be unless told.
    min_likelihood : float
        Likelihood from which a keypoint counts as found; the project's pcutoff unless told.
    apart : int
        Frames that chosen moments are apart at least; half a second's unless told.
    """
    from pose3d.formats.keypoints import load_keypoints_2d, load_keypoints_3d
    from pose3d.outliers import METHODS, choose_outliers, find_outliers
    from pose3d.project import Project
    from pose3d.steps.frame_pictures import pictured, write_moments
    from pose3d.steps.moments import recording_moments

    if count < 1:
        raise ValueError(f"count is {count}; expected at least 1.")
    if methods is not None and not methods:
        raise ValueError(f"methods is empty; expected some of {', '.join(METHODS)}.")
    project = Project.load(project)
    take = project.recording(recording)
    path = project.keypoints_2d_path(recording)
    if not path.is_file():
        raise DataError(
            f"{recording!r} has no 2D keypoints to look for outliers in. Run analyze-recording."
        )
    seen = load_keypoints_2d(path)
    if seen.keypoints != project.skeleton.keypoints:
        raise DataError(
            f"{path} has the keypoints {', '.join(seen.keypoints)}, which are not the project's "
            "any more. Train a network for these and run analyze-recording again."
        )
    moments = recording_moments(take)
    if len(moments.times) != seen.n_frames:
        raise DataError(
            f"{path} has {seen.n_frames} frames and the videos {len(moments.times)} moments: they "
            "changed, or their offsets did. Run analyze-recording again."
        )
    solid = project.keypoints_3d_path(recording)
    space = load_keypoints_3d(solid) if solid.is_file() else None
    if space is not None and (space.n_frames, space.keypoints) != (seen.n_frames, seen.keypoints):
        warnings.warn(
            f"{solid} is of another analysis and does not count. Run triangulate-recording again.",
            DataWarning,
            stacklevel=2,
        )
        space = None
    cutoff = project.cutoff(min_likelihood)
    found = find_outliers(seen, project.skeleton, space, methods=methods, min_likelihood=cutoff)
    if not found:
        raise DataError(
            f"{recording!r} is not triangulated; {', '.join(methods)} cannot be told without. Run "
            f"triangulate-recording, or take other methods: {', '.join(list(METHODS)[:3])}."
        )
    poses = seen.confident(cutoff).xy.transpose(1, 0, 2, 3, 4).reshape(seen.n_frames, -1)
    taken = pictured(project, take, moments)
    if apart is None:
        room = seen.n_frames // (10 * (count + len(taken)))
        apart = max(1, min(round(seen.fps / 2) if seen.n_frames > 1 else 1, room))
    chosen = choose_outliers(found, poses, count, taken=taken, apart=apart)
    written = write_moments(project, take, moments, [outlier.moment for outlier in chosen])
    rows = [
        {
            "frame": outlier.moment, "time_s": round(float(moments.times[outlier.moment]), 4),
            "method": outlier.method, "camera": outlier.camera, "keypoint": outlier.keypoint,
            "found": outlier.found, "usual": outlier.usual, "score": round(outlier.score, 2),
        }
        for outlier in chosen
    ]  # fmt: skip
    table = project.path / "reports" / f"_outliers-{recording}.csv"
    if rows:
        table.parent.mkdir(exist_ok=True)
        text = io.StringIO()
        writer = csv.DictWriter(text, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(table, text.getvalue())
    counts = ", ".join(f"{len(outliers)} {name}" for name, outliers in found.items())
    return Outcome(
        table,
        f"{len(chosen)} moments chosen of {counts}; {sum(written.values())} pictures written. "
        "Correct them with label-frames, then merge-datasets and train again.",
        table=tuple(rows),
        figures={
            "chosen": len(chosen), "pictures": sum(written.values()),
            "found": {name: len(outliers) for name, outliers in found.items()},
        },
        failed="" if chosen else "No moment is unusual that is not there already.",
    )  # fmt: skip
