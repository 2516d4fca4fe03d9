"""Label3D's and DANNCE's labels: points of all cameras in one .mat."""

import warnings
from pathlib import Path

import numpy as np

from calibration.errors import DataError
from pose3d.formats.foreign_labels import ForeignImage, ForeignLabels


def load_label3d_labels(
    path: Path, *, videos: Path | None = None, keypoints: tuple[str, ...] | None = None
) -> ForeignLabels:
    """Load the labels of a Label3D file.

    Parameters
    ----------
    path : Path
        The .mat with labelData, of MATLAB 5.
    videos : Path, optional
        Folder with a video for each camera, in files or folders that bear the cameras' names.
    keypoints : tuple of str, optional
        Names of the points, which the file does not tell.

    Raises
    ------
    DataError
        If it is no such file.
    """
    from scipy.io import loadmat

    try:
        content = loadmat(path, squeeze_me=True, struct_as_record=False)
        cells = np.atleast_1d(content["labelData"])
        names = [str(name) for name in np.atleast_1d(content.get("camnames", []))]
        names = names or [f"Camera{i + 1}" for i in range(len(cells))]
        tables = []
        for cell in cells:
            frames = np.atleast_1d(cell.data_frame).astype(int).ravel()
            xy = np.asarray(cell.data_2d, float).reshape(len(frames), -1, 2)
            tables.append((frames, xy))
    except (NotImplementedError, OSError, ValueError, KeyError, AttributeError) as error:
        raise DataError(
            f"{path} is no Label3D file with labelData that can be read ({error}). Files of MATLAB "
            "7.3 are saved anew with: save(name, '-v7')."
        ) from None
    n_keypoints = tables[0][1].shape[1]
    if keypoints is None:
        keypoints = tuple(f"point_{k + 1}" for k in range(n_keypoints))
        warnings.warn(
            f"{path.name} does not name its {n_keypoints} points; they are called point_1 and so "
            "on. Give their names with --keypoints.", UserWarning, stacklevel=2,
        )  # fmt: skip
    if len(keypoints) != n_keypoints or len(names) != len(tables):
        raise DataError(
            f"{path} has {n_keypoints} points and {len(tables)} cameras; {len(keypoints)} and "
            f"{len(names)} names were given."
        )
    images = []
    for name, (frames, xy) in zip(names, tables, strict=True):
        video = _video(videos, name)
        for frame, points in zip(frames, xy, strict=True):
            images.append(
                ForeignImage(path.stem, name, int(frame), points[np.newaxis], video=video)
            )
    dropped = ("points in space: triangulate the labels", "the tables of synchronisation")
    return ForeignLabels(tuple(keypoints), (), tuple(names), tuple(images), dropped=dropped)


def _video(folder, camera):
    """Find the video of a camera in a folder."""
    if folder is None:
        return None
    endings = (".mp4", ".avi", ".mov", ".mkv")
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in endings)
    mine = [p for p in found if camera.lower() in p.relative_to(folder).as_posix().lower()]
    return mine[0] if mine else None
