"""From images to keypoints: the network, peaks found in its graph, points in NumPy."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from pose3d.confidence import Confidence
from pose3d.networks.engine import keras, tf
from pose3d.networks.engines import (
    Engine,
    compile_engine,
    quickest_batch_size,
    quickest_engine,
)
from pose3d.networks.following import Follower
from pose3d.networks.images import network_size, shrink, to_image_pixels
from pose3d.networks.prefetching import prefetch
from pose3d.networks.spec import NetworkSpec
from pose3d.scoremaps import decode_peaks, peak_shapes

#: Images per call where that is left to be tried, at first.
_SMALLEST_BATCH = 8


class Predictions(NamedTuple):
    """Where a network sees the keypoints of some frames.

    Attributes
    ----------
    frames : ndarray of int of shape (n_frames,)
        Numbers of the frames.
    xy : ndarray of shape (n_frames, n_keypoints, 2)
        Points in the images' pixels.
    likelihood : ndarray of shape (n_frames, n_keypoints)
        From 0 to 1.
    covariance : ndarray of shape (n_frames, n_keypoints, 2, 2)
        Of the points, in square pixels of the images.
    """

    frames: np.ndarray
    xy: np.ndarray
    likelihood: np.ndarray
    covariance: np.ndarray


class Found(NamedTuple):
    """Where a network sees the keypoints of some images.

    Attributes
    ----------
    xy : ndarray of shape (n_images, n_keypoints, 2)
    likelihood : ndarray of shape (n_images, n_keypoints)
    covariance : ndarray of shape (n_images, n_keypoints, 2, 2)
    """

    xy: np.ndarray
    likelihood: np.ndarray
    covariance: np.ndarray

    def in_image(self, image_size: tuple[int, int], scale: float) -> "Found":
        """Return the same in pixels of the images, from pixels at the network's scale."""
        ratio = np.divide(image_size, network_size(image_size, scale))
        return Found(
            to_image_pixels(self.xy, image_size, scale),
            self.likelihood,
            self.covariance * ratio[:, np.newaxis] * ratio,
        )


class Predictor:
    """A network ready to find keypoints in images.

    Parameters
    ----------
    model : keras.Model
        The network, see `build_model`.
    spec : NetworkSpec
        How images are prepared for it.
    batch_size : int or None
        Images per call; a last batch is filled up, so that an image's result never depends on
        how many came with it. None tries and takes the quickest when it is made ready.
    engine : str
        How the network is run, see `pose3d.networks.engines`; "auto" tries and takes the quickest.
    untrained : tuple of str
        Keypoints that the network never saw: NaN with likelihood 0.
    method : str
        How peaks become points, see `pose3d.scoremaps.METHODS`.
    confidence : Confidence, optional
        How the network's own figures become likelihoods and covariances; None leaves the likelihood
        as it is, and gives the shapes of peaks for covariances.
    """

    def __init__(
        self,
        model: keras.Model,
        spec: NetworkSpec,
        *,
        batch_size: int | None = 8,
        engine: str = "float32",
        untrained: tuple[str, ...] = (),
        method: str = "dark",
        confidence: Confidence | None = None,
    ):
        self.spec = spec
        self.batch_size = batch_size or _SMALLEST_BATCH
        self._tries_batches = batch_size is None
        self.method = method
        self._confidence = confidence
        self._untrained = [spec.keypoints.index(name) for name in untrained]
        self.engine = engine
        self._model = model
        self._engines: dict[tuple[int, ...], Engine] = {}

    def prepare(self, image_size: tuple[int, int]) -> str:
        """Make ready for images of a size, and return the engine that is used.

        Parameters
        ----------
        image_size : (int, int)
            Width and height of the images.
        """
        width, height = network_size(image_size, self.spec.scale)
        black = np.zeros((height, width, self.spec.channels), np.uint8)
        shape = self._stack([black]).shape
        if self._tries_batches:
            self._compiled(shape)
            self.batch_size = quickest_batch_size(self._model, _peaks, shape, self.engine)
            self._tries_batches = False
        self._compiled((self.batch_size, *shape[1:]))
        return self.engine

    def _compiled(self, shape):
        """Return the engine for batches of a shape."""
        if self.engine == "auto":
            self.engine = quickest_engine(self._model, _peaks, shape)
        if shape not in self._engines:
            self._engines[shape] = compile_engine(self._model, _peaks, shape, self.engine)
        return self._engines[shape]

    def predict(self, images: Sequence[np.ndarray]) -> Found:
        """Find the keypoints in images of any size.

        Parameters
        ----------
        images : sequence of ndarray of uint8 of shape (height, width) or (height, width, 3)
            As the network's `pixels` says, at their original size.

        Returns
        -------
        Found
            In each image's pixels.
        """
        scale = self.spec.scale
        found = self.predict_shrunk([shrink(image, scale) for image in images])
        each = [
            Found(*(part[i] for part in found)).in_image(image.shape[1::-1], scale)
            for i, image in enumerate(images)
        ]
        return Found(*map(np.array, zip(*each, strict=True))) if each else found

    def predict_shrunk(self, images: Sequence[np.ndarray]) -> Found:
        """Find the keypoints in images at the network's scale, in their pixels.

        Images of one size go through the network together.
        """
        shape = (len(images), len(self.spec.keypoints))
        found = Found(np.empty((*shape, 2)), np.empty(shape), np.empty((*shape, 2, 2)))
        sizes: dict[tuple[int, ...], list[int]] = {}
        for i, image in enumerate(images):
            sizes.setdefault(image.shape, []).append(i)
        for indices in sizes.values():
            for start in range(0, len(indices), self.batch_size):
                some = indices[start : start + self.batch_size]
                batch = self._stack([images[i] for i in some])
                for part, values in zip(found, self._run(batch, len(some)), strict=True):
                    part[some] = values
        return found

    def stream(
        self,
        frames: Iterable,
        image_size: tuple[int, int],
        *,
        cut: int | None = None,
        follow: bool = False,
    ) -> Iterator[Predictions]:
        """Find the keypoints in the frames of a video; reading and shrinking run in a thread.

        Parameters
        ----------
        frames : iterable of Frame
            See `calibration.video.read_frames`.
        image_size : (int, int)
            Width and height of the frames.
        cut : int, optional
            A batch never holds frames from both sides of a multiple of this number, so that
            results do not depend on where an interrupted analysis goes on.
        follow : bool
            Whether only the part of a frame in which the animal can be is looked at. The frames
            after each cut are looked at whole.

        Yields
        ------
        Predictions
            Of up to `batch_size` frames.
        """
        follower, part = None, None
        for numbers, batch in prefetch(self._prepared, self._grouped(frames, cut)):
            if follow and (follower is None or (cut and numbers[0] // cut != part)):
                follower = Follower(batch.shape[1:3], self.spec.multiple)
                part = numbers[0] // cut if cut else None
            if follower is None:
                found = self._run(batch, len(numbers))
            else:
                found = self._run_near(follower, batch, len(numbers))
            yield Predictions(numbers, *found.in_image(image_size, self.spec.scale))

    def _run_near(self, follower, batch, n_images):
        """Run the network on the window in which the animal is; on all if it is not sure."""
        if follower.window is not None:
            rows, columns = follower.window
            part = np.ascontiguousarray(batch[:, rows, columns])
            found = self._run(part, n_images)
            found = found._replace(xy=found.xy + follower.corner)
            if follower.trusts(found.xy, found.likelihood):
                follower.learn(found.xy, found.likelihood, whole=False)
                return found
        found = self._run(batch, n_images)
        follower.learn(found.xy, found.likelihood, whole=True)
        return found

    def _grouped(self, frames, cut):
        """Gather frames into lists of one batch each."""
        group: list = []
        for frame in frames:
            apart = cut and group and group[-1].index // cut != frame.index // cut
            if len(group) == self.batch_size or apart:
                yield group
                group = []
            group.append(frame)
        if group:
            yield group

    def _prepared(self, group):
        """Return the numbers of some frames, and their images as a batch."""
        numbers = np.array([frame.index for frame in group])
        return numbers, self._stack([shrink(frame.image, self.spec.scale) for frame in group])

    def _stack(self, images):
        """Fill a batch, black where images or pixels are wanting."""
        height, width, channels = images[0].shape
        multiple = self.spec.multiple
        padded = (-(-height // multiple) * multiple, -(-width // multiple) * multiple)
        batch = np.zeros((self.batch_size, *padded, channels), np.uint8)
        for place, image in zip(batch, images, strict=False):
            place[:height, :width] = image
        return batch

    def _run(self, batch, n_images):
        """Run the network; return points in its pixels."""
        heat, locref, cells = (part[:n_images] for part in self._compiled(batch.shape)(batch))
        xy, likelihood = decode_peaks(
            heat, locref, cells, self.spec.stride, method=self.method, sigma=self.spec.sigma
        )
        covariance = peak_shapes(heat, self.spec.stride, sigma=self.spec.sigma)
        if self._confidence is not None:
            covariance = self._confidence.covariance(covariance, likelihood)
            likelihood = self._confidence.likelihood(likelihood)
        xy[:, self._untrained] = np.nan
        likelihood[:, self._untrained] = 0
        covariance[:, self._untrained] = np.nan
        return Found(xy, likelihood, covariance)


def _peaks(logits, locref):
    """Find the hottest cell of each scoremap, and cut 3 x 3 cells around it.

    Returns
    -------
    heat : tensor of shape (batch_size, n_keypoints, 3, 3)
        From 0 to 1; 0 outside the map.
    locref : tensor of shape (batch_size, n_keypoints, 3, 3, 2)
    cells : tensor of int of shape (batch_size, n_keypoints, 2)
        Column and row.
    """
    shape = tf.shape(logits)
    n_images, height, width, n_keypoints = shape[0], shape[1], shape[2], logits.shape[3]
    flat = tf.reshape(logits, (n_images, height * width, n_keypoints))
    place = tf.argmax(flat, axis=1, output_type=tf.int32)
    row, column = place // width, place % width
    around = tf.constant([[0], [1], [2]])
    index = tf.stack(
        tf.meshgrid(tf.range(n_images), tf.range(n_keypoints), [0, 1, 2], [0, 1, 2], indexing="ij"),
        axis=-1,
    )
    rows = row[..., tf.newaxis, tf.newaxis] + around
    columns = column[..., tf.newaxis, tf.newaxis] + tf.transpose(around)
    rows, columns = rows + tf.zeros_like(columns), columns + tf.zeros_like(rows)
    index = tf.stack([index[..., 0], rows, columns, index[..., 1]], axis=-1)
    logits = tf.pad(logits, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-1e4)
    locref = tf.pad(locref, ((0, 0), (1, 1), (1, 1), (0, 0)))
    locref = tf.reshape(locref, (n_images, height + 2, width + 2, n_keypoints, 2))
    heat = tf.sigmoid(tf.gather_nd(logits, index))
    return heat, tf.gather_nd(locref, index), tf.stack([column, row], axis=-1)
