"""Files of the rig, one module per format."""

from calibration.lazy import handed_on

#: The module of every name that this package hands on.
HOMES = {
    "load_board": "calibration.formats.boards",
    "save_board": "calibration.formats.boards",
    "load_calibration": "calibration.formats.toml",
    "load_rig": "calibration.formats.toml",
    "save_rig": "calibration.formats.toml",
    "load_detections": "calibration.formats.detections",
    "save_detections": "calibration.formats.detections",
}

__getattr__, __dir__ = handed_on(__name__, HOMES)
