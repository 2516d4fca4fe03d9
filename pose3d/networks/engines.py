"""Ways to run a network: which is quickest depends on the machine, so it is tried.

=========  =====================================================================
plain      the network as it is; later training counts
float32    normalisation folded in, weights constant
bfloat16   the same in half the bits: 0.3 of the time where a processor multiplies
           them in tiles, slower where it cannot; peaks move by some 0.03 pixels
openvino   Intel's library (``pip install pose3d[fast]``), in the precision that it
           prefers on this machine or in float32, whichever is quicker
=========  =====================================================================

XLA is not among them: on a processor it takes 1.2 to 7 times as long.
"""

import importlib.util
import logging
import tempfile
import time
from collections.abc import Callable

import numpy as np

from calibration.errors import DataError
from pose3d.networks.engine import freeze, keras, tf
from pose3d.networks.folding import fold

ENGINES = ("plain", "float32", "bfloat16", "openvino")

#: From an image batch of uint8 to the arrays that the network's head gives.
Engine = Callable[[np.ndarray], tuple[np.ndarray, ...]]

_LOG = logging.getLogger(__name__)

#: Batches that are tried.
_BATCH_SIZES = (8, 16, 32, 64, 128)

#: Another engine than float32, or a larger batch, must take less than this share of the time.
_WORTHWHILE = 0.9


def compile_engine(
    model: keras.Model, head: Callable, shape: tuple[int, ...], engine: str
) -> Engine:
    """Make a function of batches of one shape; any other would be traced anew.

    Parameters
    ----------
    model : keras.Model
        See `build_model`.
    head : callable
        What is made of the network's outputs in the same graph.
    shape : tuple of int
        Of the batches: (batch_size, height, width, channels).
    engine : {"plain", "float32", "bfloat16", "openvino"}
        See this module.

    Raises
    ------
    DataError
        If the engine is not installed.
    """
    if engine not in ENGINES:
        raise ValueError(f"engine is {engine!r}; expected one of {', '.join(ENGINES)}.")
    if engine == "openvino":
        return _openvino(model, head, shape)
    network = model
    if engine != "plain":
        network = fold(model, "bfloat16" if engine == "bfloat16" else "float32")
    graph = _graph(network, head, shape)
    if engine != "plain":
        graph = freeze(graph)
    return lambda batch: tuple(part.numpy() for part in graph(tf.constant(batch)))


def available_engines() -> tuple[str, ...]:
    """Return the engines that could be quickest here."""
    if tf.config.list_physical_devices("GPU"):
        return ("float32",)
    optional = ("openvino",) if importlib.util.find_spec("openvino") else ()
    return ("float32", "bfloat16", *optional)


def quickest_engine(model: keras.Model, head: Callable, shape: tuple[int, ...]) -> str:
    """Try every engine that is here on a batch, and name the quickest.

    One that fails, as an installation that does not fit this processor, is left out; float32 must
    not.

    Parameters
    ----------
    model, head, shape
        See `compile_engine`.
    """
    names = available_engines()
    if len(names) == 1:
        return names[0]
    batch = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    times = {}
    for name in names:
        try:
            run = compile_engine(model, head, shape, name)
            run(batch)
            times[name] = min(_seconds(run, batch) for _ in range(4))
        except Exception as error:  # whatever another library raises
            if name == "float32":
                raise
            _LOG.info("The engine %s does not work here: %s", name, error)
    best = min(times, key=times.get)
    return best if times[best] < _WORTHWHILE * times["float32"] else "float32"


def quickest_batch_size(
    model: keras.Model, head: Callable, shape: tuple[int, ...], engine: str
) -> int:
    """Double the batch as long as an image takes less time in it.

    Parameters
    ----------
    model, head, shape, engine
        See `compile_engine`; the first number of the shape is the smallest batch.
    """
    rng = np.random.default_rng(0)
    best, least = shape[0], np.inf
    for size in (shape[0], *(n for n in _BATCH_SIZES if n > shape[0])):
        batch = rng.integers(0, 256, (size, *shape[1:]), dtype=np.uint8)
        try:
            run = compile_engine(model, head, batch.shape, engine)
            run(batch)
            each = min(_seconds(run, batch) for _ in range(3)) / size
        except tf.errors.ResourceExhaustedError:
            break
        if each > _WORTHWHILE * least:
            break
        best, least = size, each
    return best


def _seconds(run, batch):
    """Time one call."""
    begun = time.perf_counter()
    run(batch)
    return time.perf_counter() - begun


def _graph(network, head, shape):
    """Trace a network and its head for batches of a shape."""
    return tf.function(
        lambda images: head(*network(tf.cast(images, tf.float32), training=False)[:2])
    ).get_concrete_function(tf.TensorSpec(shape, tf.uint8))


def _openvino(model, head, shape):
    """Hand the frozen graph to OpenVINO, which reads it as a SavedModel."""
    try:
        import openvino
    except ImportError:
        raise DataError(
            "OpenVINO is not installed. Install it with: pip install pose3d[fast]"
        ) from None
    graph = freeze(_graph(fold(model), head, shape))
    core, outputs = openvino.Core(), [f"output_{i}" for i in range(len(graph.outputs))]
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(tf.Module(), folder, signatures=graph)
        network = openvino.convert_model(folder)
        preferred = core.compile_model(network, "CPU")
        exact = core.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def runner(compiled):
        request = compiled.create_infer_request()
        wanted = [compiled.output(name) for name in outputs]

        def run(batch):
            found = request.infer([batch])
            return tuple(np.array(found[output]) for output in wanted)

        return run

    # it prefers bfloat16 where a processor knows its instructions, also where they are slower
    # (1.7 times, an Intel Xeon without tiles)
    runs = [runner(preferred), runner(exact)]
    batch = np.zeros(shape, np.uint8)
    for run in runs:
        run(batch)
    return min(runs, key=lambda run: min(_seconds(run, batch) for _ in range(3)))
