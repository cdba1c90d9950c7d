"""A real test read again: Hillstrom's e-mail campaign, three arms, what each brought over no e-mail.

Run: python -m bidpilot.experiments.benchmarks.hillstrom --data DIR (or BIDPILOT_DATA), DIR having hillstrom_email.
Visits, conversions and spend per person, plain and with CUPED by `history`, what they had spent in the year before.
--markdown: the table alone, as in the README.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from bidpilot.ctr.errors import InputError
from bidpilot.experiments.abtest.result import Result, read_result
from bidpilot.experiments.abtest.table import read_experiment
from bidpilot.experiments.abtest.words import markdown

LOG = "hillstrom_email/dev_half.csv.gz"
CONTROL = "No E-Mail"
METRICS = ("visit", "conversion", "spend")


def main() -> None:
    """Read, measure, print."""
    given = _arguments()
    try:
        result = hillstrom(given.data)
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    sys.stdout.write((markdown(result.lifts) if given.markdown else result.text) + "\n")


def hillstrom(data: Path | None) -> Result:
    """Return the lifts of both e-mails. Raises InputError where the log is not in the folder."""
    if data is None or not (data / LOG).is_file():
        raise InputError(f"{LOG} is not in {data}; give --data (or BIDPILOT_DATA) the folder that has hillstrom_email")
    return read_result(read_experiment(data / LOG, "segment", METRICS, ("history",)), CONTROL)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="hillstrom", description=__doc__)
    known = os.environ.get("BIDPILOT_DATA")
    parser.add_argument("--data", type=Path, default=Path(known) if known else None, help="folder of the logs")
    parser.add_argument("--markdown", action="store_true", help="print the table alone, as the README has it")
    return parser.parse_args()


if __name__ == "__main__":
    main()
