"""What is installed here, and what stands in the way."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from pathlib import Path

from calibration.results import Outcome

_PACKAGES = (
    "tensorflow",
    "keras",
    "numpy",
    "scipy",
    "opencv-contrib-python",
    "av",
    "pandas",
    "h5py",
    "plotly",
    "aniposelib",
)


def doctor() -> Outcome:
    """Tell which versions, codecs and graphics cards are here, and what is in the way.

    Returns
    -------
    Outcome
        A row for each thing looked at; `failed` names what must be mended first.
    """
    rows = [{"what": "Python", "found": platform.python_version(), "remedy": ""}]
    rows += [_package(name) for name in _PACKAGES]
    rows += [_single_cv2(), _h264(), _graphics_cards(), _browser(), _disk()]
    problems = [f"{row['what']}: {row['remedy']}" for row in rows if row["remedy"]]
    return Outcome(
        path=Path(sys.prefix),
        summary="; ".join(problems) if problems else "All is well.",
        table=tuple(rows),
        figures={row["what"]: row["found"] for row in rows},
        failed="; ".join(problems),
    )


def _package(name):
    """Look up the version of a package."""
    try:
        return {"what": name, "found": importlib.metadata.version(name), "remedy": ""}
    except importlib.metadata.PackageNotFoundError:
        return {"what": name, "found": "missing", "remedy": f"pip install {name}"}


def _single_cv2():
    """Look for a second package that overwrites the files of OpenCV."""
    owners = sorted(
        name
        for name in importlib.metadata.packages_distributions().get("cv2", ())
        if name != "opencv-contrib-python"
    )
    remedy = ""
    if owners:
        remedy = (
            f"pip uninstall -y {' '.join(owners)} opencv-contrib-python, then "
            "pip install opencv-contrib-python (two packages own cv2; the last one installed wins)"
        )
    return {"what": "packages that own cv2", "found": 1 + len(owners), "remedy": remedy}


def _h264():
    """Look for the encoder of the videos that browsers play."""
    try:
        import av

        found = "h264" if "libx264" in av.codecs_available else "no encoder"
    except ImportError as error:
        found = str(error)
    remedy = "" if found == "h264" else "pip install --force-reinstall av"
    return {"what": "video encoder", "found": found, "remedy": remedy}


def _graphics_cards():
    """Ask TensorFlow for graphics cards; none is no problem."""
    if importlib.util.find_spec("tensorflow") is None:
        return {"what": "graphics cards", "found": "unknown", "remedy": ""}
    from pose3d.networks.devices import graphics_cards

    cards = graphics_cards()
    return {"what": "graphics cards", "found": ", ".join(cards) or "none", "remedy": ""}


def _browser():
    """Look for a browser that shows the viewer."""
    import webbrowser

    try:
        found = webbrowser.get().name
    except webbrowser.Error:
        found = "none: copy the HTML file to a machine with a screen"
    return {"what": "browser", "found": found, "remedy": ""}


def _disk():
    """Look at the free space of the working folder."""
    free = shutil.disk_usage(os.getcwd()).free / 1e9
    remedy = "" if free > 2 else "free some space: videos and networks take gigabytes"
    return {"what": "free disk here, GB", "found": round(free, 1), "remedy": remedy}
