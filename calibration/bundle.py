"""Bundle adjustment: cameras, lenses and rigid boards that explain all corners at once.

Unknowns are, per camera, a rotation increment, ``tvec``, fx, fy, cx, cy and the lens model's
coefficients, and per moment one rigid board pose; corners are never free points. A view's
Jacobian is taken by the board's pose in the camera (6) and the lens; increments of camera and
board are linear maps of that pose, so the long arrays have no more columns than that. The
boards are eliminated (Schur complement) and the cameras solved for densely, by
Levenberg-Marquardt with a robust loss.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calibration.boards import BoardDetections
from calibration.cameras import Camera, CameraRig
from calibration.levenberg import Adjustment, parameters

logger = logging.getLogger(__name__)

#: Median length of a residual whose two coordinates have standard deviation one.
_MEDIAN_LENGTH = np.sqrt(2 * np.log(2))
#: Huber's loss turns from square to linear, and Tukey's ends, at this many standard deviations.
#: On Gaussian noise both are 97 % as exact as least squares.
_BENDS = {"huber": 2.0, "tukey": 6.0}
#: What is believed beforehand is weighed as if corners had this noise, in px: less than they
#: have, so that it is the boards that speak.
_PRIOR_NOISE = 0.1
#: Principal points lie this near the middle, in image sides, and focal lengths to each other.
_MIDDLE_SPREAD = 0.02
_ASPECT_SPREAD = 0.003
#: Decentring coefficients p1, p2 of real lenses are some thousandths.
_DECENTRING_SPREAD = 0.002
#: Corners farther off are judged wrong. Of Gaussian ones it takes 4 in a million.
_WRONG = 5.0


@dataclass(frozen=True, eq=False)
class BundleResult:
    """Cameras and boards that fit best.

    Attributes
    ----------
    rig : CameraRig
        The cameras, with the covariance of their parameters.
    board_poses : ndarray of shape (n_frames, 4, 4)
        World from board; NaN where it was not known at the start.
    residuals : ndarray of shape (n_cameras, n_frames, n_corners, 2)
        Detected minus projected corner in pixels, all detected corners of the known boards.
    used : ndarray of bool of shape (n_cameras, n_frames, n_corners)
        Corners that were fitted; the others were not seen or judged wrong.
    sigma_px : float
        Standard deviation of a coordinate, from the residuals of the corners used.
    n_iterations : int
        Number of linear systems solved.
    """

    rig: CameraRig
    board_poses: np.ndarray
    residuals: np.ndarray
    used: np.ndarray
    sigma_px: float
    n_iterations: int

    @property
    def rms_px(self) -> float:
        """Root mean square residual per coordinate of the corners used."""
        return float(np.sqrt(np.mean(self.residuals[self.used] ** 2)))


def free_parameters(
    camera: Camera,
    *,
    pose: bool = True,
    lens: bool = True,
    coefficients: Sequence[int] | None = None,
) -> np.ndarray:
    """Say which parameters of a camera may change.

    Parameters
    ----------
    camera : Camera
        The camera.
    pose : bool
        Whether its place may change.
    lens : bool
        Whether focal lengths, principal point and distortion may.
    coefficients : sequence of int, optional
        Which distortion coefficients may, where the lens may; all if not given.

    Returns
    -------
    ndarray of bool of shape (n_parameters,)
        In the order of `CameraRig.covariance`.
    """
    free = np.zeros(camera.n_parameters, dtype=bool)
    free[:6] = pose
    free[6:10] = lens
    if lens:
        free[10:] = coefficients is None
        if coefficients is not None:
            free[10 + np.asarray(coefficients, dtype=int)] = True
    return free


def lens_prior(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Say what can be believed of a lens before any board: that it is a lens.

    Its focal length is within a half of a first guess, both focal lengths within 0.3 % of each
    other, its principal point within two hundredths of the image of the middle, p1 and p2
    within two thousandths, and no other coefficient moves the image's corner by more than a
    third of its distance from the middle; each as one standard deviation. A board that is tilted
    and moved outweighs this a thousandfold; one that lies flat or never moves leaves a lens that
    may be wide of the mark but not absurd, and standard errors that say so. The fit also keeps
    focal lengths within a factor of four of the guess.

    Parameters
    ----------
    camera : Camera
        The camera with first guesses of its focal lengths.

    Returns
    -------
    mean, precision : ndarray of shape (n_parameters,) and (n_parameters, n_parameters)
        For `bundle_adjust`.
    """
    lens = camera.intrinsics
    size = np.array(lens.image_size, dtype=np.float64)
    focal = lens.matrix[[0, 1], [0, 1]]
    mean = parameters(camera)
    mean[8:10] = (size - 1) / 2
    mean[10:] = 0.0
    reach = np.linalg.norm(size / 2 / focal)
    powers = {
        "pinhole": (),
        "brown": (2, 4, 1, 1, 6),
        "rational": (2, 4, 1, 1, 6, 2, 4, 6),
        "fisheye": (2, 4, 6, 8),
    }[lens.model]
    deviation = np.full(mean.size, np.inf)
    deviation[6:8] = 0.5 * focal
    deviation[8:10] = _MIDDLE_SPREAD * size.max()
    deviation[10:] = 1 / 3 / reach ** np.array(powers)
    if lens.model in ("brown", "rational"):
        deviation[12:14] = _DECENTRING_SPREAD
    precision = np.diag((_PRIOR_NOISE / deviation) ** 2)
    # fx - fy, about the difference that is not known to be any
    mean[6:8] = focal.mean()
    aspect = (_PRIOR_NOISE / (_ASPECT_SPREAD * focal.mean())) ** 2
    precision[6:8, 6:8] += aspect * np.array([[1.0, -1.0], [-1.0, 1.0]])
    return mean, precision


def bundle_adjust(
    rig: CameraRig,
    detections: BoardDetections,
    board_poses: np.ndarray,
    *,
    free: Sequence[np.ndarray] | None = None,
    priors: Sequence[tuple[np.ndarray, np.ndarray]] | None = None,
    robust: bool = True,
    tolerance: float = 1e-9,
    max_iterations: int = 60,
    covariance: bool = True,
) -> BundleResult:
    """Fit cameras and boards to all corners together.

    Robust in three steps: Huber's loss, whose answer does not hang on the start, with scales
    taken anew from the residuals until they stand; Tukey's, which ignores gross errors; then
    least squares without the corners that lie more than five standard deviations off, so
    that on good data nothing is lost. Scales are each camera's own, and a camera weighs by its
    scale: else one wrong view widens its camera's scale and outvotes the right ones.

    Parameters
    ----------
    rig : CameraRig
        First values; lens models are kept. The place of the first camera is held.
    detections : BoardDetections
        Corners in pixels, cameras in the rig's order.
    board_poses : ndarray of shape (n_frames, 4, 4)
        First values, world from board; NaN leaves a moment out.
    free : sequence of ndarray of bool, optional
        Per camera, which parameters may change (see `free_parameters`); all if not given.
        The place of the first camera is held in any case.
    priors : sequence of (mean, precision), optional
        Per camera, what is believed of its lens beforehand (see `lens_prior`).
    robust : bool
        Whether wrong corners are found and left out; else plain least squares.
    tolerance : float
        Ends when the loss falls by a smaller share than this.
    max_iterations : int
        Most linear systems solved in each step.
    covariance : bool
        Whether to compute the covariance, and refuse what is not determined.

    Returns
    -------
    BundleResult

    Raises
    ------
    CalibrationError
        If no board is known at the start, or there are fewer corners than unknowns.
    """
    if free is None:
        free = [free_parameters(camera) for camera in rig]
    problem = Adjustment(rig, detections, board_poses, free, priors)
    state = problem.start
    n_iterations = 0
    # a corner that starts behind its camera belongs to a view that contradicts the others
    everything = np.isfinite(problem.residuals(state)[..., 0])
    used = everything
    if robust:
        scales = None
        for _ in range(10):
            lengths = problem.lengths(state)
            old, scales = scales, _scales(lengths, everything)
            if old is not None and np.all(np.abs(scales - old) < 0.05 * scales):
                break
            state, n = problem.minimise(state, used, _loss("huber", scales), 1e-3, 10)
            n_iterations += n
        used = _right(lengths, scales, everything)
        # where nothing is wrong, Tukey's loss would find nothing
        if np.count_nonzero(used) < np.count_nonzero(everything):
            for _ in range(2):
                scales = _scales(problem.lengths(state), everything)
                state, n = problem.minimise(state, everything, _loss("tukey", scales), 1e-3, 10)
                n_iterations += n
            lengths = problem.lengths(state)
            used = _right(lengths, _scales(lengths, everything), everything)
    state, n = problem.minimise(state, used, None, tolerance, max_iterations)
    residuals = problem.residuals(state)
    if covariance:
        sigma, matrix = problem.uncertainty(state, used)
    else:
        sigma, matrix = float(np.sqrt(np.mean(residuals[used] ** 2))), None
    cameras, poses = state
    logger.debug("bundle: %d iterations, sigma %.3f px", n_iterations + n, sigma)
    return BundleResult(
        CameraRig(cameras, rig.units, matrix),
        _all_poses(poses, problem.known),
        residuals,
        used,
        sigma,
        n_iterations + n,
    )


def _loss(kind, scales):
    """Bend a loss for every camera at its own scale; in all, a camera weighs by its scale."""
    return kind, _BENDS[kind] * scales, (np.median(scales) / scales) ** 2


def _all_poses(poses, known):
    """Spread the poses of known moments over all moments."""
    out = np.full((len(known), 4, 4), np.nan)
    out[known] = poses
    return out


def _right(lengths, scales, seen):
    """Tell which corners lie where their camera's scale lets them."""
    with np.errstate(invalid="ignore"):
        return seen & (lengths < _WRONG * scales[:, np.newaxis, np.newaxis])


def _scales(lengths, seen):
    """Robust standard deviation of a coordinate for each camera; its floor keeps losses sane."""
    scales = np.ones(len(lengths))
    for i, length in enumerate(lengths):
        some = length[seen[i]]
        # a corner that came to lie behind its camera is as wrong as can be
        some = np.where(np.isnan(some), np.inf, some)
        if some.size:
            scales[i] = np.median(some) / _MEDIAN_LENGTH
    return np.clip(scales, 1e-3, 1e6)
