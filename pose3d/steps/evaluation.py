"""Steps: measure a network on labelled images, compare several."""

import csv
import functools
import io
import json
import os
import warnings

import numpy as np
from tqdm import tqdm

from calibration.errors import DataError, DataWarning
from calibration.files import provenance, write_text
from calibration.results import Outcome

#: Columns of the table that is printed; evaluation.csv has all.
_PRINTED = (
    "part", "keypoint", "mean_error_px", "low_px", "high_px", "median_error_px",
    "confident_mean_error_px", "kept", "n_points",
)  # fmt: skip

#: Shares of the animal's size within which a point is counted as right (PCK).
_SHARES = (0.05, 0.1)


def evaluate_network(
    project: str | os.PathLike,
    *,
    name: str = "network",
    min_likelihood: float | None = None,
    worst: int = 24,
) -> Outcome:
    """Measure a network's error on its training and test images, in pixels of the images.

    Parameters
    ----------
    project : path
        The project's folder.
    name : str
        Name of the network.
    min_likelihood : float
        Likelihood from which a keypoint counts as found, for the figures with a cutoff; the
        project's pcutoff unless told.
    worst : int
        So many of the worst test images are shown in evaluation.html.
    """
    from pose3d import metrics
    from pose3d.networks.datasets import labels_of, load_split
    from pose3d.networks.storage import load_networks
    from pose3d.project import Project
    from pose3d.steps.evaluation_pages import Found, save_evaluation

    if worst < 0:
        raise ValueError(f"worst is {worst}; expected 0 or more.")
    project = Project.load(project)
    folder = project.network_folder(name)
    cutoff = project.cutoff(min_likelihood)
    networks = load_networks(folder)
    split = load_split(folder / "split.json")
    labels = labels_of(project, split)
    train, test = split.indices(labels)
    xy, likelihood = _predict(project, labels, networks, folder, np.concatenate([train, test]))
    errors = metrics.pixel_errors(xy, labels.xy[:, 0])
    size = metrics.animal_sizes(labels.xy[:, 0])
    # what is labelled in an image that was read, and not found: of a keypoint that was not learnt
    missed = np.isfinite(labels.xy[:, 0, :, 0]) & np.isnan(errors)
    missed &= np.isfinite(xy).any(axis=(1, 2))[:, np.newaxis]
    far = np.where(missed, np.inf, errors)
    parts = {"train": train, "test": test}
    rows = metrics.error_table(errors, likelihood, parts, labels.keypoints, cutoff)
    figures = {"min_likelihood": cutoff}
    for part, images in parts.items():
        every = next(row for row in rows if row["part"] == part and row["keypoint"] == "all")
        figures |= {f"{part}_{key}": every[key] for key in every if key not in ("part", "keypoint")}
        figures[f"{part}_mean_error_low_px"] = every["low_px"]
        figures[f"{part}_mean_error_high_px"] = every["high_px"]
        for share in _SHARES:
            reach = share * size[images, np.newaxis]
            figures[f"{part}_pck_{share:g}"] = metrics.correct_share(far[images], reach)
        figures[f"{part}_map"] = metrics.average_precision(
            metrics.object_similarity(far[images], size[images]), likelihood[images].mean(axis=1)
        )
    by_image = _by_image(labels, errors, xy, likelihood, parts)
    _write_csv(folder / "evaluation.csv", rows)
    _write_csv(folder / "evaluation-images.csv", by_image)
    record = {
        "figures": figures,
        "table": rows,
        "networks": {camera: network.digest for camera, network in networks.items()},
        "origin": provenance(
            "evaluate_network", {"name": name, "min_likelihood": cutoff},
            {"config": project.config_path, "split": folder / "split.json"},
        ),
    }  # fmt: skip
    write_text(folder / "evaluation.json", json.dumps(_without_nan(record), indent=1) + "\n")
    summary = _summary(figures, len(train), len(test))
    printed = tuple({column: row[column] for column in _PRINTED} for row in rows)
    save_evaluation(
        folder / "evaluation.html", f"Network {name}", summary, printed, project, labels,
        Found(xy, likelihood, errors), test if len(test) else train, share=_SHARES[-1], worst=worst,
    )  # fmt: skip
    return Outcome(
        folder / "evaluation.html",
        summary,
        table=printed,
        figures=figures,
    )


def compare_networks(project: str | os.PathLike, *, names: list[str] | None = None) -> Outcome:
    """Compare trained networks on the test images that they have in common.

    The report has the errors by camera and keypoint, and the images where the two best differ most.

    Parameters
    ----------
    project : path
        The project's folder.
    names : list of str
        The networks; all that are trained unless told.
    """
    from pose3d import metrics
    from pose3d.networks.datasets import load_split, single_animal_labels
    from pose3d.networks.storage import load_networks, network_files, unfinished
    from pose3d.project import Project
    from pose3d.steps.evaluation_pages import Found, save_comparison

    project = Project.load(project)
    every = sorted((project.path / "networks").glob("*"))
    trained = [path.name for path in every if network_files(path) and not unfinished(path)]
    names = trained if names is None else list(dict.fromkeys(names))
    if len(names) < 2:
        raise DataError(
            f"Two trained networks are needed to compare; there are {', '.join(trained) or 'none'}."
            " Train another under another name: train-network --name."
        )
    labels = single_animal_labels(project)
    folders = {name: project.network_folder(name) for name in names}
    networks = {name: load_networks(folder) for name, folder in folders.items()}
    splits = {name: load_split(folder / "split.json") for name, folder in folders.items()}
    # networks of earlier iterations know fewer images; what they were tested on is still there
    tested = functools.reduce(set.intersection, [set(split.test) for split in splits.values()])
    common = np.array([i for i, image in enumerate(labels.images) if image in tested], dtype=int)
    if not len(common):
        raise DataError(
            "The networks have no test image in common. Keep those of one for the other "
            "(create-training-dataset --like), or compare fewer networks."
        )
    found, errors, rows = {}, {}, []
    for name in names:
        xy, likelihood = _predict(project, labels, networks[name], folders[name], common)
        found[name] = Found(xy, likelihood, metrics.pixel_errors(xy, labels.xy[:, 0]))
    known = np.isfinite([each.errors for each in found.values()])
    # a network is no better for not having learnt a keypoint that is hard
    shared = known.all(axis=0)
    n_points, n_left_out = int(shared.sum()), int((known.any(axis=0) & ~shared).sum())
    if not n_points:
        raise DataError(
            f"The {len(common)} test images that the networks have in common show no labelled "
            "keypoint that all of them learnt. Compare fewer networks."
        )
    for name in names:
        each = found[name]
        found[name] = each._replace(errors=np.where(shared, each.errors, np.nan))
        errors[name], likelihood = found[name].errors[common], each.likelihood
        distinct = list(dict.fromkeys(networks[name].values()))
        low, high = metrics.bootstrap_interval(errors[name])
        sure = metrics.confident_errors(errors[name], likelihood[common], project.pcutoff)
        rows.append(
            {
                "network": name,
                "backbone": distinct[0].spec.backbone,
                "kind": "shared" if len(distinct) == 1 else "per view",
                "train_images": len(splits[name].train),
                "minutes": sum(each.notes.get("seconds") or 0 for each in distinct) / 60,
                "mean_error_px": float(np.nanmean(errors[name])),
                "low_px": low,
                "high_px": high,
                "median_error_px": float(np.nanmedian(errors[name])),
                "confident_mean_error_px": metrics.summarize_errors(sure)["mean_error_px"],
                "kept": float(np.isfinite(sure).sum() / n_points),
            }
        )
    best = min(rows, key=lambda row: row["mean_error_px"])
    for row in rows:
        # image by image, as what is hard for one network is hard for the other
        low, high = metrics.bootstrap_interval(errors[row["network"]] - errors[best["network"]])
        row["worse_by_low_px"], row["worse_by_high_px"] = low, high
    rows.sort(key=lambda row: row["mean_error_px"])
    alike = [row["network"] for row in rows[1:] if row["worse_by_low_px"] <= 0]
    path = project.path / "reports" / "_networks.html"
    path.parent.mkdir(exist_ok=True)
    _write_csv(path.with_suffix(".csv"), rows)
    told = f" {', '.join(alike)} cannot be told from it with these images." if alike else ""
    if n_left_out:
        told += f" {n_left_out} points of keypoints that not all of them learnt do not count."
    summary = (
        f"{best['network']} has the least error, {best['mean_error_px']:.2f} px, on the "
        f"{len(common)} test images that all have in common.{told}"
    )
    found = {row["network"]: found[row["network"]] for row in rows}
    save_comparison(path, summary, rows, project, labels, found, common)
    return Outcome(
        path,
        summary,
        table=tuple(rows),
        figures={"best": best["network"], "n_images": len(common), "n_points": n_points},
    )


def _predict(project, labels, networks, folder, wanted):
    """Find the keypoints in some labelled images; NaN and 0 in the others."""
    from calibration.video import read_image
    from pose3d.networks.inference import Predictor
    from pose3d.networks.storage import check_keypoints

    xy = np.full((len(labels), len(labels.keypoints), 2), np.nan)
    likelihood = np.zeros(xy.shape[:2])
    unreadable: list[str] = []
    for network in dict.fromkeys(networks.values()):
        check_keypoints(network, project.skeleton.keypoints, folder)
        predictor = Predictor(
            network.model, network.spec, untrained=network.untrained, confidence=network.confidence
        )
        mine = wanted[np.isin(np.array(labels.cameras)[wanted], network.cameras)]
        for start in tqdm(range(0, len(mine), 32), "evaluate", unit="batch", disable=None):
            images = {}
            for i in mine[start : start + 32]:
                try:
                    path = project.path / labels.images[i]
                    images[i] = read_image(path, pixels=network.spec.pixels)
                except (DataError, OSError) as error:
                    unreadable.append(str(error))
            there = list(images)
            xy[there], likelihood[there], _ = predictor.predict(list(images.values()))
    if unreadable:
        warnings.warn(
            f"{len(unreadable)} labelled images cannot be read and do not count: {unreadable[0]}",
            DataWarning,
            stacklevel=3,
        )
    return xy, likelihood


def _summary(figures, n_train, n_test):
    """Say in a sentence how good a network is."""
    part, count = ("test", n_test) if n_test else ("train", n_train)
    text = (
        f"Mean error {figures[f'{part}_mean_error_px']:.2f} px on {count} "
        f"{'test' if n_test else 'training'} images ({figures[f'{part}_mean_error_low_px']:.2f} to "
        f"{figures[f'{part}_mean_error_high_px']:.2f} with other images)"
    )
    if n_test:
        text += f", {figures['train_mean_error_px']:.2f} px on {n_train} training images."
    else:
        text += "; none is kept for testing."
    if figures["train_kept"] < 0.5:
        text += (
            f" It is sure of {figures['train_kept']:.0%} of the keypoints in its own training "
            "images: it has not learnt them yet. Train longer, with more --steps or --minutes."
        )
    return text


def _by_image(labels, errors, xy, likelihood, parts):
    """Return a row for each labelled point, the worst first."""
    part_of = {int(i): part for part, images in parts.items() for i in images}
    rows = [
        {
            "image": labels.images[i],
            "part": part_of[int(i)],
            "keypoint": labels.keypoints[k],
            "error_px": round(float(errors[i, k]), 3),
            "x": round(float(xy[i, k, 0]), 3),
            "y": round(float(xy[i, k, 1]), 3),
            "likelihood": round(float(likelihood[i, k]), 4),
        }
        for i, k in np.argwhere(np.isfinite(errors))
    ]
    return sorted(rows, key=lambda row: -row["error_px"])


def _write_csv(path, rows):
    """Write rows with the same keys."""
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys() if rows else ["image"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def _without_nan(value):
    """Replace NaN, which JSON does not know, by null."""
    if isinstance(value, dict):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
