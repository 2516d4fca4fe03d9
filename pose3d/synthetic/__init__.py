"""Recordings with a known answer: an animal walks through an arena, a board tumbles.

For the demo, for tests, and for studies of one's own: how many cameras, which lens, how many
labels does it take? Everything follows from the seed.

==========  ====================================================================
animal      the pose over time, and the body around it
arena       the cameras, the moving board, the empty arena
rendering   what each camera films
recording   all of it as video files, with the truth beside them
==========  ====================================================================
"""

from calibration.lazy import handed_on

#: The module of every name that this package hands on.
HOMES = {
    "SKELETON": "pose3d.synthetic.animal",
    "walk": "pose3d.synthetic.animal",
    "arena_rig": "pose3d.synthetic.arena",
    "tumble": "pose3d.synthetic.arena",
    "render_animal": "pose3d.synthetic.rendering",
    "render_board": "pose3d.synthetic.rendering",
    "RenderedFrame": "pose3d.synthetic.rendering",
    "BOARD": "pose3d.synthetic.arena",
    "SyntheticRecording": "pose3d.synthetic.recording",
    "load_recording": "pose3d.synthetic.recording",
    "render_recording": "pose3d.synthetic.recording",
}

__getattr__, __dir__ = handed_on(__name__, HOMES)
