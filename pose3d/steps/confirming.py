"""Step: labels that nobody had to click, where enough views agree."""

import os
import shutil

import numpy as np

from calibration.cameras import CameraRig
from calibration.errors import DataError
from calibration.files import warn_of_changed_inputs
from calibration.results import Outcome
from pose3d.keypoints import Keypoints2D, Keypoints3D


def extract_confirmed_frames(
    project: str | os.PathLike,
    recording: str,
    *,
    count: int = 120,
    min_views: int = 3,
    max_deviation: float = 0.03,
) -> Outcome:
    """Choose moments whose keypoints several views confirm, as extra labels to train on.

    The points of a triangulated recording that enough views agree on are projected into all views
    that may see them (pseudo-labels). They lie in pseudo-labels/, apart from what people labelled;
    those of this recording that were there are replaced. train-network --pseudo-labels learns from
    both. It helps where few frames are labelled and three cameras or more see each keypoint.

    Parameters
    ----------
    project : path
        The project's folder.
    recording : str
        Name of the recording: analysed and triangulated.
    count : int
        Moments to choose, evenly spread; none that a person labelled.
    min_views : int
        Views that must agree on a point.
    max_deviation : float
        Largest standard deviation of a point in an image, as a share of the animal's size there.
    """
    from pose3d import sampling
    from pose3d.confirmation import confirmed_points
    from pose3d.labels import LabeledFrames
    from pose3d.project import PSEUDO_LABELED, Project, save_labels
    from pose3d.steps.frame_pictures import picture_name, pictured, write_moments
    from pose3d.steps.moments import recording_moments

    if count < 1 or min_views < 2 or not max_deviation > 0:
        raise ValueError(
            f"count is {count}, min_views {min_views}, max_deviation {max_deviation}; expected at "
            "least 1, at least 2 and above 0."
        )
    project = Project.load(project)
    take = project.recording(recording)
    seen, found, rig = _triangulated(project, recording)
    if min_views > len(seen.cameras):
        raise DataError(
            f"{recording!r} was triangulated from {len(seen.cameras)} cameras; {min_views} must "
            "agree. Lower --min-views; two agree by chance where the animal lies along the lines "
            "that join them."
        )
    moments = recording_moments(take)
    if len(moments.times) != seen.n_frames:
        raise DataError(
            f"{recording!r} was analysed in {seen.n_frames} frames and its videos have "
            f"{len(moments.times)} moments: they changed, or their offsets did. Run "
            "analyze-recording and triangulate-recording again."
        )
    points = confirmed_points(seen, found, rig, min_views=min_views, max_deviation=max_deviation)
    confirmed = np.isfinite(points).all(axis=-1)
    empty = np.flatnonzero(~confirmed.any(axis=(0, 2, 3)))
    taken = pictured(project, take, moments) | set(empty.tolist())
    chosen = sampling.choose_evenly(seen.n_frames, count, taken=taken)
    for camera in take.videos:
        shutil.rmtree(project.labeled_folder(recording, camera, PSEUDO_LABELED), ignore_errors=True)
    write_moments(project, take, moments, chosen, PSEUDO_LABELED)
    rows, images, xy = [], [], []
    for view, camera in enumerate(seen.cameras):
        folder = project.labeled_folder(recording, camera, PSEUDO_LABELED)
        files = [folder / picture_name(moments.frames[camera][moment]) for moment in chosen]
        kept = [
            (moment, file.relative_to(project.path).as_posix())
            for moment, file in zip(chosen, files, strict=True)
            if confirmed[view, moment].any() and file.is_file()
        ]
        images += [(camera, moments.frames[camera][moment], image) for moment, image in kept]
        xy += [points[view, moment] for moment, _ in kept]
        of_camera = confirmed[view][[moment for moment, _ in kept]]
        unused = of_camera & ~found.used_views[view][[moment for moment, _ in kept]]
        rows.append(
            {
                "camera": camera, "images": len(kept), "points": int(of_camera.sum()),
                "corrected": int(unused.sum()),
                "share": float(of_camera.mean()) if len(kept) else 0.0,
            }
        )  # fmt: skip
    if images:
        save_labels(
            project,
            LabeledFrames(
                xy=np.array(xy),
                images=[image for _, _, image in images],
                recordings=[recording] * len(images),
                cameras=[camera for camera, _, _ in images],
                frames=[frame for _, frame, _ in images],
                individuals=project.individuals,
                keypoints=project.skeleton.keypoints,
            ),
        )
    n_points = sum(row["points"] for row in rows)
    corrected = sum(row["corrected"] for row in rows)
    return Outcome(
        project.path / PSEUDO_LABELED,
        f"{n_points} points in {len(images)} images of {len(chosen)} moments are confirmed, "
        f"{corrected} of them where a view had found nothing sure."
        + (" Learn from them: train-network --name NEW --pseudo-labels." if images else ""),
        table=tuple(rows),
        figures={"moments": len(chosen), "images": len(images), "points": n_points,
                 "corrected": corrected},
        failed="" if images else _why_none(confirmed, min_views),
    )  # fmt: skip


def _why_none(confirmed, min_views):
    """Say why there is no moment to learn from."""
    if confirmed.any():
        n_moments = confirmed.any(axis=(0, 2, 3)).sum()
        return (
            f"All {n_moments} moments with confirmed points have pictures in labeled-data already: "
            "they are for people to label. Take another recording."
        )
    return (
        f"No point is confirmed by {min_views} views. Label more frames, train for longer, or "
        "lower --min-views."
    )


def _triangulated(project, recording) -> tuple[Keypoints2D, Keypoints3D, CameraRig]:
    """Load what was seen and found, of the cameras that it was found with."""
    from calibration.formats.toml import load_rig
    from pose3d.formats.keypoints import load_keypoints_2d, load_keypoints_3d, read_origin

    flat, solid = project.keypoints_2d_path(recording), project.keypoints_3d_path(recording)
    for path, verb in ((flat, "analyze-recording"), (solid, "triangulate-recording")):
        if not path.is_file():
            raise DataError(f"{recording!r} is not ready: there is no {path}. Run {verb}.")
    warn_of_changed_inputs(solid, read_origin(solid))
    found = load_keypoints_3d(solid)
    seen = load_keypoints_2d(flat)
    if seen.n_frames != found.n_frames or not set(found.cameras) <= set(seen.cameras):
        raise DataError(f"{solid} is not of {flat} as it is now. Run triangulate-recording again.")
    if found.keypoints != project.skeleton.keypoints:
        raise DataError(
            f"{solid} has the keypoints {', '.join(found.keypoints)}, which are not the project's "
            "any more. Train a network for these, analyse and triangulate again."
        )
    return seen.subset(found.cameras), found, load_rig(project.calibration_path(recording))
