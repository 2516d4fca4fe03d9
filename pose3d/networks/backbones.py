"""The bodies of the networks: from an image to features at the wanted stride."""

from pose3d.networks.engine import keras
from pose3d.networks.normalization import MOMENTUM, FusedNormalization, fused
from pose3d.networks.spec import NetworkSpec

layers = keras.layers

#: Channels of the U-Net: at its stem (stride 2) and five levels (strides 4 to 64).
_STEM = 24
_LEVELS = (32, 48, 64, 96, 128)

#: Last layer at each stride. MobileNets go to stride 32; ResNets stay at 16, dilated after that.
_MOBILENET_V2 = {
    4: "block_3_expand_relu",
    8: "block_6_expand_relu",
    16: "block_13_expand_relu",
    32: "block_16_project_BN",
}
_MOBILENET = {
    4: "conv_pw_3_relu",
    8: "conv_pw_5_relu",
    16: "conv_pw_11_relu",
    32: "conv_pw_13_relu",
}

_EFFICIENTNET = {
    4: "block3a_expand_activation",
    8: "block4a_expand_activation",
    16: "block6a_expand_activation",
    32: "top_activation",
}

#: Residual blocks per stage.
_RESNETS = {"50": (3, 4, 6, 3), "101": (3, 4, 23, 3), "152": (3, 8, 36, 3)}

#: Mean colour, blue first, that ResNet weights from Caffe expect to be taken off.
_CAFFE_MEAN = (103.939, 116.779, 123.68)

#: Mean and spread of colours, red first and from 0 to 1, that EfficientNet weights expect.
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_SPREAD = (0.229, 0.224, 0.225)


def _convolve(x, filters, name, *, size=3, stride=1):
    """Convolve, normalise, rectify."""
    x = layers.Conv2D(
        filters, size, strides=stride, padding="same", use_bias=False, name=f"{name}_conv"
    )(x)
    x = FusedNormalization(momentum=MOMENTUM, name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def unet(image, spec: NetworkSpec):
    """Build a small U-Net that trains from scratch in minutes on a processor.

    Parameters
    ----------
    image : KerasTensor of shape (batch, height, width, channels)
        From 0 to 255.
    spec : NetworkSpec
        Gives the stride.
    """
    x = layers.Rescaling(1 / 64, offset=-2.0, name="rescale")(image)
    x = _convolve(x, _STEM, "stem", size=5, stride=2)
    skips = []
    for level, filters in enumerate(_LEVELS, 1):
        x = _convolve(x, filters, f"down{level}a", stride=2)
        x = _convolve(x, filters, f"down{level}b")
        skips.append(x)
    x = _convolve(x, _LEVELS[-1], "bottom")
    last = {4: 1, 8: 2}[spec.stride]
    for level in range(len(_LEVELS) - 1, last - 1, -1):
        filters = _LEVELS[level - 1]
        x = _convolve(x, filters, f"up{level}in", size=1)
        x = layers.UpSampling2D(2, interpolation="bilinear", name=f"up{level}")(x)
        x = layers.Concatenate(name=f"up{level}skip")([x, skips[level - 1]])
        x = _convolve(x, filters, f"up{level}a")
        x = _convolve(x, filters, f"up{level}b")
    return x


def mobilenet(image, spec: NetworkSpec):
    """Build MobileNet or MobileNetV2 of keras.applications with a deconvolution head."""
    x = _three_channels(image)
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="rescale")(x)
    second = spec.backbone.startswith("mobilenet_v2_")
    make = keras.applications.MobileNetV2 if second else keras.applications.MobileNet
    body = make(
        input_shape=(None, None, 3), alpha=float(spec.backbone.rpartition("_")[2]),
        include_top=False, weights=None,
    )  # fmt: skip
    body = fused(body, x)
    ends = _MOBILENET_V2 if second else _MOBILENET
    return _head({stride: body.get_layer(name).output for stride, name in ends.items()}, spec)


def efficientnet(image, spec: NetworkSpec):
    """Build an EfficientNet of keras.applications with a deconvolution head."""
    x = _three_channels(image)
    # keras.applications divide by 255 inside and leave the rest to weights that ours do without
    scale = [1 / spread for spread in _IMAGENET_SPREAD]
    offset = [
        -255 * mean / spread for mean, spread in zip(_IMAGENET_MEAN, _IMAGENET_SPREAD, strict=True)
    ]
    x = layers.Rescaling(scale, offset=offset, name="rescale")(x)
    make = getattr(keras.applications, f"EfficientNetB{spec.backbone[-1]}")
    body = fused(make(input_shape=(None, None, 3), include_top=False, weights=None), x)
    return _head({s: body.get_layer(name).output for s, name in _EFFICIENTNET.items()}, spec)


def resnet(image, spec: NetworkSpec):
    """Build a ResNet whose last stage is dilated instead of strided, as DeepLabCut's.

    keras.applications has no such option; layer names and weights are those of its ResNets.
    """
    x = _three_channels(image)[..., ::-1]
    x = layers.Rescaling(1.0, offset=[-mean for mean in _CAFFE_MEAN], name="rescale")(x)
    x = layers.ZeroPadding2D(3, name="conv1_pad")(x)
    x = layers.Conv2D(64, 7, strides=2, name="conv1_conv")(x)
    x = _normalize(x, "conv1_bn")
    x = layers.ReLU(name="conv1_relu")(x)
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)
    ends = {4: x}
    stages = _RESNETS[spec.backbone.rpartition("_")[2]]
    for stage, n_blocks in enumerate(stages, 2):
        stride, dilation = {2: (1, 1), 3: (2, 1), 4: (2, 1), 5: (1, 2)}[stage]
        for block in range(1, n_blocks + 1):
            x = _residual_block(
                x, 64 * 2 ** (stage - 2), f"conv{stage}_block{block}",
                stride=stride if block == 1 else 1, dilation=dilation, project=block == 1,
            )  # fmt: skip
        ends[{2: 4, 3: 8, 4: 16, 5: 16}[stage]] = x
    return _head(ends, spec)


def _residual_block(x, filters, name, *, stride, dilation, project):
    """Build the bottleneck block of ResNet version 1."""
    shortcut = x
    if project:
        shortcut = layers.Conv2D(4 * filters, 1, strides=stride, name=f"{name}_0_conv")(x)
        shortcut = _normalize(shortcut, f"{name}_0_bn")
    x = layers.Conv2D(filters, 1, strides=stride, name=f"{name}_1_conv")(x)
    x = layers.ReLU(name=f"{name}_1_relu")(_normalize(x, f"{name}_1_bn"))
    x = layers.Conv2D(
        filters, 3, padding="same", dilation_rate=dilation, name=f"{name}_2_conv"
    )(x)  # fmt: skip
    x = layers.ReLU(name=f"{name}_2_relu")(_normalize(x, f"{name}_2_bn"))
    x = layers.Conv2D(4 * filters, 1, name=f"{name}_3_conv")(x)
    x = _normalize(x, f"{name}_3_bn")
    return layers.ReLU(name=f"{name}_out")(layers.Add(name=f"{name}_add")([shortcut, x]))


def _normalize(x, name):
    """Normalise as the ResNets of keras.applications do."""
    return FusedNormalization(epsilon=1.001e-5, momentum=MOMENTUM, name=name)(x)


def _three_channels(image):
    """Repeat a grey image, as pretrained backbones see in colour."""
    if image.shape[-1] == 3:
        return image
    return layers.Concatenate(name="grey_to_rgb")([image, image, image])


def _head(ends, spec):
    """Climb from the coarsest features to the wanted stride by deconvolutions and skips."""
    strides = sorted(ends, reverse=True)
    x = _convolve(ends[strides[0]], 96, "head_in", size=1)
    for stride in strides[1:]:
        if stride < spec.stride:
            break
        x = layers.Conv2DTranspose(
            64, 4, strides=2, padding="same", use_bias=False, name=f"head{stride}_deconv"
        )(x)
        x = FusedNormalization(momentum=MOMENTUM, name=f"head{stride}_deconv_norm")(x)
        x = layers.ReLU(name=f"head{stride}_deconv_relu")(x)
        skip = _convolve(ends[stride], 64, f"head{stride}_skip", size=1)
        x = layers.Concatenate(name=f"head{stride}_both")([x, skip])
        x = _convolve(x, 64, f"head{stride}_out")
    return x


def middle(image, features, spec: NetworkSpec):
    """Climb from a layer in the middle of a ResNet to the wanted stride, for training alone.

    Parameters
    ----------
    image, features : KerasTensor
        Input of the network and end of its body.
    spec : NetworkSpec
        Names the layer.
    """
    names = {layer.name for layer in keras.Model(image, features).layers}
    ends = sorted(name for name in names if name.endswith("_out") and name.startswith("conv"))
    if spec.supervised not in ends:
        raise ValueError(
            f"{spec.backbone} has no layer {spec.supervised!r} to supervise; expected one of "
            f"{', '.join(ends)}."
        )
    stride = {"2": 4, "3": 8, "4": 16, "5": 16}[spec.supervised[4]]
    if stride < spec.stride:
        raise ValueError(
            f"{spec.supervised} has stride {stride} and the network {spec.stride}; choose a layer "
            "of a later stage."
        )
    x = keras.Model(image, features).get_layer(spec.supervised).output
    while stride > spec.stride:
        stride //= 2
        x = layers.Conv2DTranspose(
            64, 4, strides=2, padding="same", use_bias=False, name=f"head{stride}_middle_deconv"
        )(x)
        x = FusedNormalization(momentum=MOMENTUM, name=f"head{stride}_middle_norm")(x)
        x = layers.ReLU(name=f"head{stride}_middle_relu")(x)
    return x
