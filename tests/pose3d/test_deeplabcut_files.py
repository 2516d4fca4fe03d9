"""DeepLabCut's tables: what goes out comes back, what is wrong is named, nothing is run."""

import contextlib
import os
import shutil
import warnings

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calibration.errors import DataError, DataWarning
from pose3d.formats.deeplabcut import (
    LabelTable,
    load_label_folder,
    load_labels,
    load_predictions,
    save_labels,
)
from pose3d.formats.pytables import Table, load_table, parse_literal, save_table

pd = pytest.importorskip("pandas")

CSV = """\
scorer,,,Ada,Ada,Ada,Ada
bodyparts,,,nose,nose,tail,tail
coords,,,x,y,x,y
labeled-data,trot_top,img00000.png,1.5,2.5,,
labeled-data,trot_top,img00007.png,3,4,5,6e1
"""


def write(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "CollectedData_Ada.csv"
    path.write_bytes(text.encode(encoding))
    return path


def make(xy, individuals=(), keypoints=("nose", "tail"), scorer="Ada"):
    images = [f"labeled-data/trot_top/img{i:05}.png" for i in range(len(xy))]
    return LabelTable(np.asarray(xy, float), images, individuals, keypoints, scorer)


def assert_same(first, second):
    assert first.images == second.images
    assert first.individuals == second.individuals
    assert first.keypoints == second.keypoints
    assert first.scorer == second.scorer
    np.testing.assert_array_equal(first.xy, second.xy)


def test_a_csv_is_read_with_its_missing_points(tmp_path):
    labels = load_labels(write(tmp_path, CSV))
    assert labels.images[1] == "labeled-data/trot_top/img00007.png"
    assert (labels.scorer, labels.keypoints, labels.individuals) == ("Ada", ("nose", "tail"), ())
    expected = [[[[1.5, 2.5], [np.nan, np.nan]]], [[[3, 4], [5, 60]]]]
    np.testing.assert_array_equal(labels.xy, expected)


def test_both_layouts_of_the_rows_say_the_same(tmp_path):
    one_path = CSV.replace(",,,Ada", ",Ada").replace(",,,nose", ",nose").replace(",,,x", ",x")
    one_path = one_path.replace("labeled-data,trot_top,", "labeled-data/trot_top/")
    three_parts = load_labels(write(tmp_path, CSV))
    assert_same(load_labels(write(tmp_path, one_path)), three_parts)


@pytest.mark.parametrize(
    "index",
    [
        "labeled-data\\trot_top\\img00007.png,,",
        "C:\\Users\\ada\\reach\\labeled-data\\trot_top\\img00007.png,,",
        "/home/ada/labeled-data/reach/labeled-data/trot_top/img00007.png,,",
        "labeled-data,trot_top,./img00007.png",
    ],
)
def test_images_are_found_whatever_system_wrote_their_paths(tmp_path, index):
    text = CSV.replace("labeled-data,trot_top,img00007.png", index)
    assert load_labels(write(tmp_path, text)).images[1] == "labeled-data/trot_top/img00007.png"


def test_columns_in_another_order_are_matched_by_name(tmp_path):
    lines = [line.split(",") for line in CSV.splitlines()]
    text = "\n".join(",".join(line[:3] + [line[i] for i in (6, 3, 5, 4)]) for line in lines)
    labels = load_labels(write(tmp_path, text))
    np.testing.assert_array_equal(labels.xy[1, 0, labels.keypoints.index("tail")], [5, 60])
    np.testing.assert_array_equal(labels.xy[1, 0, labels.keypoints.index("nose")], [3, 4])


def test_a_column_of_visibility_is_passed_over(tmp_path):
    text = "\n".join(
        f"{line},{end}"
        for line, end in zip(CSV.splitlines(), ("Ada", "nose", "visible", 1, 2), strict=True)
    )
    assert_same(load_labels(write(tmp_path, text)), load_labels(write(tmp_path, CSV)))


BROKEN = {
    "nothing": ("", "no header row 'scorer'"),
    "no scorer": (CSV.split("\n", 1)[1], "no header row 'scorer'"),
    "a cut row": (
        CSV.removesuffix(",60\n").removesuffix(",6e1\n"),
        "row 5 .*img00007.png.* 6 cells",
    ),
    "text in a cell": (CSV.replace("2.5", "2.5 px"), r"row 4 .*column nose y holds '2.5 px'"),
    "Inf in a cell": (CSV.replace("2.5", "inf"), "row 4 .*column nose y holds 'inf'"),
    "digits with a line": (CSV.replace("2.5", "2_5"), "column nose y holds '2_5'"),
    "x without y": (
        CSV.replace("1.5,2.5", "1.5,"),
        "row 4: 'nose' in .*img00000.png has x",
    ),
    "semicolons": (CSV.replace(".", ",").replace(",", ";"), "spreadsheet in another locale"),
    "an image twice": (CSV.replace("00007", "00000"), "row 5: .*img00000.png is labelled twice"),
    "a part twice": (
        CSV.replace("nose,nose,tail,tail", "nose,nose,nose,nose"),
        "nose x stands twi",
    ),
    "two scorers": (CSV.replace("Ada,Ada,Ada,Ada", "Ada,Ada,Bob,Bob"), "scorers Ada, Bob"),
    "no y": (CSV.replace("x,y,x,y", "x,y,x,z"), "tail has no column x or no column y"),
    "a short header": (CSV.replace("nose,tail,tail", "nose,tail"), "'bodyparts' has 3 names"),
    "a path upwards": (CSV.replace("trot_top,img00007", "..,../etc/passwd"), "row 5.*leads out"),
    "upwards on Windows": (CSV.replace("img00007", "a\\..\\..\\b"), "row 5.*leads out"),
    "no image": (CSV.replace("img00007.png", "img7"), "row 5: .* is no image"),
    "an open quote": (CSV.replace("3,4", '"3,4'), "no table with commas"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_wrong_csv_is_refused_with_row_and_column(tmp_path, name):
    text, message = BROKEN[name]
    with pytest.raises(DataError, match=rf"CollectedData_Ada\.csv.*{message}"):
        load_labels(write(tmp_path, text))


def test_rows_are_counted_as_an_editor_counts_them(tmp_path):
    text = CSV.replace("labeled-data,trot_top,img00007", "\n\nlabeled-data,trot_top,img00007")
    with pytest.raises(DataError, match="row 7"):
        load_labels(write(tmp_path, text.replace("6e1", "six")))


def test_latin1_is_refused_with_its_row(tmp_path):
    with pytest.raises(DataError, match="row 2 is no UTF-8"):
        load_labels(write(tmp_path, CSV.replace("nose", "Zoë"), "latin1"))


def test_a_csv_saved_by_a_spreadsheet_as_utf8_is_read(tmp_path):
    text = CSV.replace("\n", "\r\n")
    assert load_labels(write(tmp_path, text, "utf-8-sig")).scorer == "Ada"


names = st.text(
    st.characters(exclude_categories=("C", "Z"), exclude_characters="/\\"), min_size=1, max_size=8
)
animals = names.filter(lambda name: name != "single")
points = st.one_of(
    st.just((np.nan, np.nan)),
    st.tuples(*[st.floats(-1e6, 1e6, allow_subnormal=False)] * 2),
)


@st.composite
def tables(draw):
    keypoints = draw(st.lists(names, min_size=1, max_size=4, unique_by=str.casefold))
    individuals = draw(st.lists(animals, max_size=3, unique_by=str.casefold))
    n_images = draw(st.integers(1, 5))
    count = n_images * max(len(individuals), 1) * len(keypoints)
    xy = draw(st.lists(points, min_size=count, max_size=count))
    shape = (n_images, -1, len(keypoints), 2)
    return make(np.reshape(xy, shape), individuals, keypoints, draw(names))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(labels=tables())
def test_any_labels_come_back_bit_for_bit_from_both_files(tmp_path_factory, labels):
    folder = tmp_path_factory.mktemp("labels")
    path = save_labels(folder, labels)
    assert_same(load_labels(path), labels)
    assert_same(load_labels(path.with_suffix(".csv")), labels)
    shutil.rmtree(folder)


@pytest.mark.parametrize("individuals", [(), ("anna", "otto")])
def test_pandas_opens_what_is_written(tmp_path, rng, individuals):
    pytest.importorskip("tables")
    xy = rng.uniform(0, 1000, (6, len(individuals) or 1, 3, 2))
    xy[2, 0, 1] = np.nan
    labels = make(xy, individuals, ("nose", "nan", "尾"))
    path = save_labels(tmp_path, labels)
    frame = pd.read_hdf(path)
    levels = ["scorer", "individuals", "bodyparts", "coords"]
    assert list(frame.columns.names) == (levels if individuals else levels[:1] + levels[2:])
    assert list(frame.index) == [tuple(image.split("/")) for image in labels.images]
    assert list(frame.index.names) == [None, None, None]
    np.testing.assert_array_equal(frame.to_numpy().reshape(xy.shape), xy)
    header = list(range(frame.columns.nlevels))
    from_csv = pd.read_csv(path.with_suffix(".csv"), header=header, index_col=[0, 1, 2])
    np.testing.assert_array_equal(from_csv.to_numpy().reshape(xy.shape), xy)
    assert list(from_csv.index) == list(frame.index)


@pytest.mark.parametrize(
    ("rows", "kind"), [("one path", "fixed"), ("one path", "table"), ("three parts", "fixed")]
)
def test_what_pandas_writes_is_read(tmp_path, rng, rows, kind):
    pytest.importorskip("tables")
    labels = make(rng.uniform(0, 1000, (7, 1, 2, 2)))
    columns = pd.MultiIndex.from_product(
        [["Ada"], labels.keypoints, ["x", "y"]], names=["scorer", "bodyparts", "coords"]
    )
    index = list(labels.images)
    if rows == "three parts":
        index = pd.MultiIndex.from_tuples([tuple(image.split("/")) for image in index])
    frame = pd.DataFrame(labels.xy.reshape(7, 4), index=index, columns=columns)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTables dislikes names such as "N."
        frame.to_hdf(tmp_path / "a.h5", key="df_with_missing", mode="w", format=kind)
    assert_same(load_labels(tmp_path / "a.h5"), labels)


def test_a_column_of_whole_numbers_is_read_beside_the_others(tmp_path):
    pytest.importorskip("tables")
    columns = pd.MultiIndex.from_product([["Ada"], ["nose", "tail"], ["x", "y"]])
    frame = pd.DataFrame([[1, 2.5, 3, 4.5]], index=["labeled-data/a/b.png"], columns=columns)
    assert frame.dtypes.nunique() == 2
    for kind in ("fixed", "table"):
        path = tmp_path / f"{kind}.h5"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            frame.to_hdf(path, key="df_with_missing", mode="w", format=kind)
        np.testing.assert_array_equal(load_labels(path).xy.ravel(), [1, 2.5, 3, 4.5])


def test_the_open_field_labels_are_read_from_both_files(data_folder):
    folder = data_folder / "dlc_openfield" / "labeled-data" / "m4s1"
    labels = load_labels(folder / "CollectedData_Pranav.h5")
    assert labels.xy.shape == (116, 1, 4, 2)
    assert labels.keypoints == ("snout", "leftear", "rightear", "tailbase")
    assert_same(load_labels(folder / "CollectedData_Pranav.csv"), labels)
    assert not np.isnan(labels.xy).any()
    np.testing.assert_array_equal(labels.xy[0, 0, 0], [21.521, 265.428])


def test_labels_with_gaps_are_read(data_folder):
    labels = load_labels(data_folder / "lp_mirror_mouse" / "CollectedData.csv")
    assert labels.xy.shape == (90, 1, 17, 2)
    assert labels.images[0] == "labeled-data/img01.png"
    assert np.isnan(labels.xy[..., 0]).mean() == pytest.approx(0.088, abs=5e-4)


def test_points_of_which_there_is_one_belong_to_single(tmp_path):
    xy = np.arange(24.0).reshape(2, 2, 3, 2)
    labels = make(xy, ("anna", "single"), ("nose", "tail", "door"))
    path = save_labels(tmp_path, labels, unique=("door",))
    assert [name[1:3] for name in load_table(path).columns[::2]] == [
        ("anna", "nose"),
        ("anna", "tail"),
        ("single", "door"),
    ]
    back = load_labels(path)
    np.testing.assert_array_equal(back.xy[:, 0, :2], xy[:, 0, :2])
    np.testing.assert_array_equal(back.xy[:, 1, 2], xy[:, 1, 2])
    assert np.isnan(back.xy[:, 0, 2]).all()


def test_the_h5_counts_where_the_csv_disagrees(tmp_path):
    save_labels(tmp_path, make([[[[1, 2], [3, 4]]]]))
    load_label_folder(tmp_path, "Ada")  # no warning: they agree
    csv = tmp_path / "CollectedData_Ada.csv"
    csv.write_text(csv.read_text().replace("4.0", "5.0"))
    with pytest.warns(DataWarning, match=r"'tail' in .*00000.png is at \[3. 5.\] and at \[3. 4."):
        labels = load_label_folder(tmp_path, "Ada")
    np.testing.assert_array_equal(labels.xy[0, 0, 1], [3, 4])
    csv.write_text(csv.read_text().replace("img00000", "img00001"))
    with pytest.warns(DataWarning, match=r"only the .* has 'labeled-data/trot_top/img0000"):
        load_label_folder(tmp_path, "Ada")


def test_labels_of_somebody_else_are_taken_with_a_warning(tmp_path):
    save_labels(tmp_path, make([[[[1, 2], [3, 4]]]]))
    with pytest.warns(DataWarning, match="no labels of 'Bob'; those in CollectedData_Ada"):
        assert load_label_folder(tmp_path, "Bob").scorer == "Ada"
    assert load_label_folder(tmp_path / "empty", "Bob") is None


def test_other_files_are_not_taken_for_labels(tmp_path):
    with h5py.File(tmp_path / "tracks.h5", "w") as file:
        file["tracks"] = np.zeros(3)
        file.create_group("more")
    with pytest.raises(DataError, match=r"tracks\.h5 holds no table of pandas .*only more"):
        load_labels(tmp_path / "tracks.h5")
    (tmp_path / "cut.h5").write_bytes((tmp_path / "tracks.h5").read_bytes()[:500])
    with pytest.raises(DataError, match=r"cut\.h5 cannot be read"):
        load_labels(tmp_path / "cut.h5")
    with pytest.raises(FileNotFoundError, match=r"gone\.csv"):
        load_labels(tmp_path / "gone.csv")
    with pytest.raises(ValueError, match="neither a .csv nor an .h5"):
        load_labels(tmp_path / "labels.json")


def poisoned():
    """A pickle that would create a file if anything obeyed it."""
    return b"cos\nsystem\n(S'touch poisoned'\ntR."


@pytest.mark.parametrize(
    "pickled",
    [
        poisoned(),
        b"(lp0\n" + poisoned()[:-1] + b"a.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0etouch poisoned\x85R.",
        b"(i__main__\nThing\n.",
        b"P1\n.",
        b"(lp0\n",
        b"garbage",
        b"",
        b"a.",
        b"g7\n.",
        b"NN.",
    ],
)
def test_a_pickle_that_is_no_literal_is_refused(tmp_path, monkeypatch, pickled):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="the pickle"):
        parse_literal(pickled)
    assert os.listdir(tmp_path) == []


literals = st.recursive(
    st.one_of(st.text(), st.integers(), st.floats(allow_nan=False), st.none(), st.booleans()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=5).map(tuple),
        st.dictionaries(st.text(), inner, max_size=3),
    ),
    max_leaves=12,
)


@given(literal=literals, protocol=st.integers(0, 5))
def test_any_literal_is_read_as_it_was_pickled(literal, protocol):
    writer = pytest.importorskip("pickle")  # to write in the test, never to read
    found = parse_literal(writer.dumps(literal, protocol=protocol))
    assert found == literal
    assert repr(found) == repr(literal)


def test_an_h5_with_a_poisoned_name_is_refused_unopened(tmp_path, monkeypatch, data_folder):
    monkeypatch.chdir(tmp_path)
    source = data_folder / "dlc_openfield" / "labeled-data" / "m4s1" / "CollectedData_Pranav.h5"
    shutil.copy(source, tmp_path / "a.h5")
    (tmp_path / "a.h5").chmod(0o644)
    with h5py.File("a.h5", "r+") as file:
        file["df_with_missing/table"].attrs["values_block_0_kind"] = poisoned()
    with pytest.raises(DataError, match=r"a\.h5: the column names .* never obeyed.*\.csv"):
        load_labels(tmp_path / "a.h5")
    assert os.listdir(tmp_path) == ["a.h5"]


def test_rows_kept_as_pickled_objects_are_refused(tmp_path):
    path = save_labels(tmp_path, make([[[[1, 2], [3, 4]]]]))
    with h5py.File(path, "r+") as file:
        group = file["df_with_missing"]
        del group["axis1_level2"]
        objects = group.create_dataset("axis1_level2", (1,), h5py.vlen_dtype(np.uint8))
        objects[0] = np.frombuffer(poisoned(), np.uint8)
        objects.attrs["kind"] = "object"
    with pytest.raises(DataError, match="running code"):
        load_labels(path)


def test_a_damaged_h5_never_gives_anything_but_its_labels_or_an_error(tmp_path, rng):
    path = save_labels(tmp_path, make(rng.uniform(0, 99, (3, 1, 2, 2))))
    good = path.read_bytes()
    for _ in range(60):
        bad = bytearray(good)
        for place in rng.integers(0, len(bad), 4):
            bad[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(bad)
        with contextlib.suppress(DataError):
            assert load_labels(path).xy.shape[-1] == 2


def test_sizes_that_cannot_be_are_refused(tmp_path):
    path = save_labels(tmp_path, make([[[[1, 2], [3, 4]]]]))
    with h5py.File(path, "r+") as file:
        group = file["df_with_missing"]
        del group["block0_values"]
        group.create_dataset("block0_values", (10**7, 10**5), "f8", chunks=(1000, 1000))
    with pytest.raises(DataError, match=r"declares 8,000,000,000,000 bytes"):
        load_labels(path)
    with h5py.File(path, "r+") as file:
        group = file["df_with_missing"]
        del group["block0_values"]
        group["block0_values"] = np.zeros((2, 4))
    with pytest.raises(DataError, match="block 0 has shape"):
        load_labels(path)
    with h5py.File(path, "r+") as file:
        file["df_with_missing/axis1_label2"][0] = -1
    with pytest.raises(DataError, match="axis1 names something that is not there"):
        load_labels(path)


def test_predictions_are_read_from_every_layout(tmp_path, rng):
    pytest.importorskip("tables")
    values = rng.uniform(0, 1, (9, 6))
    columns = pd.MultiIndex.from_product(
        [["DLC_resnet50"], ["nose", "tail"], ["x", "y", "likelihood"]],
        names=["scorer", "bodyparts", "coords"],
    )
    frame = pd.DataFrame(values, columns=columns)
    frame.to_csv(tmp_path / "a.csv")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame.to_hdf(tmp_path / "fixed.h5", key="df_with_missing", mode="w")
        frame.to_hdf(tmp_path / "table.h5", key="df_with_missing", mode="w", format="table")
    for name in ("a.csv", "fixed.h5", "table.h5"):
        seen = load_predictions(tmp_path / name, camera="top", fps=25)
        assert (seen.cameras, seen.keypoints, seen.fps) == (("top",), ("nose", "tail"), 25)
        np.testing.assert_array_equal(seen.xy[0, :, 0], values.reshape(9, 2, 3)[..., :2])
        np.testing.assert_array_equal(seen.likelihood[0, :, 0], values.reshape(9, 2, 3)[..., 2])
    with pytest.raises(DataError, match="looks like labels"):
        load_predictions(write(tmp_path, CSV), camera="top", fps=25)
    with pytest.raises(DataError, match="is no image"):
        load_labels(tmp_path / "table.h5")


def test_a_table_without_rows_cannot_be_saved(tmp_path):
    with pytest.raises(ValueError, match="without rows"):
        save_table(
            tmp_path / "a.h5", Table((), (("a", "b", "x"),), np.zeros((0, 1))), ("s", "b", "c")
        )


def test_many_columns_fit(tmp_path):
    xy = np.arange(400.0).reshape(1, 1, 200, 2)
    labels = make(xy, (), [f"part {i}" for i in range(200)])
    assert_same(load_labels(save_labels(tmp_path, labels)), labels)
