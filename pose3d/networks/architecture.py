"""Networks by name: an image goes in, scoremap logits and locrefs come out.

Each is one functional Keras model of input (batch, height, width, channels), 0 to 255, whose
height and width are multiples of `NetworkSpec.multiple`, with two outputs of height / stride
and width / stride: ``heat`` (n_keypoints logits) and ``locref`` (2 * n_keypoints: x and y of the
first keypoint, of the second ...; in cells). With intermediate supervision two more follow, of the
middle of the network.
"""

import numpy as np

from pose3d.networks import backbones
from pose3d.networks.engine import keras
from pose3d.networks.spec import NetworkSpec

layers = keras.layers

#: Logit of the heat before training: points are rare, and starting near them saves the first
#: few hundred steps.
_RARE = -4.0


def build_model(spec: NetworkSpec, *, precision: str = "float32") -> keras.Model:
    """Build the network with untrained weights, see `initialize`.

    Parameters
    ----------
    spec : NetworkSpec
        What to build.
    precision : {"float32", "mixed_bfloat16"}
        Arithmetic inside; the outputs are float32 in any case.
    """
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        image = keras.Input((None, None, spec.channels), name="image")
        family = spec.backbone.partition("_")[0]
        build = {
            "unet": backbones.unet,
            "mobilenet": backbones.mobilenet,
            "resnet": backbones.resnet,
            "efficientnet": backbones.efficientnet,
        }[family]
        features = build(image, spec)
        outputs = _maps(features, spec, "")
        if spec.supervised:
            outputs += _maps(backbones.middle(image, features, spec), spec, "_middle")
        return keras.Model(image, outputs, name=spec.backbone.replace(".", "_"))
    finally:
        keras.config.set_dtype_policy(policy)


def _maps(features, spec, suffix):
    """Draw scoremaps and locrefs from features."""
    n_keypoints = len(spec.keypoints)
    rare = keras.initializers.Constant(_RARE)
    heat = layers.Conv2D(
        n_keypoints, 1, bias_initializer=rare, dtype="float32", name=f"heat{suffix}"
    )(features)
    locref = layers.Conv2D(2 * n_keypoints, 1, dtype="float32", name=f"locref{suffix}")(features)
    return [heat, locref]


def initialize(model: keras.Model, seed: int) -> None:
    """Draw all kernels anew from He's normal distribution, by our own seeded generator.

    Keras draws from a state that belongs to the whole process; this one depends on nothing but
    the seed and the order of the layers.
    """
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        for weight in layer.weights:
            if not weight.path.endswith("kernel"):
                continue
            height, width, first, second = weight.shape
            inputs = second if isinstance(layer, layers.Conv2DTranspose) else first
            if isinstance(layer, layers.DepthwiseConv2D):
                inputs = 1
            if isinstance(layer, layers.Conv2DTranspose):
                inputs /= np.prod(layer.strides)
            spread = np.sqrt(2 / (height * width * inputs))
            weight.assign((rng.standard_normal(weight.shape) * spread).astype(np.float32))


def freeze_normalization(model: keras.Model) -> None:
    """Keep the pretrained backbone's normalisation as it is, as batches here are small."""
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization) and not layer.name.startswith("head"):
            layer.trainable = False
