"""Steps: look at a recording, in the viewer and as a video."""

import os
import sys
import time
import webbrowser
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from calibration.errors import DataError
from calibration.files import checked_output, provenance, warn_of_changed_inputs
from calibration.results import Outcome
from pose3d.steps.choice import most_refined

__all__ = ["create_labeled_video", "show_recording"]


def show_recording(
    project: str | os.PathLike,
    recording: str,
    *,
    out: str | os.PathLike | None = None,
    open_browser: bool = True,
    first_frame: int = 0,
    n_frames: int | None = None,
    min_likelihood: float | None = None,
    max_video_mb: float = 40.0,
) -> Outcome:
    """Write a recording's viewer, one HTML file that opens offline, and open it.

    It shows what there is: videos, 2D keypoints, 3D keypoints (the most refined) and cameras.

    Parameters
    ----------
    project : path
        The project's folder.
    recording : str
        Name of the recording.
    out : path
        The HTML file to write; reports/RECORDING.html in the project unless told.
    open_browser : bool
        Open it in the browser, where there is a screen.
    first_frame : int
        The first frame to show.
    n_frames : int
        How many frames to show; all that follow unless told.
    min_likelihood : float
        Less likely 2D keypoints are hollow; the project's pcutoff unless told.
    max_video_mb : float
        Largest size of the videos in the file, in MB; 0 leaves them out.
    """
    from pose3d.formats.keypoints import load_keypoints_3d, read_origin
    from pose3d.project import Project
    from pose3d.viewer import write_viewer

    project = Project.load(project)
    take = _as_analysed(project, recording)
    seen = _load_seen(project, recording)
    path_3d = most_refined(project.keypoints_3d_path(recording), "refined")
    path = None if path_3d is None else load_keypoints_3d(path_3d)
    if path_3d is not None:
        warn_of_changed_inputs(path_3d, read_origin(path_3d))
    rig = _load_rig(project, recording)
    out = checked_output(out or project.report_path(recording), [".html"])
    arguments = {"recording": recording, "first_frame": first_frame, "n_frames": n_frames}
    written = write_viewer(
        out,
        recording=take,
        keypoints_2d=seen,
        keypoints_3d=path,
        rig=rig,
        skeleton=project.skeleton,
        title=f"{project.task}: {recording}" if project.task else recording,
        frames=_chosen_frames(take, seen, path, first_frame, n_frames),
        min_likelihood=project.cutoff(min_likelihood),
        max_video_mb=max_video_mb,
        origin=provenance("show_recording", arguments, {}),
        progress=lambda moments, total: tqdm(
            moments, "show", total, unit="frame", disable=None, leave=False
        ),
    )
    shown = [name for name, noun in (("2D", seen), ("3D", path)) if noun is not None]
    opened = open_browser and _open(written.path)
    return Outcome(
        path=written.path,
        summary=(
            f"The viewer of {recording!r} shows {' and '.join(shown) or 'no'} keypoints "
            f"({written.n_bytes / 1e6:.1f} MB)"
            + (" and was opened in the browser." if opened else "; open it in a browser.")
        ),
        figures={
            "mb": written.n_bytes / 1e6,
            "video_mb": written.video_bytes / 1e6,
            "keypoints_3d": "" if path_3d is None else path_3d.name,
            "notes": list(written.notes),
            "opened": opened,
        },
    )


def create_labeled_video(
    project: str | os.PathLike,
    recording: str,
    *,
    out: str | os.PathLike | None = None,
    cameras: list[str] | None = None,
    min_likelihood: float | None = None,
    trail: int = 0,
    show_likelihood: bool = False,
    first_frame: int = 0,
    n_frames: int | None = None,
    speed: float = 1.0,
) -> Outcome:
    """Write a video of all cameras side by side with the 2D keypoints drawn on them.

    Parameters
    ----------
    project : path
        The project's folder.
    recording : str
        Name of the recording.
    out : path
        The .mp4 file to write; reports/RECORDING.mp4 in the project unless told.
    cameras : list of str
        Which cameras; all of the recording unless told.
    min_likelihood : float
        Less likely keypoints are drawn hollow, without bones and trails; the project's pcutoff
        unless told.
    trail : int
        How many frames back the trail of each keypoint reaches.
    show_likelihood : bool
        Name the keypoints in each view, with a bar for how likely each is.
    first_frame : int
        The first frame to show.
    n_frames : int
        How many frames to show; all that follow unless told.
    speed : float
        How much faster than it was the recording plays: 0.1 is slow motion.
    """
    from pose3d.labeled_video import write_labeled_video
    from pose3d.project import Project

    if trail < 0 or first_frame < 0 or not speed > 0 or (n_frames is not None and n_frames < 1):
        raise ValueError(
            f"trail is {trail}, first_frame {first_frame}, n_frames {n_frames} and speed {speed}; "
            "expected 0 or more, 0 or more, 1 or more, and a number above 0."
        )
    project = Project.load(project)
    take = _as_analysed(project, recording)
    seen = _load_seen(project, recording)
    if seen is None:
        raise FileNotFoundError(
            f"{project.keypoints_2d_path(recording)} is not there: {recording!r} has no 2D "
            "keypoints yet. Find them with analyze-recording."
        )
    cameras = cameras or [name for name in take.cameras if name in seen.cameras]
    for name in cameras:
        if name not in take.cameras or name not in seen.cameras:
            raise DataError(
                f"{recording!r} has no camera {name!r} with video and keypoints; videos: "
                f"{', '.join(take.cameras)}; keypoints: {', '.join(seen.cameras)}."
            )
    if first_frame >= seen.n_frames:
        raise DataError(
            f"The keypoints of {recording!r} end with frame {seen.n_frames - 1}; the video was to "
            f"start with frame {first_frame}. Start earlier."
        )
    last = seen.n_frames if n_frames is None else min(seen.n_frames, first_frame + n_frames)
    out = checked_output(
        out or project.report_path(recording).with_suffix(".mp4"), [".mp4"], take.videos.values()
    )
    start = time.perf_counter()
    write_labeled_video(
        out,
        {name: take.videos[name] for name in cameras},
        dict(zip(take.cameras, take.offsets.tolist(), strict=True)),
        seen.subset(cameras),
        project.skeleton,
        frames=range(first_frame, last),
        min_likelihood=project.cutoff(min_likelihood),
        trail=trail,
        show_likelihood=show_likelihood,
        speed=speed,
        progress=lambda pictures, total: tqdm(
            pictures, "draw", total, unit="frame", disable=None, leave=False
        ),
    )
    seconds = time.perf_counter() - start
    count, mb = last - first_frame, out.stat().st_size / 1e6
    return Outcome(
        path=out,
        summary=(
            f"Drew {count} frames of {', '.join(cameras)} ({mb:.1f} MB, "
            f"{count / seconds:.0f} frames per second)."
        ),
        figures={"n_frames": count, "mb": mb, "frames_per_second": count / seconds},
    )


def _as_analysed(project, recording):
    """Return the recording with the lateness by which its keypoints were matched to frames.

    That which was stored since (sync-recording) moves points between frames, not frames.
    """
    from pose3d.formats.keypoints import read_origin
    from pose3d.steps.checking import applied_offsets

    take, path = project.recording(recording), project.keypoints_2d_path(recording)
    origin = read_origin(path) if path.is_file() else {}
    if "applied_offsets" not in origin:
        return take
    return replace(take, offsets=applied_offsets(origin, take.cameras))


def _load_seen(project, recording):
    """Load the 2D keypoints of a recording, filtered if they were; None if there are none."""
    from pose3d.formats.keypoints import load_keypoints_2d, read_origin

    path = most_refined(project.keypoints_2d_path(recording), "filtered")
    if path is None:
        return None
    warn_of_changed_inputs(path, read_origin(path))
    return load_keypoints_2d(path)


def _load_rig(project, recording):
    """Load the cameras that count for a recording; None if it was not calibrated."""
    path = project.calibration_path(recording)
    if not path.is_file():
        return None
    from calibration.formats.toml import load_rig

    return load_rig(path)


def _chosen_frames(take, seen, path, first, count):
    """Return the frames that were asked for; None for all."""
    if first == 0 and count is None:
        return None
    lengths = [noun.n_frames for noun in (seen, path) if noun is not None]
    if not lengths:
        from calibration.video import count_frames

        lengths = [count_frames(video) for video in take.videos.values() if video.exists()]
    last = max(lengths, default=1)
    return range(first, last if count is None else min(last, first + count))


def _open(path: Path) -> bool:
    """Open a page in the browser; False where there is no screen or no browser."""
    headless = sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
    if headless:
        return False
    try:
        return webbrowser.open(path.resolve().as_uri())
    except webbrowser.Error:
        return False
