import numpy as np
import pytest

from pose3d.figures import plot_errors, plot_learning_curve, plot_trajectories, save_figure
from pose3d.keypoints import Keypoints3D, Missing


@pytest.fixture
def path(rng):
    xyz = rng.normal(size=(20, 1, 2, 3))
    reason = np.zeros((20, 1, 2), np.uint8)
    reason[5:10, 0, 1] = Missing.ONE_VIEW
    xyz[reason > 0] = np.nan
    error = np.where(reason > 0, np.nan, 2.0)
    covariance = np.where((reason > 0)[..., None, None], np.nan, np.diag([1.0, 4.0, 9.0]))
    views = (3, 20, 1, 2)
    return Keypoints3D(
        xyz, covariance, error, np.full(views, 2.0), np.ones(views, bool), reason,
        np.zeros(reason.shape, bool), ("a", "b", "c"), ("mouse",), ("nose", "<b>tail</b>"),
        np.arange(20) / 50, "mm",
    )  # fmt: skip


def test_trajectories_show_each_coordinate_with_its_standard_deviation(path):
    figure = plot_trajectories(path)
    lines = [trace for trace in figure.data if trace.hoverinfo != "skip"]
    bands = [trace for trace in figure.data if trace.hoverinfo == "skip"]
    assert len(lines) == len(bands) == 6
    np.testing.assert_array_equal(lines[2].y, path["nose"][:, 0, 2])
    np.testing.assert_allclose(np.asarray(bands[2].y)[0], path["nose"][0, 0, 2] + 3)
    assert np.isnan(np.asarray(bands[3].y)[10])  # breaks where the tail is missing
    assert figure.layout.yaxis2.title.text == "y (mm)"


def test_trajectories_of_nobody_are_refused(path):
    with pytest.raises(ValueError, match="'cat'; expected one of mouse"):
        plot_trajectories(path, individual="cat")


def test_errors_show_medians_and_why_points_are_missing(path):
    box, bars = plot_errors(path).data
    np.testing.assert_allclose(box.median, [2, 2])
    assert bars.name == "one view"
    np.testing.assert_allclose(bars.y, [0, 25])


def test_figures_open_offline_and_names_stay_text(path, tmp_path):
    save_figure(plot_errors(path), tmp_path / "errors.html")
    text = (tmp_path / "errors.html").read_text(encoding="utf-8")
    assert 'src="http' not in text
    assert "<b>tail</b>" not in text.replace("plotly.js", "")
    assert '"showSendToCloud": false' in text


def test_learning_curve_has_the_test_error_on_its_own_axis():
    plain = plot_learning_curve([0, 10], [1.0, 0.1])
    assert len(plain.data) == 1
    both = plot_learning_curve([0, 10], [1.0, 0.1], [10], [3.0])
    assert both.data[1].yaxis == "y2"
    assert both.layout.yaxis2.title.text == "mean test error (px)"
    assert both.layout.yaxis2.tickmode == "auto"  # round numbers, not those beside the losses
