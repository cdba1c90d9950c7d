"""Which models there are: the modules of their packages, found without importing them (they import torch)."""

from __future__ import annotations

import pkgutil
from pathlib import Path

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
