"""Camera groups of aniposelib: to and from, for a second opinion and for its users.

Importing this module takes seconds (aniposelib brings jax and numba).
"""

import numpy as np
from aniposelib.cameras import Camera as AniposeCamera
from aniposelib.cameras import CameraGroup, FisheyeCamera

from calibration.cameras import Camera, CameraRig, Intrinsics


def to_camera_group(rig: CameraRig) -> CameraGroup:
    """Make aniposelib's camera group of a rig.

    Parameters
    ----------
    rig : CameraRig
        The rig; its lens models are passed on whole, but aniposelib's own adjustment keeps only
        one focal length and k1 of them, and ignores skew when it projects.

    Returns
    -------
    aniposelib.cameras.CameraGroup
        Cameras in the same order.
    """
    cameras = []
    for camera in rig:
        lens = camera.intrinsics
        kind = FisheyeCamera if lens.model == "fisheye" else AniposeCamera
        cameras.append(
            kind(
                matrix=lens.matrix.copy(),
                dist=lens.dist.copy() if lens.dist.size else np.zeros(5),
                size=lens.image_size,
                rvec=camera.rvec.copy(),
                tvec=camera.tvec.copy(),
                name=camera.name,
            )
        )
    return CameraGroup(cameras, metadata={"units": rig.units})


def from_camera_group(group: CameraGroup, *, units: str) -> CameraRig:
    """Make a rig of aniposelib's camera group.

    Parameters
    ----------
    group : aniposelib.cameras.CameraGroup
        The group, with sizes set.
    units : str
        Unit of its lengths, which it does not know: that of the board's squares.

    Returns
    -------
    CameraRig
        Cameras in the same order.
    """
    cameras = []
    for camera in group.cameras:
        dist = np.ravel(camera.get_distortions())
        fisheye = isinstance(camera, FisheyeCamera)
        model = "fisheye" if fisheye else "rational" if dist.size == 8 else "brown"
        if camera.get_size() is None:
            raise ValueError(
                f"Camera {camera.get_name()!r} of the group has no image size; "
                "call set_size((width, height)) on it first."
            )
        lens = Intrinsics(camera.get_camera_matrix(), dist, tuple(camera.get_size()), model)
        rvec, tvec = np.ravel(camera.get_rotation()), np.ravel(camera.get_translation())
        cameras.append(Camera(str(camera.get_name()), lens, rvec, tvec))
    return CameraRig(tuple(cameras), units)
