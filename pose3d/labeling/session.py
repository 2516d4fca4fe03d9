"""The labels of one recording while they are edited: nothing that was acknowledged is lost.

A change goes into the journal before it is acknowledged. Some moments later DeepLabCut's files and
the sidecar (``<recording>.labels.json``: state, who, when) are replaced; the sidecar says up to
which byte of the journal they hold, and a session that opens takes the rest from the journal.
"""

import contextlib
import json
import math
import threading
import warnings
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from calibration.errors import DataError, DataWarning
from calibration.files import provenance, write_text
from calibration.video import probe_video
from pose3d.labeling.folders import LABELLED, STATES, LabelFolder, frame_number
from pose3d.labeling.journal import Journal
from pose3d.project import Project

#: Seconds after a change until the files are written; the journal is written at once.
_DELAY = 1.0
#: How much of an old journal is read for undo.
_HISTORY = 1 << 20


class ChangedElsewhere(DataError):
    """Another tab has changed the point; the change was not made, but it is in the journal."""


class LabelSession:
    """The labels of one recording, open for editing.

    Parameters
    ----------
    project : Project
        The project.
    recording : str
        Name of the recording.

    Attributes
    ----------
    folders : dict of str to LabelFolder
        By camera.
    moments : list of (str, dict of str to str)
        What each moment is called, and the image of each camera.
    sequence : int
        Number of changes so far in this session; tells a page whether it is behind.
    notices : list of str
        What the user must know: files changed by others, failures to write.
    synchronous : bool
        Whether the images of a moment were taken together, as far as is known.
    """

    def __init__(self, project: Project, recording: str):
        self.project, self.recording = project, recording
        root = project.path / "labeled-data"
        self.sidecar_path = root / f"{recording}.labels.json"
        self.journal = Journal(root / f"{recording}.journal.jsonl")
        self.lock = threading.RLock()
        self.sequence = 0
        self.notices: list[str] = []
        self.unwritten: set[str] = set()
        self.write_trouble = ""
        self.synchronous = True
        self._timer: threading.Timer | None = None
        self.details: dict[tuple[str, str, str, str], dict[str, Any]] = {}
        try:
            self._open(root)
        except BaseException:
            self.journal.close()
            raise

    def _open(self, root):
        """Read files, sidecar and what the journal has beyond them."""
        sidecar = self._read_sidecar()
        self.folders = {}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", DataWarning)
            for entry in sorted(root.iterdir()):
                owner = self.project.whose_folder(entry.name) if entry.is_dir() else None
                if owner is None or owner[0] != self.recording or owner[1] in self.folders:
                    continue
                self.folders[owner[1]] = LabelFolder.load(
                    entry,
                    scorer=self.project.scorer,
                    individuals=self.project.individuals,
                    keypoints=self.project.skeleton.keypoints,
                    named=self.project.multianimal,
                    unique=self.project.unique,
                    known=sidecar.get("files", {}).get(entry.name, {}),
                )
        self.notices += [str(w.message) for w in caught if issubclass(w.category, DataWarning)]
        order = [name for name in self.project.cameras if name in self.folders]
        self.folders = {name: self.folders[name] for name in order}
        self.moments = _moments(self.folders, self._late_frames())
        if not self.moments:
            raise DataError(
                f"{self.recording!r} has no images to label below {root}. Choose frames first, "
                "with extract-frames."
            )
        for camera, images in sidecar.get("points", {}).items():
            for image, points in images.items():
                for individual, keypoint, point in points:
                    self._restore(camera, image, individual, keypoint, point)
        start = min(int(sidecar.get("journal_bytes", 0)), self.journal.size)
        for entry in self.journal.entries(start):
            if entry.get("kind") in ("change", "undo", "redo"):
                for change in entry.get("changes", ()):
                    with contextlib.suppress(KeyError, TypeError, ValueError):
                        self._put(change, entry.get("who", ""), entry.get("when", ""))
        if self.unwritten:
            self._later()

    def _late_frames(self) -> dict[str, int]:
        """Tell by how many frames each camera is late, to show the same moment in all of them.

        Half a frame at most remains. Where a video does not tell its frame rate, `synchronous`
        becomes False: its images cannot be put together with the others'.
        """
        take = self.project.recordings.get(self.recording)
        late = {}
        for camera, offset in zip(take.cameras, take.offsets, strict=True) if take else ():
            if offset == 0 or camera not in self.folders:
                continue
            try:
                late[camera] = round(offset * probe_video(take.videos[camera]).fps)
            except (OSError, ValueError) as error:
                self.synchronous = False
                self.notices.append(
                    f"{camera!r} is {offset:.4g} s late, and its video does not tell how many "
                    f"frames that is ({error}). All cameras are labelled without geometry."
                )
        return late

    def _read_sidecar(self):
        if not self.sidecar_path.is_file():
            return {}
        try:
            sidecar = json.loads(self.sidecar_path.read_text(encoding="utf-8"))
            if not isinstance(sidecar["points"], dict):
                raise TypeError("its points are no mapping")
        except (ValueError, TypeError, KeyError) as error:
            self.notices.append(
                f"{self.sidecar_path.name} cannot be read ({error}); states are taken from the "
                "journal alone, and the file is written anew."
            )
            return {}
        return sidecar

    def _restore(self, camera, image, individual, keypoint, point):
        """Take a point's state from the sidecar, where the files do not contradict it."""
        folder = self.folders.get(camera)
        try:
            index = self._index(folder, image, individual, keypoint)
            state = STATES.index(point["state"])
        except (AttributeError, KeyError, ValueError, TypeError):
            return
        xy = point.get("xy") or (math.nan, math.nan)
        if state <= LABELLED:
            if not np.array_equal(folder.xy[index], xy):
                return  # another program has moved it: the file counts
        elif np.isfinite(folder.xy[index]).all():
            return
        else:
            folder.xy[index] = xy
        folder.state[index] = state
        self.details[camera, image, individual, keypoint] = {
            key: point[key] for key in ("who", "when", "likelihood") if key in point
        }

    @staticmethod
    def _index(folder, image, individual, keypoint):
        return (
            folder.place[image],
            folder.individuals.index(individual),
            folder.keypoints.index(keypoint),
        )

    def point(self, camera: str, image: str, individual: str, keypoint: str) -> dict | None:
        """Return a point as the page knows it: state and xy (px, or None); None if not set."""
        folder = self.folders[camera]
        index = self._index(folder, image, individual, keypoint)
        state = int(folder.state[index])
        if state == 0:
            return None
        xy = folder.xy[index]
        return {"state": STATES[state], "xy": xy.tolist() if np.isfinite(xy).all() else None}

    def change(
        self, changes: Sequence[Mapping[str, Any]], *, kind: str = "change", tab: str = ""
    ) -> int:
        """Change points, all or none; on the disk when this returns.

        Parameters
        ----------
        changes : sequence of mapping
            Each with camera, image, individual, keypoint, ``before`` and ``after``: None, or state
            and xy (px, or None), perhaps likelihood.
        kind : {"change", "undo", "redo"}
            What it is to the history.
        tab : str
            Which page it comes from.

        Returns
        -------
        int
            The new `sequence`.

        Raises
        ------
        ValueError
            If a change cannot be: an unknown name or state, a point that is no number.
        ChangedElsewhere
            If a point is no longer what the page thinks; nothing is changed.
        OSError
            If the journal cannot be written; nothing is changed.
        """
        if kind not in ("change", "undo", "redo"):
            raise ValueError(f"kind is {kind!r}; expected change, undo or redo.")
        changes = [_checked(change) for change in changes]
        with self.lock:
            entry = {
                "kind": kind,
                "when": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "who": self.project.scorer,
                "tab": tab,
                "changes": changes,
            }
            for change in changes:
                where = tuple(change[key] for key in ("camera", "image", "individual", "keypoint"))
                try:
                    now = self.point(*where)
                except (KeyError, ValueError):
                    raise ValueError(f"There is no point {where} in {self.recording!r}.") from None
                if not _same(now, change["before"]):
                    self.journal.append({**entry, "kind": "refused"})
                    raise ChangedElsewhere(
                        f"{where[3]!r} in {where[1]} of {where[0]} was changed in another tab "
                        "since this page showed it. Your change was not made; look at the point, "
                        "and make it again if it is still needed."
                    )
            self.journal.append(entry)
            for change in changes:
                self._put(change, entry["who"], entry["when"])
            self.sequence += 1
            self._later()
            return self.sequence

    def _put(self, change, who, when):
        """Make one change in memory."""
        camera, image = change["camera"], change["image"]
        folder = self.folders[camera]
        index = self._index(folder, image, change["individual"], change["keypoint"])
        after = change["after"]
        state = STATES.index(after["state"]) if after else 0
        folder.state[index] = state
        folder.xy[index] = (after["xy"] or math.nan) if after else math.nan
        where = (camera, image, change["individual"], change["keypoint"])
        self.details.pop(where, None)
        if after:
            likelihood = after.get("likelihood")
            self.details[where] = {"who": who, "when": when}
            if likelihood is not None:
                self.details[where]["likelihood"] = likelihood
        self.unwritten.add(camera)

    def history(self) -> dict[str, list]:
        """Return what can be undone and redone, oldest first, from the journal's last megabyte."""
        with self.lock:
            undo: list[Any] = []
            redo: list[Any] = []
            for entry in self.journal.entries(max(0, self.journal.size - _HISTORY)):
                kind, changes = entry.get("kind"), entry.get("changes")
                if kind == "change":
                    undo.append(changes)
                    redo.clear()
                elif kind == "undo" and undo:
                    redo.append(undo.pop())
                elif kind == "redo" and redo:
                    undo.append(redo.pop())
            return {"undo": undo, "redo": redo}

    def _later(self):
        """Write the files soon."""
        if self._timer is None:
            self._timer = threading.Timer(_DELAY, self._write_quietly)
            self._timer.daemon = True
            self._timer.start()

    def _write_quietly(self):
        self._timer = None
        try:
            self.write()
        except (OSError, ValueError) as error:
            # the journal has every change; the page shows this until writing succeeds
            self.write_trouble = f"The files of labels could not be written: {error}"
            self._later()

    def write(self) -> None:
        """Write DeepLabCut's files and the sidecar of everything that was changed.

        Raises
        ------
        OSError, DataError
            If a file cannot be written, or one changed by another program cannot be read; what
            was not written is tried again.
        """
        with self.lock:
            if not self.unwritten:
                return
            for camera in sorted(self.unwritten):
                folder = self.folders[camera]
                told = folder.take_changes_on_disk()
                self.notices += told
                self.sequence += bool(told)
                folder.save()
            write_text(self.sidecar_path, json.dumps(self._sidecar(), ensure_ascii=False))
            self.unwritten.clear()
            self.write_trouble = ""

    def _sidecar(self):
        """Say what DeepLabCut's layout cannot hold."""
        points: dict[str, dict[str, list]] = {}
        for (camera, image, individual, keypoint), details in self.details.items():
            point = self.point(camera, image, individual, keypoint)
            if point is not None:
                images = points.setdefault(camera, {})
                images.setdefault(image, []).append((individual, keypoint, point | details))
        return {
            "version": 1,
            "origin": provenance("label_frames", {"recording": self.recording}, {}),
            "journal_bytes": self.journal.size,
            "files": {folder.path.name: folder.digests for folder in self.folders.values()},
            "points": points,
        }

    def close(self) -> None:
        """Write what is unwritten and give the recording free."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            self.write()
        finally:
            self.journal.close()


def _moments(folders, late):
    """Group the images of all cameras by the last number in their names, else by name."""
    found: dict[Any, dict[str, str]] = {}
    for camera, folder in folders.items():
        for image in folder.images:
            stem = image.rpartition(".")[0]
            number = frame_number(image)
            key = (0, number - late.get(camera, 0), "") if number >= 0 else (1, 0, stem)
            if camera in found.get(key, {}):
                key = (1, 0, image)  # two images of one number: each a moment of its own
            found.setdefault(key, {})[camera] = image
    return [
        (str(key[1]) if key[0] == 0 else key[2], images) for key, images in sorted(found.items())
    ]


def _checked(change):
    """Check a change as a page sends it; return it with what is known and nothing else."""
    try:
        checked = {key: change[key] for key in ("camera", "image", "individual", "keypoint")}
        for key in ("before", "after"):
            checked[key] = None if change[key] is None else _checked_point(change[key])
    except (KeyError, TypeError) as error:
        raise ValueError(f"The change {str(change)[:200]} lacks {error}.") from None
    return checked


def _checked_point(point):
    state, xy, likelihood = point["state"], point.get("xy"), point.get("likelihood")
    if state not in STATES[1:]:
        raise ValueError(f"state is {state!r}; expected one of {', '.join(STATES[1:])}.")
    if xy is None and STATES.index(state) <= LABELLED:
        raise ValueError(f"A point that is {state} needs xy.")
    numbers = [] if xy is None else list(xy)
    if xy is not None and len(numbers) != 2:
        raise ValueError(f"xy is {xy!r}; expected x and y.")
    for number in (*numbers, 0.0 if likelihood is None else likelihood):
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise ValueError(f"{number!r} is no number.")
        if not math.isfinite(number) or abs(number) > 1e6:
            raise ValueError(f"{number!r} is no place in an image.")
    checked = {"state": state, "xy": None if xy is None else [float(n) for n in numbers]}
    return checked if likelihood is None else {**checked, "likelihood": float(likelihood)}


def _same(now, before):
    """Tell whether a point is what a page thinks it is."""
    if now is None or before is None:
        return now is before
    return now["state"] == before["state"] and now["xy"] == before["xy"]
