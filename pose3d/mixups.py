"""Files exchanged, videos of another size, mirror images: told in a moment."""

import warnings
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations

import numpy as np

from calibration.cameras import CameraRig
from calibration.results import Finding
from pose3d.keypoints import Keypoints2D
from pose3d.triangulation import triangulate

#: Misfit, px, above which files, sizes and mirror images are tried.
COARSE = 8.0

#: Share of the misfit that an explanation must leave at most.
_LEFT = 0.4

#: Misfit, px or as a share of the largest image's longer side (detectors err with the size of what
#: they see), above which nothing is explained: what fits that badly is no recording of these
#: cameras, or no keypoints.
_FITS, _FITS_SHARE = 12.0, 0.01


def check_files(
    keypoints_2d: Keypoints2D, rig: CameraRig, *, min_likelihood: float = 0.6
) -> Finding | None:
    """Tell in a moment whether files, sizes or mirror images are exchanged.

    Parameters
    ----------
    keypoints_2d, rig, min_likelihood
        See `check_recording`; some frames are enough.

    Returns
    -------
    Finding or None
        What is wrong; None where nothing is, or no keypoint is seen twice.
    """
    if len(keypoints_2d.cameras) < 2:
        return None
    rig, seen = rig.subset(keypoints_2d.cameras), keypoints_2d.confident(min_likelihood)
    whole = misfit(seen, rig)
    return next(exchanged(seen, rig, whole), None) if whole > COARSE else None


def misfit(seen, rig):
    """Return the median over points of their errors in all views, px."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = triangulate(seen, rig, method="least-squares", min_likelihood=0.0, noise_px=2.0)
        # a point that lies behind a camera is no agreement
        error = np.where(np.isnan(found.reprojection_error), np.inf, found.reprojection_error)
        twice = (np.isfinite(seen.xy[..., 0]).sum(axis=0) >= 2) & (found.reason != 4)
    return float(np.median(error[twice])) if twice.any() else float("nan")


def exchanged(seen, rig, whole) -> Iterator[Finding]:
    """Try files exchanged, images of another size, and mirrored ones."""
    tried = []
    for a, b in combinations(range(len(rig.names)), 2):
        order = np.arange(len(rig.names))
        order[[a, b]] = order[[b, a]]
        swapped = replace(seen, xy=seen.xy[order], likelihood=seen.likelihood[order])
        text = f"{rig.names[a]!r} and {rig.names[b]!r} are exchanged"
        remedy = "Exchange the two files in config.yaml, and analyse the recording again."
        tried.append((misfit(swapped, rig), "files", text, remedy))
    for i, name in enumerate(rig.names):
        for factor, word in ((2.0, "half"), (0.5, "twice")):
            xy = seen.xy.copy()
            # pixel (0, 0) is a pixel's centre
            xy[i] = (xy[i] + 0.5) * factor - 0.5
            text = f"the video of {name!r} has {word} the size that was calibrated"
            remedy = "Analyse the video in its own size, or resize the calibration to it."
            tried.append((misfit(replace(seen, xy=xy), rig), "size", text, remedy))
        xy = seen.xy.copy()
        xy[i, ..., 0] = rig[name].intrinsics.image_size[0] - 1 - xy[i, ..., 0]
        text = f"the video of {name!r} is mirrored"
        remedy = "Turn the mirror image back, or calibrate through the mirror too."
        tried.append((misfit(replace(seen, xy=xy), rig), "mirror", text, remedy))
    for factor, word in ((2.0, "half"), (0.5, "twice")):
        text = f"all videos have {word} the size that was calibrated"
        xy = (seen.xy + 0.5) * factor - 0.5
        remedy = "Analyse the videos in their own size, or resize the calibration to it."
        # smaller images disagree by fewer pixels, whatever is in them
        left = misfit(replace(seen, xy=xy), rig) / factor
        tried.append((left, "size", text, remedy))
    best = min(tried, key=lambda one: one[0])
    fits = max(_FITS, _FITS_SHARE * max(max(camera.intrinsics.image_size) for camera in rig))
    if best[0] < min(_LEFT * whole, fits):
        yield Finding(
            "FAIL",
            best[1],
            f"It seems that {best[2]}: the cameras disagree by {whole:.1f} px (median), and by "
            f"{best[0]:.1f} px if that is taken into account.",
            best[3],
        )
