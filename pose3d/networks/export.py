"""Networks for other programs: images in, points out, in one graph of a fixed size.

A folder holds the graph and export.json, which says what goes in and comes out:

=============  ====================================================  ======================
format         files                                                 needs
=============  ====================================================  ======================
saved-model    saved_model.pb, variables                             nothing
onnx           model.onnx                                            tf2onnx and onnx
openvino       model.xml, model.bin                                  openvino
=============  ====================================================  ======================

The input ``images`` (1, height, width, channels) of uint8 is an image at the network's scale.
The outputs are ``xy`` (1, n_keypoints, 2) in pixels of the image as it was, and ``likelihood``
(1, n_keypoints).
"""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from calibration.errors import DataError
from calibration.files import write_text
from pose3d.networks.engine import freeze, tf
from pose3d.networks.folding import fold
from pose3d.networks.images import network_size
from pose3d.networks.inference import _peaks
from pose3d.networks.runners import EXPORT_FILES, EXPORT_FORMAT, EXPORT_VERSION
from pose3d.networks.spec import NetworkSpec
from pose3d.networks.storage import PoseNetwork

#: Version of ONNX's operators that every runtime of the last years knows.
_OPSET = 17


def export_network(
    network: PoseNetwork,
    folder: Path,
    image_size: tuple[int, int],
    *,
    file_format: str = "saved-model",
    origin: Mapping[str, Any] | None = None,
) -> Path:
    """Write a network for another program, whole or not at all.

    Parameters
    ----------
    network : PoseNetwork
        What is exported.
    folder : Path
        The folder to make; what was exported there before is replaced.
    image_size : (int, int)
        Width and height of the images before they are shrunk.
    file_format : {"saved-model", "onnx", "openvino"}
        See this module.
    origin : mapping, optional
        What is noted, see `calibration.files.provenance`.

    Returns
    -------
    Path
        The folder's export.json.

    Raises
    ------
    DataError
        If a package that writes the format is not installed.
    """
    writers = {"saved-model": _write_saved_model, "onnx": _write_onnx, "openvino": _write_openvino}
    if file_format not in writers:
        raise ValueError(
            f"The format is {file_format!r}; expected one of {', '.join(EXPORT_FILES)}."
        )
    if folder.exists() and any(folder.iterdir()) and not (folder / "export.json").is_file():
        raise ValueError(
            f"{folder} holds something else than an exported network and is not replaced. "
            "Choose another folder."
        )
    size = network_size(image_size, network.spec.scale)
    graph = _graph(network, image_size, size)
    description = {
        "format": EXPORT_FORMAT,
        "format_version": EXPORT_VERSION,
        "file_format": file_format,
        "file": EXPORT_FILES[file_format],
        "keypoints": list(network.spec.keypoints),
        "cameras": list(network.cameras),
        "untrained": list(network.untrained),
        "image_size": [int(side) for side in image_size],
        "input": {
            "name": "images",
            "shape": [1, size[1], size[0], network.spec.channels],
            "type": "uint8",
            "pixels": network.spec.pixels,
            "made": f"the image of {image_size[0]} x {image_size[1]} pixels shrunk to {size[0]} x "
            f"{size[1]} by averaging areas (OpenCV's INTER_AREA), 0 to 255",
        },
        "outputs": {
            "xy": "pixels of the image before it was shrunk; (0, 0) is the middle of the first",
            "likelihood": "0 to 1",
        },
        "spec": network.spec.to_dict(),
        "digest": network.digest,
        "origin": dict(origin or {}),
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
        made = Path(temporary) / "made"
        made.mkdir()
        writers[file_format](graph, made)
        text = json.dumps(description, indent=2, ensure_ascii=False) + "\n"
        write_text(made / "export.json", text)
        if folder.exists():
            shutil.move(folder, Path(temporary) / "before")
        os.replace(made, folder)
    return folder / "export.json"


def _graph(network, image_size, size):
    """Return the function from images to points, weights being constants."""
    spec, trust, model = network.spec, network.confidence, fold(network.model)
    pad = [(-side) % spec.multiple for side in size]
    ratio = tf.constant(np.divide(image_size, size), tf.float32)
    unknown = np.array([name in network.untrained for name in spec.keypoints])

    def points(images):
        images = tf.pad(tf.cast(images, tf.float32), ((0, 0), (0, pad[1]), (0, pad[0]), (0, 0)))
        heat, locref, cells = _peaks(*model(images, training=False)[:2])
        xy, likelihood = _decoded(heat, locref, cells, spec)
        # what `Confidence.likelihood` does
        inner = tf.clip_by_value(likelihood, 1e-4, 1 - 1e-4)
        logit = trust.intercept + trust.slope * tf.math.log(inner / (1 - inner))
        likelihood = tf.where(likelihood > 0, tf.sigmoid(logit), 0.0)
        xy = (xy + 0.5) * ratio - 0.5
        if unknown.any():
            xy = tf.where(unknown[:, np.newaxis], np.float32(np.nan), xy)
            likelihood = tf.where(unknown, np.float32(0), likelihood)
        return xy, likelihood

    shape = tf.TensorSpec((1, size[1], size[0], spec.channels), tf.uint8, name="images")
    constant = freeze(tf.function(points).get_concrete_function(shape))

    def named(images):
        xy, likelihood = constant(images)
        return {"xy": xy, "likelihood": likelihood}

    return tf.function(named, input_signature=[shape])


def _decoded(heat, locref, cells, spec: NetworkSpec):
    """Place points inside their cells: `pose3d.scoremaps.decode_peaks` by DARK, in TensorFlow."""
    log = tf.math.log(tf.maximum(heat, 1e-7))
    gx = (log[..., 1, 2] - log[..., 1, 0]) / 2
    gy = (log[..., 2, 1] - log[..., 0, 1]) / 2
    xx = log[..., 1, 2] + log[..., 1, 0] - 2 * log[..., 1, 1]
    yy = log[..., 2, 1] + log[..., 0, 1] - 2 * log[..., 1, 1]
    xy = (log[..., 2, 2] - log[..., 2, 0] - log[..., 0, 2] + log[..., 0, 0]) / 4
    determinant = xx * yy - xy**2
    beside = tf.minimum(
        tf.minimum(heat[..., 1, 2], heat[..., 1, 0]), tf.minimum(heat[..., 2, 1], heat[..., 0, 1])
    )
    curved = (xx < -1e-3) & (determinant > 1e-6) & (beside > 0)
    safe = tf.where(curved, determinant, 1.0)
    step = tf.stack([xy * gy - yy * gx, xy * gx - xx * gy], axis=-1) / safe[..., tf.newaxis]
    within = tf.clip_by_value(locref[..., 1, 1, :], -1, 1)
    shift = tf.where(curved[..., tf.newaxis], tf.clip_by_value(step, -1, 1), within)
    far = tf.minimum(tf.reduce_sum(shift**2, axis=-1), 0.5)
    likelihood = heat[..., 1, 1] / tf.exp(-0.5 / spec.sigma**2 * far)
    place = (tf.cast(cells, tf.float32) + shift) * spec.stride + (spec.stride - 1) / 2
    return place, tf.clip_by_value(likelihood, 0, 1)


def _write_saved_model(graph, folder):
    """Write TensorFlow's own format."""
    tf.saved_model.save(tf.Module(), str(folder), signatures=graph.get_concrete_function())


def _write_onnx(graph, folder):
    """Write ONNX."""
    try:
        import onnx
        import tf2onnx
    except ImportError:
        raise DataError(
            "ONNX files are written by tf2onnx, which is not installed. Install it with: "
            "pip install pose3d[onnx]"
        ) from None
    path = folder / EXPORT_FILES["onnx"]
    tf2onnx.convert.from_function(
        graph, input_signature=graph.input_signature, opset=_OPSET, output_path=str(path)
    )
    try:
        # tf2onnx writes what it cannot convert as it is
        onnx.checker.check_model(str(path), full_check=True)
    except onnx.checker.ValidationError as error:
        raise DataError(
            f"This network cannot be written as ONNX: {str(error).strip().splitlines()[0]} "
            "Export it as saved-model or openvino."
        ) from None


def _write_openvino(graph, folder):
    """Write Intel's format, in full precision."""
    try:
        import openvino
    except ImportError:
        raise DataError(
            "OpenVINO is not installed. Install it with: pip install pose3d[fast]"
        ) from None
    with tempfile.TemporaryDirectory() as saved:
        _write_saved_model(graph, saved)
        model = openvino.convert_model(saved)
    openvino.save_model(model, folder / EXPORT_FILES["openvino"], compress_to_fp16=False)
