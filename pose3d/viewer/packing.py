"""Arrays made small enough to travel inside a page.

Numbers become 16-bit steps between a lowest and a highest value, the difference to the frame
before, low bytes and high bytes apart, gzip, base64. `viewer/data.js` undoes it.
"""

import base64
import gzip
import itertools
from typing import Any

import numpy as np

#: Code of a missing number among the 16-bit steps.
_MISSING = -32768

_STEPS = 32767


class Packer:
    """Collects the arrays of a page.

    Attributes
    ----------
    blobs : dict of str to str
        Base64 text by identifier.
    """

    def __init__(self):
        self.blobs: dict[str, str] = {}
        self._numbers = itertools.count()

    def numbers(self, values: np.ndarray, low: float, high: float) -> dict[str, Any]:
        """Pack numbers; NaN and those outside the bounds are missing.

        Parameters
        ----------
        values : ndarray of shape (n_frames, ...)
            What to pack; the step between two packed values is (high - low) / 65534.
        low, high : float
            The bounds.

        Returns
        -------
        dict
            What the page needs to unpack them.
        """
        half = max((high - low) / 2, 1e-12)
        middle = (low + high) / 2
        with np.errstate(invalid="ignore", over="ignore"):
            steps = np.rint((np.asarray(values, dtype=np.float64) - middle) / half * _STEPS)
            steps = np.where(np.abs(steps) <= _STEPS, steps, _MISSING)
        entry = self.integers(steps.astype(np.int16))
        return entry | {"scale": half / _STEPS, "offset": middle}

    def magnitudes(self, values: np.ndarray) -> dict[str, Any]:
        """Pack positive numbers to 0.1 %, from 1e-6 to 1e6; others count as the nearest."""
        with np.errstate(invalid="ignore", divide="ignore"):
            logarithms = np.log(np.clip(values, 1e-6, 1e6))
        bound = np.log(1e6)
        return self.numbers(logarithms, -bound, bound) | {"log": True}

    def integers(self, values: np.ndarray) -> dict[str, Any]:
        """Pack int16, uint8 or uint32 as they are.

        Parameters
        ----------
        values : ndarray of shape (n_frames, ...)
            What to pack.

        Returns
        -------
        dict
            What the page needs to unpack them.
        """
        flat = np.ascontiguousarray(values).reshape(len(values), -1)
        unsigned = flat.view(f"<u{flat.itemsize}")
        steps = unsigned.copy()
        steps[1:] -= unsigned[:-1]  # wraps around, and so does the sum that undoes it
        planes = steps.reshape(-1).view(np.uint8).reshape(-1, steps.itemsize).T
        packed = gzip.compress(np.ascontiguousarray(planes).tobytes(), 6, mtime=0)
        name = f"array-{next(self._numbers)}"
        self.blobs[name] = base64.b64encode(packed).decode("ascii")
        return {"id": name, "type": values.dtype.name, "shape": list(values.shape)}
