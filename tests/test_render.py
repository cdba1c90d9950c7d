"""The picture of an episode: the same numbers, the same pixels, and nothing left behind."""

import sys

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import FloatArray
from bidpilot.envs.render import HEIGHT, PLANNED, SPENT, WIDTH, spend_picture

PLAN = np.linspace(1 / 48, 1.0, 48)


def colour(picture: npt.NDArray[np.uint8], name: str) -> npt.NDArray[np.bool_]:
    """Return where a picture has exactly this colour."""
    wanted = [int(name[place : place + 2], 16) for place in (1, 3, 5)]
    return np.asarray((picture == wanted).all(axis=-1))


def test_a_picture_is_pixels() -> None:
    picture = spend_picture(PLAN, PLAN[:20], "a day")
    assert picture.shape == (HEIGHT, WIDTH, 3)
    assert picture.dtype == np.uint8
    assert picture.flags.owndata
    assert colour(picture, SPENT).any()
    assert colour(picture, PLANNED).any()
    assert (picture[[0, -1]] == 255).all()  # nothing is cut off at the edges


def test_same_numbers_same_pixels() -> None:
    first, again = (spend_picture(PLAN, PLAN[:20], "a day").tobytes() for _ in range(2))
    assert first == again


def test_more_spend_reaches_higher_and_further() -> None:
    little, more, longer = (
        np.nonzero(colour(spend_picture(PLAN, spent, "a day"), SPENT)[70:])
        for spent in (PLAN[:20] * 0.5, PLAN[:20], PLAN[:30])
    )
    assert more[0].min() < little[0].min()  # rows count from the top
    assert longer[1].max() > more[1].max()


@pytest.mark.parametrize(("ticks", "done"), [(48, 0), (48, 48), (1, 0), (1, 1)])
def test_from_the_first_tick_to_the_last(ticks: int, done: int) -> None:
    plan = np.linspace(1 / ticks, 1.0, ticks)
    assert colour(spend_picture(plan, 0.9 * plan[:done], "a day"), PLANNED).any()


def test_spend_above_the_plan_stays_in_the_picture() -> None:
    over = colour(spend_picture(PLAN, PLAN * 3.0, "a day"), SPENT)
    assert 30 < np.flatnonzero(over.any(axis=1))[1] < 80


def test_a_title_is_no_formula() -> None:
    formula, text = (spend_picture(PLAN, PLAN[:5], title) for title in ("$x_1$", "x1"))
    assert (formula != text).any()
    assert spend_picture(PLAN, PLAN[:5], "50 $ of \\frac{").any()


def test_nothing_of_matplotlib_is_changed() -> None:
    before = dict(mpl.rcParams)
    spend_picture(PLAN, PLAN[:5], "a day")
    assert dict(mpl.rcParams) == before
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


@pytest.mark.parametrize(
    ("plan", "spent"), [(np.zeros(0), np.zeros(0)), (PLAN, np.zeros(49)), (PLAN.reshape(2, 24), PLAN[:3])]
)
def test_what_is_no_plan_is_refused(plan: FloatArray, spent: FloatArray) -> None:
    with pytest.raises(InputError, match="a picture needs a plan"):
        spend_picture(plan, spent, "a day")
