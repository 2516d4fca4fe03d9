"""Step: label in the browser."""

import os
import webbrowser

from calibration.errors import DataError
from calibration.results import Outcome

__all__ = ["label_frames"]


def label_frames(
    project: str | os.PathLike,
    *,
    recording: str | None = None,
    at: str | None = None,
    port: int = 0,
    link: str | None = None,
    open_browser: bool = True,
) -> Outcome:
    """Label frames in the browser, all views at once; stop with Ctrl+C.

    With a calibration, a click in one view draws the curves on which the point lies in the
    others, and a second one offers it in all the rest. Every change is on the disk before the
    page says "saved". The page is served to this computer alone, to who has the link; from
    another computer, forward the port (ssh -L) and open the same link.

    Parameters
    ----------
    project : path
        The project's folder.
    recording : str
        The recording to open first; the first one with images unless told.
    at : str
        The image to open first, as check-labels names it: trot_cam1/img00020.png.
    port : int
        Port on this computer; a free one unless told.
    link : str
        The address of a page that is still open after label-frames ended: it is served again
        under the same address, so that the page saves what it holds.
    open_browser : bool
        Open the page in the browser, where there is a screen.
    """
    import socket
    import sys
    from urllib.parse import quote

    import uvicorn

    from pose3d.labeling.content import labeled_recordings
    from pose3d.labeling.server import Labeling, labeling_app
    from pose3d.project import Project

    loaded = Project.load(project)
    known = labeled_recordings(loaded)
    if not known:
        raise DataError(
            f"{loaded.path / 'labeled-data'} holds no images of a recording, and no recording has "
            "videos to choose them from. Add one with add-recording, or images with "
            "extract-frames."
        )
    if recording is not None and recording not in known:
        raise DataError(
            f"{recording!r} has no images to label; recordings with images: {', '.join(known)}."
        )
    place = quote(recording) if recording else ""
    if at is not None:
        recording, image = _place(loaded, at)
        place = f"{quote(recording)}/{quote(image)}"
    token = None
    if link is not None:
        port, token = _port_and_token(link)
        open_browser = False
    labeling = Labeling(loaded)
    app, token = labeling_app(labeling, token)
    try:
        door = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise ValueError(f"Port {port} cannot be used ({error}). Choose another.") from None
    address = f"http://127.0.0.1:{door.getsockname()[1]}/?token={token}"
    if place:
        address += f"#{place}"
    print(f"Label in the browser at {address}\nStop with Ctrl+C.", file=sys.stderr, flush=True)
    if open_browser and _has_screen():
        webbrowser.open(address)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2))
    try:
        server.run(sockets=[door])
    except KeyboardInterrupt:
        pass  # how one leaves; everything is on the disk already
    finally:
        door.close()
        changes = sum(content.session.sequence for content in labeling.contents)
        labeling.close()
    return Outcome(
        path=loaded.path / "labeled-data",
        summary=f"Labelled with {changes} changes.",
        figures={"changes": changes, "recordings": len(known)},
    )


def _place(project, at):
    """Read which recording and which of its images is meant."""
    folder, _, image = at.replace(os.sep, "/").rpartition("/")
    folder = folder.rpartition("/")[2]
    owner = project.whose_folder(folder) if folder else None
    if owner is None or not (project.path / "labeled-data" / folder / image).is_file():
        raise ValueError(
            f"at is {at!r}; expected an image in a folder of labeled-data, such as "
            "trot_cam1/img00020.png."
        )
    return owner[0], image


def _port_and_token(link):
    """Read the port and the token from a page's address."""
    import re

    found = re.fullmatch(
        r"http://(?:127\.0\.0\.1|localhost):([0-9]{1,5})/\?token=([\w-]{20,})(?:#.*)?", link.strip()
    )
    if found is None:
        raise ValueError(
            f"link is {link!r}; expected a page's whole address, such as "
            "http://127.0.0.1:8000/?token=..., in quotes."
        )
    return int(found[1]), found[2]


def _has_screen():
    import sys

    return not sys.platform.startswith("linux") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
