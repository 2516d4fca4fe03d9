"""Which points of the animal are tracked, and how they hang together."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from calibration.arrays import name_tuple


@dataclass(frozen=True)
class Skeleton:
    """The keypoints of an animal.

    Attributes
    ----------
    keypoints : tuple of str
        Names, in the order of every keypoint axis.
    edges : tuple of (str, str)
        Keypoints that are joined, for drawing and for limb lengths.
    symmetric : tuple of (str, str)
        Left and right partners, exchanged when an image is mirrored.
    """

    keypoints: tuple[str, ...]
    edges: tuple[tuple[str, str], ...] = ()
    symmetric: tuple[tuple[str, str], ...] = ()

    def __post_init__(self):
        keypoints = name_tuple("keypoints", self.keypoints)
        object.__setattr__(self, "keypoints", keypoints)
        object.__setattr__(self, "edges", self._pairs("edges", self.edges))
        symmetric = self._pairs("symmetric", self.symmetric)
        partners = [name for pair in symmetric for name in pair]
        for name in partners:
            if partners.count(name) > 1:
                raise ValueError(f"symmetric names {name!r} twice; a keypoint has one partner.")
        object.__setattr__(self, "symmetric", symmetric)

    def _pairs(self, field, pairs: Iterable) -> tuple[tuple[str, str], ...]:
        """Check pairs of keypoints."""
        checked = []
        for pair in pairs:
            pair = tuple(pair)
            if len(pair) != 2 or pair[0] == pair[1]:
                raise ValueError(f"{field} holds {pair!r}; expected two different keypoints.")
            for name in pair:
                if name not in self.keypoints:
                    raise ValueError(
                        f"{field} names {name!r}, which is no keypoint; "
                        f"they are {', '.join(self.keypoints)}."
                    )
            checked.append(pair)
        return tuple(checked)

    @property
    def edge_indices(self) -> np.ndarray:
        """Indices of the joined keypoints, ndarray of int of shape (n_edges, 2)."""
        index = {name: i for i, name in enumerate(self.keypoints)}
        return np.array([[index[a], index[b]] for a, b in self.edges], dtype=int).reshape(-1, 2)

    @property
    def mirrored(self) -> np.ndarray:
        """Index of each keypoint's partner, its own where it has none, (n_keypoints,)."""
        index = {name: i for i, name in enumerate(self.keypoints)}
        order = np.arange(len(self.keypoints))
        for a, b in self.symmetric:
            order[index[a]], order[index[b]] = index[b], index[a]
        return order
