"""Pages of figures, tables and pictures: one HTML file that opens offline."""

import base64
import html
import os
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from calibration.files import write_text
from pose3d.overlays import keypoint_colors, rgb
from pose3d.skeleton import Skeleton

#: Looks of a page.
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 1280px; padding: 1rem;
  color: #1c2733; }
h1 { margin-bottom: 0; } h2 { margin: 2rem 0 0.3rem; }
p.note { color: #51606f; margin: 0 0 0.5rem; max-width: 60rem; }
table { border-collapse: collapse; } th, td { padding: 0.2rem 0.8rem; text-align: right;
  border-bottom: 1px solid #dde3ea; } th:first-child, td:first-child { text-align: left; }
td.text { text-align: left; } .scroll { overflow-x: auto; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(280px, 1fr));
  gap: 1rem; }
figure { margin: 0; } figure img { width: 100%; } figcaption { font-size: 13px; color: #51606f;
  overflow-wrap: anywhere; }
"""


def write_page(path: str | os.PathLike, title: str, parts: Sequence[str]) -> None:
    """Write a page.

    Parameters
    ----------
    path : path
        The HTML file.
    title : str
        Shown as text.
    parts : sequence of str
        HTML of `heading`, `table`, `figure`, `pictures`.
    """
    head = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}</style><h1>{html.escape(title)}</h1>"
    )
    text = "\n".join((head, *parts))
    if "js-plotly-plot" in text or "plotly-graph-div" in text:
        from pose3d.figures import plotly_script

        text = text.replace("</style>", f"</style>{plotly_script()}", 1)
    write_text(path, text + "\n")


def heading(text: str, note: str = "") -> str:
    """Return a heading, and under it what to read in the section."""
    noted = f"<p class=note>{html.escape(note)}</p>" if note else ""
    return f"<h2>{html.escape(text)}</h2>{noted}"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a table of rows with the same keys; numbers have three digits."""
    if not rows:
        return "<p>None.</p>"
    names = "".join(f"<th>{html.escape(name.replace('_', ' '))}</th>" for name in rows[0])
    body = "".join(f"<tr>{''.join(map(_cell, row.values()))}</tr>" for row in rows)
    return f"<div class=scroll><table><tr>{names}</tr>{body}</table></div>"


def _cell(value):
    """Return a cell of a table."""
    if isinstance(value, float):
        return f"<td>{'' if np.isnan(value) else format(value, '.3g')}</td>"
    kind = "" if isinstance(value, int | np.integer) else " class=text"
    return f"<td{kind}>{html.escape(str('' if value is None else value))}</td>"


def figure(drawn) -> str:
    """Return a plotly figure as part of a page."""
    config = {"displaylogo": False, "showSendToCloud": False, "responsive": True}
    return drawn.to_html(full_html=False, include_plotlyjs=False, config=config)


def pictures(images: Sequence[np.ndarray], captions: Sequence[str]) -> str:
    """Return pictures side by side.

    Parameters
    ----------
    images : sequence of ndarray of uint8 of shape (height, width, 3)
        RGB.
    captions : sequence of str
        What stands under each.
    """
    parts = []
    for image, caption in zip(images, captions, strict=True):
        coded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
        source = base64.b64encode(coded).decode()
        text = html.escape(caption)
        parts.append(
            f'<figure><img alt="{text}" src="data:image/jpeg;base64,{source}">'
            f"<figcaption>{text}</figcaption></figure>"
        )
    return f"<div class=pictures>{''.join(parts)}</div>"


def compare_points(
    image: np.ndarray,
    labels: np.ndarray,
    found: np.ndarray,
    skeleton: Skeleton,
    *,
    least_side: int = 120,
    size: int = 360,
) -> np.ndarray:
    """Draw labels and what was found on the part of a picture that holds them.

    Parameters
    ----------
    image : ndarray of uint8 of shape (height, width) or (height, width, 3)
        The picture, grey or RGB.
    labels, found : ndarray of shape (n_keypoints, 2)
        Points in its pixels; labels are rings, what was found are crosses, a line joins them.
    skeleton : Skeleton
        Gives the colours.
    least_side : int
        Pixels of the picture that are shown at least.
    size : int
        Side of what is drawn, in pixels.

    Returns
    -------
    ndarray of uint8 of shape (size, size, 3)
    """
    if image.ndim == 2:
        image = np.repeat(image[..., np.newaxis], 3, axis=-1)
    points = np.concatenate([labels, found])
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        points = np.array([image.shape[1::-1]]) / 2
    low, high = points.min(axis=0), points.max(axis=0)
    side = max(float((high - low).max()) * 1.3, least_side)
    zoom = size / side
    matrix = np.column_stack([np.eye(2) * zoom, size / 2 - zoom * (low + high) / 2])
    shown = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR)
    colors = [rgb(color) for color in keypoint_colors(skeleton.keypoints, skeleton.symmetric)]
    places = [points @ matrix[:, :2].T + matrix[:, 2] for points in (labels, found)]
    for label, cross, color in zip(*places, colors, strict=True):
        ends = [np.rint(16 * p).astype(int).tolist() if np.isfinite(p).all() else None
                for p in (label, cross)]  # fmt: skip
        for width, shade in ((3, (0, 0, 0)), (1, color)):
            if ends[0] and ends[1]:
                cv2.line(shown, *ends, shade, width, cv2.LINE_AA, 4)
            if ends[0]:
                cv2.circle(shown, ends[0], 7 * 16, shade, width, cv2.LINE_AA, 4)
            if ends[1]:
                x, y = ends[1]
                for dx, dy in ((80, 80), (80, -80)):
                    first, last = (x - dx, y - dy), (x + dx, y + dy)
                    cv2.line(shown, first, last, shade, width, cv2.LINE_AA, 4)
    return shown
