"""config.yaml: read strictly, changed in place with its comments kept.

Every scalar is text here: names such as ``no``, ``on`` and ``01`` stay what was written, and
`pose3d.project` makes numbers where numbers belong. Only plain data is accepted: no tags, no
aliases, no key given twice, one document, at most 1 MB and 40 levels.
"""

import contextlib
import io
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from calibration.errors import DataError
from calibration.files import write_text

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LARGEST = 1 << 20
_DEEPEST = 40


class Text(str):
    """Text from a config, which knows where it stood.

    Attributes
    ----------
    line : int
        Line in the file, from 1.
    plain : bool
        Whether it stood without quotes.
    """

    line: int
    plain: bool

    def __new__(cls, value: str, line: int, plain: bool):
        """Make text with its place."""
        text = super().__new__(cls, value)
        text.line, text.plain = line, plain
        return text

    @property
    def empty(self) -> bool:
        """Whether it says "nothing"."""
        return self.plain and self.casefold() in ("", "~", "null")

    @property
    def ambiguous(self) -> bool:
        """Whether other YAML readers take it for a number, a truth value or a date."""
        if not self.plain:
            return False
        if self.empty or _is_number(self):
            return True
        resolvers = yaml.SafeLoader.yaml_implicit_resolvers.get(self[:1], [])
        return any(pattern.match(self) for _, pattern in resolvers)


def _is_number(text):
    """Tell whether Python would read a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def read_config(path: str | os.PathLike) -> dict[Text, Any]:
    """Read a config.yaml as nested dicts and lists of `Text`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If it is no plain mapping in YAML; the message names line and column.
    """
    return parse_config(_read_text(path), path)


def edit_config(path: str | os.PathLike, edit: Callable[[Any], None]) -> None:
    """Change a config.yaml, keeping its comments, order and whatever was not changed.

    Parameters
    ----------
    path : path
        The file.
    edit : callable
        Gets the mapping and changes it in place.

    Raises
    ------
    DataError
        If the file is not valid before or after, or somebody changed it meanwhile.
    """
    from ruamel.yaml import YAML

    path = Path(path)
    before = _read_text(path)
    settings = parse_config(before, path)
    editor = YAML(typ="rt")
    editor.preserve_quotes = True
    editor.width = 4096
    offset = _list_offset(before)
    editor.indent(mapping=2, sequence=offset + 2, offset=offset)
    content = editor.load(before.replace("\r\n", "\n"))
    edit(content)
    written = io.StringIO()
    editor.dump(content, written)
    after = written.getvalue()
    if parse_config(after, path) == settings:
        return
    if "\r\n" in before:
        after = after.replace("\n", "\r\n")
    if _read_text(path) != before:
        raise DataError(f"{path} was changed by somebody else meanwhile; try again.")
    write_text(path, after)


def quoted(name: str) -> Any:
    """Return a name in a form that `edit_config` writes in quotes where YAML needs them."""
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    return DoubleQuotedScalarString(name) if spell(name).startswith('"') else name


def spell(name: str) -> str:
    """Write text as YAML, in double quotes wherever it could be misread.

    Examples
    --------
    >>> spell("left_ear"), spell("no"), spell("01")
    ('left_ear', '"no"', '"01"')
    """
    if re.fullmatch(r"(?:[^\W\d]|/)[\w ./+-]*", name) and name == name.strip():
        text = Text(name, 0, True)
        if not text.ambiguous:
            return name
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'


def line_of(config: Any, location: Iterable[str | int]) -> int | None:
    """Find the line of a field, or of the nearest field above it that is there."""
    line = None
    for step in location:
        if isinstance(config, Mapping) and step in config:
            line = next(key for key in config if key == step).line
            config = config[step]
        elif isinstance(config, list) and isinstance(step, int) and step < len(config):
            config = config[step]
            line = getattr(config, "line", line)
        else:
            break
    return line


def whole_numbers(text: str, count: int) -> tuple[int, ...] | None:
    """Read so many whole numbers with commas between, as in ``crop: 0, 640, 0, 480``."""
    with contextlib.suppress(ValueError):
        numbers = tuple(int(part) for part in text.split(","))
        return numbers if len(numbers) == count else None
    return None


def _read_text(path):
    """Read a file of moderate size as UTF-8 text; a byte order mark is dropped."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no {path}. Make a project with create-project.")
    size = path.stat().st_size
    if size > _LARGEST:
        raise DataError(f"{path} has {size:,} bytes; a config has {_LARGEST:,} at most.")
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, line {line} is no UTF-8 text; save the file as UTF-8.") from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise DataError(f"{path}, line {line} holds a NUL character; save the file as UTF-8 text.")
    return text


def _list_offset(text):
    """How far the file indents its lists under their keys, in spaces."""
    found = re.search(r"^[^\s#-][^\n]*:[ ]*(?:#[^\n]*)?\r?\n([ ]*)- ", text, re.MULTILINE)
    return min(len(found[1]), 4) if found else 0


def parse_config(text: str, path: str | os.PathLike) -> dict[Text, Any]:
    """Read the text of a config.yaml; `path` names it in messages.

    Nested dicts and lists are made from YAML events; no object is ever constructed.

    Raises
    ------
    DataError
        If it is no plain mapping in YAML; the message names line and column.
    """
    try:
        return _build(yaml.parse(text, Loader=_LOADER), path)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = error.problem or error.context
        if "nesting depth" in what:  # newer parsers look ahead, and stop before we can
            what = f"more than {_DEEPEST} levels; a config has four or five"
        raise DataError(
            f"{path}, line {mark.line + 1}, column {mark.column + 1}: {what}. Correct the YAML."
        ) from None
    except yaml.YAMLError as error:
        raise DataError(f"{path} is no YAML ({error}). Correct it.") from None


def _build(events, path):
    """Assemble a document from its events."""
    documents: list[Any] = []
    stack: list[Any] = []
    keys: list[Text | None] = []

    def refuse(event, what):
        mark = event.start_mark
        return DataError(f"{path}, line {mark.line + 1}, column {mark.column + 1}: {what}")

    def add(event, value):
        if not stack:
            documents.append(value)
        elif isinstance(stack[-1], list):
            stack[-1].append(value)
        elif keys[-1] is not None:
            stack[-1][keys[-1]] = value
            keys[-1] = None
        elif not isinstance(value, Text):
            raise refuse(event, "a key must be text, not a list or a mapping.")
        elif value in stack[-1]:
            first = next(key for key in stack[-1] if key == value).line
            raise refuse(
                event,
                f"the key {str(value)!r} stands twice, in line {first} and in line {value.line}. "
                "Remove one.",
            )
        else:
            keys[-1] = value

    for event in events:
        if isinstance(event, yaml.AliasEvent):
            raise refuse(event, f"the alias *{event.anchor} is not allowed; write it out.")
        if isinstance(event, yaml.DocumentStartEvent) and documents:
            raise refuse(event, "a second document begins; a config is one.")
        if isinstance(event, yaml.NodeEvent) and event.tag is not None:
            raise refuse(event, f"the tag {event.tag} is not allowed; a config is plain data.")
        if isinstance(event, yaml.ScalarEvent):
            add(event, Text(event.value, event.start_mark.line + 1, event.style in (None, "")))
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            if len(stack) >= _DEEPEST:
                raise refuse(event, f"more than {_DEEPEST} levels; a config has four or five.")
            value: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
            add(event, value)
            stack.append(value)
            keys.append(None)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            stack.pop()
            keys.pop()
    if not documents or not isinstance(documents[0], dict):
        found = "is empty" if not documents else "does not begin with a key and a colon"
        raise DataError(f"{path}, line 1 {found}; expected keys such as Task and bodyparts.")
    return documents[0]
