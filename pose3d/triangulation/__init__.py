"""From keypoints in images to keypoints in space: `triangulate`.

==========  =====================================================================
verb        `triangulate`: matches cameras, goes through a recording block by block
locating    one block: start, fit, choice of views, reasons for what is missing
fitting     least squares in the true lens model, many points at once
choosing    which views to believe where not all agree
noise       the detector's spread, learned from how the views disagree
rig_errors  what the calibration's own uncertainty does to points
rays        start values from a table
==========  =====================================================================
"""

from pose3d.triangulation.verb import METHODS, triangulate

__all__ = ["METHODS", "triangulate"]
