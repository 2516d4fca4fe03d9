"""Step: find the keypoints in the videos of a recording."""

import contextlib
import os
import shutil
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from calibration.errors import DataError, DataWarning
from calibration.files import file_digest, provenance, same_origin, write_text
from calibration.results import Outcome
from pose3d.keypoints import Keypoints2D
from pose3d.steps.moments import applied_lateness, check_videos, match_times

#: Frames in a part of the result that is saved at once: what a kill can cost.
CHUNK_FRAMES = 512

#: Frames from which it is worth some seconds to find the quickest engine.
_WORTH_TRYING = 2000

#: Factor up to which a network finds an animal that is larger or smaller than it was learnt.
_SAME_SIZE = 1.3


def analyze_recording(
    project: str | os.PathLike,
    recording: str,
    *,
    network: str = "network",
    batch_size: int | None = None,
    engine: str = "auto",
    follow: bool = False,
    every: int = 1,
    shrink: float = 1.0,
    at_once: int = 1,
    restart: bool = False,
) -> Outcome:
    """Find the keypoints in all videos of a recording, or go on where this was interrupted.

    Parameters
    ----------
    project : path
        The project's folder.
    recording : str
        Name of the recording.
    network : str
        Name of the trained network.
    batch_size : int
        Frames that go through the network together; on long videos tried, else 8, unless told.
    engine : str
        How the network is run: "float32", "bfloat16", "openvino" (pip install pose3d[fast]), or
        "auto", which tries them on long videos and takes the quickest. Points differ by some
        hundredths of a pixel.
    follow : bool
        Look only where the animal can be after the frames before; whole frames where it is lost.
        Quicker where the animal is small in the picture.
    every : int
        Look at every so many frames; keypoints of the others are missing, and refine-trajectory
        can fill them.
    shrink : float
        Factor by which frames are shrunk further than the network was trained for, such as 0.5:
        quicker and less accurate.
    at_once : int
        Videos that are analysed at the same time.
    restart : bool
        Analyse again even what is there already.
    """
    from calibration.video import frame_times, probe_video
    from pose3d.formats.keypoints import load_keypoints_2d, read_origin, save_keypoints_2d
    from pose3d.networks.datasets import check_one_animal
    from pose3d.networks.engines import ENGINES
    from pose3d.networks.inference import Predictor
    from pose3d.networks.running import only_one
    from pose3d.networks.storage import check_keypoints, load_networks
    from pose3d.project import Project

    if not 0 < shrink <= 1:
        raise ValueError(f"shrink is {shrink}; expected above 0 and at most 1.")
    for what, value in (("every", every), ("at_once", at_once), ("batch_size", batch_size)):
        if value is not None and value < 1:
            raise ValueError(f"{what} is {value}; expected at least 1.")
    if engine not in ("auto", *ENGINES):
        raise ValueError(f"engine is {engine!r}; expected one of auto, {', '.join(ENGINES)}.")
    project = Project.load(project)
    check_one_animal(project)
    take = project.recording(recording)
    check_videos(take)
    path = project.keypoints_2d_path(recording)
    folder = project.network_folder(network)
    networks = _by_camera(load_networks(folder), take, network)
    for each in networks.values():
        check_keypoints(each, project.skeleton.keypoints, folder)
    origin = provenance(
        "analyze_recording",
        {
            "recording": recording,
            "network": network,
            "batch_size": batch_size,
            "engine": engine,
            "follow": follow,
            "every": every,
            "shrink": shrink,
            "weights": {camera: each.digest for camera, each in networks.items()},
            "confidence": {camera: each.confidence.to_dict() for camera, each in networks.items()},
            "offsets": dict(zip(take.cameras, take.offsets.tolist(), strict=True)),
        },
        take.videos,
    )
    if path.is_file() and not restart and same_origin(read_origin(path), origin):
        return _outcome(path, load_keypoints_2d(path), project.pcutoff, "were analysed before")
    parts = path.with_suffix(".parts")
    with only_one(path.with_name(f".{path.stem}.lock")):
        if restart:
            shutil.rmtree(parts, ignore_errors=True)
        times = {camera: frame_times(video) for camera, video in take.videos.items()}
        sizes = {camera: probe_video(video).image_size for camera, video in take.videos.items()}
        _warn_of_scaled(networks, sizes, shrink)
        chosen, first = _engine(parts, engine, sum(map(len, times.values())) // every)
        predictors: dict[Any, Predictor] = {}
        stop = threading.Event()

        def analyze(camera):
            each = networks[camera]
            mark = {
                "video": file_digest(take.videos[camera]), "weights": each.digest,
                "confidence": each.confidence.to_dict(), "batch_size": batch_size,
                "follow": follow, "every": every, "shrink": shrink,
                "n_frames": len(times[camera]), "chunk_frames": CHUNK_FRAMES,
                "version": origin["version"],
            }  # fmt: skip
            chunks = _Chunks(parts, camera, len(times[camera]), mark, every)
            if chunks.missing():
                # compiled once for all cameras of a network, but one thread at a time runs it
                key = id(each) if at_once == 1 else camera
                if key not in predictors:
                    name, batch = _engine(parts, chosen)
                    predictors[key] = Predictor(
                        each.model, replace(each.spec, scale=each.spec.scale * shrink),
                        batch_size=batch_size or batch or first, untrained=each.untrained,
                        confidence=each.confidence,
                        engine=name,
                    )  # fmt: skip
                predictor = predictors[key]
                used = predictor.prepare(sizes[camera])
                write_text(parts / "engine.txt", f"{used} {predictor.batch_size}")
                _analyze_video(chunks, take.videos[camera], sizes[camera], predictor, follow, stop)
            return chunks.joined(len(project.skeleton.keypoints))

        cameras = list(take.videos)
        # the first alone, as it chooses the engine
        found = {cameras[0]: analyze(cameras[0])}
        with ThreadPoolExecutor(at_once) as pool:
            try:
                analyzed = (pool.map if at_once > 1 else map)(analyze, cameras[1:])
                found |= zip(cameras[1:], analyzed, strict=True)
            except BaseException:
                stop.set()  # the other videos end with the batch that they are at
                raise
        origin["engine"] = _engine(parts, chosen)[0]
        if any(file_digest(v) != origin["inputs"][c]["digest"] for c, v in take.videos.items()):
            raise DataError(
                f"A video of {recording!r} changed while it was analysed. Wait until it is "
                "recorded or copied, then analyse again."
            )
        common, places = match_times(times, take)
        keypoints = _matched(found, common, places, take, project, sizes)
        origin["applied_offsets"] = applied_lateness(times, common, places, take)
        save_keypoints_2d(path, keypoints, origin)
        shutil.rmtree(parts, ignore_errors=True)
    return _outcome(path, keypoints, project.pcutoff, "analysed")


def _engine(parts, wanted, n_frames=_WORTH_TRYING):
    """Return engine and batch size that parts were analysed with, so that a recording has one.

    Without parts the engine is "auto" where it is worth to try, with no batch size yet.
    """
    path = parts / "engine.txt"
    if path.is_file():
        name, _, batch = path.read_text(encoding="utf-8", errors="replace").partition(" ")
        if wanted in ("auto", name) and batch.isdecimal():
            return name, int(batch)
        shutil.rmtree(parts)
    if n_frames < _WORTH_TRYING:
        return ("float32" if wanted == "auto" else wanted), 8
    return wanted, None


def _by_camera(networks, take, name):
    """Find the network of each camera of a recording; a shared one serves cameras it never saw."""
    missing = [camera for camera in take.cameras if camera not in networks]
    distinct = set(networks.values())
    if missing and len(distinct) > 1:
        raise DataError(
            f"Network {name!r} has no part for {', '.join(missing)}; it has "
            f"{', '.join(networks)}. Label images of those cameras and train again."
        )
    if missing:
        warnings.warn(
            f"Network {name!r} was not trained on images of {', '.join(missing)}; look at its "
            "results before you trust them.",
            DataWarning,
            stacklevel=3,
        )
    shared = next(iter(distinct))
    return {camera: networks.get(camera, shared) for camera in take.cameras}


def _warn_of_scaled(networks, sizes, shrink):
    """Warn of videos in which the animal is likely much larger or smaller than it was learnt."""
    for camera, size in sizes.items():
        learnt = networks[camera].image_sizes
        factors = [np.divide(size, each) for each in learnt]
        # a picture of other proportions was cut, which changes no sizes in it
        scaled = [factor[0] for factor in factors if abs(np.log(factor[0] / factor[1])) < 0.02]
        # who shrinks frames knows that the animal is smaller then, or wants it as it was learnt
        fits = [abs(np.log(each)) for factor in scaled for each in (factor, shrink * factor)]
        if not fits or min(fits) < np.log(_SAME_SIZE):
            continue
        factor = min(scaled, key=lambda each: abs(np.log(each)))
        shown = ", ".join(f"{width}x{height}" for width, height in learnt[:3])
        advice = f"Give shrink={1 / factor:.2g}" if factor > 1 else "Take a larger video"
        warnings.warn(
            f"The video of {camera!r} has {size[0]}x{size[1]} pixels and the network learnt from "
            f"images of {shown}: the animal is probably {factor:.2g} times as large as it was "
            f"learnt. {advice}, or label frames of this size too and train again.",
            DataWarning,
            stacklevel=3,
        )


class _Chunks:
    """The parts of one video's result, in files that are whole and say what they are of."""

    def __init__(
        self, folder: Path, camera: str, n_frames: int, mark: dict[str, Any], every: int = 1
    ):
        from pose3d.formats.tensors import load_tensors

        self._folder, self.camera, self._mark = folder, camera, mark
        self.n_frames, self._every = n_frames, every
        self._found: dict[int, dict[str, np.ndarray]] = {}
        for number in range(-(-n_frames // CHUNK_FRAMES)):
            path = self._path(number)
            if not path.is_file():
                continue
            try:
                groups, notes, _ = load_tensors(path, "part of an analysis")
            except DataError:
                continue  # damaged: this part is analysed again
            if notes == mark:
                self._found[number] = groups["predictions"]

    def _path(self, number):
        return self._folder / f"{self.camera}-{number:06d}.h5"

    def missing(self) -> list[int]:
        """Return the numbers of the frames that are still to be analysed."""
        wanted = range(0, self.n_frames, self._every)
        return [i for i in wanted if i // CHUNK_FRAMES not in self._found]

    def add(self, number: int, frames, xy, likelihood, covariance) -> None:
        """Save a part."""
        from pose3d.formats.tensors import save_tensors

        tensors = {
            "frames": frames, "xy": xy, "likelihood": likelihood, "covariance": covariance
        }  # fmt: skip
        save_tensors(self._path(number), {"predictions": tensors}, self._mark)
        self._found[number] = tensors

    def joined(self, n_keypoints: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return points, likelihoods and covariances; NaN, 0 and NaN where no frame."""
        xy = np.full((self.n_frames, n_keypoints, 2), np.nan)
        likelihood = np.zeros((self.n_frames, n_keypoints))
        covariance = np.full((self.n_frames, n_keypoints, 2, 2), np.nan)
        while self._found:  # each is given up as soon as it is copied
            _, tensors = self._found.popitem()
            xy[tensors["frames"]] = tensors["xy"]
            likelihood[tensors["frames"]] = tensors["likelihood"]
            covariance[tensors["frames"]] = tensors["covariance"]
        return xy, likelihood, covariance


def _analyze_video(chunks, video, image_size, predictor, follow, stop):
    """Analyse what is missing of a video, part by part, until it is told to stop."""
    from calibration.video import read_frames

    missing = chunks.missing()
    n_keypoints = len(predictor.spec.keypoints)
    wanted = None if len(missing) == chunks.n_frames else missing
    frames = read_frames(video, frames=wanted, pixels=predictor.spec.pixels)
    pending: dict[int, list] = {number // CHUNK_FRAMES: [] for number in missing}
    # closed, as an error that is kept would keep it and its thread
    with (
        tqdm(
            total=len(missing), unit="frame", desc=f"analyze {chunks.camera}", disable=None
        ) as bar,
        contextlib.closing(
            predictor.stream(frames, image_size, cut=CHUNK_FRAMES, follow=follow)
        ) as batches,
    ):  # fmt: skip
        for batch in batches:
            if stop.is_set():
                return
            number = int(batch.frames[0]) // CHUNK_FRAMES
            for earlier in [n for n in pending if n < number]:
                chunks.add(earlier, *_stacked(pending.pop(earlier), n_keypoints))
            pending[number].append(batch)
            bar.update(len(batch.frames))
    for number in list(pending):
        chunks.add(number, *_stacked(pending.pop(number), n_keypoints))


def _stacked(batches, n_keypoints):
    """Join the predictions of several batches; there are none where no frame can be decoded."""
    if not batches:
        empty = np.zeros((0, n_keypoints))
        return (
            np.zeros(0, int),
            np.zeros((0, n_keypoints, 2)),
            empty,
            np.zeros((*empty.shape, 2, 2)),
        )
    return tuple(np.concatenate(part) for part in zip(*batches, strict=True))


def _matched(found, common, places, take, project, sizes):
    """Bring the cameras' results to common moments."""
    shape = (len(take.cameras), len(common), 1, len(project.skeleton.keypoints))
    xy = np.full((*shape, 2), np.nan)
    likelihood = np.zeros(shape)
    covariance = np.full((*shape, 2, 2), np.nan)
    for i, camera in enumerate(take.cameras):
        there = places[camera] >= 0
        camera_xy, camera_likelihood, camera_covariance = found.pop(camera)
        xy[i, there, 0] = camera_xy[places[camera][there]]
        likelihood[i, there, 0] = camera_likelihood[places[camera][there]]
        covariance[i, there, 0] = camera_covariance[places[camera][there]]
    return Keypoints2D(
        xy=xy,
        likelihood=likelihood,
        covariance=covariance,
        cameras=take.cameras,
        individuals=project.individuals,
        keypoints=project.skeleton.keypoints,
        times=common,
        image_sizes=np.array([sizes[camera] for camera in take.cameras]),
    )


def _outcome(path, keypoints, cutoff, what):
    """Say what was found."""
    rows, every = [], []
    for i, camera in enumerate(keypoints.cameras):
        # frames that a camera has not, or that were not looked at, are not unlikely
        there = np.isfinite(keypoints.xy[i]).any(axis=(1, 2, 3))
        likelihood = keypoints.likelihood[i, there]
        every.append(likelihood.ravel())
        rows.append({
            "camera": camera,
            "frames": int(there.sum()),
            "median_likelihood": float(np.median(likelihood)) if there.any() else 0.0,
            "likely": float((likelihood >= cutoff).mean()) if there.any() else 0.0,
        })  # fmt: skip
    every = np.concatenate(every)
    likely = float((every >= cutoff).mean()) if len(every) else 0.0
    return Outcome(
        path,
        f"{keypoints.n_frames} frames of {len(rows)} cameras {what}; {likely:.0%} of the "
        f"keypoints have a likelihood of {cutoff:g} or more.",
        table=tuple(rows),
        figures={"frames": keypoints.n_frames, "likely": likely},
    )
