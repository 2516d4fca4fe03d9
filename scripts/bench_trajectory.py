"""Measure refinement over time against aniposelib in the same run: CPU seconds, error over bound.

A tumbling animal of 20 keypoints and 19 rigid limbs (motion of 0.3 to 5 Hz), 100 frames a second,
seen by six cameras on a ring with a spread of 1 to 2 px that differs by camera and keypoint; 10 %
of the views missing, 7 % gross errors of 40 to 300 px. The bound is Cramer-Rao's frame by frame,
with the gross errors known. "held" is the share of the truth in the stated 95 % ellipsoids.

    python scripts/bench_trajectory.py [--frames 3000] [--cameras 6]
"""

import argparse
import os
import time
import warnings

for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")

import numpy as np  # noqa: E402  the number of threads must be set before

from calibration.multiview import projection_jacobian  # noqa: E402
from calibration.rotations import rotation_matrices  # noqa: E402
from calibration.synthetic import ring_rig  # noqa: E402
from pose3d.keypoints import Keypoints2D  # noqa: E402
from pose3d.skeleton import Skeleton  # noqa: E402
from pose3d.trajectory import refine_trajectory  # noqa: E402
from pose3d.triangulation import triangulate  # noqa: E402

N_KEYPOINTS, FPS = 20, 100.0


def wander(n_frames, size, rng):
    """Return smooth random motion of some root mean square: waves of 0.3 to 5 Hz."""
    at = np.arange(n_frames)[:, np.newaxis] / FPS
    frequency = np.geomspace(0.3, 5, 16)
    waves = 0.0
    for one in frequency:
        phase = rng.uniform(0, 2 * np.pi, size=3)
        # power falls with the fourth power of the frequency above 1 Hz, as limbs' does
        strength = rng.normal(size=3) / (1 + one**2)
        waves = waves + strength * np.sin(2 * np.pi * one * at + phase)
    return waves * (size / np.sqrt((waves**2).mean()))


def tumble(n_frames, rng):
    """Return a skeleton, its keypoints' places (n_frames, n_keypoints, 3) and limb lengths."""
    parents = np.array([max(0, k - 1 - int(rng.integers(0, 3))) for k in range(1, N_KEYPOINTS)])
    names = tuple(f"point {k}" for k in range(N_KEYPOINTS))
    skeleton = Skeleton(names, tuple((names[p], names[k + 1]) for k, p in enumerate(parents)))
    lengths = rng.uniform(20, 60, size=N_KEYPOINTS - 1)
    places = np.empty((n_frames, N_KEYPOINTS, 3))
    places[:, 0] = wander(n_frames, 100, rng)
    turned = rotation_matrices(wander(n_frames, 0.8, rng))
    for k, parent in enumerate(parents):
        rest = rng.normal(size=3)
        rest *= lengths[k] / np.linalg.norm(rest)
        bent = rotation_matrices(wander(n_frames, 0.3, rng))
        places[:, k + 1] = places[:, parent] + np.einsum("fij,fjk,k->fi", turned, bent, rest)
    return skeleton, places, lengths


def film(rig, places, rng, share_wrong=0.07):
    """Return what cameras see, their spread, and the frame-by-frame bound's errors (drawn)."""
    points = places[:, np.newaxis]
    exact = rig.project(points)
    spread = rng.uniform(1, 2, size=(len(rig), N_KEYPOINTS))
    xy = exact + rng.normal(size=exact.shape) * spread[:, None, None, :, None]
    wrong = rng.uniform(size=exact.shape[:-1]) < share_wrong
    gone = rng.uniform(size=exact.shape[:-1]) < 0.1
    angle, far = rng.uniform(0, 2 * np.pi, wrong.shape), rng.uniform(40, 300, wrong.shape)
    shift = np.stack([np.cos(angle), np.sin(angle)], axis=-1) * far[..., None]
    xy = np.where(gone[..., None], np.nan, np.where(wrong[..., None], xy + shift, xy))
    information = 0
    for i, camera in enumerate(rig):
        slope = projection_jacobian(camera, points)
        weight = ~(wrong[i] | gone[i]) / spread[i] ** 2
        information = information + np.einsum("...ki,...kj,...->...ij", slope, slope, weight)
    judged = (~(wrong | gone)).sum(axis=0) >= 2
    root = np.linalg.cholesky(np.linalg.inv(information[judged]))
    bound = np.linalg.norm(root @ rng.normal(size=(judged.sum(), 3, 1)), axis=(1, 2))
    names = tuple(f"point {k}" for k in range(N_KEYPOINTS))
    times = np.arange(len(places)) / FPS
    seen = Keypoints2D(xy, np.ones(xy.shape[:-1]), rig.names, ("animal",), names, times)
    return seen, spread, bound, judged


def held(found, places):
    """Return the share of the truth in the stated 95 % ellipsoids: all, and filled points."""
    off = found.xyz - places[:, np.newaxis]
    there = np.isfinite(off[..., 0])
    chi2 = np.full(there.shape, np.nan)
    inverse = np.linalg.inv(found.covariance[there])
    chi2[there] = np.einsum("ni,nij,nj->n", off[there], inverse, off[there])
    inside = chi2 < 7.815
    filled = found.filled & there
    return inside[there].mean(), inside[filled].mean() if filled.any() else np.nan


def timed(call):
    """Return the result and CPU seconds of a call."""
    start = time.process_time()
    result = call()
    return result, time.process_time() - start


def row(name, errors, bound, seconds, n_points, base, extra=""):
    """Print one method's figures."""
    there = errors[np.isfinite(errors)]
    rate = n_points / seconds
    ratio = f"{rate / base:>8,.0f}" if base else " " * 8
    print(
        f"{name:<34} {rate:>11,.0f} {ratio} {np.median(there) / np.median(bound):>8.3f} "
        f"{np.sqrt((there**2).mean()) / np.sqrt((bound**2).mean()):>8.2f} "
        f"{np.quantile(there, 0.99):>8.2f} {1 - len(there) / len(errors):>8.2%} {extra}",
        flush=True,
    )
    return rate


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--frames", type=int, default=3000)
    parser.add_argument("--cameras", type=int, default=6)
    parser.add_argument("--peer-frames", type=int, default=500, help="0 leaves aniposelib out")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(4)
    rig = ring_rig(arguments.cameras, radius=1000, rng=rng)
    skeleton, places, _ = tumble(arguments.frames, rng)
    seen, spread, bound, judged = film(rig, places, rng)
    print(f"{'method':<34} {'points/s':>11} {'ratio':>8} {'median':>8} {'RMSE':>8} {'p99 mm':>8} "
          f"{'missing':>8}   held: all, filled")  # fmt: skip
    bases = {}
    if arguments.peer_frames:
        from calibration.anipose import to_camera_group

        some = slice(arguments.peer_frames)
        group, xy = to_camera_group(rig), seen.xy[:, some, 0]
        group.triangulate_optim(xy[:, :60])  # compiles
        few = judged[some, 0]
        limits = bound[np.cumsum(judged.ravel())[np.flatnonzero(judged[some].ravel())] - 1]
        for name, limbs in (("aniposelib optim", []), ("aniposelib optim, limbs", 1)):
            limbs = skeleton.edge_indices.tolist() if limbs else []
            found, seconds = timed(lambda: group.triangulate_optim(xy, constraints=limbs))  # noqa: B023
            errors = np.linalg.norm(found - places[some], axis=-1)[few]
            bases[bool(limbs)] = row(name, errors, limits, seconds, xy[0, ..., 0].size, None)
    frame = triangulate(seen, rig)
    frame, seconds = timed(lambda: triangulate(seen, rig))
    errors = np.linalg.norm(frame.xyz - places[:, np.newaxis], axis=-1)[judged]
    row("frame by frame", errors, bound, seconds, judged.size, None)
    refine_trajectory(frame, skeleton)
    for name, limbs, order in (
        ("refined, order 2", "none", 2),
        ("refined", "none", 3),
        ("refined, limbs", "soft", 3),
        ("refined, rigid limbs", "rigid", 3),
    ):
        found, more = timed(
            lambda: refine_trajectory(frame, skeleton, limbs=limbs, order=order)  # noqa: B023
        )
        errors = np.linalg.norm(found.xyz - places[:, np.newaxis], axis=-1)[judged]
        share, filled = held(found, places)
        base = bases.get(limbs != "none")
        extra = f"{share:.1%}, {filled:.1%}"
        row(name, errors, bound, seconds + more, judged.size, base, extra)


if __name__ == "__main__":
    main()
