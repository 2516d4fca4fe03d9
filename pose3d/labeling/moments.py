"""Moments: which images of the cameras were taken together."""

from collections.abc import Iterable, Mapping
from typing import Any

from calibration.recordings import Recording
from calibration.video import probe_video
from pose3d.labeling.folders import LabelFolder
from pose3d.project import frame_number

#: What a moment is called, and the image of each camera.
Moment = tuple[str, dict[str, str]]


def late_frames(
    take: Recording | None, cameras: Iterable[str]
) -> tuple[dict[str, int], dict[str, str]]:
    """Tell by how many frames each camera is late, to show the same moment in all of them.

    Half a frame at most remains.

    Parameters
    ----------
    take : Recording or None
        The recording; None where nothing but images is known.
    cameras : iterable of str
        The cameras of interest.

    Returns
    -------
    late : dict of str to int
        Frames, for cameras that are late.
    unknown : dict of str to str
        Why it cannot be told, for cameras whose video does not tell its frame rate: their images
        cannot be put together with the others'.
    """
    late, unknown = {}, {}
    wanted = set(cameras)
    for camera, offset in zip(take.cameras, take.offsets, strict=True) if take else ():
        if offset == 0 or camera not in wanted:
            continue
        try:
            late[camera] = round(offset * probe_video(take.videos[camera]).fps)
        except (OSError, ValueError) as error:
            unknown[camera] = (
                f"{camera!r} is {offset:.4g} s late, and its video does not tell how many "
                f"frames that is ({error}). All cameras are labelled without geometry."
            )
    return late, unknown


def group_moments(folders: Mapping[str, LabelFolder], late: Mapping[str, int]) -> list[Moment]:
    """Group the images of all cameras by the last number in their names, else by name.

    Parameters
    ----------
    folders : mapping of str to LabelFolder
        By camera.
    late : mapping of str to int
        Frames by which cameras are late.

    Returns
    -------
    list of (str, dict of str to str)
        In the order of time; no two have the same name.
    """
    found: dict[Any, dict[str, str]] = {}
    for camera, folder in folders.items():
        for image in folder.images:
            stem = image.rpartition(".")[0]
            number = frame_number(image)
            key = (0, number - late.get(camera, 0), "") if number >= 0 else (1, 0, stem)
            if camera in found.get(key, {}):
                key = (1, 0, image)  # two images of one number: each a moment of its own
            found.setdefault(key, {})[camera] = image
    return [
        (str(key[1]) if key[0] == 0 else key[2], images) for key, images in sorted(found.items())
    ]
