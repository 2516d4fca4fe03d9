"""A rodent that walks: its keypoints over time, and the body around them.

Lengths are in mm, times in seconds; z is up and the floor is z = 0. Lower limbs, head, spine
and tail keep their lengths exactly, and paws stand still while they bear weight, so that
limb lengths and foot contacts have a true answer too.
"""

from dataclasses import dataclass

import numpy as np

from pose3d.skeleton import Skeleton

_SIDES = ("left", "right")

SKELETON = Skeleton(
    keypoints=(
        "nose",
        "left_ear",
        "right_ear",
        "neck",
        "mid_back",
        "tail_base",
        "tail_mid",
        "tail_tip",
        "left_elbow",
        "left_forepaw",
        "right_elbow",
        "right_forepaw",
        "left_knee",
        "left_hindpaw",
        "right_knee",
        "right_hindpaw",
    ),
    edges=(
        ("nose", "neck"),
        ("left_ear", "neck"),
        ("right_ear", "neck"),
        ("neck", "mid_back"),
        ("mid_back", "tail_base"),
        ("tail_base", "tail_mid"),
        ("tail_mid", "tail_tip"),
        ("neck", "left_elbow"),
        ("left_elbow", "left_forepaw"),
        ("neck", "right_elbow"),
        ("right_elbow", "right_forepaw"),
        ("tail_base", "left_knee"),
        ("left_knee", "left_hindpaw"),
        ("tail_base", "right_knee"),
        ("right_knee", "right_hindpaw"),
    ),
    symmetric=(
        ("left_ear", "right_ear"),
        ("left_elbow", "right_elbow"),
        ("left_forepaw", "right_forepaw"),
        ("left_knee", "right_knee"),
        ("left_hindpaw", "right_hindpaw"),
    ),
)

#: Half-axes of the figure of eight that is walked, and the time one round takes.
_REACH = np.array([125.0, 80.0])
_ROUND = 7.0

#: Walked distance per step cycle, and the share of it in which a paw is on the floor.
_STRIDE = 66.0
_STANCE = 0.6
_LIFT = 11.0

#: Paw: where it stands under the body (forward, outward), step phase of the left one (a trot:
#: diagonal paws together), upper and lower limb, which way the joint points (forward).
_LEGS = {
    "fore": ("elbow", (38.0, 17.0), 0.0, 25.0, 27.0, -1.0),
    "hind": ("knee", (-40.0, 21.0), 0.5, 31.0, 30.0, 1.0),
}


def _place(times):
    """Return position (..., 2) on the path and heading (...) in radians."""
    angle = 2 * np.pi * np.asarray(times, dtype=np.float64) / _ROUND
    position = _REACH * np.stack([np.sin(angle), np.sin(2 * angle)], axis=-1)
    heading = np.arctan2(_REACH[1] * 2 * np.cos(2 * angle), _REACH[0] * np.cos(angle))
    return position, heading


def _walked():
    """Tabulate time against distance walked in one round, two ndarrays of shape (n,)."""
    times = np.linspace(0, _ROUND, 2001)
    steps = np.linalg.norm(np.diff(_place(times)[0], axis=0), axis=1)
    return times, np.concatenate([[0.0], np.cumsum(steps)])


_TIMES, _DISTANCES = _walked()


def _continued(values, x, y):
    """Interpolate y(x), which goes on in the same way after every round."""
    rounds, rest = np.divmod(values, x[-1])
    return rounds * y[-1] + np.interp(rest, x, y)


def _direction(yaw, pitch=0.0):
    """Return unit vectors (..., 3) from angles to the x axis and to the floor."""
    yaw, pitch = np.broadcast_arrays(yaw, pitch)
    flat = np.cos(pitch)
    return np.stack([flat * np.cos(yaw), flat * np.sin(yaw), np.sin(pitch)], axis=-1)


def _paw(times, rest, side, phase):
    """Return where a paw is, (..., 3): planted, then swung to where it is planted next."""
    cycles = _continued(times, _TIMES, _DISTANCES) / _STRIDE + phase
    number, within = np.divmod(cycles, 1.0)
    plants = []
    for step in (number, number + 1):
        middle = _continued((step + _STANCE / 2 - phase) * _STRIDE, _DISTANCES, _TIMES)
        position, heading = _place(middle)
        forward, left = _direction(heading)[..., :2], _direction(heading + np.pi / 2)[..., :2]
        plants.append(position + rest[0] * forward + side * rest[1] * left)
    swing = np.clip((within - _STANCE) / (1 - _STANCE), 0, 1)
    moved = (swing**2 * (3 - 2 * swing))[..., np.newaxis]
    flat = plants[0] + moved * (plants[1] - plants[0])
    return np.concatenate([flat, (4 + _LIFT * np.sin(np.pi * swing))[..., np.newaxis]], axis=-1)


def _joint(root, end, upper, lower, towards):
    """Return the elbow or knee between a root and an end, at `lower` from the end."""
    line = root - end
    distance = np.linalg.norm(line, axis=-1, keepdims=True)
    line = line / distance
    along = np.clip((distance**2 + lower**2 - upper**2) / (2 * distance), -lower, lower)
    aside = towards - (towards * line).sum(axis=-1, keepdims=True) * line
    aside /= np.linalg.norm(aside, axis=-1, keepdims=True)
    return end + along * line + np.sqrt(lower**2 - along**2) * aside


def walk(times: np.ndarray) -> np.ndarray:
    """Tell where the keypoints are while the animal walks a figure of eight.

    Parameters
    ----------
    times : ndarray of shape (n_frames,)
        Moments in seconds; the same moment gives the same pose in every recording.

    Returns
    -------
    ndarray of shape (n_frames, 16, 3)
        Keypoints of `SKELETON` in mm; 15 cm from nose to tail base, 25 cm with the tail.
    """
    times = np.asarray(times, dtype=np.float64)
    position, heading = _place(times)
    ahead = _place(times + 0.2)[1] - heading
    behind = _place(times - 0.3)[1] - heading
    ahead, behind = (np.angle(np.exp(1j * bend)) for bend in (ahead, behind))
    cycles = _continued(times, _TIMES, _DISTANCES) / _STRIDE
    height = 50 + 2 * np.sin(4 * np.pi * cycles)

    point = {"mid_back": np.concatenate([position, height[..., np.newaxis]], axis=-1)}
    front = _direction(heading + 0.5 * ahead, -0.12)
    rear = _direction(heading + 0.6 * behind, 0.22)
    point["neck"] = point["mid_back"] + 52 * front
    point["tail_base"] = point["mid_back"] - 60 * rear
    yaw = heading + 0.9 * ahead + 0.25 * np.sin(1.7 * times)
    pitch = -0.25 + 0.18 * np.sin(2.3 * times)
    nose, left = _direction(yaw, pitch), _direction(yaw + np.pi / 2)
    up = np.cross(nose, left)
    point["nose"] = point["neck"] + 44 * nose
    sway = heading + np.pi + behind + 0.45 * np.sin(1.3 * times)
    point["tail_mid"] = point["tail_base"] + 48 * _direction(sway, -0.4)
    curl = sway + 0.5 * np.sin(1.3 * times - 0.9)
    point["tail_tip"] = point["tail_mid"] + 50 * _direction(curl, -0.12)

    flat, across = _direction(heading), _direction(heading + np.pi / 2)
    for side, sign in zip(_SIDES, (1.0, -1.0), strict=True):
        point[f"{side}_ear"] = point["neck"] + 15 * nose + sign * 12 * left + 10 * up
        roots = {
            "fore": point["neck"] + [0, 0, -16] - 8 * front + sign * 11 * across,
            "hind": point["tail_base"] + [0, 0, -8] + 14 * rear + sign * 13 * across,
        }
        for leg, (joint, rest, phase, upper, lower, bends) in _LEGS.items():
            paw = _paw(times, rest, sign, phase if sign > 0 else phase + 0.5)
            point[f"{side}_{leg}paw"] = paw
            towards = bends * flat + sign * 0.35 * across
            point[f"{side}_{joint}"] = _joint(roots[leg], paw, upper, lower, towards)
    return np.stack([point[name] for name in SKELETON.keypoints], axis=-2)


@dataclass(frozen=True, eq=False)
class Body:
    """The animal as shaded balls.

    Attributes
    ----------
    centers : ndarray of shape (n_frames, n_balls, 3)
        In mm.
    radii : ndarray of shape (n_balls,)
        In mm.
    colors : ndarray of shape (n_balls, 3)
        RGB, 0 to 255, of the upper side.
    furry : ndarray of bool of shape (n_balls,)
        Whether a ball has fur: a pattern, and a paler lower side.
    """

    centers: np.ndarray
    radii: np.ndarray
    colors: np.ndarray
    furry: np.ndarray


_FUR, _HOOD = (142, 104, 74), (104, 74, 54)
_SKIN, _EAR, _EYE = (216, 158, 150), (190, 134, 126), (18, 16, 16)

#: Rows of balls from one point to another: their radii at both ends and their number.
_TRUNK = (
    ("rump", "loin", 16, 21, 13, _FUR, True),
    ("loin", "shoulders", 21, 15, 12, _FUR, True),
    ("shoulders", "crown", 14, 12, 8, _HOOD, True),
    ("crown", "snout", 12, 5.5, 8, _HOOD, True),
    ("snout", "nose", 4.5, 3.2, 2, _SKIN, False),
)
_SIDE = (
    ("ear_root", "ear", 5, 6.5, 3, _EAR, False),
    ("eye", "eye", 3, 3, 1, _EYE, False),
    ("arm", "elbow", 9, 6, 8, _FUR, True),
    ("elbow", "forepaw", 5.5, 4, 11, _FUR, True),
    ("forepaw", "fingers", 4.2, 3, 3, _SKIN, False),
    ("thigh", "knee", 13, 8, 8, _FUR, True),
    ("knee", "hindpaw", 7, 4.4, 11, _FUR, True),
    ("hindpaw", "toes", 4.6, 3.4, 4, _SKIN, False),
)
_TAIL_BALLS = 40


def body(points_3d: np.ndarray) -> Body:
    """Put flesh on keypoints.

    Parameters
    ----------
    points_3d : ndarray of shape (n_frames, 16, 3)
        Keypoints of `SKELETON` in mm.

    Returns
    -------
    Body
        Some hundred and eighty balls. Nose, ears, paws, elbows, knees and tail points are
        centres of balls; neck, middle of the back and tail base lie just under the fur.
    """
    point = {name: points_3d[..., i, :] for i, name in enumerate(SKELETON.keypoints)}
    nose = (point["nose"] - point["neck"]) / 44
    middle = (point["left_ear"] + point["right_ear"]) / 2
    trunk = point | {
        "rump": point["tail_base"] + [0, 0, -9],
        "loin": point["mid_back"] + [0, 0, -14],
        "shoulders": point["neck"] + [0, 0, -10],
        "crown": point["neck"] + 27 * nose + [0, 0, -2],
        "snout": point["neck"] + 41 * nose,
    }
    rows = [(trunk[a], trunk[b], *rest) for a, b, *rest in _TRUNK]
    for side in _SIDES:
        part = {
            name.removeprefix(f"{side}_"): value
            for name, value in point.items()
            if name.startswith(side)
        }
        outward = (part["ear"] - middle) / 12
        part |= {
            "ear_root": part["ear"] - 5 * outward,
            "eye": trunk["crown"] + 4 * nose + 9.5 * outward + [0, 0, 5],
            "arm": point["neck"] + [0, 0, -18] - 6 * nose + 8 * outward,
            "fingers": part["forepaw"] + 6 * nose * [1, 1, 0],
            "thigh": point["tail_base"] + [0, 0, -12] + 13 * nose * [1, 1, 0] + 9 * outward,
            "toes": part["hindpaw"] + 10 * nose * [1, 1, 0],
        }
        rows += [(part[a], part[b], *rest) for a, b, *rest in _SIDE]

    centers, radii, colors, furry = [], [], [], []
    for start, end, first, last, number, color, fur in rows:
        share = np.linspace(0, 1, number)
        centers.append(start[..., None, :] + share[:, None] * (end - start)[..., None, :])
        radii.append(first + share * (last - first))
        colors.append(np.tile(np.array(color, dtype=np.float64), (number, 1)))
        furry.append(np.full(number, fur))
    # the tail is the parabola through its three keypoints
    share = np.linspace(0, 1, _TAIL_BALLS)[:, None]
    base, mid, tip = (point[f"tail_{part}"][..., None, :] for part in ("base", "mid", "tip"))
    centers.append(
        (1 - share) * (1 - 2 * share) * base
        + 4 * share * (1 - share) * mid
        + share * (2 * share - 1) * tip
    )
    radii.append(np.linspace(5.0, 1.8, _TAIL_BALLS))
    colors.append(np.tile(np.array(_EAR, dtype=np.float64), (_TAIL_BALLS, 1)))
    furry.append(np.full(_TAIL_BALLS, False))
    return Body(
        np.concatenate(centers, axis=-2),
        np.concatenate(radii),
        np.concatenate(colors),
        np.concatenate(furry),
    )
