"""Two networks on DeepLabCut's own demo project, one from scratch, one pretrained.

    python examples/open_field.py DATA --weights WEIGHTS.h5 --out FOLDER

DATA is DeepLabCut's ``examples/openfield-Pranav-2018-10-30`` (116 labelled pictures of a mouse, 4
keypoints); it is copied, and opens as it is. WEIGHTS are Keras' for MobileNetV2-0.35 without its
top; without them the second network is left out. Both train for about as long, on the same 80 % of
the pictures.
"""

import argparse
import shutil
from pathlib import Path

from pose3d import steps


def train_and_test(project, name, **how):
    """Train a network on the common split and return its errors."""
    steps.create_training_dataset(project, name=name, train_fraction=0.8)
    trained = steps.train_network(project, name=name, **how)
    figures = steps.evaluate_network(project, name=name).figures
    return {
        "network": name,
        "minutes": trained.figures["seconds"] / 60,
        "train px": figures["train_mean_error_px"],
        "test px": figures["test_mean_error_px"],
        "low": figures["test_mean_error_low_px"],
        "high": figures["test_mean_error_high_px"],
        "median px": figures["test_median_error_px"],
    }


def main():
    """Train both networks and print their errors side by side."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="DeepLabCut's open-field project")
    parser.add_argument("--weights", type=Path, help="weights of MobileNetV2-0.35 without top")
    parser.add_argument("--out", type=Path, default=Path("runs/open_field"), help="where to work")
    parser.add_argument("--steps", type=int, default=3700, help="steps of the first network")
    arguments = parser.parse_args()
    if not arguments.out.exists():
        shutil.copytree(arguments.data, arguments.out)
    rows = [train_and_test(arguments.out, "unet", steps=arguments.steps)]
    if arguments.weights:
        # a step of MobileNet takes 1.28 times as long: depthwise convolutions are slow on CPUs
        budget = round(arguments.steps / 1.28)
        rows.append(
            train_and_test(
                arguments.out,
                "mobilenet",
                backbone="mobilenet_v2_0.35",
                weights=str(arguments.weights),
                steps=budget,
            )
        )
    for row in rows:
        cells = (f"{value:.2f}" if isinstance(value, float) else value for value in row.values())
        print("  ".join(f"{key} {cell}" for key, cell in zip(row, cells, strict=True)))


if __name__ == "__main__":
    main()
