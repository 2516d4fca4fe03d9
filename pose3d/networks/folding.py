"""A network for inference alone: its normalisation folded into its convolutions."""

import numpy as np

from pose3d.networks.engine import keras

layers = keras.layers
_CONVOLUTIONS = (layers.Conv2D, layers.DepthwiseConv2D, layers.Conv2DTranspose)


class _Passing(layers.Layer):
    """Stands where a normalisation was."""

    def call(self, inputs, training=None, mask=None):
        return inputs


def fold(model: keras.Model, precision: str = "float32") -> keras.Model:
    """Return the same function with fewer operations, which can no longer be trained.

    A normalisation after a convolution multiplies and adds per channel, so kernel and bias can do
    that. What is left are convolutions with bias and rectifier, which processors have one
    kernel for; in bfloat16 on a processor that multiplies it in tiles the U-Net takes 0.3 of its
    time in float32.

    Parameters
    ----------
    model : keras.Model
        See `build_model`; in float32.
    precision : {"float32", "bfloat16"}
        Arithmetic inside; the outputs are float32 in any case.
    """
    norms = {}
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            before = layer.input._keras_history.operation
            if isinstance(before, _CONVOLUTIONS):
                norms[before.name] = layer
    folded = {layer.name for layer in norms.values()}

    def copy(layer):
        config = layer.get_config()
        kept = isinstance(layer, layers.InputLayer) or layer.name.startswith(("heat", "locref"))
        if kept or not isinstance(layer, layers.Layer):
            return type(layer).from_config(config)
        config["dtype"] = precision
        if layer.name in folded:
            return _Passing(name=layer.name, dtype=precision)
        if layer.name in norms:
            config["use_bias"] = True
        return type(layer).from_config(config)

    result = keras.models.clone_model(model, clone_function=copy)
    for layer in model.layers:
        if layer.name in norms:
            result.get_layer(layer.name).set_weights(_folded(layer, norms[layer.name]))
        elif layer.weights and layer.name not in folded:
            result.get_layer(layer.name).set_weights(layer.get_weights())
    return result


def _folded(layer, norm):
    """Return the kernel and bias of a convolution with the normalisation after it."""
    gain, shift, mean, variance = (
        np.asarray(weight, np.float64)
        for weight in (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)
    )
    gain = gain / np.sqrt(variance + norm.epsilon)
    kernel = np.asarray(layer.kernel, np.float64)
    bias = np.asarray(layer.bias, np.float64) if layer.use_bias else 0.0
    if isinstance(layer, layers.DepthwiseConv2D):
        kernel = kernel * gain.reshape(kernel.shape[2:])
    elif isinstance(layer, layers.Conv2DTranspose):
        kernel = kernel * gain[:, np.newaxis]
    else:
        kernel = kernel * gain
    return [kernel.astype(np.float32), (shift + (bias - mean) * gain).astype(np.float32)]
