"""The report as a browser shows it: offline, without errors, names as text, many cameras."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from calibration import figures
from calibration.boards import CharucoBoard
from calibration.cameras import Camera, CameraRig
from calibration.report import save_report
from calibration.solve import calibrate
from calibration.synthetic import moving_board, ring_rig, simulate_detections

BOARD = CharucoBoard(8, 6, 20.0, 15.0, "DICT_4X4_50")
EVIL = "</script><b>b<img src=x onerror=alert(1)>"


def calibration(n_cameras, n_frames=15, names=None):
    rng = np.random.default_rng(0)
    rig = ring_rig(n_cameras, rng=rng)
    if names:
        rig = CameraRig(
            tuple(
                Camera(name, c.intrinsics, c.rvec, c.tvec)
                for name, c in zip(names, rig, strict=True)
            )
        )
    poses = moving_board(BOARD, n_frames, reach=100, rng=rng)
    return calibrate(simulate_detections(rig, BOARD, poses, noise_px=0.2, rng=rng))


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("There is no Chromium here: install the system's (apt install chromium).")
    with playwright.sync_playwright() as runner:
        arguments = [
            "--no-sandbox",
            "--use-gl=swiftshader",
            "--enable-webgl",
            "--ignore-gpu-blocklist",
        ]
        instance = runner.chromium.launch(executable_path=chromium, args=arguments)
        yield instance
        instance.close()


@pytest.fixture
def page(browser):
    """A page that remembers its errors and what it asked other hosts for."""
    page = browser.new_page(viewport={"width": 1366, "height": 768})
    page.troubles = []
    page.on("pageerror", lambda error: page.troubles.append(str(error)))
    page.on("dialog", lambda dialog: page.troubles.append("dialog"))
    page.on(
        "request",
        lambda request: (
            None if request.url.startswith(("file:", "data:", "blob:"))
            else page.troubles.append(request.url)
        ),
    )  # fmt: skip
    yield page
    page.close()


def test_the_report_opens_offline_and_shows_names_as_text(page, tmp_path):
    save_report(tmp_path / "report.html", calibration(3, names=(EVIL, "mid", "b&w")), title=EVIL)
    page.goto((tmp_path / "report.html").as_uri())
    page.wait_for_function("document.querySelectorAll('.js-plotly-plot').length >= 7")
    assert page.troubles == []
    assert page.locator("h1").inner_text() == EVIL
    assert page.locator("img").count() == 0
    assert page.locator("svg b, svg img").count() == 0
    assert page.locator(".verdict strong").inner_text() in ("PASS", "WARN")
    widths = page.eval_on_selector_all(
        ".js-plotly-plot", "plots => plots.map(plot => plot.getBoundingClientRect().right)"
    )
    assert max(widths) <= 1366
    assert "focal" in page.locator("pre").text_content()


def test_many_cameras_are_folded_and_drawn_when_they_open(page, tmp_path):
    many = calibration(12, 12)
    save_report(tmp_path / "report.html", many, title="twelve")
    page.goto((tmp_path / "report.html").as_uri())
    page.wait_for_function("document.querySelectorAll('.js-plotly-plot').length >= 4")
    folded = page.locator("details.camera")
    assert folded.count() == 12
    before = page.locator(".js-plotly-plot").count()
    folded.nth(7).locator("summary").click()
    page.wait_for_function(f"document.querySelectorAll('.js-plotly-plot').length == {before + 1}")
    plot = folded.nth(7).locator(".js-plotly-plot")
    plot.wait_for()
    assert plot.bounding_box()["width"] > 300
    assert page.troubles == []


def test_points_are_thinned_with_the_worst_kept():
    result = calibration(3, 40)
    residuals = result.residuals.copy()
    there = np.argwhere(np.isfinite(residuals[1, ..., 0]))
    frame, corner = there[len(there) // 2]
    residuals[1, frame, corner] = [9.0, 0.0]
    figure = figures.plot_coverage(replace(result, residuals=residuals), "cam_1")
    dots = next(trace for trace in figure.data if trace.name == "corners")
    assert len(dots.x) <= 800
    assert max(float(text) for text in dots.text) == 9.0


def test_the_normal_curve_is_what_good_residuals_follow():
    result = calibration(3, 40)
    *cameras, normal = figures.plot_residuals(result).data
    assert len(cameras) == 3
    for trace in cameras:
        assert np.abs(np.array(trace.y) - np.array(normal.y)).max() < 0.12


def test_the_first_look_at_a_rig_holds_all_of_it_to_one_scale(rng):
    rig = ring_rig(3, rng=rng)
    figure = figures.plot_rig(rig)
    scene = figure.layout.scene
    for axis in "xyz":
        drawn = np.concatenate([np.asarray(trace[axis], float) for trace in figure.data])
        low, high = scene[f"{axis}axis"].range
        assert low < np.nanmin(drawn)
        assert high > np.nanmax(drawn)
        assert scene.aspectratio[axis] <= 1.25  # longer sides reach beyond plotly's window
    lengths = {axis: np.ptp(scene[f"{axis}axis"].range) for axis in "xyz"}
    scales = [lengths[axis] / scene.aspectratio[axis] for axis in "xyz"]
    np.testing.assert_allclose(scales, scales[0])
