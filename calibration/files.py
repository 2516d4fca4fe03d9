"""Files that are whole or absent, and that say where they came from."""

import contextlib
import hashlib
import os
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from calibration.errors import DataWarning


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Give a temporary path beside the wanted one and rename it when the block ends well.

    Readers, a kill and a full disk see the old file or the new one, never a part: written
    under a unique name in the same folder, flushed to disk, renamed.

    Parameters
    ----------
    path : path
        The file to make; its folder is made if absent.

    Yields
    ------
    Path
        Where to write. If the block raises, it is removed and the old file stays.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
        temporary.chmod(mode)
        os.replace(temporary, path)
        if os.name == "posix":
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    finally:
        temporary.unlink(missing_ok=True)


def _umask():
    """Read the process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a text file whole or not at all, UTF-8, line ends as given."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(text.encode("utf-8"))


def checked_output(
    path: str | os.PathLike, endings: Iterable[str], inputs: Iterable[str | os.PathLike] = ()
) -> Path:
    """Return the path of a file to write, unless it is one that must not be written over.

    Parameters
    ----------
    path : path
        The file to write.
    endings : iterable of str
        What its name may end in, such as ".html".
    inputs : iterable of path
        Files that are read to make it.

    Raises
    ------
    ValueError
        If the name ends otherwise, or the file is one of the inputs.
    """
    path, endings = Path(path), tuple(endings)
    if path.suffix.lower() not in endings:
        raise ValueError(f"{path} is to be written; expected a name that ends in {endings[0]}.")
    for entry in inputs:
        if path.exists() and Path(entry).exists() and path.samefile(entry):
            raise ValueError(
                f"{path} is read to make the result and would be lost. Choose another name."
            )
    return path


def file_digest(path: str | os.PathLike) -> str:
    """Return a digest that changes when a file does: of its size and first and last MB.

    A whole hash of hours of video takes longer than reading their first frames.
    """
    path = Path(path)
    digest = hashlib.sha256()
    if path.is_dir():
        for entry in sorted(path.iterdir()):
            digest.update(f"{entry.name}\0{entry.stat().st_size}\n".encode())
        return digest.hexdigest()[:32]
    size = path.stat().st_size
    digest.update(str(size).encode())
    with open(path, "rb") as file:
        digest.update(file.read(1 << 20))
        if size > 2 << 20:
            file.seek(-(1 << 20), os.SEEK_END)
        digest.update(file.read(1 << 20))
    return digest.hexdigest()[:32]


def provenance(
    step: str, arguments: Mapping[str, Any], inputs: Mapping[str, str | os.PathLike]
) -> dict[str, Any]:
    """Say which step makes a file, with which arguments and from which inputs.

    Parameters
    ----------
    step : str
        Name of the step.
    arguments : mapping
        Its arguments; values that JSON knows.
    inputs : mapping of str to path
        What it read, by role; each is recorded with a digest.

    Returns
    -------
    dict
        ``step``, ``version``, ``made`` (UTC), ``arguments`` and ``inputs``.
    """
    return {
        "step": step,
        "version": metadata.version("pose3d"),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "arguments": dict(arguments),
        "inputs": {
            role: {"path": str(path), "digest": file_digest(path)} for role, path in inputs.items()
        },
    }


def same_origin(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Tell whether two files come from the same step, arguments and input contents."""

    def essence(origin):
        inputs = origin.get("inputs", {})
        return (
            origin.get("step"),
            origin.get("arguments"),
            {role: entry["digest"] for role, entry in inputs.items()},
        )

    return essence(first) == essence(second)


def warn_of_changed_inputs(path: str | os.PathLike, origin: Mapping[str, Any]) -> None:
    """Warn (`DataWarning`) if what a file was made from has changed since.

    Parameters
    ----------
    path : path
        The file.
    origin : mapping
        What it says of itself, see `provenance`; inputs that are no longer there are passed over.
    """
    for role, entry in origin.get("inputs", {}).items():
        source = Path(entry["path"])
        if source.exists() and file_digest(source) != entry["digest"]:
            verb = str(origin.get("step", "the step that made it")).replace("_", "-")
            warnings.warn(
                f"{path} was made from another {role}: {source} has changed since. Repeat {verb}.",
                DataWarning,
                stacklevel=3,
            )
