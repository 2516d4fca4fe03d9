"""Puts the viewer's page together."""

import base64
import hashlib
import html
import json
import os
import re
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from calibration.cameras import METRES, CameraRig
from calibration.errors import DataError, DataWarning
from calibration.files import write_text
from calibration.multiview import move_rig
from calibration.recordings import Recording
from calibration.video import probe_video
from pose3d.keypoints import Keypoints2D, Keypoints3D
from pose3d.mosaic import frames_of_videos, plan_mosaic
from pose3d.skeleton import Skeleton
from pose3d.viewer.content import choose_rows, gather
from pose3d.viewer.film import encode_film

#: The page's scripts, in the order in which they are joined.
SCRIPTS = ("data.js", "player.js", "views.js", "space.js", "timeline.js", "panel.js", "main.js")

#: Frames per second at which the film plays where the recording does not say.
_USUAL_FPS = 30.0


@dataclass(frozen=True)
class ViewerFile:
    """A page that was written.

    Attributes
    ----------
    path : Path
        The HTML file.
    n_bytes, video_bytes : int
        Size of the file, and of the video in it before base64 made it 4/3 as large.
    notes : tuple of str
        What the page shows otherwise than it was given, as the page says too.
    """

    path: Path
    n_bytes: int
    video_bytes: int
    notes: tuple[str, ...]


def write_viewer(
    path: str | os.PathLike,
    *,
    keypoints_2d: Keypoints2D | None = None,
    keypoints_3d: Keypoints3D | None = None,
    recording: Recording | Mapping[str, str | os.PathLike] | None = None,
    rig: CameraRig | None = None,
    skeleton: Skeleton | None = None,
    title: str | None = None,
    frames: range | None = None,
    min_likelihood: float = 0.6,
    max_video_mb: float = 40.0,
    max_data_mb: float = 30.0,
    origin: Mapping[str, Any] | None = None,
    progress: Callable | None = None,
) -> ViewerFile:
    """Write a recording as one HTML file that opens in a browser without a network.

    Whatever is not given is not shown; any one of keypoints, recording and rig suffices.

    Parameters
    ----------
    path : path
        The file to write.
    keypoints_2d : Keypoints2D, optional
        What each camera saw; drawn over its video.
    keypoints_3d : Keypoints3D, optional
        Where the keypoints are; drawn in space, and over the videos if `rig` is given.
    recording : Recording or mapping of str to path, optional
        The video of each camera. Which of its frames belong together is told by the times of
        the keypoints. One that cannot be found or read is left out, with a
        warning.
    rig : CameraRig, optional
        The cameras.
    skeleton : Skeleton, optional
        The bones.
    title : str, optional
        Headline; the recording's name if not given.
    frames : range, optional
        Which frames; all if not given.
    min_likelihood : float
        Less likely 2D keypoints are hollow.
    max_video_mb : float
        Largest size of the video in 10^6 bytes; sharpness, then the size of the picture, then
        the number of pictures give way. With 0 there is no video.
    max_data_mb : float
        Largest size of the keypoints in 10^6 bytes; of more frames, every second, third, ...
        is shown.
    origin : mapping, optional
        Which step makes the page, see `calibration.files.provenance`.
    progress : callable, optional
        Wraps the iteration over frames, called as ``progress(iterable, total=n)``; a tqdm.

    Returns
    -------
    ViewerFile
        What was written, with notes on everything that was left out or reduced.
    """
    _check_same_animal(keypoints_2d, keypoints_3d)
    notes: list[str] = []
    name, videos, offsets = _videos(recording, notes)
    infos = _probed(videos, notes)
    videos = {camera: videos[camera] for camera in infos}
    views = _views(keypoints_2d, videos, keypoints_3d, rig)
    sizes = [_image_size(view, infos, keypoints_2d, rig) for view in views]
    if rig is not None and keypoints_3d is not None:
        rig = _in_units(rig, keypoints_3d.units)
    times = _times(keypoints_2d, keypoints_3d, notes)
    places: dict[str, np.ndarray] = {}
    if videos:
        times, places = frames_of_videos(videos, offsets, times)
    n_frames = 1 if times is None else len(times)
    frames = range(n_frames) if frames is None else _checked(frames, n_frames)
    either = keypoints_3d if keypoints_3d is not None else keypoints_2d
    n_points = 1 if either is None else len(either.individuals) * len(either.keypoints)
    rows = choose_rows(frames, len(views), n_points, max_data_mb)
    if len(rows) < len(frames):
        notes.append(
            f"One frame in {(rows[1] - rows[0]) // frames.step} is shown: all {len(frames)} would "
            f"make a page of over {max_data_mb:g} MB."
        )
    content = gather(rows, views, sizes, keypoints_2d, keypoints_3d, rig, skeleton, min_likelihood)
    fps = _fps(either, infos)
    shown_fps = fps / content.document["frame_step"]
    notes += content.notes
    # with the 3D pane beside it, or the whole width
    aspect = 4 / 3 if "scene" in content.document else 2.0
    film, video = None, b""
    if videos and max_video_mb > 0:
        with tempfile.TemporaryDirectory() as folder:
            film_path = Path(folder) / "film.mp4"
            film = encode_film(
                film_path,
                [videos.get(view) for view in views],
                sizes,
                [places[view][rows] if view in places else rows for view in views],
                shown_fps,
                max_bytes=max_video_mb * 1e6,
                aspect=aspect,
                progress=progress,
            )
            video = film_path.read_bytes()
        notes += _film_notes(film, views, videos, len(rows))
    for note in notes:
        warnings.warn(note, DataWarning, stacklevel=2)
    document = content.document | {
        "title": title or name or Path(path).stem,
        "fps": shown_fps,
        "film": _film_entry(film, sizes, aspect),
        "notes": notes,
        "origin": {key: str((origin or {}).get(key, "")) for key in ("step", "version", "made")},
        "empty_views": _why_no_views(views, recording),
    }
    write_text(path, build_page(document, content.blobs, video))
    return ViewerFile(Path(path), Path(path).stat().st_size, len(video), tuple(notes))


def build_page(document: Mapping[str, Any], blobs: Mapping[str, str], video: bytes) -> str:
    """Put data, video, plotly and the viewer's own files into one page.

    Nothing that comes from data stands in the page but as JSON without angle brackets, as
    base64, and as the escaped title; the page's policy runs the two scripts named by their
    digests alone and lets nothing out.

    Parameters
    ----------
    document : mapping
        What the page shows, see `content.gather`.
    blobs : mapping of str to str
        Packed arrays.
    video : bytes
        The film; empty if there is none.

    Returns
    -------
    str
    """
    from plotly.offline import get_plotlyjs

    files = resources.files("pose3d.viewer")
    plotly = get_plotlyjs().replace("\r\n", "\n")
    own = "\n".join((files / name).read_text("utf-8") for name in SCRIPTS)
    own = f'(() => {{\n"use strict";\n{own}\n}})();'
    policy = (
        f"default-src 'none'; script-src {_digest(plotly)} {_digest(own)}; "
        "style-src 'unsafe-inline'; img-src data: blob:; media-src blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    data = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        data = data.replace(character, f"\\u{ord(character):04x}")
    packed = [
        f'<script type="text/plain" id="{key}">{text}</script>' for key, text in blobs.items()
    ]
    if video:
        text = base64.b64encode(video).decode("ascii")
        packed.append(f'<script type="text/plain" id="film">{text}</script>')
    parts = {
        "policy": policy,
        "title": html.escape(str(document["title"])),
        "style": (files / "viewer.css").read_text("utf-8"),
        "data": data,
        "packed": "\n".join(packed),
        "plotly": plotly,
        "script": own,
    }
    # one pass, so that nothing inside a part is taken for a place to fill
    pieces = re.split(r"\{\{(\w+)\}\}", (files / "viewer.html").read_text("utf-8"))
    return "".join(parts[piece] if i % 2 else piece for i, piece in enumerate(pieces))


def _digest(script):
    """Name a script by its digest, as a content security policy does."""
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _check_same_animal(seen, path):
    """Refuse 2D and 3D keypoints of different names."""
    if seen is None or path is None:
        return
    for axis in ("individuals", "keypoints"):
        first, second = getattr(seen, axis), getattr(path, axis)
        if first != second:
            raise ValueError(
                f"keypoints_2d has the {axis} {', '.join(first)} and keypoints_3d "
                f"{', '.join(second)}; they must be the same, in the same order."
            )


def _videos(recording, notes):
    """Return the recording's name, the videos that are there, and the cameras' offsets."""
    if recording is None:
        return "", {}, {}
    name, offsets = "", {}
    if isinstance(recording, Recording):
        name = recording.name
        offsets = dict(zip(recording.cameras, recording.offsets.tolist(), strict=True))
        recording = recording.videos
    videos = {}
    for camera, video in recording.items():
        if Path(video).exists():
            videos[camera] = Path(video)
        else:
            notes.append(f"{camera}: its video {video} is not there; put it back to see it.")
    return name, videos, offsets


def _probed(videos, notes):
    """Look into the videos; those that cannot be read are left out."""
    infos = {}
    for camera, video in videos.items():
        try:
            infos[camera] = probe_video(video)
        except DataError as error:
            notes.append(f"{camera}: its video is left out. {error}")
    return infos


def _views(seen, videos, path, rig):
    """List the cameras that have anything to show in a picture, in the order of the first list."""
    names = list(seen.cameras) if seen is not None else []
    names += [name for name in videos if name not in names]
    if path is not None and rig is not None:
        names += [name for name in rig.names if name not in names]
    return names


def _image_size(view, infos, seen, rig):
    """Width and height of a view's pictures, from the surest source that knows."""
    if view in infos:
        return infos[view].image_size
    if seen is not None and view in seen.cameras:
        camera = seen.cameras.index(view)
        if seen.image_sizes is not None:
            return tuple(int(side) for side in seen.image_sizes[camera])
    if rig is not None and view in rig.names:
        return rig[view].intrinsics.image_size
    points = seen.xy[camera]
    largest = np.nanmax(points[np.isfinite(points).all(axis=-1)], axis=0, initial=240)
    return tuple(int(side) + 16 for side in largest)


def _times(seen, path, notes):
    """Return the times of the recording: of 2D and 3D keypoints, the longer's."""
    both = [noun.times for noun in (path, seen) if noun is not None]
    if len({len(times) for times in both}) > 1:
        notes.append(
            f"There are {seen.n_frames} frames of 2D and {path.n_frames} of 3D keypoints; both are "
            "shown from frame 0 on."
        )
    return max(both, key=len, default=None)


def _in_units(rig, units):
    """Return the rig in another unit of length."""
    if rig.units == units:
        return rig
    scale = np.diag([METRES[rig.units] / METRES[units]] * 3 + [1.0])
    return CameraRig(move_rig(rig, scale).cameras, units)


def _checked(frames, n_frames):
    """Refuse a range that the recording does not hold."""
    if not len(frames) or frames.step < 1 or frames[0] < 0 or frames[-1] >= n_frames:
        raise ValueError(
            f"frames is {frames}; expected a rising range within the recording's {n_frames} frames."
        )
    return frames


def _fps(either, infos):
    """Frames per second, by the keypoints' times, the videos, or habit."""
    rates = [] if either is None else [either.fps]
    rates += [info.fps for info in infos.values()]
    return next((rate for rate in rates if np.isfinite(rate) and rate > 0), _USUAL_FPS)


def _film_notes(film, views, videos, n_frames):
    """Say what the film shows otherwise than the videos."""
    notes = []
    if film.every > 1:
        notes.append(
            f"The film has a picture for one frame in {film.every}: all {n_frames} would be larger "
            "than allowed. Show fewer frames, or allow a larger file."
        )
    smallest = min((tile.width / tile.image_size[0] for tile in film.mosaic.tiles), default=1.0)
    if smallest < 0.3:
        notes.append(f"Pictures are shown at down to {100 * smallest:.0f} % of their size.")
    for view, n_missing in zip(views, film.n_missing, strict=True):
        if view in videos and n_missing:
            notes.append(f"{view}: {n_missing} of {film.n_pictures} pictures are not in its video.")
    return notes


def _film_entry(film, sizes, aspect):
    """Describe where each view lies, and the film if there is one."""
    if not sizes:
        return None
    mosaic = plan_mosaic(sizes, aspect=aspect) if film is None else film.mosaic
    entry = {
        "width": mosaic.width,
        "height": mosaic.height,
        "tiles": [[tile.x, tile.y, tile.width, tile.height] for tile in mosaic.tiles],
    }
    if film is not None:
        entry |= {"fps": film.fps, "every": film.every, "n_pictures": film.n_pictures}
    return entry


def _why_no_views(views, recording):
    """Say why no pictures are shown; empty if some are."""
    if views:
        return ""
    return (
        "No videos and no 2D keypoints were given."
        if recording is None
        else ("None of the videos is where the recording says.")
    )
