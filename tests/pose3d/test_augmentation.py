"""Training crops: labels move with the image, exactly."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from pose3d.networks.augmentation import Augmentation, augment

GEOMETRY = Augmentation(
    light_share=0,
    noise_share=0,
    blur_share=0,
    motion_share=0,
    occlusion_share=0,
    compression_share=0,
)
NO_PARTNERS = np.arange(2)


def dots(xy, size=(160, 120), sigma=2.0, heights=(200, 120)):
    """Draw a dot at each point of an image, brighter and darker."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    image = np.zeros(size[::-1])
    for (px, py), height in zip(xy, heights, strict=True):
        image = np.maximum(image, height * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 2 / sigma**2))
    return np.rint(image).astype(np.uint8)[..., np.newaxis]


def centroid(image, near, reach=9):
    """Measure where a dot is, near a point."""
    x, y = np.meshgrid(np.arange(image.shape[1]), np.arange(image.shape[0]))
    weight = image[..., 0] * (np.hypot(x - near[0], y - near[1]) < reach)
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


@pytest.mark.parametrize("flip", [False, True])
def test_labels_stay_on_what_they_label(rng, flip):
    options = replace(GEOMETRY, flip=flip, anywhere=0.0)
    compared = []
    for _ in range(60):
        xy = rng.uniform([50, 40], [110, 80]) + np.array([[-18.0, 3.0], [18.0, -3.0]])
        crop, moved = augment(dots(xy), xy, 96, rng, options, NO_PARTNERS)
        for point in moved:
            if (point > 12).all() and (point < 83).all():
                compared.append(centroid(crop, point) - point)
    compared = np.array(compared)
    assert len(compared) > 60
    assert np.abs(compared).max() < 0.25  # grey levels are whole numbers
    assert np.abs(compared.mean(axis=0)).max() < 0.03


def test_mirroring_exchanges_symmetric_keypoints(rng):
    options = replace(GEOMETRY, flip=True, anywhere=0.0, rotation_degrees=0.0)
    xy = np.array([[60.0, 60.0], [100.0, 60.0]])
    mirrored = np.array([1, 0])
    orders = set()
    for _ in range(20):
        crop, moved = augment(dots(xy), xy, 128, rng, options, mirrored)
        # the animal's first keypoint stays at its left whether the picture is mirrored or not
        assert moved[0, 0] < moved[1, 0]
        inside = (moved > 8).all() and (moved < 119).all()
        if inside:
            orders.add(bool(centroid(crop, moved[0])[0] < centroid(crop, moved[1])[0]))
            bright = [crop[int(round(y)), int(round(x)), 0] for x, y in moved]
            orders.add("mirrored" if bright[0] < bright[1] else "as it was")
    assert orders == {True, "mirrored", "as it was"}


def test_a_missing_label_stays_missing(rng):
    xy = np.array([[60.0, 60.0], [np.nan, np.nan]])
    _, moved = augment(dots(np.full((2, 2), 60.0)), xy, 64, rng, Augmentation(), NO_PARTNERS)
    assert np.isfinite(moved).all(axis=1).tolist() == [True, False]


def test_an_image_without_labels_still_gives_a_crop(rng):
    crop, moved = augment(
        dots(np.full((2, 2), 60.0)), np.full((2, 2), np.nan), 64, rng, Augmentation(), NO_PARTNERS
    )
    assert crop.shape == (64, 64, 1)
    assert np.isnan(moved).all()


def test_colour_and_grey_keep_their_channels_and_one_state_gives_one_crop():
    image = np.random.default_rng(0).integers(0, 256, (80, 100, 3), np.uint8)
    image = cv2.GaussianBlur(image, (0, 0), 2)
    xy = np.array([[20.0, 30.0], [60.0, 50.0]])
    for seed in range(20):
        first, second = (
            augment(image, xy, 64, np.random.default_rng(seed), Augmentation(), NO_PARTNERS)
            for _ in range(2)
        )
        assert first[0].shape == (64, 64, 3)
        np.testing.assert_array_equal(first[0], second[0])
        np.testing.assert_array_equal(first[1], second[1])
