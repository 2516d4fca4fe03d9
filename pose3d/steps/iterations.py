"""Steps: the labels of the next iteration, and keypoints that change."""

import json
import os
import shutil
from datetime import datetime
from pathlib import Path

import numpy as np

from calibration.errors import DataError
from calibration.files import write_text
from calibration.results import Outcome


def merge_datasets(project: str | os.PathLike, *, allow_unlabeled: bool = False) -> Outcome:
    """Begin the next iteration with all labels there are now, keeping those of the last one.

    Networks of earlier iterations keep their splits and the labels that they were trained on, in
    training-datasets/iteration-N; a network trained from now on, under a new name, learns from all.

    Parameters
    ----------
    project : path
        The project's folder.
    allow_unlabeled : bool
        Merge although pictures are not labelled yet; they are not trained on.
    """
    from pose3d.formats.config import edit_config
    from pose3d.labeling.folders import image_files
    from pose3d.networks.datasets import iteration_folder, save_iteration
    from pose3d.project import Project, load_labels

    loaded = Project.load(project)
    labels = load_labels(loaded)
    if not len(labels):
        raise DataError(f"{loaded.path} has no labels to merge. Label frames with label-frames.")
    rows, labelled = [], set(labels.images)
    for folder in sorted((loaded.path / "labeled-data").iterdir()):
        if not folder.is_dir() or loaded.whose_folder(folder.name) is None:
            continue
        images = [f"labeled-data/{folder.name}/{name}" for name in image_files(folder)]
        if images:
            done = len(labelled.intersection(images))
            rows.append({"folder": folder.name, "pictures": len(images), "labelled": done})
    waiting = sum(row["pictures"] - row["labelled"] for row in rows)
    if waiting and not allow_unlabeled:
        first = next(row["folder"] for row in rows if row["pictures"] > row["labelled"])
        raise DataError(
            f"{waiting} pictures are not labelled yet, the first in {first}. Label them with "
            "label-frames, or merge without them: --allow-unlabeled."
        )
    before = loaded.iteration
    # DeepLabCut makes such folders too
    if not list(iteration_folder(loaded, before).glob("CollectedData_*.h5")):
        save_iteration(loaded, labels)  # nothing was trained in it

    def raise_iteration(config):
        config["iteration"] = before + 1

    edit_config(loaded.config_path, raise_iteration)
    path = save_iteration(Project.load(project), labels)
    name = f"network-{before + 1}"
    return Outcome(
        path,
        f"Iteration {before + 1} has {len(labels)} labelled pictures. Train a network under a new "
        f"name: create-training-dataset --name {name} --like network, then train-network --name "
        f"{name}.",
        table=tuple(rows),
        figures={"iteration": before + 1, "n_images": len(labels), "n_unlabelled": waiting},
    )


def change_keypoints(
    project: str | os.PathLike,
    *,
    add: list[str] | None = None,
    rename: list[str] | None = None,
    remove: list[str] | None = None,
) -> Outcome:
    """Add, rename or remove keypoints of a project, and take its labels along.

    What is changed is copied to backups/ before. Networks find the keypoints that they were trained
    on: train a new one after that.

    Parameters
    ----------
    project : path
        The project's folder.
    add : list of str
        Names of new keypoints; nothing is labelled yet.
    rename : list of str
        Old and new name, as in "nose=snout".
    remove : list of str
        Keypoints to remove with their labels.
    """
    from pose3d.formats import deeplabcut
    from pose3d.formats.config import edit_config, quoted
    from pose3d.project import Project

    loaded = Project.load(project)
    names = loaded.skeleton.keypoints
    renamed = _checked(names, add or [], rename or [], remove or [])
    if not (add or remove or renamed):
        raise ValueError("Nothing is to be changed; give add, rename or remove.")
    root = loaded.path / "labeled-data"
    _check_written(root)
    gone, new = set(remove or []), tuple(add or ())
    # all is read before anything is written
    folders = [folder for folder in sorted(root.glob("*")) if folder.is_dir()]
    tables = {folder: deeplabcut.load_label_folder(folder, loaded.scorer) for folder in folders}
    tables = {folder: table for folder, table in tables.items() if table is not None}
    changes = renamed or gone
    sidecars = {
        path: _changed_sidecar(path, renamed, gone)
        for path in (sorted(root.glob("*.labels.json")) if changes else ())
    }
    kept = _back_up(loaded)
    for folder, table in tables.items():
        left = [i for i, name in enumerate(table.keypoints) if name not in gone]
        unlabelled = np.full((*table.xy.shape[:-2], len(new), 2), np.nan)
        changed = deeplabcut.LabelTable(
            np.concatenate([table.xy[..., left, :], unlabelled], axis=-2),
            tuple(f"labeled-data/{folder.name}/{n}" for n in deeplabcut.image_names(table, folder)),
            table.individuals,
            (*(renamed.get(table.keypoints[i], table.keypoints[i]) for i in left), *new),
            loaded.scorer,
        )
        unique = [renamed.get(name, name) for name in loaded.unique]
        deeplabcut.save_labels(folder, changed, unique=unique)
    for path, text in sidecars.items():
        write_text(path, text)

    def change(config):
        grouped = config["bodyparts"] == "MULTI!"
        for key in ("multianimalbodyparts", "uniquebodyparts") if grouped else ("bodyparts",):
            listed = config.get(key) or []
            for i in reversed(range(len(listed))):
                if str(listed[i]) in gone:
                    del listed[i]
                elif str(listed[i]) in renamed:
                    listed[i] = quoted(renamed[str(listed[i])])
        target = config["multianimalbodyparts" if grouped else "bodyparts"]
        for name in add or []:
            target.append(quoted(name))
        for holder, key in ((config, "skeleton"), (config.get("pose3d") or {}, "symmetric")):
            pairs = holder.get(key) or []
            for i in reversed(range(len(pairs))):
                if gone & set(map(str, pairs[i])):
                    del pairs[i]
                    continue
                for k, name in enumerate(pairs[i]):
                    if str(name) in renamed:
                        pairs[i][k] = quoted(renamed[str(name)])

    edit_config(loaded.config_path, change)
    after = Project.load(project).skeleton.keypoints
    return Outcome(
        loaded.config_path,
        f"The project has {len(after)} keypoints; {len(tables)} label files were changed. What was "
        f"there before is kept in {kept}.",
        table=tuple({"keypoint": name} for name in after),
        figures={"n_keypoints": len(after), "n_files": len(tables)},
    )


def _checked(names, add, rename, remove):
    """Check what is asked for; return new names by old ones."""
    renamed = {}
    for text in rename:
        old, equals, new = text.partition("=")
        if not equals or not old.strip() or not new.strip():
            raise ValueError(f"rename holds {text!r}; expected old=new.")
        renamed[old.strip()] = new.strip()
    for what, asked in (("rename", renamed), ("remove", remove)):
        if unknown := [name for name in asked if name not in names]:
            raise ValueError(
                f"{what} names {unknown[0]!r}, which is no keypoint; they are {', '.join(names)}."
            )
    if both := set(renamed) & set(remove):
        raise ValueError(f"{both.pop()!r} is renamed and removed; do one of them.")
    after = [renamed.get(name, name) for name in names if name not in remove] + list(add)
    if twice := [name for name in after if after.count(name) > 1]:
        raise ValueError(f"There would be two keypoints {twice[0]!r}; names must differ.")
    if len(after) == 0:
        raise ValueError("No keypoint would be left.")
    return renamed


def _check_written(root):
    """Refuse while a journal of label-frames holds changes that the label files have not."""
    for journal in sorted(root.glob("*.journal.jsonl")):
        sidecar = journal.with_name(journal.name.replace(".journal.jsonl", ".labels.json"))
        held = 0
        if sidecar.is_file():
            try:
                held = int(json.loads(sidecar.read_text(encoding="utf-8"))["journal_bytes"])
            except (ValueError, KeyError, TypeError):
                held = 0
        if journal.stat().st_size > held:
            raise DataError(
                f"{journal} holds labels that are not in the label files yet. Open the recording "
                "with label-frames and close it, so that nothing is lost."
            )


def _back_up(project) -> Path:
    """Copy config and labels aside; return the folder."""
    when = datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    folder = project.path / "backups" / when
    folder.mkdir(parents=True)
    shutil.copy2(project.config_path, folder / "config.yaml")
    root = project.path / "labeled-data"
    wanted = ("*/CollectedData*", "*.labels.json", "*.journal.jsonl")
    for path in (path for pattern in wanted for path in root.glob(pattern)):
        copy = folder / path.relative_to(project.path)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    return folder


def _changed_sidecar(path, renamed, gone) -> str:
    """Rename and remove keypoints in what label-frames notes beside the label files."""
    try:
        sidecar = json.loads(path.read_text(encoding="utf-8"))
        for images in sidecar["points"].values():
            for image, points in images.items():
                images[image] = [
                    [who, renamed.get(name, name), point]
                    for who, name, point in points
                    if name not in gone
                ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} cannot be read ({error}). Remove it: who labelled what, and how, is then told "
            "by the journal alone."
        ) from None
    return json.dumps(sidecar, ensure_ascii=False)
