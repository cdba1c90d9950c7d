"""Make .venv if it is not ready, then run a target in it: demo, test, test-slow, lint, docs or setup.

Usage: python .ci/dev.py TARGET [options of the target]

Standard library only, and nothing that Python 3.6 cannot read: this runs before anything is installed, and
an old Python must be able to say that it is too old. Variables that change what it does:

PYTHON           the interpreter to build .venv with (default: the first of python3.11, 3.12, 3.13, python3 that fits)
TORCH_SPEC       the torch to install (default: the CPU build)
TORCH_INDEX_URL  the index that has it, where pip's usual places do not
OMP_NUM_THREADS  threads of one process (default 1: more are 10 to 35 times slower on a busy machine)
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]  # Windows

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
INPUTS = ("pyproject.toml", "constraints.txt", ".ci/dev.py")
# A local version such as +cpu cannot be on a public registry: the request finds the CPU build or fails.
TORCH = os.environ.get("TORCH_SPEC") or ("torch==2.13.0+cpu" if sys.platform == "linux" else "torch==2.13.0")
OLDEST, NEWEST = (3, 11), (3, 13)

LAYERS = ("bidpilot.ctr", "bidpilot.envs", "bidpilot.agents", "bidpilot.experiments")
LINT = (("ruff", "check"), ("ruff", "format", "--check"), ("mypy",))
TARGETS = {
    "demo": (("bidpilot", "demo"),),
    "test": (*LINT, ("pytest", "-n", "2", "-m", "not slow")),
    "test-slow": (("pytest", "-m", "slow"),),
    "lint": LINT,
    "docs": (("python", "-W", "ignore", "-m", "pdoc", *LAYERS, "-o", "build/docs"),),
    "setup": (),
}
PROBE = "import sys; sys.stdout.write('%d.%d.%d' % sys.version_info[:3]); import ensurepip, venv; print(' complete')"
NO_TORCH = """
pip found no {spec} where it looks. On Linux without a GPU, set TORCH_INDEX_URL to the index of CPU builds that
PyTorch's installation page shows for "CPU", and run this again. With a GPU, set TORCH_SPEC={plain}: that is
the CUDA build, several GB."""


def probe(python: str) -> "tuple[str, str]":
    """Return (version, what is wrong with it or ""). A name on PATH proves nothing, so it is run."""
    done = subprocess.Popen([python, "-c", PROBE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    version, _, complete = done.communicate()[0].decode().partition(" ")
    if not version:
        return "", "does not run"
    release = tuple(int(part) for part in version.split(".")[:2])
    if not OLDEST <= release <= NEWEST:
        return version, "is Python {}, too {}".format(version, "old" if release < OLDEST else "new")
    return version, "" if complete else "is Python " + version + " without venv (on Debian: apt install python3-venv)"


def choose() -> "tuple[str, str]":
    """Return (interpreter, version) of the first candidate that fits; without one, exit and say what was tried."""
    asked = os.environ.get("PYTHON")
    tried = []
    for name in [asked] if asked else ["python3.11", "python3.12", "python3.13", "python3", sys.executable]:
        try:
            version, fault = probe(name)
        except OSError:
            version, fault = "", "not found"
        if not fault:
            return name, version
        tried.append("  " + name + ": " + fault)
    return sys.exit("bidpilot needs Python 3.11, 3.12 or 3.13 with venv and pip. Tried:\n" + "\n".join(tried))


def stamp(version: str) -> Path:
    """Return the file that marks .venv as complete; its name changes with all that went into .venv."""
    digest = hashlib.sha256("\n".join((version, TORCH, str(ROOT))).encode())
    for name in INPUTS:
        digest.update((ROOT / name).read_bytes())
    return VENV / (".ready-" + digest.hexdigest()[:16])


def run(*command: object) -> None:
    """Run a command in the repository; raise CalledProcessError where it fails. It shares the lock, see alone."""
    subprocess.check_call([str(part) for part in command], cwd=str(ROOT), close_fds=False)


def alone() -> int:
    """Wait until nobody else sets up this .venv; return the lock, a file descriptor that frees it when closed.

    The commands of a set-up inherit the lock: where the set-up itself was killed, they still work on .venv.
    """
    lock = os.open(str(ROOT / "constraints.txt"), os.O_RDWR)
    if fcntl is not None:
        os.set_inheritable(lock, True)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another set-up of .venv is at work, waiting for it", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def pip(*options: object) -> None:
    """Install into .venv, wheels only, the pinned versions, blind to PYTHONPATH."""
    command = ("-m", "pip", "install", "--disable-pip-version-check", "--no-compile", "--only-binary=:all:")
    run(BIN / "python", "-I", *command, "-c", ROOT / "constraints.txt", *options)


def install_torch() -> None:
    """Install TORCH; where pip cannot find it, from TORCH_INDEX_URL, else exit and say what to set."""
    index = os.environ.get("TORCH_INDEX_URL")
    try:
        pip(TORCH)
    except subprocess.CalledProcessError:
        if not index:
            sys.exit(NO_TORCH.format(spec=TORCH, plain=TORCH.split("+")[0]))
        pip("--index-url", index, "--no-deps", TORCH)


def install(python: str, version: str, ready: Path) -> None:
    """Build .venv anew and mark it as complete; what an interrupted set-up left is never trusted."""
    print("Setting up .venv with Python " + version + ": about 1.4 GB, a minute plus downloads", flush=True)
    for old in VENV.glob(".ready-*"):  # first: a half-deleted .venv must not look complete
        old.unlink()
    if VENV.exists():
        shutil.rmtree(str(VENV))
    run(python, "-m", "venv", VENV)
    install_torch()
    pip("--upgrade", "setuptools>=77")
    fence = VENV / "torch-fence.txt"  # exactly the torch that is there: nothing below may replace it
    found = "import importlib.metadata as m, sys; open(sys.argv[1], 'w').write('torch==' + m.version('torch'))"
    run(BIN / "python", "-I", "-c", found, fence)
    pip("-c", fence, "--no-build-isolation", "-e", ".[dev]")
    run(BIN / "python", "-I", "-m", "pip", "check")
    run(BIN / "python", "-c", "import torch, gymnasium, stable_baselines3, onnxruntime, bidpilot.ctr")
    ready.touch()


def set_up() -> None:
    """Install unless .venv is complete; exit with the command that failed, if one did."""
    python, version = choose()
    ready = stamp(version)
    lock = alone()
    try:
        if not (ready.exists() and (BIN / "python").exists()):
            install(python, version, ready)
    except subprocess.CalledProcessError as error:
        sys.exit("\nThe set-up stopped at: " + " ".join(error.cmd) + "\nRun the same again once that is mended.")
    finally:
        os.close(lock)


def main(target: str = "", *options: str) -> int:
    """Run a target, installing first where needed; return the exit code of the first command that failed."""
    if target not in TARGETS:
        return sys.exit("usage: python .ci/dev.py {" + ",".join(TARGETS) + "} [options]")
    set_up()
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    codes = []
    for command in TARGETS[target]:
        extra = options if command == TARGETS[target][-1] else ()
        print("$", *command, *extra, flush=True)
        codes.append(subprocess.call([str(BIN / command[0]), *command[1:], *extra], cwd=str(ROOT), env=environment))
    return next((code for code in codes if code), 0)


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
