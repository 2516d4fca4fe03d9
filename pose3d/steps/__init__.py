"""The verbs people call: each reads files, calls a verb, writes one file, returns an `Outcome`.

========================  ==============================================================
projects                  create-project, add-recording, import-labels
label_projects            import-label-project
choosing, label_checks    extract-frames, check-labels
outliers, iterations      extract-outlier-frames, merge-datasets, change-keypoints
confirming                extract-confirmed-frames
labeling                  label-frames
splitting, training       create-training-dataset, train-network
evaluation, analysis      evaluate-network, compare-networks, analyze-recording
reconstruction, placing   calibrate-rig (in a project too), refine-rig
exporting                 export-network
triangulating             triangulate-recording
importing                 import-keypoints
checking                  check-recording, sync-recording
refining                  filter-keypoints, refine-trajectory
showing, exchange         show-recording, create-labeled-video, export-keypoints
demonstration, checkup    demo: a recording with a known answer; what is installed
calibration.steps         draw-board, detect-boards, orient-rig, place-cameras, show-rig,
                          import-calibration, export-calibration
========================  ==============================================================

The command line is generated from these functions: signature and docstring are its options
and its help.
"""

from calibration.lazy import handed_on

#: The module of every verb, in the order in which people need them.
HOMES = {
    "demo": "pose3d.steps.demonstration",
    "draw_board": "calibration.steps.boards",
    "detect_boards": "calibration.steps.boards",
    "calibrate_rig": "pose3d.steps.reconstruction",
    "orient_rig": "calibration.steps.worlds",
    "place_cameras": "calibration.steps.scenes",
    "show_rig": "calibration.steps.rigs",
    "import_calibration": "calibration.steps.exchange",
    "export_calibration": "calibration.steps.exchange",
    "create_project": "pose3d.steps.projects",
    "add_recording": "pose3d.steps.projects",
    "import_labels": "pose3d.steps.projects",
    "extract_frames": "pose3d.steps.choosing",
    "import_label_project": "pose3d.steps.label_projects",
    "label_frames": "pose3d.steps.labeling",
    "check_labels": "pose3d.steps.label_checks",
    "create_training_dataset": "pose3d.steps.splitting",
    "train_network": "pose3d.steps.training",
    "evaluate_network": "pose3d.steps.evaluation",
    "compare_networks": "pose3d.steps.evaluation",
    "analyze_recording": "pose3d.steps.analysis",
    "export_network": "pose3d.steps.exporting",
    "extract_outlier_frames": "pose3d.steps.outliers",
    "extract_confirmed_frames": "pose3d.steps.confirming",
    "merge_datasets": "pose3d.steps.iterations",
    "change_keypoints": "pose3d.steps.iterations",
    "import_keypoints": "pose3d.steps.importing",
    "check_recording": "pose3d.steps.checking",
    "sync_recording": "pose3d.steps.checking",
    "filter_keypoints": "pose3d.steps.refining",
    "refine_rig": "pose3d.steps.placing",
    "triangulate_recording": "pose3d.steps.triangulating",
    "refine_trajectory": "pose3d.steps.refining",
    "show_recording": "pose3d.steps.showing",
    "create_labeled_video": "pose3d.steps.showing",
    "export_keypoints": "pose3d.steps.exchange",
    "doctor": "pose3d.steps.checkup",
}

__getattr__, __dir__ = handed_on(__name__, HOMES)
