"""Lenses undone, point by point, compiled: what NumPy does in `calibration.lenses.undistort`."""

import numpy as np
from numba import int64, njit, void

from calibration.kernels.common import IN1, IN2, OUT2, SETTINGS, unbend


@njit(void(int64, IN1, IN2, OUT2), **SETTINGS)
def undistort(model, dist, bent, out):
    """Undo the Brown (1), rational (2) or fisheye (3) model by Newton's method; NaN off it."""
    both = np.empty(6)
    for i in range(bent.shape[0]):
        unbend(model, dist, bent[i, 0], bent[i, 1], both)
        out[i, 0], out[i, 1] = both[0], both[1]
