"""The calibration report: one HTML file that opens offline."""

import html
import math
import os
from importlib.metadata import version

import numpy as np

from calibration import figures
from calibration import verdict as verdict_limits
from calibration.cameras import CameraRig
from calibration.files import write_text
from calibration.results import RigCalibration

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 1280px; padding: 1rem;
  color: #1c2733; }
h1 { margin-bottom: 0; } h2 { margin: 2rem 0 0.3rem; }
p.note { color: #51606f; margin: 0 0 0.5rem; }
table { border-collapse: collapse; } th, td { padding: 0.2rem 0.8rem; text-align: right;
  border-bottom: 1px solid #dde3ea; } th:first-child, td:first-child { text-align: left; }
.scroll { overflow-x: auto; }
.PASS { color: #00704f; } .WARN { color: #a85a00; } .FAIL { color: #b3261e; }
.verdict { border-left: 6px solid; padding: 0.4rem 1rem; background: #f5f7fa; margin: 0.8rem 0; }
.verdict strong { font-size: 1.3rem; } .verdict li { color: #1c2733; margin: 0.3rem 0; }
.verdict p { color: #1c2733; margin: 0.2rem 0; }
.findings td { text-align: left; vertical-align: top; }
.cameras { display: grid; grid-template-columns: repeat(auto-fit, minmax(440px, 1fr)); }
.cameras > div { min-width: 0; } details { margin: 0.5rem 0; } summary { cursor: pointer; }
pre { font-size: 12px; overflow-x: auto; }
@media print { body { max-width: none; } }
"""

#: With more cameras than this, the figures of each are drawn when they are asked for.
_AT_ONCE = 8

#: What to read in a figure, under its heading.
_NOTES = {
    "The rig and the boards": (
        "Each camera with what it sees, and every board. A camera where none stands, or boards "
        "beyond the wall, show a wrong rig at once."
    ),
    "Where each camera saw corners": (
        "Unshaded parts of an image hold no corner: there the lens is guessed. Arrows that turn "
        "round or point outwards in an orderly way mean that the lens model is too simple; "
        "disorderly short ones are noise."
    ),
    "Error of each board": (
        "One dot per camera and moment. A camera that rises from some frame on was moved or lost "
        "a frame; single high dots are blurred or wrongly detected boards."
    ),
    "How residuals spread": (
        "Each line should follow the dotted curve. Narrow peaks with long tails mean wrong "
        "corners; a line that is far wider in px than the others is a camera at fault."
    ),
    "Moments that two cameras share": (
        "The thicker, the more moments both saw the board. Orange links are weak: record the "
        "board where both cameras see it."
    ),
}


def save_report(path: str | os.PathLike, calibration: RigCalibration, *, title: str) -> None:
    """Write the report of a calibration.

    Parameters
    ----------
    path : path
        The HTML file.
    calibration : RigCalibration
        The calibration.
    title : str
        What was calibrated; shown as text.
    """
    rig = calibration.rig
    parts = [_head(title), _verdict(calibration)]
    sections = {
        "The rig and the boards": [
            lambda: figures.plot_rig(rig, calibration.board_poses, calibration.detections)
        ],
        "Where each camera saw corners": [
            lambda name=name: figures.plot_coverage(calibration, name) for name in rig.names
        ],
        "Error of each board": [lambda: figures.plot_board_errors(calibration)],
        "How residuals spread": [lambda: figures.plot_residuals(calibration)],
        "Moments that two cameras share": [lambda: figures.plot_view_graph(calibration)],
    }
    parts.append("<h2>Cameras</h2><div class=scroll>" + _camera_table(calibration) + "</div>")
    for heading, draws in sections.items():
        parts.append(f"<h2>{heading}</h2><p class=note>{_NOTES[heading]}</p>")
        many = len(draws) > 1
        folded = many and len(draws) > _AT_ONCE
        parts.append(f"<div class={'cameras' if many and not folded else 'one'}>")
        for name, draw in zip(rig.names if many else [""], draws, strict=True):
            figure = _inline(draw())
            if folded:
                about = html.escape(name)
                figure = (
                    f"<details class=camera><summary>{about}</summary><template>{figure}"
                    "</template></details>"
                )
            parts.append(figure)
        parts.append("</div>")
    parts += [_findings(calibration), _provenance(calibration), _SCRIPT]
    write_text(path, "\n".join(parts) + "\n")


#: Figures that are folded away are made when they open; all are measured when the page stands.
_SCRIPT = """<script>
const measure = (part) => {
  for (const plot of part.querySelectorAll(".js-plotly-plot")) Plotly.Plots.resize(plot);
};
for (const details of document.querySelectorAll("details.camera")) {
  details.addEventListener("toggle", () => {
    const template = details.querySelector("template");
    if (template) {
      details.append(document.importNode(template.content, true));
      template.remove();
    }
    setTimeout(() => measure(details));
  });
}
window.addEventListener("load", () => measure(document));
window.addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
</script>"""


def _verdict(calibration):
    """Write whether to believe it, and what to do first."""
    verdict, rig, held = calibration.verdict, calibration.rig, calibration.held_out
    told = {
        "PASS": "This calibration can be believed.",
        "WARN": "This calibration can be used; mind what follows.",
        "FAIL": "This calibration cannot be believed. Do this:",
    }[verdict.level]
    lines = [
        f"<div class='verdict {verdict.level}'><strong>{verdict.level}</strong> {told}",
        f"<p>{len(rig)} cameras, {len(calibration.detections.frames)} moments, lengths in "
        f"{rig.units}.",
    ]
    if held is not None:
        lines.append(
            f"On moments kept out of the fit, corners lie {held.rms_px:.3f} px from where they "
            f"should (root mean square per coordinate; {calibration.rms_px:.3f} px in the fit)."
        )
        if held.n_lengths:
            square = calibration.detections.board.square_length
            lines.append(
                f"Squares of {square:g} {rig.units} measure {_exact(square, held)} {rig.units} on "
                f"average there, single ones to {held.length_rms:.2g} {rig.units}; corners lie "
                f"in one plane to {held.flatness_rms:.2g} {rig.units}."
            )
    else:
        lines.append("No moments were kept out of the fit to test it.")
    lines.append("</p><ol>")
    # what is out of time or place explains most of the rest: it comes first
    order = {"FAIL": 0, "WARN": 1}
    bad = [each for each in verdict.findings if each.level in order]
    bad.sort(key=lambda each: (order[each.level], each.name != "times"))
    first = 1 if bad and bad[0].name == "times" and bad[0].level == "FAIL" else len(bad)
    items = [
        f"<li><span class={each.level}>{each.level}</span> <b>{html.escape(each.name)}</b>: "
        f"{html.escape(each.found)} {html.escape(each.remedy)}</li>"
        for each in bad
    ]
    lines += items[:first]
    lines.append("</ol>")
    if items[first:]:
        lines.append(
            "<details><summary>Probably consequences of this</summary><ol>"
            f"{''.join(items[first:])}</ol></details>"
        )
    return "\n".join(lines) + "</div>"


def _exact(square, held):
    """Write the mean length of squares with as many digits as it is known to."""
    error = max(held.length_rms / max(held.n_lengths, 1) ** 0.5, 1e-6)
    digits = max(0, -math.floor(math.log10(error)))
    return f"{square * (1 + held.length_bias):.{digits}f}"


def _findings(calibration):
    """Write everything that was looked at, and the limits."""
    rows = "".join(
        f"<tr class={each.level}>"
        + "".join(
            f"<td>{html.escape(cell)}</td>"
            for cell in (each.level, each.name, each.found, each.remedy)
        )
        + "</tr>"
        for each in calibration.verdict.findings
    )
    limits = html.escape((verdict_limits.__doc__ or "").strip())
    return (
        f"<h2>Everything that was looked at</h2><table class=findings>{rows}</table>"
        f"<details><summary>The limits, and why they are where they are</summary>"
        f"<pre>{limits}</pre></details>"
    )


def _provenance(calibration):
    """Write what the calibration was made from."""
    detections = calibration.detections
    frames = detections.frames
    span = f"{frames.min()} to {frames.max()}" if len(frames) else "none"
    sources = "".join(
        f"<li>{html.escape(camera)}: {html.escape(source)}</li>"
        for camera, source in zip(detections.cameras, detections.sources, strict=False)
    )
    return (
        f"<h2>Made from</h2><p>{html.escape(str(detections.board))}; frames {span}; pose3d "
        f"{html.escape(version('pose3d'))}.</p><ul>{sources}</ul>"
    )


def save_rig_view(path: str | os.PathLike, rig: CameraRig, *, title: str) -> None:
    """Write a view of a rig of which nothing but the cameras is known.

    Parameters
    ----------
    path : path
        The HTML file.
    rig : CameraRig
        The rig.
    title : str
        What it is; shown as text.
    """
    write_text(path, f"{_head(title)}\n{_inline(figures.plot_rig(rig))}\n")


def _head(title):
    """Write the head of a page: its title and plotly itself, so that it opens offline."""
    title = html.escape(title)
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
        f"<style>{_STYLE}</style><script>{figures.plotly_script()}</script><h1>{title}</h1>"
    )


def _inline(figure):
    """Write a figure into a page that holds plotly."""
    return figure.to_html(full_html=False, include_plotlyjs=False, config=figures.CONFIG)


def _camera_table(calibration):
    """Write the table of the cameras: what was found and its standard error."""
    rig, errors = calibration.rig, calibration.standard_errors
    heads = (
        "camera", "lens", "coefficients", "mean error px", "fx px", "cx px", "cy px",
        f"position, {rig.units}", "rotation vector, degrees",
    )  # fmt: skip
    rows = []
    for i, camera in enumerate(rig):
        matrix, dist = camera.intrinsics.matrix, camera.intrinsics.dist
        focal, centre = errors["focal"][i], errors["principal_point"][i]
        place, turn = errors["position"][i], errors["rotation"][i]
        if place.any() or turn.any():
            position = f"{_row(camera.position, 1)} ± {_row(place, 2)}"
            rotation = f"{_row(np.degrees(camera.rvec), 2)} ± {_row(np.degrees(turn), 3)}"
        else:
            position, rotation = f"{_row(camera.position, 1)}, held", "held: others relate to it"
        note = calibration.lens_notes.get(camera.name, "")
        choice = note.partition(":")[0] if note else ""
        lens = camera.intrinsics.model
        rows.append((
            camera.name,
            f"{choice} ({lens})" if choice and choice != lens else lens,
            ", ".join(f"{value:.3g}" for value in dist if value) or "none",
            f"{calibration.camera_errors[i]:.3f}",
            f"{matrix[0, 0]:.2f} ± {focal[0]:.2f}",
            f"{matrix[0, 2]:.2f} ± {centre[0]:.2f}",
            f"{matrix[1, 2]:.2f} ± {centre[1]:.2f}",
            position,
            rotation,
        ))  # fmt: skip
    head = "".join(f"<th>{name}</th>" for name in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    notes = "".join(
        f"<li>{html.escape(name)}: {html.escape(note)}</li>"
        for name, note in calibration.lens_notes.items()
    )
    why = f"<details><summary>Why these lenses</summary><ul>{notes}</ul></details>" if notes else ""
    return f"<table><tr>{head}</tr>{body}</table>{why}"


def _row(values, digits):
    """Write three numbers in brackets."""
    return "(" + ", ".join(f"{value:.{digits}f}" for value in values) + ")"
