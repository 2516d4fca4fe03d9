"""Whether to believe a calibration: named causes, and what to do about each.

====================== ========================= ========================= =======================
looked at              WARN                      FAIL                      why there
====================== ========================= ========================= =======================
moments                fewer than 10                                       12 to 20 good ones reach
                                                                           what corners allow
links of cameras       fewer than 5 shared       1 shared moment           one view leaves a mirror
                       moments                                             image; five settle it
residual of the        1 px RMS                  3 px                      corners are found to 0.1
corners fitted                                                             to 0.5 px
held out, to fitted    1.5 times, 0.1 px more    3 times, 0.5 px more      a sound fit foretells
                                                                           new moments as well
one camera's residual  3 times the middle one's                            it moved, is late, blurs
residual together, to  2 times, 0.2 px more      4 times, 0.7 px more      cameras that moved or are
that of cameras alone                                                      late agree only alone
repeated on half the   4 standard errors         10                        more than chance: the
moments                                                                    model or the board is off
lengths measured       2 standard errors and     5 %                       corners of boards kept
                       0.5 % off                                           out, each on its own
times                                            a camera late by 0.15     what moves is then seen
                                                 frames, a frame lost, a   in two places
                                                 camera moved
distances told         3 standard errors and     5 %                       the only check of the
                       1 % off                                             square's size
corners judged wrong   10 % of a camera's        50 %                      a fit that drops so many
                                                                           explains something else
views judged wrong     2 % of a camera's         50 %                      late or moved: all of the
                                                                           view is off
lens in all of the     40 % of the corners in                              wrong corners are spread
image                  a cell judged wrong,                                evenly; a wrong lens is
                       1 px off on average                                 wrong at the edges
corners of the board   40 % of one corner's views                          a bent print is wrong at
                       wrong in half of the                                the same corners from all
                       cameras, 1 px off                                   sides
image covered          20 % of its cells                                   elsewhere the lens is
                                                                           extrapolated
board's motion         5 degrees of tilt and     1 degree and 1 % of its   distance and focal length
                       5 % of distance           distance                  trade off without
focal length's error   1 %                       5 %                       1 % of a depth of 10 cm
                                                                           is a millimetre
position's error       1 % of the distance to    5 %                       the same
                       the board
lens                   principal point a fifth   focal length under 0.15   no lens that takes
                       of the image off, fx and  or over 200 image sides   pictures looks so
                       fy 3 % apart, under 0.3
                       or over 20 image sides,
                       turns back in the image
image sizes            the lens' middle is                                 sizes exchanged or halved
                       8 % off, and within 4 %                             hardly show in residuals
                       of another size's
places                 nearer than 0.5 % of the  copies of one another;    no two devices stand
                       distance to the board;    board seen from behind    there; a mirrored world
                       board seen from behind    by all                    shows in no residual
====================== ========================= ========================= =======================

The figures are the constants below. Errors of one standard deviation come from the fit; they
hold where the board is flat and the cameras are simultaneous.
"""

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from calibration import corner_checks, plausibility
from calibration.evidence import Evidence, by_camera, finding, graded, listed, worse_than
from calibration.results import LEVELS, Finding, RigCalibration, Verdict

MIN_MOMENTS = 10
MIN_SHARED = (5, 2)
RMS_PX = (1.0, 3.0)
HELD_OUT_RATIO = (1.5, 3.0)
HELD_OUT_MORE_PX = (0.1, 0.5)
CAMERA_RATIO = 3.0
ALONE_RATIO = (2.0, 4.0)
ALONE_MORE_PX = (0.2, 0.7)
REPEATED = (4.0, 10.0)
LENGTH_BIAS = (0.005, 0.05)


def judge(
    calibration: RigCalibration,
    *,
    alone_px: Mapping[str, float] | None = None,
    distances: Iterable[tuple[str, str, float]] = (),
) -> Verdict:
    """Look for what is wrong with a calibration.

    Parameters
    ----------
    calibration : RigCalibration
        Its own verdict is not looked at.
    alone_px : mapping of str to float, optional
        Root mean square residual of each camera that was first fitted alone.
    distances : iterable of (str, str, float)
        Measured distances between two cameras, in the rig's unit.

    Returns
    -------
    Verdict
        A finding for everything looked at, in the order of the module's table; those that are
        well say what was found, those that are not also what to do.
    """
    checks: tuple[Callable[[Evidence], list[Finding]], ...] = (
        _moments,
        _links,
        _residuals,
        lambda evidence: _together(evidence, alone_px or {}),
        _times,
        _held_out,
        _repeated,
        _lengths,
        corner_checks.wrong_corners,
        corner_checks.wrong_regions,
        corner_checks.board_corners,
        corner_checks.coverage,
        plausibility.motion,
        plausibility.focal_errors,
        plausibility.position_errors,
        plausibility.lenses,
        plausibility.sizes,
        plausibility.places,
        plausibility.scale,
        lambda evidence: plausibility.distances(evidence, distances),
        _lens_models,
    )
    evidence = Evidence(calibration)
    return Verdict(tuple(each for check in checks for each in check(evidence)))


def _moments(evidence):
    count = evidence.n_moments
    level = "PASS" if count >= MIN_MOMENTS else "WARN"
    return finding(
        level,
        "moments",
        f"{count} moments at which two cameras or more saw the board.",
        f"Record at least {MIN_MOMENTS}, better 20, with the board elsewhere in each.",
    )


def _links(evidence):
    """Each camera's strongest link to those already linked: the tree of most shared moments."""
    shared = evidence.calibration.shared_views
    linked, weak, told, level = [0], [], [], "PASS"
    while len(linked) < len(evidence.names):
        rest = [j for j in range(len(evidence.names)) if j not in linked]
        count, i, j = max((int(shared[i, j]), -i, -j) for i in linked for j in rest)
        text = f"{evidence.names[-i]!r} and {evidence.names[-j]!r} share {count} moments"
        told.append(text)
        linked.append(-j)
        grade = graded(-count, (-MIN_SHARED[0] + 0.5, -MIN_SHARED[1] + 0.5))
        level = max(level, grade, key=LEVELS.index)
        if grade != "PASS":
            weak.append(text)
    return finding(
        level,
        "links between cameras",
        f"{listed(weak or told) or 'one camera alone'}.",
        f"Weak: {MIN_SHARED[0]} are needed. Record the board where both see it.",
    )


def _residuals(evidence):
    found = finding(
        graded(evidence.rms, RMS_PX),
        "residual",
        f"{evidence.rms:.2f} px RMS per coordinate over the corners fitted, "
        f"{evidence.calibration.rms_px:.2f} px over all.",
        "Check that the pictures are of the same moments, that no camera moved, that the board "
        "is flat and is the one described.",
    )
    middle = np.nanmedian(evidence.camera_rms)
    if len(evidence.names) < 3:
        return found
    return found + by_camera(
        evidence,
        "residual by camera",
        evidence.camera_rms / middle,
        (CAMERA_RATIO, np.inf),
        lambda ratio: f"{ratio * middle:.2f} px",
        "These cameras fit worse than the others: look whether they moved, run late, or are out "
        "of focus, or try the rational or fisheye lens model.",
    )


def _together(evidence, alone_px):
    level, told = "PASS", []
    for name, together in zip(evidence.names, evidence.camera_rms, strict=True):
        alone = alone_px.get(name, np.nan)
        if np.isfinite(alone):
            told.append(f"{name!r} {alone:.2f} px alone, {together:.2f} px together")
            grade = worse_than(together, alone, ALONE_RATIO, ALONE_MORE_PX)
            level = max(level, grade, key=LEVELS.index)
    if not told:  # known lenses were not fitted alone
        return []
    return finding(
        level,
        "cameras alone and together",
        f"{listed(told)}.",
        "Each camera agrees with itself better than with the others: their pictures are not of "
        "the same moments, or a camera moved during the recording.",
    )


def _held_out(evidence):
    held_out, fitted = evidence.calibration.held_out_rms_px, evidence.calibration.rms_px
    if np.isnan(held_out):
        return finding(
            "WARN",
            "held out",
            "Too few moments to keep any out of the fit.",
            "Record more; only moments that were not fitted show what a fit is worth.",
        )
    level = worse_than(held_out, fitted, HELD_OUT_RATIO, HELD_OUT_MORE_PX)
    if level == "FAIL" and evidence.n_moments < MIN_MOMENTS:
        level = "WARN"  # half of a few moments may not determine what all of them do
    return finding(
        level,
        "held out",
        f"{held_out:.2f} px RMS per coordinate on moments kept out of a fit, {fitted:.2f} px on "
        "those fitted (all corners).",
        "The fit follows its own moments: record more, with the board tilted and in all of the "
        "space the cameras see, or choose a simpler lens model.",
    )


def _times(evidence):
    """Name cameras that are late, lost frames or moved; say what was mended."""
    calibration, units = evidence.calibration, evidence.rig.units
    found = []
    for level, faults, remedy in (
        (
            "FAIL",
            calibration.time_faults,
            "Mend that (--fix-sync), or record again with the cameras started together and fixed.",
        ),
        (
            "WARN",
            calibration.fixed_faults,
            "This was mended before the fit. Recordings made with these cameras need the same.",
        ),
    ):
        if faults:
            text = f"{listed(fault.told(units) for fault in faults)}."
            found += finding(level, "times", text, remedy)
    return found or finding("PASS", "times", "Cameras agree on when and where the board was.", "")


def _repeated(evidence):
    """Compare the fit of half of the moments with that of all."""
    held = evidence.calibration.held_out
    if held is None:
        return []
    errors = evidence.calibration.standard_errors
    # half of the data doubles the variance, and shares itself with the whole
    position = held.position_change / np.linalg.norm(errors["position"], axis=1).clip(1e-12)
    focal = held.focal_change / errors["focal"].max(axis=1).clip(1e-12)
    held_fixed = errors["focal"].max(axis=1) == 0
    position[0] = 0.0  # the first camera is the world
    focal[held_fixed] = 0.0
    worst = np.maximum(position, focal)
    places = [
        f"{name!r} {change:.2g} {evidence.rig.units} and {px:.2g} px"
        for name, change, px in zip(
            evidence.names, held.position_change, held.focal_change, strict=True
        )
    ]
    level = graded(float(worst.max()), REPEATED)
    if level == "FAIL" and evidence.n_moments < 2 * MIN_MOMENTS:
        level = "WARN"  # few moments: their half may hardly determine anything
    return finding(
        level,
        "repeated on half the moments",
        f"Positions and focal lengths change by {listed(places)}: at most {worst.max():.1f} "
        "standard errors.",
        "More than chance explains: the stated errors are too small. The board may be bent, "
        "soft or not as described, or the lens model too simple.",
    )


def _lengths(evidence):
    """Tell how right the rig measures the board, its corners triangulated one by one."""
    held = evidence.calibration.held_out
    if held is None or not held.n_lengths:
        return []
    board = evidence.calibration.detections.board
    # neighbours share corners: count a third of them
    error = held.length_rms / board.square_length / np.sqrt(max(held.n_lengths / 3, 1))
    off = abs(held.length_bias)
    level = "PASS"
    if off > max(LENGTH_BIAS[0], 2 * error):
        level = "WARN" if off < LENGTH_BIAS[1] else "FAIL"
    return finding(
        level,
        "lengths measured",
        f"Squares of boards kept out measure {(1 + held.length_bias) * board.square_length:.4g} "
        f"{board.units} (true {board.square_length:g}), each to {held.length_rms:.2g}; corners lie "
        f"in a plane to {held.flatness_rms:.2g} {board.units} (root mean square).",
        "Distances come out wrong: the board may be bent, or the cameras few or on one side. "
        "Glue the board on something flat and record it from more sides.",
    )


def _lens_models(evidence):
    notes = evidence.calibration.lens_notes
    told = listed(f"{name!r} {note.rstrip('.')}" for name, note in notes.items())
    return finding("PASS", "lens models", f"{told}.", "") if notes else []
