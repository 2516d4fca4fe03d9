"""2D filters: what they smooth, what they leave alone, and what they say of the spread."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.errors import DataError
from pose3d.keypoints import Keypoints2D
from pose3d.smoothing import METHODS, combine_networks, filter_keypoints

NAMES = ("nose", "tail", "paw")


def seen(xy, likelihood=0.9, covariance=None, fps=50):
    """Keypoints of one animal from (n_cameras, n_frames, n_keypoints, 2)."""
    xy = np.asarray(xy, dtype=float)[:, :, np.newaxis]
    return Keypoints2D(
        xy=xy,
        likelihood=np.broadcast_to(likelihood, xy.shape[:-1]),
        cameras=tuple(f"cam{i}" for i in range(len(xy))),
        individuals=("mouse",),
        keypoints=NAMES[: xy.shape[3]],
        times=np.arange(xy.shape[1]) / fps,
        covariance=covariance,
    )


def slow_path(n_frames=400, fps=50):
    at = np.arange(n_frames)[:, np.newaxis] / fps
    phase = np.arange(3)
    xy = np.stack([200 + 80 * np.sin(2 * at + phase), 150 + 60 * np.cos(3 * at + phase)], axis=-1)
    return np.stack([xy, xy + 10])


@pytest.mark.parametrize("method", METHODS)
def test_noise_is_smoothed_and_its_variance_stated(method, rng):
    exact = slow_path()
    noise = rng.normal(size=exact.shape) * 2
    covariance = np.broadcast_to(4 * np.eye(2), (2, 400, 1, 3, 2, 2))
    noisy = seen(exact + noise, covariance=covariance)
    found = filter_keypoints(noisy, method, window=7, cutoff_hz=5)
    off = found.xy[:, :, 0] - exact
    assert np.sqrt(np.mean(off**2)) < 0.75 * np.sqrt(np.mean(noise**2))
    stated = np.sqrt(np.median(found.covariance[..., 0, 0]))
    if method == "median":
        assert stated == 2
    else:
        assert stated == pytest.approx(np.sqrt(np.mean(off**2)), rel=0.15)


def test_a_median_removes_a_jump_and_a_lowpass_does_not_delay(rng):
    exact = slow_path()
    jumped = exact.copy()
    jumped[:, 100] += 150
    found = filter_keypoints(seen(jumped), "median", window=5)
    assert np.abs(found.xy[:, :, 0] - exact).max() < 12
    smooth = filter_keypoints(seen(exact), "butterworth", cutoff_hz=8)
    assert np.abs(smooth.xy[:, 20:-20, 0] - exact[:, 20:-20]).max() < 0.3


@pytest.mark.parametrize("method", METHODS)
def test_gaps_stay_and_nothing_crosses_them(method, rng):
    exact = slow_path()
    exact[0, 200:] += 300
    gappy = exact.copy()
    gappy[0, 195:205] = np.nan
    found = filter_keypoints(seen(gappy), method, window=7, cutoff_hz=8)
    np.testing.assert_array_equal(np.isnan(found.xy), np.isnan(seen(gappy).xy))
    there = np.isfinite(gappy)
    assert np.abs(found.xy[:, :, 0] - exact)[there].max() < 6


def test_unlikely_points_do_not_count_and_stay_as_they_are(rng):
    exact = slow_path()
    wrong = exact.copy()
    wrong[0, 50:53, 0] += 100
    likelihood = np.full(wrong.shape[:-1], 0.9)
    likelihood[0, 50:53, 0] = 0.1
    noisy = seen(wrong, likelihood[:, :, np.newaxis])
    found = filter_keypoints(noisy, "savgol", window=7, min_likelihood=0.5)
    np.testing.assert_array_equal(found.xy[0, 50:53, 0, 0], wrong[0, 50:53, 0])
    np.testing.assert_allclose(found.xy[0, 44:50, 0, 0], exact[0, 44:50, 0], atol=0.5)


def test_what_a_filter_cannot_do_is_refused():
    noisy = seen(slow_path())
    with pytest.raises(ValueError, match="method is"):
        filter_keypoints(noisy, "kalman")
    with pytest.raises(ValueError, match="window is 4"):
        filter_keypoints(noisy, window=4)
    with pytest.raises(ValueError, match="half of the 50"):
        filter_keypoints(noisy, "butterworth", cutoff_hz=25)
    times = np.array(noisy.times)
    times[200:] += 1
    for method in ("butterworth", "savgol"):
        with pytest.raises(DataError, match="Frame 200 comes"):
            filter_keypoints(replace(noisy, times=times), method)


def test_an_ensemble_knows_where_it_is_unsure(rng):
    exact = slow_path()
    spread = np.where(np.arange(400) % 2, 1.0, 8.0)[:, np.newaxis, np.newaxis]
    networks = [seen(exact + spread * rng.normal(size=exact.shape)) for _ in range(5)]
    together = combine_networks(networks)
    off = np.abs(together.xy[:, :, 0] - exact)
    single = np.abs(networks[0].xy[:, :, 0] - exact)
    assert off.mean() < 0.6 * single.mean()
    stated = np.sqrt(together.covariance[:, :, 0, :, 0, 0])
    unsure, sure = np.median(stated[:, ::2]), np.median(stated[:, 1::2])
    # five networks' spread is drawn towards the usual one
    assert 4 < unsure < 9
    assert 1 < sure < 3
    assert unsure > 2 * sure
    with pytest.raises(ValueError, match="two or more"):
        combine_networks(networks[:1])
    with pytest.raises(ValueError, match="differ in keypoints"):
        combine_networks([networks[0], replace(networks[1], keypoints=("a", "b", "c"))])


def test_a_point_that_one_network_alone_found_has_no_spread(rng):
    exact = slow_path()
    gone = exact.copy()
    gone[0, 7] = np.nan
    together = combine_networks([seen(exact), seen(gone), seen(gone)])
    assert np.isnan(together.covariance[0, 7]).all()
    np.testing.assert_array_equal(together.xy[0, 7, 0], exact[0, 7])


@pytest.mark.parametrize(("method", "window"), [("savgol", 5), ("savgol", 11), ("butterworth", 5)])
@pytest.mark.parametrize("n_frames", [60, 900])
def test_the_variance_is_true_at_the_ends_of_a_stretch_too(method, window, n_frames, rng):
    noise = rng.normal(size=(400, n_frames, 3, 2))
    covariance = np.broadcast_to(np.eye(2), (400, n_frames, 1, 3, 2, 2))
    found = filter_keypoints(seen(noise, covariance=covariance), method, window=window)
    ratio = found.xy.var(axis=(0, 2, 3, 4)) / found.covariance[0, :, 0, 0, 0, 0]
    assert np.abs(ratio - 1).max() < 0.2
