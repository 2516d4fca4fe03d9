"""An append-only file of changes that survives kills and full disks."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from calibration.errors import DataError


class Journal:
    """A file of JSON lines; what `append` returned from is on the disk.

    One process at a time has it open: the system's lock goes when the process does, however it
    ends.

    Parameters
    ----------
    path : Path
        The file; made if absent.

    Raises
    ------
    DataError
        If another process has it open.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        self._handle = os.open(self.path, flags, 0o666)
        try:
            _lock(self._handle)
        except OSError:
            os.close(self._handle)
            raise DataError(
                f"{self.path} is open in another label-frames. Use that one's page (several tabs "
                "may be open), or stop it first."
            ) from None
        size = self.size
        # a line cut short by a kill was never acknowledged; it stays, closed off
        self._torn = size > 0 and self._last_byte() != b"\n"

    def _last_byte(self):
        os.lseek(self._handle, -1, os.SEEK_END)  # writing goes to the end from wherever
        return os.read(self._handle, 1)

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return os.fstat(self._handle).st_size

    def append(self, entry: Mapping[str, Any]) -> int:
        """Write a change to the disk.

        Parameters
        ----------
        entry : mapping
            What JSON can say.

        Returns
        -------
        int
            Size of the file after it.

        Raises
        ------
        OSError
            If it could not be written (a full disk); the file is then as it was before.
        """
        before = self.size
        line = json.dumps(entry, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        rest = memoryview(b"\n" + line if self._torn else line)
        try:
            while rest:
                rest = rest[os.write(self._handle, rest) :]
            os.fsync(self._handle)
        except OSError:
            os.ftruncate(self._handle, before)
            raise
        self._torn = False
        return self.size

    def entries(self, start: int = 0) -> Iterator[dict[str, Any]]:
        """Read the changes from a byte on; lines cut short or damaged are passed over."""
        with open(self.path, "rb") as file:
            file.seek(start)
            for line in file:
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                if isinstance(entry, dict):
                    yield entry

    def close(self) -> None:
        """Close the file and give it free."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def _lock(handle):
    """Take the system's lock on a file, or raise OSError."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        position = os.lseek(handle, 0, os.SEEK_CUR)
        # a byte far behind the end, so that reading stays possible
        os.lseek(handle, 1 << 40, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        os.lseek(handle, position, os.SEEK_SET)
    else:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
