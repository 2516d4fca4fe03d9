"""Points drawn as scoremaps and found again."""

import numpy as np
import pytest

from pose3d.scoremaps import METHODS, cell_centres, decode, encode

SHAPE = (96, 128)


@pytest.mark.parametrize("stride", [4, 8])
@pytest.mark.parametrize(
    ("method", "tolerance"), [("locref", 1e-5), ("vote", 1e-5), ("dark", 1e-4)]
)
def test_decoding_undoes_encoding(rng, stride, method, tolerance):
    xy = rng.uniform([8, 8], [119, 87], size=(50, 6, 2))
    targets = encode(xy, SHAPE, stride)
    found, likelihood = decode(targets.heat, targets.locref, stride, method=method)
    np.testing.assert_allclose(found, xy, atol=tolerance * stride)
    np.testing.assert_allclose(likelihood, 1, atol=1e-4)


def test_argmax_is_right_to_half_a_cell(rng):
    xy = rng.uniform([0, 0], [127, 95], size=(50, 6, 2))
    targets = encode(xy, SHAPE, 4)
    found, _ = decode(targets.heat, targets.locref, 4, method="argmax")
    assert np.abs(found - xy).max() <= 2.0


@pytest.mark.parametrize("method", METHODS)
def test_no_method_leans_to_one_side(rng, method):
    xy = rng.uniform([16, 16], [111, 79], size=(4000, 1, 2))
    targets = encode(xy, SHAPE, 4)
    found, _ = decode(targets.heat, targets.locref, 4, method=method)
    assert np.abs((found - xy).mean(axis=(0, 1))).max() < 0.06  # argmax: 1.15 px / sqrt(4000)


def test_a_cell_lies_in_the_middle_of_its_pixels():
    assert cell_centres(3, 4).tolist() == [1.5, 5.5, 9.5]


def test_nothing_is_asked_about_a_keypoint_without_a_label():
    xy = np.array([[[40.0, 40.0], [np.nan, np.nan]]])
    targets = encode(xy, SHAPE, 4)
    assert targets.heat_weight.ravel().tolist() == [1.0, 0.0]
    assert targets.locref_weight[..., 1, :].sum() == 0
    assert all(np.isfinite(part).all() for part in targets)


def test_a_keypoint_outside_is_asked_for_and_not_there():
    targets = encode(np.array([[[-60.0, 40.0]]]), SHAPE, 4)
    assert targets.heat_weight.item() == 1
    assert targets.heat.max() < 1e-6


def test_points_at_the_border_stay_near_it(rng):
    xy = np.array([[[0.0, 0.0], [127.0, 95.0], [0.0, 95.0], [127.0, 40.0]]])
    targets = encode(xy, SHAPE, 4)
    for method in METHODS:
        found, _ = decode(targets.heat, targets.locref, 4, method=method)
        assert np.abs(found - xy).max() < 2.01


def test_a_flat_map_gives_a_point_without_likelihood():
    heat = np.full((24, 32, 3), 0.01)
    for method in METHODS:
        xy, likelihood = decode(heat, np.zeros((24, 32, 3, 2)), 4, method=method)
        assert np.isfinite(xy).all()
        assert likelihood.max() < 0.05


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="method is 'mean'; expected one of argmax"):
        decode(np.zeros((2, 2, 1)), np.zeros((2, 2, 1, 2)), 4, method="mean")
