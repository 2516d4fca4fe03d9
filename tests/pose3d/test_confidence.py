"""Likelihoods that come true, covariances that hold what they say."""

import numpy as np
import pytest

from pose3d.confidence import Confidence, learn_confidence
from pose3d.metrics import animal_sizes, average_precision, object_similarity, reliability
from pose3d.scoremaps import encode, peak_shapes


def made_up(rng, n, floor=0.7, share=0.5):
    """Draw points whose errors and truth follow a known law."""
    raw = rng.uniform(0.02, 0.98, n)
    probability = 1 / (1 + np.exp(-(1.0 + 1.6 * np.log(raw / (1 - raw)))))
    right = rng.random(n) < probability
    angle = rng.uniform(0, np.pi, n)
    axes = np.stack([np.stack([np.cos(angle), -np.sin(angle)], -1),
                     np.stack([np.sin(angle), np.cos(angle)], -1)], -2)  # fmt: skip
    widths = rng.uniform(2, 30, (n, 2))
    shape = np.einsum("nij,nj,nkj->nik", axes, widths, axes)
    truth = Confidence(1.6, 1.0, floor, share)
    chol = np.linalg.cholesky(truth.covariance(shape, raw))
    error = np.einsum("nij,nj->ni", chol, rng.standard_normal((n, 2)))
    return raw, shape, error, right, truth


def test_a_confidence_is_learnt_back_and_holds(rng):
    raw, shape, error, right, truth = made_up(rng, 4000)
    wrong = rng.random(4000) < 0.01
    error[wrong] += 40  # labels with left and right exchanged
    found = learn_confidence(raw, shape, error, right)
    assert found.slope == pytest.approx(truth.slope, rel=0.15)
    assert found.intercept == pytest.approx(truth.intercept, abs=0.15)
    raw, shape, error, right, _ = made_up(rng, 4000)
    *_, off = reliability(found.likelihood(raw), right)
    assert off < 0.03
    square = np.einsum("ni,nij,nj->n", error, np.linalg.inv(found.covariance(shape, raw)), error)
    assert 0.93 < (square[right] < 5.99).mean() < 0.975


def test_few_labels_change_little():
    assert learn_confidence(
        np.ones(3), np.zeros((3, 2, 2)), np.zeros((3, 2)), np.ones(3, bool)
    ) == (Confidence())
    ones = np.full(20, 0.9)
    found = learn_confidence(
        ones, np.tile(np.eye(2) * 6, (20, 1, 1)), np.full((20, 2), 0.5), np.ones(20, bool)
    )
    # none was wrong, so nothing tells that unlikely points are right
    assert found.likelihood(np.array([0.05, 0.9])) == pytest.approx([0.05, 0.9])


def test_what_a_file_holds_is_taken_or_left():
    made = Confidence(1.5, 0.2, 0.4, 0.3, 90)
    assert Confidence.from_dict(made.to_dict()) == made
    for wrong in (None, {}, {"slope": "x"}, made.to_dict() | {"share": float("nan")}):
        assert Confidence.from_dict(wrong) == Confidence()


@pytest.mark.parametrize("stride", [4, 8])
def test_a_peak_that_was_asked_for_has_the_width_that_was_asked_for(rng, stride):
    xy = rng.uniform([40, 40], [80, 60], size=(20, 1, 2))
    heat = encode(xy, (128, 128), stride).heat
    middle = heat.reshape(20, -1).argmax(axis=1)
    row, column = np.divmod(middle, 128 // stride)
    cut = np.stack([h[r - 1 : r + 2, c - 1 : c + 2, 0]
                    for h, r, c in zip(heat, row, column, strict=True)])  # fmt: skip
    shape = peak_shapes(cut, stride)
    np.testing.assert_allclose(shape, np.eye(2) * (0.625 * stride) ** 2 + np.zeros((20, 2, 2)),
                               rtol=1e-3, atol=1e-3)  # fmt: skip


def test_average_precision_of_known_cases():
    assert average_precision([1.0, 1.0, 1.0], [0.9, 0.5, 0.1]) == pytest.approx(1)
    assert average_precision([0.0, 0.0], [0.9, 0.1]) == 0
    # half of the images are found; the network is sure of those, or of the others
    assert average_precision([1.0, 0.0], [0.9, 0.1]) == pytest.approx(51 / 101)
    assert average_precision([1.0, 0.0], [0.1, 0.9]) == pytest.approx(51 / 101 / 2)


def test_similarity_is_one_at_the_label_and_falls_with_the_size_of_the_animal():
    errors = np.array([[0.0, 0.0], [10.0, np.nan], [np.nan, np.nan]])
    alike = object_similarity(errors, np.array([50.0, 50.0, 50.0]))
    assert alike[0] == 1
    assert alike[1] == pytest.approx(np.exp(-100 / (2 * 100)))
    assert np.isnan(alike[2])


def test_the_size_of_an_animal_along_an_axis_is_not_nothing():
    sizes = animal_sizes(
        np.array([[[0.0, 0], [100, 0]], [[0, 0], [30, 40]], [[5, 5], [np.nan] * 2]])
    )
    assert sizes[0] == pytest.approx(50)
    assert sizes[2] == pytest.approx(np.median(sizes[:2]))
