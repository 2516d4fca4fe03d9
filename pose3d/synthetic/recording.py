"""A whole synthetic recording on disk: videos of the animal, of the board, and the truth."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calibration.boards import CharucoBoard
from calibration.cameras import CameraRig
from calibration.formats.boards import load_board, save_board
from calibration.formats.toml import load_rig, save_rig
from calibration.video import VideoWriter
from pose3d.formats.keypoints import (
    load_keypoints_2d,
    load_keypoints_3d,
    save_keypoints_2d,
    save_keypoints_3d,
)
from pose3d.keypoints import Keypoints2D, Keypoints3D, Missing
from pose3d.synthetic.animal import SKELETON, walk
from pose3d.synthetic.arena import BOARD, arena_rig, tumble
from pose3d.synthetic.rendering import render_animal, render_board


@dataclass(frozen=True, eq=False)
class SyntheticRecording:
    """A rendered recording and what is true of it.

    Attributes
    ----------
    folder : Path
        Holds ``videos/<camera>.mp4`` and ``calibration/<camera>.mp4``, the board's.
    rig : CameraRig
        The true cameras.
    board : CharucoBoard
        The board.
    keypoints_2d : Keypoints2D
        Where each camera sees each keypoint; likelihood is 1 where it is visible, 0 where it
        is out of the image or behind another part of the body.
    keypoints_3d : Keypoints3D
        Where the keypoints are; a view is used where the keypoint is visible in it.
    """

    folder: Path
    rig: CameraRig
    board: CharucoBoard
    keypoints_2d: Keypoints2D
    keypoints_3d: Keypoints3D

    def labels(self, noise_px: float = 0.0, *, seed: int = 0) -> np.ndarray:
        """Label like a person: what is visible, a little beside where it is.

        Parameters
        ----------
        noise_px : float
            Standard deviation of each coordinate.
        seed : int
            Of the noise.

        Returns
        -------
        ndarray of shape (n_cameras, n_frames, 1, 16, 2)
            Pixels; NaN where a keypoint is hidden.
        """
        xy = self.keypoints_2d.confident(0.5).xy
        return xy + np.random.default_rng([seed, 3]).normal(scale=noise_px, size=xy.shape)


def render_recording(
    folder: str | os.PathLike,
    *,
    n_cameras: int = 3,
    n_frames: int = 120,
    n_board_frames: int = 60,
    image_size: tuple[int, int] = (480, 360),
    fps: float = 30.0,
    seed: int = 0,
    brightness: Sequence[float] | None = None,
    late: Sequence[float] | None = None,
    progress: Callable[[list], Iterable] = iter,
) -> SyntheticRecording:
    """Render a recording of a walking animal and of a tumbling board.

    Parameters
    ----------
    folder : path
        Where to write ``videos/``, ``calibration/`` and ``truth/``.
    n_cameras : int
        At least two.
    n_frames, n_board_frames : int
        Frames of the animal and of the board.
    image_size : tuple of int
        Width and height in pixels.
    fps : float
        Frames per second.
    seed : int
        Of floor, fur and noise; the same seed gives the same pictures everywhere.
    brightness : sequence of float, optional
        Exposure of each camera; 1 is right.
    late : sequence of float, optional
        Seconds by which each camera's frames of the animal are taken after their time.
    progress : callable, optional
        Wraps the list of videos to be rendered, as ``tqdm`` does.

    Returns
    -------
    SyntheticRecording
        The videos and the truth, which is saved beside them.
    """
    folder = Path(folder)
    rig = arena_rig(n_cameras, image_size)
    brightness = np.ones(n_cameras) if brightness is None else brightness
    late = np.zeros(n_cameras) if late is None else late
    times = np.arange(n_frames) / fps
    seen = np.zeros((n_cameras, n_frames, 1, len(SKELETON.keypoints)), dtype=bool)
    xy = np.zeros((*seen.shape, 2))
    board_poses = tumble(BOARD, n_board_frames)
    for i, kind in progress([(i, kind) for i in range(n_cameras) for kind in ("board", "animal")]):
        camera, options = rig.cameras[i], {"brightness": brightness[i], "seed": seed}
        if kind == "board":
            with VideoWriter(folder / "calibration" / f"{camera.name}.mp4", fps) as video:
                for image in render_board(camera, BOARD, board_poses, **options):
                    video.write(image)
            continue
        points = walk(times + late[i])
        xy[i, :, 0] = camera.project(points)
        with VideoWriter(folder / "videos" / f"{camera.name}.mp4", fps) as video:
            for j, frame in enumerate(render_animal(camera, points, **options)):
                video.write(frame.image)
                seen[i, j, 0] = frame.visible
    truth = SyntheticRecording(folder, rig, BOARD, *_keypoints(rig, times, xy, seen))
    save_rig(rig, folder / "truth" / "calibration.toml")
    save_board(BOARD, folder / "truth" / "board.toml")
    save_keypoints_2d(folder / "truth" / "keypoints-2d.h5", truth.keypoints_2d)
    save_keypoints_3d(folder / "truth" / "keypoints-3d.h5", truth.keypoints_3d)
    return truth


def load_recording(folder: str | os.PathLike) -> SyntheticRecording:
    """Load the truth of a recording that `render_recording` made.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    folder = Path(folder)
    return SyntheticRecording(
        folder,
        load_rig(folder / "truth" / "calibration.toml"),
        load_board(folder / "truth" / "board.toml"),
        load_keypoints_2d(folder / "truth" / "keypoints-2d.h5"),
        load_keypoints_3d(folder / "truth" / "keypoints-3d.h5"),
    )


def _keypoints(rig, times, xy, seen):
    """Make the nouns of the truth."""
    n_cameras, n_frames, *points = seen.shape
    names = {
        "cameras": rig.names,
        "individuals": ("animal",),
        "keypoints": SKELETON.keypoints,
        "times": times,
    }
    sizes = [camera.intrinsics.image_size for camera in rig]
    keypoints_2d = Keypoints2D(xy=xy, likelihood=seen, image_sizes=sizes, **names)
    keypoints_3d = Keypoints3D(
        xyz=walk(times)[:, np.newaxis],
        covariance=np.zeros((n_frames, *points, 3, 3)),
        reprojection_error=np.zeros((n_frames, *points)),
        view_errors=np.zeros(seen.shape),
        used_views=seen,
        reason=np.full((n_frames, *points), Missing.PRESENT),
        filled=np.zeros((n_frames, *points), dtype=bool),
        units=rig.units,
        **names,
    )
    return keypoints_2d, keypoints_3d
