"""Which file of a recording counts, where it was filtered or refined."""

import warnings
from pathlib import Path

from calibration.errors import DataWarning


def most_refined(path: Path, word: str) -> Path | None:
    """Choose the refined file beside a file of keypoints, else the file, else None.

    Parameters
    ----------
    path : path
        The file of keypoints as they were found.
    word : str
        What stands in the name of the other: filtered or refined.
    """
    refined = path.with_name(f"{path.stem}.{word}{path.suffix}")
    if not refined.is_file():
        return path if path.is_file() else None
    if path.is_file() and path.stat().st_mtime > refined.stat().st_mtime:
        warnings.warn(
            f"{path.name} is newer than {refined.name}, which is used. Refine again, or remove "
            f"{refined}.",
            DataWarning,
            stacklevel=3,
        )
    return refined
