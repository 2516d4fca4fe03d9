"""Steps: make a project, add recordings to it, bring labels into it and look at them."""

import os
import warnings
from collections.abc import Iterable
from datetime import date
from pathlib import Path

from calibration.errors import DataError, DataWarning
from calibration.files import write_text
from calibration.recordings import match_camera
from calibration.results import Outcome
from pose3d.skeleton import Skeleton

__all__ = ["add_recording", "create_project", "import_labels"]


def create_project(
    folder: str | os.PathLike,
    *,
    cameras: list[str],
    keypoints: list[str] | None = None,
    skeleton: list[str] | None = None,
    symmetric: list[str] | None = None,
    skeleton_from: str | os.PathLike | None = None,
    individuals: list[str] | None = None,
    task: str | None = None,
    scorer: str = "scorer",
    units: str | None = None,
    board: str | os.PathLike | None = None,
    calibration_videos: str | os.PathLike | None = None,
) -> Outcome:
    """Make a project: a folder with a config.yaml that says what is tracked and by which cameras.

    Parameters
    ----------
    folder : path
        The project's folder; it is made, and nothing in it is overwritten.
    cameras : list of str
        Names of the cameras.
    keypoints : list of str
        Names of the keypoints.
    skeleton : list of str
        Keypoints that are joined, as in "nose-neck".
    symmetric : list of str
        Left and right partners, as in "left_ear:right_ear".
    skeleton_from : path
        SLEAP analysis file whose keypoints and edges to take.
    individuals : list of str
        Names of the animals, if there are several.
    task : str
        What the project is about; the folder's name unless told.
    scorer : str
        Who labels.
    units : str
        Unit of length: the board's, or mm.
    board : path
        The board.toml of the printed board.
    calibration_videos : path
        Folder with the videos or pictures of the board.
    """
    from pose3d.formats.config import parse_config
    from pose3d.formats.config_fields import check_fields
    from pose3d.steps.project_files import config_text

    folder = Path(folder)
    path = folder / "config.yaml"
    if path.exists():
        raise FileExistsError(f"{path} is there already and is not overwritten. Choose a folder.")
    if calibration_videos and not Path(calibration_videos).is_dir():
        raise FileNotFoundError(
            f"There is no folder {calibration_videos}; expected that of the board's videos."
        )
    animal = _skeleton(keypoints, skeleton, symmetric, skeleton_from)
    printed = _board(board)
    text = config_text(
        path=folder.resolve(),
        task=task or folder.resolve().name,
        scorer=scorer,
        day=date.today(),
        skeleton=animal,
        individuals=individuals or [],
        cameras=cameras,
        units=units or (printed.units if printed else "mm"),
        board=printed,
        calibration_videos=calibration_videos and Path(calibration_videos).resolve(),
    )
    check_fields(parse_config(text, path), path)
    for name in ("videos", "labeled-data"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    write_text(path, text)
    return Outcome(
        path=path,
        summary=(
            f"A project of {len(cameras)} cameras and {len(animal.keypoints)} keypoints. "
            "Next: add-recording."
        ),
        figures={
            "n_cameras": len(cameras),
            "n_keypoints": len(animal.keypoints),
            "n_edges": len(animal.edges),
        },
    )


def add_recording(
    project: str | os.PathLike,
    name: str,
    videos: list[str],
    *,
    copy: bool = False,
    overwrite: bool = False,
) -> Outcome:
    """Add a recording: the videos that the cameras made of one take.

    Parameters
    ----------
    project : path
        The project's folder.
    name : str
        What to call the recording.
    videos : list of str
        A video or folder of pictures per camera, as in "top=a/b.mp4"; or one folder in which the
        cameras' names are found in the names of files or folders.
    copy : bool
        Copy the videos into the project instead of noting where they are.
    overwrite : bool
        Replace a recording of the same name, and its copied videos.
    """
    from calibration.video import count_frames, probe_video
    from pose3d.formats.config import edit_config
    from pose3d.formats.config_fields import check_file_name
    from pose3d.project import Project
    from pose3d.steps.project_files import (
        add_to_config,
        copy_videos,
        left_aside,
        plan_copies,
        videos_by_camera,
    )

    project = Project.load(project)
    try:
        check_file_name(name)
    except ValueError as error:
        raise ValueError(f"The recording's name {name!r} {error}.") from None
    if project.plain_deeplabcut:
        raise DataError(
            f"{project.config_path} is a project of DeepLabCut's own, of one camera: put the video "
            "into its folder 'videos', or make a project of several cameras with create-project."
        )
    if name in project.recordings and not overwrite:
        raise DataError(
            f"{project.path} has a recording {name!r} already. Choose another name, or replace it "
            "with overwrite."
        )
    found = videos_by_camera(videos, project.cameras)
    copies = plan_copies(found, project.path / "videos" / name, overwrite) if copy else {}
    facts, lengths = {}, {}
    for camera, path in found.items():
        facts[camera] = probe_video(path)
        lengths[camera] = count_frames(path)
    aside = left_aside(videos, project.cameras)
    _warn_of_differences(name, project.cameras, facts, lengths, aside)
    found |= copy_videos(copies)
    sizes = {camera: facts[camera].image_size for camera in found}
    edit_config(
        project.config_path,
        lambda config: add_to_config(config, project.path, name, found, sizes),
    )
    return Outcome(
        path=project.config_path,
        summary=f"Recording {name!r} of {len(found)} cameras, {max(lengths.values())} frames.",
        table=tuple(
            {
                "camera": camera,
                "frames": lengths[camera],
                "fps": facts[camera].fps,
                "width": sizes[camera][0],
                "height": sizes[camera][1],
                "video": str(path),
            }
            for camera, path in found.items()
        ),
        figures={"n_cameras": len(found), "n_frames": max(lengths.values())},
    )


def import_labels(
    project: str | os.PathLike,
    recording: str,
    files: list[str],
    *,
    frames: str | None = None,
    every: int = 1,
    overwrite: bool = False,
) -> Outcome:
    """Bring labels into a project: SLEAP analysis files, or DeepLabCut's labels with their images.

    Of tracks, the frames are taken out of the recording's videos; DeepLabCut's images are copied.
    Labels that the project has already stay as they are.

    Parameters
    ----------
    project : path
        The project's folder.
    recording : str
        The recording that the labels belong to.
    files : list of str
        A file per camera, as in "top=a/tracks.h5", or a file with the camera's name in its own or
        its folder's: a SLEAP analysis .h5, or a CollectedData .csv or .h5 beside its images.
    frames : str
        Frames of tracks to take, as in "0-95" or "0,10,20-30"; all unless told.
    every : int
        Take every so many frames of tracks only: those whose number it divides.
    overwrite : bool
        Replace images and labels that are there already.
    """
    from pose3d.project import Project
    from pose3d.steps.project_labels import import_images, import_tracks, is_tracks, select_frames

    project = Project.load(project)
    chosen = select_frames(frames, every)
    rows = []
    found = _files_by_camera(files, project.cameras)
    tracks = {camera: is_tracks(path) for camera, path in found.items()}
    pictures = [path for camera, path in found.items() if not tracks[camera]]
    if pictures and (frames is not None or every != 1):
        raise ValueError(
            f"frames and every choose frames of tracks; {pictures[0]} holds labelled pictures: "
            "leave them out."
        )
    for camera, path in found.items():
        if tracks[camera]:
            counts = import_tracks(project, recording, camera, path, chosen, overwrite)
        else:
            counts = import_images(project, recording, camera, path, overwrite)
        rows.append({"camera": camera, **counts})
    new, kept = sum(row["images"] for row in rows), sum(row["there_before"] for row in rows)
    if kept:
        warnings.warn(
            f"{kept} images were labelled already; their labels are kept. Use overwrite to replace "
            "them.",
            DataWarning,
            stacklevel=2,
        )
    return Outcome(
        path=project.path / "labeled-data",
        summary=f"{new} labelled images of {len(rows)} cameras came into the project.",
        table=tuple(rows),
        figures={"n_images": new, "n_kept": kept, "n_points": sum(row["points"] for row in rows)},
        failed="" if new or kept else _nothing_came(pictures),
    )


def _skeleton(keypoints, edges, symmetric, source) -> Skeleton:
    """Make the skeleton that the arguments describe."""
    from pose3d.formats.sleap import load_skeleton

    if (source is None) == (not keypoints):
        raise ValueError("Give either keypoints, or skeleton_from and a SLEAP analysis file.")
    taken = load_skeleton(source) if source else Skeleton(tuple(keypoints))
    names = taken.keypoints
    joined = [_pair(edge, "-", names, "skeleton") for edge in edges or ()] or taken.edges
    pairs = [_pair(pair, ":", names, "symmetric") for pair in symmetric or ()]
    return Skeleton(names, joined, pairs)


def _pair(text, separator, names, field):
    """Split text into two keypoints, whose names may hold the separator themselves."""
    parts = text.split(separator)
    for i in range(1, len(parts)):
        first, second = separator.join(parts[:i]), separator.join(parts[i:])
        if first in names and second in names:
            return first, second
    raise ValueError(
        f"{field} holds {text!r}; expected two keypoints as in "
        f"'{names[0]}{separator}{names[-1]}'. The keypoints are {', '.join(names)}."
    )


def _board(path):
    """Load the printed board, if there is one."""
    if path is None:
        return None
    from calibration.formats.boards import load_board

    return load_board(path)


def _files_by_camera(files: Iterable[str], cameras: tuple[str, ...]) -> dict[str, Path]:
    """Find the camera of each file."""
    found: dict[str, Path] = {}
    for text in files:
        camera, _, path = str(text).partition("=")
        if path and camera not in cameras:
            raise ValueError(
                f"{text!r} names the camera {camera!r}; they are {', '.join(cameras)}."
            )
        if not path:
            path = str(text)
            only = cameras[0] if len(cameras) == 1 else None
            place = Path(os.path.abspath(path))
            camera = match_camera(place.name, cameras) or match_camera(place.parent.name, cameras)
            camera = camera or only
        elif not match_camera(Path(path).name, [camera]):
            named = match_camera(Path(path).name, cameras)
            if named:
                warnings.warn(
                    f"{path} is given for camera {camera!r}, but its name speaks of {named!r}. See "
                    "that the labels are of the right camera.",
                    DataWarning,
                    stacklevel=3,
                )
        if camera is None:
            raise ValueError(
                f"{text!r} tells no camera; write <camera>={text} with one of {', '.join(cameras)}."
            )
        if camera in found:
            raise ValueError(f"{found[camera]} and {path} are both of camera {camera!r}.")
        found[camera] = Path(path)
    if not found:
        raise ValueError("files is empty; expected a file per camera.")
    return found


def _nothing_came(pictures):
    """Say what to do where no image came in."""
    if not pictures:
        return "No image came in: no frame that was asked for can be read."
    return f"No image came in: lay {pictures[0].name} beside its pictures, in one folder."


def _warn_of_differences(name, cameras, facts, lengths, aside):
    """Tell of cameras without a video, and of videos that differ in length or rate."""
    told = []
    lacking = [camera for camera in cameras if camera not in facts]
    if lacking:
        names = ", ".join(path.name for path in aside[:5]) + (", ..." if len(aside) > 5 else "")
        unused = f" (left aside, as they name no camera: {names})" if aside else ""
        told.append(f"it has no video of {', '.join(lacking)}{unused}")
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{camera} {count}" for camera, count in lengths.items())
        told.append(f"its videos differ in length ({counts} frames)")
    rates = {camera: fact.fps for camera, fact in facts.items() if fact.fps == fact.fps}
    if rates and max(rates.values()) > 1.001 * min(rates.values()):
        counts = ", ".join(f"{camera} {rate:.4g}" for camera, rate in rates.items())
        told.append(f"its videos differ in frames per second ({counts})")
    if told:
        warnings.warn(
            f"Recording {name!r}: {'; '.join(told)}. See that the cameras recorded together.",
            DataWarning,
            stacklevel=3,
        )
