"""The command line says plainly what happened, to people and to programs."""

import json
import re
import sys

import pytest
from typer.testing import CliRunner

from calibration.errors import CalibrationError
from calibration.results import Outcome
from pose3d import cli


def measure(
    recording: str,
    *,
    cameras: list[str] | None = None,
    threshold: float = 0.5,
    fail: str | None = None,
    force: bool = False,
) -> Outcome:
    """Measure something.

    More about it.

    Parameters
    ----------
    recording : str
        The take.
    cameras : list of str, optional
        Which cameras; all of them
        by default.
    threshold : float
        How sure.
    fail : str, optional
        How to fail.
    force : bool
        Whether to do it again.

    Returns
    -------
    Outcome
        Figures.
    """
    errors = {
        "data": CalibrationError("Cameras 'a' and 'b' share 0 frames; 5 are needed. Record."),
        "usage": ValueError("threshold is 7; expected 0 to 1."),
        "file": FileNotFoundError("There is no video a.mp4."),
        "key": KeyError("No camera 'c'."),
        "shut": PermissionError(13, "Permission denied", "/data/labels.csv"),
        "stop": KeyboardInterrupt(),
    }
    if fail in errors:
        raise errors[fail]
    rows = ({"camera": "a", "error": 0.12345678}, {"camera": "b", "error": float("nan")})
    figures = {"threshold": threshold, "missing": float("nan"), "cameras": cameras}
    return Outcome(recording, "Measured.", rows, figures, "Not good." if fail == "verdict" else "")


@pytest.fixture
def run(monkeypatch):
    """Run the command line with the one verb above."""
    module = type(sys)("steps_for_test")
    module.measure = measure
    monkeypatch.setitem(sys.modules, "steps_for_test", module)
    monkeypatch.setattr(cli, "HOMES", {"measure": "steps_for_test"})
    return lambda *arguments: CliRunner().invoke(cli.app, ["measure", *arguments])


def test_help_comes_from_the_docstring(run):
    text = " ".join(run("--help").output.split())
    assert "Measure something. More about it." in text
    assert "Which cameras; all of them by default." in text
    assert "How sure." in text
    assert "--threshold" in text
    assert "Returns" not in text


def test_a_table_is_printed_for_people(run):
    done = run("trot")
    assert done.exit_code == 0
    assert "0.1235" in done.output
    assert "Look at: trot" in done.output


def test_json_is_printed_for_programs(run):
    record = json.loads(run("trot", "--json", "--threshold", "0.7").output)
    assert record["figures"] == {"threshold": 0.7, "missing": None, "cameras": None}
    assert record["table"][1] == {"camera": "b", "error": None}


@pytest.mark.parametrize(
    "given", [["--cameras", "a,b"], ["--cameras", "a", "--cameras", "b"], ["--cameras", "a, b"]]
)
def test_lists_are_given_with_commas_or_one_by_one(run, given):
    record = json.loads(run("trot", "--json", *given).output)
    assert record["figures"]["cameras"] == ["a", "b"]


@pytest.mark.parametrize(
    ("fail", "status"),
    [
        ("data", 3),
        ("verdict", 3),
        ("usage", 2),
        ("file", 2),
        ("key", 2),
        ("shut", 2),
        ("stop", 130),
    ],
)
def test_the_exit_status_says_whether_the_data_or_the_call_is_at_fault(run, fail, status):
    assert run("trot", "--fail", fail).exit_code == status


def test_errors_are_one_message_without_a_traceback(run):
    done = run("trot", "--fail", "data")
    assert "Error: Cameras 'a' and 'b' share 0 frames; 5 are needed. Record." in done.output
    assert "Traceback" not in done.output


def test_what_may_not_be_written_is_said_with_what_to_look_at(run):
    done = run("trot", "--fail", "shut")
    assert "/data/labels.csv may not be written or read here (Permission denied)" in done.output
    assert "read-only" in done.output
    assert "Errno" not in done.output


def test_a_mistyped_verb_is_answered_with_the_nearest(run):
    done = CliRunner().invoke(cli.app, ["mesure"])
    assert done.exit_code == 2
    assert "Did you mean 'measure'?" in done.output


ERRORS = tuple(
    {"keypoint": f"left_hind_paw_{i}", "mean_error_px": 1234.5, "median_error_px": 678.9 + i}
    for i in range(4)
)


@pytest.mark.parametrize("width", [20, 40, 44, 60, 200])
def test_a_narrow_terminal_folds_a_table_and_cuts_nothing(monkeypatch, capsys, width):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    cli._print_table(ERRORS)
    told = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert "\N{HORIZONTAL ELLIPSIS}" not in told
    assert told.count("1234") == 4  # numbers stay whole
    assert max(map(len, told.splitlines())) <= max(width, 30)


def test_one_long_row_is_printed_on_its_side(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    cli._print_table(({f"figure_{i}": i for i in range(9)},))
    told = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    assert len(told) == 9
    assert all(re.search(rf"^figure_{i} .* {i}$", line.strip()) for i, line in enumerate(told))


def test_a_table_in_a_file_is_as_wide_as_it_must_be(capsys):
    cli._print_table(({f"figure_{i}": "x" * 30 for i in range(20)},))
    assert len(capsys.readouterr().out.splitlines()) == 3
