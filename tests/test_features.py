"""One table of features gives names, bounds, documentation and the observation."""

from dataclasses import dataclass

import numpy as np
import pytest

from bidpilot.envs.features import Encoder, Feature, bounds, names, table


@dataclass
class World:
    """What is measured."""

    common: object
    each: object


FEATURES = (
    Feature("common", "share", 0, 1, "of all", lambda w: w.common),
    Feature("each", "log", -2, 3, "of one", lambda w: w.each, per_group=True),
    Feature("fixed", "-", -1, 1, "always the same", lambda _: 0.25),
)


def test_names_and_bounds_repeat_what_comes_per_group() -> None:
    assert names(FEATURES, 1) == ["common", "each", "fixed"]
    assert names(FEATURES, 3) == ["common", "each[0]", "each[1]", "each[2]", "fixed"]
    low, high = bounds(FEATURES, 3)
    assert low.tolist() == [0, -2, -2, -2, -1]
    assert high.tolist() == [1, 3, 3, 3, 1]
    assert low.dtype == high.dtype == np.float32


def test_the_table_has_a_line_per_feature() -> None:
    assert table(FEATURES, "segment").splitlines() == [
        "| name | unit | range | meaning |",
        "|---|---|---|---|",
        "| `common` | share | 0 .. 1 | of all |",
        "| `each` | log | -2 .. 3 | of one (one per segment) |",
        "| `fixed` | - | -1 .. 1 | always the same |",
    ]


@pytest.mark.parametrize(("common", "each"), [(0.5, 1.5), (-7.0, 9.0), (7.0, -9.0), (np.inf, -np.inf)])
def test_one_is_a_row_of_many(common: float, each: float) -> None:
    encoder = Encoder(FEATURES, 1)
    one = encoder.one(World(common, each))
    many = encoder.many(World(np.array([[common], [0.1]]), np.array([[each], [0.2]])), 2)
    assert one.dtype == many.dtype == np.float32
    assert one.tobytes() == many[0].tobytes()
    assert one.tolist() == [np.clip(common, 0, 1), np.clip(each, -2, 3), 0.25]
    assert many[1].tolist() == np.array([0.1, 0.2, 0.25], np.float32).tolist()


def test_many_groups_are_laid_out_in_order() -> None:
    each = np.array([[0.5, 1.5, -9.0], [9.0, 0.0, 1.0]])
    seen = Encoder(FEATURES, 3).many(World(np.array([[1.0], [0.0]]), each), 2)
    assert seen.tolist() == [[1, 0.5, 1.5, -2, 0.25], [0, 3, 0, 1, 0.25]]
