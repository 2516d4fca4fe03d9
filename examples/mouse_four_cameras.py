"""From videos to 3D on a real recording: four cameras, a ChArUco board, a mouse.

    python examples/mouse_four_cameras.py DATA --out FOLDER --steps 3000

DATA is the folder ``sleap_anipose_minimal_session`` (talmolab/sleap-anipose, tests/data): a
board.toml, and for each of the cameras back, mid, side and top a video of 120 frames, 21 pictures
of the board, and the proofread tracks of 15 keypoints.

The script does what a user does, step by step, and measures what can be measured: the board on
pictures kept out of the fit, the network on moments it was not trained on, and the 3D points
against the triangulated proofread tracks.
"""

import argparse
import contextlib
import time
import warnings
from pathlib import Path

import numpy as np

from calibration import DataError, DataWarning, load_rig
from pose3d import Project, load_keypoints_3d, steps, triangulate
from pose3d.formats.sleap import load_analyses

CAMERAS = ["back", "mid", "side", "top"]
SYMMETRIC = ["Ear_L:Ear_R", "Shoulder_left:Shoulder_right", "Haunch_left:Haunch_right"]
RECORDING = "minimal"
FIRST_TEST_FRAME = 96


def tracks_file(data, camera):
    """Return where the proofread tracks of a camera are."""
    return data / camera / f"minimal_{camera}_proofread.analysis.h5"


def make_project(project, data):
    """Make a project, add the recording, take the proofread tracks as labels."""
    steps.create_project(
        project,
        cameras=CAMERAS,
        skeleton_from=tracks_file(data, "top"),
        symmetric=SYMMETRIC,
        board=data / "board.toml",
        calibration_videos=data,
    )
    videos = [f"{camera}={data / camera / f'minimal_{camera}.mp4'}" for camera in CAMERAS]
    steps.add_recording(project, RECORDING, videos)
    tracks = [f"{camera}={tracks_file(data, camera)}" for camera in CAMERAS]
    steps.import_labels(project, RECORDING, tracks)


def distrust_the_sources_calibration(data):
    """Load the calibration that came with the data, in which one camera is a copy of another."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", DataWarning)
        load_rig(data / "calibration.toml")
    print("Of the source's own calibration.toml we are told:")
    for warning in told:
        print(f"  {warning.message}")


def refuse_to_use_it(project, data):
    """Try to triangulate with two cameras in one place, which is refused until told otherwise."""
    try:
        steps.triangulate_recording(project, RECORDING, calibration=data / "calibration.toml")
    except DataError as error:
        print(f"Triangulating with the source's calibration.toml:\n  {error}\n")


def compare_with_proofread_tracks(project, data):
    """Measure the 3D points against the proofread tracks, triangulated with the same rig."""
    rig = load_rig(Project.load(project).calibration_path(RECORDING))
    ours = load_keypoints_3d(Project.load(project).keypoints_3d_path(RECORDING))
    paths = {camera: tracks_file(data, camera) for camera in CAMERAS}
    proofread = load_analyses(paths, fps=ours.fps)
    theirs = triangulate(proofread, rig)
    test = slice(FIRST_TEST_FRAME, None)
    apart = np.linalg.norm(ours.xyz - theirs.xyz, axis=-1)[test]
    stated = np.sqrt(np.trace(ours.covariance, axis1=-2, axis2=-1))[test]
    both = np.isfinite(apart)
    if not both.any():
        print("No point was found in space on the test frames: train for longer (--steps).")
        return
    print(
        f"3D against the proofread tracks, frames {FIRST_TEST_FRAME} and later: median "
        f"{np.median(apart[both]):.2f} mm, 95 % within {np.percentile(apart[both], 95):.2f} mm; "
        f"{np.isfinite(ours.xyz[test]).all(-1).mean():.0%} of points found "
        f"({np.isfinite(theirs.xyz[test]).all(-1).mean():.0%} from the tracks); "
        f"median stated error {np.median(stated[both]):.2f} mm"
    )


def print_table(outcome):
    """Print what a step found."""
    print(f"\n{outcome.summary}")
    for row in outcome.table:
        cells = [
            f"{value:.2f}" if isinstance(value, float) else str(value) for value in row.values()
        ]
        print("  " + "  ".join(f"{cell:>14}" for cell in cells))
    print("  (" + ", ".join(outcome.table[0]) + ")")


@contextlib.contextmanager
def timed(seconds, step):
    """Note how long a step takes."""
    start = time.perf_counter()
    yield
    seconds[step] = time.perf_counter() - start


def main():
    """Run every step and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="the folder sleap_anipose_minimal_session")
    parser.add_argument("--out", type=Path, default=Path("runs/mouse"), help="where to work")
    parser.add_argument("--steps", type=int, default=3000, help="length of the training")
    arguments = parser.parse_args()
    data, project = arguments.data.resolve(), arguments.out

    seconds = {}
    distrust_the_sources_calibration(data)
    if not (project / "config.yaml").exists():
        with timed(seconds, "project"):
            make_project(project, data)
    with timed(seconds, "calibration"):
        print_table(steps.calibrate_rig(project))
    with timed(seconds, "training"):
        steps.create_training_dataset(project, test_from=FIRST_TEST_FRAME)
        steps.train_network(project, steps=arguments.steps)
    with timed(seconds, "evaluation"):
        print_table(steps.evaluate_network(project))
    with timed(seconds, "analysis"):
        steps.analyze_recording(project, RECORDING)
    refuse_to_use_it(project, data)
    with timed(seconds, "triangulation"):
        print_table(steps.triangulate_recording(project, RECORDING))
    with timed(seconds, "viewer"):
        viewer = steps.show_recording(project, RECORDING, open_browser=False)

    compare_with_proofread_tracks(project, data)
    print("Seconds: " + ", ".join(f"{step} {spent:.0f}" for step, spent in seconds.items()))
    print(f"Viewer: {viewer.path}")


if __name__ == "__main__":
    main()
