"""What tuning found, as R/tuned.json holds it, and which of it a comparison may use."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from bidpilot.ctr.errors import InputError
from bidpilot.experiments.config import budget_label
from bidpilot.experiments.search import inside

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bidpilot.agents.base import PolicyConfig
    from bidpilot.agents.space import Choice, Span
    from bidpilot.envs.day import Day
    from bidpilot.experiments.prepare import Arena
    from bidpilot.experiments.run import Run

FILE, FORMAT = "tuned.json", 1
Found: TypeAlias = "dict[tuple[str, float], Chosen]"


@dataclass(frozen=True)
class Chosen:
    """A policy's settings at a budget, and after how many trials they were chosen."""

    config: PolicyConfig
    trials: int

    @property
    def record(self) -> str:
        """The settings and the number of trials as JSON."""
        return json.dumps(fields_of(self.config) | {"trials": self.trials})


def fields_of(config: PolicyConfig) -> dict[str, Any]:
    """Return the fields of a policy's settings by name."""
    return asdict(config)  # type: ignore[call-overload, no-any-return]


def days_hash(days: Iterable[Day]) -> str:
    """Return the fingerprint of days, in order."""
    return hashlib.blake2b("".join(day.traffic_hash for day in days).encode(), digest_size=8).hexdigest()


def made_for(run: Run, arena: Arena) -> dict[str, Any]:
    """Return what settings must have been tuned for to be of use in a run: its auction and its days."""
    return {
        "auction": run.settings.auction,
        "scenario": run.settings.scenario,
        "traffic_hash": days_hash(arena.tune),
        "past_hash": days_hash(arena.past.days),
    }


def read_tuned(run: Run, arena: Arena, configs: Mapping[str, type[PolicyConfig]]) -> tuple[Found, list[str]]:
    """Return what the run's tuned.json says about these policies, and in sentences why some of it is of no use.

    Nothing where there is no such file. Raises InputError for a file that tune has not written.
    """
    path = run.folder / FILE
    if not path.is_file():
        return {}, []
    told = _told(run)
    strange = [name for name, value in made_for(run, arena).items() if told.get(name) != value]
    if strange:
        return {}, [f"{path} was made for another {_word(strange[0])} than this run's and is not used; tune again"]
    found: Found = {}
    notes: list[str] = []
    for row in told["chosen"]:
        name, share = row["policy"], row["budget"]
        if name in configs and share in run.settings.budgets:
            try:
                found[name, share] = Chosen(restore(configs[name], row["config"]), row["trials"])
            except InputError as error:
                notes.append(f"{path}: {name} at budget {budget_label(share)}: {error}")
    return found, notes + _missing(found, configs, run.settings.budgets)


def restore(config: type[PolicyConfig], fields: Mapping[str, Any]) -> PolicyConfig:
    """Return settings from their fields as JSON gave them. Raises InputError where they are no longer such settings."""
    default, space = config(), config.space()
    plain = json.loads(json.dumps(fields_of(default)))
    odd = sorted(set(fields) ^ set(plain))
    if odd:
        raise InputError(f"its settings have changed since ({', '.join(odd)})")
    values = {}
    for name, value in fields.items():
        if value == plain[name]:
            continue
        if name not in space or not inside(space[name], _option(space[name], value)):
            raise InputError(f"{name} = {value!r} is nothing that tuning tries")
        values[name] = _option(space[name], value)
    return replace(default, **values)  # type: ignore[type-var]


def _option(field: Span | Choice, value: Any) -> Any:  # noqa: ANN401 - whatever JSON gave
    """Return the option that JSON writes like this, as a list where it is a tuple."""
    same = (o for o in getattr(field, "options", ()) if json.dumps(o) == json.dumps(value))
    return next(same, value)


def _told(run: Run) -> dict[str, Any]:
    """Return the file's content, checked."""
    path = run.folder / FILE
    try:
        told = json.loads(path.read_text())
        rows = [(str(row["policy"]), float(row["budget"]), dict(row["config"])) for row in told["chosen"]]
        right = told["format"] == FORMAT and all(type(row["trials"]) is int for row in told["chosen"]) and rows
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        right, rows = False, [repr(error)]  # type: ignore[list-item]
    if not right:
        again = f"bidpilot tune --run {run.folder} writes it anew; without it, compare tunes the quick way"
        raise InputError(f"{path}: not what bidpilot tune writes; {again}")
    return dict(told)


def _missing(found: Found, configs: Mapping[str, type[PolicyConfig]], shares: Sequence[float]) -> list[str]:
    """Say which policies were not tuned at which budgets, where there is something to tune."""
    lines: dict[str, list[str]] = {}
    for name, config in configs.items():
        gone = [budget_label(share) for share in shares if (name, share) not in found]
        if gone and config.space():
            lines.setdefault(", ".join(gone), []).append(name)
    return [
        f"not tuned at budget {where}, so the best of a few settings is taken: {', '.join(names)}"
        for where, names in lines.items()
    ]


def _word(name: str) -> str:
    return {"traffic_hash": "log or seed", "past_hash": "log, fit or seed"}.get(name, name)
