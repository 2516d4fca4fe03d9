"""The labelling page, driven as a person does; and its cameras against Python's."""

import shutil
import threading
import time
from contextlib import contextmanager

import cv2
import numpy as np
import pytest
import uvicorn

from calibration import lenses
from calibration.cameras import Camera, CameraRig, Intrinsics
from calibration.formats.toml import save_rig
from calibration.multiview import rays, triangulate_dlt
from calibration.synthetic import ring_rig
from calibration.video import write_image
from pose3d.keypoints import Keypoints2D
from pose3d.labeling.server import Labeling, labeling_app
from pose3d.project import Project, load_labels
from pose3d.steps.labeling import _port_and_token

SIZE = (320, 240)
N_MOMENTS = 8
NAMES = ("nose", "left_ear", "right_ear", "tail", "<img src=x onerror=window.hacked=1>")
CONFIG = """\
Task: "<b>reaching</b>"
scorer: Ada
bodyparts: [nose, left_ear, right_ear, tail, "<img src=x onerror=window.hacked=1>"]
skeleton: [[nose, left_ear], [nose, right_ear], [nose, tail]]
pose3d:
  cameras: [{cameras}]
  symmetric: [[left_ear, right_ear]]
  recordings: {{trot: {{{videos}}}}}
"""
#: By moment and keypoint, mm.
BODY = np.array([[30, 0, 10], [18, 9, 16], [18, -9, 16], [-40, 0, 8], [0, 0, 20]], float)
POINTS = BODY + np.stack([np.linspace(0, 20, N_MOMENTS)] * 3, axis=-1)[:, np.newaxis]


def paint(path, image):
    """Write a picture, without waiting for the disk."""
    assert cv2.imwrite(str(path), image[..., ::-1])


def make_project(folder, rig, *, calibrated=True):
    names = ", ".join(rig.names)
    videos = ", ".join(f"{name}: {name}.mp4" for name in rig.names)
    (folder / "config.yaml").write_text(CONFIG.format(cameras=names, videos=videos))
    seen = rig.project(POINTS)
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]]
    for camera, points in zip(rig.names, seen, strict=True):
        images = folder / "labeled-data" / f"trot_{camera}"
        images.mkdir(parents=True)
        for moment, here in enumerate(points):
            image = np.full((SIZE[1], SIZE[0], 3), 80, np.uint8)
            for x, y in here:
                image[(columns - x) ** 2 + (rows - y) ** 2 < 9] = (240, 220, 200)
            paint(images / f"img{moment * 10:05d}.png", image)
    if calibrated:
        save_rig(rig, folder / "calibration.toml")
    return Project.load(folder), seen


@contextmanager
def served(project, again=None):
    """Serve a project in a thread, again under a link if there is one; give the link."""
    labeling = Labeling(project)
    port, token = _port_and_token(again) if again else (0, None)
    app, token = labeling_app(labeling, token)
    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=2
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/?token={token}"
    finally:
        server.should_exit = True
        thread.join()
        labeling.close()


@contextmanager
def opened(browser, link, refused=0, **options):
    """Open the page; afterwards nothing may have gone wrong in it or left this computer.

    So many requests may have been refused.
    """
    page = browser.new_page(**{"viewport": {"width": 1366, "height": 768}, **options})
    troubles, requests = [], []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda m: m.type == "error" and troubles.append(m.text))
    page.on("request", lambda request: requests.append(request.url))
    try:
        page.goto(link)
        page.evaluate("labeler.then((page) => { window.p = page; })")
        yield page
        page.wait_for_timeout(30)
    finally:
        page.close()
    assert len([text for text in troubles if "status of 400" in text]) == refused
    assert not [text for text in troubles if "status of 400" not in text]
    assert all(url.startswith((link.split("?")[0], "blob:")) for url in requests)


@pytest.fixture(scope="module")
def rig():
    return ring_rig(4, image_size=SIZE, radius=300, focal=420)


@pytest.fixture
def scene(tmp_path, rig):
    project, seen = make_project(tmp_path, rig)
    with served(project) as link:
        yield project, seen, link


def screen(page, view, xy):
    """Where a pixel of a view's image lies on the page."""
    return page.evaluate(
        """([v, xy]) => {
          const view = p.views[v], box = view.front.getBoundingClientRect();
          const [x, y] = view.toPage(xy);
          return [x + box.left, y + box.top];
        }""",
        [view, [float(value) for value in xy]],
    )


def click(page, view, xy, **options):
    page.mouse.click(*screen(page, view, xy), **options)


def point(page, view, keypoint):
    return page.evaluate(
        "([v, k]) => p.labels.point(p.views[v].name, p.individual, k)", [view, keypoint]
    )


def wait_until(page, truth):
    """Wait until an expression holds; the policy forbids playwright's own way."""
    end = time.monotonic() + 10
    while not page.evaluate(truth):
        assert time.monotonic() < end, f"not so after 10 s: {truth}"
        page.wait_for_timeout(10)


def wait_saved(page):
    wait_until(page, "document.getElementById('saved').textContent.startsWith('saved')")


def test_two_clicks_per_keypoint_label_four_views(browser, scene):
    project, seen, link = scene
    with opened(browser, link) as page:
        for k in range(len(NAMES)):
            click(page, 0, seen[0, 0, k])
            assert point(page, 0, k)["state"] == "clicked"
            assert point(page, 2, k) is None
            click(page, 1, seen[1, 0, k])
            page.keyboard.press("Space")
            assert point(page, 2, k)["state"] == point(page, 3, k)["state"] == "reprojected"
        wait_saved(page)
        assert page.evaluate("document.getElementById('progress').textContent").startswith(
            "20 of 20 points"
        )
        assert page.evaluate("window.hacked") is None
        assert page.evaluate("document.querySelectorAll('img, b > *').length") == 0
        clicked = np.array([point(page, v, k)["xy"] for v in range(4) for k in range(5)])
    time.sleep(1.2)  # files follow the journal
    labels = load_labels(project)
    assert labels.xy.shape == (4, 1, 5, 2)
    np.testing.assert_array_equal(labels.xy.reshape(-1, 2), clicked)
    # a click is to the nearest point of the screen, about a third of a pixel of the image
    assert np.linalg.norm(labels.xy[:, 0] - seen[:, 0], axis=-1).max() < 1.5


def test_everything_can_be_undone_and_made_again(browser, scene):
    _, seen, link = scene
    state = "p.labels.cameras.map(({name}) => [...p.labels.points.get(name)].sort())"
    with opened(browser, link) as page:
        empty = page.evaluate(state)
        for k in range(3):
            click(page, 0, seen[0, 0, k])
            click(page, 1, seen[1, 0, k])
            page.keyboard.press("Space")
        page.keyboard.press("1")
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("x")
        page.keyboard.press("Shift+Delete")
        page.keyboard.press("l")
        full = page.evaluate(state)
        page.evaluate("p.go(3)")
        steps = page.evaluate("p.labels.undoable.length")
        assert steps == 13
        for _ in range(steps):
            page.keyboard.press("Control+z")  # without waiting: the order holds
        page.evaluate("p.labels.line")
        assert page.evaluate(state) == empty
        assert page.evaluate("p.labels.moment") == 0
        for _ in range(steps):
            page.keyboard.press("Control+y")
        page.evaluate("p.labels.line")
        assert page.evaluate(state) == full
        wait_saved(page)
        page.reload()
        page.evaluate("labeler.then((page) => { window.p = page; })")
        assert page.evaluate(state) == full
        assert page.evaluate("p.labels.undoable.length") == steps


def test_dragging_an_end_moves_what_follows_from_it(browser, scene):
    _, seen, link = scene
    with opened(browser, link) as page:
        click(page, 0, seen[0, 0, 0])
        click(page, 1, seen[1, 0, 0])
        page.keyboard.press("Space")
        before = point(page, 2, 0)["xy"]
        page.mouse.move(*screen(page, 0, point(page, 0, 0)["xy"]))
        page.mouse.down()
        page.mouse.move(*screen(page, 0, seen[0, 0, 0] + [12, 8]), steps=4)
        page.mouse.up()
        after = point(page, 2, 0)
        assert after["state"] == "reprojected"
        assert np.linalg.norm(np.subtract(after["xy"], before)) > 2
        page.keyboard.press("Control+z")
        assert point(page, 2, 0)["xy"] == before
        wait_saved(page)


def test_without_calibration_each_click_goes_on_to_the_next_keypoint(browser, tmp_path, rig):
    project, seen = make_project(tmp_path, rig, calibrated=False)
    with served(project) as link, opened(browser, link) as page:
        for k in range(len(NAMES)):
            click(page, 0, seen[0, 0, k])
        assert all(point(page, 0, k)["state"] == "clicked" for k in range(len(NAMES)))
        assert page.evaluate("p.labels.offer(p.views[2].name, 0, 0)") is None
        click(page, 1, seen[1, 0, 0], button="right")
        assert point(page, 1, 0)["state"] == "occluded"
        page.keyboard.press("x")
        assert point(page, 1, 0) == {"state": "absent", "xy": None}
        wait_saved(page)


def test_predictions_are_hollow_until_accepted(browser, tmp_path, rig):
    from pose3d.formats.keypoints import save_keypoints_2d

    project, seen = make_project(tmp_path, rig)
    xy = np.full((4, 80, 1, 5, 2), np.nan)
    xy[:, ::10, 0] = seen
    found = Keypoints2D(
        xy,
        np.where(np.isnan(xy[..., 0]), 0, 0.8),
        rig.names,
        ("animal",),
        NAMES,
        np.arange(80) / 25,
    )
    save_keypoints_2d(project.keypoints_2d_path("trot"), found)
    with served(project) as link, opened(browser, link) as page:
        offer = page.evaluate("p.labels.offer(p.views[1].name, 0, 3)")
        assert offer["state"] == "predicted"
        assert offer["likelihood"] == pytest.approx(0.8)
        np.testing.assert_allclose(offer["xy"], seen[1, 0, 3])
        assert point(page, 1, 3) is None
        page.keyboard.press("4")
        page.keyboard.press("Tab")
        page.keyboard.press("t")
        assert point(page, 1, 3)["state"] == "predicted"
        assert point(page, 0, 3) is None
        page.keyboard.press("a")
        assert all(point(page, v, k) for v in range(4) for k in range(5))
        wait_saved(page)


def test_a_second_tab_sees_the_first_and_overwrites_nothing(browser, scene):
    _, seen, link = scene
    with opened(browser, link) as one:
        page = browser.new_page()
        page.goto(link)
        page.evaluate("labeler.then((page) => { window.p = page; clearInterval(1); })")
        click(one, 0, seen[0, 0, 0])
        wait_saved(one)
        page.evaluate("p.labels.set([{camera: p.views[0].name, individual: 0, keypoint: 0,"
                      " after: {state: 'clicked', xy: [5, 5]}}])")  # fmt: skip
        page.evaluate("p.labels.settled()")
        page.wait_for_timeout(100)
        assert "another tab" in page.inner_text("#banner")
        assert point(page, 0, 0) == point(one, 0, 0)
        page.close()


def test_a_page_whose_server_is_gone_says_so_and_saves_when_it_is_back(browser, tmp_path, rig):
    project, seen = make_project(tmp_path, rig)
    page = browser.new_page()
    with served(project) as link:
        page.goto(link)
        page.evaluate("labeler.then((page) => { window.p = page; })")
    click(page, 0, seen[0, 0, 0])
    page.wait_for_timeout(300)
    assert page.inner_text("#saved") == "Not saved (1)"
    assert "start it again with --link" in page.inner_text("#banner")
    click(page, 1, seen[1, 0, 0])
    with served(project, again=link):
        wait_saved(page)
        there = [point(page, v, 0) for v in range(2)]
        page.close()
    labels = load_labels(project)
    np.testing.assert_array_equal(labels.xy[:, 0, 0], [p["xy"] for p in there])


@pytest.mark.parametrize(
    "link", ["http://evil.example:80/?token=" + "a" * 32, "127.0.0.1:8000", ""]
)
def test_a_link_that_is_no_pages_address_is_refused(link):
    with pytest.raises(ValueError, match="expected a page's whole address"):
        _port_and_token(link)


LENSES = {
    "pinhole": [],
    "brown": [-0.25, 0.08, 1e-3, -5e-4, -0.01],
    "rational": [0.3, -0.1, 1e-3, -5e-4, 0.02, 0.5, -0.05, 0.01],
    "fisheye": [0.03, -0.01, 0.004, -0.001],
}


def mixed_rig():
    """One camera with each lens model, skew too."""
    cameras = []
    for camera, (model, dist) in zip(ring_rig(4, radius=300), LENSES.items(), strict=True):
        matrix = np.array([[500, 1.5 * bool(dist), 321.5], [0, 505, 238], [0, 0, 1.0]])
        lens = Intrinsics(matrix, dist, (640, 480), model)
        cameras.append(Camera(model, lens, camera.rvec, camera.tvec))
    return CameraRig(tuple(cameras))


def lens_of(camera):
    from pose3d.labeling.content import _lens

    return _lens(camera)


def test_cameras_in_the_page_are_those_of_python(browser, scene, rng):
    rig = mixed_rig()
    assert set(rig.names) == set(lenses.COEFFICIENTS)
    points = rng.uniform(-60, 60, (50, 3))
    seen = rig.project(points)
    noisy = seen + rng.normal(0, 2, seen.shape)
    noisy[0, :10] = noisy[1, 5:20] = np.nan
    with opened(browser, scene[2]) as page:
        told = page.evaluate(
            """async ([cameras, points, noisy]) => {
              const g = await import("/parts/geometry.js");
              const views = (i) => cameras.map((lens, c) => ({lens, xy: noisy[c][i]}));
              return {
                seen: cameras.map((lens) => points.map((X) => g.project(X, lens))),
                rays: cameras.map((lens, c) => noisy[c].map((xy) => xy && g.ray(xy, lens))),
                solved: points.map((_, i) => g.triangulate(views(i))),
              };
            }""",
            [
                [lens_of(camera) for camera in rig],
                points.tolist(),
                [[xy.tolist() if np.isfinite(xy).all() else None for xy in row] for row in noisy],
            ],
        )
    np.testing.assert_allclose(np.array(told["seen"], float), seen, atol=1e-9)
    for camera, row, expected in zip(rig, told["rays"], noisy, strict=True):
        found = np.array([[np.nan] * 2 if xy is None else xy for xy in row], float)
        np.testing.assert_allclose(found, camera.intrinsics.undistort(expected), atol=1e-9)
    solved = np.array([[np.nan] * 3 if X is None else X for X in told["solved"]], float)
    expected = triangulate_dlt(rig, noisy)
    assert np.isfinite(expected).all()
    assert np.abs(rig.project(solved) - rig.project(expected)).max() < 1e-6


def test_a_point_lies_on_its_curves_whatever_the_lenses(browser, scene, rng):
    rig = mixed_rig()
    points = rng.uniform(-60, 60, (12, 3))
    seen = rig.project(points)
    with opened(browser, scene[2]) as page:
        curves = page.evaluate(
            """async ([cameras, seen]) => {
              const g = await import("/parts/geometry.js");
              return cameras.map((from, a) => cameras.map((to, b) =>
                a === b ? null : seen[a].map((xy) => g.epipolarCurve(xy, from, to))));
            }""",
            [[lens_of(camera) for camera in rig], seen.tolist()],
        )
    origins, directions = rays(rig, seen)
    for a in range(4):
        for b in range(4):
            for i in range(len(points) if a != b else 0):
                runs = [np.array(run) for run in curves[a][b][i]]
                assert distance(runs, seen[b, i]) < 0.05, (rig.names[a], rig.names[b])
                # every drawn point is the image of a point of the ray
                run = runs[0][:: max(1, len(runs[0]) // 7)]
                ray_b = rays(rig, np.broadcast_to(run, (4, *run.shape)))[1][b]
                across = np.cross(directions[a, i], ray_b)
                apart = np.abs(across @ (origins[b] - origins[a]))
                assert (apart < 1e-6 * np.linalg.norm(across, axis=-1) + 1e-6).all()


def distance(runs, xy):
    """Distance of a point from broken lines."""
    least = np.inf
    for run in runs:
        start, step = run[:-1], np.diff(run, axis=0)
        along = np.clip(((xy - start) * step).sum(1) / (step**2).sum(1).clip(1e-12), 0, 1)
        foot = start + along[:, np.newaxis] * step
        least = min(least, np.linalg.norm(foot - xy, axis=1).min())
    return least


def test_the_queue_decides_which_frame_is_next_and_bars_tell_what_is_done(browser, scene):
    _, seen, link = scene
    with opened(browser, f"{link}#trot/img00030.png", refused=1) as page:
        assert page.evaluate("p.labels.moment") == 3
        page.select_option("#order", "random")
        wait_until(page, "p.queue.order === 'random'")
        order = page.evaluate("p.queue.moments")
        assert sorted(order) == list(range(N_MOMENTS)) != order
        wait_until(page, f"p.labels.moment === {order[0]}")
        page.keyboard.press("e")
        wait_until(page, f"p.labels.moment === {order[1]}")
        click(page, 0, seen[0, order[1], 0])
        wait_saved(page)
        shares = page.evaluate("p.views.map(({bar}) => parseFloat(bar.style.width))")
        assert shares == [pytest.approx(100 / (N_MOMENTS * len(NAMES))), 0, 0, 0]
        first = page.locator("#keypoints .bar").first.evaluate("e => parseFloat(e.style.width)")
        assert first == pytest.approx(100 / (N_MOMENTS * 4))
        page.select_option("#order", "likelihood")
        wait_until(page, "p.labels.conflicts.length")
        assert "analyze-recording" in page.inner_text("#banner")
        assert page.input_value("#order") == "random"


@pytest.fixture
def filmed(tmp_path, rig):
    """A project whose videos are folders of pictures: 24 frames, of which 0, 10 and 20 to label."""
    project, _ = make_project(tmp_path, rig)
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]]
    seen = rig.project(BODY + np.linspace(0, 6, 24)[:, np.newaxis, np.newaxis])
    for c, camera in enumerate(rig.names):
        images = tmp_path / "labeled-data" / f"trot_{camera}"
        for old in images.iterdir():
            old.unlink()
        for frame in range(24):
            image = np.full((SIZE[1], SIZE[0], 3), 80, np.uint8)
            for k, (x, y) in enumerate(seen[c, frame]):
                image[(columns - x) ** 2 + (rows - y) ** 2 < 12 + 8 * k] = (240, 220, 200 - 30 * k)
            path = tmp_path / f"{camera}.mp4" / f"{frame:03d}.png"
            path.parent.mkdir(exist_ok=True)
            paint(path, image)
            if frame % 10 == 0:
                paint(images / f"img{frame:05d}.png", image)
    with served(Project.load(tmp_path)) as link:
        yield project, seen, link


def test_moments_are_chosen_by_hand_and_labels_carried_to_them_by_flow(browser, filmed):
    project, seen, link = filmed
    with opened(browser, link) as page:
        wait_until(page, "p.timeline.count === 24")
        for v in range(2):
            click(page, v, seen[v, 0, 0])
        page.keyboard.press("Space")
        page.evaluate("p.timeline.show(6)")
        wait_until(page, "p.away === 'video, frame 6'")
        click(page, 0, seen[0, 0, 1])  # labels nothing while the video is looked at
        assert point(page, 0, 1) is None
        page.keyboard.press("Escape")
        assert page.evaluate("p.away") == ""
        for _ in range(7):
            page.keyboard.press(".")
        page.keyboard.press(",")
        wait_until(page, "p.away === 'video, frame 6' && !p.timeline.busy")
        page.keyboard.press("p")
        wait_until(page, "p.labels.moments[p.labels.moment].name === '6' && p.away === ''")
        names = page.evaluate("p.labels.moments.map(({name}) => name)")
        assert names == ["0", "6", "10", "20"]
        assert page.evaluate("p.labels.offer(p.views[3].name, 0, 0)") is None
        page.keyboard.press("f")
        wait_until(page, "p.labels.carried.size === 4")
        offers = page.evaluate("p.views.map(({name}) => p.labels.offer(name, 0, 0).xy)")
        assert np.linalg.norm(offers - seen[:, 6, 0], axis=1).max() < 2.5
        page.keyboard.press("a")
        assert point(page, 3, 0)["state"] == "predicted"
        wait_saved(page)
        page.evaluate("p.go(3)")
        page.keyboard.press("c")
        wait_until(page, "p.labels.point(p.views[3].name, 0, 0) !== null")
        assert point(page, 3, 0)["xy"] == offers[3]
        wait_saved(page)
    for camera in project.cameras:
        images = project.path / "labeled-data" / f"trot_{camera}"
        assert (images / "img00006.png").is_file()


def test_a_held_key_shows_five_frames_around_and_letting_go_ends_it(browser, filmed):
    with opened(browser, filmed[2]) as page:
        wait_until(page, "p.timeline.count === 24")
        page.evaluate("p.go(1)")
        page.keyboard.down("v")
        for words in ("2 frames before", "1 frame before", "this frame", "1 frame after"):
            wait_until(page, f"p.away === '{words}'")
        assert page.evaluate("p.views[0].shown !== null")
        page.keyboard.up("v")
        assert page.evaluate("p.away") == ""
        assert page.evaluate("p.views.every((view) => view.shown === null)")
        page.wait_for_timeout(400)
        assert page.evaluate("p.away") == ""


def test_images_that_appear_while_the_page_is_open_are_in_its_list(browser, filmed):
    project, _, link = filmed
    with opened(browser, link) as page:
        page.evaluate("p.go(1)")
        for camera in project.cameras:
            folder = project.path / "labeled-data" / f"trot_{camera}"
            write_image(folder / "img00004.png", np.full((SIZE[1], SIZE[0], 3), 90, np.uint8))
        wait_until(page, "p.labels.moments.length === 4")
        assert page.evaluate("p.labels.moments[p.labels.moment].name") == "10"
        wait_until(page, "document.getElementById('moment').options.length === 4")


def test_without_calibration_the_page_offers_to_make_one_from_labels(browser, tmp_path, rig):
    project, _ = make_project(tmp_path, rig, calibrated=False)
    save_rig(rig, tmp_path / "calibrations" / "walk.toml")
    moves = np.random.default_rng(0).uniform(-40, 40, (N_MOMENTS, 1, 3))
    seen = rig.project(BODY + moves)
    with served(project) as link, opened(browser, link) as page:
        for moment in range(N_MOMENTS):
            label_all(page, seen, moment)
        assert page.evaluate("p.labels.solve(0, 0)") is None
        page.click("#calibrate")
        page.click("#place")
        assert page.inner_text("#placed") == "Say how long it is."
        assert page.input_value("#lenses") == "calibrations/walk.toml"
        page.select_option("#between", label="nose to tail")
        page.fill("#length", "70.03")
        page.click("#place")
        wait_until(page, "/^(PASS|WARN): /.test(document.getElementById('placed').textContent)")
        page.click("#close")
        assert not page.is_visible("#uncalibrated")
        assert page.evaluate("p.labels.moment") == N_MOMENTS - 1
        assert page.evaluate("p.labels.solve(0, 0).worst.error") < 0.5
        page.keyboard.press("Delete")  # what is cleared is offered by the other views
        offer = page.evaluate("p.labels.offer(p.views[0].name, 0, 0)")
        assert np.linalg.norm(offer["xy"] - seen[0, -1, 0]) < 0.5
        wait_saved(page)


def label_all(page, seen, moment, individual=0):
    """Label a moment in all views, without the mouse."""
    page.evaluate("m => p.go(m)", moment)
    page.evaluate(
        """([seen, individual]) => p.labels.set(seen.flatMap((row, v) => row.map((xy, k) => ({
          keypoint: k, camera: p.views[v].name, individual, after: {state: "clicked", xy},
        }))))""",
        [seen[:, moment].tolist(), individual],
    )


def test_bones_of_unusual_length_and_exchanged_ears_are_warned_of_and_swapped(browser, scene, rig):
    _, seen, link = scene
    with opened(browser, link) as page:
        for moment in range(6):
            label_all(page, seen, moment)
        page.evaluate("p.go(6)")
        wait_until(page, "p.labels.lengths.length === 3")
        wrong = POINTS.copy()
        wrong[6, 3] += [-20, 0, 0]
        label_all(page, rig.project(wrong), 6)
        assert page.inner_text("#warnings") == "⚠ nose to tail: 90.0 mm, usually 70.0 ± 0.0"
        page.evaluate("p.go(5)")
        assert not page.is_visible("#warnings")
        # left taken for right in one view: one key puts it right, and can be undone
        page.keyboard.press("Tab")
        page.keyboard.press("l")
        assert page.evaluate("p.focus.name") == rig.names[1]
        np.testing.assert_array_equal(point(page, 1, 1)["xy"], seen[1, 5, 2])
        np.testing.assert_array_equal(point(page, 0, 1)["xy"], seen[0, 5, 1])
        said = "⚠ left_ear and right_ear look exchanged in cam_1"
        assert said in page.inner_text("#warnings")
        page.keyboard.press("l")
        assert not page.is_visible("#warnings")
        page.keyboard.press("Control+z")
        wait_until(page, "!document.getElementById('warnings').hidden")
        page.keyboard.press("Control+z")
        wait_until(page, "document.getElementById('warnings').hidden")
        page.keyboard.press("Shift+L")
        for v in range(4):
            np.testing.assert_array_equal(point(page, v, 1)["xy"], seen[v, 5, 2])
        assert not page.is_visible("#warnings")  # in all views alike, geometry says nothing
        wait_saved(page)


def test_many_individuals_are_labelled_each_for_itself(browser, tmp_path, rig):
    make_project(tmp_path, rig)
    config = tmp_path / "config.yaml"
    config.write_text(config.read_text().replace("pose3d:", "individuals: [Rex, Bo]\npose3d:"))
    project = Project.load(tmp_path)
    assert project.individuals == ("Rex", "Bo")
    first, second = rig.project(POINTS), rig.project(POINTS + [0, 45, 0])
    with served(project) as link, opened(browser, link) as page:
        assert page.is_visible("#individual")
        for individual, seen in enumerate((first, second)):
            for v in range(2):
                click(page, v, seen[v, 0, 0])
            assert page.evaluate("i => p.labels.offer(p.views[2].name, i, 0)", individual)
            page.keyboard.press("Space")
            assert point(page, 3, 0)["state"] == "reprojected"
            page.keyboard.press("1")
            page.keyboard.press("i")
        assert page.evaluate("p.individual") == 0
        both = page.evaluate("[0, 1].map((i) => p.labels.point(p.views[3].name, i, 0).xy)")
        assert np.abs(both - np.stack([first[3, 0, 0], second[3, 0, 0]])).max() < 3
        # a click on another one's point takes hold of that one
        click(page, 0, page.evaluate("p.labels.point(p.views[0].name, 1, 0).xy"))
        assert page.evaluate("[p.individual, p.keypoint]") == [1, 0]
        assert page.input_value("#individual") == "1"
        page.select_option("#individual", "0")
        page.keyboard.press("Shift+Delete")
        assert point(page, 0, 0) is None
        assert page.evaluate("p.labels.point(p.views[0].name, 1, 0).state") == "clicked"
        assert page.inner_text("#progress").startswith("4 of 40 points")
        wait_saved(page)
    labels = load_labels(project)
    assert np.isfinite(labels.xy[:, 1, 0]).all()
    assert np.isnan(labels.xy[:, 0]).all()


def test_a_recording_of_videos_alone_opens_and_its_first_frame_is_chosen_in_the_page(
    browser, filmed
):
    project, seen, _ = filmed
    for camera in project.cameras:
        shutil.rmtree(project.path / "labeled-data" / f"trot_{camera}")
    with served(Project.load(project.path)) as link, opened(browser, link) as page:
        wait_until(page, "p.timeline.count === 24")
        assert page.inner_text("#progress") == "no frame yet: choose one below"
        assert page.evaluate("p.views.length") == 4
        page.keyboard.press("n")  # keys find nothing to do
        page.keyboard.press("Space")
        page.keyboard.press("1")
        page.evaluate("p.timeline.show(11)")
        wait_until(page, "p.away === 'video, frame 11'")
        page.keyboard.press("p")
        wait_until(page, "p.away === '' && p.views.every(({image}) => image)")
        wait_until(page, "p.views.every(({camera}) => camera.lens)")  # its size is known now
        wait_until(page, "p.views.every(({image}) => image)")
        click(page, 2, seen[2, 11, 0])
        click(page, 3, seen[3, 11, 0])
        assert page.evaluate("p.labels.offer(p.views[0].name, 0, 0).state") == "reprojected"
        wait_saved(page)
