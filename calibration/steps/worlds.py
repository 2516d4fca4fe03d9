"""Steps: a world frame for a calibrated rig."""

import os
from pathlib import Path

from calibration.results import Outcome

#: A mark farther than this, in px, from where the other cameras put it is named.
_FAR_PX = 10.0


def orient_rig(
    calibration: str | os.PathLike,
    *,
    world: str | None = None,
    clicks: str | os.PathLike | None = None,
    points: str | os.PathLike | None = None,
    distance: tuple[str, str, float] | None = None,
    out: str | os.PathLike | None = None,
) -> Outcome:
    """Turn a calibrated rig so that z is up, choose its origin, and set its scale.

    Nothing that the cameras see changes. The file says which world it is in.

    Parameters
    ----------
    calibration : path
        The calibration file.
    world : str
        Where origin and axes come from. board:12 is the board at frame 12 (z out of the print);
        floor:12,40 the floor on which the board lay at those frames; floor the floor on which
        the clicked points lie; points the places of the clicked points (--points); axes the
        three clicked points named origin, x (on the x axis) and plane (in the x-y plane);
        cameras a guess, from cameras that stand upright. As it was unless told.
    clicks : path
        Where pictures show points: a .csv with camera, point, x, y in pixels, or a folder
        with a .csv of point, x, y per camera. For floor, points and axes.
    points : path
        Known places: a .csv with name, x, y, z, units. For points; in the rig's unit.
    distance : (name, name, length)
        A known distance between two cameras or two clicked points, in the rig's unit: cam1 cam2
        820. The rig is scaled to it.
    out : path
        The calibration file to write; beside the old one, ending in .oriented.toml, unless told.
    """
    from calibration.files import checked_output, provenance
    from calibration.formats.toml import (
        has_boards,
        load_calibration,
        load_rig,
        read_findings,
        save_rig,
    )
    from calibration.world import in_world, scaled_world

    path = Path(calibration)
    if path.is_dir():
        path = path / "calibration.toml"
    inputs = [each for each in (path, clicks, points) if each is not None]
    out = checked_output(out or path.with_suffix(".oriented.toml"), [".toml"], inputs)
    if world is None and distance is None:
        raise ValueError(
            "Say what to do: --world (board:FRAME, floor:FRAMES, floor, points, axes or cameras) "
            "or --distance FIRST SECOND LENGTH."
        )
    old = load_calibration(path) if has_boards(path) else load_rig(path)
    rig = getattr(old, "rig", old)
    marks = _Marks(rig, clicks)
    notes = []
    new = old
    if world is not None:
        frame = chosen_world(old, world, marks, points)
        notes.append(frame.note)
        new = in_world(new, frame)
        marks = marks.moved(frame.motion)
    if distance is not None:
        frame = scaled_world(getattr(new, "rig", new), *distance, points=marks.places)
        notes.append(frame.note)
        new = in_world(new, frame)
        marks = marks.moved(frame.motion)
    arguments = {"world": world, "distance": None if distance is None else list(distance)}
    roles = {"calibration": path, "clicks": clicks, "points": points}
    origin = provenance(
        "orient_rig", arguments, {role: each for role, each in roles.items() if each is not None}
    )
    # a calibration carries its verdict along; a rig alone has it in its file at most
    save_rig(new, out, origin, verdict=read_findings(path))
    rig = getattr(new, "rig", new)
    table = [_place(camera.name, camera.position, rig.units) for camera in rig]
    table += [_place(name, place, rig.units) for name, place in marks.places.items()]
    return Outcome(
        out,
        " ".join([*notes, *marks.doubts, f"Wrote {out}."]),
        tuple(table),
        {"world": rig.world, "units": rig.units, "notes": notes},
    )


def _place(name, place, units):
    return {"what": name} | {
        f"{axis} {units}": float(each) for axis, each in zip("xyz", place, strict=True)
    }


def check_world(world: str) -> None:
    """Refuse a world that no board and no camera gives, before a calibration is made for it."""
    kind, _, rest = world.partition(":")
    if kind in ("board", "floor") and rest:
        _frames(world, rest)
    elif world != "cameras":
        raise ValueError(
            f"world is {world!r}; expected board:FRAME, floor:FRAME,FRAME or cameras. Clicked "
            "points come afterwards, with orient-rig."
        )


def chosen_world(calibration, world, marks=None, points=None):
    """Find the world that a text asks for, see `orient_rig`.

    Parameters
    ----------
    calibration : RigCalibration or CameraRig
        A calibration where the world comes from its boards.
    world : str
        The text.
    marks : _Marks, optional
        Clicked points.
    points : path, optional
        Table of known places.

    Returns
    -------
    WorldFrame
    """
    from calibration.errors import DataError
    from calibration.floors import world_from_cameras, world_from_floor
    from calibration.formats.scene import load_scene_points
    from calibration.world import (
        board_corners,
        world_from_axes,
        world_from_board,
        world_from_points,
    )

    kind, _, rest = world.partition(":")
    rig = getattr(calibration, "rig", calibration)
    if kind == "cameras" and not rest:
        return world_from_cameras(rig)
    if rest and kind in ("board", "floor"):
        frames = _frames(world, rest)
        if calibration is rig:
            raise DataError(
                f"--world {world} needs the boards of the calibration, and the file has none (its "
                ".covariance.h5 is missing, or no board was used). Give the clicked floor "
                "(--world floor --clicks), or calibrate again."
            )
        if kind == "floor":
            return world_from_floor(rig, board_corners(calibration, frames), world)
        if len(frames) != 1:
            raise ValueError(f"--world {world}: the origin is one board; give one frame.")
        return world_from_board(calibration, frames[0])
    if rest or kind not in ("floor", "points", "axes"):
        raise ValueError(
            f"world is {world!r}; expected board:FRAME, floor:FRAME,FRAME, floor, points, axes or "
            "cameras."
        )
    if marks is None or not marks.places:
        raise ValueError(
            f"--world {world} needs points that are marked in the pictures of at least two "
            "cameras: --clicks TABLE."
        )
    if kind == "floor":
        return world_from_floor(rig, marks.found)
    if kind == "axes":
        missing = [name for name in ("origin", "x", "plane") if name not in marks.places]
        if missing:
            raise DataError(
                f"--world axes needs the clicked points origin, x and plane; {', '.join(missing)} "
                f"{'is' if len(missing) == 1 else 'are'} not there (found: "
                f"{', '.join(marks.places)})."
            )
        return world_from_axes(*(marks.places[name] for name in ("origin", "x", "plane")))
    if points is None:
        raise ValueError("--world points needs their known places: --points TABLE.")
    names, places, units = load_scene_points(points)
    _check_units(points, units, rig.units)
    import numpy as np

    found = [marks.places.get(name, np.full(3, np.nan)) for name in names]
    return world_from_points(np.array(found), places, names, units=units)


def _check_units(path, units, wanted):
    from calibration.errors import DataError

    if units != wanted:
        raise DataError(f"{path} is in {units}, the rig in {wanted}. Give the places in {wanted}.")


def _frames(world, text):
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"--world {world}: expected frame numbers, such as board:12.") from None


class _Marks:
    """Points that were clicked, and where they lie in the rig's world."""

    def __init__(self, rig, clicks):
        self.places, self.doubts, self.found = {}, [], None
        if clicks is None:
            return
        import numpy as np

        from calibration.formats.scene import click_array, load_clicks
        from calibration.keypointviews import robust_points

        names, seen = click_array(rig.names, load_clicks(clicks), clicks)
        self.found = robust_points(rig, seen, _FAR_PX)
        errors = np.linalg.norm(rig.project(self.found) - seen, axis=-1)
        for k, name in enumerate(names):
            if np.isfinite(self.found[k]).all():
                self.places[name] = self.found[k]
            else:
                self.doubts.append(f"Point {name!r} is marked in fewer than two cameras.")
            for i in np.flatnonzero(errors[:, k] > _FAR_PX):
                self.doubts.append(
                    f"Point {name!r} in camera {rig.names[i]!r} is {errors[i, k]:.0f} px from "
                    "where the others put it: click again."
                )

    def moved(self, motion):
        """Carry the points into another world."""
        turn, shift = motion[:3, :3], motion[:3, 3]
        self.places = {name: turn @ place + shift for name, place in self.places.items()}
        if self.found is not None:
            self.found = self.found @ turn.T + shift
        return self
