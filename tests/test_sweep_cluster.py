"""The same work on a Ray cluster: a head and two workers on this machine, one of which is killed on the way."""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from bidpilot.agents.base import Past
from bidpilot.ctr.errors import InputError
from bidpilot.envs.day import Day
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.market import Market, draw_days
from bidpilot.experiments.config import Settings
from bidpilot.experiments.prepare import Arena
from bidpilot.experiments.run import Run
from bidpilot.experiments.sweep.cluster import _knock, need_ray
from bidpilot.experiments.tune import Task, tune_run

HEAD, FIRST, SECOND = "127.0.0.2", "127.0.0.3", "127.0.0.4"  # Ray takes 127.0.0.1 for the machine's other address
SMALL: tuple[str, ...] = (
    "--policy",
    "pid",
    "--policy",
    "dual",
    "--policy",
    "kl_ucb",
    "--budget",
    "1/8",
    "--budget",
    "1/16",
)
SMALL = (*SMALL, "--seeds", "4", "--days", "4", "--opportunities", "1500")
CELLS = 24
FILES = ("sweep.csv", "summary.csv", "sweep.txt", "sweep.yaml", "made.json")
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="needs Ray: pip install 'bidpilot[ray]'")


@dataclass
class Cluster:
    """Nodes by address, each a process group of its own. env: with the token that lets one in."""

    folder: Path
    env: dict[str, str]
    address: str
    nodes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, where: str, *options: str) -> None:
        """Start a node; Ray gives it 30 s, which on a busy machine takes several tries."""
        command = [str(Path(sys.executable).parent / "ray"), "start", "--block", f"--node-ip-address={where}", *options]
        for attempt in range(6):
            log = self.folder / f"{where}-{attempt}.log"
            with log.open("wb") as out:
                node = subprocess.Popen(command, stdout=out, stderr=out, env=self.env, start_new_session=True)
            self.nodes[where] = node
            while node.poll() is None:
                if b"Ray runtime started" in log.read_bytes():
                    return
                time.sleep(0.2)
            self.kill(where)
        pytest.fail(f"Ray did not start: {log.read_text()[-2000:]}")

    def kill(self, where: str) -> None:
        """Kill a node with all its processes."""
        node = self.nodes.pop(where)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(node.pid, signal.SIGKILL)
        node.wait()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Start a head that works on nothing and two workers."""
    with socket.socket() as one:
        one.bind((HEAD, 0))
        port = one.getsockname()[1]
    env = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    env |= {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory(prefix="ray") as folder:  # pytest's own are too long for the names of sockets
        found = Cluster(Path(folder), env, f"{HEAD}:{port}")
        try:
            memory = "--object-store-memory=100000000"
            found.start(
                HEAD,
                f"--port={port}",
                "--head",
                "--num-cpus=0",
                "--include-dashboard=false",
                memory,
                "--temp-dir",
                folder,
            )
            for where in (FIRST, SECOND):
                found.start(where, f"--address={found.address}", "--num-cpus=1", memory)
            yield found
        finally:
            for where in tuple(found.nodes):
                found.kill(where)


def sweep(out: Path, *options: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bidpilot.experiments.cli", "sweep", *SMALL, "--out", str(out), *options]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"--ray needs Ray; pip install 'bidpilot\[ray\]'"):
        need_ray()


@pytest.mark.parametrize("address", ["nonsense", "ray://127.0.0.1:10001", ":6379", "127.0.0.1:", "127.0.0.1:x"])
def test_an_address_that_is_none_is_told_of(address: str) -> None:
    with pytest.raises(InputError, match=r"expects auto or the address of a cluster's head, as .*; got"):
        _knock(address)


@pytest.mark.parametrize("port", ["1", "99999"])
def test_a_cluster_that_is_not_there_is_told_of_at_once(port: str) -> None:
    with pytest.raises(InputError, match=rf"no Ray cluster at 127.0.0.9:{port} \(ray start --head begins one\)"):
        _knock(f"127.0.0.9:{port}")


@needs_ray
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_tuning_on_a_cluster_finds_the_same(
    cluster: Cluster,
    tmp_path: Path,
    market: Market,
    past_days: tuple[Day, ...],
    forecast: Forecast,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        monkeypatch.setenv(name, cluster.env[name])
    validate, tune = (draw_days(market, 2, np.random.default_rng(seed)) for seed in (1, 2))
    arena = Arena(Past(past_days, forecast), validate, tune)
    settings = Settings(budgets=(1 / 4, 1 / 8), baselines=("pid", "incremental"))
    contents = []
    for name, address in (("here", None), ("there", cluster.address)):
        run = Run.create(tmp_path / name, settings)
        tune_run(run, arena, Task(settings.baselines, settings.budgets, trials=11, ray=address))
        contents.append([(run.folder / file).read_bytes() for file in ("tuned.json", "trials.csv")])
    assert contents[0] == contents[1]


@needs_ray
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_cluster_that_loses_a_worker_gives_the_same_to_the_last_digit(cluster: Cluster, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    assert sweep(here).returncode == 0
    left: list[int] = []

    def kill() -> None:
        while len(list((there / "cells").glob("*.json"))) < 4:
            time.sleep(0.02)
        cluster.kill(FIRST)
        left.append(CELLS - len(list((there / "cells").glob("*.json"))))

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    done = sweep(there, "--ray", cluster.address, env=cluster.env)
    assert done.returncode == 0, done.stderr
    killer.join(10)
    assert left
    assert left[0] > 1
    assert [(there / name).read_bytes() for name in FILES] == [(here / name).read_bytes() for name in FILES]
    assert not raylets(FIRST)


@needs_ray
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_token_and_no_worker_are_told_of(cluster: Cluster, tmp_path: Path) -> None:
    """The last test of the cluster: it kills what is left to work."""
    without = {name: value for name, value in cluster.env.items() if not name.startswith("RAY_AUTH")}
    for where in tuple(cluster.nodes):
        if where != HEAD:
            cluster.kill(where)
    for env, words in ((without, "no Ray cluster at"), (cluster.env, "has nobody to work: ray start --address=")):
        done = sweep(tmp_path, "--ray", cluster.address, env=env)
        assert done.returncode == 2, (done.stdout, done.stderr)
        assert words in done.stderr.strip().splitlines()[-1]
        assert "Traceback" not in done.stderr


def raylets(where: str) -> list[Path]:
    """Return the processes that serve a node."""
    named = f"--node_ip_address={where}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found += [path] if named in path.read_bytes().split(b"\0") else []
    return found
