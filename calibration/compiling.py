"""Whether compiled code pays: numba's kernels if they are compiled already or the job is large.

A small job never waits for a compiler: it runs in NumPy, to the same answer but for rounding.
Compiled once, the kernels lie in numba's cache (beside the package, or in the user's cache
folder) and load in a fraction of a second. ``POSE3D_COMPILE=never`` and ``=always`` overrule
this; `compile_kernels` compiles ahead of time.
"""

import importlib
import importlib.util
import logging
import os
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

logger = logging.getLogger(__name__)

_CHOICES = ("auto", "never", "always")


def kernels(
    module: str, work: float, *, worth_loading: float, worth_compiling: float
) -> ModuleType | None:
    """Return a module of compiled kernels, or None where NumPy is done sooner.

    Parameters
    ----------
    module : str
        Full name of the module, which compiles when it is imported.
    work : float
        Size of the job, in any unit.
    worth_loading, worth_compiling : float
        Size from which loading compiled kernels, and from which compiling them, pays.
    """
    wanted = os.environ.get("POSE3D_COMPILE", "auto")
    if wanted not in _CHOICES:
        raise ValueError(f"POSE3D_COMPILE is {wanted!r}; expected one of {', '.join(_CHOICES)}.")
    if wanted == "never" or not _numba_is_here():
        return None
    if module in sys.modules:
        return importlib.import_module(module)  # waits for a thread that is importing it
    if wanted == "auto" and work < (worth_loading if _is_compiled(module) else worth_compiling):
        return None
    return compile_kernels(module)


def compile_kernels(module: str) -> ModuleType:
    """Import a module of kernels, compiled now unless it was before."""
    if not _is_compiled(module):
        logger.warning("Compiling %s (once on this machine, some ten seconds).", module)
    return importlib.import_module(module)


@cache
def _numba_is_here():
    """Look for numba without importing it."""
    return importlib.util.find_spec("numba") is not None


def _is_compiled(module):
    """Look for numba's index files of a module."""
    source = Path(importlib.util.find_spec(module).origin)
    folders = [source.parent / "__pycache__"]
    if "NUMBA_CACHE_DIR" in os.environ:
        folders = list(Path(os.environ["NUMBA_CACHE_DIR"]).glob(f"{source.parent.name}_*"))
    else:
        home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
        folders += (home / "numba").glob(f"{source.parent.name}_*")
    tag = f"py{sys.version_info[0]}{sys.version_info[1]}"
    return any(any(folder.glob(f"{source.stem}.*.{tag}.nbi")) for folder in folders)
