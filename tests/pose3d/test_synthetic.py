import cv2
import numpy as np
import pytest

from calibration.board_images import opencv_board
from pose3d.synthetic.animal import SKELETON, body, walk
from pose3d.synthetic.arena import BOARD, FINE, Stage, arena_rig, tumble
from pose3d.synthetic.recording import load_recording, render_recording
from pose3d.synthetic.rendering import render_animal, render_board

INDEX = {name: i for i, name in enumerate(SKELETON.keypoints)}


def test_the_animal_keeps_its_limb_lengths():
    points = walk(np.arange(-20, 400) / 30)
    rigid = [edge for edge in SKELETON.edges if edge[0] == "nose" or "tail" in edge[0] + edge[1]]
    rigid = [edge for edge in rigid if "knee" not in edge[1]]
    rigid += [("left_elbow", "left_forepaw"), ("right_knee", "right_hindpaw")]
    for first, second in rigid:
        lengths = np.linalg.norm(points[:, INDEX[first]] - points[:, INDEX[second]], axis=-1)
        assert np.ptp(lengths) < 1e-9, (first, second)


def test_paws_stand_still_on_the_floor_or_swing():
    times = np.arange(0, 7, 0.005)
    points = walk(times)
    for name in ("left_forepaw", "right_forepaw", "left_hindpaw", "right_hindpaw"):
        paw = points[:, INDEX[name]]
        speed = np.linalg.norm(np.diff(paw, axis=0), axis=-1) / 0.005
        standing = (paw[1:, 2] < 4.001) & (paw[:-1, 2] < 4.001)
        assert 0.4 < standing.mean() < 0.75
        assert np.median(speed[standing]) < 1e-6
        assert paw[:, 2].max() == pytest.approx(15, abs=0.5)


def test_the_animal_moves_smoothly_and_stays_in_the_arena():
    points = walk(np.arange(0, 30, 1 / 30))
    steps = np.linalg.norm(np.diff(points, axis=0), axis=-1)
    assert steps.max() < 30  # mm per frame: a swinging paw
    assert np.linalg.norm(points[..., :2], axis=-1).max() < 280
    assert points[..., 2].min() > 0


def test_rays_end_in_the_pixels_they_belong_to():
    for camera in arena_rig(3):
        stage = Stage(camera)
        pixels = camera.intrinsics.project(np.insert(stage.rays.astype(float), 2, 1.0, axis=-1))
        height, width = stage.rays.shape[:2]
        x = (np.arange(width) + 0.5) / FINE - 0.5
        y = (np.arange(height) + 0.5) / FINE - 0.5
        np.testing.assert_allclose(pixels[..., 0], np.tile(x, (height, 1)), atol=0.02)
        np.testing.assert_allclose(pixels[..., 1], np.tile(y[:, None], (1, width)), atol=0.02)


def test_keypoints_lie_on_the_animal():
    rig = arena_rig(3)
    points = walk(np.array([0.3, 2.1]))
    for camera in rig:
        empty = Stage(camera).floor
        for frame, truth in zip(render_animal(camera, points), points, strict=True):
            drawn = np.abs(frame.image - empty).max(axis=-1) > 12  # six times the noise
            drawn = cv2.dilate(drawn.astype(np.uint8), np.ones((3, 3)))
            x, y = np.rint(camera.project(truth)).astype(int).T
            assert drawn[y, x].all(), np.array(SKELETON.keypoints)[drawn[y, x] == 0]
            assert drawn.mean() < 0.2


def test_a_small_ball_is_drawn_where_its_centre_projects():
    rig = arena_rig(3)
    points = walk(np.array([0.3]))
    tail = body(points).centers[0, -1]
    for camera in rig:
        frame = next(iter(render_animal(camera, points)))
        # the tail's last ball is 1.8 mm thick: its colour is that of pink skin, not of the floor
        x, y = camera.project(tail)
        patch = frame.image[round(y) - 4 : round(y) + 5, round(x) - 4 : round(x) + 5].astype(float)
        pink = np.clip(patch[..., 0] - patch[..., 1] - 20, 0, None)
        assert pink[3:6, 3:6].max() > 10


def test_what_the_body_covers_is_hidden():
    points = walk(np.array([0.3]))[0]
    across = np.cross([0, 0, 1], points[INDEX["neck"]] - points[INDEX["tail_base"]])
    rig = arena_rig(36)
    place = np.array([camera.position for camera in rig]) * [1, 1, 0]
    left = rig.cameras[int(np.argmax(place @ across))]
    visible = next(iter(render_animal(left, points[np.newaxis]))).visible
    seen = {name for name, there in zip(SKELETON.keypoints, visible, strict=True) if there}
    assert {"nose", "left_ear", "left_elbow", "left_knee", "mid_back", "tail_tip"} <= seen
    assert not {"right_elbow", "right_knee"} & seen


def test_what_is_outside_the_image_or_behind_the_camera_is_hidden():
    camera = arena_rig(3).cameras[0]
    points = walk(np.zeros(3)) + [[[0, 0, 0]], [[150, -150, 0]], [3 * camera.position]]
    xy = camera.project(points)
    with np.errstate(invalid="ignore"):
        inside = ((xy > -0.5) & (xy < np.array([480, 360]) - 0.5)).all(axis=-1)
    visible = np.array([frame.visible for frame in render_animal(camera, points)])
    assert inside[0].all()
    assert 0 < inside[1].sum() < 16
    assert not inside[2].any()
    assert not visible[~inside].any()


def test_board_corners_are_found_where_they_project():
    rig = arena_rig(3)
    poses = tumble(BOARD, 15)
    detector = cv2.aruco.CharucoDetector(opencv_board(BOARD))
    world = BOARD.corners @ np.swapaxes(poses[:, :3, :3], 1, 2) + poses[:, None, :3, 3]
    errors = []
    for camera in rig:
        for image, corners in zip(render_board(camera, BOARD, poses), world, strict=True):
            found, ids, _, _ = detector.detectBoard(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
            if ids is not None and len(ids) >= 12:
                truth = camera.project(corners)[ids.ravel()]
                errors.append(found.reshape(-1, 2) - truth)
    errors = np.concatenate(errors)
    assert len(errors) > 500
    assert np.abs(errors.mean(axis=0)).max() < 0.02  # no shift by a part of a pixel
    assert np.median(np.abs(errors)) < 0.04
    # the rest: boards seen at a glancing angle, whose neighbouring corners disturb each other
    assert np.percentile(np.abs(errors), 95) < 0.3


def test_the_same_seed_gives_the_same_pictures():
    camera = arena_rig(3).cameras[1]
    points = walk(np.array([1.0]))
    first, again, other = (
        next(iter(render_animal(camera, points, seed=seed))).image for seed in (1, 1, 2)
    )
    assert (first == again).all()
    assert (first != other).mean() > 0.5


def test_exposure_brightens_a_camera():
    camera = arena_rig(3).cameras[0]
    poses = tumble(BOARD, 1)
    dark, right = (
        next(iter(render_board(camera, BOARD, poses, brightness=value))) for value in (0.6, 1.0)
    )
    assert dark.mean() == pytest.approx(0.6 * right.mean(), rel=0.02)


def test_a_recording_is_saved_with_its_truth(tmp_path):
    made = render_recording(tmp_path, n_cameras=2, n_frames=3, n_board_frames=2)
    for kind in ("videos", "calibration"):
        assert [path.name for path in sorted((tmp_path / kind).iterdir())] == [
            "cam1.mp4",
            "cam2.mp4",
        ]
    again = load_recording(tmp_path)
    assert again.board == made.board
    np.testing.assert_array_equal(again.keypoints_3d.xyz[:, 0], walk(np.arange(3) / 30))
    np.testing.assert_allclose(
        again.rig.project(again.keypoints_3d.xyz), again.keypoints_2d.xy, atol=1e-6
    )
    labels = made.labels(0.5)
    hidden = made.keypoints_2d.likelihood == 0
    assert np.isnan(labels[hidden]).all()
    assert np.nanstd(labels - made.keypoints_2d.xy) == pytest.approx(0.5, rel=0.2)


def test_a_late_camera_sees_a_later_moment(tmp_path):
    made = render_recording(tmp_path, n_cameras=2, n_frames=4, n_board_frames=1, late=(0.0, 1 / 30))
    projected = made.rig.project(made.keypoints_3d.xyz)
    seen = made.keypoints_2d.xy
    np.testing.assert_allclose(seen[0], projected[0], atol=1e-9)
    np.testing.assert_allclose(seen[1, :-1], projected[1, 1:], atol=1e-9)
