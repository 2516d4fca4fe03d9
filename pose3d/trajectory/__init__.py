"""From points found frame by frame to paths: `refine_trajectory`.

==========  =====================================================================
verb        `refine_trajectory`: goes through individuals and keypoints
paths       one keypoint's path: its smoothness learned, points that do not fit left out
smoothing   the path that is most likely for a given smoothness, with its covariance
kernels     the same, compiled
limbs       lengths learned from the recording, and points that keep to them
==========  =====================================================================
"""

from pose3d.trajectory.verb import refine_trajectory

__all__ = ["refine_trajectory"]
