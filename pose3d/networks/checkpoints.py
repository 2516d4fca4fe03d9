"""The state of a training in files, so that it can be killed at any time and go on."""

import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from calibration.errors import DataError, DataWarning
from pose3d.formats.tensors import load_tensors, save_tensors

#: Checkpoints that are kept: the newest may be damaged.
_KEPT = 2


@dataclass(eq=False)
class History:
    """How a training went.

    Attributes
    ----------
    losses : list of float
        The loss of each step.
    test_steps : list of int
        Steps after which the averaged network was tried on test images.
    test_errors : list of float
        Mean distance to the labels in pixels of the images, as seen at the network's scale.
    seconds : float
        Time spent in training, interruptions not counted.
    """

    losses: list[float] = field(default_factory=list)
    test_steps: list[int] = field(default_factory=list)
    test_errors: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def step(self) -> int:
        """Steps done."""
        return len(self.losses)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the fields as arrays."""
        return {
            "losses": np.array(self.losses, np.float64),
            "test_steps": np.array(self.test_steps, np.int64),
            "test_errors": np.array(self.test_errors, np.float64),
            "seconds": np.array(self.seconds, np.float64),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "History":
        """Make a history from what `to_arrays` gave."""
        return cls(
            arrays["losses"].tolist(),
            arrays["test_steps"].tolist(),
            arrays["test_errors"].tolist(),
            float(arrays["seconds"]),
        )


def save_checkpoint(
    folder: Path, groups: Mapping[str, Mapping[str, np.ndarray]], history: History
) -> None:
    """Save the state of a training, then remove all but the newest two states.

    Parameters
    ----------
    folder : Path
        Where checkpoints are kept.
    groups : mapping of str to mapping of str to ndarray
        Weights, averaged weights and the optimizer's own, by name.
    history : History
        How it went so far; gives the number of steps done.
    """
    path = folder / f"checkpoint-{history.step:09d}.h5"
    save_tensors(path, dict(groups) | {"history": history.to_arrays()})
    for old in checkpoint_files(folder)[:-_KEPT]:
        old.unlink(missing_ok=True)


def checkpoint_files(folder: Path) -> list[Path]:
    """List the checkpoints in a folder, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(
        path for path in folder.iterdir() if re.fullmatch(r"checkpoint-\d{9}\.h5", path.name)
    )


def load_checkpoint(folder: Path) -> tuple[dict[str, dict[str, np.ndarray]], History] | None:
    """Load the newest state that is whole; None where there is none.

    A damaged file is passed over with a `DataWarning`.
    """
    for path in reversed(checkpoint_files(folder)):
        try:
            groups, _, _ = load_tensors(path, "training checkpoint")
            return groups, History.from_arrays(groups.pop("history"))
        except (DataError, KeyError) as error:
            warnings.warn(
                f"The newest checkpoint is unusable, the one before it is taken. {error}",
                DataWarning,
                stacklevel=3,
            )
    return None


def check_same_run(path: Path, run: Mapping[str, Any]) -> None:
    """Check that a training goes on as it was begun.

    Parameters
    ----------
    path : Path
        JSON file with the settings it was begun with.
    run : mapping
        The settings it is called with now; values that JSON knows.

    Raises
    ------
    DataError
        Naming each setting that differs, with both values.
    """
    try:
        begun = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(begun, dict):
            raise ValueError("it holds no settings")
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read ({error}), so it is not known how this training was begun. "
            "Train under another name, or with restart to begin anew."
        ) from None
    if differences := _differences(begun, json.loads(json.dumps(run))):
        done = (path.parent / "network.json").is_file()
        raise DataError(
            f"The {'network' if done else 'training'} in {path.parent} was "
            f"{'trained' if done else 'begun'} with other settings: {'; '.join(differences)}. Give "
            f"{'' if done else 'the same settings to go on, '}another name for another network, "
            "or restart to begin anew."
        )


def _differences(begun, now, prefix=""):
    """List settings that differ, as text."""
    if not isinstance(begun, dict) or not isinstance(now, dict):
        return [] if begun == now else [f"{prefix or 'settings'} was {begun!r}, is {now!r}"]
    found = []
    for key in [*begun, *(key for key in now if key not in begun)]:
        name = f"{prefix}.{key}" if prefix else str(key)
        found += _differences(begun.get(key), now.get(key), name)
    return found
