"""The wheel holds exactly the tree, and the set-up trusts nothing that is old, half-finished or too old."""

import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ("ctr", "envs", "agents", "experiments")
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def tree() -> list[Path]:
    """Return the files of the repository, relative: those that git keeps or would keep."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return sorted({Path(name) for name in names if (ROOT / name).is_file()})


@pytest.fixture(scope="module")
def wheel(tree: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of the tree, without network, and return its path."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for path in tree:
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, source / path)
    options = ["--no-index", "--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", str(out), str(source)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options], check=True)
    (path,) = out.glob("*.whl")
    return path


def test_wheel_holds_exactly_the_tree(wheel: Path, tree: list[Path]) -> None:
    kept = [path for path in tree if path.parts[0] in LAYERS]
    expected = {f"bidpilot/{p}" for p in kept if p.suffix in {".py", ".yaml", ".j2"} or p.name == "py.typed"}
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == expected


def test_every_sub_package_is_named_and_typed(tree: list[Path]) -> None:
    folders = {path.parent for path in tree if path.parts[0] in LAYERS and path.suffix == ".py"}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == {
        f"bidpilot.{'.'.join(folder.parts)}" for folder in folders
    }
    assert {Path(layer, "py.typed") for layer in LAYERS} <= set(tree)


def test_wheel_names_command_licence_and_pythons(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        info = {Path(n).name: archive.read(n).decode() for n in archive.namelist() if ".dist-info/" in n}
    assert "bidpilot = bidpilot.experiments.cli:main" in info["entry_points.txt"]
    assert "The bidpilot developers" in info["LICENSE"]
    assert re.search(r"^Requires-Python: <3\.14,>=3\.11$", info["METADATA"], re.MULTILINE)


def test_command_of_the_wheel_runs_from_any_folder(wheel: Path, tmp_path: Path) -> None:
    shutil.unpack_archive(wheel, tmp_path / "site", "zip")
    code = "import bidpilot.experiments.cli as cli; print(cli.__file__, flush=True); cli.main()"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    command = [sys.executable, "-c", code, "--help"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(str(tmp_path))
    assert "compare" in done.stdout


def test_constraints_pin_every_declared_package() -> None:
    extras = PROJECT["project"]["optional-dependencies"].values()
    declared = [*PROJECT["project"]["dependencies"], *chain.from_iterable(extras)]
    pinned = re.findall(r"^([\w.-]+)==\S+$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)

    def plain(name: str) -> str:
        return re.sub(r"[-_.]+", "-", re.split(r"[<>=\[ ]", name)[0]).lower()

    assert {plain(name) for name in declared} - {plain(name) for name in pinned} == {"torch", "bidpilot"}


@pytest.fixture
def dev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return .ci/dev.py as a module that works on an empty folder, with this interpreter."""
    spec = importlib.util.spec_from_file_location("dev", ROOT / ".ci" / "dev.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in module.INPUTS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / name, tmp_path / name)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(module, "BIN", tmp_path / ".venv" / "bin")
    monkeypatch.setenv("PYTHON", sys.executable)
    monkeypatch.delenv("TORCH_INDEX_URL", raising=False)
    return module


def pretend(dev: ModuleType, monkeypatch: pytest.MonkeyPatch, fail_at: str | None = None) -> list[str]:
    """Replace dev.run by a pretence that creates the venv and fails where told; return the list of its commands."""
    commands: list[str] = []

    def run(*command: object) -> None:
        commands.append(" ".join(map(str, command)))
        if fail_at and fail_at in commands[-1]:
            raise subprocess.CalledProcessError(1, [str(part) for part in command])
        if "venv" in command:
            stub(dev.BIN / "python", "exit 0")

    monkeypatch.setattr(dev, "run", run)
    return commands


def stub(path: Path, script: str) -> Path:
    """Write an executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_second_set_up_installs_nothing(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = pretend(dev, monkeypatch)
    assert dev.main("setup") == 0
    first = len(commands)
    assert dev.main("setup") == 0
    assert (first > 0, len(commands)) == (True, first)


def test_stamp_follows_all_that_went_into_the_venv(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    stamps = [dev.stamp("3.11.7"), dev.stamp("3.11.8")]
    for name in dev.INPUTS:
        with (dev.ROOT / name).open("a", encoding="utf-8") as file:
            file.write("\n")
        stamps.append(dev.stamp("3.11.7"))
    monkeypatch.setattr(dev, "TORCH", "torch==2.14.0")
    stamps.append(dev.stamp("3.11.7"))
    assert len(set(stamps)) == len(stamps) == len(dev.INPUTS) + 3
    assert dev.stamp("3.11.7") == stamps[-1]


@pytest.mark.parametrize("step", ["-m venv", "setuptools", ".[dev]", "pip check", "import torch"])
def test_failed_set_up_is_never_trusted(dev: ModuleType, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    with monkeypatch.context() as patch:
        pretend(dev, patch, fail_at=step)
        with pytest.raises(SystemExit, match="The set-up stopped at"):
            dev.main("setup")
    assert not list(dev.VENV.glob(".ready-*"))
    leftover = stub(dev.VENV / "half", "")
    commands = pretend(dev, monkeypatch)
    assert dev.main("setup") == 0
    assert not leftover.exists()
    assert "-m venv" in commands[0]


def test_rebuild_removes_the_old_stamp_first(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(dev, monkeypatch)
    dev.main("setup")
    (stamp,) = dev.VENV.glob(".ready-*")

    def killed(folder: str) -> None:
        assert not list(Path(folder).glob(".ready-*"))
        raise KeyboardInterrupt

    monkeypatch.setattr(dev, "TORCH", "torch==2.14.0")
    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        dev.main("setup")
    assert not stamp.exists()


def test_venv_without_its_interpreter_is_rebuilt(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = pretend(dev, monkeypatch)
    dev.main("setup")
    (dev.BIN / "python").unlink()
    commands.clear()
    assert dev.main("setup") == 0
    assert "-m venv" in commands[0]


def test_torch_is_fenced_before_anything_needs_it(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dev, "TORCH", "torch==2.13.0+cpu")
    commands = pretend(dev, monkeypatch)
    dev.main("setup")
    installs = [command for command in commands if " install " in command]
    assert "torch==2.13.0+cpu" in installs[0]
    assert all("torch-fence.txt" in command for command in installs if ".[dev]" in command)
    assert all("--only-binary=:all:" in command and "constraints.txt" in command for command in installs)


def test_torch_comes_from_the_index_that_was_set_and_alone(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []

    def pip(*options: object) -> None:
        asked.append(options)
        if "--index-url" not in options:
            raise subprocess.CalledProcessError(1, ["pip"])

    monkeypatch.setattr(dev, "pip", pip)
    with pytest.raises(SystemExit, match="TORCH_INDEX_URL"):
        dev.install_torch()
    monkeypatch.setenv("TORCH_INDEX_URL", "file:///wheels")
    dev.install_torch()
    assert asked[-1] == ("--index-url", "file:///wheels", "--no-deps", dev.TORCH)


@pytest.mark.parametrize(
    ("script", "verdict"),
    [
        ("printf '3.9.18'; echo ' complete'", "is Python 3.9.18, too old"),
        ("printf '3.14.0'; echo ' complete'", "is Python 3.14.0, too new"),
        ("printf '3.12.1'; exit 1", "is Python 3.12.1 without venv"),
        ("exit 127", "does not run"),
    ],
)
def test_unfit_interpreter_is_named_with_its_fault(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, verdict: str
) -> None:
    monkeypatch.setenv("PYTHON", str(stub(tmp_path / "python3.9", script)))
    with pytest.raises(SystemExit) as stop:
        dev.main("setup")
    assert f"python3.9: {verdict}" in str(stop.value)
    assert not dev.VENV.exists()


def test_first_interpreter_that_runs_is_chosen(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("PYTHON")
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    stub(tmp_path / "path" / "python3.11", "exit 127")
    stub(tmp_path / "path" / "python3.13", "echo '3.13.0 complete'")
    assert dev.choose() == ("python3.13", "3.13.0")


def test_missing_interpreter_is_said(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHON", "python3.11-of-nobody")
    with pytest.raises(SystemExit, match=r"needs Python 3\.11, 3\.12 or 3\.13"):
        dev.choose()


@pytest.mark.parametrize(("given", "threads"), [(None, "1"), ("2", "2")])
def test_commands_get_one_thread_unless_told(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, given: str | None, threads: str
) -> None:
    pretend(dev, monkeypatch)
    dev.main("setup")
    monkeypatch.delenv("OMP_NUM_THREADS")
    if given:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    stub(dev.BIN / "bidpilot", f'echo "[\\"$OMP_NUM_THREADS\\", \\"$1\\", \\"$2\\"]" > {dev.ROOT}/seen')
    assert dev.main("demo", "--quick") == 0
    assert json.loads((dev.ROOT / "seen").read_text()) == [threads, "demo", "--quick"]


def test_gate_runs_everything_and_fails_if_one_part_did(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(dev, monkeypatch)
    dev.main("setup")
    for name, code in (("ruff", 0), ("mypy", 3), ("pytest", 0)):
        stub(dev.BIN / name, f'echo {name} "$@" >> {dev.ROOT}/seen; exit {code}')
    assert dev.main("test", "-k", "money") == 3
    ran = (dev.ROOT / "seen").read_text().splitlines()
    assert ran == ["ruff check", "ruff format --check", "mypy", "pytest -n 2 -m not slow -k money"]


def test_unknown_target_lists_the_known(dev: ModuleType) -> None:
    with pytest.raises(SystemExit, match=r"\{demo,test,test-slow,lint,docs,setup\}"):
        dev.main("tset")


def test_an_old_python_can_read_the_set_up() -> None:
    source = (ROOT / ".ci" / "dev.py").read_text(encoding="utf-8")
    assert ast.parse(source, feature_version=(3, 6)).body


def test_make_without_any_python_says_what_to_install(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHON"} | {"PATH": str(tmp_path)}
    make = shutil.which("make")
    assert make is not None
    command = [make, "--no-print-directory", "--file", str(ROOT / "Makefile"), "test"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "install Python 3.11, 3.12 or 3.13" in done.stderr


def test_ci_runs_what_the_reader_is_told_to_run() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text(encoding="utf-8").splitlines()[-1] == "exec make test"
