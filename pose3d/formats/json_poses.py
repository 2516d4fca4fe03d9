"""Keypoints of people in JSON: OpenPose's file for each frame, and COCO's one for all.

Coordinates of both are pixels whose corner is (0, 0) at the top left of the picture for COCO, and
pixel centres for OpenPose; a missing point is (0, 0) of confidence 0.
"""

import json
import os
import re
import warnings
from pathlib import Path

import numpy as np

from calibration.errors import DataError
from calibration.files import atomic_path
from pose3d.keypoints import Keypoints2D

#: Names of the points of OpenPose's models, and of COCO's that others write in its form.
BODY_25 = (
    "Nose", "Neck", "RShoulder", "RElbow", "RWrist", "LShoulder", "LElbow", "LWrist", "MidHip",
    "RHip", "RKnee", "RAnkle", "LHip", "LKnee", "LAnkle", "REye", "LEye", "REar", "LEar",
    "LBigToe", "LSmallToe", "LHeel", "RBigToe", "RSmallToe", "RHeel",
)  # fmt: skip
BODY_25B = (
    "Nose", "LEye", "REye", "LEar", "REar", "LShoulder", "RShoulder", "LElbow", "RElbow",
    "LWrist", "RWrist", "LHip", "RHip", "LKnee", "RKnee", "LAnkle", "RAnkle", "UpperNeck",
    "HeadTop", "LBigToe", "LSmallToe", "LHeel", "RBigToe", "RSmallToe", "RHeel",
)  # fmt: skip
COCO_17 = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder",
    "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip",
    "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip

#: Share of a person's height within which points of a face, or of a line, lie together.
_CLOSE = 0.2

#: Larger files are no pose of a frame, or of a recording.
_LARGEST = 1 << 30


def frame_numbers(folder: str | os.PathLike) -> dict[int, Path]:
    """Return the JSON files of a folder by the last number in their names.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    DataError
        If it holds no such files.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"No folder {folder}; OpenPose writes one with a file a frame.")
    files = {}
    for path in sorted(folder.glob("*.json")):
        number = _last_number(path.stem.removesuffix("_keypoints"))
        if number is not None:
            files[number] = path
    if not files:
        raise DataError(f"{folder} holds no JSON file with a frame number in its name.")
    return files


def picture_numbers(path: str | os.PathLike) -> list[int]:
    """Return the numbers of the pictures of a file of COCO keypoints; none if some have none."""
    content = _read_json(Path(path))
    images = content.get("images", []) if isinstance(content, dict) else []
    numbers = [_last_number(Path(str(image.get("file_name", ""))).stem) for image in images]
    return [] if None in numbers or len(set(numbers)) < len(numbers) else numbers


def _last_number(text):
    """Return the last number in a name; None without one."""
    numbers = re.findall(r"\d+", text)
    return int(numbers[-1]) if numbers else None


def load_openpose(
    folder: str | os.PathLike, *, camera: str, fps: float, names=None, first: int | None = None
) -> Keypoints2D:
    """Load a folder of OpenPose's JSON files, one for each frame.

    Parameters
    ----------
    folder : path
        The folder; frames are numbered by the last number in each file's name.
    camera : str
        The camera that took the video.
    fps : float
        Frames per second of the video, which the files do not tell.
    names : sequence of str, optional
        Names of the points in order. Unless given, 17 points are COCO's, and 25 are those of the
        model, BODY_25 or BODY_25B, in whose order they make a body: the files do not tell.
    first : int, optional
        The number of the first frame, so that cameras begin together; the lowest unless given.

    Returns
    -------
    Keypoints2D
        One camera; as many individuals as the frame with most people, in the files' order.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    DataError
        If it holds no such files, or one that is damaged; it is named.
    """
    folder = Path(folder)
    files = frame_numbers(folder)
    people = {}
    for number, path in files.items():
        content = _read_json(path)
        try:
            people[number] = [
                np.asarray(person["pose_keypoints_2d"], dtype=np.float64).reshape(-1, 3)
                for person in content["people"]
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{path} is no file of OpenPose ({error}): it should hold people, each with "
                "pose_keypoints_2d."
            ) from None
    sizes = {len(person) for frame in people.values() for person in frame}
    if len(sizes) != 1:
        found = ", ".join(map(str, sorted(sizes))) or "none"
        raise DataError(f"{folder}: people have different numbers of points ({found}).")
    n_keypoints = sizes.pop()
    everybody = [person for frame in people.values() for person in frame]
    names = _names(names, np.stack(everybody), folder)
    first, last = min(files) if first is None else first, max(files)
    n_people = max(len(frame) for frame in people.values())
    xy = np.full((1, last - first + 1, n_people, n_keypoints, 2), np.nan)
    likelihood = np.zeros(xy.shape[:-1])
    for number, frame in people.items():
        for i, person in enumerate(frame):
            there = person[:, 2] > 0
            xy[0, number - first, i] = np.where(there[:, np.newaxis], person[:, :2], np.nan)
            likelihood[0, number - first, i] = person[:, 2].clip(0, 1)
    individuals = tuple(f"person {i}" for i in range(n_people))
    times = np.arange(xy.shape[1]) / fps
    return Keypoints2D(xy, likelihood, (camera,), individuals, names, times)


def load_coco(
    path: str | os.PathLike, *, camera: str, fps: float, first: int | None = None
) -> Keypoints2D:
    """Load a file of COCO keypoints, a picture a frame.

    Parameters
    ----------
    path : path
        The .json with images, annotations and categories. A picture's frame is the last number in
        its name; where there is none, or it comes twice, pictures are frames in their names' order.
    camera : str
        The camera that took the pictures.
    fps : float
        Frames per second.
    first : int, optional
        The number of the first frame; the lowest unless given.

    Returns
    -------
    Keypoints2D
        One camera; likelihood is 1 where a point is visible (2), a half where it is hidden (1).

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If it is no such file, or of several categories with different keypoints.
    """
    content = _read_json(Path(path))
    try:
        named = {tuple(one["keypoints"]) for one in content["categories"] if "keypoints" in one}
        if len(named) != 1:
            raise DataError(
                f"{path} has {len(named)} lists of keypoints; one is needed. Split the file by "
                "category."
            )
        names = named.pop()
        images = sorted(content["images"], key=lambda image: str(image["file_name"]))
        frames = _picture_frames(images, first)
        n_frames = max(frames.values(), default=-1) + 1
        places: dict[int, list] = {}
        for annotation in content["annotations"]:
            points = np.asarray(annotation["keypoints"], dtype=np.float64).reshape(-1, 3)
            if len(points) != len(names):
                raise DataError(
                    f"{path}: an annotation has {len(points)} points and its category "
                    f"{len(names)} names."
                )
            places.setdefault(frames[annotation["image_id"]], []).append(points)
        size = {(int(image["width"]), int(image["height"])) for image in images}
    except DataError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is no file of COCO keypoints ({error}).") from None
    if not images or not places:
        raise DataError(f"{path} holds no annotated picture.")
    n_people = max(len(one) for one in places.values())
    xy = np.full((1, n_frames, n_people, len(names), 2), np.nan)
    likelihood = np.zeros(xy.shape[:-1])
    for frame, people in places.items():
        for i, points in enumerate(people):
            there = points[:, 2] > 0
            # COCO counts from a picture's corner, half a pixel from the first pixel's centre
            xy[0, frame, i] = np.where(there[:, np.newaxis], points[:, :2] - 0.5, np.nan)
            likelihood[0, frame, i] = np.select([points[:, 2] > 1, there], [1.0, 0.5], 0.0)
    return Keypoints2D(
        xy,
        likelihood,
        (camera,),
        tuple(f"animal {i}" for i in range(n_people)) if n_people > 1 else ("animal",),
        names,
        np.arange(n_frames) / fps,
        image_sizes=np.array([size.pop()]) if len(size) == 1 else None,
    )


def _picture_frames(images, first):
    """Return the frame of each picture by its id."""
    numbers = [_last_number(Path(str(image["file_name"])).stem) for image in images]
    if None in numbers or len(set(numbers)) < len(numbers):
        return {image["id"]: i for i, image in enumerate(images)}
    first = min(numbers) if first is None else first
    return {image["id"]: number - first for image, number in zip(images, numbers, strict=True)}


def save_openpose(folder: str | os.PathLike, keypoints_2d: Keypoints2D, camera: str) -> None:
    """Save what one camera saw as OpenPose would, a file for each frame.

    Parameters
    ----------
    folder : path
        The folder to make; its files are ``<camera>_000000000000_keypoints.json`` and so on.
    keypoints_2d : Keypoints2D
        The keypoints.
    camera : str
        Which camera.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    one = keypoints_2d.subset([camera])
    for frame in range(one.n_frames):
        people = []
        for xy, likelihood in zip(one.xy[0, frame], one.likelihood[0, frame], strict=True):
            there = np.isfinite(xy).all(axis=-1)
            if there.any():
                rows = np.column_stack([np.nan_to_num(xy), np.where(there, likelihood, 0.0)])
                people.append({"person_id": [-1], "pose_keypoints_2d": rows.ravel().tolist()})
        path = folder / f"{camera}_{frame:012d}_keypoints.json"
        with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
            json.dump({"version": 1.3, "people": people}, file)


def _read_json(path):
    """Read JSON of a reasonable size."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no {path}.")
    if path.stat().st_size > _LARGEST:
        raise DataError(f"{path} has {path.stat().st_size:,} bytes; a file of poses has fewer.")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no JSON ({error}). Make it again.") from None


def _names(names, people, folder):
    """Return the names of points (n_people, n_keypoints, 3)."""
    n_keypoints = people.shape[1]
    if names is None and n_keypoints == 17:
        names = COCO_17
    if names is None and n_keypoints == 25:
        names = _model_of_25(people)
    if names is None:
        raise DataError(
            f"{folder}: people have {n_keypoints} points, and the files do not say which. Give "
            "their names in order (--keypoints)."
        )
    if len(names) != n_keypoints:
        raise DataError(f"{folder} has {n_keypoints} points and {len(names)} names were given.")
    return tuple(names)


def _model_of_25(people):
    """Tell BODY_25 from BODY_25B by where the points lie; None where neither makes a body."""
    xy = np.where(people[..., 2:] > 0.3, people[..., :2], np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        height = np.nanmax(xy[..., 1], axis=1) - np.nanmin(xy[..., 1], axis=1)

        def apart(one, others):
            off = np.linalg.norm(xy[:, one] - xy[:, others].mean(axis=1), axis=-1)
            return np.nanmedian(off / height)

        # neck between shoulders and hip between hips; or eyes beside the nose, neck at shoulders
        first = np.nanmax([apart(1, [2, 5]), apart(8, [9, 12])])
        second = np.nanmax([apart(0, [1, 2]), apart(17, [5, 6])])
    for model, own, other in ((BODY_25, first, second), (BODY_25B, second, first)):
        if own < _CLOSE and own < 0.6 * other:
            return model
    return None
