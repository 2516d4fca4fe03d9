"""One HTML file in which a recording is watched: videos, keypoints, space and time in step.

``writing`` puts the page together, ``content`` chooses and packs what it shows, ``scene`` lays
floor and cameras, ``packing`` makes arrays small, ``film`` encodes the mosaic. The page itself:
``viewer.html``, ``viewer.css`` and the scripts, which are joined in the order of
``writing.SCRIPTS``.
"""

from pose3d.viewer.writing import ViewerFile, write_viewer

__all__ = ["ViewerFile", "write_viewer"]
