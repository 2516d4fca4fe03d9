"""Time create-labeled-video: one camera and four tiled, 640 x 480, 12 keypoints with bones.

The video is DeepLabCut's open field (`dlc_openfield` in POSE3D_DATA, 4:4:4 H.264), else one of
moving noise that is written first; keypoints wander. What counts is from the call to the finished
file, imports apart; on a busy machine the CPU time tells more than the clock.

    python scripts/bench_video.py
"""

import os
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from calibration.video import VideoWriter, frame_times
from pose3d.keypoints import Keypoints2D
from pose3d.labeled_video import write_labeled_video
from pose3d.skeleton import Skeleton

N_FRAMES, SIZE = 600, (640, 480)
NAMES = tuple(f"{side}_{part}" for part in "abcdef" for side in ("left", "right"))
SKELETON = Skeleton(NAMES, tuple(zip(NAMES, NAMES[1:], strict=False)))


def find_video(folder):
    """Return the open-field video, or write one of noise that moves."""
    path = Path(os.environ.get("POSE3D_DATA", "")) / "dlc_openfield" / "videos" / "m3v1mp4.mp4"
    if path.is_file():
        return path
    noise = np.random.default_rng(0).integers(90, 160, (SIZE[1], 2 * SIZE[0]), dtype=np.uint8)
    with VideoWriter(folder / "noise.mp4", 30) as video:
        for i in range(N_FRAMES):
            video.write(noise[:, i : i + SIZE[0]])
    return folder / "noise.mp4"


def wandering(cameras, times):
    """Keypoints that circle together."""
    rng = np.random.default_rng(0)
    middle = np.array(SIZE) * (0.5 + 0.3 * np.stack([np.sin(times), np.cos(1.3 * times)], axis=-1))
    xy = middle[:, np.newaxis, np.newaxis] + rng.normal(0, 30, (len(cameras), 1, 1, len(NAMES), 2))
    xy = xy + rng.normal(0, 1, (len(cameras), len(times), 1, len(NAMES), 2))
    likelihood = np.clip(rng.normal(0.9, 0.15, xy.shape[:-1]), 0, 1)
    return Keypoints2D(xy, likelihood, cameras, ("animal",), NAMES, times)


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        video = find_video(folder)
        copies = [shutil.copy(video, folder / f"{i}{video.suffix}") for i in range(4)]
        times = frame_times(video)
        plain, full = {}, {"trail": 20, "show_likelihood": True}
        print(f"{'views':>5}  {'trails, bars':12}  {'frames/s':>8}  {'CPU ms/frame':>12}")
        for n_views, options in ((1, plain), (1, full), (4, plain), (4, full)):
            videos = {f"cam_{i}": Path(path) for i, path in enumerate(copies[:n_views])}
            seen = wandering(tuple(videos), times)
            clock, cpu = time.perf_counter(), time.process_time()
            write_labeled_video(
                folder / "out.mp4", videos, {}, seen, SKELETON, frames=range(N_FRAMES), **options
            )
            seconds, cpu = time.perf_counter() - clock, time.process_time() - cpu
            print(
                f"{n_views:5}  {'yes' if options else 'no':12}  {N_FRAMES / seconds:8.0f}"
                f"  {1000 * cpu / N_FRAMES:12.1f}"
            )


if __name__ == "__main__":
    main()
