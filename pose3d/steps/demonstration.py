"""Step: the whole job on a rendered recording, judged against the truth."""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from calibration.errors import DataError
from calibration.files import write_text
from calibration.results import Outcome

__all__ = ["demo"]

#: The file that says that a folder is a demo's, what it was asked for and what it has done.
MARKER = "demo.json"

_RECORDING = "walk"

#: How far beside the point a person clicks: standard deviation of each coordinate in px.
_HAND_PX = 0.5

#: How the network is trained: the cameras stand upright, and see the animal 150 px long.
_TRAINING = {"scale": 0.5, "crop_size": 128, "rotation": 15.0, "flip": False}


def demo(
    folder: str | os.PathLike = "demo",
    *,
    n_cameras: int = 4,
    n_frames: int = 120,
    n_labeled: int = 20,
    train_steps: int = 2500,
    train_minutes: float = 1.75,
    seed: int = 0,
    open_browser: bool = True,
) -> Outcome:
    """Do the whole job on a rendered recording, and tell how far the result is from the truth.

    Renders a rat that walks through an arena and a board that tumbles, calibrates the cameras,
    labels, trains a network here and now, finds the keypoints in 2D and 3D and shows them. Run
    it again to go on where it was interrupted.

    Parameters
    ----------
    folder : path
        Where to work: a new folder, or that of an earlier demo.
    n_cameras : int
        Cameras around the arena.
    n_frames : int
        Frames of the recording, 30 a second.
    n_labeled : int
        Moments that are labelled in every camera; the others are judged.
    train_steps : int
        Length of the training.
    train_minutes : float
        Time after which it ends if that comes first, as on a slow or busy machine.
    seed : int
        Of the pictures, the labels and the training.
    open_browser : bool
        Open the viewer at the end, where there is a screen.
    """
    from pose3d import steps

    if not 2 <= n_cameras <= 12:
        raise ValueError(f"n_cameras is {n_cameras}; expected 2 to 12.")
    if not 4 <= n_labeled <= n_frames // 2:
        raise ValueError(
            f"n_labeled is {n_labeled}; expected 4 to {n_frames // 2}, half of n_frames, so that "
            "there are frames to judge."
        )
    folder = Path(folder).resolve()
    recorded, project = folder / "recorded", folder / "project"
    labeled = np.linspace(0, n_frames - 1, n_labeled).round().astype(int)
    training = _TRAINING | {"steps": train_steps, "minutes": train_minutes, "seed": seed}
    asked = {
        "n_cameras": n_cameras, "n_frames": n_frames, "n_labeled": n_labeled,
        "train_steps": train_steps, "train_minutes": train_minutes, "seed": seed,
    }  # fmt: skip
    seconds, failed = _perform(
        folder,
        asked,
        {
            "render": lambda: _render(recorded, n_cameras, n_frames, seed),
            "create-project": lambda: _make_project(project, recorded),
            "label": lambda: _label(project, recorded, labeled, seed),
            "calibrate-rig": lambda: steps.calibrate_rig(project),
            "create-training-dataset": lambda: steps.create_training_dataset(project, seed=seed),
            "train-network": lambda: steps.train_network(project, **training),
            "evaluate-network": lambda: steps.evaluate_network(project),
            "analyze-recording": lambda: steps.analyze_recording(project, _RECORDING),
            "triangulate-recording": lambda: steps.triangulate_recording(project, _RECORDING),
        },
    )
    started = time.perf_counter()
    shown = steps.show_recording(project, _RECORDING, open_browser=open_browser)
    seconds["show-recording"] = time.perf_counter() - started
    unlabeled = np.setdiff1d(np.arange(n_frames), labeled)
    figures = _judge(project, recorded, unlabeled)
    figures |= {"seconds": seconds, "total_seconds": sum(seconds.values())}
    return Outcome(
        path=shown.path,
        summary=(
            f"On the {len(unlabeled)} frames without labels, keypoints are "
            f"{figures['points_3d']['median_error_mm']:.1f} mm (median) from the truth, on an "
            f"animal of 25 cm; {figures['total_seconds']:.0f} s in all."
        ),
        table=_table(figures, seconds),
        figures=figures,
        failed=" ".join(failed),
    )


def _perform(
    folder: Path, asked: Mapping[str, Any], actions: Mapping[str, Callable[[], Any]]
) -> tuple[dict[str, float], list[str]]:
    """Do what an earlier run has not done yet.

    Returns
    -------
    seconds : dict of str to float
        How long each step took, in this run or an earlier one.
    failed : list of str
        What steps said that could not answer; they are done again in the next run.
    """
    seconds, failed = _load_seconds(folder, asked), []
    for number, (name, action) in enumerate(actions.items(), 1):
        before = ", done before" if name in seconds else ""
        tqdm.write(f"[{number}/{len(actions) + 1}] {name}{before}", file=sys.stderr)
        if before:
            continue
        started = time.perf_counter()
        outcome = action()
        seconds[name] = time.perf_counter() - started
        if outcome is not None and outcome.failed:
            failed.append(f"{name}: {outcome.failed}")
        if not failed:
            _save_seconds(folder, asked, seconds)
    tqdm.write(f"[{len(actions) + 1}/{len(actions) + 1}] show-recording", file=sys.stderr)
    return seconds, failed


def _load_seconds(folder, asked):
    """Read what a demo has done in a folder; refuse a folder that is not a demo's."""
    path = folder / MARKER
    if path.is_file():
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["asked"] != asked:
            was = ", ".join(f"{key} {value}" for key, value in record["asked"].items())
            raise DataError(
                f"{folder} holds a demo with other settings ({was}). Choose another folder, or "
                "the same settings to go on with it."
            )
        return record["seconds"]
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(
            f"{folder} is there already and is not a demo's: nothing in it is touched. Choose "
            "another folder."
        )
    _save_seconds(folder, asked, {})
    return {}


def _save_seconds(folder, asked, seconds):
    """Write down what was done."""
    write_text(folder / MARKER, json.dumps({"asked": asked, "seconds": seconds}, indent=2))


def _render(recorded, n_cameras, n_frames, seed):
    """Film the animal and the board."""
    from pose3d.synthetic import render_recording

    render_recording(
        recorded,
        n_cameras=n_cameras,
        n_frames=n_frames,
        seed=seed,
        progress=lambda videos: tqdm(videos, "render", unit="video", disable=None),
    )


def _make_project(project, recorded):
    """Make a project of the videos."""
    from pose3d import steps
    from pose3d.synthetic import SKELETON, load_recording

    if not (project / "config.yaml").exists():
        steps.create_project(
            project,
            cameras=list(load_recording(recorded).rig.names),
            keypoints=list(SKELETON.keypoints),
            skeleton=[f"{first}-{second}" for first, second in SKELETON.edges],
            symmetric=[f"{left}:{right}" for left, right in SKELETON.symmetric],
            task="demo",
            scorer="hand",
            board=recorded / "truth" / "board.toml",
            calibration_videos=recorded / "calibration",
        )
    steps.add_recording(project, _RECORDING, [str(recorded / "videos")], copy=True, overwrite=True)


def _label(project, recorded, frames, seed):
    """Label some moments in every camera as a person would, who cannot see what is hidden."""
    from calibration.video import read_frames, write_image
    from pose3d.labels import LabeledFrames
    from pose3d.project import Project, save_labels
    from pose3d.synthetic import load_recording

    project = Project.load(project)
    truth = load_recording(recorded)
    by_hand = truth.labels(_HAND_PX, seed=seed)
    images, cameras, numbers, xy = [], [], [], []
    for i, (camera, video) in enumerate(project.recording(_RECORDING).videos.items()):
        folder = project.labeled_folder(_RECORDING, camera)
        for frame in read_frames(video, frames=frames):
            path = folder / f"img{frame.index:05d}.png"
            write_image(path, frame.image)
            images.append(path.relative_to(project.path).as_posix())
            cameras.append(camera)
            numbers.append(frame.index)
            xy.append(by_hand[i, frame.index])
    save_labels(
        project,
        LabeledFrames(
            xy=np.array(xy),
            images=tuple(images),
            recordings=(_RECORDING,) * len(images),
            cameras=tuple(cameras),
            frames=np.array(numbers),
            individuals=project.individuals,
            keypoints=project.skeleton.keypoints,
        ),
    )


def _judge(project, recorded, frames) -> dict[str, dict[str, float]]:
    """Compare cameras, 2D and 3D keypoints with the truth, on frames that nobody labelled."""
    from calibration.formats.toml import load_calibration
    from pose3d.formats.keypoints import load_keypoints_2d, load_keypoints_3d
    from pose3d.project import Project
    from pose3d.synthetic import load_recording
    from pose3d.synthetic.judging import judge_2d, judge_3d, judge_rig

    project = Project.load(project)
    truth = load_recording(recorded)
    calibrated = load_calibration(project.calibration_path(_RECORDING))
    seen = load_keypoints_2d(project.keypoints_2d_path(_RECORDING))
    found = load_keypoints_3d(project.keypoints_3d_path(_RECORDING))
    rigs = {"rig": calibrated.rig, "true_rig": truth.rig}
    return {
        "calibration": judge_rig(points_3d=truth.keypoints_3d.xyz, **rigs)
        | {"held_out_rms_px": calibrated.held_out_rms_px},
        "points_2d": judge_2d(seen, truth.keypoints_2d, frames, min_likelihood=project.pcutoff),
        "points_3d": judge_3d(found, truth.keypoints_3d, frames, **rigs),
    }


def _table(figures, seconds):
    """Say for every step how long it took and how far its result is from the truth."""
    rig, flat, space = (figures[key] for key in ("calibration", "points_2d", "points_3d"))
    told = {
        "calibrate-rig": (
            f"cameras within {rig['position_error_mm']:.2f} mm and "
            f"{rig['rotation_error_degrees']:.2f} degrees of where they are; boards held out "
            f"{rig['held_out_rms_px']:.2f} px; points misplaced by "
            f"{rig['calibration_error_mm']:.2f} mm"
        ),
        "analyze-recording": (
            f"median {flat['median_error_px']:.1f} px, 95 % within {flat['p95_error_px']:.1f} px; "
            f"{flat['found']:.0%} of the visible and {flat['hidden_found']:.0%} of the hidden "
            "keypoints are called sure"
        ),
        "triangulate-recording": (
            f"median {space['median_error_mm']:.1f} mm, 95 % within "
            f"{space['p95_error_mm']:.1f} mm; "
            f"{space['present']:.0%} of the keypoints, {space['visible_present']:.0%} of those "
            f"that two cameras can see; {space['inside_claimed']:.0%} within their claimed 95 %"
        ),
    }
    rows = [
        {"step": name, "seconds": round(spent, 1), "against the truth": told.get(name, "")}
        for name, spent in seconds.items()
    ]
    total = {"step": "all", "seconds": round(sum(seconds.values()), 1), "against the truth": ""}
    return (*rows, total)
