"""Encoding: ids of one table that never collide, unseen is 0, numbers tamed."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.fields import CLIP, FieldEncoder, FieldSettings, Scale
from bidpilot.ctr.log import AuctionLog


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
