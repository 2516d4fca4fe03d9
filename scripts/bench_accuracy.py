"""Hold calibration against the Cramer-Rao bound: errors, stated standard errors, failures.

Synthetic rigs of 2 to 12 cameras on a ring of 1 m, 1280 x 1024, focal lengths of 950 to 1150 px,
principal points some 8 px off, fx and fy 0.1 % apart, k1, k2, p1 and p2; a board of 7 x 10
corners of 30 mm, partly covered, 0.4 px noise. The error is that of points in the filmed volume,
after the best rigid motion; the bound knows which parameters are unknown, not their values.

    python scripts/bench_accuracy.py [--rigs 100] [--parts bound,intervals,failures,frames]
"""

import argparse
import os
import time
import warnings
from dataclasses import replace

for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")

import numpy as np  # noqa: E402  the number of threads must be set before

from calibration.boards import CharucoBoard, Checkerboard  # noqa: E402
from calibration.bounds import drawn_rigs, least_covariance, volume_error  # noqa: E402
from calibration.bundle import free_parameters  # noqa: E402
from calibration.cameras import Camera, CameraRig  # noqa: E402
from calibration.errors import CalibrationError  # noqa: E402
from calibration.multiview import move_rig  # noqa: E402
from calibration.plausibility import distance_between  # noqa: E402
from calibration.rotations import rotation_vectors  # noqa: E402
from calibration.solve import calibrate  # noqa: E402
from calibration.synthetic import moving_board, ring_rig, simulate_detections  # noqa: E402

CHARUCO = CharucoBoard(8, 11, 30.0, 22.0, "DICT_4X4_250")
CHECKER = Checkerboard(8, 11, 30.0)
NOISE_PX = 0.4
#: Cameras and frames of the configurations.
SIZES = ((2, 60), (4, 20), (4, 60), (6, 12), (6, 20), (6, 60), (12, 30), (12, 60))


def real_rig(n_cameras, rng):
    """Return cameras of their own focal lengths, principal point, k1, k2, p1 and p2."""
    cameras = []
    for camera in ring_rig(n_cameras, radius=1000, focal=1050, rng=rng):
        radial = [rng.uniform(-0.25, -0.15), rng.uniform(0.03, 0.09)]
        dist = [*radial, *rng.normal(0, 1e-3, size=2), 0]
        lens = replace(camera.intrinsics, dist=dist)
        cameras.append(Camera(camera.name, lens, camera.rvec, camera.tvec))
    return CameraRig(tuple(cameras))


def scene(n_cameras, n_frames, seed, board=CHARUCO, wrong=0.0):
    """Return rig, board poses and what the cameras see, some of it wrong."""
    rng = np.random.default_rng((n_cameras, n_frames, seed))
    rig = real_rig(n_cameras, rng)
    poses = moving_board(board, n_frames, rng=rng)
    covered = 0.3 if isinstance(board, CharucoBoard) else 0.0
    seen = simulate_detections(rig, board, poses, noise_px=NOISE_PX, covered=covered, rng=rng)
    corners = seen.corners.copy()
    if isinstance(board, Checkerboard):  # whole or not at all, and half of them turned round
        there = np.isfinite(corners).all(axis=(2, 3))
        corners[~there] = np.nan
        turned = rng.uniform(size=there.shape) < 0.5
        corners[turned] = corners[turned][:, ::-1]
    if wrong:  # half of it single corners, half whole boards
        there = np.isfinite(corners[..., 0])
        false = rng.uniform(size=there.shape) < wrong / 2
        false |= (rng.uniform(size=there.shape[:2]) < wrong / 2)[..., np.newaxis]
        anywhere = rng.uniform(0, 1, size=corners.shape) * (1280, 1024)
        corners = np.where((there & false)[..., np.newaxis], anywhere, corners)
    return rig, poses, replace(seen, corners=corners), rng


def bound_of(rig, poses, seen, rng):
    """Return the points in which rigs are scored, and the bound on their error."""
    points = rng.uniform(-150, 150, size=(400, 3))
    free = [free_parameters(camera, coefficients=(0, 1, 2, 3)) for camera in rig]
    covariance = least_covariance(rig, seen, poses, free, NOISE_PX)
    squares = [
        volume_error(each, rig, points) ** 2 for each in drawn_rigs(rig, covariance, 20, rng)
    ]
    return points, float(np.sqrt(np.mean(squares)))


def against_bound(n_rigs):
    """Print errors over the bound."""
    print(f"{'cameras':>8} {'frames':>7} {'rigs':>5} {'RMS/bound':>10} {'largest':>8} {'mm':>7}")
    ratios = []
    each = max(1, n_rigs // len(SIZES))
    for n_cameras, n_frames in SIZES:
        own, errors = [], []
        for seed in range(each):
            rig, poses, seen, rng = scene(n_cameras, n_frames, seed)
            points, bound = bound_of(rig, poses, seen, rng)
            found = calibrate(seen, hold_out=False).rig
            errors.append(volume_error(found, rig, points))
            own.append(errors[-1] / bound)
        ratios += own
        print(
            f"{n_cameras:>8} {n_frames:>7} {each:>5} {np.sqrt(np.mean(np.square(own))):>10.3f} "
            f"{max(own):>8.2f} {np.sqrt(np.mean(np.square(errors))):>7.3f}",
            flush=True,
        )
    print(f"{'pooled':>16} {len(ratios):>5} {np.sqrt(np.mean(np.square(ratios))):>10.3f} "
          f"{max(ratios):>8.2f}")  # fmt: skip


def intervals(n_rigs):
    """Print how often the truth lies within 1.96 stated standard errors."""
    inside = {"focal": [], "principal point": [], "position": [], "rotation": [], "distance": []}
    for seed in range(n_rigs):
        rig, _, seen, _ = scene(4, 25, 1000 + seed)
        result = calibrate(seen, hold_out=False)
        truth = move_rig(rig, rig.cameras[0].camera_from_world)
        errors = result.standard_errors
        for i, (camera, other) in enumerate(zip(result.rig, truth, strict=True)):
            off = camera.intrinsics.matrix - other.intrinsics.matrix
            inside["focal"] += list(np.abs(off[[0, 1], [0, 1]]) < 1.96 * errors["focal"][i])
            inside["principal point"] += list(
                np.abs(off[:2, 2]) < 1.96 * errors["principal_point"][i]
            )
            if i == 0:
                continue
            inside["position"] += list(
                np.abs(camera.position - other.position) < 1.96 * errors["position"][i]
            )
            turn = rotation_vectors(camera.rotation @ other.rotation.T)
            inside["rotation"] += list(np.abs(turn) < 1.96 * errors["rotation"][i])
            found, error = distance_between(result.rig, "cam_0", camera.name)
            true = np.linalg.norm(other.position - truth.cameras[0].position)
            inside["distance"].append(abs(found - true) < 1.96 * error)
    print(f"95 % intervals, {n_rigs} rigs of 4 cameras and 25 frames:")
    for name, hits in inside.items():
        print(f"{name:>16} {100 * np.mean(hits):6.1f} % of {len(hits)}")


def failures(n_rigs):
    """Print how many rigs were refused, called FAIL, or wrong without a word."""
    print(f"{'board':>13} {'wrong':>6} {'rigs':>5} {'refused':>8} {'FAIL':>5} {'> 2.5 bounds':>13}")
    for board, name in ((CHARUCO, "ChArUco"), (CHECKER, "checkerboard")):
        for wrong in (0.0, 0.2):
            refused = failed = far = 0
            for seed in range(n_rigs // 2):
                n_cameras, n_frames = ((2, 12), (4, 12), (4, 40), (6, 25), (8, 30))[seed % 5]
                rig, poses, seen, rng = scene(n_cameras, n_frames, 5000 + seed, board, wrong)
                points, bound = bound_of(
                    rig, poses, scene(n_cameras, n_frames, 5000 + seed, board)[2], rng
                )
                try:
                    result = calibrate(seen, hold_out=False)
                except CalibrationError as error:
                    refused += 1
                    print("   refused:", n_cameras, n_frames, seed, str(error)[:150])
                    continue
                ratio = volume_error(result.rig, rig, points) / bound
                causes = [f for f in result.verdict.findings if f.level == "FAIL"]
                failed += bool(causes)
                far += ratio > 2.5
                if causes or ratio > 2.5:
                    told = "; ".join(f"{f.name}: {f.found}" for f in causes)
                    print(f"   {n_cameras} x {n_frames}, {seed}: {ratio:.2f} bounds, {told[:200]}")
            print(f"{name:>13} {wrong:>6.0%} {n_rigs // 2:>5} {refused:>8} {failed:>5} {far:>13}",
                  flush=True)  # fmt: skip


def frames_needed(n_rigs):
    """Print the error of 6 cameras by number of frames."""
    print("6 cameras, median error in mm by frames:")
    for n_frames in (10, 12, 15, 20, 30, 60):
        errors = []
        for seed in range(max(5, n_rigs // 10)):
            rig, _, seen, rng = scene(6, n_frames, 9000 + seed)
            points = rng.uniform(-150, 150, size=(400, 3))
            try:
                errors.append(volume_error(calibrate(seen, hold_out=False).rig, rig, points))
            except CalibrationError:
                errors.append(np.inf)
        print(f"{n_frames:>8} {np.median(errors):8.3f} (worst {max(errors):.3f})", flush=True)


PARTS = {
    "bound": against_bound,
    "intervals": intervals,
    "failures": failures,
    "frames": frames_needed,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rigs", type=int, default=100, help="rigs in each part")
    parser.add_argument("--parts", default=",".join(PARTS), help="which parts, with commas")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    for part in arguments.parts.split(","):
        start = time.process_time()
        PARTS[part](arguments.rigs)
        print(f"({time.process_time() - start:.0f} CPU s)\n", flush=True)


if __name__ == "__main__":
    main()
