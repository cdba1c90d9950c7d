"""What all tests share: one thread, no window, few but fixed examples, the real logs, and small worlds to play in."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from bidpilot.ctr.log import AuctionLog
from bidpilot.ctr.types import UNWINNABLE, FloatArray, IntArray, Response
from bidpilot.envs.beliefs import Beliefs, Segments, ValueGroups
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.goal import Goal
from bidpilot.envs.market import Market, draw_days
from bidpilot.envs.scenarios import default_market
from bidpilot.envs.timeline import Timeline
from bidpilot.envs.types import Day, Hidden, Opportunities

os.environ["OMP_NUM_THREADS"] = "1"  # for the programs that tests start; here torch.set_num_threads decides
os.environ["MPLBACKEND"] = "Agg"
