"""Steps: look at a recording, in the viewer and as a video."""

import os
import sys
import webbrowser
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from calibration.errors import DataError
from calibration.files import checked_output, provenance, warn_of_changed_inputs
from calibration.results import Outcome
from pose3d.steps.choice import most_refined

__all__ = ["create_labeled_video", "show_recording"]

#: Largest labelled video in pixels: four cameras at 960 x 720.
_VIDEO_PIXELS = 1920 * 1440


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
        min_likelihood=project.pcutoff if min_likelihood is None else min_likelihood,
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
        Less likely keypoints are drawn hollow and without bones; the project's pcutoff unless
        told.
    """
    from calibration.video import VideoWriter, probe_video
    from pose3d.mosaic import frames_of_videos, plan_mosaic, read_together
    from pose3d.overlays import draw_keypoints, write_name
    from pose3d.project import Project

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
    seen = seen.subset(cameras)
    videos = {name: take.videos[name] for name in cameras}
    sizes = [probe_video(video).image_size for video in videos.values()]
    offsets = dict(zip(take.cameras, take.offsets.tolist(), strict=True))
    _, places = frames_of_videos(videos, offsets, seen.times)
    mosaic = plan_mosaic(sizes, max_pixels=_VIDEO_PIXELS, aspect=16 / 9)
    cutoff = project.pcutoff if min_likelihood is None else min_likelihood
    fps = seen.fps if seen.n_frames > 1 else 30.0
    out = checked_output(
        out or project.report_path(recording).with_suffix(".mp4"), [".mp4"], take.videos.values()
    )
    moments = read_together(list(videos.values()), [places[name] for name in cameras])
    with VideoWriter(out, fps, crf=20) as film:
        for i, images in enumerate(
            tqdm(moments, "draw", seen.n_frames, unit="frame", disable=None, leave=False)
        ):
            picture = mosaic.paste(images)
            for c, tile in enumerate(mosaic.tiles):
                part = picture[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width]
                part[:] = draw_keypoints(
                    part,
                    tile.place(seen.xy[c, i]),
                    seen.likelihood[c, i],
                    project.skeleton,
                    min_likelihood=cutoff,
                )
                write_name(part, cameras[c])
            film.write(picture)
    return Outcome(
        path=out,
        summary=(
            f"Drew {seen.n_frames} frames of {', '.join(cameras)} "
            f"({out.stat().st_size / 1e6:.1f} MB)."
        ),
        figures={"n_frames": seen.n_frames, "mb": out.stat().st_size / 1e6},
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
