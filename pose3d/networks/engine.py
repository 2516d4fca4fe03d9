"""TensorFlow and Keras, imported in one place so that their noise is silenced before."""

import os
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

# TensorFlow writes six lines to the process's error stream before it reads its own log level.
# They are kept aside during the import, and shown if it fails.
_errors = os.dup(2)
with tempfile.TemporaryFile() as _aside:
    os.dup2(_aside.fileno(), 2)
    try:
        import keras
        import tensorflow as tf
        from tensorflow.python.framework.convert_to_constants import (
            convert_variables_to_constants_v2 as freeze,
        )
    except BaseException:
        _aside.seek(0)
        sys.stderr.write(_aside.read().decode("utf-8", "replace"))
        raise
    finally:
        os.dup2(_errors, 2)
        os.close(_errors)

__all__ = ["freeze", "keras", "tf"]
