"""The command line says plainly what happened, to people and to programs."""

import json
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
    [("data", 3), ("verdict", 3), ("usage", 2), ("file", 2), ("key", 2), ("stop", 130)],
)
def test_the_exit_status_says_whether_the_data_or_the_call_is_at_fault(run, fail, status):
    assert run("trot", "--fail", fail).exit_code == status


def test_errors_are_one_message_without_a_traceback(run):
    done = run("trot", "--fail", "data")
    assert "Error: Cameras 'a' and 'b' share 0 frames; 5 are needed. Record." in done.output
    assert "Traceback" not in done.output


def test_a_mistyped_verb_is_answered_with_the_nearest(run):
    done = CliRunner().invoke(cli.app, ["mesure"])
    assert done.exit_code == 2
    assert "Did you mean 'measure'?" in done.output
