"""The viewer's page, driven in a browser: what it shows is what the data says."""

import time
from contextlib import contextmanager
from dataclasses import replace

import cv2
import numpy as np
import pytest

from calibration.errors import DataWarning
from calibration.synthetic import ring_rig
from calibration.video import VideoWriter
from pose3d.keypoints import Keypoints2D, Keypoints3D, Missing
from pose3d.skeleton import Skeleton
from pose3d.viewer import write_viewer

SIZE = (320, 240)
N_FRAMES = 48
NAMES = ("nose", "neck", "tail")
SKELETON = Skeleton(NAMES, (("nose", "neck"), ("neck", "tail")))
BAD_FRAME = 31
BLOCK = 20  # px; side of a bit of the frame number in the picture


def moving_points(n_frames=N_FRAMES):
    turn = np.linspace(0, 4, n_frames)
    nose = np.stack([60 * np.cos(turn), 60 * np.sin(turn), 20 + 5 * turn], axis=-1)
    return np.stack([nose, 0.5 * nose + [0, 0, 20], [0, 0, 30] + 0 * nose], axis=1)


def keypoints_of(rig, points, individuals=("mouse",)):
    """Exact keypoints of points (n_frames, n_individuals, n_keypoints, 3)."""
    xy = rig.project(points)
    times = np.arange(len(points)) / 25
    names = NAMES[: points.shape[2]]
    seen = Keypoints2D(
        xy, np.full(xy.shape[:-1], 0.9), rig.names, individuals, names, times,
        image_sizes=np.tile(SIZE, (len(rig), 1)),
    )  # fmt: skip
    covariance = np.broadcast_to(np.diag([0.25, 1.0, 4.0]), (*points.shape, 3))
    n_views = (len(rig), *points.shape[:-1])
    path = Keypoints3D(
        points, covariance, np.full(points.shape[:-1], 0.5), np.full(n_views, 0.5),
        np.ones(n_views, bool), np.zeros(points.shape[:-1], np.uint8),
        np.zeros(points.shape[:-1], bool), rig.names, individuals, names, times, rig.units,
    )  # fmt: skip
    return seen, path


@pytest.fixture(scope="module")
def take(tmp_path_factory):
    """Four small videos that carry their frame number in black and white and a dot at the nose."""
    folder = tmp_path_factory.mktemp("take")
    rig = ring_rig(4, image_size=SIZE, radius=300, focal=300)
    seen, path = keypoints_of(rig, moving_points()[:, np.newaxis])
    videos = {}
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]]
    for c, name in enumerate(rig.names):
        videos[name] = folder / f"{name}.mp4"
        with VideoWriter(videos[name], 25, crf=12) as video:
            for frame in range(N_FRAMES):
                image = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)
                for bit in range(6):
                    start = 40 + bit * BLOCK
                    image[:BLOCK, start : start + BLOCK] = 255 * (frame >> bit & 1)
                x, y = seen.xy[c, frame, 0, 0]
                blob = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 3.0**2))
                image = np.maximum(image, (90 + 165 * blob[..., np.newaxis]).astype(np.uint8))
                video.write(image)
    return rig, seen, path, videos


@contextmanager
def opened(browser, path, *, allowed=None, before=None, **options):
    """Open a page; afterwards, nothing may have gone wrong in it or left it."""
    page = browser.new_page(**{"viewport": {"width": 1366, "height": 768}, **options})
    if before:
        page.add_init_script(before)
    troubles = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda m: m.type == "error" and troubles.append(m.text))
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    try:
        page.goto(path.as_uri())
        page.evaluate("viewer.then((parts) => { window.parts = parts; })")
        yield page
        page.wait_for_timeout(50)
    finally:
        page.close()
    assert not [text for text in troubles if allowed is None or allowed not in text]
    away = [url for url in requests if not url.startswith(("file:", "blob:", "data:"))]
    assert not away


def plays_films(page):
    """Skip where the browser (playwright's own) has no decoder for H.264."""
    if not page.evaluate("parts.player.hasFilm"):
        pytest.skip("This browser does not play H.264: apt install chromium, or install Chrome.")


def wait_until(page, expression, seconds=10):
    """Wait until JavaScript is true; playwright's own wait needs eval, which the page forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"after {seconds} s not yet: {expression}"
        page.wait_for_timeout(10)


def go(page, frame):
    page.evaluate("frame => parts.player.go(frame)", frame)
    wait_until(page, f"parts.player.frame === {frame}")
    page.wait_for_timeout(120)


def shown_frame(page):
    return page.evaluate("parts.player.frame")


def screenshot(page):
    data = np.frombuffer(page.screenshot(), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1].astype(int)


def page_xy(page, view, x, y):
    return page.evaluate(f"parts.views.pageXY({view}, {x}, {y})")


def number_in_picture(page, view):
    """Read the frame number out of the picture on the screen."""
    image = screenshot(page)
    number = 0
    for bit in range(6):
        x, y = page_xy(page, view, 40 + (bit + 0.5) * BLOCK, 0.5 * BLOCK)
        number |= int(image[round(y), round(x)].mean() > 128) << bit
    return number


@pytest.fixture(scope="module")
def whole(take, tmp_path_factory):
    """The page of the take, with one bad frame."""
    rig, seen, path, videos = take
    error = path.reprojection_error.copy()
    error[BAD_FRAME, 0, 1] = 9.0
    path = replace(path, reprojection_error=error)
    out = tmp_path_factory.mktemp("page") / "whole.html"
    write_viewer(
        out, recording=videos, keypoints_2d=seen, keypoints_3d=path, rig=rig, skeleton=SKELETON,
        title="Whole",
    )  # fmt: skip
    return out


@pytest.fixture(scope="module")
def open_page(browser, whole):
    with opened(browser, whole) as page:
        plays_films(page)
        yield page


@pytest.fixture
def page(open_page):
    """The page of the take as it is when just opened."""
    open_page.evaluate(
        "() => { const { player, state, views } = parts; player.pause(); player.setSpeed(1);"
        " if (state.selected >= 0) state.select(state.selected); views.focus(-1);"
        " state.hidden.fill(0); state.showOnly(0); state.showOnly(0);"
        " for (const name of ['seen', 'projected', 'bones']) {"
        " const box = document.getElementById(`layer-${name}`); if (!box.checked) box.click(); }"
        " parts.space.fast = true; }"
    )
    open_page.mouse.move(3, 3)
    go(open_page, 0)
    return open_page


def test_page_shows_picture_keypoints_space_and_figures(page):
    assert page.title() == "Whole – pose3d"
    assert "4 cameras · 48 frames · 1.9 s at 25 fps" in page.inner_text("#facts")
    assert page.inner_text("#legend tbody tr:first-child") == "nose\t0.50\t2.29\t4"
    assert "floor at z = 0" in page.inner_text("#space-words")
    assert page.evaluate("parts.space.fast")
    assert page.is_hidden("#notes")


def test_picture_shown_is_the_frame_that_is_named(page):
    for frame in (0, 1, 2, 47, 30, 29, 28, 13, 46):
        go(page, frame)
        assert [number_in_picture(page, view) for view in (0, 3)] == [frame, frame]
        assert page.input_value("#frame") == str(frame)


def test_dots_lie_on_what_they_mark(take, page):
    _, seen, _, _ = take
    go(page, 17)
    page.evaluate("parts.state.showOnly(0)")
    for key in "bdr":  # bones, dots and crosses off
        page.keyboard.press(key)
    page.wait_for_timeout(100)
    bare = screenshot(page)
    page.keyboard.press("d")
    page.wait_for_timeout(100)
    drawn = screenshot(page)
    for view in range(4):
        x, y = page_xy(page, view, *seen.xy[view, 17, 0, 0])
        rows, columns = np.mgrid[int(y) - 7 : int(y) + 8, int(x) - 7 : int(x) + 8]
        white = np.maximum(bare[rows, columns, 1] - 100, 0)
        changed = np.abs(drawn - bare)[rows, columns].sum(axis=-1) > 30
        # the middle of a screenshot's pixel 0 stands at 0.5 on the page
        for weight in (white, changed):
            middle = np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()
            np.testing.assert_allclose(middle + 0.5, [x, y], atol=0.3)


def test_play_moves_on_and_stays_in_step(page):
    page.keyboard.press("[")
    page.keyboard.press("[")
    assert page.input_value("#speed") == "0.25"
    page.keyboard.press(" ")
    wait_until(page, "parts.player.frame >= 5")
    page.keyboard.press(" ")
    page.wait_for_timeout(200)
    frame = shown_frame(page)
    assert 5 <= frame < N_FRAMES - 1
    assert number_in_picture(page, 1) == frame
    page.wait_for_timeout(200)
    assert shown_frame(page) == frame


def test_play_ends_at_the_last_frame_and_starts_again(page):
    go(page, N_FRAMES - 4)
    page.keyboard.press(" ")
    wait_until(page, "!parts.player.playing")
    assert shown_frame(page) == N_FRAMES - 1
    # slowly, so that a busy machine looks in time
    page.keyboard.press("[")
    page.keyboard.press("[")
    page.keyboard.press(" ")
    wait_until(page, "parts.player.frame > 0 && parts.player.frame < 30")


def test_older_browsers_show_the_frame_that_is_named_too(browser, whole):
    before = (
        "delete HTMLVideoElement.prototype.requestVideoFrameCallback; delete Uint8Array.fromBase64"
    )
    with opened(browser, whole, before=before) as page:
        plays_films(page)
        for frame in (0, 40, 41, 7):
            go(page, frame)
            assert number_in_picture(page, 2) == frame
        page.keyboard.press(" ")
        wait_until(page, "parts.player.frame >= 20")


def test_keys_step_and_jump(page):
    for key, frame in (
        ("ArrowRight", 1), (".", 11), ("ArrowLeft", 10), (",", 0), ("End", 47), ("Home", 0),
        ("n", BAD_FRAME), ("End", 47), ("p", BAD_FRAME),
    ):  # fmt: skip
        page.keyboard.press(key)
        wait_until(page, f"parts.player.frame === {frame}")
    page.keyboard.press("?")
    assert page.is_visible("#help")
    page.keyboard.press("Escape")
    assert page.is_hidden("#help")


def test_keys_pressed_quickly_add_up(page):
    for _ in range(7):
        page.keyboard.press("ArrowRight")
    wait_until(page, "parts.player.frame === 7")


def test_click_on_the_timeline_jumps(page):
    x = page.evaluate("parts.timeline.pageX(22)")
    box = page.locator("#strip").bounding_box()
    page.mouse.click(x, box["y"] + 20)
    wait_until(page, "parts.player.frame === 22")
    assert "frame 22 · 0.880 s · error 0.50 px" in page.inner_text("#strip-tip")


def test_a_click_selects_a_keypoint_and_tells_everything(take, page):
    _, seen, path, _ = take
    go(page, 5)
    page.mouse.click(*page_xy(page, 2, *seen.xy[2, 5, 0, 0]))
    page.mouse.move(5, 5)
    text = page.inner_text("#details")
    assert text.startswith("nose")
    place = [float(part) for part in text.split("(")[1].split(")")[0].split(",")]
    np.testing.assert_allclose(place, path.xyz[5, 0, 0], atol=0.06)
    assert "error 0.50 px · sd 2.29 mm" in text
    assert "cam_2\t0.90\t0.0" in text


def test_hidden_keypoints_are_nowhere(page):
    page.locator("#legend .dot").nth(1).click()
    assert page.evaluate("parts.timeline.bad.count") == 0
    x = page.evaluate(
        "Object.values(document.querySelector('#plot')._fullLayout.scene._scene.traces)"
        ".find((trace) => trace.data.index === 5).data.x.join()"
    )
    assert [part == "NaN" for part in x.split(",")] == [False, True, False]


def test_inferred_points_are_drawn_apart(browser, take, tmp_path):
    _, _, path, _ = take
    filled = path.filled.copy()
    filled[3, 0, 0] = True
    write_viewer(tmp_path / "v.html", keypoints_3d=replace(path, filled=filled))
    with opened(browser, tmp_path / "v.html") as page:
        go(page, 3)
        traces = page.evaluate(
            "Object.values(document.querySelector('#plot')._fullLayout.scene._scene.traces)"
            ".filter((trace) => [5, 6].includes(trace.data.index))"
            ".sort((a, b) => a.data.index - b.data.index).map((trace) => trace.data.x.join())"
        )
        there = [[part != "NaN" for part in x.split(",")] for x in traces]
        assert there == [[False, True, True], [True, False, False]]
        page.locator("#legend tbody tr").nth(0).click()
        assert "inferred, not measured" in page.inner_text("#details")


def test_the_eye_follows_the_animal(browser, take, tmp_path):
    _, _, path, _ = take
    away = np.linspace(0, 3000, N_FRAMES)[:, np.newaxis, np.newaxis, np.newaxis] * [1, 0, 0]
    write_viewer(tmp_path / "v.html", keypoints_3d=replace(path, xyz=path.xyz + away))
    place = (
        "document.querySelector('#plot')._fullLayout.scene._scene.getCamera().center.x.toFixed(3)"
    )
    with opened(browser, tmp_path / "v.html") as page:
        assert page.get_attribute("#follow", "aria-pressed") == "true"
        start = float(page.evaluate(place))
        go(page, N_FRAMES - 1)
        assert float(page.evaluate(place)) - start > 0.5
        page.keyboard.press("f")
        page.wait_for_timeout(200)
        still = page.evaluate(place)
        go(page, 0)
        assert page.evaluate(place) == still


def test_drawing_without_plotlys_insides_works_too(take, page):
    _, _, path, _ = take
    page.evaluate("parts.space.fast = false")
    go(page, 9)
    page.wait_for_timeout(200)
    z = page.evaluate("Array.from(document.querySelector('#plot').data[5].z)")
    np.testing.assert_allclose(z, path.xyz[9, 0, :, 2], atol=0.1)


def test_names_that_are_html_stay_text(browser, take, tmp_path):
    rig, seen, path, videos = take
    nasty = (
        "<img src=x onerror=boom()>",
        "</script><script>boom()</script>",
        '"><b>bold</b>&lt;i&gt; \u2028{{title}}',
    )
    cameras = [f"<svg onload=boom()>{name}" for name in rig.names]
    rig = replace(
        rig,
        cameras=tuple(replace(c, name=n) for c, n in zip(rig.cameras, cameras, strict=True)),
    )
    names = {"keypoints": nasty, "individuals": ("<script>boom()</script>",), "cameras": cameras}
    out = tmp_path / "hostile.html"
    with pytest.warns(DataWarning, match="not there"):
        write_viewer(
            out,
            recording=dict(zip(cameras, [*list(videos.values())[:3], "<gone>.mp4"], strict=True)),
            keypoints_2d=replace(seen, **names),
            keypoints_3d=replace(path, **names),
            rig=rig,
            skeleton=Skeleton(nasty),
            title="<title></title><script>boom()</script>",
        )
    text = out.read_text(encoding="utf-8")
    assert "<script>boom" not in text
    assert "<img src=x" not in text
    with opened(browser, out) as page:
        assert page.inner_text("#title") == "<title></title><script>boom()</script>"
        assert page.locator("#legend tbody tr td:first-child").all_inner_texts() == list(nasty)
        page.locator("#legend tbody tr").nth(0).click()
        page.locator("#notes summary").click()
        assert "<svg onload=boom()>cam_3" in page.inner_text("#notes ul")
        found = page.evaluate(
            "[...document.querySelectorAll('img, b, i, [onload], [onerror]')].length"
        )
        assert found == 0
        assert page.evaluate("typeof boom") == "undefined"
        assert page.evaluate("document.scripts.length") == 3  # data, plotly, viewer


def test_nothing_leaves_the_page_and_no_other_script_runs(browser, whole):
    with opened(browser, whole, allowed="Content Security Policy") as page:
        refused = page.evaluate("fetch('https://example.org/').then(() => 'sent', () => 'refused')")
        ran = page.evaluate(
            "(() => { const s = document.createElement('script'); s.textContent = 'window.ran = 1';"
            " document.body.append(s); return window.ran === 1; })()"
        )
        assert (refused, ran) == ("refused", False)


def nothing_found(seen, path):
    """The same keypoints, all missing."""
    return (
        replace(seen, xy=np.full_like(seen.xy, np.nan), likelihood=0 * seen.likelihood),
        replace(
            path,
            xyz=np.full_like(path.xyz, np.nan),
            covariance=np.full_like(path.covariance, np.nan),
            reprojection_error=np.full_like(path.reprojection_error, np.nan),
            view_errors=np.full_like(path.view_errors, np.nan),
            used_views=np.zeros_like(path.used_views),
            reason=np.full_like(path.reason, Missing.NOT_SEEN),
        ),
    )


def test_all_missing_says_why(browser, take, tmp_path):
    rig, seen, path, videos = take
    seen, path = nothing_found(seen, path)
    with pytest.warns(DataWarning, match="No 2D keypoint was found"):
        write_viewer(
            tmp_path / "v.html", recording=videos, keypoints_2d=seen, keypoints_3d=path, rig=rig
        )
    with opened(browser, tmp_path / "v.html") as page:
        assert page.inner_text("#space-message") == (
            "Every 3D point is missing: 100 % seen by no camera."
        )
        assert page.inner_text("#legend tbody tr:first-child") == "nose\t–\t–\t0"
        page.keyboard.press("ArrowRight")
        wait_until(page, "parts.player.frame === 1")


def part_of(seen, path, n_frames):
    """The first frames."""
    seen = replace(
        seen,
        xy=seen.xy[:, :n_frames],
        likelihood=seen.likelihood[:, :n_frames],
        times=seen.times[:n_frames],
    )
    by_frame = ("xyz", "covariance", "reprojection_error", "reason", "filled", "times")
    changes = {name: getattr(path, name)[:n_frames] for name in by_frame}
    changes |= {name: getattr(path, name)[:, :n_frames] for name in ("view_errors", "used_views")}
    return seen, replace(path, **changes)


@pytest.mark.parametrize(
    "given",
    ["2d", "3d", "videos", "rig", "one camera", "one frame", "without rig", "no videos", "nothing"],
)
def test_page_works_with_what_there_is(browser, take, tmp_path, given):
    rig, seen, path, videos = take
    one, single = part_of(seen, path, 1)
    what = {
        "2d": {"recording": videos, "keypoints_2d": seen},
        "3d": {"keypoints_3d": path},
        "videos": {"recording": videos},
        "rig": {"rig": rig},
        "one camera": {
            "recording": {"cam_1": videos["cam_1"]},
            "keypoints_2d": seen.subset(["cam_1"]),
        },
        "one frame": {"recording": videos, "keypoints_2d": one, "keypoints_3d": single, "rig": rig},
        "without rig": {"recording": videos, "keypoints_2d": seen, "keypoints_3d": path},
        "no videos": {"keypoints_2d": seen, "keypoints_3d": path, "rig": rig},
        "nothing": {},
    }[given]
    write_viewer(tmp_path / "v.html", skeleton=SKELETON, title=given, **what)
    with opened(browser, tmp_path / "v.html") as page:
        many = given not in ("rig", "one frame", "nothing")
        page.keyboard.press(".")
        last = 10 if many else 0
        wait_until(page, f"parts.player.frame === {last}")
        page.keyboard.press(" ")
        if many:
            wait_until(page, "parts.player.frame > 10")
        assert page.is_visible("#space") == ("keypoints_3d" in what or given in ("rig", "nothing"))
        assert page.is_visible("#stage") == (given not in ("3d", "rig"))
        if given == "2d":
            assert page.inner_text("#legend tbody tr:first-child") == "nose\t0.90\t4"
            assert "They were not triangulated." in page.inner_text("#facts")
        if given == "rig":
            assert "Triangulate the recording" in page.inner_text("#space-message")
        if given == "nothing":
            assert "No videos" in page.inner_text("#stage-message")


def test_several_individuals_are_listed_one_by_one(browser, take, tmp_path):
    rig, _, _, videos = take
    points = moving_points()
    both = np.stack([points, points + [40, 0, 0]], axis=1)
    seen, path = keypoints_of(rig, both, ("one", "two"))
    path = replace(path, reprojection_error=path.reprojection_error + [[[0], [1]]])
    write_viewer(
        tmp_path / "v.html", recording=videos, keypoints_2d=seen, keypoints_3d=path, rig=rig,
        skeleton=SKELETON,
    )  # fmt: skip
    with opened(browser, tmp_path / "v.html") as page:
        first = page.inner_text("#legend tbody tr:first-child")
        page.locator("#individuals button").nth(1).click()
        second = page.inner_text("#legend tbody tr:first-child")
        assert (first, second) == ("nose\t0.50\t2.29\t4", "nose\t1.50\t2.29\t4")
        page.locator("#legend tbody tr").nth(1).click()
        assert page.inner_text("#details h2") == "neck · two"


def test_upright_and_wide_cameras_share_a_page(browser, take, tmp_path):
    _, _, _, videos = take
    tall = tmp_path / "tall.mp4"
    with VideoWriter(tall, 25) as video:
        for _ in range(N_FRAMES - 8):  # and it ends early
            video.write(np.full((400, 150, 3), 200, np.uint8))
    with pytest.warns(DataWarning) as caught:
        write_viewer(tmp_path / "v.html", recording={**videos, "tall": tall})
    assert any("tall: 8 of 48 pictures" in str(warning.message) for warning in caught)
    with opened(browser, tmp_path / "v.html") as page:
        plays_films(page)
        go(page, 3)
        image = screenshot(page)
        for x, y in ((8, 8), (141, 391)):
            left, top = page_xy(page, 4, x, y)
            assert abs(image[round(top), round(left)].mean() - 200) < 12


def test_frames_can_be_chosen(browser, take, tmp_path):
    rig, seen, path, videos = take
    write_viewer(
        tmp_path / "v.html", recording=videos, keypoints_2d=seen, keypoints_3d=path, rig=rig,
        frames=range(10, 40, 3),
    )  # fmt: skip
    with opened(browser, tmp_path / "v.html") as page:
        plays_films(page)
        go(page, 4)
        assert page.input_value("#frame") == "22"
        assert number_in_picture(page, 0) == 22
        assert "10 frames" in page.inner_text("#facts")


def test_a_film_too_large_has_fewer_pictures_and_says_so(browser, take, tmp_path):
    rig, seen, path, videos = take
    with pytest.warns(DataWarning, match="one frame in"):
        written = write_viewer(
            tmp_path / "v.html", recording=videos, keypoints_2d=seen, keypoints_3d=path, rig=rig,
            max_video_mb=0.03,
        )  # fmt: skip
    assert written.video_bytes <= 30_000
    assert "one frame in" in written.notes[0]
    with opened(browser, tmp_path / "v.html") as page:
        plays_films(page)
        every = page.evaluate("parts.data.film.every")
        assert every > 1
        go(page, 2 * every + 1)
        assert number_in_picture(page, 0) == 2 * every
        assert page.inner_text("#stage-badge") == f"picture of frame {2 * every}"
        page.keyboard.press(" ")
        wait_until(page, "parts.player.frame > 30")


def test_dark_and_small_windows_work(browser, whole):
    options = {"color_scheme": "dark", "viewport": {"width": 640, "height": 900}}
    with opened(browser, whole, **options) as page:
        page.emulate_media(color_scheme="light")
        page.wait_for_timeout(100)
        page.keyboard.press("2")
        assert page.evaluate("parts.views.focused") == 1
        page.keyboard.press("0")
        assert page.evaluate("parts.views.focused") == -1
