"""Cameras that do not belong to the same moments: late, short of a frame, or moved half-way.

Each camera alone knows where the board stands before it. Between two cameras that are
simultaneous and stand still, one rigid motion takes all of one's boards into the other's; with
a camera that is late, it does so only if its frames are shifted; with one that lost a frame, from
there on; with one that was knocked, two motions do, one before and one after. All are tried for
pairs of cameras, and the camera that the faulty pairs have in common is named.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from calibration.boards import BoardDetections
from calibration.cameras import Intrinsics
from calibration.mending import MAX_GAP
from calibration.poses import posable_views, view_poses
from calibration.results import TimeFault
from calibration.rotations import (
    mean_motion,
    rotation_matrices,
    rotation_vectors,
)

#: Frames by which a camera may be late or early.
MAX_LATE = 30
#: Frames that a camera may lose at one place.
_MAX_LOST = 5
#: Moments of a pair that are looked at, and motions that are tried for each shift.
_MAX_MOMENTS = 80
_MAX_VOTES = 10
#: Neighbours with which each camera is compared, those it shares most moments with.
_NEIGHBOURS = 3
#: Fewest moments that two cameras must share, and fewest on each side of a change.
_MIN_SHARED = 6
_MIN_SIDE = 3
#: A board farther off than this is wrong, however far, in px.
_LIMIT_PX = 20.0
#: Below this a pair agrees, in px: poses from one view each are not better.
_AGREE_PX = 3.0
#: A fault must explain this share of a pair's disagreement, a change more than a shift.
_GAIN = 0.5
_CHANGE_HANDICAP = 0.85


@dataclass(frozen=True, eq=False)
class _Pair:
    """What explains a pair: kind, cost in px, shift before and after, first moment after."""

    kind: str
    cost: float
    shift: int = 0
    after: int = 0
    moment: int = 0


def find_time_faults(
    detections: BoardDetections, lenses: Mapping[str, Intrinsics]
) -> tuple[TimeFault, ...]:
    """Find cameras that are late, lost a frame, or moved while the boards were filmed.

    Parameters
    ----------
    detections : BoardDetections
        Corners; frames may have gaps, between near ones the board's way is interpolated.
    lenses : mapping of str to Intrinsics
        Each camera's lens, as found from its own boards alone.

    Returns
    -------
    tuple of TimeFault
        In the order of the cameras. Whole frames; `calibration.lateness` finds fractions.
    """
    order = np.argsort(detections.frames, kind="stable")
    detections = detections.at(order)
    tracks = _Tracks(detections, lenses)
    pairs = {pair: tracks.explain(*pair) for pair in tracks.pairs()}
    names = detections.cameras
    faults = _late(names, pairs)
    late = {fault.camera for fault in faults}
    rest = {
        pair: found
        for pair, found in pairs.items()
        if found.kind in ("lost", "moved", "none") and not late & {names[i] for i in pair}
    }
    for camera, found in _common(rest).items():
        faults.append(tracks.describe(camera, found))
    return tuple(sorted(faults, key=lambda fault: names.index(fault.camera)))


class _Tracks:
    """Where the board stands before each camera, moment by moment."""

    def __init__(self, detections, lenses):
        self.detections = detections
        self.frames = detections.frames
        board = detections.board
        self.points = np.array(board.corners)
        low, high = self.points.min(axis=0), self.points.max(axis=0)
        self.outline = np.array([[x, y, 0.0] for x in (low[0], high[0]) for y in (low[1], high[1])])
        self.posable = posable_views(detections)
        self.focal = np.array([lenses[name].matrix[0, 0] for name in detections.cameras])
        self.poses = np.full((*self.posable.shape, 4, 4), np.nan)
        for i, name in enumerate(detections.cameras):
            moments = np.flatnonzero(self.posable[i])
            normalised = lenses[name].undistort(detections.corners[i, moments])
            poses, errors = view_poses(self.points, normalised)
            # where the mirror image fits nearly as well, the view says nothing certain
            clear = errors[:, 0] < 0.7 * errors[:, 1]
            self.poses[i, moments[clear]] = poses[clear, 0]
        self.known = np.isfinite(self.poses[..., 0, 0])

    def pairs(self):
        """Yield the pairs to compare: each camera with those it shares most moments with."""
        shared = self.known.astype(int) @ self.known.T.astype(int)
        np.fill_diagonal(shared, 0)
        chosen = set()
        for i, row in enumerate(shared):
            for j in np.argsort(-row, kind="stable")[:_NEIGHBOURS]:
                if row[j] >= _MIN_SHARED:
                    chosen.add((min(i, int(j)), max(i, int(j))))
        return sorted(chosen)

    def shifted(self, camera, shift):
        """Return a camera's boards as of its frames a number of frames later, NaN if unknown."""
        at = self.frames + shift
        known = np.flatnonzero(self.known[camera])
        out = np.full((len(at), 4, 4), np.nan)
        if len(known) == 0:
            return out
        own = self.frames[known]
        above = np.searchsorted(own, at).clip(0, len(own) - 1)
        below = np.where(own[above] == at, above, np.maximum(above - 1, 0))
        gap = own[above] - own[below]
        inside = (own[below] <= at) & (at <= own[above]) & (gap <= MAX_GAP)
        some = np.flatnonzero(inside)
        first, second = (self.poses[camera, known[k[some]]] for k in (below, above))
        weight = (at[some] - own[below[some]]) / np.maximum(gap[some], 1)
        turn = rotation_vectors(second[:, :3, :3] @ np.swapaxes(first[:, :3, :3], 1, 2))
        # a board that turned far in between may have taken any way
        slow = np.linalg.norm(turn, axis=1) < 0.5
        out[some] = first
        out[some, :3, :3] = rotation_matrices(weight[:, np.newaxis] * turn) @ first[:, :3, :3]
        out[some, :3, 3] += weight[:, np.newaxis] * (second[:, :3, 3] - first[:, :3, 3])
        out[some[~slow & (weight > 0)]] = np.nan
        return out

    def outlines(self, poses):
        """Project the board's outline, (..., 4, 2), normalised."""
        points = self.outline @ np.swapaxes(poses[..., :3, :3], -1, -2)
        points = points + poses[..., np.newaxis, :3, 3]
        with np.errstate(invalid="ignore", divide="ignore"):
            return points[..., :2] / np.where(points[..., 2:] > 0, points[..., 2:], np.nan)

    def off(self, j, motion, first, seen):
        """How far boards carried over by motions lie from where camera j has them, px."""
        carried = self.outlines(motion[..., np.newaxis, :, :] @ first)
        distance = np.linalg.norm(carried - seen, axis=-1).mean(axis=-1) * self.focal[j]
        return np.fmin(np.nan_to_num(distance, nan=np.inf), _LIMIT_PX)

    def explain(self, i, j):
        """Find what best explains two cameras' boards."""
        moments = np.flatnonzero(self.known[i])
        if len(moments) > _MAX_MOMENTS:
            moments = moments[np.linspace(0, len(moments) - 1, _MAX_MOMENTS).astype(int)]
        first = self.poses[i, moments]
        back = np.linalg.inv(first)
        shifts = np.arange(-MAX_LATE, MAX_LATE + 1)
        shifts = shifts[np.argsort(np.abs(shifts), kind="stable")]
        there = {int(shift): self.shifted(j, int(shift))[moments] for shift in shifts}
        found, motions = {}, {}
        for shift, second in there.items():
            valid = np.isfinite(second[:, 0, 0])
            if valid.sum() < _MIN_SHARED:
                continue
            cost, motion = self.best_motion(j, first[valid], second[valid], back[valid])
            # few moments fit by chance
            found[shift] = cost * (1 + 2 / valid.sum())
            motions[shift] = motion
            if shift == 0 and cost < _AGREE_PX:
                return _Pair("none", cost)
        if 0 not in found:
            return _Pair("unknown", np.nan)
        least = min(found, key=lambda shift: (found[shift], abs(shift)))
        choices = [_Pair("none", found[0]), _Pair("late", found[least], least, least)]
        choices += self.changes(j, moments, first, back, there, found, motions)
        handicap = {"none": _GAIN, "late": 1.0, "lost": 1 / _CHANGE_HANDICAP}
        handicap["moved"] = handicap["lost"]
        return min(choices, key=lambda each: each.cost * handicap[each.kind])

    def best_motion(self, j, first, second, back):
        """Return the least mean distance over motions that single moments vote for."""
        seen = self.outlines(second)
        votes = second @ back
        votes = votes[np.linspace(0, len(votes) - 1, min(len(votes), _MAX_VOTES)).astype(int)]
        off = self.off(j, votes, first, seen)
        best = int(off.mean(axis=1).argmin())
        near = off[best] < _LIMIT_PX
        if near.sum() < 2:
            return float(off[best].mean()), votes[best]
        motion = mean_motion(second[near] @ back[near])
        refined = self.off(j, motion, first, seen)
        if refined.mean() < off[best].mean():
            return float(refined.mean()), motion
        return float(off[best].mean()), votes[best]

    def changes(self, j, moments, first, back, there, found, motions):
        """Yield what a frame lost, or a knock, at the best moment would explain."""
        cuts = np.arange(_MIN_SIDE, len(moments) - _MIN_SIDE + 1)
        if len(cuts) == 0:
            return
        # a lost frame: one motion, two shifts
        for anchor in sorted(found, key=found.get)[:3]:
            near = [s for s in there if abs(s - anchor) <= _MAX_LOST]
            sums, counts = {}, {}
            for shift in near:
                off = self.off(j, motions[anchor], first, self.outlines(there[shift]))
                valid = np.isfinite(there[shift][:, 0, 0])
                sums[shift] = np.concatenate([[0.0], np.cumsum(np.where(valid, off, 0.0))])
                counts[shift] = np.concatenate([[0], np.cumsum(valid)])
            best, enough = None, 0.6 * max(count[-1] for count in counts.values())
            for before in near:
                for after in near:
                    if before == after or anchor not in (before, after):
                        continue
                    total = (sums[before] + sums[after][-1] - sums[after])[cuts]
                    sides = counts[before][cuts], (counts[after][-1] - counts[after])[cuts]
                    count = sides[0] + sides[1]
                    good = (np.minimum(*sides) >= _MIN_SIDE) & (count >= max(enough, _MIN_SHARED))
                    if not good.any():
                        continue
                    mean = np.where(
                        good, total / np.maximum(count, 1) * (1 + 4 / np.maximum(count, 1)), np.inf
                    )
                    k = int(mean.argmin())
                    if best is None or mean[k] < best.cost:
                        best = _Pair("lost", float(mean[k]), before, after, int(moments[cuts[k]]))
            if best is not None:
                yield best
        # a knock: two motions, no shift
        second = there[0]
        valid = np.flatnonzero(np.isfinite(second[:, 0, 0]))
        if len(valid) < 2 * _MIN_SIDE:
            return
        first, second, back = first[valid], second[valid], back[valid]
        cut, seen = len(valid) // 2, self.outlines(second)
        for start in (len(valid) // 4, len(valid) // 2, 3 * len(valid) // 4):
            cut = min(max(start, _MIN_SIDE), len(valid) - _MIN_SIDE)
            for _ in range(4):
                sides = [
                    self.best_motion(j, first[part], second[part], back[part])[1]
                    for part in (slice(0, cut), slice(cut, None))
                ]
                before, after = (
                    np.concatenate([[0.0], np.cumsum(self.off(j, side, first, seen))])
                    for side in sides
                )
                total = before + after[-1] - after
                inner = np.arange(_MIN_SIDE, len(valid) - _MIN_SIDE + 1)
                cut = int(inner[total[inner].argmin()])
            cost = float(total[cut] / len(valid)) * (1 + 4 / len(valid))
            yield _Pair("moved", cost, 0, 0, int(moments[valid[cut]]))

    def describe(self, camera, found):
        """Make the fault of a camera that its pairs agree on."""
        name = self.detections.cameras[camera]
        # each pair narrows down when it happened
        lasts, firsts = [], []
        for _, each, other in found:
            both = np.flatnonzero(self.known[camera] & self.known[other])
            lasts.append(both[both < each.moment].max(initial=0))
            firsts.append(both[both >= each.moment].min(initial=len(self.frames) - 1))
        after = min(firsts)
        before = max((last for last in lasts if last < after), default=after - 1)
        when = {"last": int(self.frames[before]), "frame": int(self.frames[after])}
        if found[0][1].kind == "lost":
            step = np.median([sign * (each.after - each.shift) for sign, each, _ in found])
            return TimeFault(name, "lost", **when, frames=-float(step))
        turns, shifts = [], []
        for _, _, other in found:
            # the other camera's coordinates are the world that stands still
            motions = self.poses[camera] @ np.linalg.inv(self.poses[other])
            moments = np.flatnonzero(np.isfinite(motions[:, 0, 0]))
            sides = [moments[moments <= before], moments[moments >= after]]
            if min(map(len, sides)) < 2:
                continue
            first, second = (mean_motion(motions[side]) for side in sides)
            turns.append(np.linalg.norm(rotation_vectors(second[:3, :3] @ first[:3, :3].T)))
            places = [-side[:3, :3].T @ side[:3, 3] for side in (first, second)]
            shifts.append(np.linalg.norm(places[1] - places[0]))
        size = {"distance": float(np.median(shifts)), "angle": float(np.median(turns))}
        return TimeFault(name, "moved", **when, **size)


def _late(names, pairs):
    """Give every camera one lateness that explains its pairs; most cameras are in time."""
    told = {pair: found.shift for pair, found in pairs.items() if found.kind in ("late", "none")}
    if not any(told.values()):
        return []
    groups = _offsets(len(names), told)
    faults = []
    for offsets in groups:
        values = np.array(list(offsets.values()))
        # what most cameras have is in time; of two that differ, the first is
        counts = {value: np.count_nonzero(values == value) for value in values}
        usual = max(counts, key=lambda value: (counts[value], -list(values).index(value)))
        for camera, value in offsets.items():
            if value != usual:
                faults.append(TimeFault(names[camera], "late", None, frames=float(value - usual)))
    return faults


def _offsets(n_cameras, told):
    """Follow the pairs from camera to camera; each camera takes what most pairs say."""
    left, groups = set(range(n_cameras)), []
    while left:
        start = min(left)
        offsets, fresh = {start: 0}, [start]
        while fresh:
            i = fresh.pop(0)
            for (a, b), shift in told.items():
                for here, there, change in ((a, b, shift), (b, a, -shift)):
                    if here == i and there not in offsets:
                        offsets[there] = offsets[i] + change
                        fresh.append(there)
        for _ in range(len(offsets)):
            for camera in offsets:
                votes = [offsets[a] + shift for (a, b), shift in told.items() if b == camera]
                votes += [offsets[b] - shift for (a, b), shift in told.items() if a == camera]
                if votes:
                    values, counts = np.unique(votes, return_counts=True)
                    if counts.max() > np.count_nonzero(np.array(votes) == offsets[camera]):
                        offsets[camera] = int(values[counts.argmax()])
        groups.append(offsets)
        left -= set(offsets)
    return groups


def _common(pairs):
    """Find the cameras that the pairs with a change have in common."""
    faulty = {pair: found for pair, found in pairs.items() if found.kind in ("lost", "moved")}
    named = {}
    while faulty:
        cameras = sorted({camera for pair in faulty for camera in pair})

        def blame(camera, faulty=faulty):
            own = [pair for pair in pairs if camera in pair]
            bad = [pair for pair in own if pair in faulty]
            return len(bad) / len(own), len(bad), camera

        worst = max(cameras, key=blame)
        mine = {pair: found for pair, found in faulty.items() if worst in pair}
        kinds = [found.kind for found in mine.values()]
        kind = max(set(kinds), key=lambda each: (kinds.count(each), each))
        named[worst] = sorted(
            (
                (1 if pair[1] == worst else -1, found, pair[0] if pair[1] == worst else pair[1])
                for pair, found in mine.items()
                if found.kind == kind
            ),
            key=lambda each: each[1].cost,
        )
        faulty = {pair: found for pair, found in faulty.items() if worst not in pair}
    return named
