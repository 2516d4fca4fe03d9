"""Figures of a rig and its calibration, in plotly."""

import numpy as np
import plotly.graph_objects as go
import plotly.offline

from calibration.boards import BoardDetections
from calibration.cameras import CameraRig
from calibration.results import RigCalibration

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
            x=px, y=py, z=pz, mode="lines", name=camera.name, line={"color": colour(i), "width": 4}
        )
        px, py, pz = camera.position
        figure.add_scatter3d(
            x=[px], y=[py], z=[pz], mode="text", text=[camera.name], showlegend=False
        )
    figure.update_layout(
        scene={"aspectmode": "data"}
        | {f"{axis}axis_title": f"{axis}, {rig.units}" for axis in "xyz"},
        margin={"l": 0, "r": 0, "t": 30, "b": 0},
        height=600,
    )
    return figure


def plot_coverage(calibration: RigCalibration, camera: str) -> go.Figure:
    """Draw where a camera saw corners, and how far each lies from where it should, enlarged.

    Parameters
    ----------
    calibration : RigCalibration
        The calibration.
    camera : str
        Name of the camera.

    Returns
    -------
    plotly.graph_objects.Figure
        The image's frame; dots are corners, coloured by their reprojection error in pixels;
        lines are residuals, twenty times as long as they are.
    """
    index = calibration.detections.cameras.index(camera)
    residuals = calibration.residuals[index].reshape(-1, 2)
    lens = calibration.rig[camera].intrinsics
    corners = calibration.detections.corners[index].reshape(-1, 2)
    seen = np.isfinite(residuals[:, 0]) & np.isfinite(corners[:, 0])
    corners, residuals = corners[seen], residuals[seen]
    errors = np.linalg.norm(residuals, axis=1)
    lines = np.stack([corners, corners + 20 * residuals, np.full_like(corners, np.nan)], axis=1)
    x, y = lines.reshape(-1, 2).T
    figure = go.Figure()
    figure.add_scattergl(
        x=x, y=y, mode="lines", line={"color": "#888", "width": 1}, name="residual x 20",
        hoverinfo="skip",
    )  # fmt: skip
    largest = float(np.percentile(errors, 99)) if errors.size else 1.0
    figure.add_scattergl(
        x=corners[:, 0], y=corners[:, 1], mode="markers", name="corners", text=errors.round(2),
        marker={
            "size": 5, "color": errors, "colorscale": "Viridis", "cmin": 0, "cmax": largest,
            "colorbar": {"title": "px"},
        },
    )  # fmt: skip
    width, height = lens.image_size
    figure.update_xaxes(range=[-0.5, width - 0.5], constrain="domain", zeroline=False)
    figure.update_yaxes(range=[height - 0.5, -0.5], scaleanchor="x", zeroline=False)
    figure.update_layout(
        title={"text": camera},
        showlegend=False,
        height=380,
        margin={"l": 40, "r": 10, "t": 40, "b": 30},
    )
    return figure


def plot_board_errors(calibration: RigCalibration) -> go.Figure:
    """Draw the mean reprojection error of each camera at each moment, in pixels."""
    figure = go.Figure()
    for i, (camera, errors) in enumerate(
        zip(calibration.rig.names, calibration.board_errors, strict=True)
    ):
        figure.add_scatter(
            x=calibration.detections.frames, y=errors, mode="markers", name=camera,
            marker={"color": colour(i)},
        )  # fmt: skip
    figure.update_xaxes(title="frame")
    figure.update_yaxes(title="mean reprojection error, px", rangemode="tozero")
    figure.update_layout(height=320, margin={"l": 50, "r": 10, "t": 10, "b": 40})
    return figure


def plot_shared_views(calibration: RigCalibration) -> go.Figure:
    """Draw at how many moments each pair of cameras saw the board together."""
    names = list(calibration.rig.names)
    figure = go.Figure(
        go.Heatmap(
            z=calibration.shared_views, x=names, y=names, colorscale="Blues",
            text=calibration.shared_views, texttemplate="%{text}", showscale=False,
        )
    )  # fmt: skip
    side = 120 + 45 * len(names)
    figure.update_yaxes(autorange="reversed")
    figure.update_layout(height=side, width=side + 60, margin={"l": 60, "r": 10, "t": 10, "b": 40})
    return figure
