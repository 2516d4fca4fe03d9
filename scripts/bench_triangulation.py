"""Measure triangulation against aniposelib in the same run: CPU seconds, and error over bound.

Synthetic cameras on a ring; spread of 1 to 2 px that differs by camera and keypoint, 10 % of
the views missing, 7 % gross errors of 40 to 300 px where robust methods are compared. The
bound is Cramer-Rao's with the gross errors known; errors are medians, judged where two right
views are left. "told" knows the spread, "learned" does not.

    python scripts/bench_triangulation.py [--frames 5000] [--cameras 2,4,6,12]
"""

import argparse
import os
import time
import warnings

for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")

import numpy as np  # noqa: E402  the number of threads must be set before

from calibration.multiview import projection_jacobian  # noqa: E402
from calibration.synthetic import ring_rig  # noqa: E402
from pose3d.keypoints import Keypoints2D  # noqa: E402
from pose3d.triangulation import triangulate  # noqa: E402

N_KEYPOINTS = 20


def scene(n_cameras, n_frames, share_wrong, rng):
    """Return rig, points, what the cameras see, its spread, and bound on the errors."""
    rig = ring_rig(n_cameras, radius=1500, rng=rng)
    points = rng.uniform(-200, 200, size=(n_frames, 1, N_KEYPOINTS, 3))
    exact = rig.project(points)
    spread = rng.uniform(1, 2, size=(n_cameras, N_KEYPOINTS))
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
    names = tuple(f"point {i}" for i in range(N_KEYPOINTS))
    times = np.arange(n_frames) / 100
    seen = Keypoints2D(xy, np.ones(xy.shape[:-1]), rig.names, ("animal",), names, times)
    return rig, points, seen, spread, bound, judged


def camera_group(rig):
    """Return aniposelib's cameras."""
    from aniposelib.cameras import Camera, CameraGroup

    return CameraGroup(
        [
            Camera(
                matrix=camera.intrinsics.matrix,
                dist=camera.intrinsics.dist,
                size=camera.intrinsics.image_size,
                rvec=camera.rvec,
                tvec=camera.tvec,
                name=camera.name,
            )
            for camera in rig
        ]
    )


def held(found, points, judged):
    """Return the share of the truth in the stated 95 % ellipsoids."""
    off = found.xyz - points
    some = judged & np.isfinite(off[..., 0])
    inverse = np.linalg.inv(found.covariance[some])
    return np.mean(np.einsum("ni,nij,nj->n", off[some], inverse, off[some]) < 7.815)


def fastest(call, repeats):
    """Return the result and the least CPU seconds of some calls."""
    best = np.inf
    for _ in range(repeats):
        start = time.process_time()
        result = call()
        best = min(best, time.process_time() - start)
    return result, best


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--frames", type=int, default=5000, help="frames of 20 keypoints")
    parser.add_argument("--cameras", default="2,4,6,12", help="numbers of cameras")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"{'cameras':>7} {'wrong':>5} {'method':<30} {'points/s':>12} {'ratio':>9} "
          f"{'median/bound':>12} {'p99/bound':>9} {'>20 mm':>8} {'missing':>8} "
          f"{'held':>6}")  # fmt: skip
    for n_cameras in map(int, arguments.cameras.split(",")):
        for share_wrong in (0.0, 0.07):
            rng = np.random.default_rng(n_cameras)
            rig, points, seen, spread, bound, judged = scene(
                n_cameras, arguments.frames, share_wrong, rng
            )
            group = camera_group(rig)
            flat = seen.xy.reshape(n_cameras, -1, 2)

            def peer(flat=flat, group=group, shape=points.shape):
                return group.triangulate(flat, progress=False).reshape(shape)

            def ransac(few, flat=flat, group=group, points=points):
                # it fails where fewer than two cameras see a point
                some = np.flatnonzero(np.isfinite(flat[..., 0]).sum(axis=0) >= 2)
                some = some[some < few]
                found = np.full(points.shape, np.nan).reshape(-1, 3)
                found[some] = group.triangulate_ransac(flat[:, some], progress=False)[0]
                return found.reshape(points.shape)

            def ours(seen=seen, rig=rig, **more):
                return triangulate(seen, rig, **more)

            more_than_it_can = n_cameras > 12  # its time doubles with every camera
            few = {2: 400, 4: 200, 6: 60}.get(n_cameras, 4)
            peer()  # compiles
            runs = {"aniposelib triangulate": (peer, 2, {}, None)}
            if share_wrong and n_cameras > 2 and not more_than_it_can:
                ransac(2)
                runs["aniposelib triangulate_ransac"] = (ransac, 1, {"few": few}, few)
            if not share_wrong:
                runs["dlt"] = (ours, 3, {"method": "dlt", "noise_px": spread}, None)
                runs["least-squares, told"] = (
                    ours, 3, {"method": "least-squares", "noise_px": spread}, None,
                )  # fmt: skip
            runs["robust, told"] = (ours, 3, {"noise_px": spread}, None)
            runs["robust, learned"] = (ours, 3, {}, None)
            base = None
            for name, (call, repeats, options, count) in runs.items():
                found, seconds = fastest(lambda: call(**options), repeats)  # noqa: B023
                rate = (count or points[..., 0].size) / seconds
                share = np.nan
                if hasattr(found, "covariance"):
                    share, found = held(found, points, judged), found.xyz
                errors = np.linalg.norm(found - points, axis=-1)
                some = np.arange(errors.size).reshape(errors.shape) < (count or errors.size)
                errors, limit = errors[judged & some], bound[some[judged]]
                there = errors[np.isfinite(errors)]
                base = rate if name.endswith(("triangulate", "ransac")) else base
                print(
                    f"{n_cameras:>7} {share_wrong:>5.0%} {name:<30} {rate:>12,.4g} "
                    f"{rate / base:>9,.4g} {np.median(there) / np.median(limit):>12.3f} "
                    f"{np.quantile(there, 0.99) / np.quantile(limit, 0.99):>9.3f} "
                    f"{np.mean(there > 20):>8.3%} {1 - there.size / errors.size:>8.3%} "
                    f"{share:>6.1%}"
                )


if __name__ == "__main__":
    main()
