"""Corners of a printed grid in an image: where exactly, and which are none.

A corner of a checkerboard or ChArUco board is the point through which four edges of squares
pass. `refine_corners` fits that point to the brightness gradients along those edges alone
(Foerstner and Guelch, 1987): the edges of ChArUco markers lie a tenth of a square beside them
and are masked out. On rendered boards of 18 to 44 px a square this leaves 0.04 px RMS per
coordinate where OpenCV's own corners have 0.15 to 0.2.
"""

import itertools

import cv2
import numpy as np

from calibration.compiling import kernels

#: Corners this many squares apart vouch for each other.
_NEIGHBOURHOOD = 2

#: Fits of grids from which loading the compiled kernels pays (some sixty pictures), and
#: compiling them does.
_WORTH_LOADING = 300
_WORTH_COMPILING = 20_000
_FITS = itertools.count()


def _compiled():
    """Return the compiled kernels once this process has seen enough pictures."""
    return kernels(
        "calibration.kernels.corners",
        next(_FITS),
        worth_loading=_WORTH_LOADING,
        worth_compiling=_WORTH_COMPILING,
    )


def local_grid(
    grid: np.ndarray, points: np.ndarray, at: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Map places on a board into the image by what is seen around them, whatever the lens.

    A quadratic map from board to image is fitted around each place to the points within two
    squares; it follows perspective and distortion closely over so short a way.

    Parameters
    ----------
    grid : ndarray of shape (n_points, 2)
        Points on the board, in squares.
    points : ndarray of shape (n_points, 2)
        The same in the image, in pixels; NaN where not seen.
    at : ndarray of shape (n, 2), optional
        The places, in squares; the points themselves unless given, each mapped by the others.

    Returns
    -------
    predicted : ndarray of shape (n, 2)
        Pixels; NaN where too few points are around or all in one line.
    axes : ndarray of shape (n, 2, 2)
        Columns: one square along the board's x and y, in pixels, at the place.
    """
    at = grid if at is None else at
    predicted = np.full((len(at), 2), np.nan)
    axes = np.full((len(at), 2, 2), np.nan)
    fast = _compiled()
    if fast is not None:
        arrays = (np.ascontiguousarray(a, dtype=np.float64) for a in (grid, points, at))
        fast.local_grid(*arrays, float(_NEIGHBOURHOOD), predicted, axes)
        return predicted, axes
    seen = np.isfinite(points[:, 0])
    if seen.sum() < 3:
        return predicted, axes
    apart = grid[np.newaxis, seen] - at[:, np.newaxis]  # (n, n_seen, 2)
    distance = np.abs(apart).max(axis=2)
    weight = np.where((distance > 0) & (distance <= _NEIGHBOURHOOD), 1.0, 0.0)
    weight /= 1 + (apart**2).sum(axis=2)
    x, y = apart[..., 0], apart[..., 1]
    design = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=2)
    weighted = design * weight[..., np.newaxis]
    normal = np.swapaxes(weighted, 1, 2) @ design
    # curvature is small: where few points are around, this leaves an affine map
    normal[:, range(3, 6), range(3, 6)] += 1e-3
    enough = (weight > 0).sum(axis=1) >= 3
    enough &= np.linalg.eigvalsh(normal[:, :3, :3])[:, 0] > 1e-2
    centre = points[seen].mean(axis=0)
    right = np.swapaxes(weighted[enough], 1, 2) @ (points[seen] - centre)
    fit = np.linalg.solve(normal[enough], right)  # (n_enough, 6, 2)
    predicted[enough] = fit[:, 0] + centre
    axes[enough] = np.swapaxes(fit[:, 1:3], 1, 2)
    return predicted, axes


def spacing(axes: np.ndarray) -> np.ndarray:
    """Return the side of a square in pixels, ndarray of shape (n,), from the axes at places."""
    return np.sqrt(np.abs(axes[:, 0, 0] * axes[:, 1, 1] - axes[:, 0, 1] * axes[:, 1, 0]))


def drop_strays(
    grid: np.ndarray, corners: np.ndarray, *, squares: float = 0.05, px: float = 0.5
) -> np.ndarray:
    """Return the corners without those that do not lie where their neighbours put them.

    Parameters
    ----------
    grid : ndarray of shape (n_corners, 2)
        Corners on the board, in squares.
    corners : ndarray of shape (n_corners, 2)
        The same in the image, in pixels; NaN where not seen.
    squares, px : float
        The largest deviation is the sum of both.

    Returns
    -------
    ndarray of shape (n_corners, 2)
        NaN where dropped, and where nothing vouches for the corner.
    """
    corners = corners.copy()
    while True:
        predicted, axes = local_grid(grid, corners)
        deviation = np.linalg.norm(corners - predicted, axis=1)
        corners[np.isnan(deviation)] = np.nan
        excess = deviation / (squares * spacing(axes) + px)
        stray = np.flatnonzero(excess > 1)
        if not len(stray):
            return corners
        # a stray corner drags its neighbours along: only the worst of each neighbourhood goes
        distance = np.abs(grid[stray, np.newaxis] - grid[np.newaxis, stray]).max(axis=2)
        rival = np.where(distance <= _NEIGHBOURHOOD, excess[stray], 0.0).max(axis=1)
        corners[stray[excess[stray] >= rival]] = np.nan


def _bands():
    """Places along the edge of a square, and the weights of these.

    A band along the line through a corner, tapering to its rims: symmetric, so that what is
    printed symmetrically beside the edges does not pull the corner. Returns squares along the
    edge and band widths across it, (n_places, 2), and (n_places,).
    """
    along = np.linspace(-0.29, 0.29, 24)
    across = np.linspace(-1.4, 1.4, 9)
    taper = np.clip(3 - 2 * np.abs(across), 0, 1)
    weight = np.outer(np.exp(-0.5 * (along / 0.2) ** 2), taper).ravel()
    return np.stack(np.meshgrid(along, across, indexing="ij"), axis=-1).reshape(-1, 2), weight


_PLACES, _WEIGHT = _bands()


def _edge_samples(axes, narrow):
    """Places around corners from which both their edges are seen: px from the corner, weights."""
    s, t = (
        np.broadcast_to(_PLACES[:, 0], (len(axes), len(_PLACES))),
        narrow[:, None] * _PLACES[:, 1],
    )
    bands = np.concatenate([np.stack([s, t], axis=2), np.stack([t, s], axis=2)], axis=1)
    offsets = bands @ np.swapaxes(axes, 1, 2)
    return offsets.astype(np.float32), np.tile(_WEIGHT, 2).astype(np.float32)


def refine_corners(
    image: np.ndarray,
    corners: np.ndarray,
    axes: np.ndarray,
    *,
    clear: float = 0.2,
    rounds: int = 3,
) -> tuple[np.ndarray, np.ndarray]:
    """Move corners to where the edges of their squares meet.

    Parameters
    ----------
    image : ndarray of uint8 of shape (height, width)
        Luma.
    corners : ndarray of shape (n, 2)
        First values in pixels, within a tenth of a square or two.
    axes : ndarray of shape (n, 2, 2)
        Columns: one square along the board's x and y, in pixels.
    clear : float
        Half-width in squares of the band along the edges that holds nothing else: half the
        way to the markers of a ChArUco board.
    rounds : int
        How often the place is taken anew.

    Returns
    -------
    refined : ndarray of shape (n, 2)
        NaN where the image holds no corner.
    spread : ndarray of shape (n,)
        Mean square distance in px² of the edges around it from the corner: as wide as the
        picture is blurred, wider where something else is in the way.
    """
    if not len(corners):
        return corners, np.zeros(0)
    # an edge is a few pixels wide: a broader band would see it less often
    narrow = np.minimum(clear, 4 / np.maximum(spacing(axes), 1))
    reach = 0.3 * np.abs(axes).sum(axis=2).max(axis=0) + 1.5 * np.abs(axes).max() * narrow.max()
    low = np.maximum(np.floor(corners.min(axis=0) - reach).astype(int) - 3, 0)
    high = np.ceil(corners.max(axis=0) + reach).astype(int) + 4
    part = image[low[1] : high[1], low[0] : high[0]]
    slopes = [cv2.Sobel(part, cv2.CV_32F, *order) for order in ((1, 0), (0, 1))]
    fast = _compiled()
    if fast is not None:
        refined, spread = np.empty(corners.shape), np.empty(len(corners))
        inside = np.ascontiguousarray(corners - low)
        fast.refine(
            *slopes,
            inside,
            np.ascontiguousarray(axes),
            _PLACES,
            _WEIGHT,
            narrow,
            3,
            refined,
            spread,
        )
        return refined + low, spread
    offsets, weight = _edge_samples(axes, narrow)
    x, y = (np.ascontiguousarray(offsets[..., i]) for i in (0, 1))
    refined = corners.copy()
    for _ in range(rounds):
        at_x, at_y = (refined - low).astype(np.float32).T[..., np.newaxis]
        gx, gy = (  # outside the image there is no slope
            cv2.remap(slope, x + at_x, y + at_y, cv2.INTER_LINEAR) for slope in slopes
        )
        xx, xy, yy = gx * gx * weight, gx * gy * weight, gy * gy * weight
        a, b, c = xx.sum(axis=1), xy.sum(axis=1), yy.sum(axis=1)
        right_x = (xx * x + xy * y).sum(axis=1)
        right_y = (xy * x + yy * y).sum(axis=1)
        det = a * c - b * b
        with np.errstate(invalid="ignore", divide="ignore"):
            step = np.stack([c * right_x - b * right_y, a * right_y - b * right_x], axis=1)
            # edges of one direction only do not make a corner
            step = np.where((det > 1e-2 * a * c)[:, np.newaxis], step / det[:, np.newaxis], np.nan)
        refined = refined + step
        with np.errstate(invalid="ignore", divide="ignore"):
            spread = (xx * x * x + 2 * xy * x * y + yy * y * y).sum(axis=1) / (a + c)
        refined[np.linalg.norm(refined - corners, axis=1) > 0.5 * spacing(axes)] = np.nan
    return refined, spread


def quadrant_contrast(
    image: np.ndarray, corners: np.ndarray, axes: np.ndarray, black_first: np.ndarray, clear: float
) -> np.ndarray:
    """Measure how much brighter the white squares at each corner are than the black ones.

    Parameters
    ----------
    image : ndarray of uint8 of shape (height, width)
        Luma.
    corners, axes
        See `refine_corners`; no NaN.
    black_first : ndarray of bool of shape (n,)
        Whether the square towards +x and +y of the board is black.
    clear : float
        See `refine_corners`.

    Returns
    -------
    ndarray of shape (n,)
        Grey levels from the brighter black square to the darker white one; negative where
        the image holds no such corner.
    """
    # at least one pixel away from the edges, else between the edges and the markers
    way = np.maximum(1.3 * clear, 1.2 / spacing(axes))
    signs = np.array([[1, 1], [-1, -1], [1, -1], [-1, 1]], dtype=np.float64)
    places = corners[:, np.newaxis] + np.einsum("nij,qj->nqi", axes, signs) * way[:, None, None]
    places = places.astype(np.float32)
    levels = cv2.remap(
        image, places[..., 0], places[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    ).astype(np.float64)
    like, unlike = levels[:, :2], levels[:, 2:]
    black = np.where(black_first[:, np.newaxis], like, unlike)
    white = np.where(black_first[:, np.newaxis], unlike, like)
    return white.min(axis=1) - black.max(axis=1)
