"""Step: measure a network on labelled images."""

import csv
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
    "part", "keypoint", "mean_error_px", "rms_error_px", "median_error_px", "n_points",
    "confident_mean_error_px", "confident_rms_error_px", "kept",
)  # fmt: skip


def evaluate_network(
    project: str | os.PathLike,
    *,
    name: str = "network",
    min_likelihood: float | None = None,
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
    """
    from calibration.video import read_image
    from pose3d import metrics
    from pose3d.networks.datasets import load_split, single_animal_labels
    from pose3d.networks.inference import Predictor
    from pose3d.networks.storage import check_keypoints, load_networks
    from pose3d.project import Project

    project = Project.load(project)
    folder = project.network_folder(name)
    cutoff = project.pcutoff if min_likelihood is None else min_likelihood
    networks = load_networks(folder)
    labels = single_animal_labels(project)
    train, test = load_split(folder / "split.json").indices(labels)
    xy = np.full((len(labels), len(labels.keypoints), 2), np.nan)
    likelihood = np.zeros(xy.shape[:2])
    unreadable: list[str] = []
    for network in dict.fromkeys(networks.values()):
        check_keypoints(network, project.skeleton.keypoints, folder)
        predictor = Predictor(network.model, network.spec, untrained=network.untrained)
        mine = np.flatnonzero(np.isin(labels.cameras, network.cameras))
        for start in tqdm(range(0, len(mine), 32), "evaluate", unit="batch", disable=None):
            some = mine[start : start + 32]
            images = {}
            for i in some:
                try:
                    path = project.path / labels.images[i]
                    images[i] = read_image(path, pixels=network.spec.pixels)
                except (DataError, OSError) as error:
                    unreadable.append(str(error))
            there = list(images)
            xy[there], likelihood[there] = predictor.predict(list(images.values()))
    if unreadable:
        warnings.warn(
            f"{len(unreadable)} labelled images cannot be read and do not count: {unreadable[0]}",
            DataWarning,
            stacklevel=2,
        )
    errors = metrics.pixel_errors(xy, labels.xy[:, 0])
    parts = {"train": train, "test": test}
    rows = metrics.error_table(errors, likelihood, parts, labels.keypoints, cutoff)
    figures = {"min_likelihood": cutoff}
    for part, images in parts.items():
        every = next(row for row in rows if row["part"] == part and row["keypoint"] == "all")
        figures |= {f"{part}_{key}": every[key] for key in every if key not in ("part", "keypoint")}
        low, high = metrics.bootstrap_interval(errors[images])
        figures |= {f"{part}_mean_error_low_px": low, f"{part}_mean_error_high_px": high}
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
    return Outcome(
        folder / "evaluation.csv",
        f"Mean error {figures['test_mean_error_px']:.2f} px on {len(test)} test images "
        f"({figures['test_mean_error_low_px']:.2f} to {figures['test_mean_error_high_px']:.2f} "
        f"with other images), {figures['train_mean_error_px']:.2f} px on {len(train)} training "
        "images.",
        table=tuple({column: row[column] for column in _PRINTED} for row in rows),
        figures=figures,
    )


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
