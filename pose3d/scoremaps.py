"""Scoremaps and locrefs: points to what a network is asked to draw, and back, in NumPy.

A scoremap has one channel per keypoint and one cell per `stride` x `stride` pixels of the
network's input; a locref tells each cell how far away the point is. Both directions use the same
formula: the centre of cell i is at ``i * stride + (stride - 1) / 2`` where pixel 0 is the centre
of the first pixel. Lengths `sigma` and `radius` are in cells, so they mean the same at every
scale.
"""

from typing import NamedTuple

import numpy as np

#: Width of the drawn Gaussian and reach of the locref, in cells. Narrower than 0.6 cells a point
#: between cells lights none of them; measured best on one data set among 0.5, 0.6, 1 (stride 4).
SIGMA = 0.625
RADIUS = 1.25

#: How a peak becomes a point: the cell's centre; plus the cell's own locref; the locrefs of 3 x 3
#: cells weighted by their heat; a Newton step on the log heat.
METHODS = ("argmax", "locref", "vote", "dark")

_NEIGHBOURS = np.array([-1, 0, 1])


class Targets(NamedTuple):
    """What a network should answer, and where it is asked.

    Attributes
    ----------
    heat : ndarray of float32 of shape (..., height, width, n_keypoints)
        A Gaussian of height 1 around each point.
    heat_weight : ndarray of float32 of shape (..., 1, 1, n_keypoints)
        0 for keypoints without a label, which nothing is asked about.
    locref : ndarray of float32 of shape (..., height, width, n_keypoints, 2)
        From the cell's centre to the point, in cells.
    locref_weight : ndarray of float32 of shape (..., height, width, n_keypoints, 1)
        1 in the disk around each point.
    """

    heat: np.ndarray
    heat_weight: np.ndarray
    locref: np.ndarray
    locref_weight: np.ndarray


def cell_centres(n_cells: int, stride: int) -> np.ndarray:
    """Return where cells lie along one axis, in pixels of the network's input, (n_cells,)."""
    return np.arange(n_cells) * stride + (stride - 1) / 2


def encode(
    xy: np.ndarray,
    shape: tuple[int, int],
    stride: int,
    *,
    sigma: float = SIGMA,
    radius: float = RADIUS,
) -> Targets:
    """Draw points as scoremaps and locrefs.

    Parameters
    ----------
    xy : ndarray of shape (..., n_keypoints, 2)
        Points in pixels of the network's input; NaN where there is no label. A point outside is
        drawn as far as its Gaussian reaches in, so a keypoint known to be outside is asked for
        and must not be found.
    shape : (int, int)
        Height and width of the network's input in pixels, multiples of the stride.
    stride : int
        Pixels per cell.
    sigma, radius : float
        Standard deviation of the Gaussian and radius of the locref disk, in cells.

    Returns
    -------
    Targets
    """
    xy = np.asarray(xy, dtype=np.float64)
    known = np.isfinite(xy).all(axis=-1)
    points = np.where(known[..., np.newaxis], xy, -1e6)
    # distance from each column and each row of cells to the points, in cells
    columns = cell_centres(shape[1] // stride, stride)[:, np.newaxis]
    rows = cell_centres(shape[0] // stride, stride)[:, np.newaxis]
    dx = ((points[..., np.newaxis, :, 0] - columns) / stride).astype(np.float32)
    dy = ((points[..., np.newaxis, :, 1] - rows) / stride).astype(np.float32)
    narrow = np.float32(-0.5 / sigma**2)
    heat = (
        np.exp(narrow * dy**2)[..., :, np.newaxis, :]
        * np.exp(narrow * dx**2)[..., np.newaxis, :, :]
    )
    disk = dy[..., :, np.newaxis, :] ** 2 + dx[..., np.newaxis, :, :] ** 2 <= radius**2
    locref = np.zeros((*heat.shape, 2), np.float32)
    locref[..., 0] = np.where(disk, dx[..., np.newaxis, :, :], 0)
    locref[..., 1] = np.where(disk, dy[..., :, np.newaxis, :], 0)
    weight = known.astype(np.float32)[..., np.newaxis, np.newaxis, :]
    return Targets(heat, weight, locref, disk.astype(np.float32)[..., np.newaxis])


def decode(
    heat: np.ndarray,
    locref: np.ndarray,
    stride: int,
    *,
    method: str = "dark",
    sigma: float = SIGMA,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the points that a network drew.

    Parameters
    ----------
    heat : ndarray of shape (..., height, width, n_keypoints)
        Scoremaps, from 0 to 1.
    locref : ndarray of shape (..., height, width, n_keypoints, 2)
        From each cell's centre to the point, in cells.
    stride : int
        Pixels per cell.
    method : {"argmax", "locref", "vote", "dark"}
        See `METHODS`.
    sigma : float
        Standard deviation of the Gaussian that was asked for, in cells.

    Returns
    -------
    xy : ndarray of shape (..., n_keypoints, 2)
        Points in pixels of the network's input.
    likelihood : ndarray of shape (..., n_keypoints)
        From 0 to 1, see `decode_peaks`.
    """
    heat = np.asarray(heat)
    *leading, height, width, n_keypoints = heat.shape
    flat = heat.reshape(-1, height * width, n_keypoints)
    row, column = np.divmod(flat.argmax(axis=1), width)
    heat = np.pad(heat.reshape(-1, height, width, n_keypoints), ((0, 0), (1, 1), (1, 1), (0, 0)))
    locref = np.pad(
        np.asarray(locref).reshape(-1, height, width, n_keypoints, 2),
        ((0, 0), (1, 1), (1, 1), (0, 0), (0, 0)),
    )
    place = (
        np.arange(len(heat))[:, np.newaxis, np.newaxis, np.newaxis],
        row[..., np.newaxis, np.newaxis] + 1 + _NEIGHBOURS[:, np.newaxis],
        column[..., np.newaxis, np.newaxis] + 1 + _NEIGHBOURS,
        np.arange(n_keypoints)[:, np.newaxis, np.newaxis],
    )
    xy, likelihood = decode_peaks(
        heat[place], locref[place], np.stack([column, row], axis=-1), stride,
        method=method, sigma=sigma,
    )  # fmt: skip
    return xy.reshape(*leading, n_keypoints, 2), likelihood.reshape(*leading, n_keypoints)


def decode_peaks(
    heat: np.ndarray,
    locref: np.ndarray,
    cells: np.ndarray,
    stride: int,
    *,
    method: str = "dark",
    sigma: float = SIGMA,
) -> tuple[np.ndarray, np.ndarray]:
    """Place points inside the cells in which they were found.

    Parameters
    ----------
    heat : ndarray of shape (..., 3, 3)
        Heat of the hottest cell and its neighbours (y, x); 0 outside the map.
    locref : ndarray of shape (..., 3, 3, 2)
        Their locrefs, in cells.
    cells : ndarray of shape (..., 2)
        Column and row of the hottest cell.
    stride : int
        Pixels per cell.
    method : {"argmax", "locref", "vote", "dark"}
        See `METHODS`.
    sigma : float
        Standard deviation of the Gaussian that was asked for, in cells.

    Returns
    -------
    xy : ndarray of shape (..., 2)
        Points in pixels of the network's input.
    likelihood : ndarray of shape (...)
        The heat at the peak, from 0 to 1. A sure point between cells lights the nearest cell to
        ``exp(-d² / 2 sigma²)`` alone (0.53 at a corner), so the heat is divided by that.
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; expected one of {', '.join(METHODS)}.")
    heat = np.asarray(heat, dtype=np.float64)
    locref = np.asarray(locref, dtype=np.float64)
    within = np.clip(locref[..., 1, 1, :], -1, 1)
    if method == "argmax":
        shift = np.zeros_like(within)
    elif method == "locref":
        shift = within
    elif method == "vote":
        shift = np.clip(_vote(heat, locref), -1, 1)
    else:
        step, curved = _newton_step(heat)
        shift = np.where(curved[..., np.newaxis], step, within)
    off = shift if method != "argmax" else within
    expected = np.exp(-0.5 / sigma**2 * np.minimum((off**2).sum(axis=-1), 0.5))
    likelihood = np.clip(heat[..., 1, 1] / expected, 0, 1)
    return (np.asarray(cells) + shift) * stride + (stride - 1) / 2, likelihood


def _vote(heat, locref):
    """Average where nine cells think the point is, in cells from the middle one.

    Locrefs mean nothing beyond RADIUS, where a cell has exp(-RADIUS² / 2 SIGMA²) = 0.14 of the
    heat at the point; the hottest cell has at least 0.53 of it, so a cell with 0.26 of the
    hottest one's heat is within.
    """
    offsets = np.stack(np.broadcast_arrays(_NEIGHBOURS, _NEIGHBOURS[:, np.newaxis]), axis=-1)
    weight = np.maximum(heat - 0.26 * heat[..., 1:2, 1:2], 0)[..., np.newaxis]
    total = weight.sum(axis=(-3, -2))
    return ((offsets + locref) * weight).sum(axis=(-3, -2)) / np.where(total > 0, total, 1)


def _newton_step(heat):
    """Go from the middle cell to the top of a paraboloid through the log heat (DARK).

    Zhang et al. 2020, "Distribution-aware coordinate representation for human pose estimation".

    Returns
    -------
    step : ndarray of shape (..., 2)
        In cells, at most one cell along each axis.
    curved : ndarray of bool of shape (...)
        Whether there is a top: not where the map ends beside the cell or the heat is flat.
    """
    log = np.log(np.maximum(heat, 1e-7))
    gx = (log[..., 1, 2] - log[..., 1, 0]) / 2
    gy = (log[..., 2, 1] - log[..., 0, 1]) / 2
    xx, xy, yy = _curvature(log)
    determinant = xx * yy - xy**2
    beside = np.minimum(
        np.minimum(heat[..., 1, 2], heat[..., 1, 0]), np.minimum(heat[..., 2, 1], heat[..., 0, 1])
    )
    curved = (xx < -1e-3) & (determinant > 1e-6) & (beside > 0)
    safe = np.where(curved, determinant, 1)
    step = np.stack([xy * gy - yy * gx, xy * gx - xx * gy], axis=-1) / safe[..., np.newaxis]
    return np.clip(step, -1, 1), curved


def _curvature(log):
    """Return the second derivatives (xx, xy, yy) of the log heat at the middle cell, per cell²."""
    xx = log[..., 1, 2] + log[..., 1, 0] - 2 * log[..., 1, 1]
    yy = log[..., 2, 1] + log[..., 0, 1] - 2 * log[..., 1, 1]
    xy = (log[..., 2, 2] - log[..., 2, 0] - log[..., 0, 2] + log[..., 0, 0]) / 4
    return xx, xy, yy


def peak_shapes(heat: np.ndarray, stride: int, *, sigma: float = SIGMA) -> np.ndarray:
    """Measure how wide peaks are, and in which direction.

    A network that is torn between places draws a wider peak than it was asked for. The shape is
    the covariance of the Gaussian with the peak's curvature; where the curvature is that of no
    peak, and beyond these bounds, it is taken for half to four times as wide as was asked for.

    Parameters
    ----------
    heat, stride, sigma
        See `decode_peaks`.

    Returns
    -------
    ndarray of shape (..., 2, 2)
        Square pixels of the network's input.
    """
    heat = np.asarray(heat, dtype=np.float64)
    xx, xy, yy = _curvature(np.log(np.maximum(heat, 1e-7)))
    widths, axes = np.linalg.eigh(-np.stack([np.stack([xx, xy], -1), np.stack([xy, yy], -1)], -1))
    asked = sigma**-2
    variances = (sigma * stride) ** 2 * asked / np.clip(widths, asked / 16, asked * 4)
    return np.einsum("...ij,...j,...kj->...ik", axes, variances, axes)
