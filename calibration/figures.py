"""Figures of a rig and its calibration, in plotly."""

import html

import numpy as np
import plotly.graph_objects as go
import plotly.offline

from calibration.boards import BoardDetections
from calibration.cameras import CameraRig
from calibration.corner_checks import CELLS
from calibration.results import RigCalibration
from calibration.verdict import MIN_SHARED

#: Colours that remain apart for the colour-blind (Okabe and Ito).
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")

#: What every figure is shown with: no logo, nothing sent anywhere.
CONFIG = {"displaylogo": False, "showSendToCloud": False, "responsive": True}


def plotly_script() -> str:
    """Return plotly's own script, for pages that open offline."""
    return plotly.offline.get_plotlyjs()


def colour(index: int) -> str:
    """Return the colour of a camera."""
    return COLOURS[index % len(COLOURS)]


def _joined(lines):
    """Join polylines (n, 3) into one trace's coordinates, with gaps between them."""
    gap = np.full((1, 3), np.nan)
    return np.concatenate([part for line in lines for part in (line, gap)]).T


def _frustum(camera, length):
    """Edges of what a camera sees, as one polyline in the world, (n, 3)."""
    width, height = camera.intrinsics.image_size
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]]) - 0.5
    matrix = camera.intrinsics.matrix
    # the pinhole's rays: at its image's corners a strong lens may have none
    rays = (corners - matrix[:2, 2]) / matrix[[0, 1], [0, 1]]
    points = np.column_stack([rays, np.ones(4)]) * length
    a, b, c, d = (points - camera.tvec) @ camera.rotation
    apex = camera.position
    return np.stack([apex, a, b, apex, c, d, apex, b, c, apex, d, a])


def plot_rig(
    rig: CameraRig, board_poses: np.ndarray | None = None, detections: BoardDetections | None = None
) -> go.Figure:
    """Draw the cameras of a rig, and the boards that calibrated it.

    Parameters
    ----------
    rig : CameraRig
        The rig.
    board_poses : ndarray of shape (n_frames, 4, 4), optional
        World from board at each moment; NaN where it is not known.
    detections : BoardDetections, optional
        What the board looks like.

    Returns
    -------
    plotly.graph_objects.Figure
        Axes to one scale, in the rig's unit.
    """
    figure = go.Figure()
    positions = np.stack([camera.position for camera in rig])
    size = max(np.ptp(positions, axis=0).max(), 1e-9)
    if board_poses is not None and detections is not None:
        board = detections.board
        x, y = board.squares_x * board.square_length, board.squares_y * board.square_length
        outline = np.array([[0, 0, 0, 1], [x, 0, 0, 1], [x, y, 0, 1], [0, y, 0, 1], [0, 0, 0, 1]])
        known = board_poses[np.isfinite(board_poses).all(axis=(1, 2))]
        boards = (outline @ known.transpose(0, 2, 1))[..., :3]
        if len(boards):
            px, py, pz = _joined(boards)
            line = {"color": "rgba(70, 85, 105, 0.8)", "width": 2}
            figure.add_scatter3d(x=px, y=py, z=pz, mode="lines", line=line, name="boards")
            size = max(size, np.ptp(boards.reshape(-1, 3), axis=0).max())
    for i, camera in enumerate(rig):
        px, py, pz = _joined([_frustum(camera, 0.12 * size)])
        figure.add_scatter3d(
            x=px, y=py, z=pz, mode="lines", name=html.escape(camera.name),
            line={"color": colour(i), "width": 4},
        )  # fmt: skip
        px, py, pz = camera.position
        figure.add_scatter3d(
            x=[px], y=[py], z=[pz], mode="text", text=[html.escape(camera.name)],
            showlegend=False,
        )  # fmt: skip
    figure.update_layout(
        scene=_one_scale(figure) | {f"{axis}axis_title": f"{axis}, {rig.units}" for axis in "xyz"},
        margin={"l": 0, "r": 0, "t": 30, "b": 0},
        height=600,
    )
    return figure


def _one_scale(figure):
    """Return axes to one scale, such that the first look holds all of it, names too."""
    drawn = {axis: np.concatenate([trace[axis] for trace in figure.data]) for axis in "xyz"}
    ends = np.array([[np.nanmin(drawn[axis]), np.nanmax(drawn[axis])] for axis in "xyz"])
    ends += np.array([-0.12, 0.12]) * np.ptp(ends, axis=1).max()
    lengths = np.ptp(ends, axis=1)
    return {
        "aspectmode": "manual",
        "aspectratio": dict(zip("xyz", 1.2 * lengths / lengths.max(), strict=True)),
    } | {f"{axis}axis_range": pair for axis, pair in zip("xyz", ends.tolist(), strict=True)}


#: Corners drawn of each camera at most.
_MOST_CORNERS = 800


def plot_coverage(calibration: RigCalibration, camera: str) -> go.Figure:
    """Draw where a camera saw corners and, cell by cell, which way they lie off.

    Parameters
    ----------
    calibration : RigCalibration
        The calibration.
    camera : str
        Name of the camera.

    Returns
    -------
    plotly.graph_objects.Figure
        The image's frame. Shaded cells hold corners, the darker the more; dots are corners,
        coloured by their reprojection error in pixels (the worst and some of the others);
        arrows are the mean residuals of cells, enlarged as the title says.
    """
    index = calibration.detections.cameras.index(camera)
    residuals = calibration.residuals[index].reshape(-1, 2)
    lens = calibration.rig[camera].intrinsics
    corners = calibration.detections.corners[index].reshape(-1, 2)
    seen = np.isfinite(residuals[:, 0]) & np.isfinite(corners[:, 0])
    corners, residuals = corners[seen], residuals[seen]
    errors = np.linalg.norm(residuals, axis=1)
    size = np.array(lens.image_size, dtype=np.float64)
    side = size / CELLS
    cell = np.clip((corners + 0.5) // side, 0, np.array(CELLS) - 1).astype(int)
    number = cell @ (1, CELLS[0])
    n_cells = CELLS[0] * CELLS[1]
    counts = np.bincount(number, minlength=n_cells)
    means = np.stack(
        [np.bincount(number, part, n_cells) / np.maximum(counts, 1) for part in residuals.T], axis=1
    )
    middles = (np.stack(np.meshgrid(*map(np.arange, CELLS)), axis=-1).reshape(-1, 2) + 0.5) * side
    enough = counts >= 3
    longest = float(np.linalg.norm(means[enough], axis=1).max(initial=0.0))
    # the longest arrow fills most of a cell
    factor = 0.8 * side.min() / longest if longest > 0 else 0.0
    power = 10 ** np.floor(np.log10(factor)) if factor > 0 else 1.0
    factor = float(np.floor(factor / power) * power)
    figure = go.Figure()
    shade = np.where(counts > 0, np.log1p(counts), np.nan).reshape(CELLS[::-1])
    figure.add_heatmap(
        z=shade, x=(np.arange(CELLS[0]) + 0.5) * side[0] - 0.5,
        y=(np.arange(CELLS[1]) + 0.5) * side[1] - 0.5, colorscale="Greys", showscale=False,
        opacity=0.35, hoverinfo="skip",
    )  # fmt: skip
    largest = float(np.percentile(errors, 99)) if errors.size else 1.0
    some = np.argsort(-errors, kind="stable")
    if len(some) > _MOST_CORNERS:
        worst, rest = np.split(some, [_MOST_CORNERS // 5])
        some = np.concatenate([worst, rest[:: -(-len(rest) // (_MOST_CORNERS - len(worst)))]])
    some = some[::-1]
    figure.add_scatter(
        x=corners[some, 0].round(1), y=corners[some, 1].round(1), mode="markers", name="corners",
        text=errors[some].round(2), hovertemplate="%{x:.0f}, %{y:.0f}: %{text} px<extra></extra>",
        marker={
            "size": 4, "color": errors[some].round(3), "colorscale": "Viridis", "cmin": 0,
            "cmax": largest, "colorbar": {"title": "px", "thickness": 12},
        },
    )  # fmt: skip
    start, tip = middles[enough] - 0.5, middles[enough] - 0.5 + factor * means[enough]
    x, y = _arrows(start, tip).T
    figure.add_scatter(
        x=x, y=y, mode="lines", line={"color": "#D55E00", "width": 2}, hoverinfo="skip"
    )
    figure.update_xaxes(range=[-0.5, size[0] - 0.5], constrain="domain", zeroline=False)
    figure.update_yaxes(range=[size[1] - 0.5, -0.5], scaleanchor="x", zeroline=False)
    covered = np.count_nonzero(counts) / n_cells
    figure.update_layout(
        title={
            "text": f"{html.escape(camera)}: {covered:.0%} of the image, arrows x {factor:g}",
            "font": {"size": 14},
        },
        showlegend=False,
        height=380,
        margin={"l": 40, "r": 10, "t": 40, "b": 30},
    )
    return figure


def _arrows(start, tip):
    """Polylines of arrows from some points to others, with gaps between them, (n, 2)."""
    way = tip - start
    left = way @ np.array([[0.87, 0.5], [-0.5, 0.87]])
    right = way @ np.array([[0.87, -0.5], [0.5, 0.87]])
    gap = np.full_like(start, np.nan)
    lines = [start, tip, tip - 0.3 * left, gap, tip, tip - 0.3 * right, gap]
    return np.stack(lines, axis=1).reshape(-1, 2).round(1)


def plot_residuals(calibration: RigCalibration) -> go.Figure:
    """Draw how residuals spread in each camera, beside the normal curve they should follow.

    Returns
    -------
    plotly.graph_objects.Figure
        Densities of residuals over the camera's own root mean square, of the corners fitted.
    """
    figure = go.Figure()
    edges = np.linspace(-4, 4, 41)
    middles = (edges[1:] + edges[:-1]) / 2
    fitted = np.isfinite(calibration.detections.corners)
    for i, camera in enumerate(calibration.rig.names):
        values = calibration.residuals[i][fitted[i] & np.isfinite(calibration.residuals[i])]
        if values.size < 20:
            continue
        spread = float(np.sqrt(np.mean(values**2)))
        density, _ = np.histogram(values / max(spread, 1e-12), edges, density=True)
        figure.add_scatter(
            x=middles, y=density.round(4), mode="lines", line={"color": colour(i), "shape": "hvh"},
            name=f"{html.escape(camera)}, {spread:.3f} px",
        )  # fmt: skip
    figure.add_scatter(
        x=middles, y=np.exp(-(middles**2) / 2) / np.sqrt(2 * np.pi), mode="lines",
        line={"color": "#000", "dash": "dot", "width": 3}, name="normal",
    )  # fmt: skip
    figure.update_xaxes(title="residual over the camera's root mean square")
    figure.update_yaxes(title="density")
    figure.update_layout(height=340, margin={"l": 50, "r": 10, "t": 10, "b": 40})
    return figure


def plot_view_graph(calibration: RigCalibration) -> go.Figure:
    """Draw which cameras saw the board together: the more moments, the thicker the line."""
    names, shared = calibration.rig.names, calibration.shared_views
    angle = np.linspace(0, 2 * np.pi, len(names), endpoint=False) + np.pi / 2
    x, y = np.cos(angle), np.sin(angle)
    figure = go.Figure()
    most = max(1, int((shared - np.diag(np.diag(shared))).max()))
    for i in range(len(names)):
        for j in range(i + 1, len(names)):
            count = int(shared[i, j])
            if not count:
                continue
            # weak links stand out
            line = {
                "width": 1 + 7 * count / most,
                "color": "#D55E00" if count < MIN_SHARED[0] else "#9fb3c8",
            }
            figure.add_scatter(
                x=[x[i], (x[i] + x[j]) / 2, x[j]], y=[y[i], (y[i] + y[j]) / 2, y[j]],
                mode="lines+text" if len(names) <= 8 else "lines", line=line,
                text=["", str(count), ""], textposition="middle center", hoverinfo="text",
                hovertext=f"{html.escape(names[i])} and {html.escape(names[j])}: {count}",
            )  # fmt: skip
    figure.add_scatter(
        x=x, y=y, mode="markers+text", text=[html.escape(name) for name in names],
        textposition=["top center" if each > -0.1 else "bottom center" for each in y],
        marker={"size": 16, "color": [colour(i) for i in range(len(names))]},
        hovertext=[f"{html.escape(n)}: {shared[i, i]} moments" for i, n in enumerate(names)],
        hoverinfo="text",
    )  # fmt: skip
    figure.update_xaxes(visible=False, range=[-1.4, 1.4])
    figure.update_yaxes(visible=False, range=[-1.4, 1.4], scaleanchor="x")
    figure.update_layout(
        height=420, showlegend=False, margin={"l": 0, "r": 0, "t": 0, "b": 0},
        plot_bgcolor="#ffffff",
    )  # fmt: skip
    return figure


def plot_board_errors(calibration: RigCalibration) -> go.Figure:
    """Draw the mean reprojection error of each camera at each moment, in pixels."""
    figure = go.Figure()
    for i, (camera, errors) in enumerate(
        zip(calibration.rig.names, calibration.board_errors, strict=True)
    ):
        figure.add_scatter(
            x=calibration.detections.frames, y=errors.round(4), mode="markers",
            name=html.escape(camera),
            marker={"color": colour(i)},
        )  # fmt: skip
    figure.update_xaxes(title="frame")
    figure.update_yaxes(title="mean reprojection error, px", rangemode="tozero")
    figure.update_layout(height=320, margin={"l": 50, "r": 10, "t": 10, "b": 40})
    return figure
