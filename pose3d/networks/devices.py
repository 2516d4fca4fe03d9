"""The graphics cards that TensorFlow can use."""


def graphics_cards() -> list[str]:
    """Return the names of the graphics cards that TensorFlow sees; without one the CPU works."""
    from pose3d.networks.engine import tf

    return [card.name for card in tf.config.list_physical_devices("GPU")]
