"""What may stand in config.yaml: DeepLabCut's keys and our own section, with their legal values."""

import difflib
import unicodedata
import warnings
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from calibration.boards import Board, CharucoBoard, Checkerboard
from calibration.cameras import METRES
from calibration.errors import DataError, DataWarning
from pose3d.formats.config import Text, line_of, whole_numbers
from pose3d.formats.deeplabcut import SINGLE

#: The version of our section that this program writes.
VERSION = 1

#: Keys of DeepLabCut's projects, of any version, which are kept and need no warning.
DEEPLABCUT_KEYS = frozenset(
    (
        "Task",
        "scorer",
        "date",
        "multianimalproject",
        "identity",
        "project_path",
        "engine",
        "video_sets",
        "video_sets_original",
        "bodyparts",
        "individuals",
        "uniquebodyparts",
        "multianimalbodyparts",
        "start",
        "stop",
        "numframes2pick",
        "skeleton",
        "skeleton_color",
        "pcutoff",
        "dotsize",
        "alphavalue",
        "colormap",
        "TrainingFraction",
        "iteration",
        "resnet",
        "default_net_type",
        "default_augmenter",
        "default_track_method",
        "snapshotindex",
        "detector_snapshotindex",
        "batch_size",
        "detector_batch_size",
        "cropping",
        "croppedtraining",
        "x1",
        "x2",
        "y1",
        "y2",
        "corner2move2",
        "move2corner",
        "SuperAnimalConversionTables",
        "superanimal",
        "inferencecfg",
        "identity_only",
        "minsize",
        "deterministic",
        "auxiliary_bodyparts",
        "weights",
        "memory_replay",
        "num_cameras",
        "camera_names",
        "scorername_3d",
        "markerSize",
        "alphaValue",
        "markerType",
        "markerColor",
    )
)

#: Names that Windows keeps for devices.
_RESERVED = {"con", "prn", "aux", "nul"} | {f"{d}{i}" for d in ("com", "lpt") for i in range(10)}


def check_file_name(name: str) -> str:
    """Return a name that can be part of a file name on every system.

    Raises
    ------
    ValueError
        If it holds a separator or another character that some system refuses, is reserved or is
        too long.
    """
    bad = [c for c in name if c in '/\\:*?"<>|' or not c.isprintable()]
    if bad:
        raise ValueError(f"holds {bad[0]!r}, which cannot be part of a file name; rename it")
    if not name or name != name.strip() or name.startswith(".") or name.endswith("."):
        raise ValueError("is empty or begins or ends with a dot or a space; rename it")
    if name.split(".")[0].casefold() in _RESERVED:
        raise ValueError("is a name that Windows keeps for a device; rename it")
    if len(name.encode()) > 100:
        raise ValueError("has more than 100 bytes; shorten it")
    return name


def _distinct(names: list[str]) -> list[str]:
    """Check that names differ in more than case and spelling of accents."""
    seen: dict[str, str] = {}
    for name in names:
        if not name.strip():
            raise ValueError("holds an empty name; name it or remove it")
        other = seen.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if other is not name:
            raise ValueError(f"holds {other!r} and {name!r}; rename one of them")
    return names


def _fraction(value: float) -> float:
    """Check a share of the images."""
    if not 0 < value <= 1:
        raise ValueError("must be above 0 and at most 1")
    return value


def _unit(name: str) -> str:
    """Check a unit of length."""
    if name not in METRES:
        raise ValueError(f"must be one of {', '.join(METRES)}")
    return name


_FileName = Annotated[str, AfterValidator(check_file_name)]
_Names = Annotated[list[str], AfterValidator(_distinct)]
_FileNames = Annotated[list[_FileName], AfterValidator(_distinct)]
_Pair = Annotated[list[str], Field(min_length=2, max_length=2)]
_Number = Annotated[float, Field(allow_inf_nan=False)]


class _Board(BaseModel):
    """A printed board; one with a marker_length is a ChArUco board."""

    model_config = ConfigDict(extra="forbid")

    squares_x: int
    squares_y: int
    square_length: _Number
    marker_length: _Number | None = None
    dictionary: str = "DICT_4X4_50"
    units: str = "mm"
    legacy: bool = False
    inverted: bool = False

    def board(self) -> Board:
        """Make the noun."""
        if self.marker_length is None:
            return Checkerboard(self.squares_x, self.squares_y, self.square_length, self.units)
        return CharucoBoard(**self.model_dump())


class OurFields(BaseModel):
    """The ``pose3d:`` section."""

    model_config = ConfigDict(extra="forbid")

    version: int = VERSION
    units: Annotated[str, AfterValidator(_unit)] = "mm"
    cameras: Annotated[_FileNames, Field(min_length=1)]
    recordings: dict[_FileName, dict[str, str]] = {}
    offsets: dict[str, dict[str, _Number]] = {}
    symmetric: list[_Pair] = []
    board: _Board | None = None
    calibration_videos: str | None = None


class DeepLabCutFields(BaseModel):
    """DeepLabCut's keys, as far as they are used here; the others are kept."""

    model_config = ConfigDict(extra="allow")

    Task: str
    scorer: _FileName
    bodyparts: _Names | Literal["MULTI!"]
    multianimalproject: bool = False
    individuals: _FileNames = []
    uniquebodyparts: _Names = []
    multianimalbodyparts: _Names = []
    skeleton: list[_Pair] = []
    pcutoff: Annotated[float, Field(ge=0, le=1)] = 0.6
    TrainingFraction: list[Annotated[float, AfterValidator(_fraction)]] = [0.95]
    iteration: Annotated[int, Field(ge=0)] = 0
    video_sets: dict[str, Any] = {}
    cropping: bool = False
    x1: int = 0
    x2: int = 1
    y1: int = 0
    y2: int = 1
    pose3d: OurFields | None = None

    @property
    def grouped(self) -> bool:
        """Whether keypoints are listed by whom they belong to, as in projects of many animals."""
        return self.bodyparts == "MULTI!"

    @property
    def keypoints(self) -> tuple[str, ...]:
        """Names of all keypoints."""
        if self.grouped:
            return (*self.multianimalbodyparts, *self.uniquebodyparts)
        return tuple(self.bodyparts)

    @property
    def animals(self) -> tuple[str, ...]:
        """Names of the animals, and "single" for what there is only one of; empty if unnamed."""
        single = self.grouped and self.uniquebodyparts and SINGLE not in self.individuals
        return (*self.individuals, SINGLE) if single else tuple(self.individuals)


def check_fields(config: Mapping[str, Any], path) -> DeepLabCutFields:
    """Check what a config holds.

    Parameters
    ----------
    config : mapping
        As `pose3d.formats.config.read_config` gives it.
    path : path
        The file, for messages.

    Returns
    -------
    DeepLabCutFields
        Its fields with their types; ``pose3d`` is None in a project of DeepLabCut's own.

    Raises
    ------
    DataError
        If a field is missing, unknown in our section, or has a value it cannot have; names file,
        line, field, value and what is legal.
    """
    section = config.get("pose3d")
    version = section.get("version", "1") if isinstance(section, Mapping) else "1"
    if version.isdecimal() and int(version) > VERSION:
        raise DataError(
            f"{path} was written for version {version} of the project format; this program reads "
            f"{VERSION}. Update pose3d."
        )
    try:
        fields = DeepLabCutFields.model_validate(_without_nothing(config))
    except ValidationError as error:
        raise DataError(_explain(error, config, path)) from None
    _check_crops(fields, config, path)
    _warn_of_typos(config, path)
    _warn_of_ambiguous_names(config, path)
    return fields


def _without_nothing(value):
    """Drop the keys that say nothing, so that their defaults count."""
    if isinstance(value, Mapping):
        return {
            str(key): _without_nothing(entry)
            for key, entry in value.items()
            if not (isinstance(entry, Text) and entry.empty)
        }
    if isinstance(value, list):
        return [_without_nothing(entry) for entry in value]
    return str(value)


def _explain(error: ValidationError, config, path) -> str:
    """Say the first thing that is wrong: file, line, field, value, and what is legal."""
    first = error.errors(include_url=False)[0]
    location = [step for step in first["loc"] if step in ("pose3d",) or not _is_internal(step)]
    field = ".".join(str(step) for step in location)
    line = line_of(config, location)
    place = f"{path}, line {line}" if line else f"{path}"
    if first["type"] == "extra_forbidden":
        parent = {"pose3d": OurFields, "pose3d.board": _Board}[".".join(map(str, location[:-1]))]
        return (
            f"{place}: {field} is no field; did you mean "
            f"{_nearest(str(location[-1]), parent.model_fields)!r}? "
            f"The fields are {', '.join(parent.model_fields)}."
        )
    if first["type"] == "missing":
        beside = first["input"] if isinstance(first["input"], dict) else {}
        near = difflib.get_close_matches(str(location[-1]), list(beside), 1, 0.8)
        hint = f" There is {near[0]!r}: did you mean that? Rename it." if near else " Add it."
        return f"{place}: {field} is missing.{hint}"
    value = first["input"]
    shown = repr(value) if len(repr(value)) < 100 else repr(value)[:97] + "..."
    message = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"{place}: {field} is {shown}; it {message}."


def _is_internal(step) -> bool:
    """Tell whether a step of pydantic's path names a kind of value instead of a field."""
    return isinstance(step, str) and (
        step.startswith(("function-", "literal[", "list[", "constrained-")) or step == "[key]"
    )


def _nearest(name, names) -> str:
    """Find the name that looks most like another."""
    return max(names, key=lambda other: difflib.SequenceMatcher(None, name, other).ratio())


def _check_crops(fields, config, path):
    """Refuse crops that are turned round."""
    crops = [("x1", (fields.x1, fields.x2, fields.y1, fields.y2))] if fields.cropping else []
    for video, entry in fields.video_sets.items():
        crop = entry.get("crop") if isinstance(entry, dict) else None
        if isinstance(crop, str) and (numbers := whole_numbers(crop, 4)):
            crops.append((f"video_sets.{video}.crop", numbers))
    for field, (x1, x2, y1, y2) in crops:
        if x1 >= x2 or y1 >= y2:
            line = line_of(config, field.split(".", 1))
            raise DataError(
                f"{path}, line {line}: {field} is {x1}, {x2}, {y1}, {y2}; x1 must be below x2 and "
                "y1 below y2."
            )


def _warn_of_typos(config, path):
    """Point at unknown keys that look like known ones; they are kept."""
    known = DEEPLABCUT_KEYS | {"pose3d"}
    lower = {key.casefold(): key for key in sorted(known)}
    for key in config:
        if key in known or key.startswith(("config_file_", "shuffle_", "trainingsetindex_")):
            continue
        near = difflib.get_close_matches(key.casefold(), list(lower), 1, 0.85)
        if near:
            warnings.warn(
                f"{path}, line {key.line}: {str(key)!r} is an unknown key and is kept as it is; "
                f"did you mean {lower[near[0]]!r}?",
                DataWarning,
                stacklevel=4,
            )


def _warn_of_ambiguous_names(config, path):
    """Point at names that other YAML readers take for something else."""
    section = config.get("pose3d") if isinstance(config.get("pose3d"), Mapping) else {}
    lists = [config.get(key) for key in ("bodyparts", "individuals", "multianimalbodyparts")]
    lists += [section.get("cameras"), list(section.get("recordings") or [])]
    for names in lists:
        for name in names if isinstance(names, list) else []:
            if isinstance(name, Text) and name.ambiguous:
                warnings.warn(
                    f"{path}, line {name.line}: the name {str(name)!r} is kept as text, but other "
                    "programs read something else from it. Put it in double quotes.",
                    DataWarning,
                    stacklevel=4,
                )
