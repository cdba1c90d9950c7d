"""Generators written down draw, and spawn, what they would have."""

import json

import numpy as np
import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.envs.generators import restored, written


@pytest.mark.parametrize("spawned", [0, 3])
def test_what_is_restored_goes_on_as_the_original(spawned: int) -> None:
    rng = np.random.default_rng(np.random.SeedSequence(2**90 + 7, spawn_key=(4, 1)))
    rng.spawn(spawned)
    rng.integers(2**32, size=3, dtype=np.uint32)  # leaves half a word over
    copy = restored(json.loads(json.dumps(written(rng))))
    for one, two in ((rng, copy), (rng.spawn(2)[1], copy.spawn(2)[1])):
        assert one.integers(2**32, dtype=np.uint32) == two.integers(2**32, dtype=np.uint32)
        assert one.normal(size=50).tobytes() == two.normal(size=50).tobytes()


def test_another_kind_of_generator_is_refused() -> None:
    with pytest.raises(InputError, match=r"kind PCG64.*got MT19937"):
        written(np.random.Generator(np.random.MT19937(1)))
