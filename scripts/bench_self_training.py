"""Self-training, measured: what labels that the geometry confirms add to those of a person.

A rendered animal walks before four cameras in changing light; the truth plays the annotator, with
its noise, of a few moments. A first network is trained for some CPU minutes, analyses the
recording, and `extract-confirmed-frames` takes what three views agree on. Then three networks have
the same time in all: one goes on from the first with these labels as well, one goes on without
them, and one begins anew without them. The errors are those of visible keypoints on the moments
that nobody labelled, and, apart, on those of them that were not confirmed frames either.

    python scripts/bench_self_training.py [--seeds 0 1 2] [--labels 5] [--minutes 2]
"""

import argparse
import tempfile
from pathlib import Path

import bench_loop as loop  # first: it sets the number of threads
import numpy as np

from pose3d import steps
from pose3d.formats.keypoints import load_keypoints_2d, load_keypoints_3d
from pose3d.project import PSEUDO_LABELED, Project, load_labels
from pose3d.synthetic import load_recording
from pose3d.synthetic.judging import judge_2d, judge_3d


def tell(folder, recorded, frames, what):
    """Print how far a network's points are from the truth, in images and in space."""
    truth = load_recording(recorded)
    seen = load_keypoints_2d(folder / "keypoints-2d" / "walk.h5")
    found = load_keypoints_3d(folder / "keypoints-3d" / "walk.h5")
    flat = judge_2d(seen, truth.keypoints_2d, frames, min_likelihood=0.6)
    rigs = {"rig": truth.rig, "true_rig": truth.rig}
    space = judge_3d(found, truth.keypoints_3d, frames, **rigs)
    mean = np.nanmean(loop.errors(folder, recorded)[:, frames])
    print(
        f"{what:34s} 2D mean {mean:.2f} px, median {flat['median_error_px']:.2f}, 95 % "
        f"{flat['p95_error_px']:.1f}; {flat['found']:.0%} of visible, {flat['hidden_found']:.0%} "
        f"of hidden called sure; 3D median {space['median_error_mm']:.2f} mm, 95 % "
        f"{space['p95_error_mm']:.1f}; {space['visible_present']:.0%} there, "
        f"{space['inside_claimed']:.0%} in their claimed 95 %",
        flush=True,
    )


def compare(seed, n_labels, minutes, n_frames, n_cameras):
    """Train the four networks of one seed."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        recorded = loop.film(folder, n_frames, seed, n_cameras)
        project = loop.start(folder / "p", recorded, seed, n_labels)
        labeled = loop.moments_with_pictures(project)
        loop.train(project, "first", minutes, seed)
        confirmed = steps.extract_confirmed_frames(project, "walk")
        print(f"seed {seed}, {n_labels} labelled moments: {confirmed.summary}")
        extra = load_labels(Project.load(project), PSEUDO_LABELED)
        places = [load_recording(recorded).rig.names.index(name) for name in extra.cameras]
        true = load_recording(recorded).keypoints_2d.xy[places, extra.frames]
        wrong = np.linalg.norm(extra.xy - true, axis=-1)
        print(f"  they lie {np.nanmedian(wrong):.2f} px from the truth (median), 95 % within "
              f"{np.nanpercentile(wrong, 95):.2f}")  # fmt: skip
        others = np.setdiff1d(np.arange(n_frames), labeled)
        apart = np.setdiff1d(others, extra.frames)
        first = {"weights": str(project / "networks" / "first" / "weights.h5")}
        warm = first | {"learning_rate": 5e-3}
        ways = {
            "first network": None,
            "on, with confirmed frames": (2 * minutes, warm | {"pseudo_labels": True}),
            "on, without": (2 * minutes, warm),
            "anew, without": (3 * minutes, {}),
        }
        for what, way in ways.items():
            if way is not None:
                loop.train(project, what.replace(" ", "-").replace(",", ""), way[0], seed, **way[1])
            tell(project, recorded, others, f"  {what}")
            tell(project, recorded, apart, f"  {what}, frames apart")


def main():
    """Compare over seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--labels", type=int, default=5, help="moments that a person labels")
    parser.add_argument("--minutes", type=float, default=2.0, help="of the first training")
    parser.add_argument("--frames", type=int, default=360)
    parser.add_argument("--cameras", type=int, default=4)
    arguments = parser.parse_args()
    for seed in arguments.seeds:
        compare(seed, arguments.labels, arguments.minutes, arguments.frames, arguments.cameras)


if __name__ == "__main__":
    main()
