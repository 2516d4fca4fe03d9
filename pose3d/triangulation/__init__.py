"""From keypoints in images to keypoints in space: `triangulate`.

==========  =====================================================================
verb        `triangulate`: matches cameras, goes through a recording block by block;
            `judge_points`: the same for points found elsewhere
seen        what the cameras saw and the points found, in one row
locator     goes through them: in NumPy (`locating`) or compiled (`kernels`), to the same answer
locating    one block: start, fit, choice of views, reasons for what is missing
fitting     least squares in the true lens model, many points at once
choosing    which views to believe where not all agree
noise       the detector's spread, learned from how the views disagree
rig_errors  what the calibration's own uncertainty does to points
rays        start values, from a series or a table
==========  =====================================================================
"""

from pose3d.triangulation.verb import (
    METHODS,
    judge_points,
    learn_spread,
    triangulate,
    warn_of_disbelieved,
)

__all__ = ["METHODS", "judge_points", "learn_spread", "triangulate", "warn_of_disbelieved"]
