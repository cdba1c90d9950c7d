"""YAML read as it is written: every scalar stays text, so `1e-4`, `NO` and `22:30` mean what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import yaml

from bidpilot.ctr.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

Plain: TypeAlias = "str | list[Plain] | dict[str, Plain] | None"
"""What a settings file can hold; the model that takes it gives each text its type."""


def read_yaml(path: Path) -> dict[str, Plain]:
    """Read a file of `key: value` lines without guessing types; an empty value is None.

    Raises InputError, with line and column, on a file that is absent or not YAML, a doubled key and an alias.
    """
    try:
        return _parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text (byte {error.start})") from error
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise InputError(f"{path}: is not usable YAML: {' '.join(str(error).split())}") from error


def read_value(text: str) -> Plain:
    """Read one value as it would stand behind a key: text, or a list in brackets. Raises InputError."""
    try:
        return _parse(f"value: {text}")["value"]
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{text!r} is not usable YAML: {' '.join(str(error).split())}") from error


def _parse(text: str) -> dict[str, Plain]:
    for token in yaml.scan(text):
        if isinstance(token, yaml.AliasToken):
            problem = "aliases (*name) are not supported; write the value out"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=token.start_mark)
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(node, yaml.MappingNode):
        raise yaml.YAMLError("expected lines of the form 'key: value'")
    return _pairs(node)


def _pairs(node: yaml.MappingNode) -> dict[str, Plain]:
    pairs: dict[str, Plain] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.value in pairs:
            problem = f"key {key.value!r} is given twice" if isinstance(key, yaml.ScalarNode) else "a key must be text"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
        pairs[key.value] = _plain(value)
    return pairs


def _plain(node: Any) -> Plain:  # noqa: ANN401 - the YAML stubs leave nodes untyped
    if isinstance(node, yaml.MappingNode):
        return _pairs(node)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item) for item in node.value]
    return None if node.tag.endswith(":null") else str(node.value)
