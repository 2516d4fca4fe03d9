"""What to doubt about cameras that were placed by keypoints: correlated errors, a verdict.

====================== ========================= ========================= =======================
looked at              WARN                      FAIL                      why there
====================== ========================= ========================= =======================
position's error       1 % of the distance to    5 %                       1 % of a depth of a
                       the animal                                          metre is a centimetre
views judged wrong     30 % of a camera's        60 %                      a fit that drops most
                                                                           explains something else
residual               twice `noise_px`          5 times                   the motion found is not
                                                                           the cameras', or the
                                                                           lenses are not
scale's error          2 %                       10 %                      lengths are off by it
====================== ========================= ========================= =======================
"""

import numpy as np

from calibration.results import Finding, Verdict
from calibration.solve import standard_errors

POSITION_SHARE = (0.01, 0.05)
WRONG_VIEWS = (0.3, 0.6)
SCALE_ERROR = (0.02, 0.1)


def judge_keypoints(found, noise_px: float) -> Verdict:
    """Name what is weak about cameras that were placed by keypoints.

    Parameters
    ----------
    found : SelfCalibration
        Its own verdict is not looked at.
    noise_px : float
        Noise of a coordinate that was expected.
    """
    findings = []

    def look(name, value, limits, said, remedy):
        level = "FAIL" if value > limits[1] else "WARN" if value > limits[0] else "PASS"
        findings.append(Finding(level, name, said, "" if level == "PASS" else remedy))

    look(
        "residual",
        found.sigma_px,
        (2 * noise_px, 5 * noise_px),
        f"Keypoints lie {found.sigma_px:.2g} px from where they should (standard deviation of a "
        f"coordinate; {noise_px:g} were expected).",
        "Check the lenses, that equal frames are equal moments, and the keypoints themselves.",
    )
    errors = standard_errors(found.rig)["position"]
    middle = np.nanmean(found.points, axis=(0, 1))
    seen = np.isfinite(found.residuals[..., 0])
    for i, camera in enumerate(found.rig):
        views = np.count_nonzero(seen[i])
        wrong = 1 - np.count_nonzero(found.used[i] & seen[i]) / max(views, 1)
        look(
            "wrong views",
            wrong,
            WRONG_VIEWS,
            f"Camera {camera.name!r}: {100 * wrong:.0f} % of {views} views were left out.",
            "Look at its keypoints in the video; a wrong lens or a late camera does this too.",
        )
        distance = np.linalg.norm(camera.position - middle)
        error = np.linalg.norm(errors[i])
        look(
            "position",
            error / distance,
            POSITION_SHARE,
            f"Camera {camera.name!r} stands {distance:.4g} {found.rig.units} from the animal; the "
            f"standard error of its position is {error:.2g} ({100 * error / distance:.1f} %).",
            "Record the animal walking through all of the space that the cameras see, or "
            "calibrate with a board.",
        )
    look(
        "scale",
        found.scale_error,
        SCALE_ERROR,
        f"Lengths are known to {100 * found.scale_error:.2g} %.",
        "Measure the distance of two cameras that stand far apart.",
    )
    return Verdict(tuple(findings))


def track_inflation(series: np.ndarray) -> float:
    """Return how much more means of tracks vary than those of independent errors would.

    Parameters
    ----------
    series : ndarray of shape (n_frames, n_tracks)
        Residuals, a column for each camera's coordinate of a keypoint; NaN is left out.

    Returns
    -------
    float
        Factor of the variance, at least 1: the mean square of the tracks' means in units of
        what their own number of frames explains.
    """
    count = np.isfinite(series).sum(axis=0)
    series = series[:, count >= 5]
    count = count[count >= 5]
    if len(count) < 6:
        return 1.0
    mean = np.nanmean(series, axis=0)
    square = np.nanmean(series**2, axis=0)
    # of exact data rounding is all that is left
    ratio = count * mean**2 / np.maximum(square, 1e-18)
    factor = float(np.mean(ratio))
    return factor if factor > 1 + 3 * np.sqrt(2 / len(count)) else 1.0


def series_inflation(series: np.ndarray) -> float:
    """Return how much more a mean of correlated moments varies than one of independent ones.

    (1 + r) / (1 - r), with r the correlation of each moment, (n_frames,), with the next.
    """
    before, after = series[:-1], series[1:]
    both = np.isfinite(before) & np.isfinite(after)
    if np.count_nonzero(both) < 20:
        return 1.0
    before, after = before[both], after[both]
    size = np.sqrt((before @ before) * (after @ after))
    correlation = np.clip((before @ after) / size, 0.0, 0.98) if size > 0 else 0.0
    # of independent moments it is not quite zero either
    correlation = correlation if correlation > 3 / np.sqrt(len(before)) else 0.0
    return float((1 + correlation) / (1 - correlation))
