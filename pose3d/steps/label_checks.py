"""Step: look at the labels before a network learns them."""

import csv
import io
import os
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from calibration.errors import DataError, DataWarning
from calibration.files import write_text
from calibration.results import Outcome


def check_labels(
    project: str | os.PathLike, *, recording: str | None = None, draw: bool = True
) -> Outcome:
    """Find labels that are probably wrong, and draw all labels on their images.

    Suspect are labels outside their image, two keypoints at one place, left and right exchanged,
    bones of a length that no other image has, and labels that are not where the other views see
    the keypoint. reports/_labels.html shows them, the worst first, each with the command that opens
    it in the labelling page. The drawings go into folders beside those of the images, whose names
    end in "_labeled".

    Parameters
    ----------
    project : path
        The project's folder.
    recording : str
        Check the labels of this recording only.
    draw : bool
        Draw the labels on their images; without, only the suspects are looked for.
    """
    from pose3d.project import Project, load_labels
    from pose3d.suspects import suspicious_labels

    project = Project.load(project)
    labels = load_labels(project)
    wanted = [i for i, name in enumerate(labels.recordings) if recording in (None, name)]
    if not wanted:
        held = ", ".join(sorted(set(labels.recordings)))
        raise DataError(
            f"{project.path} has no labels{f' of {recording!r}' if recording else ''}"
            f"{f'; there are labels of {held}' if held else ''}. Label frames with label-frames, "
            "or bring labels in with import-labels."
        )
    labels = labels.at(np.array(wanted))
    sizes, rows = _look(project, labels, draw)
    suspects = suspicious_labels(labels, project.skeleton, sizes, _rig(project, labels))
    counts = Counter(suspect.kind for suspect in suspects)
    path = project.path / "reports" / "_labels.html"
    path.parent.mkdir(exist_ok=True)
    _write(project, labels, suspects, path)
    outside = [s for s in suspects if s.kind == "outside"]
    if outside:
        shown = [f"{s.keypoints[0]} in {s.image.rpartition('/')[2]}" for s in outside]
        shown = ", ".join(shown[:5]) + (", ..." if len(shown) > 5 else "")
        images = len({s.image for s in outside})
        warnings.warn(
            f"{images} images have labels that lie outside them: {shown}", DataWarning, stacklevel=2
        )
    told = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    return Outcome(
        path=path,
        summary=f"{len(suspects)} suspects among {len(labels)} images of {len(rows)} folders"
        + (f": {told}." if suspects else "."),
        table=tuple(_row(suspect) for suspect in suspects[:40]) or tuple(rows.values()),
        figures={
            "n_images": len(labels),
            "n_outside": len({s.image for s in outside}),
            "n_suspects": len(suspects),
        },
    )


def _look(project, labels, draw):
    """Read every image once: its size, and the labels drawn on it; rows by folder."""
    from calibration.video import read_image, write_image
    from pose3d.overlays import draw_keypoints

    sizes = np.full((len(labels), 2), np.inf)
    rows: dict[str, dict[str, Any]] = {}
    for i, image_path in enumerate(tqdm(labels.images, "labels", disable=None, unit="image")):
        folder, _, name = image_path.rpartition("/")
        row = rows.setdefault(folder, {"folder": folder, "images": 0, "points": 0})
        row["images"] += 1
        row["points"] += int(np.isfinite(labels.xy[i, ..., 0]).sum())
        image = read_image(project.path / image_path)
        sizes[i] = image.shape[1::-1]
        if draw:
            drawn = draw_keypoints(image, labels.xy[i], skeleton=project.skeleton)
            write_image(project.path / f"{folder}_labeled" / name, drawn)
    return sizes, rows


def _rig(project, labels):
    """Load the calibration of the labels, if there is one for all of them."""
    from calibration.formats.toml import load_rig

    paths = {project.calibration_path(name) for name in set(labels.recordings)}
    if len(paths) != 1 or not (path := paths.pop()).is_file():
        return None
    rig = load_rig(path)
    return rig if len(set(labels.cameras) & set(rig.names)) >= 3 else None


def _row(suspect):
    """Return a suspect as a line of a table."""
    return {
        "image": suspect.image.removeprefix("labeled-data/"),
        "kind": suspect.kind,
        "keypoints": ", ".join(suspect.keypoints),
        "found": suspect.found,
        "expected": suspect.expected,
    }


def _write(project, labels, suspects, path: Path):
    """Write the report and its table."""
    from calibration.video import read_image
    from pose3d import pages
    from pose3d.suspects import KINDS

    text = io.StringIO()
    names = ("image", "individual", "kind", "keypoints", "found", "expected", "score")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for suspect in suspects:
        values = [getattr(suspect, name) for name in names]
        writer.writerow([" ".join(v) if isinstance(v, tuple) else v for v in values])
    write_text(path.with_suffix(".csv"), text.getvalue())
    parts = []
    place = {image: i for i, image in enumerate(labels.images)}
    for kind, meaning in KINDS.items():
        some = [suspect for suspect in suspects if suspect.kind == kind]
        if not some:
            continue
        pictures, captions = [], []
        for suspect in some[:60]:
            image = read_image(project.path / suspect.image, pixels="rgb")
            xy = labels.xy[place[suspect.image], labels.individuals.index(suspect.individual)]
            marked = np.full_like(xy, np.nan)
            which = [labels.keypoints.index(name) for name in suspect.keypoints]
            marked[which] = xy[which]
            pictures.append(pages.compare_points(image, xy, marked, project.skeleton))
            opened = suspect.image.removeprefix("labeled-data/")
            captions.append(
                f"{', '.join(suspect.keypoints)}: {suspect.found}; {suspect.expected}. "
                f"pose3d label-frames {project.path.name} --at {opened}"
            )
        note = f"{len(some)} labels: {meaning}. Rings are labels; a cross marks the suspect ones."
        parts += [pages.heading(kind, note), pages.pictures(pictures, captions)]
    if not suspects:
        parts = [pages.heading("Nothing suspicious", f"{len(labels)} images were looked at.")]
    pages.write_page(path, f"Labels of {project.task}", parts)
