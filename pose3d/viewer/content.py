"""What a viewer's page shows: keypoints, cameras and times of the chosen frames, packed."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from calibration.cameras import CameraRig
from pose3d.keypoints import Keypoints2D, Keypoints3D, Missing
from pose3d.overlays import keypoint_colors
from pose3d.skeleton import Skeleton
from pose3d.viewer.packing import Packer
from pose3d.viewer.scene import lay_scene

#: Code of a point that is left out of the drawing, beside those of `Missing`.
OUT_OF_SCENE = 100

#: Times the size of the animal's box beyond which a point is left out of the drawing.
_FAR = 4

_WORDS = {
    Missing.NOT_SEEN: "seen by no camera",
    Missing.ONE_VIEW: "seen by one camera only",
    Missing.BEHIND_CAMERA: "behind a camera that sees it",
    Missing.PARALLEL_RAYS: "rays nearly parallel",
    Missing.VIEWS_DISAGREE: "views disagree",
    OUT_OF_SCENE: "far outside the scene",
}

#: Gzip and base64 leave about this share of the bytes (measured on tracked keypoints).
_PACKED_SHARE = 0.75


@dataclass(frozen=True, eq=False)
class Content:
    """The data of a page.

    Attributes
    ----------
    document : dict
        What JSON can hold; arrays are named by the identifiers of their blobs.
    blobs : dict of str to str
        Packed arrays, see `Packer`.
    rows : ndarray of int of shape (n_shown,)
        The recording's frames that are shown.
    notes : tuple of str
        What the reader must know about what is shown.
    """

    document: dict[str, Any]
    blobs: dict[str, str]
    rows: np.ndarray
    notes: tuple[str, ...]


def choose_rows(frames: range, n_cameras: int, n_points: int, max_mb: float) -> np.ndarray:
    """Choose which frames are shown so that the packed arrays stay under a size.

    Parameters
    ----------
    frames : range
        The frames asked for.
    n_cameras, n_points : int
        Views, and individuals times keypoints.
    max_mb : float
        Largest size in the page, in 10^6 bytes.

    Returns
    -------
    ndarray of int of shape (n_shown,)
        Every frame, or every second, third, ...
    """
    per_frame = n_points * (16 + 9 * n_cameras) * _PACKED_SHARE
    every = max(1, int(np.ceil(len(frames) * per_frame / (max_mb * 1e6))))
    return np.asarray(frames)[::every]


def gather(
    rows: np.ndarray,
    views: Sequence[str],
    image_sizes: Sequence[tuple[int, int]],
    keypoints_2d: Keypoints2D | None,
    keypoints_3d: Keypoints3D | None,
    rig: CameraRig | None,
    skeleton: Skeleton | None,
    min_likelihood: float,
) -> Content:
    """Pack what the page draws.

    Parameters
    ----------
    rows : ndarray of int of shape (n_shown,)
        Frames to show.
    views : sequence of str
        Names of the cameras, in the order of the mosaic.
    image_sizes : sequence of (int, int)
        Width and height of their pictures.
    keypoints_2d, keypoints_3d, rig, skeleton
        What there is of each.
    min_likelihood : float
        Points below are drawn hollow.

    Returns
    -------
    Content
    """
    packer = Packer()
    notes: list[str] = []
    either = keypoints_3d if keypoints_3d is not None else keypoints_2d
    keypoints = either.keypoints if either is not None else ()
    individuals = either.individuals if either is not None else ()
    document: dict[str, Any] = {
        "n_frames": len(rows),
        "first_frame": int(rows[0]),
        "frame_step": int(rows[1] - rows[0]) if len(rows) > 1 else 1,
        "views": [
            {"name": name, "width": int(size[0]), "height": int(size[1])}
            for name, size in zip(views, image_sizes, strict=True)
        ],
        "keypoints": list(keypoints),
        "individuals": list(individuals),
        "colors": keypoint_colors(keypoints, () if skeleton is None else skeleton.symmetric),
        "edges": _edges(skeleton, keypoints),
        "min_likelihood": min_likelihood,
        "units": either.units if either is keypoints_3d and either is not None else "",
        "reasons": {str(int(code)): _reason(code) for code in (*Missing, OUT_OF_SCENE)},
    }
    if either is not None:
        times = _padded(either.times, rows)
        known = np.isfinite(times)
        stamps = np.where(known, times - either.times[0], rows / (either.fps or 30.0))
        document["times"] = packer.integers(np.rint(stamps * 1e4).astype(np.uint32))
        document["start"] = float(either.times[0])
    if keypoints_2d is not None:
        _pack_2d(document, packer, rows, views, image_sizes, keypoints_2d)
        if not np.isfinite(keypoints_2d.xy).any():
            notes.append("No 2D keypoint was found in any view: every one is missing.")
    if keypoints_3d is not None:
        notes += _pack_3d(document, packer, rows, views, image_sizes, keypoints_3d, rig)
    if keypoints_3d is None and rig is not None:
        document["scene"] = lay_scene(np.empty((0, 3)), rig, rig.units).description
        document["units"] = rig.units
    document["empty_3d"] = _why_no_3d(keypoints_3d, rig)
    return Content(document, packer.blobs, rows, tuple(notes))


def _reason(code):
    """Spell why a point is missing."""
    words = _WORDS.get(code)
    return words or Missing(code).name.lower().replace("_", " ")


def _edges(skeleton, keypoints):
    """Find the indices of joined keypoints that both are there."""
    index = {name: i for i, name in enumerate(keypoints)}
    pairs = () if skeleton is None else skeleton.edges
    return [[index[a], index[b]] for a, b in pairs if a in index and b in index]


def _padded(values, rows, axis=0):
    """Pick frames along an axis; NaN, or zero for whole numbers, for frames that are not there."""
    there = rows < values.shape[axis]
    picked = np.take(values, np.where(there, rows, 0), axis=axis)
    if there.all():
        return picked
    missing = np.nan if picked.dtype.kind == "f" else 0
    shape = [1] * picked.ndim
    shape[axis] = len(rows)
    return np.where(there.reshape(shape), picked, missing).astype(picked.dtype)


def _pixels(packer, values, size):
    """Pack image points (n_frames, ..., 2) of one view, to half a picture beyond its edges."""
    reach = max(size)
    return packer.numbers(values, -0.5 * reach, 1.5 * reach)


def _pack_2d(document, packer, rows, views, image_sizes, seen):
    """Pack what each view saw."""
    document["seen"] = [None] * len(views)
    for i, (name, size) in enumerate(zip(views, image_sizes, strict=True)):
        if name in seen.cameras:
            camera = seen.cameras.index(name)
            likelihood = _padded(seen.likelihood[camera], rows)
            document["seen"][i] = {
                "xy": _pixels(packer, _padded(seen.xy[camera], rows), size),
                "likelihood": packer.integers(np.rint(likelihood * 200).astype(np.uint8)),
            }


def _pack_3d(document, packer, rows, views, image_sizes, path, rig):
    """Pack the points in space and where each view should see them; return notes."""
    notes = []
    scene = lay_scene(path.xyz, rig, path.units)
    xyz = _padded(path.xyz, rows) @ scene.rotation.T
    reason = _padded(path.reason, rows)
    reason[rows >= path.n_frames] = Missing.NOT_SEEN
    middle, reach = (scene.low + scene.high) / 2, _FAR * (scene.high - scene.low).max()
    with np.errstate(invalid="ignore"):
        far = (np.abs(xyz - middle) > reach).any(axis=-1)
    if far.any():
        reason[far] = OUT_OF_SCENE
        xyz[far] = np.nan
        notes.append(
            f"{far.sum()} of {far.size} 3D points lie over {reach:.3g} {path.units} from the scene "
            "and are not drawn."
        )
    document["scene"] = scene.description
    document["space"] = {
        "xyz": [
            packer.numbers(xyz[..., k], middle[k] - reach, middle[k] + reach) for k in range(3)
        ],
        "error": packer.magnitudes(_padded(path.reprojection_error, rows)),
        "sd": packer.magnitudes(_total_sd(_padded(path.covariance, rows))),
        "reason": packer.integers(reason),
        "filled": packer.integers(_padded(path.filled, rows).astype(np.uint8)),
        "used": packer.integers(_used_masks(path, views, rows)),
    }
    document["projected"] = [None] * len(views)
    for i, (name, size) in enumerate(zip(views, image_sizes, strict=True)):
        if rig is None or name not in rig.names:
            continue
        camera = rig[name]
        if camera.intrinsics.image_size != tuple(size):
            notes.append(
                f"{name}: pictures are {size[0]} x {size[1]} px, its calibration "
                f"{camera.intrinsics.image_size[0]} x {camera.intrinsics.image_size[1]} px; "
                "projections are scaled."
            )
            camera = replace(camera, intrinsics=camera.intrinsics.resized(tuple(size)))
        projected = camera.project(_padded(path.xyz, rows))
        document["projected"][i] = _pixels(packer, projected, size)
    return notes


def _total_sd(covariance):
    """Root of the covariance's trace: the standard deviation of the distance from the truth."""
    trace = np.trace(covariance, axis1=-2, axis2=-1)
    with np.errstate(invalid="ignore"):
        return np.sqrt(np.where(trace >= 0, trace, np.nan))


def _used_masks(path, views, rows):
    """Bit i tells whether view i was believed, uint32 of shape (n_frames, ..., n_keypoints)."""
    masks = np.zeros((len(rows), *path.xyz.shape[1:-1]), dtype=np.uint32)
    for i, name in enumerate(views[:32]):
        if name in path.cameras:
            used = _padded(path.used_views[path.cameras.index(name)], rows)
            masks |= used.astype(np.uint32) << np.uint32(i)
    return masks


def _why_no_3d(path, rig):
    """Say why the 3D pane shows no animal; empty if it does."""
    if path is None:
        why = "They were not triangulated." if rig is None else "Triangulate the recording first."
        return f"No 3D keypoints were given. {why}"
    if np.isfinite(path.xyz).any():
        return ""
    counts = Counter(path.reason.ravel().tolist())
    parts = (
        f"{100 * n / path.reason.size:.0f} % {_reason(code)}" for code, n in counts.most_common()
    )
    return f"Every 3D point is missing: {', '.join(parts)}."
