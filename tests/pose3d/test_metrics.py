"""Errors against labels."""

import numpy as np
import pytest

from pose3d.metrics import (
    animal_sizes,
    bootstrap_interval,
    confident_errors,
    correct_share,
    error_table,
    pixel_errors,
    reliability,
    summarize_errors,
)


def test_the_figures_are_those_of_a_known_case():
    predicted = np.array([[[3.0, 4.0], [0.0, 1.0], [5.0, 5.0]]])
    labels = np.array([[[0.0, 0.0], [0.0, 0.0], [np.nan, np.nan]]])
    errors = pixel_errors(predicted, labels)
    found = summarize_errors(errors)
    assert found["mean_error_px"] == 3.0
    assert found["rms_error_px"] == pytest.approx(np.sqrt(13))
    assert found["median_error_px"] == 3.0
    assert found["n_points"] == 2


def test_no_points_give_nan_and_no_warning():
    found = summarize_errors(np.full((3, 2), np.nan))
    assert found["n_points"] == 0
    assert np.isnan(found["mean_error_px"])
    assert np.isnan(correct_share([np.nan], 3.0))
    assert np.isnan(bootstrap_interval(np.full((3, 2), np.nan))).all()


def test_the_table_has_parts_and_keypoints_with_and_without_cutoff():
    errors = np.array([[1.0, 9.0], [3.0, np.nan], [5.0, 5.0]])
    likelihood = np.array([[0.9, 0.1], [0.9, 0.9], [0.2, 0.9]])
    rows = error_table(errors, likelihood, {"train": [0, 1], "test": [2]}, ("nose", "tail"), 0.6)
    assert [(row["part"], row["keypoint"]) for row in rows] == [
        ("train", "all"), ("train", "nose"), ("train", "tail"),
        ("test", "all"), ("test", "nose"), ("test", "tail"),
    ]  # fmt: skip
    assert rows[0]["mean_error_px"] == pytest.approx(13 / 3)
    assert rows[0]["confident_mean_error_px"] == 2.0
    assert rows[0]["kept"] == pytest.approx(2 / 3)
    assert rows[4]["kept"] == 0
    assert np.isnan(rows[4]["confident_mean_error_px"])


def test_unlikely_points_do_not_count():
    kept = confident_errors(np.array([1.0, 2.0]), np.array([0.6, 0.59]), 0.6)
    np.testing.assert_array_equal(kept, [1.0, np.nan])


def test_the_correct_share_counts_known_points():
    assert correct_share([1.0, 2.0, 3.0, np.nan], 2.0) == pytest.approx(2 / 3)
    assert correct_share([[1.0, 2.0], [3.0, 4.0]], [[1.0], [4.0]]) == pytest.approx(3 / 4)
    assert correct_share([1.0, np.inf], 2.0) == 0.5


def test_where_the_animal_s_size_is_not_known_no_share_of_it_is():
    one_keypoint = np.array([[[5.0, 5.0]], [[9.0, 7.0]]])
    reach = 0.1 * animal_sizes(one_keypoint)[:, np.newaxis]
    assert np.isnan(correct_share([[1.0], [2.0]], reach))
    assert correct_share([[1.0, 2.0]], [[np.nan, 3.0]]) == 1.0
    _, _, count, off = reliability(np.full((2, 1), np.nan), np.zeros((2, 1), bool))
    assert count.sum() == 0
    assert np.isnan(off)


def test_draws_of_images_without_the_keypoint_do_not_count_as_perfect():
    errors = np.array([[80.0], [90.0], [np.nan], [np.nan]])
    assert bootstrap_interval(errors) == (80, 90)


def test_the_bootstrap_covers_the_mean_as_often_as_it_says(rng):
    covered = 0
    for seed in range(200):
        errors = rng.gamma(2.0, 1.0, size=(40, 1)) * np.ones((1, 4))
        low, high = bootstrap_interval(errors, n_samples=500, seed=seed)
        covered += low <= 2.0 <= high
    assert 0.88 <= covered / 200 <= 0.98  # 0.95, a little less for 40 images
