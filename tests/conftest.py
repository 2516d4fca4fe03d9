"""What many tests need: random numbers with a seed, a rig, the real recordings."""

import os
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def data_folder():
    """The folder of real recordings, or a skip that says how to give one."""
    folder = os.environ.get("POSE3D_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("Real recordings are not here: set POSE3D_DATA to their folder.")
    return Path(folder)
