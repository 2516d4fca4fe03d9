"""What `create_project` and `add_recording` write and find: config.yaml, videos by camera."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from tqdm import tqdm

from calibration.boards import Board
from calibration.errors import DataError
from calibration.files import atomic_path, file_digest
from calibration.recordings import match_camera
from pose3d.formats.config import quoted, spell
from pose3d.formats.config_videos import VIDEO_SUFFIXES
from pose3d.skeleton import Skeleton

_TEMPLATE = """\
# Project definitions (DeepLabCut's keys)
Task: {task}
scorer: {scorer}
date: {date}
multianimalproject: {multi}
identity:

# Where the project was made; where it lies now counts
project_path: {path}
engine: tensorflow

# Videos and their crops, for DeepLabCut; the recordings stand in the section pose3d below
video_sets: {{}}
{animals}{keypoints}
# Choice of frames to label
start: 0
stop: 1
numframes2pick: 20

# Drawing: keypoints that are joined; likelihood from which a keypoint counts
skeleton:{edges}
skeleton_color: black
pcutoff: 0.6
dotsize: 6
alphavalue: 0.7
colormap: rainbow

# Training: share of the labelled images to train on
TrainingFraction:
- 0.95
iteration: 0
default_net_type: resnet_50
default_augmenter: default
snapshotindex: -1
batch_size: 8

# Cropping, for DeepLabCut
cropping: false
x1: 0
x2: 640
y1: 277
y2: 624

# Refinement, for DeepLabCut
corner2move2:
- 50
- 50
move2corner: true

# Several cameras
pose3d:
  version: 1
  # unit of length of everything in 3D: that of the board
  units: {units}
  cameras:{cameras}
  # left and right partners, exchanged when an image is mirrored
  symmetric:{symmetric}
{board}{calibration}  # videos of each take by camera, below this folder or by their whole path
  recordings: {{}}
  # seconds by which a camera is late, by recording
  offsets: {{}}
"""


def config_text(
    *,
    path: Path,
    task: str,
    scorer: str,
    day: date,
    skeleton: Skeleton,
    individuals: Sequence[str],
    cameras: Sequence[str],
    units: str,
    board: Board | None,
    calibration_videos: Path | None,
) -> str:
    """Write a new project's config.yaml.

    Parameters
    ----------
    path : Path
        The project's folder.
    task, scorer : str
        What it is about and who labels.
    day : date
        When it was made.
    skeleton : Skeleton
        Keypoints, edges and symmetric pairs.
    individuals : sequence of str
        Names of the animals; empty for a single one.
    cameras : sequence of str
        Names of the cameras.
    units : str
        Unit of length.
    board : Checkerboard, CharucoBoard or None
        The printed board, if it is known.
    calibration_videos : Path or None
        Folder with the videos of the board, if it is known.
    """
    multi = len(individuals) > 1
    keypoints = _listed(skeleton.keypoints)
    animals = f"individuals:{_listed(individuals)}\n" if individuals else ""
    if multi:
        animals += "uniquebodyparts: []\n"
    described = ""
    if board is not None:
        lines = "".join(f"    {key}: {_value(value)}\n" for key, value in asdict(board).items())
        described = f"  board:\n{lines}"
    return _TEMPLATE.format(
        task=spell(task),
        scorer=spell(scorer),
        date=f"{day:%b}{day.day}",
        multi=str(multi).lower(),
        path=spell(str(path)),
        animals=animals,
        keypoints=(
            f"multianimalbodyparts:{keypoints}\nbodyparts: MULTI!\n"
            if multi
            else f"bodyparts:{keypoints}\n"
        ),
        edges=_paired(skeleton.edges, ""),
        units=spell(units),
        cameras=_listed(cameras, "  "),
        symmetric=_paired(skeleton.symmetric, "  "),
        board=described,
        calibration=(
            f"  calibration_videos: {spell(str(calibration_videos))}\n"
            if calibration_videos
            else ""
        ),
    )


def _listed(names, indent=""):
    """Write names as a YAML list."""
    return "".join(f"\n{indent}- {spell(name)}" for name in names) or " []"


def _paired(pairs, indent):
    """Write pairs of names as a YAML list of lists."""
    return "".join(f"\n{indent}- [{spell(a)}, {spell(b)}]" for a, b in pairs) or " []"


def _value(value):
    """Write text, a number or a truth value in YAML."""
    if isinstance(value, bool):
        return str(value).lower()
    return spell(value) if isinstance(value, str) else repr(value)


def videos_by_camera(videos: Iterable[str], cameras: Sequence[str]) -> dict[str, Path]:
    """Find the video of each camera.

    Parameters
    ----------
    videos : iterable of str
        Entries such as "top=a/b.mp4" (a file or a folder of pictures), files with a camera's
        name in theirs, or folders that hold files or folders so named.
    cameras : sequence of str
        The known cameras, whose names are sought, the longest first.

    Returns
    -------
    dict of str to Path
        Whole paths in the order of the cameras.

    Raises
    ------
    ValueError
        If a camera is not known, or a path names none or is named twice.
    FileNotFoundError
        If a path is not there.
    DataError
        If a folder holds no video, or several, of a camera; or two cameras have the same.
    """
    found: dict[str, Path] = {}

    def add(camera, path):
        if not path.exists():
            raise FileNotFoundError(f"There is no {path}, the video of camera {camera!r}.")
        if camera in found and found[camera] != path:
            raise DataError(
                f"Both {found[camera]} and {path} are of camera {camera!r}. Say which with "
                f"{camera}={path}."
            )
        for other, taken in found.items():
            if other != camera and taken.resolve() == path.resolve():
                raise DataError(
                    f"{path} is given for both camera {other!r} and camera {camera!r}. Give each "
                    "its own video."
                )
        found[camera] = path

    for text in videos:
        camera, _, path = str(text).partition("=")
        if path and camera in cameras:
            add(camera, Path(path).resolve())
            continue
        if path and not Path(text).exists():
            raise ValueError(
                f"{text!r} names the camera {camera!r}; the project has {', '.join(cameras)}."
            )
        path = Path(text).resolve()
        if not path.exists():
            raise FileNotFoundError(f"There is no {path}; expected a video or a folder of videos.")
        if path.is_dir():
            for camera, video in _in_folder(path, cameras):
                add(camera, video)
        else:
            named = match_camera(path.name, cameras) or (cameras[0] if len(cameras) == 1 else None)
            if named is None:
                raise ValueError(
                    f"{text!r} tells no camera; write <camera>={text} with one of "
                    f"{', '.join(cameras)}."
                )
            add(named, path)
    if not found:
        raise DataError(f"No videos: expected one for each of {', '.join(cameras)}.")
    return {camera: found[camera] for camera in cameras if camera in found}


def _in_folder(folder, cameras):
    """Find the videos in a folder by the names of files, and of folders with one video each."""
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    pairs = []
    for entry in entries:
        camera = match_camera(entry.name, cameras)
        if camera is None:
            continue
        if entry.is_file() and entry.suffix.lower() in VIDEO_SUFFIXES:
            pairs.append((camera, entry))
        elif entry.is_dir():
            inside = sorted(p for p in entry.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES)
            pairs += [(camera, video) for video in inside] or [(camera, entry)]
    if not pairs and len(cameras) == 1:  # whose else could they be?
        pairs = [(cameras[0], e) for e in entries if e.suffix.lower() in VIDEO_SUFFIXES]
    if not pairs:
        names = ", ".join(entry.name for entry in entries[:8]) or "nothing"
        raise DataError(
            f"{folder} holds no video or folder named after a camera ({', '.join(cameras)}); it "
            f"holds {names}. Write <camera>=<video> for each."
        )
    return pairs


def left_aside(videos: Iterable[str], cameras: Sequence[str]) -> list[Path]:
    """List the videos that `videos_by_camera` passes over, as they name no camera.

    Parameters
    ----------
    videos : iterable of str
        As `videos_by_camera` takes them.
    cameras : sequence of str
        The known cameras.
    """
    folders = [Path(text) for text in videos if Path(text).is_dir()]
    return [
        entry
        for folder in folders
        for entry in sorted(folder.iterdir())
        if entry.suffix.lower() in VIDEO_SUFFIXES
        and not entry.name.startswith(".")
        and match_camera(entry.name, cameras) is None
    ]


def plan_copies(
    videos: Mapping[str, Path], folder: Path, overwrite: bool
) -> dict[str, tuple[Path, dict[Path, Path]]]:
    """Choose where copies of videos go, so that no file is lost.

    Parameters
    ----------
    videos : mapping of str to Path
        Video, or folder of pictures, of each camera.
    folder : Path
        Where the copies go, named after their cameras.
    overwrite : bool
        Whether other files of the same names may be replaced.

    Returns
    -------
    dict of str to (Path, dict of Path to Path)
        The copy of each camera's video, and the file to copy to each place; none where it lies
        there already.

    Raises
    ------
    DataError
        If another file would be replaced, or pictures mixed with others.
    """
    plan = {}
    for camera, path in videos.items():
        target = folder / (camera if path.is_dir() else camera + path.suffix.lower())
        files = {target: path}
        if path.is_dir():
            entries = sorted(entry for entry in path.iterdir() if entry.is_file())
            files = {target / (entry.stem + entry.suffix.lower()): entry for entry in entries}
            there = target.iterdir() if target.is_dir() else ()
            others = sorted(p for p in there if p not in files and not p.name.startswith("."))
            if others and not target.samefile(path):
                raise DataError(
                    f"{others[0]} would lie among the pictures copied from {path}. Remove the "
                    f"folder {target}, or choose another name for the recording."
                )
        for place, source in files.items():
            if place.exists() and not overwrite and file_digest(place) != file_digest(source):
                raise DataError(
                    f"{place} is there already and differs from {source}. Choose another name for "
                    "the recording, or replace the file with overwrite."
                )
        apart = {to: of for to, of in files.items() if not (to.exists() and to.samefile(of))}
        plan[camera] = target, apart
    return plan


def copy_videos(plan: Mapping[str, tuple[Path, Mapping[Path, Path]]]) -> dict[str, Path]:
    """Copy videos, or folders of pictures, as `plan_copies` says.

    All are copied before any takes its name, as one may be where another goes.

    Parameters
    ----------
    plan : mapping of str to (Path, mapping of Path to Path)
        By camera.

    Returns
    -------
    dict of str to Path
        The copy of each camera's video.
    """
    with ExitStack() as renamed:
        for _, files in tqdm(plan.values(), "copying", disable=None, unit="video"):
            for target, source in files.items():
                shutil.copyfile(source, renamed.enter_context(atomic_path(target)))
    return {camera: target for camera, (target, _) in plan.items()}


def add_to_config(
    config: Any,
    folder: Path,
    recording: str,
    videos: Mapping[str, Path],
    sizes: Mapping[str, tuple[int, int]],
) -> None:
    """Note a recording in a config that is being edited.

    Parameters
    ----------
    config : mapping
        As `pose3d.formats.config.edit_config` hands it.
    folder : Path
        The project; paths below it are noted relative to it.
    recording : str
        Name of the recording.
    videos : mapping of str to Path
        Video of each camera.
    sizes : mapping of str to (int, int)
        Width and height of each camera's images.
    """
    noted = {}
    for camera, path in videos.items():
        inside = path.is_relative_to(folder)
        noted[quoted(camera)] = quoted(path.relative_to(folder).as_posix() if inside else str(path))
    _section(config["pose3d"], "recordings")[quoted(recording)] = noted
    for camera, path in videos.items():
        width, height = sizes[camera]
        crop = {"crop": f"0, {width}, 0, {height}"}
        _section(config, "video_sets")[quoted(str(path))] = crop


def _section(config, key):
    """Find a mapping of a config; an empty one becomes one with a line per entry."""
    if not config.get(key):
        config[key] = {}
    return config[key]
