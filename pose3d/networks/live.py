"""Points frame by frame while an animal moves, each with how long it took.

A trained network's folder is run by the engine that is quickest here, which takes some seconds to
find; an exported one by the library of its format, which starts at once.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from pose3d.networks.runners import Runner, exported_folder, load_exported, load_trained
from pose3d.networks.spec import NetworkSpec

#: Latencies that `LiveNetwork.latency` looks back on.
_REMEMBERED = 1000


class LivePose(NamedTuple):
    """Where a network sees the keypoints of one frame.

    Attributes
    ----------
    frame : int
        How many frames came before it; gaps are frames that were passed over.
    xy : ndarray of shape (n_keypoints, 2)
        Points in the image's pixels; NaN for keypoints that the network never learnt.
    likelihood : ndarray of shape (n_keypoints,)
        From 0 to 1.
    seconds : float
        From when the frame was there to now.
    """

    frame: int
    xy: np.ndarray
    likelihood: np.ndarray
    seconds: float


class Latency(NamedTuple):
    """How long frames took, in seconds: of the last thousand at most.

    Attributes
    ----------
    median, p95, longest : float
        Half of the frames, 95 % and all of them took no longer.
    n_frames : int
        How many frames.
    """

    median: float
    p95: float
    longest: float
    n_frames: int


def live(
    folder: str | Path,
    *,
    camera: str | None = None,
    image_size: tuple[int, int] | None = None,
    precise: bool = False,
) -> "LiveNetwork":
    """Load a network to find keypoints while frames arrive.

    Parameters
    ----------
    folder : path
        A trained network (``networks/<name>`` of a project), or what export-network wrote.
    camera : str, optional
        Whose network, where there are several.
    image_size : (int, int), optional
        Width and height of the frames to come: all is made ready for them now, not at the first.
    precise : bool
        Whether to compute in float32 even where bfloat16 is quicker and moves points by some tenth
        of a pixel.

    Examples
    --------
    ::

        def frames(device):
            while True:
                there, image = device.read()
                if not there:
                    return
                yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

        network = pose3d.live("my-project/networks/network", image_size=(640, 480))
        for pose in network.follow(frames(cv2.VideoCapture(0))):
            print(pose.frame, pose.xy[0], f"{1000 * pose.seconds:.1f} ms")
    """
    folder = Path(folder)
    exported = exported_folder(folder, camera)
    if exported is not None:
        network = LiveNetwork(*load_exported(exported, precise))
    else:
        network = LiveNetwork(*load_trained(folder, camera, precise))
    size = image_size or network.image_size
    if size is not None:
        network.prepare(size)
    return network


class LiveNetwork:
    """A network that is ready; see `live`.

    Parameters
    ----------
    spec : NetworkSpec
        What it finds, and in what kind of image.
    run : callable
        From an image at its original size to points and likelihoods.
    image_size : (int, int), optional
        Width and height of the only images that it takes.
    """

    def __init__(self, spec: NetworkSpec, run: Runner, image_size: tuple[int, int] | None = None):
        self.spec = spec
        self.image_size = image_size
        self._run = run
        self._ready: set[tuple[int, ...]] = set()
        self._seconds: deque[float] = deque(maxlen=_REMEMBERED)
        self._n_frames = 0

    @property
    def keypoints(self) -> tuple[str, ...]:
        """Names along the points' axis."""
        return self.spec.keypoints

    @property
    def latency(self) -> Latency:
        """How long the frames so far took."""
        if not self._seconds:
            return Latency(math.nan, math.nan, math.nan, 0)
        median, p95, longest = np.quantile(self._seconds, [0.5, 0.95, 1.0]).tolist()
        return Latency(median, p95, longest, len(self._seconds))

    def prepare(self, image_size: tuple[int, int]) -> None:
        """Make all ready for frames of a width and height, so that the first takes no longer."""
        width, height = image_size
        self._warm(np.zeros((height, width, 3)[: 2 if self.spec.pixels == "luma" else 3], np.uint8))

    def __call__(self, image: np.ndarray) -> LivePose:
        """Find the keypoints in a frame.

        Parameters
        ----------
        image : ndarray of uint8 of shape (height, width) or (height, width, 3)
            Grey or RGB, at its original size.
        """
        start = time.perf_counter()
        number, self._n_frames = self._n_frames, self._n_frames + 1
        return self._pose(number, image, start)

    def follow(self, frames: Iterable[np.ndarray]) -> Iterator[LivePose]:
        """Find the keypoints in the newest frame again and again.

        Frames are read in a thread. Those that arrive while the network is at work are passed
        over but for the newest, so that poses never lag behind.

        Parameters
        ----------
        frames : iterable of ndarray
            A camera's frames as they come, see `__call__`.

        Yields
        ------
        LivePose
            `seconds` counts from when the frame was read to when its pose is known.
        """
        newest = _Newest(frames)
        try:
            for number, image, start in newest:
                yield self._pose(number, image, start)
        finally:
            newest.stop()

    def _pose(self, number, image, start):
        """Run the network and stop the clock."""
        image = self._as_taught(image)
        if image.shape not in self._ready:
            waited = time.perf_counter()
            self._warm(image)
            start += time.perf_counter() - waited  # once for each size: not this frame's latency
        xy, likelihood = self._run(image)
        seconds = time.perf_counter() - start
        self._seconds.append(seconds)
        return LivePose(number, xy, likelihood, seconds)

    def _warm(self, image):
        """Run on images of a new size before it counts."""
        height, width = image.shape[:2]
        if self.image_size is not None and (width, height) != self.image_size:
            raise ValueError(
                f"The image has {width} x {height} pixels and the network was exported for "
                f"{self.image_size[0]} x {self.image_size[1]}. Export it again with "
                f"--image-size {width}x{height}."
            )
        for _ in range(2):
            self._run(image)
        self._ready.add(image.shape)

    def _as_taught(self, image):
        """Return an image in grey or colour, as the network knows it."""
        image = np.asarray(image)
        if image.dtype != np.uint8 or not (image.ndim == 2 or image.shape[2:] == (3,)):
            raise ValueError(
                f"The image has shape {image.shape} and type {image.dtype}; expected "
                "(height, width, 3) or (height, width) of uint8."
            )
        if self.spec.pixels == "luma" and image.ndim == 3:
            return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        if self.spec.pixels == "rgb" and image.ndim == 2:
            return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
        return image


class _Newest:
    """Reads in a thread and hands on the newest alone."""

    def __init__(self, frames):
        self._changed = threading.Condition()
        self._newest = None
        self._ended = False
        self._error = None
        # a camera that hangs must not keep the program from ending
        threading.Thread(target=self._read, args=(frames,), daemon=True).start()

    def _read(self, frames):
        """Read until the end, or until nobody asks any more."""
        try:
            for number, image in enumerate(frames):
                with self._changed:
                    if self._ended:
                        return
                    self._newest = (number, image, time.perf_counter())
                    self._changed.notify()
        except Exception as error:
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify()

    def __iter__(self):
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._newest is not None or self._ended)
                found, self._newest = self._newest, None
            if found is None:
                break
            yield found
        if self._error is not None:
            raise self._error

    def stop(self):
        """Let the thread end with the next frame."""
        with self._changed:
            self._ended = True
