"""The labelling page's server: on loopback alone, for who has the link.

Every answer but the page's own fixed parts needs the token of the link; requests that name
another host, or come from another site's page, are refused. Images are found by recording,
camera and number, never by a path of the request's.
"""

import contextlib
import hmac
import json
import re
import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from calibration.errors import DataError
from pose3d.labeling.calibrating import calibrate_from_labels, lens_files
from pose3d.labeling.content import RecordingContent, labeled_recordings, project_content
from pose3d.labeling.flow import carried_points
from pose3d.labeling.keys import ACTIONS, load_keys
from pose3d.labeling.orders import ORDERS, order_moments
from pose3d.labeling.session import ChangedElsewhere, LabelSession
from pose3d.labeling.videos import AROUND
from pose3d.project import Project

_PARTS = Path(__file__).parent
_TYPES = {".js": "text/javascript", ".css": "text/css"}
_LOOPBACK = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?")
_LARGEST = 4 << 20

#: Scripts and styles from files alone, nothing from or to any other host.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Labeling:
    """A project that is open for labelling: its recordings, opened when they are asked for.

    Parameters
    ----------
    project : Project
        The project.
    """

    def __init__(self, project: Project):
        self.project = project
        self.keys = load_keys(project.path)
        self._open: dict[str, RecordingContent] = {}
        self._lock = threading.Lock()

    def recording(self, name: str) -> RecordingContent:
        """Return a recording, opening it if need be; DataError if it has no images."""
        with self._lock:
            if name not in self._open:
                if name not in labeled_recordings(self.project):
                    raise DataError(f"The project has no recording {name!r} with images to label.")
                self._open[name] = RecordingContent(LabelSession(self.project, name))
            return self._open[name]

    @property
    def contents(self) -> list[RecordingContent]:
        """The recordings that are open."""
        return list(self._open.values())

    def close(self) -> None:
        """Write what is unwritten and close all recordings."""
        with contextlib.ExitStack() as stack:
            for content in self._open.values():
                stack.callback(content.session.close)
            self._open = {}


def labeling_app(labeling: Labeling, token: str | None = None) -> tuple[Starlette, str]:
    """Make the application.

    Parameters
    ----------
    labeling : Labeling
        The open project.
    token : str, optional
        What the link must hold; made up unless given.

    Returns
    -------
    app : Starlette
        The application, an ASGI one.
    token : str
        What the link must hold: ``http://127.0.0.1:<port>/?token=<token>``.
    """
    token = token or secrets.token_urlsafe(24)

    def page(request):
        return FileResponse(_PARTS / "page.html", media_type="text/html")

    def part(request):
        name = request.path_params["name"]
        known = {path.name: path for path in _PARTS.iterdir() if path.suffix in _TYPES}
        if name not in known:
            return PlainTextResponse("There is no such part.", 404)
        return FileResponse(known[name], media_type=_TYPES[known[name].suffix])

    def content(request):
        return labeling.recording(request.path_params["recording"])

    def project(request):
        told = project_content(labeling.project, labeling.keys)
        told["orders"] = ORDERS
        told["help"] = {action: words for action, (_, words) in ACTIONS.items()}
        return JSONResponse(told)

    def moment(request):
        return JSONResponse(content(request).moment(request.path_params["moment"]))

    def queue(request):
        ordered = order_moments(content(request), request.path_params["order"])
        return JSONResponse({"order": ordered})

    def image(request):
        found, camera = content(request), request.path_params["camera"]
        name = found.session.images(request.path_params["moment"]).get(camera)
        if name is None:
            raise FileNotFoundError(f"{camera!r} has no image of this moment.")
        path = (found.session.folders[camera].path / name).resolve()
        if not path.is_relative_to(labeling.project.path.resolve()):
            raise DataError(f"{name} is a link that leads out of the project; copy the image in.")
        if not path.is_file():
            raise FileNotFoundError(f"{path.parent.name}/{name} is not there.")
        if path.suffix.lower() in (".tif", ".tiff"):  # browsers do not show these
            return _as_png(path)
        return FileResponse(path)

    def frame(request):
        asked = request.path_params
        picture = content(request).videos.picture(
            asked["camera"],
            asked["moment"],
            around=AROUND if "around" in request.query_params else 0,
        )
        return Response(picture, media_type="image/jpeg")

    def flow(request):
        asked = request.path_params
        return JSONResponse(
            carried_points(content(request).videos, asked["moment"], asked["direction"])
        )

    async def add(request: Request):
        body = await _body(request)

        def make():
            moment = body["moment"]
            if type(moment) is not int or moment < 0:
                raise ValueError(f"moment is {str(moment)[:40]}; expected a number from 0.")
            written = content(request).videos.add_moment(moment)
            return JSONResponse({"name": str(moment), "images": len(written)})

        return await run_in_threadpool(_told, make)

    async def calibrate(request: Request):
        body = await _body(request)

        def make():
            given = {key: body.get(key) for key in ("length", "bone", "cameras", "lenses")}
            for key in ("bone", "cameras"):
                if given[key] is not None and not _are_names(given[key]):
                    raise ValueError(f"{key} is {str(given[key])[:80]}; expected two names.")
            if not isinstance(given["lenses"], str | None):
                raise ValueError("lenses is no name of a file.")
            return JSONResponse(calibrate_from_labels(content(request), **given))

        return await run_in_threadpool(_told, make)

    async def change(request: Request):
        body = await _body(request)

        def make():
            found = content(request)
            if not isinstance(body["changes"], list):
                raise ValueError("changes is no list.")
            sequence = found.session.change(
                body["changes"], kind=body.get("kind", "change"), tab=str(body.get("tab", ""))[:40]
            )
            return JSONResponse({**found.status(), "sequence": sequence})

        return await run_in_threadpool(_told, make)

    def told(answer: Callable[[Request], Response]):
        return lambda request: _told(lambda: answer(request))

    routes = [
        Route("/", page),
        Route("/parts/{name}", part),
        Route("/favicon.ico", lambda request: Response(status_code=204)),
        Route("/api/project", told(project)),
        Route("/api/recording/{recording}", told(lambda r: JSONResponse(content(r).recording()))),
        Route("/api/status/{recording}", told(lambda r: JSONResponse(content(r).status()))),
        Route("/api/bones/{recording}", told(lambda r: JSONResponse(content(r).bones()))),
        Route("/api/queue/{recording}/{order}", told(queue)),
        Route("/api/moment/{recording}/{moment}", told(moment)),
        Route("/api/image/{recording}/{camera}/{moment}", told(image)),
        Route("/api/video/{recording}", told(lambda r: JSONResponse(content(r).videos.about()))),
        Route("/api/frame/{recording}/{camera}/{moment:int}", told(frame)),
        Route("/api/flow/{recording}/{moment}/{direction}", told(flow)),
        Route("/api/lenses/{recording}", told(lambda r: JSONResponse(lens_files(content(r))))),
        Route("/api/calibrate/{recording}", calibrate, methods=["POST"]),
        Route("/api/add/{recording}", add, methods=["POST"]),
        Route("/api/change/{recording}", change, methods=["POST"]),
    ]
    app = Starlette(routes=routes)
    app.add_middleware(Guard, token=token)
    return app, token


class Guard:
    """Refuse requests that do not come from the page, and say what browsers may do with it."""

    def __init__(self, app: ASGIApp, token: str):
        self.app, self.token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request or hand it on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        refusal = self._refusal(request)
        if refusal:
            await _guarded(PlainTextResponse(refusal, 403))(scope, receive, send)
            return

        async def send_guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_headers()]
            await send(message)

        await self.app(scope, receive, send_guarded)

    def _refusal(self, request):
        """Say why a request is refused; empty if it is not."""
        host = request.headers.getlist("host")
        if len(host) != 1 or not _LOOPBACK.fullmatch(host[0]):
            return "This page answers to 127.0.0.1 and localhost alone."
        origin = request.headers.get("origin")
        if origin is not None and origin != f"http://{host[0]}":
            return "The request comes from another site's page."
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return "The request comes from another site's page."
        if request.url.path.startswith("/parts/") or request.url.path == "/favicon.ico":
            return ""
        shown = request.headers.get("x-token") or (
            request.query_params.get("token") if request.url.path == "/" else None
        )
        if not hmac.compare_digest((shown or "").encode(), self.token.encode()):
            return "Open the whole link that label-frames printed: its token is missing or old."
        return ""


def _headers():
    return [
        (b"content-security-policy", POLICY.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"cross-origin-opener-policy", b"same-origin"),
        (b"cache-control", b"no-store"),
    ]


def _guarded(response):
    response.raw_headers.extend(_headers())
    return response


async def _body(request):
    """Read a mapping as JSON, of bounded size."""
    content = b""
    async for chunk in request.stream():
        content += chunk
        if len(content) > _LARGEST:
            return {}
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _are_names(given):
    return isinstance(given, list) and len(given) == 2 and all(isinstance(n, str) for n in given)


def _told(answer):
    """Answer, or say in words what is wrong."""
    try:
        return answer()
    except ChangedElsewhere as error:
        return JSONResponse({"error": str(error)}, 409)
    except FileNotFoundError as error:
        return JSONResponse({"error": str(error)}, 404)
    except OSError as error:
        return JSONResponse({"error": f"The change could not be written: {error}"}, 507)
    except KeyError as error:
        return JSONResponse({"error": f"The request lacks {error}."}, 400)
    except ValueError as error:
        return JSONResponse({"error": str(error)}, 400)


def _as_png(path):
    """Turn a picture that browsers do not show into one that they do."""
    import cv2

    from calibration.video import read_image

    done, content = cv2.imencode(".png", read_image(path)[..., ::-1])
    if not done:
        raise DataError(f"{path} cannot be shown.")
    return Response(content.tobytes(), media_type="image/png")
