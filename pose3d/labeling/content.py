"""What the page is told: projects, moments, cameras, and points that networks found."""

import functools
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from calibration.cameras import Camera, CameraRig
from calibration.errors import DataError, DataWarning
from calibration.multiview import triangulate_dlt
from calibration.video import read_image
from pose3d.keypoints import Keypoints2D, Keypoints3D
from pose3d.labeling.folders import IMAGES, LABELLED, STATES, LabelFolder
from pose3d.labeling.session import LabelSession
from pose3d.labeling.videos import RecordingVideos
from pose3d.project import Project, frame_number
from pose3d.steps.choice import most_refined

#: Bones need this many moments before one of them can be called unusual.
_MIN_LENGTHS = 5


def project_content(project: Project, keys: dict[str, str]) -> dict[str, Any]:
    """Tell what the project is: names, bones, recordings with images.

    Parameters
    ----------
    project : Project
        The project.
    keys : dict of str to str
        The keymap: action to key.
    """
    skeleton = project.skeleton
    return {
        "task": project.task,
        "scorer": project.scorer,
        "keypoints": skeleton.keypoints,
        "individuals": project.individuals,
        "unique": project.unique,
        "edges": skeleton.edge_indices.tolist(),
        "mirrored": skeleton.mirrored.tolist(),
        "recordings": labeled_recordings(project),
        "states": STATES[1:],
        "keys": keys,
    }


def labeled_recordings(project: Project) -> list[str]:
    """Names of the recordings that have images to label, or videos to choose them from."""
    root = project.path / "labeled-data"
    found = {}
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        owner = project.whose_folder(folder.name) if folder.is_dir() else None
        if owner and any(entry.suffix.lower() in IMAGES for entry in folder.iterdir()):
            found[owner[0]] = True
    for name, take in project.recordings.items():
        if any(video.exists() for video in take.videos.values()):
            found[name] = True
    return list(found)


class RecordingContent:
    """What is told of one open recording.

    Parameters
    ----------
    session : LabelSession
        Its labels.
    """

    def __init__(self, session: LabelSession):
        self.session = session
        self.project = session.project
        self.notices: list[str] = []
        self.small_images: dict[str, np.ndarray] = {}
        self.rig = self._load_rig()
        self.videos = RecordingVideos(session)

    def load_rig_anew(self) -> None:
        """Take the calibration as it is now; pages see that something changed."""
        self.notices = []
        self.rig = self._load_rig()
        self.session.sequence += 1

    def _load_rig(self) -> CameraRig | None:
        """Load the cameras whose calibration fits their images; None below two."""
        self._images_of = list(self.session.folders)
        path = self.project.calibration_path(self.session.recording)
        if not path.is_file() or not self.session.synchronous:
            return None
        from calibration.formats.toml import load_rig

        try:
            rig = load_rig(path)
        except (DataError, ValueError) as error:
            self.notices.append(f"The calibration is not used: {error}")
            return None
        fitting = []
        for camera, folder in self.session.folders.items():
            if camera not in rig.names:
                self.notices.append(
                    f"{path.name} has no camera {camera!r}; it is labelled without geometry."
                )
                continue
            size = image_size(folder)
            wanted = rig[camera].intrinsics.image_size
            if size not in (None, wanted):
                self.notices.append(
                    f"Images of {camera!r} have {size[0]} x {size[1]} pixels, its calibration "
                    f"{wanted[0]} x {wanted[1]}; it is labelled without geometry. Calibrate "
                    "with the same size, or label uncropped images."
                )
                continue
            fitting.append(camera)
        return rig.subset(fitting) if len(fitting) > 1 else None

    def recording(self) -> dict[str, Any]:
        """Tell the moments, cameras and history."""
        session = self.session
        status = self.status()  # takes in what is new
        calibrated = self.rig.names if self.rig else ()
        with session.lock:
            labelled = {camera: self._labelled(camera) for camera in session.folders}
            return {
                "name": session.recording,
                "moments": [
                    {
                        "name": name,
                        "images": images,
                        "labelled": {
                            camera: labelled[camera][session.folders[camera].place[image]]
                            for camera, image in images.items()
                        },
                    }
                    for name, images in session.moments
                ],
                "cameras": [
                    {
                        "name": camera,
                        "lens": _lens(self.rig[camera]) if camera in calibrated else None,
                    }
                    for camera in self.project.cameras
                    if camera in session.folders or camera in self.videos.paths
                ],
                "places_cameras": self.rig is None and session.synchronous,
                "units": self.rig.units if self.rig else self.project.units,
                "history": session.history(),
                **status,
            }

    def _labelled(self, camera):
        """Count the points with a state in each image of a camera."""
        return np.count_nonzero(self.session.folders[camera].state, axis=(1, 2)).tolist()

    def status(self) -> dict[str, Any]:
        """Tell how far the labels have come, and what is wrong."""
        session = self.session
        session.take_new_images()
        if self.rig is None and self._images_of != list(session.folders):
            self.load_rig_anew()
        notices = [*self.notices, *session.notices]
        if session.write_trouble:
            notices.append(session.write_trouble)
        return {"sequence": session.sequence, "notices": notices, "counts": self._counts()}

    def _counts(self):
        """Count the images of each camera, and its points with a state by keypoint."""
        n = len(self.project.individuals), len(self.project.skeleton.keypoints)
        with self.session.lock:
            return {
                camera: {
                    "images": len(folder.images),
                    "points": np.count_nonzero(
                        folder.state[:, : n[0], : n[1]], axis=(0, 1)
                    ).tolist(),
                }
                for camera, folder in self.session.folders.items()
            }

    def moment(self, name: str) -> dict[str, Any]:
        """Tell the points of a moment, camera by camera, and what networks found there."""
        session = self.session
        images = session.images(name)
        points, predicted = {}, {}
        with session.lock:
            for camera, image in images.items():
                folder = session.folders[camera]
                row = folder.place[image]
                n = len(self.project.individuals), len(self.project.skeleton.keypoints)
                points[camera] = [
                    [int(i), int(k), session.point(
                        camera, image, folder.individuals[i], folder.keypoints[k]
                    )]
                    for i, k in np.argwhere(folder.state[row, : n[0], : n[1]])
                ]  # fmt: skip
                predicted[camera] = self._predicted(camera, image)
        return {
            "points": points,
            "predicted": predicted,
            "predicted_3d": self._predicted_3d(name),
            "sequence": session.sequence,
        }

    @functools.cached_property
    def seen(self) -> Keypoints2D | None:
        """2D keypoints of the recording, in the project's order; None without."""
        from pose3d.formats.keypoints import load_keypoints_2d

        path = most_refined(self.project.keypoints_2d_path(self.session.recording), "filtered")
        return self._load(path, load_keypoints_2d)

    @functools.cached_property
    def path(self) -> Keypoints3D | None:
        """3D keypoints of the recording; None without."""
        from pose3d.formats.keypoints import load_keypoints_3d

        path = most_refined(self.project.keypoints_3d_path(self.session.recording), "refined")
        return self._load(path, load_keypoints_3d)

    def _load(self, path: Path | None, load):
        if path is None:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            try:
                return load(path)
            except (DataError, ValueError, OSError) as error:
                self.notices.append(f"Predictions are not shown: {error}")
                return None

    def _predicted(self, camera, image):
        """Points of a network in one image: [individual, keypoint, x, y, likelihood]."""
        seen, frame = self.seen, frame_number(image)
        if seen is None or camera not in seen.cameras or not 0 <= frame < seen.n_frames:
            return []
        c = seen.cameras.index(camera)
        found = []
        for i, individual, k, keypoint in self._shared(seen):
            x, y = seen.xy[c, frame, individual, keypoint]
            if np.isfinite(x):
                likelihood = seen.likelihood[c, frame, individual, keypoint]
                found.append([i, k, float(x), float(y), float(likelihood)])
        return found

    def _predicted_3d(self, name):
        """Triangulated points of a moment, reprojected: by camera, as `_predicted`."""
        path, rig = self.path, self.rig
        if path is None or rig is None or not name.isdigit() or int(name) >= len(path.xyz):
            return {}
        found: dict[str, list] = {camera: [] for camera in rig.names}
        for i, individual, k, keypoint in self._shared(path):
            seen = rig.project(path.xyz[int(name), individual, keypoint])
            error = path.reprojection_error[int(name), individual, keypoint]
            for camera, (x, y) in zip(rig.names, seen, strict=True):
                if np.isfinite(x):
                    px = float(error) if np.isfinite(error) else None
                    found[camera].append([i, k, float(x), float(y), px])
        return found

    def _shared(self, noun):
        """Pairs of the project's and a noun's indices of individuals and keypoints."""
        ours, keypoints = self.project.individuals, self.project.skeleton.keypoints
        alone = len(ours) == 1 == len(noun.individuals)
        for i, individual in enumerate(ours):
            if alone or individual in noun.individuals:
                there = 0 if alone else noun.individuals.index(individual)
                for k, keypoint in enumerate(keypoints):
                    if keypoint in noun.keypoints:
                        yield i, there, k, noun.keypoints.index(keypoint)

    def bones(self) -> list[dict[str, Any]]:
        """Tell the usual length of each bone, from all labelled moments.

        Returns
        -------
        list of dict
            For each individual and edge with enough moments: its indices, ``median`` and
            ``spread`` (scaled median absolute deviation) in the rig's unit, ``count``.
        """
        if self.rig is None:
            return []
        xy = self.labelled_points()
        xyz = triangulate_dlt(self.rig, xy)
        found = []
        for i in range(xyz.shape[1]):
            for e, (a, b) in enumerate(self.project.skeleton.edge_indices):
                lengths = np.linalg.norm(xyz[:, i, a] - xyz[:, i, b], axis=-1)
                lengths = lengths[np.isfinite(lengths)]
                if len(lengths) >= _MIN_LENGTHS:
                    median = float(np.median(lengths))
                    spread = 1.4826 * float(np.median(np.abs(lengths - median)))
                    found.append(
                        {"individual": i, "edge": e, "median": median, "spread": spread,
                         "count": len(lengths)}
                    )  # fmt: skip
        return found

    def labelled_points(self, cameras: Sequence[str] | None = None) -> np.ndarray:
        """Return the points that a person or a network placed, camera by moment.

        Reprojected ones, which say nothing new, are NaN.

        Parameters
        ----------
        cameras : sequence of str, optional
            The cameras; the calibrated ones unless given.

        Returns
        -------
        ndarray of shape (n_cameras, n_moments, n_individuals, n_keypoints, 2)
            In px.
        """
        cameras = self.rig.names if cameras is None and self.rig else cameras or ()
        session = self.session
        n = len(self.project.individuals), len(self.project.skeleton.keypoints)
        xy = np.full((len(cameras), len(session.moments), *n, 2), np.nan)
        with session.lock:
            for c, camera in enumerate(cameras):
                folder = session.folders[camera]
                pairs = [
                    (m, folder.place[images[camera]])
                    for m, (_, images) in enumerate(session.moments)
                    if camera in images
                ]
                if pairs:
                    moments, rows = np.array(pairs).T
                    state = folder.state[rows, : n[0], : n[1]]
                    use = (state > 0) & (state <= LABELLED) & (state != STATES.index("reprojected"))
                    points = folder.xy[rows, : n[0], : n[1]]
                    xy[c, moments] = np.where(use[..., np.newaxis], points, np.nan)
        return xy


def image_size(folder: LabelFolder) -> tuple[int, int] | None:
    """Return width and height of a folder's first image; None if none can be read."""
    for name in folder.images:
        path = folder.path / name
        if path.is_file():
            try:
                height, width = read_image(path, pixels="luma").shape
            except (DataError, OSError):
                continue
            return width, height
    return None


def _lens(camera: Camera) -> dict[str, Any]:
    """Tell what the page needs to project and triangulate with a camera."""
    lens = camera.intrinsics
    return {
        "model": lens.model,
        "dist": lens.dist.tolist(),
        "matrix": lens.matrix.tolist(),
        "rotation": camera.rotation.tolist(),
        "translation": camera.tvec.tolist(),
        "size": list(lens.image_size),
    }
