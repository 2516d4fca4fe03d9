"""Make .venv beside the sources and install the project there, once per change of its needs.

Plain Python, so that it works the same on Linux, macOS and Windows.
"""

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".venv"
PYTHON = FOLDER / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def install(*extras: str) -> None:
    """Install the project with some of its extras unless that was done already."""
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        found = ".".join(map(str, sys.version_info[:2]))
        sys.exit(
            f"This is Python {found}; TensorFlow has packages for 3.11 to 3.13. "
            "Install one of those and run this script with it: python3.12 scripts/demo"
        )
    needs = (ROOT / "pyproject.toml").read_bytes() + repr((extras, sys.version)).encode()
    stamp = FOLDER / f"installed-{'-'.join(('pose3d', *extras))}"
    digest = hashlib.sha256(needs).hexdigest()
    if PYTHON.exists() and stamp.exists() and stamp.read_text() == digest:
        return
    if not PYTHON.exists():
        print(f"Making {FOLDER}", flush=True)
        try:
            venv.create(FOLDER, with_pip=True)
        except subprocess.CalledProcessError:
            sys.exit("Python's venv has no pip here. On Debian: apt install python3-venv")
    print("Installing; this takes a few minutes the first time", flush=True)
    wanted = f"{ROOT}[{','.join(extras)}]" if extras else str(ROOT)
    command = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if subprocess.call([*command, "-e", wanted]):
        sys.exit("pip could not install the project; its message stands above.")
    stamp.write_text(digest)


def run(module: str, *arguments: str) -> int:
    """Run a module of the environment in the caller's folder and return its exit status."""
    try:
        return subprocess.call([PYTHON, "-m", module, *arguments], cwd=None)
    except KeyboardInterrupt:
        return 130
