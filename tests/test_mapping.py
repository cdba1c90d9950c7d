"""The mapping file: what it accepts, what it says about mistakes, and the ones that are shipped."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.mapping import FIELDS, SHIPPED, Mapping, known_mappings, load_mapping

BASE = "time: {column: ts, unit: s}\nclick: clk\n"


def written(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_smallest_mapping(tmp_path: Path) -> None:
    mapping = load_mapping(written(tmp_path, BASE))
    assert mapping.name == "mine"
    assert mapping.columns == {"time": "ts", "click": "clk"}
    assert mapping.features == ()


def test_yaml_is_read_as_it_is_written(tmp_path: Path) -> None:
    text = BASE.replace("unit: s", "unit: s, resolution: 1e-4, utc_offset: -5.5") + (
        "categorical: [NO, 22:30, 1_0, on, 0x1F, 2013-06-06]\ncounts: true\nsegment:\n"
    )
    mapping = load_mapping(written(tmp_path, text))
    assert mapping.time.resolution == 1e-4
    assert mapping.time.utc_offset == -5.5
    assert mapping.categorical == ("NO", "22:30", "1_0", "on", "0x1F", "2013-06-06")
    assert mapping.counts is True
    assert mapping.segment is None, "an empty value leaves a key out"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BASE + "pric: {column: p, unit: cpm}\n", r"unknown key 'pric'; known: .*\bprice\b"),
        (BASE + "price: {column: p, unit: CPM}\n", r"'price.unit'.*'cpm', 'currency' or 'micros'.*got 'CPM'"),
        (BASE + "price: {column: p}\n", r"'price.unit' is missing"),
        (BASE + "price: {column: p, unit: cpm, scale: 2}\n", r"unknown key 'price.scale'; known: column, unit"),
        (BASE + "price: p\n", r"'price': expected \{column: NAME, unit: UNIT\}, got 'p'"),
        ("click: clk\n", r"'time' is missing"),
        ("time: {column: ts}\nclick: clk\n", r"time: give either format"),
        ("time: {column: ts, unit: s, format: '%Y'}\nclick: clk\n", r"time: give either format"),
        ("time: {column: ts, format: '%Q'}\nclick: clk\n", r"time.format: '%Q' is not a strptime format"),
        ("time: {column: ts, format: '%Y%Y'}\nclick: clk\n", r"is not a strptime format"),
        ("time: {column: ts, format: mixed}\nclick: clk\n", r"is not a strptime format"),
        ("time: {column: ts, unit: hours, resolution: nan}\nclick: clk\n", r"'time.resolution'"),
        ("time: {column: ts, unit: hours, tz: UTC}\nclick: clk\n", r"unknown key 'time.tz'; known: .*utc_offset"),
        ("time: {column: ts, unit: s}\n", r"give price or click"),
        (BASE + "won: w\n", r"won needs price"),
        (BASE + "value: {column: v, unit: currency}\n", r"value needs conversion"),
        (BASE + "conversion_time: t\n", r"conversion_time needs conversion"),
        (BASE + "conversion: c\nconversion_time: t\nnumeric: [t]\n", r"feature 't' is also conversion_time"),
        (BASE + "duplicates: id\n", r"duplicates needs id"),
        (BASE + "headerless: true\n", r"headerless needs layouts"),
        (BASE + "layouts: [ts other]\n", r"no layout has the column 'clk'"),
        (BASE + "categorical: [clk]\n", r"feature 'clk' is also click: not known when the bid is made"),
        (BASE + "numeric: [price]\n", r"feature 'price' has the name of a column of the log"),
        (BASE + "categorical: [a, a]\n", r"feature 'a' is given twice"),
        (BASE + "multi: [tags]\n", r"multi: 'tags' is not among the categorical features"),
        (BASE + "numeric: [tags]\nmulti: [tags]\n", r"multi: 'tags' is not among the categorical features"),
        (BASE + "categorical: country\n", r"'categorical': .*got 'country'"),
        (BASE + "click: again\n", r"key 'click' is given twice.*line 3"),
        ("time: &t {column: ts, unit: s}\nprice: *t\n", r"aliases"),
        ("- a\n- b\n", r"key: value"),
        ("", r"key: value"),
        ("time: [\n", r"not usable YAML"),
        ("? [a]\n: b\n", r"a key must be text"),
        ('time: "\\U99999999"\n', r"not usable YAML"),
        ("[" * 600, r"not usable YAML"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        load_mapping(written(tmp_path, text))
    assert "mine.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_mapping_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.yaml: cannot be read"):
        load_mapping(tmp_path / "absent.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"click: caf\xe9\n")
    with pytest.raises(InputError, match="not UTF-8"):
        load_mapping(tmp_path / "latin.yaml")


@given(st.one_of(st.text(), st.text(alphabet="time:{}[],'\"&*?|>- \n\tunit#%!", max_size=60)))
def test_any_text_is_a_mapping_or_an_input_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("yaml") / "any.yaml"
    path.write_bytes(text.encode("utf-8", "replace"))
    with pytest.raises(InputError):
        load_mapping(path)


def test_a_mapping_is_frozen() -> None:
    mapping = known_mappings()["avazu"]
    with pytest.raises(ValidationError):
        mapping.click = "other"


def test_shipped_mappings() -> None:
    assert set(known_mappings()) == {"avazu", "ipinyou_episodes", "ipinyou_hourly", "ipinyou_raw"}
    for mapping in known_mappings().values():
        for layout in mapping.layouts:
            assert mapping.layout_of(tuple(layout.upper().split())) == tuple(layout.split())
    raw = known_mappings()["ipinyou_raw"]
    assert [len(layout.split()) for layout in raw.layouts] == [24, 26, 25, 27, 29]
    assert raw.multi == ("usertag",)
    assert not {"bidid", "ipinyouid", "url", "timestamp", "payprice", "click"} & set(raw.features)


def test_the_example_is_a_complete_mapping_of_some_ten_lines() -> None:
    path = SHIPPED / "example.yaml"
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert 9 <= len(lines) <= 13
    assert set(load_mapping(path).columns) == set(FIELDS) - {"reserve", "pctr"}


def test_within_drops_what_a_layout_lacks() -> None:
    raw = known_mappings()["ipinyou_raw"]
    published = tuple(raw.layouts[0].split())
    assert raw.within(published).click is None
    assert "hour" not in raw.within(published).features
    assert raw.within(published).multi == ("usertag",)
    assert raw.within(published[:-1]).multi == ()
    assert raw.within(tuple(raw.layouts[-1].split())) == raw


def test_the_default_of_duplicates() -> None:
    exact = {"name": "m", "time": {"column": "t", "unit": "s"}, "click": "c"}
    by_hour = exact | {"time": {"column": "t", "unit": "hours", "resolution": 3600}}
    assert Mapping.model_validate(exact).duplicate_rule == "row"
    assert Mapping.model_validate(by_hour).duplicate_rule == "keep"
    assert Mapping.model_validate(by_hour | {"id": "i"}).duplicate_rule == "id"
    assert Mapping.model_validate(exact | {"duplicates": "keep"}).duplicate_rule == "keep"
