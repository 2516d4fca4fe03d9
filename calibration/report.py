"""The calibration report: one HTML file that opens offline."""

import html
import os

from calibration import figures
from calibration.cameras import CameraRig
from calibration.files import write_text
from calibration.results import RigCalibration

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 1200px; padding: 1rem;
  color: #1c2733; }
h1 { margin-bottom: 0; } h2 { margin: 2rem 0 0.5rem; }
table { border-collapse: collapse; } th, td { padding: 0.2rem 0.8rem; text-align: right;
  border-bottom: 1px solid #dde3ea; } th:first-child, td:first-child { text-align: left; }
.PASS { color: #00704f; } .WARN { color: #a85a00; } .FAIL { color: #b3261e; }
.findings td { text-align: left; vertical-align: top; }
.cameras > div { min-width: 0; }
.cameras { display: grid; grid-template-columns: repeat(auto-fit, minmax(480px, 1fr)); }
"""


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
    rig, verdict = calibration.rig, calibration.verdict
    parts = [
        _head(title),
        f"<p><strong class={verdict.level}>{verdict.level}</strong> · {len(rig)} cameras, "
        f"{len(calibration.detections.frames)} moments, lengths in {rig.units}. On moments kept "
        f"out of the fit, corners lie {calibration.held_out_rms_px:.3f} px from where they should "
        f"(root mean square per coordinate); in the fit {calibration.rms_px:.3f} px.</p>",
        "<h2>What was looked at</h2><table class=findings>",
    ]
    for finding in verdict.findings:
        cells = (finding.level, finding.name, finding.found, finding.remedy)
        row = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
        parts.append(f"<tr class={finding.level}>{row}</tr>")
    parts.append("</table><h2>Cameras</h2>" + _camera_table(calibration))
    plots = [
        ("The rig and the boards", [
            figures.plot_rig(rig, calibration.board_poses, calibration.detections)
        ]),
        ("Where each camera saw corners", [
            figures.plot_coverage(calibration, name) for name in rig.names
        ]),
        ("Error of each board", [figures.plot_board_errors(calibration)]),
        ("Moments that two cameras share", [figures.plot_shared_views(calibration)]),
    ]  # fmt: skip
    for heading, drawn in plots:
        parts.append(f"<h2>{heading}</h2><div class={'cameras' if len(drawn) > 1 else 'one'}>")
        parts += [_inline(figure) for figure in drawn]
        parts.append("</div>")
    write_text(path, "\n".join(parts) + "\n")


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
        "camera", "lens", "mean error px", "fx px", "cx px", "cy px",
        f"position, {rig.units}", "rotation, degrees",
    )  # fmt: skip
    rows = []
    for i, camera in enumerate(rig):
        matrix = camera.intrinsics.matrix
        focal, centre = errors["focal"][i], errors["principal_point"][i]
        position = ", ".join(f"{value:.1f}" for value in camera.position)
        spread = ", ".join(f"{value:.2f}" for value in errors["position"][i])
        turn = ", ".join(f"{value * 57.29578:.3f}" for value in errors["rotation"][i])
        rows.append((
            camera.name,
            camera.intrinsics.model,
            f"{calibration.camera_errors[i]:.3f}",
            f"{matrix[0, 0]:.2f} ± {focal[0]:.2f}",
            f"{matrix[0, 2]:.2f} ± {centre[0]:.2f}",
            f"{matrix[1, 2]:.2f} ± {centre[1]:.2f}",
            f"({position}) ± ({spread})",
            f"± ({turn})",
        ))  # fmt: skip
    head = "".join(f"<th>{name}</th>" for name in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"
