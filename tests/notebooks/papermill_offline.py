"""Run one notebook with papermill; called as a program, so that it can be put where there is no network.

papermill only warns of a parameter that the notebook does not know, and of a notebook without a parameters cell.
Here both are failures: a run would silently be another one than was asked for.
"""

import json
import sys

from papermill import execute_notebook, inspect_notebook
from papermill.exceptions import PapermillExecutionError

UNKNOWN, RAISED = 3, 4


def main(source: str, target: str, parameters: str) -> int:
    """Execute `source` into `target`; say on standard error what went wrong, in one line."""
    wanted = json.loads(parameters)
    known = inspect_notebook(source)
    unknown = sorted(wanted.keys() - known.keys())
    if unknown:
        given = ", ".join(known) or "none: it has no cell tagged 'parameters'"
        sys.stderr.write(f"unknown parameter {', '.join(unknown)}; the notebook's parameters are {given}\n")
        return UNKNOWN
    try:
        execute_notebook(source, target, wanted, kernel_name="python3", progress_bar=False)
    except PapermillExecutionError as error:
        sys.stderr.write(f"{error.ename}: {error.evalue}\n")
        return RAISED
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
