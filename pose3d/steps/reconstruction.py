"""Step: from boards to the rig, in a project or out of one."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from calibration.errors import DataError
from calibration.results import Outcome

if TYPE_CHECKING:
    from pose3d.project import Project

__all__ = ["calibrate_rig"]


def calibrate_rig(
    videos: str | os.PathLike,
    *,
    board: str | os.PathLike | None = None,
    out: str | os.PathLike | None = None,
    report: str | os.PathLike | None = None,
    cameras: list[str] | None = None,
    model: str = "auto",
    fix_sync: bool = False,
    check_distance: tuple[str, str, float] | None = None,
    lenses: str | os.PathLike | None = None,
    lens_videos: str | os.PathLike | None = None,
    engine: str = "pose3d",
    world: str | None = None,
    board_videos: str | os.PathLike | None = None,
    recording: str | None = None,
) -> Outcome:
    """Calibrate a rig from videos or pictures of a board, and say whether to believe it.

    Inside a project config.yaml supplies what is not told. A calibration that is found wrong
    (FAIL) is written as calibration.rejected.toml, never over a good file.

    Parameters
    ----------
    videos : path
        Folder with a video, or a folder of pictures, of the board per camera; the file that
        detect-boards wrote; or a project's folder.
    board : path
        The board.toml that describes the board; in a project, the board of config.yaml unless
        told.
    out : path
        The calibration file to write; calibration.toml, in a project in its folder, unless told.
    report : path
        The report to write; beside the calibration file, in a project reports/_calibration.html,
        unless told.
    cameras : list of str
        Names of the cameras; the project's, or those found in the names of files and folders,
        unless told.
    model : str
        Lens model: auto, pinhole, k1, k1k2, k1k2p1p2, brown, rational or fisheye.
    fix_sync : bool
        Mend cameras that are found late, short of a frame or moved half-way.
    check_distance : (camera, camera, distance)
        A measured distance between two cameras, in the board's unit: cam1 cam2 820.
    lenses : path
        A calibration file whose lenses are known: those of its cameras are kept as they are.
    lens_videos : path
        Folder with videos or pictures of the board for the lenses alone, one camera after the
        other: close to the camera, in all of the image. They need not be simultaneous.
    engine : str
        pose3d, or aniposelib for comparison: its rig, judged as ours.
    world : str
        Where origin and axes come from: board:12, floor:12,40 or cameras, see orient-rig; the
        first camera unless told.
    board_videos : path
        In a project, the folder with the videos of the board; calibration_videos of config.yaml
        unless told.
    recording : str
        In a project, the recording that the calibration is for; all of them unless told.
    """
    from calibration.steps.rigs import calibrate_rig as calibrate_videos
    from pose3d.project import Project

    folder = Path(videos)
    if folder.name != "config.yaml" and not (folder / "config.yaml").is_file():
        for name, value in {"board_videos": board_videos, "recording": recording}.items():
            if value is not None:
                raise ValueError(
                    f"{name} is for projects, and {folder} has no config.yaml. Leave it out."
                )
        if board is None:
            raise ValueError(
                f"Which board is it? Give its board.toml (--board), or a project whose config.yaml "
                f"describes one; {folder} has no config.yaml."
            )
        return calibrate_videos(
            folder,
            board=board,
            out=out or "calibration.toml",
            report=report,
            cameras=cameras,
            model=model,
            fix_sync=fix_sync,
            check_distance=check_distance,
            lenses=lenses,
            lens_videos=lens_videos,
            engine=engine,
            world=world,
        )
    project = Project.load(folder)
    seen = board_videos or project.calibration_videos
    if seen is None:
        raise DataError(
            f"{project.config_path} does not say where the videos of the board are. Add "
            "calibration_videos to its section pose3d, or name the folder (--board-videos)."
        )
    name = "calibration"
    if out is None:
        out = project.path / "calibration.toml"
        if recording is not None:
            project.recording(recording)
            name = f"calibration_{recording}"
            out = project.path / "calibrations" / f"{recording}.toml"
    return calibrate_videos(
        seen,
        board=board or _board_file(project, Path(out)),
        out=out,
        report=report or project.path / "reports" / f"_{name}.html",
        cameras=cameras or list(project.cameras),
        model=model,
        fix_sync=fix_sync,
        check_distance=check_distance,
        lenses=lenses,
        lens_videos=lens_videos,
        engine=engine,
        world=world,
    )


def _board_file(project: "Project", calibration: Path) -> Path:
    """Write the project's board beside the calibration that is made with it."""
    from calibration.formats.boards import save_board

    if project.board is None:
        raise DataError(
            f"{project.config_path} describes no board. Add board to its section pose3d, or give "
            "a board.toml (--board)."
        )
    path = calibration.with_suffix(".board.toml")
    save_board(project.board, path)
    return path
