"""Encoding: ids of one table that never collide, unseen is 0, numbers tamed."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bidpilot.ctr import embedding
from bidpilot.ctr.embedding import Batch, Table
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.fields import PAD, FieldEncoder, Fields, FieldSettings
from bidpilot.ctr.log import AuctionLog
from bidpilot.ctr.scale import CLIP, EvenRows, Scale
from bidpilot.ctr.vocabulary import Hashed
from bidpilot.ctr.words import HOUR, WEEKDAY


def log_of(site: list[str], age: list[float]) -> AuctionLog:
    columns = {"time": np.arange(len(site)) * 3600.0, "site": site, "age": age}
    return AuctionLog.from_columns(columns, categorical=("site",), numeric=("age",), source="a.csv")


def test_unseen_and_rare_share_id_0_of_their_field_and_fields_share_none() -> None:
    encoder = FieldEncoder.fit(log_of(["NA", "NA", "x", "9007199254740993", "9007199254740993"], [1.0] * 5))
    ids = encoder.transform(log_of(["NA", "x", "new", "9007199254740993", "9007199254740992"], [1.0] * 5)).ids
    site = ids[:, 0] - encoder.offsets[0]
    assert site.tolist() == [2, 0, 0, 1, 0]
    assert set(ids[:, 0]).isdisjoint(ids[:, 1])
    assert ids.max() < encoder.size


def test_numbers_are_standardised_missing_flagged_outliers_clipped() -> None:
    encoder = FieldEncoder.fit(log_of(["a"] * 6, [1.0, 2.0, 3.0, 4.0, np.nan, 5.0]))
    numbers = encoder.transform(log_of(["a"] * 3, [3.0, np.nan, 1e300])).numbers
    assert numbers[1].tolist() == [0.0, 1.0]
    assert numbers[2].tolist() == [CLIP, 0.0]
    assert abs(numbers[0, 0]) < 1.0


def test_the_unit_of_a_number_does_not_matter() -> None:
    values = np.random.default_rng(0).lognormal(2.0, 1.0, 500)
    cents = Scale.fit(100 * values).transform(100 * values)
    np.testing.assert_allclose(Scale.fit(values).transform(values), cents, atol=1e-9)


def test_saved_as_json_it_encodes_the_same() -> None:
    log = log_of(["NA", "b", "b", "NA", 'é,"'], [1.0, np.nan, 3.0, 4.0, -5.0])
    encoder = FieldEncoder.fit(log, FieldSettings(min_count=1))
    again = FieldEncoder.from_json(json.loads(json.dumps(encoder.to_json())))
    assert (again.transform(log).ids == encoder.transform(log).ids).all()
    assert (again.transform(log).numbers == encoder.transform(log).numbers).all()


def test_a_log_that_lacks_a_column_is_refused_by_name() -> None:
    encoder = FieldEncoder.fit(log_of(["a", "b"], [1.0, 2.0]))
    other = AuctionLog.from_columns({"time": [0.0]}, source="b.csv")
    with pytest.raises(InputError, match=r"b\.csv.*site, age"):
        encoder.transform(other)


# --- options ------------------------------------------------------------------------------------------------------


def tagged(tags: list[str], settings: FieldSettings | None = None) -> tuple[FieldEncoder, AuctionLog]:
    columns = {"time": np.arange(len(tags)) * 3600.0, "site": ["a", "b"] * (len(tags) // 2), "tags": tags}
    log = AuctionLog.from_columns(columns, categorical=("tags", "site"), multi=("tags",))
    return FieldEncoder.fit(log, settings or FieldSettings(min_count=1)), log


def test_the_default_encoding_is_what_it_was() -> None:
    log = log_of(["NA", "b", "b", "NA", "c", "10"], [1.0, np.nan, 3.0, 4.0, -5.0, 0.0])
    encoder = FieldEncoder.fit(log)
    words = {"site": ["NA", "b"], HOUR: []}
    assert encoder.to_json() == {"vocabularies": words, "scales": {"age": encoder.to_json()["scales"]["age"]}}
    fields = encoder.transform(log)
    assert fields.ids.tolist() == [[1, 3], [2, 3], [2, 3], [1, 3], [0, 3], [0, 3]]
    assert fields.bags.shape == (6, 0)
    assert fields.ids.dtype == np.int32
    assert fields.numbers.dtype == np.float32


def test_ids_never_pass_through_floats() -> None:
    near = ["16777216", "16777217", "9007199254740992", "9007199254740993"]
    encoder = FieldEncoder.fit(log_of(near, [1.0] * 4), FieldSettings(min_count=1, crosses=(("site", HOUR),)))
    ids = encoder.transform(log_of(near, [1.0] * 4)).ids
    assert len(set(ids[:, 0])) == len(set(ids[:, 2])) == 4
    assert len(set(Hashed(2**24, 4).encode(np.array(near, dtype=object)))) == 4
    far = np.array([[16_777_216], [16_777_217]], dtype=np.int32)
    counts = Fields(far, far[:, :0], np.zeros((2, 0), dtype=np.float32)).counts(16_777_218)
    assert counts[-3:].tolist() == [0, 1, 1]


def test_the_weekday_repeats_every_seven_days() -> None:
    log = AuctionLog.from_columns({"time": 86_400.0 * np.arange(15)})
    encoder = FieldEncoder.fit(log, FieldSettings(weekday=True))
    ids = encoder.transform(log).ids[:, 1]
    assert list(encoder.vocabularies) == [HOUR, WEEKDAY]
    assert (ids[7:14] == ids[:7]).all()
    assert len(set(ids)) == 7


@given(st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), min_size=1, max_size=12))
def test_a_cross_tells_every_pair_apart(pairs: list[tuple[str, str]]) -> None:
    first, second = zip(*pairs, strict=True)
    columns = {"time": np.zeros(len(pairs)), "a": list(first), "b": list(second)}
    log = AuctionLog.from_columns(columns, categorical=("a", "b"))
    encoder = FieldEncoder.fit(log, FieldSettings(min_count=1, hour=False, crosses=(("a", "b"),)))
    ids = encoder.transform(log).ids[:, 2]
    assert len(set(zip(pairs, ids, strict=True))) == len(set(pairs)) == len(set(ids))
    assert ids.min() > encoder.offsets[2]


def test_a_pair_that_training_did_not_see_is_unseen_although_both_words_are_known() -> None:
    def log(a: str, b: str) -> AuctionLog:
        return AuctionLog.from_columns({"time": np.zeros(len(a)), "a": list(a), "b": list(b)}, categorical=("a", "b"))

    encoder = FieldEncoder.fit(log("xxyy", "1122"), FieldSettings(hour=False, crosses=(("a", "b"),)))
    ids = encoder.transform(log("xy", "22")).ids - encoder.offsets
    assert ids[:, 2].tolist() == [0, 2]
    assert ids[:, :2].min() > 0


def test_buckets_take_the_columns_with_more_words_and_missing_stays_alone() -> None:
    site = [*map(str, range(40)), ""]
    encoder = FieldEncoder.fit(log_of(site, [1.0] * 41), FieldSettings(buckets=30))
    ids = encoder.transform(log_of(["", "1", "new"], [1.0] * 3)).ids[:, 0]
    assert ids[0] == encoder.offsets[0] == 0
    assert (ids[1:] > 0).all()
    assert encoder.offsets[1] == 31
    assert encoder.collisions == {"site": 1.0 - (29 / 30) ** 39}


def test_bags_keep_the_first_values_and_pad_the_rest() -> None:
    encoder, log = tagged(["x,y", "", "y, x,,y", " z "], FieldSettings(min_count=1, most=2))
    bags = encoder.transform(log).bags
    start = encoder.size - 4
    assert encoder.bags == (2,)
    assert (bags - start).tolist() == [[1, 2], [PAD - start] * 2, [2, 1], [3, PAD - start]]
    assert encoder.fields == 2
    new = AuctionLog.from_columns({"time": [0.0], "site": ["a"], "tags": ["new"]}, categorical=("site", "tags"))
    assert encoder.transform(new).bags.tolist() == [[start, PAD]]
    assert PAD == embedding.PAD


def test_a_setting_makes_a_bag_where_the_log_does_not_know() -> None:
    log = log_of(["a|b", "b|a|a|c"], [1.0, 2.0])
    settings = FieldSettings(min_count=1, multi=("site",), separator="|")
    assert FieldEncoder.fit(log, settings).bags == (4,)
    assert FieldEncoder.fit(log).bags == ()


def test_an_empty_bag_pools_to_zero_and_order_does_not_matter() -> None:
    encoder, log = tagged(["x,y,z", "", "z,x,y", "y"])
    table = Table(encoder, 4, torch.Generator().manual_seed(0), (1.0, 1.0), spread=1.0)
    vectors, _ = table(Batch.of(encoder.transform(log)))
    tags = vectors[:, encoder.fields].detach().numpy()
    assert (tags[1] == 0.0).all()
    np.testing.assert_allclose(tags[0], tags[2], rtol=1e-6)
    assert np.abs(tags[0] - tags[3]).max() > 0.01


@given(st.lists(st.text(alphabet="ab,\u00e9 ", max_size=6), min_size=2, max_size=8).filter(lambda x: len(x) % 2 == 0))
def test_bags_are_what_splitting_each_cell_gives(tags: list[str]) -> None:
    encoder, log = tagged(tags, FieldSettings(min_count=1, most=3))
    ids = encoder.vocabularies["tags"].ids
    names = dict(enumerate(["", *ids.to_json()]))
    bags = encoder.transform(log).bags - (encoder.size - ids.size)
    found = [[names[i] for i in row if i >= 0] for row in bags.tolist()]
    assert found == [[value.strip() for value in cell.split(",") if value.strip()][:3] for cell in tags]


def test_all_options_survive_json() -> None:
    settings = FieldSettings(1, weekday=True, buckets=2, crosses=(("site", HOUR),), most=2)
    encoder, log = tagged(["x,y", "", "y,x", "z"] * 3, settings)
    again = FieldEncoder.from_json(json.loads(json.dumps(encoder.to_json())))
    assert again == encoder
    assert encoder.collisions.keys() == {HOUR, f"site × {HOUR}", "tags"}
    before, after = encoder.transform(log), again.transform(log)
    assert (before.ids == after.ids).all()
    assert (before.bags == after.bags).all()
    assert FieldSettings(**json.loads(json.dumps({"crosses": settings.crosses, "multi": ["a"]}))).crosses == (
        ("site", HOUR),
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"crosses": (("site", "sight"),)}, r"a\.csv.*crosses.*sight.*it has: site"),
        ({"multi": ("age",)}, r"a\.csv.*multi.*age.*it has: site"),
        ({"multi": ("site",), "crosses": (("site", HOUR),)}, r"crosses.*site.*one value per cell"),
        ({"crosses": (("site", "site"),)}, "pairs of different columns"),
        ({"min_count": 0}, "min_count must be at least 1; got 0"),
        ({"buckets": -1}, "buckets must be at least 0"),
        ({"most": 0}, "most must be at least 1"),
        ({"separator": ""}, "separator must not be empty"),
    ],
)
def test_settings_that_do_not_fit_are_refused_by_name(settings: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        FieldEncoder.fit(log_of(["a", "b"], [1.0, 2.0]), FieldSettings(**settings))  # type: ignore[arg-type]


def test_a_log_that_lacks_a_crossed_column_or_a_bag_is_refused_by_name() -> None:
    encoder, log = tagged(["x", "y"], FieldSettings(crosses=(("site", HOUR),)))
    for lacking in ("site", "tags"):
        kept = tuple(name for name in log.categorical if name != lacking)
        other = AuctionLog(log.frame.drop(columns=lacking), kept)
        with pytest.raises(InputError, match=f"feature column {lacking}, which"):
            encoder.transform(other)


def test_counts_in_pieces_are_the_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, log = tagged(["x,y", "", "y", "z"] * 5)
    fields = encoder.transform(log)
    whole = fields.counts(encoder.size)
    monkeypatch.setattr("bidpilot.ctr.fields.COUNTED", 3)
    assert (fields.counts(encoder.size) == whole).all()
    assert whole.sum() == 20 * 2 + 5 * 4


def test_even_rows_are_all_rows_where_they_are_few_and_every_kth_where_they_are_many() -> None:
    table = np.arange(1000.0)[:, None]
    few, many = EvenRows(1, 1000), EvenRows(1, 100)
    for start in range(0, 1000, 37):
        few.add(table[start : start + 37])
        many.add(table[start : start + 37])
    assert (few.held == table).all()
    assert (many.held == table[::16]).all()
    assert few.scales(("x",)) == {"x": Scale.fit(table[:, 0])}


def test_the_log_keeps_which_columns_hold_several_values() -> None:
    _, log = tagged(["x,y", "y"])
    assert log.rows(slice(0, 1)).multi == ("tags",)
    with pytest.raises(InputError, match="'tags' is to hold several values; name it among the categorical too"):
        AuctionLog(log.frame, ("site",), multi=("tags",))
