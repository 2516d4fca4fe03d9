"""What a network is, in a few words that rebuild it; no TensorFlow needed to read them."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from calibration.arrays import name_tuple
from calibration.errors import DataError
from pose3d.scoremaps import RADIUS, SIGMA

#: Every backbone by name, and the multiple to which its input is padded: TensorFlow pads odd
#: and even sizes differently, so peaks would shift by half a cell otherwise.
BACKBONES = (
    {"unet": 64}
    | {f"mobilenet_v2_{alpha}": 32 for alpha in ("0.35", "0.5", "0.75", "1.0")}
    | {f"mobilenet_{alpha}": 32 for alpha in ("0.25", "0.5", "0.75", "1.0")}
    | {f"resnet_{depth}": 16 for depth in (50, 101, 152)}
    | {f"efficientnet_b{size}": 32 for size in range(4)}
)

#: Pixels of the network's input per cell of its scoremaps.
STRIDES = (4, 8)

PIXELS = {"luma": 1, "rgb": 3}

#: A description of a network has some kilobytes; more is none.
_MOST_BYTES = 4 << 20

#: Backbones that can be supervised in their middle.
SUPERVISED = ("resnet_101", "resnet_152")


@dataclass(frozen=True)
class NetworkSpec:
    """The arguments that rebuild a network, and how images are prepared for it.

    Attributes
    ----------
    backbone : str
        A name in `BACKBONES`.
    keypoints : tuple of str
        What it finds, one scoremap each.
    scale : float
        Network pixels per image pixel: images are shrunk by this factor first.
    pixels : {"luma", "rgb"}
        Whether it sees grey or colour.
    stride : {4, 8}
        Network pixels per cell of its scoremaps.
    sigma, radius : float
        Width of the Gaussian and reach of the locref that it was trained to draw, in cells.
    supervised : str
        Layer in the middle of a ResNet-101 or 152 that must draw the same while it is trained
        (intermediate supervision), such as "conv4_block12_out"; none where empty.
    """

    backbone: str
    keypoints: tuple[str, ...]
    scale: float = 0.5
    pixels: str = "luma"
    stride: int = 4
    sigma: float = SIGMA
    radius: float = RADIUS
    supervised: str = ""

    def __post_init__(self):
        object.__setattr__(self, "keypoints", name_tuple("keypoints", self.keypoints))
        for name, choices in (
            ("backbone", BACKBONES), ("pixels", PIXELS), ("stride", STRIDES)
        ):  # fmt: skip
            value = getattr(self, name)
            if value not in choices:
                listed = ", ".join(map(str, choices))
                raise ValueError(f"{name} is {value!r}; expected one of {listed}.")
        for name, low, high in (("scale", 0.01, 4.0), ("sigma", 0.3, 10.0), ("radius", 0.5, 50.0)):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not low <= value <= high:
                raise ValueError(f"{name} is {value!r}; expected a number from {low} to {high}.")
            object.__setattr__(self, name, float(value))

        if self.supervised and self.backbone not in SUPERVISED:
            raise ValueError(
                f"{self.backbone} cannot be supervised in its middle, {self.supervised!r}: it is "
                f"not deep enough to gain by it. Take {' or '.join(SUPERVISED)}, or leave it out."
            )

    @property
    def channels(self) -> int:
        """Colour channels of the input."""
        return PIXELS[self.pixels]

    @property
    def multiple(self) -> int:
        """What the width and height of the input are padded to a multiple of."""
        return BACKBONES[self.backbone]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON knows them."""
        return asdict(self) | {"keypoints": list(self.keypoints)}

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str) -> "NetworkSpec":
        """Make a spec from what a file holds, or say what is wrong in it.

        Parameters
        ----------
        values : dict
            The fields by name.
        where : str
            The file, for messages.

        Raises
        ------
        DataError
            If a field is absent, unknown or out of range.
        """
        if not isinstance(values, dict):
            raise DataError(f"{where}: a network is described by {values!r}; expected fields.")
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise DataError(
                f"{where} has the unknown field {unknown[0]!r}; a newer pose3d may have written "
                "it: update pose3d, or train again."
            )
        # a field that came later
        values = {"supervised": ""} | values
        if missing := sorted(known - set(values)):
            raise DataError(f"{where} lacks the field {missing[0]!r}. Restore it, or train again.")
        try:
            return cls(**values)
        except (TypeError, ValueError) as error:
            raise DataError(f"{where}: {error}") from None


def read_fields(path: Path, file_format: str, version: int, remedy: str) -> dict[str, Any]:
    """Read what a JSON file says of a network.

    Parameters
    ----------
    path : Path
        The file.
    file_format : str
        What it calls itself.
    version : int
        The version of its format that is known.
    remedy : str
        What to do if it is damaged.

    Raises
    ------
    DataError
        If it is damaged, something else, or of another version.
    """
    if path.stat().st_size > _MOST_BYTES:
        raise DataError(f"{path} has {path.stat().st_size:,} bytes; expected some thousand.")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no JSON ({error}). {remedy[0].upper()}{remedy[1:]}.") from None
    if not isinstance(found, dict) or found.get("format") != file_format:
        raise DataError(f"{path} does not describe a {file_format}.")
    if found.get("format_version") != version:
        raise DataError(
            f"{path} has format version {found.get('format_version')!r}; this pose3d reads "
            f"{version}. Update pose3d, or {remedy}."
        )
    return found
