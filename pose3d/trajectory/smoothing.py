"""The path that is most likely, given points with their covariance and a smoothness.

Points are in *information form*: the inverse of the covariance (by its six `ENTRIES`) and that
times the point; both zero where there is none. Differences of some order between successive
places are expected to be normal, of zero mean. The matrix of the normal equations is banded, its
Cholesky factor costs as many steps as there are frames, and its inverse is the covariance of the
path, of which only the entries near the diagonal are computed (Takahashi, 1973; Rue and Held,
Gaussian Markov random fields, 2005).
"""

import numpy as np
from scipy.linalg import cholesky_banded
from scipy.linalg.lapack import dtbtrs

from calibration.compiling import kernels

#: Frames from which loading, and compiling, the kernel pays.
_WORTH_LOADING = 500
_WORTH_COMPILING = 20_000


def compiled(n_frames: int):
    """Return the compiled kernel for so many frames of one point, or None."""
    return kernels(
        "pose3d.trajectory.kernels",
        n_frames,
        worth_loading=_WORTH_LOADING,
        worth_compiling=_WORTH_COMPILING,
    )


def difference_rows(times: np.ndarray, order: int) -> np.ndarray:
    """Return the weights of divided differences between successive places.

    For even steps they are the binomial coefficients with alternating signs, whatever the step;
    a difference over longer steps counts less, as its variance grows.

    Parameters
    ----------
    times : ndarray of shape (n_frames,)
        Seconds.
    order : int
        Which derivative is kept small: 1, 2 or 3.

    Returns
    -------
    ndarray of shape (n_frames - order, order + 1)
    """
    unit = np.median(np.diff(times))
    at = (times - times[0]) / unit
    n_rows = len(times) - order
    windows = np.stack([at[k : k + n_rows] for k in range(order + 1)], axis=1)
    rows = np.ones_like(windows)
    for k in range(order + 1):
        for other in range(order + 1):
            if other != k:
                rows[:, k] /= windows[:, k] - windows[:, other]
    span = (windows[:, -1] - windows[:, 0]) / order
    return rows * (np.prod(np.arange(1, order + 1)) * np.sqrt(span))[:, np.newaxis]


def smooth(
    normal: np.ndarray, right: np.ndarray, differences: np.ndarray, *, covariance: bool = True
) -> tuple[np.ndarray, np.ndarray | None, float, float]:
    """Find the most likely path.

    Parameters
    ----------
    normal : ndarray of shape (n_frames, 6)
        Entries of the points' information matrices.
    right : ndarray of shape (n_frames, 3)
        Those matrices times the points.
    differences : ndarray of shape (n_frames - order, order + 1)
        Weights of the differences, divided by their standard deviation.
    covariance : bool
        Whether the covariance is wanted.

    Returns
    -------
    xyz : ndarray of shape (n_frames, 3)
        The path.
    covariance : ndarray of shape (n_frames, 6) or None
        Entries of its covariance.
    half : float
        Half of the logarithm of the determinant of the normal equations.
    explained : float
        Their right-hand side times the solution.
    """
    n_frames, order = len(normal), differences.shape[1] - 1
    fast = compiled(n_frames)
    if fast is None:
        return _smooth(normal, right, differences, covariance)
    band = np.empty((3 * n_frames, 3 * order + 1))
    xyz, spread = np.empty((n_frames, 3)), np.empty((n_frames if covariance else 0, 6))
    half, explained = fast.smooth(
        *(np.ascontiguousarray(array) for array in (normal, right, differences)),
        covariance,
        band,
        xyz,
        spread,
    )
    return xyz, spread if covariance else None, half, explained


def _smooth(normal, right, differences, covariance):
    """Do it in NumPy and SciPy."""
    n_frames, order = len(normal), differences.shape[1] - 1
    band = np.zeros((3 * order + 1, 3 * n_frames))
    for entry, (a, b) in enumerate(((0, 0), (1, 0), (2, 0), (1, 1), (2, 1), (2, 2))):
        band[a - b, b::3] = normal[:, entry]
    for p in range(order + 1):
        for q in range(p + 1):
            value = differences[:, p] * differences[:, q]
            for axis in range(3):
                first = 3 * q + axis
                band[3 * (p - q), first : first + 3 * len(value) : 3] += value
    factor = cholesky_banded(band, lower=True)
    half = float(np.log(factor[0]).sum())
    xyz, explained = _solve(factor, right.ravel())
    spread = _invert(factor, n_frames) if covariance else None
    return xyz.reshape(-1, 3), spread, half, explained


def _solve(factor, right):
    """Solve with a banded Cholesky factor; return also the square of the half-way solution."""
    forward, _ = dtbtrs(factor, right[:, np.newaxis], uplo="L", trans="N")
    back, _ = dtbtrs(factor, forward, uplo="L", trans="T")
    return back[:, 0], float((forward**2).sum())


def _invert(factor, n_frames):
    """Find the inverse's 3 x 3 blocks on the diagonal, last unknown first.

    One unknown at a time: in blocks the equations lose all their digits where points are few.
    """
    reach = len(factor) - 1
    near = np.zeros((reach + 1, reach + 1))  # the inverse among an unknown and those that follow
    found = np.empty((n_frames, 6))
    for i in range(3 * n_frames - 1, -1, -1):
        n_after = min(reach, 3 * n_frames - 1 - i)
        column = factor[1 : n_after + 1, i]
        scale = 1 / factor[0, i]
        near[1:, 1:] = near[:-1, :-1].copy()
        across = -scale * (near[1 : n_after + 1, 1 : n_after + 1] @ column)
        near[0, 1 : n_after + 1] = near[1 : n_after + 1, 0] = across
        near[0, 0] = scale * (scale - column @ across)
        if i % 3 == 0:
            found[i // 3] = *near[0, :3], *near[1, 1:3], near[2, 2]
    return found
