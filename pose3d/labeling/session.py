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
from pose3d.labeling.changes import checked_change, same_point
from pose3d.labeling.folders import LABELLED, STATES, LabelFolder
from pose3d.labeling.journal import Journal
from pose3d.labeling.moments import Moment, group_moments, late_frames
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
    places : dict of str to int
        Where each moment is in them.
    take : Recording or None
        Videos and offsets; None where the project knows images alone.
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
        self.take = project.recordings.get(recording)
        self.folders: dict[str, LabelFolder] = {}
        self.moments: list[Moment] = []
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
        self._load_folders(sidecar.get("files", {}))
        self._late, unknown = late_frames(self.take, self.project.cameras)
        self.synchronous = not any(camera in self.folders for camera in unknown)
        self.notices += [text for camera, text in unknown.items() if camera in self.folders]
        self._group()
        videos = self.take.videos.values() if self.take else ()
        if not self.moments and not any(video.exists() for video in videos):
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

    def _load_folders(self, known):
        """Load the folders of the recording's cameras that are not loaded yet."""
        added = {}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", DataWarning)
            for entry in sorted(self.sidecar_path.parent.iterdir()):
                owner = self.project.whose_folder(entry.name) if entry.is_dir() else None
                if owner is None or owner[0] != self.recording or owner[1] in self.folders | added:
                    continue
                added[owner[1]] = LabelFolder.load(
                    entry,
                    scorer=self.project.scorer,
                    individuals=self.project.individuals,
                    keypoints=self.project.skeleton.keypoints,
                    named=self.project.multianimal,
                    unique=self.project.unique,
                    known=known.get(entry.name, {}),
                )
        self.notices += [str(w.message) for w in caught if issubclass(w.category, DataWarning)]
        both = self.folders | added
        self.folders = {name: both[name] for name in self.project.cameras if name in both}
        return len(added)

    def _group(self):
        self.moments = group_moments(self.folders, self._late)
        self.places = {name: index for index, (name, _) in enumerate(self.moments)}

    def images(self, moment: str) -> dict[str, str]:
        """Return the images of a moment by camera; DataError if there is no such moment."""
        if moment not in self.places:
            raise DataError(f"{self.recording!r} has no images of a moment {moment!r}.")
        return self.moments[self.places[moment]][1]

    def frame(self, camera: str, moment: int) -> int:
        """Return the number of a camera's frame at a moment, its lateness counted."""
        return moment + self._late.get(camera, 0)

    def take_new_images(self) -> bool:
        """Take in images and folders that appeared since; tell whether there were any."""
        with self.lock:
            added = self._load_folders({}) + sum(
                folder.take_new_images() for folder in self.folders.values()
            )
            if added:
                self._group()
                self.sequence += 1
            return bool(added)

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
        changes = [checked_change(change) for change in changes]
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
                if not same_point(now, change["before"]):
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
