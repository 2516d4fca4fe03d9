"""The loop of labelling, measured: frames chosen for what went wrong against k-means.

A rendered animal walks before two cameras in changing light, and the truth plays the annotator with
its noise. Both ways begin with the same 8 moments chosen by k-means; then 8 more, three times: by
`extract-outlier-frames` from what the last network found, or by `extract-frames`. Every network is
trained from scratch for the same CPU minutes. The error is the mean distance of visible keypoints
from the truth on the moments that neither way has labelled.

    python scripts/bench_loop.py [--seeds 0 1] [--minutes 1] [--frames 360]
"""

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

for _threads in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ.setdefault(_threads, "1")

import numpy as np  # noqa: E402  the number of threads must be set before

from calibration import save_rig  # noqa: E402
from calibration.video import VideoWriter, read_frames  # noqa: E402
from pose3d import steps  # noqa: E402
from pose3d.formats.keypoints import load_keypoints_2d  # noqa: E402
from pose3d.project import Project  # noqa: E402
from pose3d.steps import demonstration  # noqa: E402
from pose3d.steps.frame_pictures import pictured  # noqa: E402
from pose3d.steps.moments import recording_moments  # noqa: E402
from pose3d.synthetic import load_recording, render_recording  # noqa: E402

PER_ROUND, ROUNDS = 8, 3
HOW = {"scale": 0.5, "crop_size": 128, "rotation": 15.0, "flip": False}


def film(folder, n_frames, seed, n_cameras=2):
    """Render a recording, then let the light change in it."""
    recorded = folder / "recorded"
    truth = render_recording(
        recorded, n_cameras=n_cameras, n_frames=n_frames, n_board_frames=2, image_size=(400, 300),
        seed=seed,
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    times = np.arange(n_frames)
    light = 1 + 0.45 * np.sin(times / 40 + rng.uniform(0, 6))
    for start in rng.integers(0, n_frames - 20, 3):
        light[start : start + 15] *= 0.35  # a cloud, or somebody at the lamp
    for camera in truth.rig.names:
        path = recorded / "videos" / f"{camera}.mp4"
        frames = [frame.image for frame in read_frames(path)]
        with VideoWriter(path, 30) as video:
            for image, factor in zip(frames, light, strict=True):
                video.write(np.clip(image * factor, 0, 255).astype(np.uint8))
    return recorded


def start(folder, recorded, seed, count=PER_ROUND):
    """Make a project whose first moments are labelled."""
    demonstration._make_project(folder, recorded)
    save_rig(load_recording(recorded).rig, folder / "calibration.toml")
    steps.extract_frames(folder, count=count, seed=seed)
    label(folder, recorded, seed)
    return folder


def moments_with_pictures(folder):
    """Return the moments that have pictures."""
    project = Project.load(folder)
    take = project.recording("walk")
    return np.array(sorted(pictured(project, take, recording_moments(take))))


def label(folder, recorded, seed):
    """Label every picture as a person would."""
    demonstration._label(folder, recorded, moments_with_pictures(folder), seed)


def train(folder, name, minutes, seed, **how):
    """Train on all labels for some CPU minutes, analyse and triangulate."""
    from pose3d.networks import training

    training.time = SimpleNamespace(monotonic=time.process_time)
    steps.create_training_dataset(folder, name=name, train_fraction=1.0, seed=seed)
    steps.train_network(
        folder, name=name, minutes=minutes, steps=1_000_000, seed=seed, **HOW, **how
    )
    steps.analyze_recording(folder, "walk", network=name, engine="bfloat16", restart=True)
    steps.triangulate_recording(folder, "walk", trust_calibration=True)


def errors(folder, recorded):
    """Return the distance of visible keypoints from the truth, (n_cameras, n_frames, ...)."""
    seen = load_keypoints_2d(folder / "keypoints-2d" / "walk.h5")
    truth = load_recording(recorded).keypoints_2d
    visible = truth.likelihood > 0.5
    return np.where(visible, np.linalg.norm(seen.xy - truth.xy, axis=-1), np.nan)


def compare(seed, minutes, n_frames):
    """Print both curves of one seed."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        recorded = film(folder, n_frames, seed)
        first = start(folder / "outliers", recorded, seed)
        train(first, "network-0", minutes, seed)
        shutil.copytree(first, folder / "kmeans")
        found = {"outliers": [errors(first, recorded)], "kmeans": [errors(first, recorded)]}
        for turn in range(1, ROUNDS + 1):
            for way in found:
                project = folder / way
                if way == "outliers":
                    steps.extract_outlier_frames(project, "walk", count=PER_ROUND)
                else:
                    steps.extract_frames(project, count=PER_ROUND, seed=seed + turn)
                label(project, recorded, seed)
                train(project, f"network-{turn}", minutes, seed)
                found[way].append(errors(project, recorded))
        used = [moments_with_pictures(folder / way) for way in found]
        left = np.setdiff1d(np.arange(n_frames), np.concatenate(used))
        for way, each in found.items():
            means = [float(np.nanmean(error[:, left])) for error in each]
            tails = [float(np.nanquantile(error[:, left], 0.95)) for error in each]
            shown = "  ".join(
                f"{PER_ROUND * (i + 1)}: {mean:.2f} ({tail:.1f})"
                for i, (mean, tail) in enumerate(zip(means, tails, strict=True))
            )
            print(f"seed {seed} {way:9s} labels: mean px (95 %)  {shown}", flush=True)


def main():
    """Compare the two ways over seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--minutes", type=float, default=1.0, help="CPU minutes of a training")
    parser.add_argument("--frames", type=int, default=360)
    arguments = parser.parse_args()
    for seed in arguments.seeds:
        compare(seed, arguments.minutes, arguments.frames)


if __name__ == "__main__":
    main()
