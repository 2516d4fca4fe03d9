"""SLEAP's label projects (.slp): HDF5 tables and JSON; nothing in them is executed.

SLEAP writes its skeleton as jsonpickle does; names, links and their kinds are read from it as JSON.
"""

import json
from pathlib import Path

import numpy as np

from calibration.errors import DataError
from pose3d.formats import hdf5
from pose3d.formats.foreign_labels import ForeignImage, ForeignLabels

#: Instance types: placed by a person, or predicted.
_USER = 0

#: What individuals without a track are called, and a number.
_UNNAMED = "animal_"


def load_slp(path: Path) -> ForeignLabels:
    """Load what people labelled in a SLEAP project.

    Parameters
    ----------
    path : Path
        The .slp; images may be embedded in it (.pkg.slp).

    Raises
    ------
    DataError
        If it is no such file, or is damaged.
    """
    with hdf5.open_hdf5(path, "SLEAP labels") as file:
        try:
            settings = json.loads(_text(file["metadata"].attrs["json"]))
            version = float(file["metadata"].attrs.get("format_id", 1.0))
            names, edges, symmetric = _skeleton(settings)
            tracks = [_track(_text(entry)) for entry in file["tracks_json"][()]]
            videos = [json.loads(_text(entry)) for entry in file["videos_json"][()]]
            frames, instances, points = (file[n][()] for n in ("frames", "instances", "points"))
            others = int((instances["skeleton"] != 0).sum())
            predicted = int((instances["instance_type"] != _USER).sum())
            embedded = {number: _embedded(file, entry) for number, entry in enumerate(videos)}
            # before 1.1 the corner of the first pixel was (0, 0)
            shift = 0.5 if version < 1.1 else 0.0
            found = []
            for frame in frames:
                mine = instances[int(frame["instance_id_start"]) : int(frame["instance_id_end"])]
                mine = mine[(mine["instance_type"] == _USER) & (mine["skeleton"] == 0)]
                if not len(mine):
                    continue
                each, hidden = [], 0
                for instance in mine:
                    part = points[int(instance["point_id_start"]) : int(instance["point_id_end"])]
                    if len(part) != len(names):
                        raise ValueError(
                            f"an instance of frame {frame['frame_idx']} has {len(part)} points "
                            f"instead of {len(names)}"
                        )
                    each.append((int(instance["track"]), np.stack([part["x"], part["y"]], -1)))
                    hidden += int((~part["visible"].astype(bool) & np.isfinite(part["x"])).sum())
                found.append((int(frame["video"]), int(frame["frame_idx"]), each, hidden))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise DataError(f"{path} is no SLEAP project, or is damaged: {error!r}.") from None
    rows, individuals = _rows([each for *_, each, _ in found], tracks)
    recordings = _recordings(path, [source for _, source in embedded.values()])
    images = []
    for (video, frame, each, _), places in zip(found, rows, strict=True):
        xy = np.full((max(1, len(individuals)), len(names), 2), np.nan)
        for row, (_, values) in zip(places, each, strict=True):
            xy[row] = values - shift
        pictures, source = embedded[video]
        film = None if frame in pictures else _video(path, source)
        images.append(
            ForeignImage(recordings[video], "camera", frame, xy, pictures.get(frame), film)
        )
    dropped = []
    if predicted:
        dropped.append(f"{predicted} predicted instances")
    if hidden := sum(count for *_, count in found):
        dropped.append(f"{hidden} points marked as hidden are labelled like visible ones")
    if others:
        dropped.append(f"{others} instances of other skeletons than the first")
    if any(name.startswith(_UNNAMED) for name in individuals):
        dropped.append("who is who from frame to frame, where there are no tracks")
    if settings.get("provenance"):
        dropped.append("its provenance")
    return ForeignLabels(
        names, individuals, ("camera",), tuple(images), edges, symmetric, tuple(dropped)
    )


def _rows(frames, tracks):
    """Give each instance of each frame the row of its track, or a free one, and name the rows.

    Returns
    -------
    rows : list of list of int
        By frame and instance; no two of a frame are the same.
    individuals : tuple of str
        Names of the rows; none where no frame has two instances.
    """
    most = max(map(len, frames), default=1)
    used = sorted({t for each in frames for t, _ in each if 0 <= t < len(tracks)})
    if most == 1:
        return [[0] * len(each) for each in frames], ()
    place = {track: row for row, track in enumerate(used)}
    count = max(most, len(used))
    names = [tracks[track] for track in used]
    names += [f"{_UNNAMED}{i + 1}" for i in range(len(used), count)]
    rows = []
    for each in frames:
        taken = [place.get(track) for track, _ in each]
        # an instance without a track, or the second of one, takes what is free
        taken = [row if row not in taken[:i] else None for i, row in enumerate(taken)]
        free = iter(row for row in range(count) if row not in taken)
        rows.append([next(free) if row is None else row for row in taken])
    return rows, tuple(names)


def _recordings(path, sources):
    """Name the recording of each video after its file; no two bear the same name."""
    stems = [Path((source or path.stem).replace("\\", "/")).stem or path.stem for source in sources]
    return [f"{n}-{i}" if stems.count(n) > 1 else n for i, n in enumerate(stems)]


def _text(value):
    """Return text from bytes or text."""
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _track(text):
    """Return the name of a track: [frame, name], or an object."""
    entry = json.loads(text)
    return str(entry[1] if isinstance(entry, list) else entry["name"])


def _skeleton(settings):
    """Return keypoints, bones and symmetric pairs of the first skeleton."""
    every = [str(node["name"]) for node in settings["nodes"]]
    skeleton = settings["skeletons"][0]
    ids = [node["id"] if isinstance(node, dict) else node for node in skeleton["nodes"]]
    names = tuple(every[int(i)] for i in ids)
    edges, symmetric, kinds = [], [], []
    for link in skeleton.get("links", ()):
        pair = every[int(link["source"])], every[int(link["target"])]
        kind = link.get("type") or {}
        if "py/reduce" in kind:
            value = int(kind["py/reduce"][1]["py/tuple"][0])
            kinds.append(value)  # later links refer to it by the order in which kinds appeared
        else:
            place = int(kind.get("py/id", 1)) - 1
            value = kinds[place] if 0 <= place < len(kinds) else 1
        (symmetric if value == 2 else edges).append(pair)
    pairs = {tuple(sorted(pair, key=names.index)) for pair in symmetric}
    return names, tuple(edges), tuple(sorted(pairs, key=lambda pair: names.index(pair[0])))


def _embedded(file, entry):
    """Return the embedded pictures of a video by frame number, and where it came from."""
    backend = entry.get("backend", entry)
    dataset, name = backend.get("dataset"), str(backend.get("filename") or "")
    source = None if name == "." else name
    if not dataset or dataset not in file:
        return {}, source
    content = file[dataset]
    group = content.parent
    numbers = group["frame_numbers"][()] if "frame_numbers" in group else range(len(content))
    if content.ndim != 1:
        return {}, source  # arrays of pixels: read from the video instead
    pictures = {int(n): np.asarray(content[i], np.uint8).tobytes() for i, n in enumerate(numbers)}
    if "source_video" in group and "json" in group["source_video"].attrs:
        origin = json.loads(_text(group["source_video"].attrs["json"]))
        source = str(origin.get("backend", origin).get("filename") or "") or source
    return pictures, source


def _video(path, source):
    """Find a video where the project says, or beside the project."""
    if not source:
        return None
    places = [
        Path(source),
        path.parent / source,
        path.parent / Path(source.replace("\\", "/")).name,
    ]
    return next((place for place in places if place.is_file()), Path(source))
