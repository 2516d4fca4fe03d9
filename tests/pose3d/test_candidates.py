"""Several peaks, several animals: which belongs to which, against known answers."""

import numpy as np
import pytest

from calibration.synthetic import ring_rig
from pose3d.candidates import choose_by_views, choose_over_time, match_individuals
from pose3d.keypoints import Candidates2D, Keypoints2D
from pose3d.triangulation import triangulate


def candidates_of(rig, points, rng, n=3, share_first=0.6):
    """Peaks of which the right one is first in a share of views, else second; others anywhere."""
    exact = rig.project(points) + rng.normal(size=(len(rig), *points.shape[:-1], 2))
    xy = rng.uniform(0, 1000, size=(*exact.shape[:-1], n, 2))
    first = rng.uniform(size=exact.shape[:-1]) < share_first
    xy[..., 0, :] = np.where(first[..., np.newaxis], exact, xy[..., 0, :])
    xy[..., 1, :] = np.where(first[..., np.newaxis], xy[..., 1, :], exact)
    likelihood = np.broadcast_to(np.array([0.9, 0.6, 0.3])[:n], xy.shape[:-1])
    times = np.arange(points.shape[0]) / 100
    names = tuple(f"point {i}" for i in range(points.shape[2]))
    return Candidates2D(xy, likelihood, rig.names, ("animal",), names, times), exact, first


def test_all_views_together_find_the_right_peaks(rng):
    rig = ring_rig(4, rng=rng)
    points = rng.uniform(-150, 150, size=(60, 1, 5, 3))
    candidates, exact, first = candidates_of(rig, points, rng)
    chosen = choose_by_views(candidates, rig)
    right = np.linalg.norm(chosen.xy - exact, axis=-1) < 1e-9
    assert right.mean() > 0.97
    found = triangulate(chosen, rig, noise_px=1.0)
    assert np.nanmedian(np.linalg.norm(found.xyz - points, axis=-1)) < 2
    best = Keypoints2D(
        candidates.xy[..., 0, :], candidates.likelihood[..., 0], candidates.cameras,
        candidates.individuals, candidates.keypoints, candidates.times,
    )  # fmt: skip
    alone = triangulate(best, rig, noise_px=1.0)
    assert np.isfinite(found.xyz).mean() > 1.2 * np.isfinite(alone.xyz).mean()


def test_a_point_that_no_two_views_agree_on_keeps_the_likeliest_peak(rng):
    rig = ring_rig(3, rng=rng)
    candidates, _, _ = candidates_of(rig, rng.uniform(-100, 100, size=(5, 1, 2, 3)), rng)
    wild = rng.uniform(0, 1000, size=candidates.xy.shape)
    wild[1:] = np.nan
    candidates = Candidates2D(
        wild, candidates.likelihood, rig.names, ("animal",), candidates.keypoints, candidates.times
    )
    chosen = choose_by_views(candidates, rig)
    np.testing.assert_array_equal(chosen.xy[0], wild[0][..., 0, :])
    assert np.isnan(chosen.xy[1:]).all()


def test_time_finds_the_right_peaks_of_one_camera(rng):
    at = np.arange(500) / 50
    path = np.stack([300 + 100 * np.sin(2 * at), 250 + 80 * np.cos(3 * at)], axis=-1)
    exact = path[np.newaxis, :, np.newaxis, np.newaxis] + rng.normal(size=(1, 500, 1, 2, 2))
    xy = rng.uniform(0, 600, size=(1, 500, 1, 2, 3, 2))
    first = rng.uniform(size=(1, 500, 1, 2)) < 0.7
    for k in range(2):
        xy[..., k, :] = np.where((first == (k == 0))[..., np.newaxis], exact, xy[..., k, :])
    xy[:, 200:205] = np.nan
    likelihood = np.broadcast_to([0.6, 0.5, 0.3], xy.shape[:-1])
    candidates = Candidates2D(xy, likelihood, ("top",), ("animal",), ("nose", "tail"), at)
    chosen = choose_over_time(candidates)
    there = np.ones(500, dtype=bool)
    there[200:205] = False
    right = np.linalg.norm(chosen.xy - exact, axis=-1)[:, there] < 1e-9
    assert right.mean() > 0.98
    assert np.isnan(chosen.xy[:, 200:205]).all()
    assert (chosen.likelihood[:, 200:205] == 0).all()


@pytest.mark.parametrize("n_cameras", [2, 4])
def test_animals_get_the_same_name_in_all_views(n_cameras, rng):
    rig = ring_rig(n_cameras, rng=rng)
    centre = rng.uniform(-200, 200, size=(80, 3, 1, 3))
    points = centre + rng.uniform(-40, 40, size=(80, 3, 8, 3))
    xy = rig.project(points) + rng.normal(size=(n_cameras, 80, 3, 8, 2))
    xy[rng.uniform(size=xy.shape[:-1]) < 0.1] = np.nan
    mixed, truth = xy.copy(), np.tile(np.arange(3), (n_cameras, 80, 1))
    for i in range(1, n_cameras):
        for frame in range(80):
            truth[i, frame] = rng.permutation(3)
            mixed[i, frame] = xy[i, frame, truth[i, frame]]
    seen = Keypoints2D(
        mixed, np.ones(mixed.shape[:-1]), rig.names, ("a", "b", "c"),
        tuple(f"point {i}" for i in range(8)), np.arange(80) / 50,
    )  # fmt: skip
    matched = match_individuals(seen, rig)
    same = np.isclose(matched.xy, xy, equal_nan=True).all(axis=(-1, -2)).all(axis=2)
    assert same.mean() > 0.97
