"""The rig and what it records: boards, lenses, cameras, videos.

Conventions
-----------
Pixel (0, 0) is the centre of the top-left pixel; x right, y down, z forward. ``rvec`` and
``tvec`` take the world into the camera, as in OpenCV: ``x_camera = R(rvec) x_world + tvec``;
matrices are named so that equal names meet, ``camera_from_world``. Distortion coefficients
are in OpenCV's order. Lengths are in the board's unit, which every file names. Angles are in
radians. *Reprojection error* is a distance in pixels, *residual* is signed.

The map, floor by floor; a module imports from its own floor or below.

1. nouns: `arrays`, `errors`, `lenses`, `cameras`, `boards`, `recordings`, `results`
2. verbs: `multiview`, `detection`, `recognition`, `intrinsics`, `extrinsics`, `bundle`, `joint`,
   `holdout`, `solve`, `synthetic`, `bounds`; `compiling` and `kernels` are their inner loops;
   `verdict`, with `evidence`, `plausibility` and `corner_checks`, judges; `explaining`, by
   `timing`, `lateness` and `mending`, finds cameras out of time or place; without a
   board `scene` and `selfcalibration` place cameras, by `resection`, `keypointviews`,
   `keypointdoubts`, `pointbundle` and `losses`; `world` and `floors` choose origin, axes and scale
3. edges: `files`, `video`, `searching`, `formats`, `anipose`, `figures`, `report`
4. doors: `steps`
"""

from calibration.lazy import handed_on

#: The module of every name that this package hands on.
HOMES = {
    "Board": "calibration.boards",
    "BoardDetections": "calibration.boards",
    "Camera": "calibration.cameras",
    "CameraRig": "calibration.cameras",
    "CharucoBoard": "calibration.boards",
    "Checkerboard": "calibration.boards",
    "Intrinsics": "calibration.cameras",
    "Outcome": "calibration.results",
    "Recording": "calibration.recordings",
    "RigCalibration": "calibration.results",
    "Verdict": "calibration.results",
    "CalibrationError": "calibration.errors",
    "DataError": "calibration.errors",
    "DataWarning": "calibration.errors",
    "calibrate": "calibration.solve",
    "calibrate_from_keypoints": "calibration.selfcalibration",
    "place_cameras_by_points": "calibration.scene",
    "resolve_camera": "calibration.selfcalibration",
    "in_world": "calibration.world",
    "detect_boards": "calibration.searching",
    "find_camera_videos": "calibration.searching",
    "load_board": "calibration.formats.boards",
    "load_calibration": "calibration.formats.toml",
    "load_rig": "calibration.formats.toml",
    "reprojection_errors": "calibration.multiview",
    "save_board": "calibration.formats.boards",
    "save_rig": "calibration.formats.toml",
    "triangulate_dlt": "calibration.multiview",
}

__getattr__, __dir__ = handed_on(__name__, HOMES)
