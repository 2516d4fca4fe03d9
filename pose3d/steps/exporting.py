"""Step: a trained network for other programs."""

import os
import re
from pathlib import Path

import numpy as np

from calibration.errors import DataError
from calibration.files import provenance
from calibration.results import Outcome

#: Images on which the exported network is held against the trained one.
_TRIED = 50


def export_network(
    project: str | os.PathLike,
    network: str = "network",
    *,
    file_format: str = "saved-model",
    image_size: str | None = None,
    out: str | os.PathLike | None = None,
) -> Outcome:
    """Write a trained network for other programs, and hold what it finds against the original.

    Parameters
    ----------
    project : path
        The project's folder.
    network : str
        Name of the trained network.
    file_format : str
        saved-model (TensorFlow), onnx (needs pip install pose3d[onnx]) or openvino (needs pip
        install pose3d[fast]).
    image_size : str
        Width and height of the images it will see, such as 640x480; that of the project's videos
        and labelled images unless told.
    out : path
        The folder to write; exported/FORMAT in the network's folder unless told. Networks of
        several cameras lie in a folder each.
    """
    from pose3d.networks.export import export_network as write_export
    from pose3d.networks.live import live
    from pose3d.networks.storage import load_networks
    from pose3d.project import Project

    project = Project.load(project)
    folder = project.network_folder(network)
    networks = load_networks(folder)
    distinct = list(dict.fromkeys(networks.values()))
    out = folder / "exported" / file_format if out is None else Path(out)
    arguments = {"network": network, "file_format": file_format}
    rows = []
    for each in distinct:
        size = _parsed(image_size) if image_size else _image_size(project, each.cameras)
        place = out if len(distinct) == 1 else out / each.cameras[0]
        origin = provenance("export_network", {**arguments, "image_size": list(size)}, {})
        write_export(each, place, size, file_format=file_format, origin=origin)
        trained, exported = live(folder, camera=each.cameras[0], precise=True), live(place)
        images = _pictures(project, each, size)
        rows.append({
            "cameras": ", ".join(each.cameras),
            "size": f"{size[0]}x{size[1]}",
            **_difference(trained, exported, images, project.pcutoff),
        })  # fmt: skip
    compared = [row for row in rows if row["points"]]
    figures = {key: max(row[key] for row in rows) for key in ("ms", "trained_ms")}
    away = "no keypoint is found in the labelled images, so points could not be compared."
    if compared:
        figures |= {key: max(row[key] for row in compared) for key in ("median_px", "worst_px")}
        away = (
            f"points lie {figures['median_px']:.3f} px from its own, {figures['worst_px']:.3f} at "
            "most."
        )
    return Outcome(
        out,
        f"Exported {network!r} as {file_format}: {figures['ms']:.1f} ms an image where the trained "
        f"one takes {figures['trained_ms']:.1f} in float32; {away}",
        table=tuple(rows),
        figures={"file_format": file_format, **figures},
    )


def _parsed(text):
    """Read a size such as 640x480."""
    found = re.fullmatch(r"\s*(\d+)\s*[x,×]\s*(\d+)\s*", text)
    size = tuple(map(int, found.groups())) if found else (0, 0)
    if min(size) < 1:
        raise ValueError(f"image_size is {text!r}; expected width and height, such as 640x480.")
    return size


def _image_size(project, cameras):
    """Find the size of the images of some cameras: of a video, else a labelled image, of each."""
    from calibration.video import probe_video, read_image
    from pose3d.project import load_labels

    sizes = {}
    for take in project.recordings.values():
        for camera in cameras:
            video = take.videos.get(camera)
            if camera not in sizes and video is not None and Path(video).exists():
                sizes[camera] = probe_video(video).image_size
    if not set(cameras) <= set(sizes):
        labels = load_labels(project)
        for image, camera in zip(labels.images, labels.cameras, strict=True):
            if camera in cameras and camera not in sizes:
                sizes[camera] = read_image(project.path / image).shape[1::-1]
    found = sorted(set(sizes.values()))
    if len(found) == 1:
        return found[0]
    seen = ", ".join(f"{camera} {width}x{height}" for camera, (width, height) in sizes.items())
    raise DataError(
        f"A network is exported for one size of image; found: {seen or 'no video or image'}. "
        "Give --image-size."
    )


def _pictures(project, network, size):
    """Read labelled images to try a network on, brought to a size; noise where there are none."""
    import cv2

    from calibration.video import read_image
    from pose3d.project import load_labels

    labels = load_labels(project)
    mine = [i for i, camera in enumerate(labels.cameras) if camera in network.cameras]
    images = []
    for i in mine[:: max(1, len(mine) // _TRIED)][:_TRIED]:
        try:
            image = read_image(project.path / labels.images[i], pixels=network.spec.pixels)
        except (DataError, OSError):
            continue
        if image.shape[1::-1] != size:
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        images.append(image)
    rng = np.random.default_rng(0)
    shape = (size[1], size[0], 3)[: 2 if network.spec.pixels == "luma" else 3]
    return images or [rng.integers(0, 256, shape, dtype=np.uint8)]


def _difference(trained, exported, images, min_likelihood):
    """Compare what two networks find in images, and how long they take."""
    pairs = [(trained(image), exported(image)) for image in images]
    ours, theirs = (np.array([pair[i].xy for pair in pairs]) for i in (0, 1))
    # where nothing is found, the hottest of many cold cells is chance
    found = np.array([pair[0].likelihood for pair in pairs]) >= min_likelihood
    away = np.linalg.norm(ours - theirs, axis=-1)[found]
    away = away[np.isfinite(away)]
    return {
        "images": len(images),
        "points": len(away),
        "median_px": round(float(np.median(away)), 4) if len(away) else None,
        "worst_px": round(float(away.max()), 4) if len(away) else None,
        "ms": round(1000 * exported.latency.median, 2),
        "trained_ms": round(1000 * trained.latency.median, 2),
    }
