"""Count what labelling costs, with geometry and without, and time the page.

A scripted annotator labels 10 frames x 4 views x 15 keypoints (1280 x 1024) through the page's own
functions, its clicks 1 px off per coordinate, wherever it sees the keypoint. With geometry it
clicks in two views (or three, or where the page says that its offer is worse than a click) that
see it and accepts the rest; without, in all that do. The error
is the distance to the exact place, root mean square over all labels of what is visible. Once on a
rendered animal against the truth; once, given the folder of recordings, on the SLEAP-Anipose mouse,
whose tracks are triangulated in one rig and reprojected. Then the time from a key to the redrawn
page, 8 views, 15 keypoints, curves of two views: the key's own work with all its drawing calls, and
until the browser has shown the frame without waiting for the screen's turn (software drawing,
unless there is a graphics card), beside what any change at all takes.

    python scripts/bench_labeling.py
    POSE3D_DATA=... python scripts/bench_labeling.py
"""

import os
import shutil
import tempfile
import threading
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import uvicorn
from playwright.sync_api import sync_playwright

from calibration.cameras import CameraRig
from calibration.errors import DataWarning
from calibration.formats.toml import load_rig, save_rig
from calibration.multiview import triangulate_dlt
from calibration.synthetic import ring_rig
from calibration.video import read_frames, write_image
from pose3d.labeling.server import Labeling, labeling_app
from pose3d.project import Project
from pose3d.synthetic.animal import walk
from pose3d.synthetic.arena import arena_rig
from pose3d.synthetic.rendering import render_animal

SIZE = (1280, 1024)
N_MOMENTS, N_KEYPOINTS, NOISE_PX = 10, 15, 1.0


class Scene(NamedTuple):
    """What is to be labelled: exact places (n_cameras, n_moments, n_keypoints, 2) in px."""

    rig: CameraRig
    images: list
    seen: np.ndarray
    visible: np.ndarray


def noise_scene(n_cameras):
    """Make points of a ring of cameras, all visible, on images of noise."""
    rng, rig = np.random.default_rng(0), ring_rig(n_cameras, image_size=SIZE)
    image = rng.integers(60, 120, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    seen = rig.project(rng.uniform(-120, 120, (N_MOMENTS, N_KEYPOINTS, 3)))
    images = [[image] * N_MOMENTS] * n_cameras
    return Scene(rig, images, seen, np.ones(seen.shape[:-1], bool))


def rendered_scene():
    """Render an animal that walks: what its own body hides from a camera is not visible there."""
    rig, points = arena_rig(4, SIZE), walk(np.linspace(0, 9, N_MOMENTS))
    frames = [list(render_animal(camera, points)) for camera in rig]
    seen = rig.project(points)
    visible = np.array([[frame.visible for frame in row] for row in frames])
    visible &= ((seen > 0) & (seen < np.array(SIZE) - 1)).all(axis=-1)
    images = [[frame.image for frame in row] for row in frames]
    return Scene(rig, images, seen[:, :, :N_KEYPOINTS], visible[:, :, :N_KEYPOINTS])


def mouse_scene(data):
    """Take the real mouse: where its tracks, triangulated in one rig, project."""
    folder = Path(data) / "sleap_anipose_minimal_session"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        rig = load_rig(folder / "derived" / "recalibrated_aniposelib.toml")
    frames, tracks, images = np.arange(0, 120, 12), [], []
    for name in rig.names:
        with h5py.File(folder / name / f"minimal_{name}_proofread.analysis.h5") as file:
            tracks.append(file["tracks"][0].transpose(2, 1, 0)[frames])
        video = folder / name / f"minimal_{name}.mp4"
        images.append([frame.image for frame in read_frames(video, frames=frames)])
    tracks = np.array(tracks)
    return Scene(
        rig, images, rig.project(triangulate_dlt(rig, tracks)), np.isfinite(tracks[..., 0])
    )


def write_project(folder, scene):
    """Write a project of a scene."""
    names = ", ".join(f"k{k}" for k in range(N_KEYPOINTS))
    videos = ", ".join(f"{name}: {name}.mp4" for name in scene.rig.names)
    (folder / "config.yaml").write_text(
        f"Task: bench\nscorer: Ada\nbodyparts: [{names}]\npose3d:\n"
        f"  cameras: [{', '.join(scene.rig.names)}]\n  recordings: {{take: {{{videos}}}}}\n"
    )
    for name, images in zip(scene.rig.names, scene.images, strict=True):
        for moment, image in enumerate(images):
            path = folder / "labeled-data" / f"take_{name}" / f"img{moment:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(path, image)
    save_rig(scene.rig, folder / "calibration.toml")


def label(page, scene, n_clicked, *, worst=np.inf):
    """Label everything; return clicks, keys and the errors in px of what is visible.

    What is offered with a larger expected error (per px of a click's) than `worst` is clicked too.
    """
    rng = np.random.default_rng(1)
    clicks = keys = 0
    errors = []
    for moment in range(N_MOMENTS):
        page.evaluate("m => p.go(m)", moment)
        for k in range(N_KEYPOINTS):
            views = np.flatnonzero(scene.visible[:, moment, k])
            chosen = views[:n_clicked].tolist()
            page.evaluate("k => p.select(0, k)", k)
            for n in range(len(views)):
                if n == len(chosen):
                    expected = page.evaluate(
                        "([views, k]) => views.map((v) =>"
                        " p.labels.offer(p.views[v].name, 0, k)?.expected ?? 0)",
                        [views.tolist(), k],
                    )
                    if max(expected) <= worst:
                        break
                    chosen.append(int(views[np.argmax(expected)]))
                xy = scene.seen[chosen[n], moment, k] + rng.normal(0, NOISE_PX, 2)
                page.evaluate("([v, xy]) => p.place(p.views[v], xy)", [chosen[n], xy.tolist()])
            clicks += len(chosen)
            if len(chosen) < len(views):
                page.keyboard.press("Space")
                keys += 1
            got = page.evaluate(
                "([views, k]) => views.map((v) => p.labels.point(p.views[v].name, 0, k).xy)",
                [views.tolist(), k],
            )
            errors += (np.reshape(got, (-1, 2)) - scene.seen[views, moment, k]).tolist()
    page.evaluate("p.labels.settled()")
    return clicks, keys, np.linalg.norm(errors, axis=-1)


def time_keys(page, scene):
    """Time keys in a frame whose keypoints have two views each; return medians and worst in ms."""
    for k in range(N_KEYPOINTS):
        page.evaluate("k => p.select(0, k)", k)
        for v in range(2):
            xy = scene.seen[v, 0, k].tolist()
            page.evaluate("([v, xy]) => p.place(p.views[v], xy)", [v, xy])
    page.evaluate("p.labels.settled()")
    return page.evaluate(
        """async () => {
          const shown = () => new Promise((resolve) =>
            requestAnimationFrame(() => setTimeout(resolve)));
          const timed = async (work) => {
            const handled = [], seen = [];
            for (let i = 0; i < 60; i++) {
              await new Promise((resolve) => setTimeout(resolve, 30));
              const start = performance.now();
              work();
              handled.push(performance.now() - start);
              await shown();
              seen.push(performance.now() - start);
            }
            return [handled, seen].map((a) => a.sort((x, y) => x - y)).map((a) => [a[30], a[57]]);
          };
          const key = () => document.body.dispatchEvent(
            new KeyboardEvent("keydown", {key: "s", bubbles: true}));
          return [...await timed(key), (await timed(() => p.views[7].draw()))[1]];
        }"""
    )


def run(chromium, scene, work):
    """Open a fresh project on the page and do some work there."""
    folder = Path(tempfile.mkdtemp())
    write_project(folder, scene)
    labeling = Labeling(Project.load(folder))
    app, token = labeling_app(labeling)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    page = chromium.new_page(viewport={"width": 1920, "height": 1080})
    page.goto(f"http://127.0.0.1:{port}/?token={token}")
    page.evaluate("labeler.then((page) => { window.p = page; })")
    try:
        return work(page, scene)
    finally:
        page.close()
        server.should_exit = True
        thread.join()
        labeling.close()
        shutil.rmtree(folder)


def main():
    scenes = {"ring": noise_scene(4), "rendered animal": rendered_scene()}
    if os.environ.get("POSE3D_DATA"):
        scenes["mouse"] = mouse_scene(os.environ["POSE3D_DATA"])
    unpaced = ["--disable-frame-rate-limit", "--disable-gpu-vsync"]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", *unpaced]
        )
        for name, scene in scenes.items():
            for n, worst in ((4, np.inf), (3, np.inf), (2, np.inf), (2, 1.3)):
                clicks, keys, error = run(
                    chromium, scene, lambda p, s, n=n, worst=worst: label(p, s, n, worst=worst)
                )
                more = "" if np.isinf(worst) else " and where the page says ± 1.3 px or more"
                print(
                    f"{name}, clicks in {n} views{more}: {clicks} clicks, {keys} keys, "
                    f"{len(error)} labels, error rms {np.sqrt(np.mean(error**2)):.2f} px, "
                    f"median {np.median(error):.2f}, p95 {np.percentile(error, 95):.2f}",
                    flush=True,
                )
        handled, shown, any_change = run(chromium, noise_scene(8), time_keys)
        print(
            f"8 views, a key's own work: median {handled[0]:.1f} ms, p95 {handled[1]:.1f} ms; "
            f"to shown: median {shown[0]:.1f} ms, p95 {shown[1]:.1f} ms "
            f"(any change at all: {any_change[0]:.1f} ms)"
        )
        chromium.close()


if __name__ == "__main__":
    main()
