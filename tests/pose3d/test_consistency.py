"""A recording that does not belong to its calibration is noticed, and the cause named."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.errors import DataError
from calibration.formats.exchange import load_any
from calibration.rotations import rotation_matrices, rotation_vectors
from calibration.synthetic import ring_rig
from pose3d.consistency import check_recording
from pose3d.formats.json_poses import BODY_25B, load_openpose
from pose3d.keypoints import Keypoints2D
from pose3d.mixups import check_files
from pose3d.skeleton import Skeleton
from pose3d.swaps import find_swaps, repair_swaps
from pose3d.timeshift import estimate_offsets, shift_times

N_KEYPOINTS = 8
NAMES = tuple(f"point {i}" for i in range(N_KEYPOINTS))


def walk(rng):
    """A function of time (n,) to places (n, 8, 3): an animal that walks and moves its limbs."""
    frequency = rng.uniform(0.3, 2.5, size=(6, N_KEYPOINTS, 3))
    phase = rng.uniform(0, 2 * np.pi, size=(6, N_KEYPOINTS, 3))
    size = rng.normal(size=(6, N_KEYPOINTS, 3)) * 25 / frequency

    def place(at):
        waves = size * np.sin(2 * np.pi * frequency * at[:, None, None, None] + phase)
        return waves.sum(axis=1) + 300 * np.sin(0.5 * at)[:, None, None]

    return place


def recording(rng, late, n_frames=500, changed=None):
    """What cameras see, some late (frames of 10 ms), some standing elsewhere from a frame on."""
    rig = ring_rig(len(late), radius=1500, rng=rng)
    at, place = np.arange(n_frames) / 100, walk(rng)
    views = []
    for camera, lateness in zip(rig, late, strict=True):
        points = place(at - lateness / 100)
        seen = camera.project(points)
        if changed is not None and changed[0] == camera.name:
            name, other, frame = changed
            seen[frame:] = turned(camera, other).project(points)[frame:]
        views.append(seen)
    xy = np.stack(views) + rng.normal(size=(len(late), n_frames, N_KEYPOINTS, 2)) * 1.5
    xy[rng.uniform(size=xy.shape[:-1]) < 0.1] = np.nan
    xy[rng.uniform(size=xy.shape[:-1]) < 0.03] += 80
    return seen_by(rig, xy, at), rig


def seen_by(rig, xy, at):
    xy = xy[:, :, np.newaxis]
    return Keypoints2D(xy, np.ones(xy.shape[:-1]), rig.names, ("animal",), NAMES, at)


def turned(camera, degrees):
    """The camera turned where it stands, about an axis across the view."""
    turn = rotation_matrices(np.radians(degrees) * np.array([0.6, 0.8, 0.0]))
    rotation = turn @ camera.rotation
    return replace(camera, rvec=rotation_vectors(rotation), tvec=-rotation @ camera.position)


@pytest.mark.parametrize("n_cameras", [3, 4, 6])
def test_a_good_recording_passes(n_cameras, rng):
    seen, rig = recording(rng, np.zeros(n_cameras))
    found = check_recording(seen, rig)
    assert found.verdict.level == "PASS", str(found.verdict)
    assert not found.moved_from
    assert not found.late_seconds
    assert (found.misfit_px < 5).all()


@pytest.mark.parametrize("degrees", [0.2])
def test_a_camera_that_moved_is_named_with_frame_and_angle(degrees, rng):
    seen, rig = recording(rng, np.zeros(4), n_frames=1000, changed=("cam_2", degrees, 400))
    found = check_recording(seen, rig)
    assert found.verdict.level == "WARN"
    assert list(found.moved_from) == ["cam_2"]
    assert abs(found.moved_from["cam_2"] - 400) <= 50
    text = found.verdict.findings[0].found
    assert float(text.split("turned by ")[1].split()[0]) == pytest.approx(degrees, abs=0.1)
    assert "refine-rig --camera cam_2" in found.verdict.findings[0].remedy


def test_a_camera_that_stood_elsewhere_all_the_time_is_named(rng):
    seen, rig = recording(rng, np.zeros(4), changed=("cam_1", 0.5, 0))
    found = check_recording(seen, rig)
    assert found.moved_from == {"cam_1": 0}


@pytest.mark.parametrize("late", [0.3, -4.0])
def test_a_late_camera_is_named_with_its_lateness(late, rng):
    seen, rig = recording(rng, np.array([0, 0, late, 0]))
    found = check_recording(seen, rig)
    assert list(found.late_seconds) == ["cam_2"]
    assert found.late_seconds["cam_2"] * 100 == pytest.approx(late, abs=0.05)
    assert "sync-recording" in found.verdict.findings[0].remedy


def test_exchanged_scaled_and_mirrored_files_are_named(rng):
    seen, rig = recording(rng, np.zeros(4))
    xy = np.array(seen.xy)
    exchanged = xy[[1, 0, 2, 3]]
    half, all_half, mirrored = xy.copy(), (xy + 0.5) / 2 - 0.5, xy.copy()
    half[1] = (half[1] + 0.5) / 2 - 0.5
    mirrored[3, ..., 0] = rig["cam_3"].intrinsics.image_size[0] - 1 - mirrored[3, ..., 0]
    for wrong, words in (
        (exchanged, "'cam_0' and 'cam_1' are exchanged"),
        (half, "video of 'cam_1' has half the size"),
        (all_half, "all videos have half the size"),
        (mirrored, "video of 'cam_3' is mirrored"),
    ):
        finding = check_files(replace(seen, xy=wrong), rig)
        assert finding.level == "FAIL"
        assert words in finding.found
        assert finding.remedy
    assert check_files(seen, rig) is None


def test_exchanged_files_of_a_poor_detector_are_no_camera_that_moved(data_folder):
    """A person in images of 1920 px, found by OpenPose to 15 px: not a camera moved by 3 m."""
    folder = data_folder / "pose2sim_single_person"
    rig = load_any(folder / "calibration" / "Calib.qca.txt")[1]
    views = [
        load_openpose(
            folder / "reference_2024" / "balancing" / "pose" / f"{name}_json",
            camera=name, fps=60, names=BODY_25B,
        )
        for name in rig.names
    ]  # fmt: skip
    xy = np.concatenate([view.xy[:, :, :1] for view in views])
    likelihood = np.concatenate([view.likelihood[:, :, :1] for view in views])
    seen = Keypoints2D(xy, likelihood, rig.names, ("person",), BODY_25B, views[0].times)
    assert check_files(seen, rig) is None
    other = replace(seen, xy=xy[[1, 0, 2, 3]], likelihood=likelihood[[1, 0, 2, 3]])
    found = check_recording(other, rig).verdict
    assert found.level == "FAIL"
    assert "'cam01' and 'cam02' are exchanged" in found.findings[0].found


def test_nothing_to_compare_is_said(rng):
    seen, rig = recording(rng, np.zeros(3), n_frames=20)
    xy = np.array(seen.xy)
    xy[1:] = np.nan
    with pytest.raises(DataError, match="seen by two cameras"):
        check_recording(replace(seen, xy=xy), rig)


def test_lateness_is_found_to_hundredths_of_a_frame(rng):
    late = np.array([0, 0.37, -7.2, 23.55])
    seen, rig = recording(rng, late, n_frames=1000)
    found = estimate_offsets(seen, rig)
    np.testing.assert_allclose(found.seconds * 100, late, atol=0.04)
    assert (found.errors[1:] * 100 < 0.05).all()
    coarse = estimate_offsets(seen)
    np.testing.assert_allclose(coarse.seconds * 100, late, atol=6)


def test_a_shift_undoes_lateness_and_nothing_is_invented(rng):
    late = np.array([0, 0.4, -3])
    rig = ring_rig(3, rng=rng)
    at, place = np.arange(100) / 100, walk(rng)
    exact = np.stack([c.project(place(at - x / 100)) for c, x in zip(rig, late, strict=True)])
    shifted = shift_times(seen_by(rig, exact, at), late / 100)
    together = np.stack([camera.project(place(at)) for camera in rig])
    there = np.isfinite(shifted.xy[:, :, 0])
    assert np.abs(shifted.xy[:, :, 0] - together)[there].max() < 0.5
    assert np.isnan(shifted.xy[2, :3]).all()
    assert np.isnan(shifted.xy[1, -1:]).all()
    assert there.mean() > 0.97


def test_a_recording_without_movement_is_refused(rng):
    seen, rig = recording(rng, np.zeros(3), n_frames=50)
    still = replace(
        seen, xy=np.broadcast_to(np.nanmean(seen.xy, axis=1, keepdims=True), seen.xy.shape)
    )
    with pytest.raises(DataError, match="sees no movement"):
        estimate_offsets(still, rig)


def test_left_taken_for_right_is_found_and_repaired(rng):
    seen, rig = recording(rng, np.zeros(4), n_frames=200)
    skeleton = Skeleton(NAMES, symmetric=(("point 0", "point 1"), ("point 2", "point 3")))
    wrong = rng.uniform(size=(4, 200, 1, 2)) < 0.05
    spoilt = repair_swaps(seen, skeleton, wrong)
    found = find_swaps(spoilt, rig, skeleton)
    first = np.linalg.norm(seen.xy[..., 0, :] - seen.xy[..., 1, :], axis=-1)
    second = np.linalg.norm(seen.xy[..., 2, :] - seen.xy[..., 3, :], axis=-1)
    clear = np.stack([first, second], axis=-1) > 40
    # where another view is wrong or missing too, nothing can be told
    assert found[wrong & clear].mean() > 0.6
    assert found[~wrong].mean() < 0.002
    repaired = repair_swaps(spoilt, skeleton, wrong)
    np.testing.assert_array_equal(repaired.xy, seen.xy)
    assert not find_swaps(spoilt.subset(rig.names[:2]), rig, skeleton).any()
