"""The animal: its skeleton, where each camera sees it, where it is in space.

The map, floor by floor; a module imports from its own floor or below.

1. nouns: `skeleton`, `keypoints`, `labels`
2. verbs: `scoremaps`, `triangulation`, `metrics`, `synthetic`, `networks` (TensorFlow)
3. edges: `project`, `formats`, `figures`, `overlays`, `labeled_video`, `viewer`
4. doors: `steps` (the verbs people call), `labeling` (the page to label in), `cli`

Axes run camera, frame, individual, keypoint, coordinate. NaN is the only missing value;
likelihood lies beside the coordinates. Pixel (0, 0) is the centre of the top-left pixel.
The conventions of cameras are at the head of `calibration`.
"""

from calibration.lazy import handed_on

#: The module of every name that this package hands on.
HOMES = {
    "Skeleton": "pose3d.skeleton",
    "Keypoints2D": "pose3d.keypoints",
    "Keypoints3D": "pose3d.keypoints",
    "Candidates2D": "pose3d.keypoints",
    "Missing": "pose3d.keypoints",
    "LabeledFrames": "pose3d.labels",
    "Project": "pose3d.project",
    "triangulate": "pose3d.engines",
    "judge_points": "pose3d.triangulation",
    "refine_trajectory": "pose3d.trajectory",
    "check_recording": "pose3d.consistency",
    "estimate_offsets": "pose3d.timeshift",
    "shift_times": "pose3d.timeshift",
    "find_swaps": "pose3d.swaps",
    "repair_swaps": "pose3d.swaps",
    "filter_keypoints": "pose3d.smoothing",
    "combine_networks": "pose3d.smoothing",
    "choose_over_time": "pose3d.candidates",
    "choose_by_views": "pose3d.candidates",
    "match_individuals": "pose3d.candidates",
    "live": "pose3d.networks.live",
    "load_keypoints_2d": "pose3d.formats.keypoints",
    "load_keypoints_3d": "pose3d.formats.keypoints",
    "save_keypoints_2d": "pose3d.formats.keypoints",
    "save_keypoints_3d": "pose3d.formats.keypoints",
}

__getattr__, __dir__ = handed_on(__name__, HOMES)
