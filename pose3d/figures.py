"""Plotly figures of trajectories, errors and training; nothing is shown or saved but on request."""

import html
import os
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs
from plotly.subplots import make_subplots

from calibration.files import write_text
from pose3d.keypoints import Keypoints3D, Missing
from pose3d.overlays import keypoint_colors, rgb

#: No button that sends the data away, no logo.
CONFIG = {"showSendToCloud": False, "displaylogo": False, "responsive": True}

#: Points per line beyond which a figure is drawn with the graphics card.
_MANY = 20_000

_TEXT = {"family": "system-ui, Segoe UI, Roboto, sans-serif", "size": 13}


def plot_trajectories(
    path: Keypoints3D, *, keypoints: Sequence[str] | None = None, individual: str | None = None
) -> go.Figure:
    """Plot x, y and z of keypoints over time, with one standard deviation around each.

    Parameters
    ----------
    path : Keypoints3D
        The trajectories.
    keypoints : sequence of str, optional
        Which to plot; all if not given. A click in the legend hides one.
    individual : str, optional
        Whose; the first if not given.

    Returns
    -------
    plotly.graph_objects.Figure
    """
    keypoints = path.keypoints if keypoints is None else tuple(keypoints)
    individual = path.individuals[0] if individual is None else individual
    if individual not in path.individuals:
        raise ValueError(
            f"individual is {individual!r}; expected one of {', '.join(path.individuals)}."
        )
    column = path.individuals.index(individual)
    figure = make_subplots(rows=3, cols=1, shared_xaxes=True, vertical_spacing=0.03)
    line = go.Scattergl if path.n_frames > _MANY else go.Scatter
    with np.errstate(invalid="ignore"):
        spread = np.sqrt(np.diagonal(path.covariance, axis1=-2, axis2=-1))
    for name, color in zip(keypoints, keypoint_colors(keypoints), strict=True):
        xyz = path[name][:, column]
        sd = spread[:, column, path.keypoints.index(name)]
        shared = {"legendgroup": name, "name": html.escape(name)}
        for axis in range(3):
            figure.add_trace(
                line(
                    x=path.times, y=xyz[:, axis], mode="lines", showlegend=axis == 0,
                    line={"color": color, "width": 1.5},
                    hovertemplate="%{x:.3f} s: %{y:.2f} " + path.units, **shared,
                ),
                row=axis + 1, col=1,
            )  # fmt: skip
            if path.n_frames <= _MANY and np.isfinite(sd[:, axis]).any():
                figure.add_trace(
                    _band(path.times, xyz[:, axis], sd[:, axis], color, shared),
                    row=axis + 1, col=1,
                )  # fmt: skip
    for axis, letter in enumerate("xyz"):
        figure.update_yaxes(title_text=f"{letter} ({path.units})", row=axis + 1, col=1)
    figure.update_xaxes(title_text="time (s)", row=3, col=1)
    return _dressed(figure, height=720)


def _band(times, values, sd, color, shared):
    """One standard deviation to both sides; it breaks where the value is missing."""
    there = np.isfinite(values) & np.isfinite(sd)
    x, y = [], []
    edges = np.flatnonzero(np.diff(np.concatenate([[0], there, [0]])))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        part = slice(start, stop)
        x += [times[part], times[part][::-1], [np.nan]]
        y += [values[part] + sd[part], (values[part] - sd[part])[::-1], [np.nan]]
    return go.Scatter(
        x=np.concatenate(x or [[]]), y=np.concatenate(y or [[]]), mode="lines", fill="toself",
        line={"width": 0}, fillcolor=f"rgba{(*rgb(color), 0.2)}", hoverinfo="skip",
        showlegend=False, **shared,
    )  # fmt: skip


def plot_errors(path: Keypoints3D) -> go.Figure:
    """Plot each keypoint's reprojection error and how often, and why, it is missing.

    Parameters
    ----------
    path : Keypoints3D
        The trajectories; all individuals count together.

    Returns
    -------
    plotly.graph_objects.Figure
        Boxes from the quartiles with whiskers from 5 to 95 % of frames, above shares of frames.
    """
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.06, row_heights=[0.65, 0.35]
    )
    names = [html.escape(name) for name in path.keypoints]
    quantiles = np.full((5, len(names)), np.nan)
    for k in range(len(names)):
        errors = path.reprojection_error[..., k]
        errors = errors[np.isfinite(errors)]
        if errors.size:
            quantiles[:, k] = np.percentile(errors, [5, 25, 50, 75, 95])
    low, q1, median, q3, high = quantiles
    figure.add_trace(
        go.Box(
            x=names, q1=q1, median=median, q3=q3, lowerfence=low, upperfence=high,
            marker_color="#0072B2", showlegend=False,
        ),
        row=1, col=1,
    )  # fmt: skip
    colors = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#F0E442")
    missing = [code for code in Missing if code != Missing.PRESENT]
    for i, code in enumerate(missing):
        share = 100 * (path.reason == code).mean(axis=(0, 1))
        if share.any():
            words = code.name.lower().replace("_", " ")
            figure.add_trace(
                go.Bar(x=names, y=share, name=words, marker_color=colors[i % len(colors)]),
                row=2, col=1,
            )  # fmt: skip
    figure.update_layout(barmode="stack")
    figure.update_yaxes(title_text="reprojection error (px)", rangemode="tozero", row=1, col=1)
    figure.update_yaxes(title_text="missing (%)", range=[0, 100], row=2, col=1)
    return _dressed(figure, height=560)


def plot_learning_curve(
    steps: Sequence[float],
    losses: Sequence[float],
    test_steps: Sequence[float] | None = None,
    test_errors: Sequence[float] | None = None,
) -> go.Figure:
    """Plot the loss over training steps and, where measured, the test error in pixels.

    Parameters
    ----------
    steps, losses : sequence of float
        Training loss at some steps.
    test_steps, test_errors : sequence of float, optional
        Mean error on the test images, in pixels.

    Returns
    -------
    plotly.graph_objects.Figure
        Loss on the left axis (logarithmic), error on the right.
    """
    figure = make_subplots(specs=[[{"secondary_y": True}]])
    figure.add_trace(
        go.Scatter(x=steps, y=losses, mode="lines", name="training loss", line_color="#0072B2")
    )
    if test_errors is not None and len(test_errors):
        figure.add_trace(
            go.Scatter(
                x=test_steps, y=test_errors, mode="lines+markers", name="test error",
                line_color="#D55E00",
            ),
            secondary_y=True,
        )  # fmt: skip
        figure.update_yaxes(
            title_text="mean test error (px)", rangemode="tozero", showgrid=False, secondary_y=True,
            tickmode="auto",  # else at the heights of the other axis, which is logarithmic
        )  # fmt: skip
    figure.update_yaxes(title_text="loss", type="log", secondary_y=False)
    figure.update_xaxes(title_text="training step")
    return _dressed(figure, height=420)


def plot_reliability(said: np.ndarray, true: np.ndarray, count: np.ndarray) -> go.Figure:
    """Plot how often points of each likelihood are right.

    Parameters
    ----------
    said, true, count : ndarray of shape (n_bins,)
        See `pose3d.metrics.reliability`.

    Returns
    -------
    plotly.graph_objects.Figure
        A network that means what it says lies on the dotted line.
    """
    there = count > 0
    figure = go.Figure()
    figure.add_trace(
        go.Scatter(x=[0, 1], y=[0, 1], mode="lines", name="as said",
                   line={"dash": "dot", "color": "#51606f"})
    )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=said[there], y=true[there], mode="lines+markers", name="as found",
            line_color="#0072B2", text=[f"{n} points" for n in count[there]],
            marker={"size": 6 + 3 * np.log10(count[there])},
        )
    )  # fmt: skip
    figure.update_xaxes(title_text="likelihood", range=[0, 1])
    figure.update_yaxes(title_text="share within the distance", range=[0, 1.02])
    return _dressed(figure, height=380)


def plotly_script() -> str:
    """Return plotly's own JavaScript as part of a page, for figures without it."""
    return f"<script>{get_plotlyjs()}</script>"


def save_figure(figure: go.Figure, path: str | os.PathLike) -> None:
    """Save a figure as one HTML file that opens without a network.

    Parameters
    ----------
    figure : plotly.graph_objects.Figure
        What to save.
    path : path
        The .html file.
    """
    write_text(path, figure.to_html(config=CONFIG, include_plotlyjs=True))


def _dressed(figure, height):
    """Give a figure the looks of all figures."""
    figure.update_layout(
        template="plotly_white", height=height, font=_TEXT, hovermode="closest",
        margin={"l": 70, "r": 30, "t": 30, "b": 50},
    )  # fmt: skip
    return figure
