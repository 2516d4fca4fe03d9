"""A change of points as a page sends it: checked before it goes anywhere."""

import math
from collections.abc import Mapping
from typing import Any

from pose3d.labeling.folders import LABELLED, STATES


def checked_change(change: Mapping[str, Any]) -> dict[str, Any]:
    """Check a change as a page sends it; return it with what is known and nothing else.

    Parameters
    ----------
    change : mapping
        With camera, image, individual, keypoint, ``before`` and ``after``.

    Raises
    ------
    ValueError
        If something is missing, or a point is none.
    """
    try:
        checked = {key: change[key] for key in ("camera", "image", "individual", "keypoint")}
        for key in ("before", "after"):
            checked[key] = None if change[key] is None else _checked_point(change[key])
    except (KeyError, TypeError) as error:
        raise ValueError(f"The change {str(change)[:200]} lacks {error}.") from None
    return checked


def _checked_point(point):
    state, xy, likelihood = point["state"], point.get("xy"), point.get("likelihood")
    if state not in STATES[1:]:
        raise ValueError(f"state is {state!r}; expected one of {', '.join(STATES[1:])}.")
    if xy is None and STATES.index(state) <= LABELLED:
        raise ValueError(f"A point that is {state} needs xy.")
    numbers = [] if xy is None else list(xy)
    if xy is not None and len(numbers) != 2:
        raise ValueError(f"xy is {xy!r}; expected x and y.")
    for number in (*numbers, 0.0 if likelihood is None else likelihood):
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise ValueError(f"{number!r} is no number.")
        if not math.isfinite(number) or abs(number) > 1e6:
            raise ValueError(f"{number!r} is no place in an image.")
    checked = {"state": state, "xy": None if xy is None else [float(n) for n in numbers]}
    return checked if likelihood is None else {**checked, "likelihood": float(likelihood)}


def same_point(now: Mapping[str, Any] | None, before: Mapping[str, Any] | None) -> bool:
    """Tell whether a point is what a page thinks it is."""
    if now is None or before is None:
        return now is before
    return now["state"] == before["state"] and now["xy"] == before["xy"]
