"""What a training shows: a bar in the terminal, a page with its curve and what it finds."""

import contextlib
import re

import numpy as np
from tqdm import tqdm

from calibration.errors import DataError
from calibration.files import write_text

_BLOCKS = "▁▂▃▄▅▆▇█"

#: Around what a page shows under the curve.
_BEGIN, _END = "<!-- found -->", "<!-- end of found -->"

#: A page whose curve was lost; history.csv has it in numbers.
_EMPTY = '<!doctype html><html><head><meta charset="utf-8"></head><body></body></html>'


class Progress:
    """A bar that says the step, the loss, the last test error and how it fell."""

    def __init__(self, run, cameras):
        self._run, self._cameras, self._bar = run, cameras, None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._bar is not None:
            self._bar.close()

    def __call__(self, history):
        """Show a step."""
        if self._bar is None:
            self._bar = tqdm(
                total=self._run.settings.steps, initial=history.step - 1, unit="step",
                desc=f"train {self._cameras}", disable=None,
            )  # fmt: skip
        tested = f"{history.test_errors[-1]:.2f}" if history.test_errors else "-"
        self._bar.set_postfix_str(
            f"loss {history.losses[-1]:.3f}, test {tested} px {_curve(history.test_errors)}",
            refresh=False,
        )
        self._bar.update(1)


def _curve(errors):
    """Draw errors as blocks, on a logarithmic scale."""
    if len(errors) < 2:
        return ""
    logs = np.log(np.maximum(errors, 1e-3))
    share = (logs - logs.min()) / max(np.ptp(logs), 1e-9)
    return "".join(_BLOCKS[int(s * (len(_BLOCKS) - 1))] for s in share)


def save_curve(folder, history):
    """Save the learning curve beside the network."""
    from pose3d.figures import plot_learning_curve

    every = max(1, history.step // 400)
    n_points = history.step // every
    losses = np.reshape(history.losses[: n_points * every], (n_points, every)).mean(axis=1)
    figure = plot_learning_curve(
        every * np.arange(1, n_points + 1), losses, history.test_steps, history.test_errors
    )
    write_text(folder / "learning-curve.html", figure.to_html(include_plotlyjs=True))


def save_page(folder, run, network):
    """Put what the finished network finds on some images under its learning curve."""
    from calibration.video import read_image
    from pose3d import pages
    from pose3d.networks.batches import spread_out
    from pose3d.networks.inference import Predictor
    from pose3d.skeleton import Skeleton

    labels = run.test if len(run.test) else run.train
    some = spread_out(len(labels), 12)
    images, captions, shown = [], [], []
    for i in some:
        with contextlib.suppress(DataError, OSError):
            images.append(read_image(run.root / labels.images[i], pixels=run.spec.pixels))
            shown.append(i)
    if not images:
        return
    predictor = Predictor(network.model, run.spec, untrained=network.untrained)
    found = predictor.predict(images)
    skeleton = Skeleton(run.spec.keypoints)
    drawn = []
    for image, i, xy in zip(images, shown, found.xy, strict=True):
        drawn.append(pages.compare_points(image, labels.xy[i, 0], xy, skeleton))
        error = np.linalg.norm(xy - labels.xy[i, 0], axis=-1)
        known = error[np.isfinite(error)]
        told = f"{known.mean():.1f} px on average" if len(known) else "nothing to compare"
        captions.append(f"{labels.images[i]}: {told}")
    path = folder / "learning-curve.html"
    kind = "test" if len(run.test) else "training"
    note = f"Some {kind} images. Ring: label; cross: network; a line joins them."
    text = path.read_text(encoding="utf-8") if path.is_file() else _EMPTY
    text = re.sub(f"{_BEGIN}.*{_END}", "", text, flags=re.DOTALL)  # of a training done before
    part = pages.heading("What it finds", note) + pages.pictures(drawn, captions)
    part = f"{_BEGIN}<style>{pages.STYLE}</style>{part}{_END}"
    write_text(path, text.replace("</body>", f"{part}</body>", 1))
