"""The command line, generated from the steps: ``pose3d VERB``.

Every verb shows progress, ends with a short table and the path to look at, takes ``--json``,
and exits 0 (done), 2 (wrong usage) or 3 (the data cannot answer).
"""

import contextlib
import difflib
import functools
import importlib
import inspect
import json
import os
import re
import types
import typing
import warnings
from collections.abc import Callable
from pathlib import Path

import typer
from typer.core import TyperGroup

from calibration.errors import DataError, DataWarning
from calibration.results import Outcome
from pose3d.steps import HOMES

USAGE, NO_ANSWER, STOPPED = 2, 3, 130


def parameter_help(step: Callable) -> dict[str, str]:
    """Read what each parameter means from the numpydoc section of a step."""
    lines = inspect.cleandoc(step.__doc__ or "").splitlines()
    try:
        start = lines.index("Parameters")
    except ValueError:
        return {}
    texts: dict[str, str] = {}
    names: list[str] = []
    for i, line in enumerate(lines[start + 2 :], start + 2):
        if i + 1 < len(lines) and re.fullmatch(r"-{3,}", lines[i + 1]):
            break
        if line and not line.startswith(" "):
            names = [name.strip().lstrip("*") for name in line.split(" : ")[0].split(",")]
        for name in names if line.startswith(" ") else ():
            texts[name] = f"{texts.get(name, '')} {line.strip()}".strip()
    return texts


def _plain_type(annotation):
    """Return a type that the command line can read: paths for path-likes, one of a union."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        parts = [part for part in typing.get_args(annotation) if part is not type(None)]
        optional = len(parts) < len(typing.get_args(annotation))
        plain = Path if len(parts) > 1 else _plain_type(parts[0])
        return plain | None if optional else plain
    if annotation is os.PathLike:
        return Path
    return annotation


def command_from_step(step: Callable[..., Outcome]) -> Callable[..., None]:
    """Make the command of a step: positional parameters are arguments, the others options."""
    texts = parameter_help(step)
    hints = typing.get_type_hints(step)
    parameters = []
    listed = []
    for name, parameter in inspect.signature(step).parameters.items():
        info = {"help": texts.get(name, "")}
        option = parameter.kind is parameter.KEYWORD_ONLY
        read = typer.Option(**info) if option else typer.Argument(**info)
        plain = _plain_type(hints[name])
        parts = (plain, *typing.get_args(plain))
        if option and any(part == list[str] for part in parts):
            listed.append(name)
            read.help = f"{read.help} Separated by commas."
        annotation = typing.Annotated[plain, read]
        parameters.append(
            parameter.replace(annotation=annotation, kind=inspect.Parameter.KEYWORD_ONLY)
        )
    as_json = typing.Annotated[
        bool, typer.Option("--json", help="Print the result as JSON and nothing else.")
    ]
    parameters.append(
        inspect.Parameter(
            "as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=as_json
        )
    )

    @functools.wraps(step)
    def command(*, as_json, **arguments):
        if as_json:
            os.environ["TQDM_DISABLE"] = "1"
        for name in listed:
            arguments[name] = _split(arguments[name])
        with _told_plainly():
            outcome = step(**arguments)
        _print_outcome(outcome, as_json)
        if outcome.failed:
            raise typer.Exit(NO_ANSWER)

    command.__signature__ = inspect.Signature(parameters)
    # inspect.signature follows __wrapped__ first, and the summary alone is the help
    del command.__wrapped__
    command.__doc__ = re.split(r"\n\w+\n-{3,}\n", inspect.cleandoc(step.__doc__ or ""))[0]
    return command


def _split(values: list[str] | None) -> list[str] | None:
    """Take a list given as one text with commas, as several options, or both."""
    return values and [part.strip() for value in values for part in value.split(",")]


@contextlib.contextmanager
def _told_plainly():
    """Turn errors into one message and an exit code; POSE3D_DEBUG=1 shows where they arose."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("Stopped. Run the same command again to go on.", err=True)
        raise typer.Exit(STOPPED) from None
    except (ValueError, OSError, KeyError) as error:
        if os.environ.get("POSE3D_DEBUG"):
            raise
        # a KeyError prints its message in quotes
        text = error.args[0] if isinstance(error, KeyError) and error.args else error
        if isinstance(error, PermissionError) and error.filename:
            text = (
                f"{error.filename} may not be written or read here ({error.strerror}). Is its "
                "folder read-only or somebody else's, or the file open in another program?"
            )
        typer.secho(f"Error: {text}", fg="red", err=True)
        raise typer.Exit(NO_ANSWER if isinstance(error, DataError) else USAGE) from None


def _print_outcome(outcome: Outcome, as_json: bool) -> None:
    """Print what a step did, for a person or for a program."""
    if as_json:
        record = {
            "path": str(outcome.path),
            "summary": outcome.summary,
            "failed": outcome.failed,
            "figures": dict(outcome.figures),
            "table": [dict(row) for row in outcome.table],
        }
        typer.echo(json.dumps(_finite(record), default=str))
        return
    if outcome.table:
        _print_table(outcome.table)
    if outcome.failed:
        typer.secho(outcome.failed, fg="red", err=True)
    typer.echo(outcome.summary)
    typer.echo(f"Look at: {outcome.path}")


def _print_table(rows) -> None:
    """Print a table in the first form that fits, and never less than all of it.

    As it is; with headers broken at underscores; on its side; else with its texts folded. Where
    nobody sits at a terminal it is as wide as it must be.
    """
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 10_000
    cells = [[_spell(value) for value in row.values()] for row in rows]
    numeric = [
        all(not isinstance(row[column], str) or not row[column] for row in rows)
        for column in rows[0]
    ]
    headers = [str(column) for column in rows[0]]
    broken = _table([header.replace("_", "_\n") for header in headers], cells, numeric)
    forms = [_table(headers, cells, numeric), broken]
    if len(rows) < len(headers):
        columns = zip(*cells, strict=True)
        sides = [[header, *column] for header, column in zip(headers, columns, strict=True)]
        forms.append(_table([""] * (len(rows) + 1), sides, [False] + [True] * len(rows)))
    ample = console.options.update(max_width=10_000)
    fitting = (f for f in forms if console.measure(f, options=ample).maximum <= console.width)
    console.print(next(fitting, broken))


def _table(headers, cells, numeric):
    """Lay out a table: numbers to the right and whole, texts to the left and folded at need."""
    from rich.table import Table

    table = Table(show_edge=False, pad_edge=False, header_style="bold", show_header=any(headers))
    for header, whole in zip(headers, numeric, strict=True):
        side = "right" if whole else "left"
        table.add_column(header, justify=side, no_wrap=whole, overflow="fold", vertical="top")
    for row in cells:
        table.add_row(*row)
    return table


def _spell(value) -> str:
    """Write a table's cell: four significant digits, a dash for what is missing."""
    if value is None:
        return "-"
    if isinstance(value, float):
        if value != value:
            return "-"
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"
    return str(value)


def _finite(value):
    """Replace what JSON cannot say: NaN and infinity become null, arrays lists."""
    if isinstance(value, dict):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    if hasattr(value, "tolist"):
        return _finite(value.tolist())
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


class LazyGroup(TyperGroup):
    """The verbs: a step's module is imported when its command is needed."""

    def list_commands(self, ctx):
        """Return the verbs in the order in which people need them."""
        return [name.replace("_", "-") for name in HOMES]

    def get_command(self, ctx, name):
        """Build the command of a verb."""
        verb = name.replace("-", "_")
        if verb not in HOMES:
            near = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
            meant = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"There is no verb {name!r}.{meant}")
        step = getattr(importlib.import_module(HOMES[verb]), verb)
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(name=name, short_help=_summary(step))(command_from_step(step))
        return typer.main.get_command(app)


def _summary(step) -> str:
    """First line of a docstring."""
    return inspect.cleandoc(step.__doc__ or "").split("\n")[0].rstrip(".")


app = typer.Typer(
    cls=LazyGroup,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"pose3d {version('pose3d')}")
        raise typer.Exit


@app.callback()
def _main(
    version: typing.Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
):
    """Multi-camera 3D pose: calibrate, label, train, analyse, triangulate, look."""


def _show_warning(message, category, filename, lineno, file=None, line=None):
    """Print what the user must know about the data; hide other packages' warnings."""
    if issubclass(category, DataWarning):
        typer.secho(f"Warning: {message}", fg="yellow", err=True)


def main() -> None:
    """Run the command line."""
    warnings.simplefilter("always", DataWarning)
    warnings.showwarning = _show_warning
    app()
