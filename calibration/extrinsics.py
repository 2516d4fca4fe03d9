"""Where the cameras of a rig stand, from the boards that several of them saw."""

import logging
from dataclasses import dataclass, replace

import numpy as np

from calibration.boards import BoardDetections, Checkerboard
from calibration.cameras import Camera, CameraRig, Intrinsics
from calibration.errors import CalibrationError
from calibration.poses import posable_views, pose_errors, view_poses
from calibration.rotations import nearest_rotations, rotation_vectors

logger = logging.getLogger(__name__)

#: Shared moments from which the motion between two cameras is voted for, and votes cast.
_MAX_VOTERS = 40
_MAX_VOTES = 24
#: Views per moment whose poses are tried for the board.
_MAX_CANDIDATES = 3
#: Two readings agree where the board's outline is off by less than this share of its diagonal:
#: far above noise, far below a board mirrored or turned.
_VOTE_LIMIT = 0.15
#: A motion on which this share of the moments agrees closely needs no rival.
_UNANIMOUS = 0.9
#: A view's error counts up to this when a board's pose is chosen, in normalised coordinates:
#: beyond two per cent of a focal length it is wrong, however far.
_BOARD_LIMIT = 0.02


@dataclass(frozen=True, eq=False)
class PlacedRig:
    """First values for a joint fit.

    Attributes
    ----------
    rig : CameraRig
        The cameras, in the first one's coordinates.
    detections : BoardDetections
        The same corners; boards that a camera reported half a turn round are set right.
    board_poses : ndarray of shape (n_frames, 4, 4)
        World from board; NaN where no camera saw enough of it.
    """

    rig: CameraRig
    detections: BoardDetections
    board_poses: np.ndarray


def shared_views(detections: BoardDetections) -> np.ndarray:
    """Count the moments at which two cameras both see enough of the board for its pose.

    Returns
    -------
    ndarray of int of shape (n_cameras, n_cameras)
        On the diagonal, the moments of each camera, shared or not.
    """
    seen = posable_views(detections).astype(np.int64)
    return seen @ seen.T


def check_links(detections: BoardDetections) -> None:
    """Refuse detections that do not link all cameras.

    Raises
    ------
    CalibrationError
        Naming cameras that never see the board, or the groups of cameras that share no moment
        with each other, and what to record.
    """
    shared = shared_views(detections)
    names = detections.cameras
    blind = [name for name, count in zip(names, shared.diagonal(), strict=True) if count == 0]
    if blind:
        many = len(blind) > 1
        corners = [int(detections.n_seen[names.index(name)].sum()) for name in blind]
        raise CalibrationError(
            f"Camera{'s' if many else ''} {_listed(blind)} never see{'' if many else 's'} enough "
            f"of the board for its pose ({', '.join(map(str, corners))} corners in all "
            f"{len(detections.frames)} moments; 6 in one picture, not on one line, are needed). "
            "If the board is in the pictures, the board described is another one, the pictures "
            "are mirrored or too blurred; if not, move it through what "
            f"{'these cameras see' if many else 'this camera sees'}, or leave out the "
            f"camera{'s' if many else ''}."
        )
    groups = linked_groups(shared > 0)
    if len(groups) > 1:
        texts = [_listed([names[i] for i in group]) for group in groups]
        seen = detections.n_seen > 0
        together = seen.astype(np.int64) @ seen.T.astype(np.int64)
        pairs = [
            (together[i, j], -i, -j)
            for k, group in enumerate(groups)
            for other in groups[k + 1 :]
            for i in group
            for j in other
        ]
        count, i, j = max(pairs)
        raise CalibrationError(
            f"The cameras fall into {len(groups)} groups that never see the board at the same "
            f"moment: {'; '.join(texts)}. The nearest to a link are {names[-i]!r} and "
            f"{names[-j]!r}: {count} moments in which both see any corner, 0 in which both see "
            "enough of the board (6 corners, not on one line). Record the board held still for a "
            f"moment at 10 places that both {names[-i]!r} and {names[-j]!r} see."
        )


def _listed(names):
    """Write names for a sentence."""
    return ", ".join(repr(name) for name in names)


def linked_groups(linked: np.ndarray) -> list[list[int]]:
    """Return the groups of cameras that hang together.

    Parameters
    ----------
    linked : ndarray of bool of shape (n_cameras, n_cameras)
        Symmetric.

    Returns
    -------
    list of list of int
        In order of their first cameras.
    """
    groups, left = [], set(range(len(linked)))
    while left:
        group, fresh = set(), {min(left)}
        while fresh:
            group |= fresh
            fresh = {int(j) for i in fresh for j in np.flatnonzero(linked[i])} - group
        groups.append(sorted(group))
        left -= group
    return groups


def place_cameras(
    detections: BoardDetections, lenses: dict[str, Intrinsics], units: str | None = None
) -> PlacedRig:
    """Place cameras and boards from views of boards that cameras share.

    Every view leaves two poses of the board, the true one and its mirror image, and on a
    checkerboard each of them half a turn round as well. Between two cameras one motion
    explains all shared moments, and only with the right pose of each: it is found by a vote.
    Cameras hang on each other by the tree of most shared moments.

    Parameters
    ----------
    detections : BoardDetections
        Corners of all cameras.
    lenses : mapping of str to Intrinsics
        Lens of each camera.
    units : str, optional
        Unit of length, the board's if not given.

    Returns
    -------
    PlacedRig

    Raises
    ------
    CalibrationError
        If the cameras are not all linked (see `check_links`), or the views of a link
        contradict each other.
    """
    check_links(detections)
    views = _Views(detections, lenses)
    shared = views.posable.astype(np.int64) @ views.posable.T.astype(np.int64)
    motions = {0: np.eye(4)}
    refused = set()
    while len(motions) < len(detections.cameras):
        links = [
            (shared[i, j], -i, -j)
            for i in motions
            for j in range(len(shared))
            if j not in motions and shared[i, j] and (i, j) not in refused
        ]
        if not links:
            raise _contradiction(detections.cameras, motions, refused, shared)
        count, i, j = max(links)
        i, j = -i, -j
        motion, agreeing = views.motion_between(i, j)
        # one shared moment cannot contradict itself; of several, at least a third must agree
        if agreeing < max(1, count / 3):
            refused.add((i, j))
            continue
        logger.debug(
            "link %s - %s: %d of %d moments agree",
            detections.cameras[i],
            detections.cameras[j],
            agreeing,
            count,
        )
        motions[j] = motion @ motions[i]
    placed = np.stack([motions[i] for i in range(len(shared))])
    cameras = tuple(
        Camera(name, lenses[name], rotation_vectors(motion[:3, :3]), motion[:3, 3])
        for name, motion in zip(detections.cameras, placed, strict=True)
    )
    rig = CameraRig(cameras, units or detections.board.units)
    return PlacedRig(rig, *views.boards(placed))


def place_boards(detections: BoardDetections, rig: CameraRig) -> tuple[BoardDetections, np.ndarray]:
    """Choose the board's pose at each moment for cameras that are placed.

    Parameters
    ----------
    detections : BoardDetections
        Corners in pixels, cameras in the rig's order.
    rig : CameraRig
        The cameras.

    Returns
    -------
    BoardDetections
        The same; boards that a camera reported half a turn round are set right.
    ndarray of shape (n_frames, 4, 4)
        World from board; NaN where no camera saw enough of it.
    """
    views = _Views(detections, {camera.name: camera.intrinsics for camera in rig})
    return views.boards(np.stack([camera.camera_from_world for camera in rig]))


def _contradiction(names, motions, refused, shared):
    """Return the error for cameras whose every link contradicts itself."""
    rest = [names[j] for j in range(len(names)) if j not in motions]
    texts = [f"{names[i]!r} and {names[j]!r} ({shared[i, j]} moments)" for i, j in sorted(refused)]
    return CalibrationError(
        f"Camera{'s' if len(rest) > 1 else ''} {_listed(rest)} cannot be placed: the board views "
        f"shared by {', '.join(texts)} fit no common motion between the cameras. Their pictures "
        "are not of the same moments, a camera moved during the recording, or the corners are "
        "wrong. Check that equal frame numbers are equal moments, and record again; if each camera "
        "filmed the board by itself, that is for its lens alone (lens_videos)."
    )


class _Views:
    """The poses that every view leaves, and votes among them."""

    def __init__(self, detections, lenses):
        board = detections.board
        self.points = np.array(board.corners)
        low, high = self.points.min(axis=0), self.points.max(axis=0)
        # the outline stands for the board where two poses are compared
        self.outline = np.array([[x, y, 0.0] for x in (low[0], high[0]) for y in (low[1], high[1])])
        half_turn = np.diag([-1.0, -1.0, 1.0, 1.0])
        half_turn[:2, 3] = (low + high)[:2]
        self.turns = np.stack([np.eye(4), half_turn][: 1 + isinstance(board, Checkerboard)])
        self.detections = detections
        self.n_seen = detections.n_seen
        self.posable = posable_views(detections)
        self.normalised = np.full(detections.corners.shape, np.nan)
        self.poses = np.full((*self.posable.shape, 2, 4, 4), np.nan)
        for i, name in enumerate(detections.cameras):
            self.normalised[i] = lenses[name].undistort(detections.corners[i])
            moments = np.flatnonzero(self.posable[i])
            poses, errors = view_poses(self.points, self.normalised[i, moments])
            good = np.isfinite(errors)
            poses[:, 1] = np.where(good[:, 1, None, None], poses[:, 1], poses[:, 0])
            self.poses[i, moments] = poses
            self.posable[i, moments] = good[:, 0]

    def motion_between(self, i, j):
        """Vote for the motion from camera i to camera j; returns it and how many moments agree."""
        moments = np.flatnonzero(self.posable[i] & self.posable[j])
        if len(moments) > _MAX_VOTERS:
            both = np.minimum(self.n_seen[i], self.n_seen[j])
            stretches = np.array_split(moments, _MAX_VOTERS)
            moments = np.array([part[np.argmax(both[part])] for part in stretches])
        # all readings of a moment: two poses in i, two in j, on a checkerboard turned or not
        first = self.poses[i, moments]
        second = (self.poses[j, moments][:, :, np.newaxis] @ self.turns).reshape(
            len(moments), -1, 4, 4
        )
        readings = second[:, :, np.newaxis] @ np.linalg.inv(first)[:, np.newaxis]
        readings = readings.reshape(len(moments), -1, 4, 4)
        seen = self._outlines(second)
        size = np.median(np.linalg.norm(seen[:, 0, 0] - seen[:, 0, 3], axis=-1))
        limit = _VOTE_LIMIT * size
        votes = readings[:: max(1, len(moments) // _MAX_VOTES)].reshape(-1, 4, 4)
        least, motion = np.inf, votes[0]
        for vote in votes:
            off = self._off(vote, first, seen)
            loss = np.minimum(off, limit).sum()
            if loss < least:
                least, motion = loss, vote
                # no other motion can have nearly all moments behind it
                if np.mean(off < 0.5 * limit) > _UNANIMOUS:
                    break
        for _ in range(2):
            agreeing = self._off(motion, first, seen) < limit
            if not agreeing.any():
                return motion, 0
            motion = _mean_motion(motion, readings[agreeing])
        share = np.count_nonzero(agreeing) / len(moments)
        return motion, share * np.count_nonzero(self.posable[i] & self.posable[j])

    def _outlines(self, poses):
        """Project the board's outline, (..., 4, 2) normalised."""
        points = self.outline @ np.swapaxes(poses[..., :3, :3], -1, -2)
        points = points + poses[..., np.newaxis, :3, 3]
        with np.errstate(invalid="ignore", divide="ignore"):
            return points[..., :2] / np.where(points[..., 2:] > 0, points[..., 2:], np.nan)

    def _off(self, motion, first, seen):
        """How far off the outline is in the second camera at each moment, best reading."""
        carried = self._outlines(motion @ first)
        distance = np.linalg.norm(carried[:, :, np.newaxis] - seen[:, np.newaxis], axis=-1)
        distance = np.nan_to_num(distance.max(axis=-1), nan=np.inf)
        return distance.reshape(len(first), -1).min(axis=1)

    def boards(self, motions):
        """Choose each moment's board pose among those its fullest views leave.

        Returns
        -------
        BoardDetections
            Views that saw the board half a turn round have their corners reversed.
        ndarray of shape (n_frames, 4, 4)
            World from board.
        """
        n_cameras, n_frames = self.posable.shape
        rank = np.argsort(np.where(self.posable, -self.n_seen, 1), axis=0, kind="stable")
        moments = np.arange(n_frames)
        views = np.nonzero(self.n_seen > 0)
        best = np.full(n_frames, np.inf)
        poses = np.full((n_frames, 4, 4), np.nan)
        turned = np.zeros((n_cameras, n_frames), dtype=bool)
        for k in range(min(_MAX_CANDIDATES, n_cameras)):
            world = np.linalg.inv(motions)[rank[k]]
            for mirror in range(2):
                candidate = world @ self.poses[rank[k], moments, mirror]
                seen_as = motions[views[0]] @ candidate[views[1]]
                errors = np.stack(
                    [
                        pose_errors(self.points, self.normalised[views], seen_as @ turn)
                        for turn in self.turns
                    ]
                )
                errors = np.minimum(errors, _BOARD_LIMIT)
                loss = np.bincount(views[1], errors.min(axis=0), minlength=n_frames)
                better = (loss < best) & np.isfinite(candidate).all(axis=(1, 2))
                best[better], poses[better] = loss[better], candidate[better]
                change = better[views[1]]
                turned[views[0][change], views[1][change]] = errors.argmin(axis=0)[change] > 0
        detections = self.detections
        if turned.any():
            corners = detections.corners
            corners = np.where(turned[..., np.newaxis, np.newaxis], corners[:, :, ::-1], corners)
            detections = replace(detections, corners=corners)
        return detections, poses


def _mean_motion(motion, readings):
    """Mean of the readings, (n_moments, n_readings, 4, 4), each moment's nearest to a motion."""
    turn = rotation_vectors(readings[..., :3, :3] @ motion[:3, :3].T)
    shift = readings[..., :3, 3] - motion[:3, 3]
    # radians and lengths become comparable by the distance at which boards were seen
    size = np.linalg.norm(motion[:3, 3]) + 1e-9
    off = np.linalg.norm(turn, axis=-1) + np.linalg.norm(shift, axis=-1) / size
    nearest = off.argmin(axis=1)
    chosen = readings[np.arange(len(readings)), nearest]
    off = off[np.arange(len(readings)), nearest]
    chosen = chosen[off <= 2 * np.median(off) + 1e-12]
    mean = np.eye(4)
    mean[:3, :3] = nearest_rotations(chosen[:, :3, :3].mean(axis=0))
    mean[:3, 3] = np.median(chosen[:, :3, 3], axis=0)
    return mean
