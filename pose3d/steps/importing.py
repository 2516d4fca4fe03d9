"""Step: take 2D keypoints that another program found."""

import os
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np

from calibration.errors import DataError, DataWarning
from calibration.files import provenance
from calibration.recordings import match_camera
from calibration.results import Outcome
from pose3d.keypoints import Keypoints2D

__all__ = ["import_keypoints"]

#: What can be read.
FORMATS = ("deeplabcut", "sleap", "openpose", "coco")


def import_keypoints(
    project: str | os.PathLike,
    recording: str,
    files: list[str],
    *,
    format: str = "auto",
    fps: float | None = None,
    keypoints: list[str] | None = None,
    overwrite: bool = False,
) -> Outcome:
    """Take the 2D keypoints of a recording from another program's files, one for each camera.

    A recording that the project does not have is added without videos, if --fps is told.
    Keypoints are matched by name to the project's. What has another name, or is not there, is
    named in a warning and missing.

    Parameters
    ----------
    project : path
        The project's folder.
    recording : str
        Name of the recording.
    files : list of str
        A file or folder for each camera; CAMERA=FILE where its name does not hold the camera's.
    format : str
        deeplabcut (.h5 or .csv; Lightning Pose's too), sleap (analysis .h5), openpose (folder of
        JSON), coco (JSON); auto looks into the files.
    fps : float
        Frames per second, where there are no videos to tell.
    keypoints : list of str
        For openpose: names of the points in the files' order, where they cannot be told.
    overwrite : bool
        Write over keypoints that are there.
    """
    from pose3d.formats.keypoints import save_keypoints_2d
    from pose3d.project import Project

    project = Project.load(project)
    if recording not in project.recordings:
        project = _with_recording(project, recording, fps)
    take = project.recording(recording)
    path = project.keypoints_2d_path(recording)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} is there already. Allow --overwrite to replace it.")
    if format not in ("auto", *FORMATS):
        raise ValueError(f"format is {format!r}; expected auto, {', '.join(FORMATS)}.")
    sources = _by_camera(files, project.cameras)
    times = _times(take, sources, fps)
    kinds = {
        camera: _recognised(source) if format == "auto" else format
        for camera, source in sources.items()
    }
    first = _first_frame(sources, kinds)
    found = [
        _loaded(source, kinds[camera], camera, times, keypoints, first)
        for camera, source in sources.items()
    ]
    names = project.skeleton.keypoints
    seen = _joined(found, names, project.individuals, times)
    sizes = _sizes(take, seen.cameras)
    if sizes is not None:
        seen = replace(seen, image_sizes=sizes)
    arguments = {"recording": recording, "format": format, "fps": fps}
    inputs = {camera: file for camera, file in sources.items() if Path(file).is_file()}
    save_keypoints_2d(path, seen, provenance("import_keypoints", arguments, inputs))
    there = np.isfinite(seen.xy[..., 0])
    table = [
        {"camera": name, "file": str(sources[name]), "present %": round(100 * float(share), 1)}
        for name, share in zip(seen.cameras, there.mean(axis=(1, 2, 3)), strict=True)
    ]
    return Outcome(
        path=path,
        summary=(
            f"{seen.n_frames} frames of {recording!r} from {len(seen.cameras)} cameras, "
            f"{len(names)} keypoints."
        ),
        table=tuple(table),
        figures={"n_frames": seen.n_frames, "share_present": float(there.mean())},
    )


def _with_recording(project, recording, fps):
    """Add a recording without videos to the project."""
    from pose3d.formats.config import edit_config, quoted
    from pose3d.formats.config_fields import check_file_name
    from pose3d.project import Project

    if fps is None:
        raise DataError(
            f"{project.path} has no recording {recording!r}. Add its videos (add-recording), or, "
            "where there are none, give --fps: it is then added without."
        )
    try:
        check_file_name(recording)
    except ValueError as error:
        raise ValueError(f"The recording's name {recording!r} {error}.") from None

    def add(config):
        if not config["pose3d"].get("recordings"):
            config["pose3d"]["recordings"] = {}
        config["pose3d"]["recordings"][quoted(recording)] = {}

    edit_config(project.config_path, add)
    return Project.load(project.path)


def _unfolded(files, cameras):
    """Put what a folder holds for each camera in the folder's place, if it is nobody's itself."""
    for text in files:
        folder = Path(text)
        inside = []
        if len(cameras) > 1 and folder.is_dir() and not match_camera(folder.name, cameras):
            inside = [str(p) for p in sorted(folder.iterdir()) if match_camera(p.stem, cameras)]
        yield from inside or [text]


def _by_camera(files, cameras):
    """Find the camera of each file."""
    sources = {}
    for text in _unfolded(files, cameras):
        name, equals, rest = text.partition("=")
        if equals and name in cameras:
            camera, source = name, Path(rest)
            named = match_camera(source.stem if source.suffix else source.name, cameras)
            if named not in (None, camera):
                warnings.warn(
                    f"{source} is given for camera {camera!r}, but its name speaks of {named!r}. "
                    "See that the keypoints are of the right camera.",
                    DataWarning,
                    stacklevel=3,
                )
        else:
            source = Path(text)
            camera = match_camera(source.stem if source.suffix else source.name, cameras)
            camera = camera or (cameras[0] if len(cameras) == 1 else None)
        if camera is None:
            raise ValueError(
                f"Which camera is {text}? Its name holds none of {', '.join(cameras)}: give it as "
                "CAMERA=FILE."
            )
        if camera in sources:
            raise ValueError(f"Camera {camera!r} has two files: {sources[camera]} and {source}.")
        sources[camera] = source
    if not sources:
        raise ValueError("Give a file for each camera.")
    return {camera: sources[camera] for camera in cameras if camera in sources}


def _times(take, sources, fps):
    """Return times by the videos' stamps, else by a frame rate; None where neither is known."""
    from calibration.video import frame_times

    for camera in sources:
        video = take.videos.get(camera)
        if video is not None and video.exists():
            return frame_times(video)
    if fps is None:
        raise DataError(
            "There is no video that tells how many frames there are a second. Give --fps."
        )
    return float(fps)


def _first_frame(sources, kinds):
    """Return the lowest frame number of all files, so that their cameras begin together."""
    from pose3d.formats.json_poses import frame_numbers, picture_numbers

    read = {"openpose": frame_numbers, "coco": picture_numbers}
    numbers = [
        read[kinds[camera]](source) for camera, source in sources.items() if kinds[camera] in read
    ]
    return min((min(each) for each in numbers if each), default=None)


def _recognised(source):
    """Tell a format by what a file holds."""
    import h5py

    if source.is_dir():
        return "openpose"
    if not source.is_file():
        raise FileNotFoundError(f"There is no {source}.")
    if source.suffix.lower() == ".json":
        return "coco"
    if source.suffix.lower() == ".csv":
        return "deeplabcut"
    if h5py.is_hdf5(source):
        with h5py.File(source, "r", locking=False) as file:
            return "sleap" if "node_names" in file else "deeplabcut"
    raise DataError(
        f"{source} is none of the formats {', '.join(FORMATS)}. Name the format (--format)."
    )


def _loaded(source, kind, camera, times, keypoints=None, first=None) -> Keypoints2D:
    """Load one camera's file."""
    from pose3d.formats import deeplabcut, json_poses, sleap

    load = {
        "deeplabcut": deeplabcut.load_predictions,
        "sleap": sleap.load_analysis,
        "openpose": json_poses.load_openpose,
        "coco": json_poses.load_coco,
    }[kind]
    fps = times if isinstance(times, float) else 1 / float(np.median(np.diff(times)))
    more = {"names": keypoints} if kind == "openpose" and keypoints else {}
    if kind in ("openpose", "coco"):
        more["first"] = first
    return load(source, camera=camera, fps=fps, **more)


def _joined(found, names, individuals, times) -> Keypoints2D:
    """Bring cameras together: frames by number, keypoints by name, individuals by order."""
    n_frames = max(one.n_frames for one in found)
    lengths = {one.cameras[0]: one.n_frames for one in found}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name!r} has {n}" for name, n in lengths.items())
        warnings.warn(
            f"The files have different numbers of frames ({told}); the later ones are missing in "
            "the shorter. If cameras were started apart, use sync-recording.",
            DataWarning,
            stacklevel=3,
        )
    if isinstance(times, float):
        times = np.arange(n_frames) / times
    elif len(times) < n_frames:
        raise DataError(
            f"The files have {n_frames} frames and the video {len(times)}. Do they belong together?"
        )
    xy = np.full((len(found), n_frames, len(individuals), len(names), 2), np.nan)
    likelihood = np.zeros(xy.shape[:-1])
    for i, one in enumerate(found):
        unknown = [name for name in one.keypoints if name not in names]
        absent = [name for name in names if name not in one.keypoints]
        if len(absent) == len(names):
            raise DataError(
                f"The file of camera {one.cameras[0]!r} has none of the project's keypoints: it "
                f"has {', '.join(one.keypoints)}, the project {', '.join(names)}."
            )
        extra = max(0, len(one.individuals) - len(individuals))
        told = [
            f"{word} {', '.join(which)}"
            for word, which in (("unknown are", unknown), ("missing are", absent))
            if which
        ]
        if extra:
            told.append(
                f"of {len(one.individuals)} animals the last {extra} are left out, whichever they "
                f"are in each frame; if {len(one.individuals)} are there, name them "
                "(create-project --individuals)"
            )
        if told:
            warnings.warn(
                f"Camera {one.cameras[0]!r}: {'; '.join(told)}.", DataWarning, stacklevel=3
            )
        own = [k for k, name in enumerate(names) if name in one.keypoints]
        theirs = [one.keypoints.index(names[k]) for k in own]
        n = min(len(individuals), len(one.individuals))
        for a in range(n):
            xy[i, : one.n_frames, a, own] = one.xy[0, :, a, theirs]
            likelihood[i, : one.n_frames, a, own] = one.likelihood[0, :, a, theirs]
    cameras = tuple(one.cameras[0] for one in found)
    return Keypoints2D(xy, likelihood, cameras, individuals, names, times[:n_frames])


def _sizes(take, cameras):
    """Return image sizes by the videos, where there are all of them."""
    from calibration.video import probe_video

    videos = [take.videos.get(camera) for camera in cameras]
    if not all(video is not None and video.exists() for video in videos):
        return None
    return np.array([probe_video(video).image_size for video in videos])
