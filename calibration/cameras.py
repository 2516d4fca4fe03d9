"""A lens, a camera that stands somewhere, and a rig of cameras."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from calibration import lenses
from calibration.arrays import float_array, name_tuple

#: Words for units of length, and how many metres each is.
METRES = {"um": 1e-6, "mm": 1e-3, "cm": 1e-2, "m": 1.0, "inch": 0.0254}


@dataclass(frozen=True, eq=False)
class Intrinsics:
    """What one lens and sensor do to a ray, wherever the camera stands.

    Attributes
    ----------
    matrix : ndarray of shape (3, 3)
        Pixels from normalised points: focal lengths, skew, principal point.
    dist : ndarray of shape (n,)
        Distortion coefficients in OpenCV's order: none (pinhole), k1 k2 p1 p2 k3 (brown),
        the same and k4 k5 k6 (rational), k1 k2 k3 k4 (fisheye).
    image_size : tuple of int
        Width and height of the images in pixels.
    model : {"pinhole", "brown", "rational", "fisheye"}
        The lens model.
    """

    matrix: np.ndarray
    dist: np.ndarray
    image_size: tuple[int, int]
    model: str = "brown"

    def __post_init__(self):
        if self.model not in lenses.COEFFICIENTS:
            raise ValueError(
                f"model is {self.model!r}; expected one of {', '.join(lenses.COEFFICIENTS)}."
            )
        matrix = float_array("matrix", self.matrix, (3, 3), finite=True)
        if not np.array_equal(matrix[2], [0, 0, 1]) or matrix[1, 0] != 0:
            raise ValueError(
                f"matrix is {matrix.tolist()}; expected [[fx, skew, cx], [0, fy, cy], [0, 0, 1]]. "
                "A matrix stored transposed (MATLAB, JARVIS) must be transposed first."
            )
        if matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
            raise ValueError(
                f"matrix has focal lengths {matrix[0, 0]} and {matrix[1, 1]}; "
                "both must be positive."
            )
        wanted = lenses.COEFFICIENTS[self.model]
        dist = np.asarray(self.dist, dtype=np.float64).ravel()
        if self.model == "brown" and dist.size == 4:
            dist = np.append(dist, 0.0)
        dist = float_array("dist", dist, (dist.size,), finite=True)
        if dist.size != wanted:
            raise ValueError(
                f"dist has {dist.size} coefficients; the model {self.model!r} takes {wanted}."
            )
        try:
            width, height = (int(side) for side in self.image_size)
        except (OverflowError, TypeError, ValueError):
            raise ValueError(
                f"image_size is {self.image_size!r}; expected (width, height) in pixels."
            ) from None
        if width < 1 or height < 1:
            raise ValueError(f"image_size is {(width, height)}; both sides must be positive.")
        object.__setattr__(self, "matrix", matrix)
        object.__setattr__(self, "dist", dist)
        object.__setattr__(self, "image_size", (width, height))

    def project(self, points_camera: np.ndarray) -> np.ndarray:
        """Project points given in the camera's own coordinates.

        Parameters
        ----------
        points_camera : ndarray of shape (..., 3)
            x right, y down, z forward, in any unit.

        Returns
        -------
        ndarray of shape (..., 2)
            Image points in pixels; NaN for points that are not in front of the camera.
        """
        points = np.asarray(points_camera, dtype=np.float64)
        z = points[..., 2:]
        with np.errstate(invalid="ignore", divide="ignore"):
            normalised = np.where(z > 0, points[..., :2] / z, np.nan)
        bent = lenses.distort(normalised, self.dist, self.model)
        return bent @ self.matrix[:2, :2].T + self.matrix[:2, 2]

    def undistort(self, points_2d: np.ndarray) -> np.ndarray:
        """Return the ray of each image point as x / z and y / z in the camera.

        Parameters
        ----------
        points_2d : ndarray of shape (..., 2)
            Image points in pixels.

        Returns
        -------
        ndarray of shape (..., 2)
            Normalised points; NaN where the lens model has no ray.
        """
        xy = np.asarray(points_2d, dtype=np.float64) - self.matrix[:2, 2]
        y = xy[..., 1] / self.matrix[1, 1]
        x = (xy[..., 0] - self.matrix[0, 1] * y) / self.matrix[0, 0]
        return lenses.undistort(np.stack([x, y], axis=-1), self.dist, self.model)

    def resized(self, image_size: tuple[int, int]) -> "Intrinsics":
        """Return the intrinsics of the same images scaled to another size.

        Pixel (0, 0) is the centre of the top-left pixel, so the principal point moves by half
        a pixel beside the scaling.
        """
        scale = np.array(image_size, dtype=np.float64) / self.image_size
        matrix = self.matrix.copy()
        matrix[0, :2] *= scale[0]
        matrix[1, 1] *= scale[1]
        matrix[:2, 2] = (matrix[:2, 2] + 0.5) * scale - 0.5
        return replace(self, matrix=matrix, image_size=image_size)


@dataclass(frozen=True, eq=False)
class Camera:
    """A lens that stands somewhere.

    Attributes
    ----------
    name : str
        The user's own name for it.
    intrinsics : Intrinsics
        Its lens.
    rvec, tvec : ndarray of shape (3,)
        World to camera: rotation vector in radians and translation in the rig's unit, OpenCV.
    """

    name: str
    intrinsics: Intrinsics
    rvec: np.ndarray
    tvec: np.ndarray

    def __post_init__(self):
        name_tuple("name", [self.name])
        object.__setattr__(self, "rvec", float_array("rvec", self.rvec, (3,), finite=True))
        object.__setattr__(self, "tvec", float_array("tvec", self.tvec, (3,), finite=True))

    @cached_property
    def rotation(self) -> np.ndarray:
        """Rotation from world to camera, ndarray of shape (3, 3)."""
        import cv2  # takes longer to import than the rest of this module

        return cv2.Rodrigues(self.rvec)[0]

    @cached_property
    def camera_from_world(self) -> np.ndarray:
        """Rigid motion from world to camera, ndarray of shape (4, 4)."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.rotation
        matrix[:3, 3] = self.tvec
        return matrix

    @cached_property
    def position(self) -> np.ndarray:
        """Where the camera stands in the world, ndarray of shape (3,)."""
        return -self.rotation.T @ self.tvec

    @property
    def n_parameters(self) -> int:
        """Number of parameters: rotation 3, translation 3, fx fy cx cy, distortion."""
        return 10 + self.intrinsics.dist.size

    def project(self, points_3d: np.ndarray) -> np.ndarray:
        """Project world points of shape (..., 3) to pixels (..., 2); NaN behind the camera."""
        points = np.asarray(points_3d, dtype=np.float64)
        return self.intrinsics.project(points @ self.rotation.T + self.tvec)


@dataclass(frozen=True, eq=False)
class CameraRig:
    """Cameras in one world.

    Attributes
    ----------
    cameras : tuple of Camera
        In the user's order; names are distinct.
    units : str
        The unit of length of positions and of everything triangulated: "mm", "m", ...
    covariance : ndarray of shape (n_parameters, n_parameters) or None
        Covariance of the parameters of all cameras, camera after camera: rotation increment
        (3, radians, applied on the left: exp(w) R), tvec (3), fx, fy, cx, cy (px), and the
        lens model's distortion coefficients; zero for what was held fixed, None where it is
        not known.
    world : str
        Which world positions are in, such as "board:12" (see `calibration.world`); empty where
        nobody chose one, and it is the first camera's.
    """

    cameras: tuple[Camera, ...]
    units: str = "mm"
    covariance: np.ndarray | None = None
    world: str = ""

    def __post_init__(self):
        cameras = tuple(self.cameras)
        name_tuple("cameras", [camera.name for camera in cameras])
        if self.units not in METRES:
            raise ValueError(f"units is {self.units!r}; expected one of {', '.join(METRES)}.")
        object.__setattr__(self, "cameras", cameras)
        if self.covariance is not None:
            side = sum(camera.n_parameters for camera in cameras)
            covariance = float_array("covariance", self.covariance, (side, side))
            object.__setattr__(self, "covariance", covariance)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the cameras, in order."""
        return tuple(camera.name for camera in self.cameras)

    def __len__(self) -> int:
        return len(self.cameras)

    def __iter__(self) -> Iterator[Camera]:
        return iter(self.cameras)

    def __getitem__(self, name: str) -> Camera:
        for camera in self.cameras:
            if camera.name == name:
                return camera
        raise KeyError(f"No camera {name!r} in this rig; it has {', '.join(self.names)}.")

    def parameter_range(self, name: str) -> tuple[int, int]:
        """Return the first and past-the-last row of a camera in the covariance."""
        start = 0
        for camera in self.cameras:
            stop = start + camera.n_parameters
            if camera.name == name:
                return start, stop
            start = stop
        raise KeyError(f"No camera {name!r} in this rig; it has {', '.join(self.names)}.")

    def subset(self, names: Iterable[str]) -> "CameraRig":
        """Return the rig of the named cameras, in the order of the names."""
        names = tuple(names)
        cameras = tuple(self[name] for name in names)
        covariance = self.covariance
        if covariance is not None:
            rows = np.concatenate([np.arange(*self.parameter_range(name)) for name in names])
            covariance = covariance[np.ix_(rows, rows)]
        return CameraRig(cameras, self.units, covariance, self.world)

    def project(self, points_3d: np.ndarray) -> np.ndarray:
        """Project world points into every camera.

        Parameters
        ----------
        points_3d : ndarray of shape (..., 3)
            World points in the rig's unit.

        Returns
        -------
        ndarray of shape (n_cameras, ..., 2)
            Image points in pixels; NaN behind a camera.
        """
        return np.stack([camera.project(points_3d) for camera in self.cameras])

    def coincident(self) -> tuple[tuple[str, str], ...]:
        """Return the pairs of cameras that stand at the same place and look the same way.

        No two devices can; one is a copy of the other and everything seen with it is wrong.
        """
        spread = np.ptp([camera.position for camera in self.cameras], axis=0).max(initial=0.0)
        pairs = []
        for i, first in enumerate(self.cameras):
            for second in self.cameras[i + 1 :]:
                apart = np.linalg.norm(first.position - second.position)
                turned = np.linalg.norm(first.rotation - second.rotation)
                if apart <= 1e-6 * max(spread, 1e-12) and turned < 1e-6:
                    pairs.append((first.name, second.name))
        return tuple(pairs)
