"""Weights of networks: numbers by name, checked, never code."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from calibration.errors import DataError
from pose3d.formats import hdf5
from pose3d.formats.tensors import read_tensors
from pose3d.networks.engine import keras

#: Where the weights of keras.applications lie; `keras.applications` has no call that only fetches.
_URL = "https://storage.googleapis.com/tensorflow/keras-applications"
_URL_EFFICIENTNET = "https://storage.googleapis.com/keras-applications"

#: Beginnings of the names of layers that no pretrained weights are sought for.
_HEADS = ("head", "heat", "locref")


def model_tensors(model: keras.Model) -> dict[str, np.ndarray]:
    """Return a model's weights by name, such as "stem_conv/kernel"."""
    return {weight.path: np.asarray(weight) for weight in model.weights}


def set_model_tensors(model: keras.Model, tensors: Mapping[str, np.ndarray]) -> None:
    """Give a model the weights that `model_tensors` returned."""
    for weight in model.weights:
        weight.assign(tensors[weight.path])


def check_tensors(
    tensors: Mapping[str, np.ndarray], expected: Mapping[str, tuple[int, ...]], where: str
) -> None:
    """Check that arrays are finite and have the names and shapes that a network needs.

    Raises
    ------
    DataError
        Naming the first tensor that is missing, unknown, of another shape or not finite.
    """
    for name, shape in expected.items():
        if name not in tensors:
            raise DataError(f"{where} has no tensor {name!r}; it is of another network.")
        if tensors[name].shape != tuple(shape):
            raise DataError(
                f"{where}: tensor {name!r} has shape {tensors[name].shape}; this network needs "
                f"{tuple(shape)}. The file is of another network."
            )
        if not np.isfinite(tensors[name]).all():
            raise DataError(
                f"{where}: tensor {name!r} has values that are not finite. Train again, with a "
                "lower learning rate if this happens again."
            )
    if unknown := sorted(set(tensors) - set(expected)):
        raise DataError(f"{where} has the tensor {unknown[0]!r}, which this network has not.")


def load_pretrained(model: keras.Model, path: str | os.PathLike) -> int:
    """Give a network the weights of the same layers in a file, and leave the others.

    Parameters
    ----------
    model : keras.Model
        The network; its heads keep their untrained weights.
    path : path
        Weights of keras.applications without top (legacy .h5), or a network's own weights.h5,
        whose keypoints may differ.

    Returns
    -------
    int
        Number of tensors taken.

    Raises
    ------
    DataError
        If a layer's weights have another shape, are not finite, or fewer than half of the
        network's body is in the file.
    """
    path = Path(path)
    found = _read_by_layer(path)
    body = [weight for weight in model.weights if not weight.path.startswith(_HEADS)]
    taken = 0
    for weight in body:
        if weight.path not in found:
            continue
        array = found[weight.path]
        if array.shape != tuple(weight.shape):
            raise DataError(
                f"{path}: tensor {weight.path!r} has shape {array.shape}; {model.name} needs "
                f"{tuple(weight.shape)}. Take the file of the same backbone and width."
            )
        if not np.isfinite(array).all():
            raise DataError(f"{path}: tensor {weight.path!r} has values that are not finite.")
        weight.assign(array.astype(np.float32))
        taken += 1
    if 2 * taken < len(body):
        raise DataError(
            f"{path} has {taken} of the {len(body)} tensors of {model.name}'s body: it is of "
            f"another network. It holds {', '.join(sorted(found)[:4]) or 'nothing'} ..."
        )
    return taken


def _read_by_layer(path):
    """Read every array of a weights file by "layer/weight", from whatever depth."""
    with hdf5.open_hdf5(path, "pretrained weights") as file:
        tensors = read_tensors(file)
    found = {}
    for name, array in tensors.items():
        layer, _, weight = name.removesuffix(":0").rpartition("/")
        weight = weight.replace("depthwise_kernel", "kernel")
        found[f"{layer.rpartition('/')[2]}/{weight}"] = array
    return found


def imagenet_url(backbone: str) -> str:
    """Return where Keras keeps a backbone's ImageNet weights without top.

    Raises
    ------
    ValueError
        If there are none for this backbone.
    """
    family, _, size = backbone.rpartition("_")
    if family == "mobilenet_v2":
        name = f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{size}_224_no_top.h5"
        return f"{_URL}/mobilenet_v2/{name}"
    if family == "mobilenet":
        alpha = {"0.25": "2_5", "0.5": "5_0", "0.75": "7_5", "1.0": "1_0"}[size]
        return f"{_URL}/mobilenet/mobilenet_{alpha}_224_tf_no_top.h5"
    if family == "efficientnet":
        return f"{_URL_EFFICIENTNET}/efficientnet{size}_notop.h5"
    if family == "resnet":
        return f"{_URL}/resnet/resnet{size}_weights_tf_dim_ordering_tf_kernels_notop.h5"
    raise ValueError(
        f"There are no ImageNet weights for {backbone!r}, which trains from scratch: leave "
        "weights out, or choose a mobilenet, resnet or efficientnet backbone."
    )


def fetch_imagenet_weights(backbone: str) -> Path:
    """Download ImageNet weights as Keras does, or find them where it has kept them.

    Raises
    ------
    DataError
        If they cannot be had, as without a network connection.
    """
    url = imagenet_url(backbone)
    try:
        return Path(keras.utils.get_file(origin=url, cache_subdir="models"))
    except Exception as error:  # Keras raises a bare Exception where the download fails
        raise DataError(
            f"The ImageNet weights of {backbone} could not be downloaded ({error}). Connect to "
            f"the internet once; or fetch {url} on another computer and give that file as "
            "weights; or leave weights out to train from scratch."
        ) from None
