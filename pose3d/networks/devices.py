"""What the machine has, and which arithmetic is quick on it."""

import functools
import time


def graphics_cards() -> list[str]:
    """Return the names of the graphics cards that TensorFlow sees; without one the CPU works."""
    from pose3d.networks.engine import tf

    return [card.name for card in tf.config.list_physical_devices("GPU")]


@functools.cache
def quicker_precision(backbone: str) -> str:
    """Say which arithmetic trains a backbone more quickly here, "float32" or "mixed_bfloat16".

    Depthwise convolutions are slower in bfloat16 on processors (1.2 times, MobileNetV2), so those
    backbones stay in float32 there. Others follow a product of matrices, which processors without
    instructions for bfloat16 do more slowly in it. Graphics cards have it from Ampere (8.0) on.

    Parameters
    ----------
    backbone : str
        Its name.
    """
    from pose3d.networks.engine import tf

    cards = tf.config.list_physical_devices("GPU")
    if cards:
        capability = tf.config.experimental.get_device_details(cards[0]).get("compute_capability")
        return "mixed_bfloat16" if (capability or (0, 0)) >= (8, 0) else "float32"
    if backbone.startswith(("mobilenet", "efficientnet")):
        return "float32"
    seconds = {}
    for name in ("float32", "bfloat16"):
        matrix = tf.cast(tf.ones((512, 512)), name)
        tf.linalg.matmul(matrix, matrix)
        times = []
        for _ in range(5):
            begun = time.perf_counter()
            tf.linalg.matmul(matrix, matrix).numpy()
            times.append(time.perf_counter() - begun)
        seconds[name] = min(times)
    return "mixed_bfloat16" if seconds["bfloat16"] < 0.7 * seconds["float32"] else "float32"


def make_deterministic() -> None:
    """Have every operation give the same bits each time, also on several cores or a card."""
    from pose3d.networks.engine import tf

    tf.config.experimental.enable_op_determinism()
