"""Long work: by one process at a time in a folder, and ended without leaving it half done."""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from calibration.errors import DataError


@contextlib.contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Let one process at a time work in a folder.

    Parameters
    ----------
    path : Path
        A file that is locked meanwhile; the system unlocks it when the process ends, however.

    Raises
    ------
    DataError
        If another process has it; the message says which, and where.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+b") as file:
        if not _lock(file):
            # the holder's name stands before the locked byte, so that Windows lets it be read
            file.seek(0)
            holder = file.read(200).decode("utf-8", "replace").strip() or "another process"
            raise DataError(f"{holder} is at work in {path.parent}. Wait for it, or stop it.")
        file.truncate(0)
        file.write(f"Process {os.getpid()} on {socket.gethostname()}".encode())
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)
            _unlock(file)


_LOCKED_BYTE = 1 << 20


if os.name == "nt":
    import msvcrt

    def _lock(file):
        """Lock a byte of a file, or return False."""
        file.seek(_LOCKED_BYTE)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(file):
        """Unlock it."""
        file.seek(_LOCKED_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(file):
        """Lock a file, or return False."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def _unlock(file):
        """Unlock it."""
        fcntl.flock(file, fcntl.LOCK_UN)


class Interruption:
    """Notes Ctrl-C and a request to end, so that a step is finished and saved before.

    Attributes
    ----------
    signal : int or None
        Which signal came.
    """

    def __init__(self):
        self.signal = None
        self._before = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number, frame):
        """Remember the signal; a second one ends at once."""
        if self.signal is not None:
            self.end()
        self.signal = number

    def end(self) -> None:
        """End as the signal wanted."""
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + self.signal)
