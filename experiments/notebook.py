"""Markdown pages in parts, prose and code, and the Jupyter notebook of a page.

python -m bidpilot.experiments.notebook experiments/docs/tutorial.md writes tutorial.ipynb beside it; plain JSON.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.files import write_atomically

BLOCK = re.compile(
    r"(?:^<!-- (?P<note>[^\n]*) -->\n)?^```(?P<language>\w+)\n(?P<code>.*?)^```$\n?", re.DOTALL | re.MULTILINE
)
FILE, NOT_RUN = "file: ", "not run: "
"""How a comment begins that names the file a block is the content of, or says why a block is not run."""

KERNEL = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


@dataclass(frozen=True)
class Part:
    """Prose (language "") or a block of code.

    line: of the page, from 1. note: what the HTML comment on the line before a block says.
    """

    text: str
    line: int
    language: str = ""
    note: str = ""

    @property
    def file(self) -> str:
        """Name of the file that the block is the content of, or ""."""
        return self.note.removeprefix(FILE) if self.note.startswith(FILE) else ""

    @property
    def not_run(self) -> str:
        """Why the block is not run, or ""."""
        return self.note.removeprefix(NOT_RUN) if self.note.startswith(NOT_RUN) else ""


def parts(text: str) -> list[Part]:
    """Cut a page into prose and blocks of code, in order; what is blank is left out.

    Raises InputError for a fence without language, or one that is not closed.
    """
    found, end = [], 0
    for match in BLOCK.finditer(text):
        found.append(Part(text[end : match.start()], _line(text, end)))
        found.append(Part(match["code"], _line(text, match.start("language")), match["language"], match["note"] or ""))
        end = match.end()
    found.append(Part(text[end:], _line(text, end)))
    loose = [part for part in found if not part.language and re.search("^```", part.text, re.MULTILINE)]
    if loose:
        raise InputError(f"line {loose[0].line} or after: a fence without language, or one that is not closed")
    return [part for part in found if part.text.strip()]


def notebook(page: str) -> dict[str, Any]:
    """Return a page as a notebook (nbformat 4.5).

    Prose is Markdown, Python is code, files are written by a cell, commands are run by the shell.
    """
    cells = [_cell(part, place) for place, part in enumerate(parts(page))]
    return {"cells": cells, "metadata": KERNEL, "nbformat": 4, "nbformat_minor": 5}


def _cell(part: Part, place: int) -> dict[str, Any]:
    text = part.text.strip("\n")
    if part.file:
        source = f"%%writefile {part.file}\n{text}"
    elif part.language == "sh":
        source = f"%%sh\n{text}"
    else:
        source = text
    cell = {"id": f"part-{place}", "metadata": {}, "source": source.splitlines(keepends=True)}
    if not part.language or part.not_run:
        shown = source if not part.language else f"```{part.language}\n{text}\n```"
        return {"cell_type": "markdown", **cell, "source": shown.splitlines(keepends=True)}
    return {"cell_type": "code", "execution_count": None, "outputs": [], **cell}


def _line(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1


def main(*pages: str) -> None:
    """Write the notebook of each page beside it."""
    for page in map(Path, pages):
        text = json.dumps(notebook(page.read_text()), indent=1, ensure_ascii=False) + "\n"
        write_atomically(page.with_suffix(".ipynb"), text)


if __name__ == "__main__":
    main(*sys.argv[1:])
