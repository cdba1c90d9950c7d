"""Which models there are: the modules of their packages, found without importing them (they import torch)."""

from __future__ import annotations

import pkgutil
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from bidpilot.ctr.errors import InputError, unknown

HERE = Path(__file__).parent
SHARED = {"base", "network"}
"""Modules of those packages that are no model."""


def _modules(package: str) -> tuple[str, ...]:
    found = pkgutil.iter_modules([str(HERE / package)])
    return tuple(sorted(module.name for module in found if module.name not in SHARED))


MODELS = _modules("models")
"""Names of the response models, one event each."""

JOINT_MODELS = _modules("joint")
"""Names of the models of clicks and conversions together."""

PRICE_MODELS = _modules("price_models")
"""Names of the price models."""


def find_model(name: str, *, saved: bool = False) -> type[Any]:
    """Return the Config of a response model by name, or by dotted name for a module of the user's own.

    saved: the name was read from a file with weights; a file does not decide what code is run, so a module of the
    user's own must have been imported before. Raises InputError listing the known names, or saying what is lacking.
    """
    if name in MODELS:
        return _config(f"{__package__}.models.{name}")
    if "." not in name:
        raise unknown("response model", name, MODELS)
    if saved and name not in sys.modules:
        raise InputError(f"the model was fitted by the module {name!r}: import it, then load the model")
    try:
        return _config(name)
    except (ImportError, AttributeError, TypeError) as error:
        raise InputError(f"model module {name!r} must be importable and define Config: {error}") from error


def _config(module: str) -> type[Any]:
    """Return a module's Config, which must fit, refit and restore."""
    config: type[Any] = import_module(module).Config
    lacking = [part for part in ("fit", "refit", "restore", "trains") if not hasattr(config, part)]
    if lacking:
        raise InputError(f"model module {module!r}: its Config lacks {', '.join(lacking)}; see bidpilot.ctr.events")
    return config
