"""Count what labelling costs, with geometry and without, and time the page.

A scripted annotator labels 10 frames x 4 views x 15 keypoints of a ring of 1 m (1280 x 1024,
f = 1000 px) through the page's own functions, its clicks 1 px off per coordinate. With geometry it
clicks in two neighbouring views (or three) and accepts the rest; without, in all four. The error
is the distance to the exact projection, root mean square over all labels. Then the time from a key
to the redrawn page, 8 views, 15 keypoints, curves of two views: the handler with all its drawing
calls, and until the browser has shown the frame.

    python scripts/bench_labeling.py
"""

import shutil
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import uvicorn
from playwright.sync_api import sync_playwright

from calibration.formats.toml import save_rig
from calibration.synthetic import ring_rig
from calibration.video import write_image
from pose3d.labeling.server import Labeling, labeling_app
from pose3d.project import Project

SIZE = (1280, 1024)
N_MOMENTS, N_KEYPOINTS, NOISE_PX = 10, 15, 1.0


def make_project(folder, rig, rng):
    """Write a project of noise images; return the exact points in all views."""
    names = ", ".join(f"k{k}" for k in range(N_KEYPOINTS))
    videos = ", ".join(f"{name}: {name}.mp4" for name in rig.names)
    (folder / "config.yaml").write_text(
        f"Task: bench\nscorer: Ada\nbodyparts: [{names}]\npose3d:\n"
        f"  cameras: [{', '.join(rig.names)}]\n  recordings: {{take: {{{videos}}}}}\n"
    )
    image = rng.integers(60, 120, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    for name in rig.names:
        for moment in range(N_MOMENTS):
            path = folder / "labeled-data" / f"take_{name}" / f"img{moment:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(path, image)
    save_rig(rig, folder / "calibration.toml")
    return rig.project(rng.uniform(-120, 120, (N_MOMENTS, N_KEYPOINTS, 3)))


def label(page, seen, rng, n_clicked):
    """Label everything; return clicks, keys and the rms error in px."""
    clicks = keys = 0
    errors = []
    for moment in range(N_MOMENTS):
        page.evaluate("m => p.go(m)", moment)
        for k in range(N_KEYPOINTS):
            page.evaluate("k => p.select(0, k)", k)
            for v in range(n_clicked):
                xy = seen[v, moment, k] + rng.normal(0, NOISE_PX, 2)
                page.evaluate("([v, xy]) => p.place(p.views[v], xy)", [v, xy.tolist()])
                clicks += 1
            if n_clicked < len(seen):
                page.keyboard.press("Space")
                keys += 1
            for v in range(len(seen)):
                got = page.evaluate("([v, k]) => p.labels.point(p.views[v].name, 0, k)", [v, k])
                errors.append(np.subtract(got["xy"], seen[v, moment, k]))
    return clicks, keys, float(np.sqrt(np.mean(np.sum(np.square(errors), axis=-1))))


def time_keys(page, seen):
    """Time keys in a frame whose keypoints have two views each; return medians and worst in ms."""
    for k in range(N_KEYPOINTS):
        page.evaluate("k => p.select(0, k)", k)
        for v in range(2):
            page.evaluate("([v, xy]) => p.place(p.views[v], xy)", [v, seen[v, 0, k].tolist()])
    page.evaluate("p.labels.settled()")
    return page.evaluate(
        """async () => {
          const shown = () => new Promise((resolve) =>
            requestAnimationFrame(() => setTimeout(resolve)));
          const handled = [], seen = [];
          for (let i = 0; i < 60; i++) {
            await new Promise((resolve) => setTimeout(resolve, 30));
            const start = performance.now();
            const event = new KeyboardEvent("keydown", {key: "s", bubbles: true});
            document.body.dispatchEvent(event);
            handled.push(performance.now() - start);
            await shown();
            seen.push(performance.now() - start);
          }
          const sorted = (a) => a.sort((x, y) => x - y);
          return [handled, seen].map((a) => [sorted(a)[30], a[57]]);
        }"""
    )


def run(chromium, rig, work):
    """Open a fresh project on the page and do some work there."""
    folder = Path(tempfile.mkdtemp())
    seen = make_project(folder, rig, np.random.default_rng(0))
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
        return work(page, seen)
    finally:
        page.close()
        server.should_exit = True
        thread.join()
        labeling.close()
        shutil.rmtree(folder)


def main():
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        rig = ring_rig(4, image_size=SIZE)
        for n_clicked in (4, 3, 2):
            clicks, keys, error = run(
                chromium, rig,
                lambda page, seen, n=n_clicked: label(page, seen, np.random.default_rng(1), n),
            )  # fmt: skip
            print(f"{n_clicked} views clicked: {clicks} clicks, {keys} keys, rms {error:.3f} px")
        handled, shown = run(chromium, ring_rig(8, image_size=SIZE), time_keys)
        print(
            f"8 views, key to drawn: median {handled[0]:.1f} ms, p95 {handled[1]:.1f} ms; "
            f"to shown: median {shown[0]:.1f} ms, p95 {shown[1]:.1f} ms"
        )
        chromium.close()


if __name__ == "__main__":
    main()
