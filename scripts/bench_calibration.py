"""Time calibration against aniposelib in the same run: CPU seconds of one core, and errors.

Solving is from detected corners to a rig: lenses, their models, places, the joint fit. aniposelib
gets the same corners. "held out" adds our second fit and the checks, which it has no counterpart
of. Scenes are those of bench_accuracy.py; "pictures" is the recording of a mouse (POSE3D_DATA),
four cameras with 21 ChArUco pictures each, from the files to the rig. Detection alone is timed
by bench_detection.py where that is present.

    python scripts/bench_calibration.py [--quick] [--sizes 6x60,12x300]
"""

import argparse
import contextlib
import io
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")

import numpy as np  # noqa: E402  the number of threads must be set before

sys.path.insert(0, str(Path(__file__).parent))

from bench_accuracy import bound_of, scene  # noqa: E402

from calibration.bounds import volume_error  # noqa: E402
from calibration.multiview import triangulate_dlt  # noqa: E402, F401  imported before the clock
from calibration.poses import posable_views  # noqa: E402
from calibration.solve import calibrate  # noqa: E402

COLD = """
import time
import numpy, scipy.optimize, cv2
start = time.process_time()
import sys
sys.path.insert(0, {scripts!r})
from bench_accuracy import scene
seen = scene(4, 20, 0)[2]
made = time.process_time()
from calibration import calibrate
calibrate(seen, hold_out=False)
print(time.process_time() - made)
"""


def aniposelib_rows(board, seen):
    """Return aniposelib's board, its cameras, and the corners as its rows."""
    from aniposelib.boards import CharucoBoard
    from aniposelib.cameras import CameraGroup

    theirs = CharucoBoard(
        board.squares_x,
        board.squares_y,
        square_length=board.square_length,
        marker_length=board.marker_length,
        marker_bits=4,
        dict_size=250,
    )
    posable, rows = posable_views(seen), []
    for i in range(len(seen.cameras)):
        found = []
        for k in np.flatnonzero(posable[i]):
            ids = np.flatnonzero(np.isfinite(seen.corners[i, k, :, 0]))
            corners = seen.corners[i, k, ids].reshape(-1, 1, 2)
            found.append({"framenum": (0, int(k)), "corners": corners, "ids": ids[:, np.newaxis]})
        rows.append(theirs.fill_points_rows(found))
    group = CameraGroup.from_names(list(seen.cameras))
    for camera, size in zip(group.cameras, seen.image_sizes, strict=True):
        camera.set_size(tuple(int(side) for side in size))
    return theirs, group, rows


def timed(call):
    """Return what a call gives, or the error, and its CPU seconds."""
    start = time.process_time()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            result = call()
    except Exception as error:  # noqa: BLE001  a peer may fail in any way
        result = error
    return result, time.process_time() - start


def solve_rows(sizes, repeats):
    """Print times and errors of solving."""
    from calibration.anipose import from_camera_group

    print(f"{'cameras':>8} {'boards':>7} {'ours s':>8} {'+ held out':>11} {'aniposelib s':>13} "
          f"{'ratio':>7} {'ours/bound':>11} {'theirs/bound':>13}")  # fmt: skip
    for n_cameras, n_frames in sizes:
        rig, poses, seen, rng = scene(n_cameras, n_frames, 0)
        points, bound = bound_of(rig, poses, seen, rng)
        calibrate(seen, hold_out=False)  # loads what is to be loaded
        plain = [timed(lambda: calibrate(seen, hold_out=False)) for _ in range(repeats)]  # noqa: B023
        whole = [timed(lambda: calibrate(seen))[1] for _ in range(repeats)]  # noqa: B023
        board, group, rows = aniposelib_rows(seen.board, seen)
        problem, theirs = timed(
            lambda: group.calibrate_rows(rows, board, verbose=False)  # noqa: B023
        )
        own = float(np.median([seconds for _, seconds in plain]))
        error = volume_error(plain[0][0].rig, rig, points) / bound
        if isinstance(problem, Exception):
            told = f"failed: {str(problem)[:40]}"
        else:
            found = from_camera_group(group, units="mm")
            told = f"{volume_error(found, rig, points) / bound:.2f}"
        print(f"{n_cameras:>8} {n_frames:>7} {own:>8.3f} {np.median(whole):>11.3f} {theirs:>13.2f} "
              f"{theirs / own:>7.0f} {error:>11.2f} {told:>13}", flush=True)  # fmt: skip


LARGE = """
import re, sys, time
sys.path.insert(0, {scripts!r})
from bench_accuracy import scene
from calibration import calibrate
seen = scene(32, 300, 0)[2]
start = time.process_time()
calibrate(seen, hold_out=False)
seconds = time.process_time() - start
# not getrusage: it counts what the process was forked from
peak = re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]
print(seconds, int(peak) / 1e6)
"""


def large_row():
    """Print time and memory of 32 cameras with 300 boards, in a process of its own."""
    code = LARGE.format(scripts=str(Path(__file__).parent))
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    seconds, peak = map(float, done.stdout.split()[-2:])
    print(f"{32:>8} {300:>7} {seconds:>8.3f}   peak {peak:.2f} GB, NumPy and the scene included",
          flush=True)  # fmt: skip


def pictures_row():
    """Print the time from the pictures of the mouse recording to the rig."""
    data = os.environ.get("POSE3D_DATA")
    if not data:
        print("pictures to rig: set POSE3D_DATA to the folder of recordings")
        return
    from aniposelib.boards import CharucoBoard as TheirBoard
    from aniposelib.cameras import CameraGroup

    from calibration import CharucoBoard, detect_boards

    folder = Path(data) / "sleap_anipose_minimal_session"
    names = ("back", "mid", "side", "top")
    board = CharucoBoard(8, 11, 24.0, 18.75, "DICT_4X4_1000")
    sources = {name: folder / name / "calibration_images" for name in names}

    def ours():
        return calibrate(detect_boards(board, sources))

    def theirs():
        their = TheirBoard(
            8, 11, square_length=24.0, marker_length=18.75, marker_bits=4, dict_size=1000
        )
        rows = [their.detect_images(sorted(map(str, sources[n].glob("*.jpg")))) for n in names]
        for part in rows:
            for row in part:  # the number of the moment, the last of the name
                row["framenum"] = (0, int(Path(row["fname"]).stem.rpartition("-")[2]))
        group = CameraGroup.from_names(list(names))
        for camera in group.cameras:
            camera.set_size((1280, 1024))
        group.calibrate_rows([their.fill_points_rows(part) for part in rows], their, verbose=False)

    ours()
    result, own = timed(ours)
    problem, peer = timed(theirs)
    told = f" (it failed: {problem})" if isinstance(problem, Exception) else ""
    print(f"pictures to rig: {own:.2f} s ({result.held_out_rms_px:.3f} px held out), aniposelib "
          f"{peer:.1f} s{told}: {peer / own:.0f} times", flush=True)  # fmt: skip


def cold_row():
    """Print what a first small job costs over importing NumPy, SciPy and OpenCV."""
    code = COLD.format(scripts=str(Path(__file__).parent))
    root = str(Path(__file__).resolve().parent.parent)
    for wish in ("never", "auto"):
        environment = os.environ | {"PYTHONPATH": root, "POSE3D_COMPILE": wish}
        seconds = [
            float(
                subprocess.run(
                    [sys.executable, "-c", code], env=environment, capture_output=True, text=True,
                    check=True,
                ).stdout
            )
            for _ in range(3)
        ]  # fmt: skip
        print(f"cold start, 4 cameras x 20 boards, compiling {wish}: {np.median(seconds):.2f} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small sizes alone")
    parser.add_argument("--sizes", default="2x60,4x60,6x60,12x300", help="cameras x boards")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    sizes = "2x20,4x20" if arguments.quick else arguments.sizes
    solve_rows([tuple(map(int, size.split("x"))) for size in sizes.split(",")], 3)
    if not arguments.quick:
        large_row()
        pictures_row()
    cold_row()


if __name__ == "__main__":
    main()
