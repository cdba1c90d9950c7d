"""The one error a user can cause and mend."""


class InputError(ValueError):
    """What was given cannot be used.

    The message says what was expected, what came, where, and what to do. The command line prints it
    alone, without a traceback, and exits with code 2.
    """


def unknown(kind: str, name: str, known: list[str] | tuple[str, ...]) -> InputError:
    """Return the error for a name that is not in a table, listing the names that are."""
    return InputError(f"unknown {kind} {name!r}; known: {', '.join(sorted(known))}")
