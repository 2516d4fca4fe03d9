"""Trained networks in folders: network.json that says what it is, weights.h5 beside it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from calibration.arrays import name_tuple
from calibration.errors import DataError
from calibration.files import write_text
from pose3d.confidence import Confidence
from pose3d.formats.tensors import load_tensors, save_tensors
from pose3d.networks.architecture import build_model
from pose3d.networks.engine import keras
from pose3d.networks.spec import NetworkSpec, read_fields
from pose3d.networks.weights import check_tensors, model_tensors, set_model_tensors

_FORMAT = "pose3d network"
_VERSION = 1
_WEIGHTS = "weights.h5"


@dataclass(frozen=True, eq=False)
class PoseNetwork:
    """A trained network and what it is for.

    Attributes
    ----------
    spec : NetworkSpec
        How it is built and how images are prepared for it.
    model : keras.Model
        The network.
    cameras : tuple of str
        Whose images it was trained on.
    untrained : tuple of str
        Keypoints that it never saw labelled; what it says about them means nothing.
    digest : str
        Checksum of its weights.
    notes : mapping
        How it was trained: settings, origin, figures.
    """

    spec: NetworkSpec
    model: keras.Model
    cameras: tuple[str, ...]
    untrained: tuple[str, ...] = ()
    digest: str = ""
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def confidence(self) -> Confidence:
        """What its likelihood and the shape of its peaks are worth."""
        return Confidence.from_dict(self.notes.get("confidence"))

    @property
    def image_sizes(self) -> tuple[tuple[int, int], ...]:
        """Widths and heights of the images it was trained on; none where it was not noted."""
        sizes = self.notes.get("image_sizes")
        try:
            sizes = tuple((int(width), int(height)) for width, height in sizes or ())
            return tuple(size for size in sizes if min(size) > 0)
        except (TypeError, ValueError):
            return ()


def save_network(folder: Path, network: PoseNetwork) -> Path:
    """Save a network; network.json comes last and makes it whole.

    Returns
    -------
    Path
        The network.json.
    """
    digest = save_tensors(folder / _WEIGHTS, {"weights": model_tensors(network.model)})
    description = {
        "format": _FORMAT,
        "format_version": _VERSION,
        "spec": network.spec.to_dict(),
        "cameras": list(network.cameras),
        "untrained": list(network.untrained),
        "digest": digest,
        "notes": dict(network.notes),
    }
    path = folder / "network.json"
    write_text(path, json.dumps(description, indent=2, ensure_ascii=False) + "\n")
    return path


def load_networks(folder: Path) -> dict[str, PoseNetwork]:
    """Load the networks in a folder by camera: one for all cameras, or one for each.

    Returns
    -------
    dict of str to PoseNetwork
        A network that serves several cameras is the same object for each.

    Raises
    ------
    FileNotFoundError
        If no network is there.
    DataError
        If a file is damaged or is not what it should be, the message names file and field; or if
        not all cameras' networks are trained yet.
    """
    if waiting := unfinished(folder):
        raise DataError(
            f"The training in {folder} is not done: there is no network for {', '.join(waiting)} "
            "yet. Give the same train-network command again; it goes on where it stopped."
        )
    networks = {}
    for path in network_files(folder):
        network = _load_network(path)
        networks |= dict.fromkeys(network.cameras, network)
    if not networks:
        others = sorted(each.name for each in folder.parent.glob("*") if network_files(each))
        trained = f"; trained are {', '.join(others)}" if others else ""
        raise FileNotFoundError(
            f"There is no trained network in {folder}{trained}. Train one with train-network; the "
            "same command goes on with a training that was interrupted."
        )
    return networks


def network_files(folder: Path) -> list[Path]:
    """List the network.json files of a network: its own, or those of its cameras."""
    own = folder / "network.json"
    if own.is_file() or not folder.is_dir():
        return [own] if own.is_file() else []
    return sorted(folder.glob("*/network.json"))


def unfinished(folder: Path) -> list[str]:
    """List the cameras whose own network is not trained to the end, where others' are."""
    if (folder / "network.json").is_file() or not network_files(folder):
        return []
    begun = {path.parent.name for path in folder.glob("*/training.json")}
    return sorted(begun - {path.parent.name for path in network_files(folder)})


def read_description(path: Path) -> dict[str, Any]:
    """Read and check a network.json.

    Raises
    ------
    DataError
        If it is damaged, of a newer version, or a field is absent or wrong.
    """
    found = read_fields(path, _FORMAT, _VERSION, "restore it from a copy, or train again")
    found["spec"] = NetworkSpec.from_dict(found.get("spec"), str(path))
    try:
        found["cameras"] = name_tuple("cameras", found.get("cameras") or ())
        found["untrained"] = name_tuple("untrained", found.get("untrained") or (), empty=True)
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: {error}") from None
    return found


def _load_network(path):
    """Load the network that a network.json describes."""
    description = read_description(path)
    weights_path = path.parent / _WEIGHTS
    groups, _, digest = load_tensors(weights_path)
    if digest != description.get("digest"):
        raise DataError(
            f"{weights_path} is not the file that {path.name} speaks of: their checksums differ. "
            "Restore both from one copy, or train again."
        )
    model = build_model(description["spec"])
    tensors = groups.get("weights", {})
    shapes = {weight.path: tuple(weight.shape) for weight in model.weights}
    check_tensors(tensors, shapes, str(weights_path))
    set_model_tensors(model, tensors)
    notes = description.get("notes")
    return PoseNetwork(
        spec=description["spec"],
        model=model,
        cameras=description["cameras"],
        untrained=description["untrained"],
        digest=digest,
        notes=notes if isinstance(notes, dict) else {},
    )


def check_keypoints(network: PoseNetwork, keypoints: tuple[str, ...], folder: Path) -> None:
    """Check that a network finds the keypoints of a project, in their order.

    Raises
    ------
    DataError
        Naming what differs.
    """
    theirs = network.spec.keypoints
    if theirs == tuple(keypoints):
        return
    lacking = [name for name in keypoints if name not in theirs]
    foreign = [name for name in theirs if name not in keypoints]
    what = "in another order"
    if lacking or foreign:
        what = f"without {', '.join(lacking) or 'none'} and with {', '.join(foreign) or 'none'}"
    raise DataError(
        f"The network in {folder} finds other keypoints than the project has: {what}. Train a "
        "network for this project."
    )
