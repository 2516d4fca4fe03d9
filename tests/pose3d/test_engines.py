"""aniposelib's ways of triangulating, judged as ours."""

import numpy as np
import pytest

from calibration.synthetic import ring_rig
from pose3d.engines import METHODS, triangulate
from pose3d.keypoints import Keypoints2D, Missing
from pose3d.skeleton import Skeleton
from pose3d.triangulation import judge_points

NAMES = ("hip", "knee", "ankle")


@pytest.fixture
def scene(rng):
    rig = ring_rig(3, rng=rng)
    at = np.arange(30) / 30
    hip = np.stack([100 * np.sin(at), 80 * np.cos(at), 20 * at], axis=-1)
    points = np.stack([hip, hip + [0, 10, -40], hip + [5, 10, -75]], axis=1)[:, np.newaxis]
    xy = rig.project(points) + rng.normal(size=(3, 30, 1, 3, 2)) * 0.5
    xy[0, 3, 0, 1] = np.nan
    xy[:2, 4, 0, 2] = np.nan
    likelihood = np.ones(xy.shape[:-1])
    seen = Keypoints2D(xy, likelihood, rig.names, ("animal",), NAMES, at)
    return seen, rig, points


@pytest.mark.parametrize("method", METHODS)
def test_every_engine_finds_the_points_and_says_what_it_used(scene, method):
    seen, rig, points = scene
    skeleton = Skeleton(NAMES, (("hip", "knee"), ("knee", "ankle")))
    found = triangulate(seen, rig, method=method, skeleton=skeleton)
    off = np.linalg.norm(found.xyz - points, axis=-1)
    assert np.nanmedian(off) < 2
    there = np.isfinite(off)
    there[4, 0, 2] = True
    assert there.mean() > 0.95
    assert found.reason[4, 0, 2] == Missing.ONE_VIEW
    assert not found.used_views[0, 3, 0, 1]
    assert 0 < np.nanmedian(found.reprojection_error) < 1.5
    assert np.nanmedian(np.sqrt(np.trace(found.covariance, axis1=-2, axis2=-1))) < 3


def test_points_found_elsewhere_are_judged(scene):
    seen, rig, points = scene
    wrong = points.copy()
    wrong[10, 0, 0] += 50
    wrong[11, 0, 0] = np.nan
    found = judge_points(seen, rig, wrong, noise_px=0.5)
    np.testing.assert_array_equal(found.xyz[10, 0, 0], wrong[10, 0, 0])
    assert found.reprojection_error[10, 0, 0] > 20
    assert found.reason[11, 0, 0] != Missing.PRESENT
    right = np.delete(found.reprojection_error[:, 0, 0], [10, 11])
    assert right.max() < 2
    with pytest.raises(ValueError, match="xyz has shape"):
        judge_points(seen, rig, wrong[1:])


def test_an_unknown_engine_is_refused(scene):
    seen, rig, _ = scene
    with pytest.raises(ValueError, match="anipose-optim"):
        triangulate(seen, rig, method="opencv")
