"""Work done in a thread, a little ahead of whoever needs it."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any


def prefetch(make: Callable[[Any], Any], items: Iterable, *, depth: int = 4) -> Iterator:
    """Run ``make(item)`` in a thread, a few items ahead of whoever asks.

    What goes wrong in the thread is raised where the result is asked for; the thread ends when
    the iteration does, early or late.
    """
    results: queue.Queue = queue.Queue(depth)
    stop = threading.Event()
    end = object()

    def put(result):
        while not stop.is_set():
            try:
                results.put(result, timeout=0.1)
                return
            except queue.Full:
                continue

    def work():
        try:
            for item in items:
                put((make(item), None))
                if stop.is_set():
                    return
            put((end, None))
        except BaseException as error:  # raised where the result is asked for
            put((end, error))

    thread = threading.Thread(target=work, daemon=True, name="pose3d-prefetch")
    thread.start()
    try:
        while True:
            result, error = results.get()
            if error is not None:
                raise error
            if result is end:
                return
            yield result
    finally:
        stop.set()
        thread.join()
