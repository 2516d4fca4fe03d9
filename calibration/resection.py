"""Where one camera of known lens stands, from points whose places are known.

Every pose that three points leave is tried (P3P, up to four each), and those that all points
leave (SQPNP, for flat scenes IPPE); the one with which most points agree is refined in the true
lens model. Flat scenes leave two poses: the runner-up is handed back too.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from calibration.cameras import Camera, Intrinsics
from calibration.errors import CalibrationError
from calibration.multiview import projection_jacobian
from calibration.rotations import cross_matrix, rotation_matrices, rotation_vectors

#: Threes that are tried: all of up to 14 points; of more, as many at random (with a fifth of
#: the points wrong, that all of them hold a wrong one has a chance of 1e-80).
_MAX_TRIPLES = 364
#: Candidates that are refined.
_MAX_REFINED = 8
#: Points by which candidates are ranked.
_MAX_SCORED = 100
#: A runner-up is another pose if its direction or place differs by more than this, in radians
#: and as a share of the distance to the points.
_OTHER = 0.05
#: Points spread less than this share of their length across their best line are on a line.
_LINE = 0.01


@dataclass(frozen=True, eq=False)
class Resection:
    """A camera's place, and what is left to doubt.

    Attributes
    ----------
    camera : Camera
        At its best pose.
    right : ndarray of bool of shape (n_points,)
        Points that agree with it.
    errors : ndarray of shape (n_points,)
        Reprojection errors in px; NaN where not seen, infinite behind the camera.
    loss : float
        Sum of squared errors, each up to the square of the limit, px squared.
    rival : Camera or None
        The best clearly different pose, if there is one.
    rival_loss : float
        Its loss; infinite if there is none.
    """

    camera: Camera
    right: np.ndarray
    errors: np.ndarray
    loss: float
    rival: Camera | None
    rival_loss: float


def check_spread(points: np.ndarray, who: str) -> None:
    """Refuse points that do not determine a pose: fewer than four, or all on one line."""
    if len(points) < 4:
        raise CalibrationError(
            f"{who} sees {len(points)} known points; at least 4 are needed, 6 to find a wrong one. "
            "Mark more of them."
        )
    spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    if spread[1] < _LINE * spread[0]:
        raise CalibrationError(
            f"The {len(points)} known points that {who} sees lie on one line (they spread "
            f"{100 * spread[1] / spread[0]:.1f} % of its length across it): the camera can turn "
            "about it. Add points well off the line."
        )


def place_camera(
    name: str,
    lens: Intrinsics,
    points_3d: np.ndarray,
    points_2d: np.ndarray,
    *,
    limit_px: float,
) -> Resection:
    """Place a camera by known points, wrong ones among them not withstanding.

    Parameters
    ----------
    name : str
        Its name.
    lens : Intrinsics
        Its lens.
    points_3d : ndarray of shape (n_points, 3)
        World points in any unit; NaN where not known.
    points_2d : ndarray of shape (n_points, 2)
        Where it saw them in pixels; NaN where it did not.
    limit_px : float
        Points farther than this from where they should be seen are judged wrong.

    Returns
    -------
    Resection

    Raises
    ------
    CalibrationError
        If fewer than four points are seen, they lie on one line, or no four agree.
    """
    both = np.isfinite(points_3d).all(axis=1) & np.isfinite(points_2d).all(axis=1)
    rows = np.flatnonzero(both)
    check_spread(points_3d[rows], f"Camera {name!r}")
    xyz, seen = points_3d[rows], points_2d[rows]
    centre, size = xyz.mean(axis=0), np.sqrt(xyz.var(axis=0).sum())
    camera_poses = _candidates((xyz - centre) / size, lens.undistort(seen))
    if len(camera_poses) == 0:
        raise _no_pose(name, rows)
    rotations, shifts = camera_poses
    shifts = size * shifts - rotations @ centre
    # of very many points, some tell the good candidates from the bad ones
    some = slice(None, None, max(1, len(xyz) // _MAX_SCORED))
    places = xyz[some] @ np.swapaxes(rotations, 1, 2) + shifts[:, np.newaxis]
    errors = np.linalg.norm(lens.project(places) - seen[some], axis=-1)
    losses = (np.minimum(np.nan_to_num(errors, nan=np.inf), limit_px) ** 2).sum(axis=1)
    ranked, fits = np.argsort(losses, kind="stable"), []
    for k in ranked:
        if len(fits) == _MAX_REFINED:
            break
        camera = Camera(name, lens, rotation_vectors(rotations[k]), shifts[k])
        # a neighbour of one that was refined would end in the same place
        if any(not _differ(camera, start, xyz) for start, _, _ in fits):
            continue
        fitted = _refined(camera, xyz, seen, limit_px)
        fits.append((camera, fitted, _loss(_camera_errors(fitted, xyz, seen), limit_px)))
    fits.sort(key=lambda fit: fit[2])
    _, camera, loss = fits[0]
    others = [fit for fit in fits[1:] if _differ(fit[1], camera, xyz)]
    errors = np.full(len(points_3d), np.nan)
    errors[rows] = _camera_errors(camera, xyz, seen)
    with np.errstate(invalid="ignore"):
        right = errors < limit_px
    if np.count_nonzero(right) < 4:
        raise _no_pose(name, rows)
    check_spread(points_3d[right], f"Camera {name!r}, wrong ones left out,")
    rival, rival_loss = (others[0][1], others[0][2]) if others else (None, np.inf)
    return Resection(camera, right, errors, loss, rival, rival_loss)


def _no_pose(name, rows):
    return CalibrationError(
        f"No place of camera {name!r} explains four of its {len(rows)} points. Are the names of "
        "the points exchanged, the picture mirrored, the lens another camera's, or the units of "
        "the known points mixed?"
    )


def _candidates(points, normalised):
    """Poses that threes of points and all of them leave: rotations and translations."""
    import cv2

    rotations, shifts = [], []
    identity = np.eye(3)

    def add(rvecs, tvecs):
        for rvec, tvec in zip(rvecs, tvecs, strict=True):
            if np.isfinite(rvec).all() and np.isfinite(tvec).all():
                rotations.append(rotation_matrices(rvec.ravel()))
                shifts.append(tvec.ravel())

    finite = np.isfinite(normalised).all(axis=1)
    points, normalised = points[finite], normalised[finite]
    flat = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)[2] < 1e-3
    for method in (cv2.SOLVEPNP_SQPNP, *([cv2.SOLVEPNP_IPPE] if flat else [])):
        if len(points) >= 4:
            try:
                _, rvecs, tvecs, _ = cv2.solvePnPGeneric(
                    points, normalised, identity, None, flags=method
                )
                add(rvecs, tvecs)
            except cv2.error:  # too degenerate for this method
                pass
    triples = np.array(list(combinations(range(len(points)), 3))) if len(points) <= 14 else None
    if triples is None:
        rng = np.random.default_rng(0)
        triples = np.argsort(rng.uniform(size=(_MAX_TRIPLES, len(points))), axis=1)[:, :3]
    for triple in triples:
        _, rvecs, tvecs = cv2.solveP3P(
            points[triple], normalised[triple], identity, None, flags=cv2.SOLVEPNP_P3P
        )
        add(rvecs, tvecs)
    return (np.array(rotations), np.array(shifts)) if rotations else ()


def _errors(lens, rotation, shift, points, seen):
    errors = np.linalg.norm(lens.project(points @ rotation.T + shift) - seen, axis=1)
    return np.where(np.isnan(errors), np.inf, errors)


def _camera_errors(camera, points, seen):
    return _errors(camera.intrinsics, camera.rotation, camera.tvec, points, seen)


def _loss(errors, limit):
    return float((np.minimum(errors, limit) ** 2).sum())


def _differ(first, second, points):
    """Tell whether two cameras stand at clearly different places or look elsewhere."""
    distance = np.linalg.norm(points.mean(axis=0) - first.position)
    turn = np.linalg.norm(rotation_vectors(first.rotation @ second.rotation.T))
    return turn > _OTHER or np.linalg.norm(first.position - second.position) > _OTHER * distance


def _refined(camera, points, seen, limit):
    """Levenberg-Marquardt on the pose; errors beyond the limit do not count."""
    damping = 1e-3
    errors = _camera_errors(camera, points, seen)
    for _ in range(50):
        use = errors < limit
        if np.count_nonzero(use) < 3:
            return camera
        loss = _loss(errors, limit)
        slope = projection_jacobian(camera, points[use]) @ camera.rotation.T
        turned = points[use] @ camera.rotation.T
        slope = np.concatenate([-slope @ cross_matrix(turned), slope], axis=2).reshape(-1, 6)
        residual = (seen[use] - camera.project(points[use])).ravel()
        normal = slope.T @ slope
        normal[np.diag_indices(6)] *= 1 + damping
        try:
            change = np.linalg.solve(normal, slope.T @ residual)
        except np.linalg.LinAlgError:
            return camera
        rotation = rotation_matrices(change[:3]) @ camera.rotation
        trial = Camera(
            camera.name, camera.intrinsics, rotation_vectors(rotation), camera.tvec + change[3:]
        )
        trial_errors = _camera_errors(trial, points, seen)
        if _loss(trial_errors, limit) <= loss:
            gain = loss - _loss(trial_errors, limit)
            camera, errors, damping = trial, trial_errors, max(damping / 10, 1e-9)
            if gain <= 1e-12 * max(loss, 1e-12):
                break
        else:
            damping *= 10
            if damping > 1e8:
                break
    return camera
