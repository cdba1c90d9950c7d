"""Imports run one way, experiments -> agents -> envs -> ctr, and the command line starts without heavy packages."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ("ctr", "envs", "agents", "experiments")
SOURCES = sorted(path.relative_to(ROOT) for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))
HEAVY = ("torch", "stable_baselines3", "pandas", "matplotlib", "onnxruntime")


def imported(source: str) -> Iterator[tuple[int, str]]:
    """Yield (line, full name) of everything that a source imports, at any depth; relative names keep their dots."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def faults(source: str, layer: str) -> list[str]:
    """List the imports that a file of this layer must not have."""
    above = tuple(f"bidpilot.{name}" for name in LAYERS[LAYERS.index(layer) + 1 :])
    found = []
    for line, name in imported(source):
        top, package = name.split(".")[0], ".".join(name.split(".")[:2])
        if not top or top in LAYERS or package in above:
            found.append(f"line {line}: {name}")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_imports_run_one_way(path: Path) -> None:
    assert not faults((ROOT / path).read_text(encoding="utf-8"), path.parts[0])


@pytest.mark.parametrize(
    ("layer", "source"),
    [
        ("ctr", "from bidpilot.envs.types import Day"),
        ("ctr", "from bidpilot import agents"),
        ("envs", "def f():\n    import bidpilot.agents.pid"),
        ("agents", "if TYPE_CHECKING:\n    from bidpilot.experiments.config import Config"),
        ("experiments", "from . import config"),
        ("experiments", "from ..ctr import log"),
        ("experiments", "from ctr.log import AuctionLog"),
    ],
)
def test_a_wrong_import_is_found(layer: str, source: str) -> None:
    assert len(faults(source, layer)) == 1


def test_allowed_imports_are_not_faults() -> None:
    assert not faults("import numpy\nfrom bidpilot.ctr.log import AuctionLog\nimport bidpilot.envs.types", "agents")


def test_there_are_sources_in_every_layer() -> None:
    assert {path.parts[0] for path in SOURCES} == set(LAYERS)


def test_command_line_starts_without_heavy_packages() -> None:
    code = f"import bidpilot.experiments.cli, sys; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
