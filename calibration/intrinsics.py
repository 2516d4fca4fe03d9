"""One camera's lens from the boards it saw, and which lens model the boards bear out."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from calibration import lenses
from calibration.boards import BoardDetections
from calibration.bundle import bundle_adjust, free_parameters, lens_prior
from calibration.cameras import Camera, CameraRig, Intrinsics
from calibration.errors import CalibrationError
from calibration.levenberg import parameters
from calibration.normals import view_normals
from calibration.poses import MIN_CORNERS, homographies, posable_views, pose_errors, view_poses

logger = logging.getLogger(__name__)

#: What a user may ask for: lens model, and which of its coefficients are free.
LENS_CHOICES = {
    "pinhole": ("pinhole", ()),
    "k1": ("brown", (0,)),
    "k1k2": ("brown", (0, 1)),
    "k1k2p1p2": ("brown", (0, 1, 2, 3)),
    "brown": ("brown", (0, 1, 2, 3, 4)),
    "rational": ("rational", (0, 1, 2, 3, 4, 5, 6, 7)),
    "fisheye": ("fisheye", (0, 1, 2, 3)),
}
#: What "auto" chooses from, the simplest first. It starts at k1 k2 p1 p2: one camera's views may
#: not tell them from nothing where all cameras' together will, and left out they bend everything
#: by more than their errors say (lens_prior keeps them as small as real ones are).
AUTO_CHOICES = ("k1k2p1p2", "brown", "rational", "fisheye")
#: The fisheye model is tried where the image's corner is seen at more than 50 degrees.
_WIDE = 1.2
#: By how much the rational model must be better to be taken, for its eight coefficients say more
#: of what was not seen, and any model that turns back inside the image, where it has no rays.
_HANDICAPS = {"rational": 1.03}
_BLIND_HANDICAP = 1.05
#: A view left out counts at most this many times the squares it has when fitted.
_MAX_LEFT_OUT = 4.0
#: Views of one camera from which its lens is first fitted; the joint fit takes them all.
_MAX_VIEWS = 32
#: ... and from which its focal length is guessed.
_MAX_VIEWS_TO_GUESS = 16
#: Fewest views for which leaving each out in turn tells models apart.
_MIN_VIEWS_TO_CHOOSE = 6


@dataclass(frozen=True, eq=False)
class LensFit:
    """What the boards before one camera say of its lens.

    Attributes
    ----------
    intrinsics : Intrinsics
        The lens.
    choice : str
        Which of `LENS_CHOICES` it is.
    coefficients : tuple of int
        The distortion coefficients that are free.
    left_out_px : mapping of str to float
        Root mean square residual per coordinate, for every model tried, of views left out of
        the fit; empty where the model was told or the views are too few.
    rms_px : float
        The same of the fitted views.
    belief : tuple of ndarray or None
        Mean and precision of the camera's parameters, for a joint fit of other boards.
    """

    intrinsics: Intrinsics
    choice: str
    coefficients: tuple[int, ...]
    left_out_px: Mapping[str, float]
    rms_px: float
    belief: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def why(self) -> str:
        """Why this model, in a sentence."""
        if not self.left_out_px:
            return f"{self.choice}: as told, or too few views to compare models."
        others = ", ".join(
            f"{name} {error:.3f}" for name, error in self.left_out_px.items() if name != self.choice
        )
        return (
            f"{self.choice}: foretells views left out of the fit to "
            f"{self.left_out_px[self.choice]:.3f} px ({others})."
        )


def calibrate_lens(
    detections: BoardDetections, camera: str, *, model: str = "auto", believed: bool = False
) -> LensFit:
    """Fit one camera's lens to the boards it saw.

    Parameters
    ----------
    detections : BoardDetections
        Corners of all cameras.
    camera : str
        The camera.
    model : str
        One of `LENS_CHOICES`; "auto" takes the one of `AUTO_CHOICES` that best predicts views
        left out of the fit.
    believed : bool
        Whether the boards are for the lens alone: `LensFit.belief` then hands on what they say.

    Returns
    -------
    LensFit

    Raises
    ------
    CalibrationError
        If no view shows enough of the board.
    """
    check_choice(model)
    alone = _chosen_views(detections, camera)
    if model != "auto":
        kind, coefficients = LENS_CHOICES[model]
        result = _fit_anew(alone, kind, coefficients)
        return _told(result, alone, model, {}, believed)
    fits = {"brown": _fit_anew(alone, *LENS_CHOICES["brown"])}
    fits["rational"] = _refit(alone, fits["brown"], "rational", robust=True)
    if _is_wide(fits["brown"].rig.cameras[0].intrinsics):
        fits["fisheye"] = _fit_anew(alone, *LENS_CHOICES["fisheye"])
    # all models are judged by the corners that the best does not call wrong
    most = max(fits.values(), key=lambda fit: np.count_nonzero(fit.used)).used
    alone = replace(alone, corners=np.where(most[..., np.newaxis], alone.corners, np.nan))
    choices = [name for name in AUTO_CHOICES if name != "fisheye" or name in fits]
    for name in choices:
        # what was fitted to these very corners stands
        if name not in fits or not np.array_equal(fits[name].used, most):
            fits[name] = _refit(alone, fits.get(name, fits["brown"]), name, robust=False)
    choice, left_out = choices[0], {}
    if len(alone.frames) >= _MIN_VIEWS_TO_CHOOSE:
        losses = {
            name: _left_out_losses(alone, fits[name], LENS_CHOICES[name][1]) for name in choices
        }
        count = 2 * np.count_nonzero(most)
        left_out = {name: float(np.sqrt(loss.sum() / count)) for name, loss in losses.items()}
        choice = _best_choice(fits, losses)
    logger.info("lens of %s: %s, left out %s", camera, choice, left_out)
    return _told(fits[choice], alone, choice, left_out, believed)


def _told(fit, alone, choice, left_out, believed):
    """Make a lens fit, with its precision where other boards are to be fitted with it."""
    camera = fit.rig.cameras[0]
    coefficients = LENS_CHOICES[choice][1]
    belief = None
    if believed:
        used = np.where(fit.used[..., np.newaxis], alone.corners, np.nan)
        free = free_parameters(camera, pose=False, coefficients=coefficients)
        exact = bundle_adjust(
            fit.rig,
            replace(alone, corners=used),
            fit.board_poses,
            free=[free],
            priors=[lens_prior(camera)],
            robust=False,
        )
        rows = np.flatnonzero(free)
        precision = np.zeros(exact.rig.covariance.shape)
        precision[np.ix_(rows, rows)] = exact.sigma_px**2 * np.linalg.pinv(
            exact.rig.covariance[np.ix_(rows, rows)], hermitian=True
        )
        belief = parameters(exact.rig.cameras[0]), precision
    return LensFit(camera.intrinsics, choice, coefficients, left_out, fit.rms_px, belief)


def _best_choice(fits, losses):
    """Take the simplest model that no richer one beats at foretelling views left out.

    A richer one must be better by more than the spread of the views' losses explains: what it
    has too many costs precision everywhere.
    """
    choice, *richer = losses
    best = losses[choice]
    for name in richer:
        loss = losses[name] * _HANDICAPS.get(name, 1.0) ** 2
        if not _clearly_less(loss, best):
            continue
        # whether a model turns back takes long to find out: only the better ones are asked
        if blind_share(fits[name].rig.cameras[0].intrinsics) > 0:
            loss = loss * _BLIND_HANDICAP**2
        if _clearly_less(loss, best):
            choice, best = name, loss
    return choice


def _clearly_less(loss, other):
    """Tell whether one model's losses are below another's by more than their spread explains."""
    gain = other - loss
    return gain.sum() > np.std(gain) * np.sqrt(len(gain))


def _is_wide(lens):
    """Tell whether a lens sees so far to the sides that a fisheye model may fit it better."""
    reach = np.linalg.norm(np.array(lens.image_size) / 2 / lens.matrix[[0, 1], [0, 1]])
    return reach > _WIDE


def check_choice(model: str) -> None:
    """Refuse a lens model that is none."""
    if model != "auto" and model not in LENS_CHOICES:
        raise ValueError(f"model is {model!r}; expected auto, {', '.join(LENS_CHOICES)}.")


def blind_share(lens: Intrinsics) -> float:
    """Return the share of the image in which the lens model has no ray.

    A polynomial fitted to the middle may turn back farther out; no world point projects there.
    """
    x, y = (np.linspace(0, side - 1, 17) for side in lens.image_size)
    grid = np.stack(np.meshgrid(x, y), axis=-1)
    return float(np.isnan(lens.undistort(grid)[..., 0]).mean())


def _chosen_views(detections, camera):
    """One camera's views for its lens: the fullest of each stretch of time."""
    i = detections.cameras.index(camera)
    moments = np.flatnonzero(posable_views(detections)[i])
    if len(moments) == 0:
        n_any = np.count_nonzero(detections.n_seen[i])
        raise CalibrationError(
            f"Camera {camera!r} never shows enough of the board for its pose: "
            f"{n_any} of its {len(detections.frames)} moments hold any corner at all. Move the "
            "board before it, and check that the board described is the board filmed."
        )
    n_seen = detections.n_seen[i]
    stretches = np.array_split(moments, min(_MAX_VIEWS, len(moments)))
    best = [stretch[np.argmax(n_seen[stretch])] for stretch in stretches]
    corners = detections.corners[i, best]
    return BoardDetections(
        corners[np.newaxis],
        (camera,),
        detections.board,
        detections.image_sizes[i : i + 1],
        detections.frames[best],
    )


def _first_lens(alone, model):
    """Guess the focal length: of many, that under which the views look most like the board."""
    size = np.array(alone.image_sizes[0], dtype=np.float64)
    centre = (size - 1) / 2
    board = np.array(alone.board.corners)
    dist = np.zeros(lenses.COEFFICIENTS[model])
    candidates = size.max() * np.geomspace(0.25, 8.0, 26)
    # the fullest views are enough for a guess
    fullest = np.argsort(-alone.n_seen[0], kind="stable")[:_MAX_VIEWS_TO_GUESS]
    corners = alone.corners[0, fullest]
    matrices = np.zeros((len(candidates), 3, 3))
    matrices[:, 0, 0] = matrices[:, 1, 1] = candidates
    matrices[:, :2, 2] = centre
    matrices[:, 2, 2] = 1.0
    normalised = (corners - centre) / candidates[:, np.newaxis, np.newaxis, np.newaxis]
    maps = None
    if model == "fisheye":
        normalised = lenses.undistort(normalised, dist, model)
    else:  # a straight lens carries the views' homographies over
        maps = homographies(board[:, :2], corners)[0]
        maps = (np.linalg.inv(matrices)[:, np.newaxis] @ maps).reshape(-1, 3, 3)
    views = normalised.reshape(-1, *corners.shape[1:])
    errors = view_poses(board, views, maps=maps)[1][:, 0].reshape(len(candidates), -1)
    # a view that no focal length explains must not outvote the others
    errors = np.minimum(errors * candidates[:, np.newaxis], 0.05 * size.max()).mean(axis=1)
    # where boards without tilt leave a range of focal lengths, an ordinary lens is likeliest
    good = np.flatnonzero(errors <= 1.05 * errors.min() + 1e-9)
    focal = candidates[good[np.argmin(np.abs(np.log(candidates[good] / size.max())))]]
    matrix = [[focal, 0, centre[0]], [0, focal, centre[1]], [0, 0, 1]]
    return Intrinsics(matrix, dist, size, model)


def _fit_anew(alone, kind, coefficients):
    """Fit a lens of which nothing is known."""
    lens = _first_lens(alone, kind)
    # the first coefficient before the others: far from the answer they run away together
    for free in (coefficients[:1], coefficients):
        result = _fit(alone, lens, free)
        lens = result.rig.cameras[0].intrinsics
    if _has_mirrored(alone, result):  # a pose may start so while the lens is unknown
        result = _fit(alone, lens, coefficients)
    return result


def _fit(alone, lens, coefficients, *, poses=None, robust=True):
    """Fit the lens and the boards' poses from one camera alone."""
    camera = Camera(alone.cameras[0], lens, np.zeros(3), np.zeros(3))
    if poses is None:
        both, _ = view_poses(np.array(alone.board.corners), lens.undistort(alone.corners[0]))
        poses = both[:, 0]
    return bundle_adjust(
        CameraRig((camera,), alone.board.units),
        alone,
        poses,
        free=[free_parameters(camera, pose=False, coefficients=coefficients)],
        priors=[lens_prior(camera)],
        robust=robust,
        tolerance=1e-6,
        covariance=False,
    )


def _has_mirrored(alone, result):
    """Tell whether a view fits its board clearly better in another pose than the one found."""
    board = np.array(alone.board.corners)
    normalised = result.rig.cameras[0].intrinsics.undistort(alone.corners[0])
    _, fresh = view_poses(board, normalised)
    return np.any(fresh[:, 0] < 0.7 * pose_errors(board, normalised, result.board_poses))


def _refit(alone, result, choice, *, robust):
    """Fit another model, starting from one that has been fitted."""
    lens = result.rig.cameras[0].intrinsics
    kind, coefficients = LENS_CHOICES[choice]
    dist = np.zeros(lenses.COEFFICIENTS[kind])
    dist[: lens.dist.size] = lens.dist
    dist[[k for k in range(dist.size) if k not in coefficients]] = 0.0
    lens = replace(lens, dist=dist, model=kind)
    return _fit(alone, lens, coefficients, poses=result.board_poses, robust=robust)


def _left_out_losses(same, result, coefficients):
    """Squared residuals of each view under the lens fitted to all other views.

    One Newton step from the common fit gives the lens without a view, and the view's own
    normal equations the loss it then has with its pose fitted afresh. The loss of a view that
    alone shows a part of the image is bounded: without it no model could know that part.
    """
    # a view of which nearly all corners were judged wrong says nothing of the lens
    views = result.used[0].sum(axis=1) >= MIN_CORNERS
    poses = result.board_poses[views]
    products, _ = view_normals(
        result.rig.cameras[0].intrinsics,
        poses[:, :3, :3],
        poses[:, :3, 3],
        np.array(same.board.corners),
        same.corners[0, views],
        result.used[0, views],
        None,
    )
    rest = np.array([6, 7, 8, 9, *(10 + k for k in coefficients), products.shape[1] - 1])
    mixed = products[:, :6][:, :, rest]
    # a pose that its view hardly holds: a hair of stiffness
    diagonal = np.arange(6)
    products[:, diagonal, diagonal] *= 1 + 1e-12
    products[:, diagonal, diagonal] += 1e-12
    reduced = products[:, rest][:, :, rest] - np.swapaxes(mixed, 1, 2) @ np.linalg.solve(
        products[:, :6, :6], mixed
    )
    normal, gradient = reduced[:, :-1, :-1], reduced[:, :-1, -1]
    _, precision = lens_prior(result.rig.cameras[0])
    total = normal.sum(axis=0) + precision[np.ix_(rest[:-1], rest[:-1])]
    change = -np.linalg.solve(total - normal, gradient[..., np.newaxis])[..., 0]
    fitted = reduced[:, -1, -1]
    left_out = (
        fitted
        - 2 * (gradient * change).sum(axis=1)
        + np.einsum("vi,vij,vj->v", change, normal, change)
    )
    return np.minimum(left_out, _MAX_LEFT_OUT * fitted)
