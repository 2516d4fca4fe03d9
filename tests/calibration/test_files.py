"""Files are whole or absent, know where they came from, and do not eat what made them."""

import pytest

from calibration.errors import DataWarning
from calibration.files import (
    atomic_path,
    checked_output,
    file_digest,
    provenance,
    same_origin,
    warn_of_changed_inputs,
    write_text,
)


def test_a_file_is_whole_or_the_old_one_stays(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [entry.name for entry in path.parent.iterdir()] == ["a.txt"]


def test_an_output_is_never_one_of_its_inputs(tmp_path):
    board = tmp_path / "board.toml"
    board.touch()
    with pytest.raises(ValueError, match="is read to make the result"):
        checked_output(tmp_path / "." / "board.toml", [".toml"], [board])
    with pytest.raises(ValueError, match=r"config.yaml is to be written; expected .* \.html"):
        checked_output(tmp_path / "config.yaml", [".html"])
    assert checked_output(tmp_path / "new.toml", [".toml"], [board]) == tmp_path / "new.toml"


def test_a_stale_file_is_told_by_what_it_was_made_from(tmp_path):
    source = tmp_path / "video.mp4"
    source.write_bytes(b"a" * 3_000_000)
    first = provenance("step", {"size": 1}, {"video": source})
    assert same_origin(first, provenance("step", {"size": 1}, {"video": source}))
    assert not same_origin(first, provenance("step", {"size": 2}, {"video": source}))
    source.write_bytes(b"a" * 2_999_999 + b"b")
    assert file_digest(source) != first["inputs"]["video"]["digest"]
    assert not same_origin(first, provenance("step", {"size": 1}, {"video": source}))
    with pytest.warns(DataWarning, match="another video: .*video.mp4 has changed.* Repeat step"):
        warn_of_changed_inputs("result.h5", first)
    source.unlink()
    warn_of_changed_inputs("result.h5", first)
