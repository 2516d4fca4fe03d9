"""Networks ready to run on one image: trained ones, and exported ones by their format."""

from collections.abc import Callable
from typing import Any

import numpy as np

from calibration.errors import DataError
from pose3d.networks.images import shrink
from pose3d.networks.spec import NetworkSpec, read_fields

#: What an export.json calls itself.
EXPORT_FORMAT, EXPORT_VERSION = "pose3d exported network", 1

#: The file of each format in an exported network's folder.
EXPORT_FILES = {
    "saved-model": "saved_model.pb", "onnx": "model.onnx", "openvino": "model.xml"
}  # fmt: skip

#: From an image at its original size, as the network's `pixels` says, to points and likelihoods.
Runner = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def exported_folder(folder, camera):
    """Find the folder of an exported network; None if a trained one or none is there."""
    if (folder / "network.json").is_file() or any(folder.glob("*/network.json")):
        return None  # exports of it may lie in its folder
    if (folder / "export.json").is_file():
        return folder
    found = {path.parent.name: path.parent for path in sorted(folder.glob("*/export.json"))}
    return _chosen(found, camera, folder) if found else None


def _chosen(found, camera, folder):
    """Choose among networks by camera."""
    if camera is None and len(found) == 1:
        return next(iter(found.values()))
    if camera not in found:
        raise ValueError(
            f"The camera is {camera!r}; the networks in {folder} are for {', '.join(found)}. "
            "Name one of them."
        )
    return found[camera]


def load_trained(folder, camera, precise):
    """Load a trained network; return its spec and runner."""
    from pose3d.networks.inference import Predictor
    from pose3d.networks.storage import load_networks

    networks = load_networks(folder)
    distinct = list(dict.fromkeys(networks.values()))
    network = distinct[0] if len(distinct) == 1 else _chosen(networks, camera, folder)
    predictor = Predictor(
        network.model, network.spec, batch_size=1, untrained=network.untrained,
        engine="float32" if precise else "auto", confidence=network.confidence,
    )  # fmt: skip

    def run(image):
        xy, likelihood = predictor.predict([image])[:2]
        return xy[0], likelihood[0]

    return network.spec, run, None


def load_exported(folder, precise):
    """Load an exported network; return its spec, runner and image size."""
    path = folder / "export.json"
    description = _read_description(path)
    spec = NetworkSpec.from_dict(description.get("spec"), str(path))
    image_size = tuple(description["image_size"])
    openers = {"saved-model": _open_saved_model, "onnx": _open_onnx, "openvino": _open_openvino}
    file_format = description["file_format"]
    infer = openers[file_format](folder / EXPORT_FILES[file_format], precise)

    def run(image):
        xy, likelihood = infer(shrink(image, spec.scale)[np.newaxis])
        return xy[0].astype(np.float64), likelihood[0].astype(np.float64)

    return spec, run, image_size


def _read_description(path) -> dict[str, Any]:
    """Read and check an export.json."""
    found = read_fields(path, EXPORT_FORMAT, EXPORT_VERSION, "export the network again")
    size = found.get("image_size")
    whole = isinstance(size, list) and len(size) == 2 and all(type(side) is int for side in size)
    if found.get("file_format") not in EXPORT_FILES or not whole or min(size) < 1:
        raise DataError(f"{path} names no format or size that there is. Export the network again.")
    if not (path.parent / EXPORT_FILES[found["file_format"]]).is_file():
        raise DataError(
            f"{path.parent} lacks {EXPORT_FILES[found['file_format']]}. Export the network again."
        )
    return found


def _open_saved_model(path, precise):
    """Open TensorFlow's own format."""
    from pose3d.networks.engine import tf

    graph = tf.saved_model.load(str(path.parent)).signatures["serving_default"]

    def infer(batch):
        found = graph(images=tf.constant(batch))
        return found["xy"].numpy(), found["likelihood"].numpy()

    return infer


def _open_onnx(path, precise):
    """Open an ONNX file in ONNX Runtime, with the best device that it has."""
    try:
        import onnxruntime
    except ImportError:
        raise DataError(
            "ONNX Runtime is not installed. Install it with: pip install pose3d[onnx]"
        ) from None
    session = onnxruntime.InferenceSession(
        str(path), providers=onnxruntime.get_available_providers()
    )
    return lambda batch: session.run(["xy", "likelihood"], {"images": batch})


def _open_openvino(path, precise):
    """Open Intel's format on the processor, for one frame at a time."""
    try:
        import openvino
    except ImportError:
        raise DataError(
            "OpenVINO is not installed. Install it with: pip install pose3d[fast]"
        ) from None
    settings = {"PERFORMANCE_HINT": "LATENCY"}
    if precise:
        settings["INFERENCE_PRECISION_HINT"] = "f32"
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    request = compiled.create_infer_request()

    def infer(batch):
        found = request.infer({"images": batch})
        return np.array(found["xy"]), np.array(found["likelihood"])

    return infer
