"""Where in the next frames the animal will be, so that only that part need be looked at."""

import numpy as np

#: Likelihood from which a keypoint says where the animal is.
_SURE = 0.5

#: Share of the keypoints found in whole frames of which so many must be found in a window.
_KEPT = 0.8

#: A window must be smaller than this share of the frame, or it saves nothing.
_SMALLER = 0.7


class Follower:
    """Keeps a window around the animal; loses it rather than believe a window too small.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the padded frames, in network pixels.
    multiple : int
        Windows begin and end at multiples of it, so that the network's cells fall on the same
        pixels as in whole frames.
    """

    def __init__(self, shape: tuple[int, int], multiple: int):
        self._shape, self._multiple = np.array(shape[::-1]), multiple
        self._usual = 0.0
        self.window: tuple[slice, slice] | None = None

    @property
    def corner(self) -> np.ndarray:
        """Where the window begins, x and y in network pixels."""
        if self.window is None:
            return np.zeros(2)
        return np.array([self.window[1].start, self.window[0].start], dtype=float)

    def trusts(self, xy: np.ndarray, likelihood: np.ndarray) -> bool:
        """Say whether what was found in the window is what the whole frames would give.

        Parameters
        ----------
        xy : ndarray of shape (n_frames, n_keypoints, 2)
            Points in network pixels of the frame.
        likelihood : ndarray of shape (n_frames, n_keypoints)
            From 0 to 1.
        """
        sure = likelihood >= _SURE
        if (sure.mean(axis=1) < _KEPT * self._usual).any():
            return False
        rows, columns = self.window
        low = np.array([columns.start, rows.start])
        high = np.array([columns.stop, rows.stop])
        edge = self._multiple / 4
        inside = (xy >= low + edge) | (low == 0)
        inside &= (xy < high - edge) | (high == self._shape)
        return bool(inside.all(axis=-1)[sure].all())

    def learn(self, xy: np.ndarray, likelihood: np.ndarray, *, whole: bool) -> None:
        """Place the next window around the last frames' points.

        Parameters
        ----------
        xy, likelihood
            See `trusts`.
        whole : bool
            Whether they were found in whole frames.
        """
        sure = likelihood >= _SURE
        if whole:
            self._usual = float(sure.mean(axis=1).min())
        points = xy[sure]
        self.window = None
        if len(points) < 2 or self._usual == 0:
            return
        # room to move: as far as it has moved within these frames, and at least half a step
        low, high = points.min(axis=0), points.max(axis=0)
        middles = [frame[known].mean(axis=0) for frame, known in zip(xy, sure, strict=True)
                   if known.any()]  # fmt: skip
        room = np.ptp(middles, axis=0) + self._multiple / 2
        first = np.maximum((low - room) // self._multiple, 0).astype(int) * self._multiple
        last = np.minimum(-(-(high + room) // self._multiple) * self._multiple, self._shape)
        last = last.astype(int)
        # few sizes of windows, as each is a graph of its own
        side = np.minimum((last - first).max(), self._shape)
        first = np.clip(first, 0, self._shape - side)
        if side.prod() < _SMALLER * self._shape.prod():
            (x, y), (width, height) = first.tolist(), side.tolist()
            self.window = (slice(y, y + height), slice(x, x + width))
