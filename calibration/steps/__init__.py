"""The verbs of the rig.

draw-board, detect-boards, calibrate-rig, orient-rig, place-cameras, show-rig,
import-calibration, export-calibration.
"""

from calibration.lazy import handed_on

#: The module of every verb.
HOMES = {
    "draw_board": "calibration.steps.boards",
    "detect_boards": "calibration.steps.boards",
    "calibrate_rig": "calibration.steps.rigs",
    "orient_rig": "calibration.steps.worlds",
    "place_cameras": "calibration.steps.scenes",
    "show_rig": "calibration.steps.rigs",
    "import_calibration": "calibration.steps.exchange",
    "export_calibration": "calibration.steps.exchange",
}

__getattr__, __dir__ = handed_on(__name__, HOMES)
