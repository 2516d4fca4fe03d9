"""Labels that are probably wrong, found before a network learns them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calibration.cameras import CameraRig
from pose3d.labels import LabeledFrames
from pose3d.skeleton import Skeleton

#: What can be wrong with a label, and what it means.
KINDS = {
    "outside": "the label lies outside the image",
    "duplicate": "two keypoints lie at one place",
    "exchanged": "left and right are exchanged",
    "length": "a bone has an unusual length",
    "disagrees": "the other views see it elsewhere",
}

#: Images that a shape is compared with at most.
_MOST_COMPARED = 400

#: Left and right are exchanged where the shape with them exchanged is this much nearer to another
#: image's, without further than usual by this factor, and with them not further than by that.
_NEARER, _FAR, _FITS = 0.38, 2.0, 2.2

#: Standard deviations, of the logarithm of a length, beyond which a bone is suspect; and the factor
#: by which it must at least be longer than that of any other image.
_UNUSUAL, _BEYOND = 5.0, 1.15

#: A view disagrees where it is this many pixels, and this many times the usual error, off.
_OFF_PX, _OFF_TIMES = 8.0, 4.0


@dataclass(frozen=True)
class Suspect:
    """A label that is probably wrong.

    Attributes
    ----------
    image : str
        Path of the image inside the project.
    individual : str
        Whose label it is.
    keypoints : tuple of str
        The keypoints that it is about.
    kind : str
        One of `KINDS`.
    found, expected : str
        What the label says, and what labels like it say.
    score : float
        How far from usual, comparable among suspects of a kind; 1 is where it begins.
    """

    image: str
    individual: str
    keypoints: tuple[str, ...]
    kind: str
    found: str
    expected: str
    score: float


def suspicious_labels(
    labels: LabeledFrames,
    skeleton: Skeleton,
    image_sizes: np.ndarray | None = None,
    rig: CameraRig | None = None,
) -> tuple[Suspect, ...]:
    """Find labels that are probably wrong.

    Parameters
    ----------
    labels : LabeledFrames
        The labels.
    skeleton : Skeleton
        Gives bones and symmetric pairs; pairs that only names tell count too.
    image_sizes : ndarray of shape (n_images, 2), optional
        Width and height of each image; without, nothing is outside.
    rig : CameraRig, optional
        Without, views are not compared.

    Returns
    -------
    tuple of Suspect
        The worst of each kind first.
    """
    found = [
        *(() if image_sizes is None else _outside(labels, np.asarray(image_sizes))),
        *_duplicates(labels),
        *exchanged_sides(labels, skeleton),
        *_unusual_lengths(labels, skeleton),
        *(() if rig is None else _disagreeing(labels, rig)),
    ]
    order = list(KINDS)
    return tuple(sorted(found, key=lambda suspect: (order.index(suspect.kind), -suspect.score)))


def _suspect(labels, place, keypoints, kind, found, expected, score):
    """Make a suspect of an image and an individual by their numbers."""
    image, individual = place
    names = tuple(labels.keypoints[k] for k in keypoints)
    return Suspect(
        labels.images[image], labels.individuals[individual], names, kind, found, expected,
        float(score),
    )  # fmt: skip


def _outside(labels, sizes):
    """Find labels beyond the edge of their image."""
    edge = (sizes - 0.5)[:, np.newaxis, np.newaxis]
    with np.errstate(invalid="ignore"):
        beyond = np.maximum(-0.5 - labels.xy, labels.xy - edge).max(axis=-1)
        places = np.argwhere(beyond > 0)
    for image, individual, keypoint in places:
        x, y = labels.xy[image, individual, keypoint]
        width, height = sizes[image]
        yield _suspect(
            labels, (image, individual), [keypoint], "outside", f"at ({x:.1f}, {y:.1f})",
            f"inside {width} x {height} px", 1 + beyond[image, individual, keypoint],
        )  # fmt: skip


def _duplicates(labels):
    """Find keypoints that lie on each other although they usually do not."""
    first, second = np.triu_indices(len(labels.keypoints), 1)
    apart = np.linalg.norm(labels.xy[:, :, first] - labels.xy[:, :, second], axis=-1)
    for pair, (a, b) in enumerate(zip(first, second, strict=True)):
        known = apart[:, :, pair][np.isfinite(apart[:, :, pair])]
        # one of ten may lie there: then it is how the animal stands, as seen from the side
        if len(known) < 5 or np.quantile(known, 0.1) < 4:
            continue
        for image, individual in np.argwhere(apart[:, :, pair] < 1):
            distance = apart[image, individual, pair]
            yield _suspect(
                labels, (image, individual), [a, b], "duplicate", f"{distance:.2f} px apart",
                f"usually {np.median(known):.0f} px", 2 - distance,
            )  # fmt: skip


def exchanged_sides(labels: LabeledFrames, skeleton: Skeleton) -> list[Suspect]:
    """Find images in which left and right are exchanged.

    An image's labels are laid on those of every other image of the camera by a turn, a scale and a
    shift, which can mirror nothing (Procrustes). Where that fits far better once a pair has been
    exchanged, and not as usual without, the pair is exchanged.

    Parameters
    ----------
    labels : LabeledFrames
        The labels.
    skeleton : Skeleton
        Gives the pairs; where it has none, names that differ by left and right do.
    """
    pairs = skeleton.symmetric or symmetric_by_name(labels.keypoints)
    if not pairs or len(labels.keypoints) < 3:
        return []
    index = {name: i for i, name in enumerate(labels.keypoints)}
    pairs = [(index[a], index[b]) for a, b in pairs if a in index and b in index]
    exchanges = [[pair] for pair in pairs] + ([pairs] if len(pairs) > 1 else [])
    found = []
    shapes = labels.xy[..., 0] + 1j * labels.xy[..., 1]
    for camera in sorted(set(labels.cameras)):
        mine = np.flatnonzero(np.array(labels.cameras) == camera)
        places = [(i, k) for i in mine for k in range(len(labels.individuals))]
        points = np.array([shapes[place] for place in places])
        enough = np.isfinite(points).sum(axis=1) >= 3
        places = [place for place, keep in zip(places, enough, strict=True) if keep]
        points = points[enough]
        if len(points) < 6:
            continue
        # leaving the image itself out, the nearest of the others
        others = points[:: -(-len(points) // _MOST_COMPARED)]
        usual = _nearest(points, others, 2)
        typical = np.median(usual)
        for exchange in exchanges:
            turned = points.copy()
            for a, b in exchange:
                turned[:, [a, b]] = turned[:, [b, a]]
            whole = np.isfinite(points[:, [k for pair in exchange for k in pair]]).all(axis=1)
            nearest = np.where(whole, _nearest(turned, others, 1), np.inf)
            odd = (nearest < _NEARER * usual) & (usual > _FAR * typical)
            for i in np.flatnonzero(odd & (nearest < _FITS * typical)):
                names = [k for pair in exchange for k in pair]
                found.append(
                    _suspect(
                        labels, places[i], names, "exchanged",
                        f"unlike every other image by {usual[i]:.3f} of the animal's size",
                        f"{nearest[i]:.3f} with the sides exchanged; usually {typical:.3f}",
                        _NEARER * usual[i] / max(nearest[i], 1e-6),
                    )
                )  # fmt: skip
    best: dict[tuple[str, str], Suspect] = {}
    for suspect in found:
        key = suspect.image, suspect.individual
        if key not in best or suspect.score > best[key].score:
            best[key] = suspect
    return list(best.values())


def _nearest(points, others, rank):
    """Return how far shapes are from the nearest of others, as a share of their size.

    Parameters
    ----------
    points, others : ndarray of complex of shape (n, n_keypoints)
        Keypoints as complex numbers; NaN where there is none.
    rank : int
        2 leaves the nearest out, which is the shape itself.
    """
    distances = np.full((len(points), len(others)), np.inf)
    theirs = np.isfinite(others)
    for i, shape in enumerate(points):
        both = theirs & np.isfinite(shape)
        count = both.sum(axis=1)
        n = np.maximum(count, 1)[:, np.newaxis]
        a = np.where(both, shape, 0)
        b = np.where(both, others, 0)
        a = np.where(both, a - a.sum(axis=1, keepdims=True) / n, 0)
        b = np.where(both, b - b.sum(axis=1, keepdims=True) / n, 0)
        aa, bb = (np.abs(a) ** 2).sum(axis=1), (np.abs(b) ** 2).sum(axis=1)
        along = np.abs((a.conj() * b).sum(axis=1)) ** 2
        with np.errstate(invalid="ignore", divide="ignore"):
            left = np.sqrt(np.maximum(1 - along / (aa * bb), 0))
        # shapes that share less than three points, or half of what there is, say nothing
        share = count >= max(3, 0.6 * np.isfinite(shape).sum())
        distances[i] = np.where(share & np.isfinite(left), left, np.inf)
    kth = min(rank, distances.shape[1]) - 1
    return np.partition(distances, kth, axis=1)[:, kth]


def symmetric_by_name(keypoints: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Pair keypoints whose names differ by left and right alone.

    Parameters
    ----------
    keypoints : sequence of str
        Names, such as "leftear" and "rightear", "Ear_L" and "Ear_R", "l_hip" and "r_hip".

    Examples
    --------
    >>> symmetric_by_name(["snout", "leftear", "rightear", "Hip_L", "Hip_R"])
    (('leftear', 'rightear'), ('Hip_L', 'Hip_R'))
    """
    names, pairs = set(keypoints), []
    for name in keypoints:
        candidates = [name.replace(a, b) for a, b in (("left", "right"), ("Left", "Right"))]
        for a, b in (("L", "R"), ("l", "r")):
            candidates += [
                name[: -len(a)] + b if name.endswith((f"_{a}", f"-{a}", f".{a}")) else name,
                b + name[1:] if name.startswith((f"{a}_", f"{a}-")) else name,
            ]
        partner = next((other for other in candidates if other != name and other in names), None)
        if partner:
            pairs.append((name, partner))
    return tuple(pairs)


def _unusual_lengths(labels, skeleton):
    """Find bones that are longer in one image than in all others of the camera.

    Shorter ones are seen from their end.
    """
    for camera in sorted(set(labels.cameras)):
        mine = np.flatnonzero(np.array(labels.cameras) == camera)
        for a, b in skeleton.edge_indices:
            length = np.linalg.norm(labels.xy[mine, :, a] - labels.xy[mine, :, b], axis=-1)
            known = np.isfinite(length) & (length > 0)
            if known.sum() < 10:
                continue
            log = np.log(np.where(known, length, np.nan))
            usual = np.nanmedian(log)
            spread = max(1.4826 * np.nanmedian(np.abs(log - usual)), 0.1)
            for i, individual in np.argwhere(log - usual > _UNUSUAL * spread):
                value = log[i, individual]
                if value - log[known & ~np.isclose(log, value)].max() < np.log(_BEYOND):
                    continue
                yield _suspect(
                    labels, (mine[i], individual), [a, b], "length",
                    f"{length[i, individual]:.1f} px long", f"usually {np.exp(usual):.1f} px",
                    np.abs(value - usual) / spread / _UNUSUAL,
                )  # fmt: skip


def _disagreeing(labels, rig):
    """Find labels that are not where the other views of their moment see the keypoint."""
    cameras = [name for name in rig.names if name in set(labels.cameras)]
    moments: dict[tuple[str, int], dict[str, int]] = {}
    for i, (recording, camera, frame) in enumerate(
        zip(labels.recordings, labels.cameras, labels.frames.tolist(), strict=True)
    ):
        if camera in cameras and frame >= 0:
            moments.setdefault((recording, frame), {})[camera] = i
    seen = [views for views in moments.values() if len(views) >= 3]
    if not seen:
        return
    index = np.array([[views.get(camera, -1) for views in seen] for camera in cameras])
    xy = np.where((index >= 0)[..., np.newaxis, np.newaxis, np.newaxis], labels.xy[index], np.nan)
    off, usual = _left_out_errors(rig.subset(cameras), xy)
    with np.errstate(invalid="ignore"):
        places = np.argwhere(off > max(_OFF_PX, _OFF_TIMES * usual))
    for camera, moment, individual, keypoint in places:
        distance = off[camera, moment, individual, keypoint]
        yield _suspect(
            labels, (index[camera, moment], individual), [keypoint], "disagrees",
            f"{distance:.0f} px from where the other views see it", f"usually {usual:.1f} px",
            distance / max(_OFF_PX, _OFF_TIMES * usual),
        )  # fmt: skip


def _left_out_errors(rig, xy):
    """Measure the view of each point that, left out, makes the others agree best.

    Returns
    -------
    off : ndarray of shape (n_cameras, n_moments, n_individuals, n_keypoints)
        How far that view is from where the others see the point; NaN for the other views.
    usual : float
        Median error of all views in pixels.
    """
    from calibration.multiview import reprojection_errors, triangulate_dlt

    with np.errstate(invalid="ignore"):
        errors = reprojection_errors(rig, triangulate_dlt(rig, xy), xy)
    there = np.isfinite(xy[..., 0])
    usual = float(np.nanmedian(errors[:, there.sum(axis=0) >= 3])) if there.any() else 0.0
    off = np.full(errors.shape, np.nan)
    best = np.full(errors.shape[1:], np.inf)
    for camera in range(len(xy)):
        without = xy.copy()
        without[camera] = np.nan
        point = triangulate_dlt(rig, without)
        own = np.linalg.norm(rig.project(point)[camera] - xy[camera], axis=-1)
        rest = np.where(there, reprojection_errors(rig, point, xy), np.nan)
        rest[camera] = np.nan
        enough = (there.sum(axis=0) >= 4) & there[camera]
        with np.errstate(invalid="ignore"):
            left = np.where(enough, np.nan_to_num(rest, nan=0.0).max(axis=0), np.inf)
            better = left < best
        off[:, better] = np.nan
        off[camera, better] = own[better]
        best[better] = left[better]
        # with three views it cannot be told which is wrong; the one that is furthest is named
        three = (there.sum(axis=0) == 3) & there[camera]
        worst = np.nan_to_num(errors, nan=-1).argmax(axis=0) == camera
        chosen = three & worst
        off[camera, chosen] = errors[camera][chosen]
    return off, usual
