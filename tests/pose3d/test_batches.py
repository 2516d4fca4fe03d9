"""Batches: seeded, complete, made ahead in a thread."""

import threading

import numpy as np
import pytest

from calibration.errors import DataError, DataWarning
from calibration.images import write_image
from pose3d.networks.augmentation import Augmentation
from pose3d.networks.batches import Examples, make_batch
from pose3d.networks.prefetching import prefetch
from pose3d.networks.spec import NetworkSpec

SPEC = NetworkSpec("unet", ("left", "right"), scale=0.5)


@pytest.fixture
def examples(tmp_path, rng):
    paths = []
    for i, (height, width) in enumerate([(90, 120), (100, 110), (64, 64), (90, 120), (80, 200)]):
        image = rng.integers(0, 256, (height, width) if i % 2 else (height, width, 3), np.uint8)
        paths.append(write_image(tmp_path / f"img{i}.png", image))
    xy = rng.uniform(10, 50, size=(5, 2, 2))
    xy[1, 0] = np.nan
    return Examples(paths, xy, SPEC)


def batch(examples, step, seed=0, **how):
    return make_batch(
        examples, step, seed=seed, batch_size=2, crop_size=64, augmentation=Augmentation(),
        mirrored=np.array([1, 0]), **how,
    )  # fmt: skip


def test_a_batch_depends_on_seed_and_step_alone(examples):
    first = batch(examples, 7)
    batch(examples, 3)
    again = batch(examples, 7)
    np.testing.assert_array_equal(first.images, again.images)
    np.testing.assert_array_equal(first.xy, again.xy)
    assert not np.array_equal(first.images, batch(examples, 8).images)
    assert not np.array_equal(first.images, batch(examples, 7, seed=1).images)


def test_every_image_is_taken_once_before_any_is_taken_again(examples):
    taken = np.concatenate([batch(examples, step).indices for step in range(5)])
    assert sorted(taken[:5]) == sorted(taken[5:]) == [0, 1, 2, 3, 4]


def test_a_keypoint_without_a_label_must_not_be_found(examples):
    for step in range(10):
        made = batch(examples, step)
        missing = np.isnan(made.xy).any(axis=2)
        assert made.targets.heat_weight.all()
        assert not made.targets.heat.max(axis=(1, 2))[missing].any()
        assert not made.targets.locref_weight.max(axis=(1, 2))[missing].any()


def test_half_of_a_batch_is_of_what_geometry_labelled_and_asks_only_what_it_knows(examples):
    examples.pseudo = np.array([False, True, True, False, False])
    taken = np.array([batch(examples, step).indices for step in range(6)])
    assert sorted(taken[:3, 0]) == sorted(taken[3:, 0]) == [0, 3, 4]
    assert sorted(taken[:2, 1]) == sorted(taken[2:4, 1]) == [1, 2]
    for step in range(6):
        made = batch(examples, step)
        unknown = np.isnan(made.xy).any(axis=2)  # of image 1, which geometry labelled
        assert unknown.any() == (1 in made.indices)
        asked = made.targets.heat_weight.reshape(unknown.shape).astype(bool)
        np.testing.assert_array_equal(asked, ~unknown)


def test_nothing_is_asked_about_a_label_that_is_unknown(examples):
    for step in range(10):
        made = batch(examples, step, unlabeled="unknown")
        for place, index in enumerate(made.indices):
            asked = made.targets.heat_weight[place].ravel().astype(bool)
            assert asked.tolist() == np.isfinite(made.xy[place]).all(axis=1).tolist()
            assert asked.sum() == (1 if index == 1 else 2)


def test_images_that_do_not_fit_in_memory_are_read_again(tmp_path, examples):
    labels = [[[10.0, 10.0], [20.0, 20.0]]] * 5
    paths = [tmp_path / f"img{i}.png" for i in range(5)]
    small = Examples(paths, labels, SPEC, max_bytes=6000)
    for i in range(5):
        np.testing.assert_array_equal(small.image(i), examples.image(i))


def test_one_unreadable_image_of_many_is_left_out_with_a_warning(tmp_path, rng):
    paths = [
        write_image(tmp_path / f"img{i:02d}.png", rng.integers(0, 256, (40, 40), np.uint8))
        for i in range(12)
    ]
    paths[5].write_bytes(b"not a picture")
    with pytest.warns(DataWarning, match=r"1 of 12 labelled images.*img05.png"):
        examples = Examples(paths, np.zeros((12, 2, 2)), SPEC)
    assert len(examples) == 11
    for path in paths[:3]:
        path.write_bytes(b"not a picture")
    with pytest.raises(DataError, match="4 of 12 labelled images cannot be read"):
        Examples(paths, np.zeros((12, 2, 2)), SPEC)


def test_what_is_made_ahead_comes_in_order_and_the_thread_ends():
    before = threading.active_count()
    assert list(prefetch(lambda i: i * i, range(50))) == [i * i for i in range(50)]
    some = prefetch(lambda i: i, iter(range(10**9)))
    assert [next(some) for _ in range(5)] == [0, 1, 2, 3, 4]
    some.close()
    assert threading.active_count() == before


def test_what_goes_wrong_in_the_thread_is_raised_where_the_result_is_asked_for():
    def make(i):
        if i == 3:
            raise DataError("the fourth is bad")
        return i

    got = []
    with pytest.raises(DataError, match="the fourth is bad"):
        got.extend(prefetch(make, range(10)))
    results = prefetch(make, range(10))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(DataError):
        next(results)
