"""The page in a real browser: no complaint, no request, nothing too wide, dark where asked, and printed.

Runs where a headless Chromium is found: BIDPILOT_CHROMIUM, else one on the PATH. It is driven through pipes, by the
DevTools protocol, so that nothing else is needed.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from bidpilot.experiments.report import write_report
from bidpilot.experiments.report_input import LEARNING, RESULTS

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(300)  # a browser takes its time on a busy machine

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome", "headless_shell")
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run")
LAUNCH = """
import fcntl, os, sys
pipes = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]
for place, end in enumerate(pipes, start=3):
    os.dup2(end, place)
os.execv(sys.argv[3], [*sys.argv[3:], "--remote-debugging-pipe", "about:blank"])
"""
FIGURES = 6


class Browser:
    """A headless browser with one page; events holds what it told of its own accord."""

    def __init__(self, program: str, profile: Path) -> None:
        """Start it; commands go through file descriptor 3, answers and events come from 4, each ended by a 0."""
        asks, self._out = os.pipe()
        answers, told = os.pipe()
        command = [sys.executable, "-c", LAUNCH, str(asks), str(told), program, *OPTIONS, f"--user-data-dir={profile}"]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(command, pass_fds=(asks, told), stdout=quiet, stderr=quiet)
        os.close(asks)
        os.close(told)
        self._in = os.fdopen(answers, "rb")
        self._asked, self._session = 0, ""
        self.events: list[dict[str, Any]] = []

    def open(self, path: Path) -> None:
        """Open a file in a page of its own and wait until it is loaded."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Log", "Runtime", "Network"):
            self.ask(f"{domain}.enable")
        self.ask("Page.navigate", url=path.resolve().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def ask(self, method: str, **parameters: object) -> dict[str, Any]:
        """Send a command and return its answer; a refusal fails the test."""
        self._asked += 1
        sent: dict[str, Any] = {"id": self._asked, "method": method, "params": parameters}
        sent |= {"sessionId": self._session} if self._session else {}
        os.write(self._out, json.dumps(sent).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._asked:
                assert "error" not in answer, answer
                return dict(answer["result"])
            self.events.append(answer)

    def value(self, expression: str) -> Any:  # noqa: ANN401 - whatever the page says
        """Return what an expression is on the page."""
        return self.ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"]["value"]

    def of(self, *methods: str) -> list[dict[str, Any]]:
        """Return the events of these names."""
        return [event["params"] for event in self.events if event["method"] in methods]

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        self._in.close()
        os.close(self._out)

    def _next(self) -> dict[str, Any]:
        text = bytearray()
        while (byte := self._in.read(1)) != b"\0":
            assert byte, "the browser has ended"
            text += byte
        return dict(json.loads(text))


@pytest.fixture(scope="module")
def program() -> str:
    """Return a headless Chromium: BIDPILOT_CHROMIUM, else one on the PATH; skip without."""
    found = os.environ.get("BIDPILOT_CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), "")
    if not found or not Path(found).is_file() or sys.platform == "win32":
        pytest.skip("no headless Chromium: set BIDPILOT_CHROMIUM to one to have the report opened in it")
    return found


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the report of a small invented run: twelve policies at two budgets, and a learning curve."""
    folder = tmp_path_factory.mktemp("browser") / "run"
    folder.mkdir()
    names = ["oracle", "ppo", *(f"a_baseline_of_a_rather_long_name_{i}" for i in range(10))]
    rows = pd.DataFrame({"policy": names, "role": ["oracle", "learner", *["baseline"] * 10]})
    rows = rows.assign(**dict.fromkeys(RESULTS.numbers, 1234.5), best_baseline=names[2])
    parts = [rows.assign(budget=1 / n, budget_label=f"1/{n}", difference=0.01) for n in (4, 8)]
    pd.concat(parts).to_csv(folder / RESULTS.file, index=False)
    pd.DataFrame({name: np.arange(1.0, 5.0) for name in LEARNING.numbers}).to_csv(folder / LEARNING.file, index=False)
    (folder / "metadata.json").write_text(json.dumps({"a_key": "long" * 60}))
    (folder / "summary.txt").write_text("ppo cannot be told from the best tuned baseline at budget 1/4.\n")
    return write_report(folder)


@pytest.fixture
def browser(program: str, path: Path, tmp_path: Path) -> Iterator[Browser]:
    """Return a browser that shows the report."""
    found = Browser(program, tmp_path)
    try:
        found.open(path)
        yield found
    finally:
        found.close()


def test_the_browser_has_no_complaint_and_asks_for_nothing(browser: Browser, path: Path) -> None:
    """Every figure is drawn with a size, the console is silent, and the page itself is the only thing requested."""
    assert browser.value("document.querySelectorAll('figure svg').length") == FIGURES
    drawn = "[...document.querySelectorAll('figure svg')].every(s => s.getBBox().width > 100)"
    assert browser.value(drawn)
    assert browser.of("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled") == []
    asked = {each["request"]["url"] for each in browser.of("Network.requestWillBeSent")}
    assert {url for url in asked if not url.startswith("data:")} <= {path.resolve().as_uri(), "about:blank"}


def test_nothing_is_too_wide_for_a_phone_or_a_desk(browser: Browser) -> None:
    """Tables scroll in their own frames; the page never does, sideways."""
    for width in (360, 390, 768, 1280):
        browser.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 700
        )
        assert browser.value("document.documentElement.scrollWidth") <= width


def test_the_dark_scheme_is_dark(browser: Browser) -> None:
    """Where the system asks for it, paper is darker than ink; else lighter."""
    light = "(c => c.match(/\\d+/g).slice(0, 3).reduce((a, b) => a + +b, 0))(getComputedStyle(document.body).{})"
    for scheme, brighter in (("light", "backgroundColor"), ("dark", "color")):
        browser.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        seen = {name: browser.value(light.replace("{}", name)) for name in ("backgroundColor", "color")}
        assert max(seen, key=lambda name: seen[name]) == brighter
        assert abs(seen["backgroundColor"] - seen["color"]) > 400


def test_it_prints(browser: Browser) -> None:
    """To a few pages, whatever was open on the screen."""
    printed = base64.b64decode(browser.ask("Page.printToPDF", preferCSSPageSize=True)["data"])
    assert printed.startswith(b"%PDF")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 20
