"""The graphics cards that TensorFlow can use."""

import os


def graphics_cards() -> list[str]:
    """Return the names of the graphics cards that TensorFlow sees; none means the CPU works."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    return [card.name for card in tf.config.list_physical_devices("GPU")]
