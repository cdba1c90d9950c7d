"""What all tests share: one thread, no window, few but fixed examples, and the real logs."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

os.environ["OMP_NUM_THREADS"] = (
    "1"  # read when numpy and torch are imported: more threads are slower and change the bytes
)
os.environ["MPLBACKEND"] = "Agg"

settings.register_profile("few", max_examples=25, derandomize=True, deadline=None)
settings.register_profile("nightly", max_examples=1000, deadline=None)
settings.load_profile("few")  # the other one: pytest --hypothesis-profile nightly


@pytest.fixture(scope="session")
def data() -> Path:
    """Return the folder of real logs: BIDPILOT_DATA, else shared/data beside the repository; skip without it."""
    folder = Path(os.environ.get("BIDPILOT_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    if not folder.is_dir():
        absent = f"no real logs: {folder} is not a folder; set BIDPILOT_DATA to the one that has them"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(absent)
    return folder
