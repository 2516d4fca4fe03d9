"""The frame queue: in which order moments are labelled, and why each stands where it does."""

import hashlib
import warnings
from typing import Any

import numpy as np

from calibration.errors import DataError
from calibration.multiview import reprojection_errors, triangulate_dlt
from calibration.video import read_image
from pose3d.labeling.content import RecordingContent
from pose3d.labels import LabeledFrames
from pose3d.suspects import suspicious_labels

#: Order, and what it puts first; the page shows them so.
ORDERS = {
    "frame": "in the order of time",
    "diverse": "unlike what is labelled",
    "likelihood": "network unsure",
    "reprojection": "views disagree",
    "bones": "bone of unusual length",
    "suspects": "labels that may be wrong",
    "random": "random",
}
#: Images that are compared at most; of more, every n-th is, and the others come after.
_COMPARED = 400
#: Width and height to which images are reduced for comparison.
_SMALL = (16, 12)

#: By moment: how far in front it stands (NaN: nothing is known), and why, in words.
Ranking = tuple[np.ndarray, list[str]]


def order_moments(content: RecordingContent, order: str) -> list[tuple[str, str]]:
    """Put the moments of a recording into an order of labelling.

    Parameters
    ----------
    content : RecordingContent
        The open recording.
    order : str
        One of `ORDERS`.

    Returns
    -------
    list of (str, str)
        Names of all moments, and why in words; those of which nothing is known last.

    Raises
    ------
    DataError
        If nothing is known by which they could be put in order; the message says what to do.
    """
    if order not in ORDERS:
        raise ValueError(f"order is {order!r}; expected one of {', '.join(ORDERS)}.")
    with content.session.lock:
        names = [name for name, _ in content.session.moments]
    rank = {
        "frame": _by_time,
        "diverse": _by_difference,
        "likelihood": _by_likelihood,
        "reprojection": _by_disagreement,
        "bones": _by_bones,
        "suspects": _by_suspicion,
        "random": _by_chance,
    }[order]
    score, why = rank(content, names)
    first = np.argsort(np.where(np.isnan(score), np.inf, -score), kind="stable")
    return [(names[m], why[m]) for m in first]


def _by_time(content, names):
    return -np.arange(len(names), dtype=float), [""] * len(names)


def _by_chance(content, names):
    """Order by a digest of the name: the same tomorrow, and not moved by new images."""
    digests = [hashlib.sha256(name.encode()).digest()[:8] for name in names]
    return np.array([int.from_bytes(d, "big") / 2**64 for d in digests]), [""] * len(names)


def _by_likelihood(content, names) -> Ranking:
    """Put moments first whose points a network found least likely, on average."""
    seen = content.seen
    if seen is None:
        raise DataError(
            "There are no 2D keypoints of this recording to tell where a network is unsure. "
            "Find them first, with analyze-recording."
        )
    likelihood = np.where(np.isfinite(seen.xy[..., 0]), seen.likelihood, 0.0)
    score, why = _blank(len(names))
    for m, name in enumerate(names):
        frames = [
            (c, content.session.frame(camera, int(name)))
            for c, camera in enumerate(seen.cameras)
            if name.isdigit()
        ]
        values = np.array([likelihood[c, f] for c, f in frames if 0 <= f < seen.n_frames])
        if values.size:
            score[m] = 1 - values.mean()
            c, i, k = np.unravel_index(values.argmin(), values.shape)
            camera = [seen.cameras[c] for c, f in frames if 0 <= f < seen.n_frames][c]
            why[m] = f"{seen.keypoints[k]} {values[c, i, k]:.2f} in {camera}"
    return score, why


def _by_disagreement(content, names) -> Ranking:
    """Put moments first where a point is far from where its views should see it.

    Labels count where a moment has them in three views, else what was triangulated.
    """
    if content.rig is None:
        raise DataError("There is no calibration to tell where views disagree.")
    score, why = _blank(len(names))
    keypoints = content.project.skeleton.keypoints
    xy = content.labelled_points()
    errors = reprojection_errors(content.rig, triangulate_dlt(content.rig, xy), xy)
    errors[:, np.isfinite(errors).sum(axis=0) < 3] = np.nan
    worst = np.nanmax(np.nan_to_num(errors, nan=-1.0), axis=(0, 2))
    path = content.path
    rows = _rows(names, 0 if path is None else path.n_frames)
    for m in range(len(names)):
        if (worst[m] >= 0).any():
            k = int(worst[m].argmax())
            score[m], why[m] = worst[m, k], f"{keypoints[k]} {worst[m, k]:.1f} px, labelled"
        elif m in rows:
            # a view that was left out as wrong is what a person should look at
            values = np.nan_to_num(path.view_errors[:, rows[m]], nan=-1.0)
            c, i, k = np.unravel_index(values.argmax(), values.shape)
            if values[c, i, k] >= 0:
                score[m] = values[c, i, k]
                why[m] = f"{path.keypoints[k]} {score[m]:.1f} px in {path.cameras[c]}"
    return _known(score, why, "labels in three views, or triangulate-recording")


def _by_bones(content, names) -> Ranking:
    """Put moments first where a bone is far from its usual length."""
    skeleton, path = content.project.skeleton, content.path
    if content.rig is None or not len(skeleton.edge_indices):
        raise DataError(
            "Bones cannot be measured: a calibration and a skeleton in config.yaml are needed."
        )
    score, why = _blank(len(names))
    labelled = triangulate_dlt(content.rig, content.labelled_points())
    rows = _rows(names, 0 if path is None else path.n_frames)
    for a, b in skeleton.edge_indices:
        ends = [skeleton.keypoints[a], skeleton.keypoints[b]]
        own = np.linalg.norm(labelled[:, :, a] - labelled[:, :, b], axis=-1)
        found = np.full((0, own.shape[1]), np.nan)
        if path is not None and set(ends) <= set(path.keypoints):
            found = np.linalg.norm(path[ends[0]] - path[ends[1]], axis=-1)
        every = np.concatenate([own.ravel(), found.ravel()])
        every = every[np.isfinite(every)]
        if len(every) < 5:
            continue
        usual = np.median(every)
        spread = max(1.4826 * np.median(np.abs(every - usual)), 0.02 * usual)
        for m in range(len(names)):
            lengths = own[m] if np.isfinite(own[m]).any() else found[rows[m]] if m in rows else []
            for length in np.asarray(lengths)[np.isfinite(lengths)]:
                off = abs(length - usual) / spread
                if not off <= score[m]:
                    score[m] = off
                    why[m] = f"{ends[0]}–{ends[1]} {length:.4g}, usually {usual:.4g}"
    return _known(score, why, "labels in two views of five frames, or triangulate-recording")


def _by_suspicion(content, names) -> Ranking:
    """Put moments first whose labels check-labels would name; the others stay in order of time."""
    score, why = _blank(len(names))
    cameras, project = list(content.session.folders), content.project
    xy = content.labelled_points(cameras)
    places = np.argwhere(np.isfinite(xy[..., 0]).any(axis=(2, 3)))
    labels = LabeledFrames(
        xy=xy[places[:, 0], places[:, 1]],
        images=[f"{cameras[c]}/{m}" for c, m in places],
        recordings=[content.session.recording] * len(places),
        cameras=[cameras[c] for c, _ in places],
        frames=places[:, 1],
        individuals=project.individuals,
        keypoints=project.skeleton.keypoints,
    )
    for suspect in suspicious_labels(labels, project.skeleton, None, content.rig):
        camera, _, moment = suspect.image.rpartition("/")
        if not suspect.score <= score[int(moment)]:
            score[int(moment)] = suspect.score
            points = ", ".join(suspect.keypoints)
            why[int(moment)] = f"{suspect.kind} in {camera}: {points}, {suspect.found}"
    return score, why


def _by_difference(content, names) -> Ranking:
    """Put moments first that look unlike those labelled and those before them.

    K-means on small grey images of all cameras joined; groups in which least is labelled come
    first, in turn, each with what is nearest to its centre.
    """
    from scipy.cluster.vq import kmeans2

    score, why = _blank(len(names))
    step = -(-len(names) * len(content.session.folders) // _COMPARED)
    looked, small = [], []
    for m in range(0, len(names), step):
        features = _features(content, names[m])
        if features is not None:
            looked.append(m)
            small.append(features)
    if not looked:
        raise DataError("No image of this recording can be read.")
    small = np.array(small)
    small -= small.mean(axis=0)
    # equal images have to fall into some group
    small += np.random.default_rng(0).normal(0, 1e-4, small.shape)
    n_groups = min(20, max(1, len(looked) // 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a group without members
        centres, group = kmeans2(small, n_groups, minit="++", rng=0)
    away = np.linalg.norm(small - centres[group], axis=1)
    done = _labelled(content, names)[looked]
    for g in np.unique(group):
        members = np.flatnonzero(group == g)
        members = members[np.argsort(away[members], kind="stable")]
        turn = int(done[members].sum())
        for place, index in enumerate(members[~done[members]]):
            m = looked[index]
            # in each turn, groups with many members first
            score[m] = -(turn + place) + len(members) / (len(looked) + 1)
            why[m] = f"group {g + 1} of {n_groups}"
    return score, why


def _features(content, name):
    """Reduce the images of a moment; None if one cannot be read."""
    import cv2

    known: dict[Any, np.ndarray | None] = content.small_images
    if name not in known:
        session, parts = content.session, []
        for camera, folder in session.folders.items():
            image = session.images(name).get(camera)
            try:
                grey = read_image(folder.path / image, pixels="luma") if image else None
            except (DataError, OSError):
                grey = None
            small = np.zeros(_SMALL[::-1], np.uint8)
            if grey is not None:
                small = cv2.resize(grey, _SMALL, interpolation=cv2.INTER_AREA)
            parts.append(small.ravel() / 255)
        known[name] = np.concatenate(parts)
    return known[name]


def _labelled(content, names):
    """Tell which moments have labels."""
    session = content.session
    with session.lock:
        return np.array(
            [
                any(
                    session.folders[camera].state[session.folders[camera].place[image]].any()
                    for camera, image in session.images(name).items()
                )
                for name in names
            ]
        )


def _blank(n):
    return np.full(n, np.nan), [""] * n


def _rows(names, n_frames):
    """Frames of a path by moment."""
    return {m: int(name) for m, name in enumerate(names) if name.isdigit() and int(name) < n_frames}


def _known(score, why, needed):
    if np.isnan(score).all():
        raise DataError(f"Nothing is known yet by which to put frames in order. Needed: {needed}.")
    return score, why
