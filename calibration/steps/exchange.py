"""Steps: calibrations from and for other programs."""

import os
import warnings
from pathlib import Path

from calibration.errors import DataWarning
from calibration.results import Outcome


def import_calibration(
    calibration: str | os.PathLike,
    *,
    out: str | os.PathLike = "calibration.toml",
    format: str | None = None,
    units: str | None = None,
    image_size: list[str] | None = None,
    videos: str | os.PathLike | None = None,
    overwrite: bool = False,
) -> Outcome:
    """Take a calibration over from another program.

    Parameters
    ----------
    calibration : path
        Its file, or the folder with a file per camera.
    out : path
        The calibration file to write.
    format : str
        anipose, pose2sim, caliscope, opencv, jarvis, label3d, kalibr, dlt, mvg or qualisys; found
        out by what the file holds unless told.
    units : str
        Unit of length, for formats that do not say it.
    image_size : list of str
        For formats that have none: 1280x1024 for all cameras, or cam1=1280x1024.
    videos : path
        Folder with the cameras' videos, against which sizes and names are checked, and from which
        sizes are taken where the format has none.
    overwrite : bool
        Write over a calibration that is there.
    """
    from calibration.files import checked_output, provenance
    from calibration.formats.exchange import FORMATS, load_any
    from calibration.formats.toml import save_rig
    from calibration.plausibility import check_sizes

    source = Path(calibration)
    out = checked_output(out, [".toml"], [source])
    if out.exists() and not overwrite:
        raise ValueError(f"{out} is there. Give another name (--out), or --overwrite.")
    sizes = _sizes(image_size)
    filmed = _video_sizes(videos)
    format, rig = load_any(source, format, units=units, image_sizes={**filmed, **sizes})
    _check_told(rig, sizes, source)
    check_sizes(rig, filmed, source)
    unseen = [name for name in rig.names if name not in filmed]
    if videos is not None and unseen:
        warnings.warn(
            f"{videos} holds no video of {', '.join(unseen)}: their image sizes are not checked. "
            "See that the videos bear the cameras' names.",
            DataWarning,
            stacklevel=2,
        )
    inputs = {"calibration": source} if source.is_file() else {}
    origin = provenance("import_calibration", {"format": format, "units": rig.units}, inputs)
    save_rig(rig, out, origin)
    return _outcome(
        rig, out, f"Took {len(rig)} cameras over from {source} ({FORMATS[format].told})."
    )


def export_calibration(
    calibration: str | os.PathLike,
    out: str | os.PathLike,
    *,
    format: str,
    units: str | None = None,
    overwrite: bool = False,
) -> Outcome:
    """Write a calibration for another program.

    Parameters
    ----------
    calibration : path
        The calibration file, or a project's folder.
    out : path
        The file to write, or the folder for formats with a file per camera.
    format : str
        anipose, pose2sim, caliscope, opencv, jarvis, label3d, kalibr, dlt or mvg.
    units : str
        Unit of length of what is written, where the format leaves the choice; the calibration's
        unless told.
    overwrite : bool
        Write over what is there.
    """
    import numpy as np

    from calibration.cameras import METRES, CameraRig
    from calibration.formats.exchange import FORMATS, save_as
    from calibration.formats.toml import load_rig
    from calibration.multiview import move_rig

    source, out = Path(calibration), Path(out)
    if source.is_dir():
        source = source / "calibration.toml"
    rig = load_rig(source)
    if format not in FORMATS:
        raise ValueError(f"format is {format!r}; expected one of {', '.join(FORMATS)}.")
    ending = FORMATS[format].ending
    if ending and out.suffix.lower() != ending:
        raise ValueError(f"out is {out}; a file for {format} ends in {ending}.")
    taken = out.exists() and (ending or any(out.iterdir()))
    if out.resolve() == source.resolve() or (taken and not overwrite):
        raise ValueError(f"{out} is there. Give another name, or --overwrite.")
    if units is not None and units != rig.units:
        if units not in METRES:
            raise ValueError(f"units is {units!r}; expected one of {', '.join(METRES)}.")
        scale = np.diag([METRES[rig.units] / METRES[units]] * 3 + [1.0])
        rig = CameraRig(move_rig(rig, scale).cameras, units, world=rig.world)
    save_as(rig, out, format)
    kept = "" if format == "anipose" else f" Standard errors and verdict stay in {source}."
    return _outcome(rig, out, f"Wrote {len(rig)} cameras for {FORMATS[format].told}.{kept}")


def _sizes(texts):
    """Read image sizes as they are told: 1280x1024, or cam1=1280x1024."""
    sizes = {}
    for text in texts or ():
        name, _, size = text.rpartition("=")
        try:
            width, height = (int(side) for side in size.lower().split("x"))
        except ValueError:
            raise ValueError(
                f"image_size is {text!r}; expected 1280x1024, or cam1=1280x1024 for one camera."
            ) from None
        sizes[name or None] = (width, height)
    return sizes


def _check_told(rig, sizes, source):
    """Refuse sizes that a calibration contradicts: they are for those that state none."""
    if unknown := sorted({name for name in sizes if name} - set(rig.names)):
        raise ValueError(
            f"image_size names {', '.join(unknown)}; {source} has {', '.join(rig.names)}."
        )
    for camera in rig:
        told, stated = (sizes.get(camera.name, sizes.get(None)), camera.intrinsics.image_size)
        if told not in (None, stated):
            raise ValueError(
                f"image_size is {told[0]}x{told[1]} for {camera.name!r}; {source} itself is for "
                f"{stated[0]}x{stated[1]}. Leave it out: a calibration holds for its own size."
            )


def _video_sizes(folder):
    """Return the image sizes of the cameras' videos."""
    if folder is None:
        return {}
    from calibration.sources import camera_stream, find_camera_videos

    found = find_camera_videos(folder)
    return {name: tuple(camera_stream(name, source).size) for name, source in found.items()}


def _outcome(rig, path, summary):
    """Tell what a rig is."""
    import numpy as np

    table = tuple(
        {
            "camera": camera.name,
            "lens": camera.intrinsics.model,
            "image": "{} x {}".format(*camera.intrinsics.image_size),
            "focal px": float(camera.intrinsics.matrix[0, 0]),
            f"position {rig.units}": ", ".join(f"{value:.4g}" for value in camera.position),
        }
        for camera in rig
    )
    positions = np.array([camera.position for camera in rig])
    size = float(np.linalg.norm(np.ptp(positions, axis=0)))
    return Outcome(
        Path(path),
        f"{summary} Lengths in {rig.units}; the cameras span {size:.4g} {rig.units}.",
        table,
        {"n_cameras": len(rig), "units": rig.units},
    )
