"""What a run would do, as its own parts know it: is the candidate taken, which scenarios and faults are there.

Asked of them in processes of their own, as `launch` does.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chroma_qualify.cli.checkout import find_checkout
from chroma_qualify.errors import InfraError, UsageError
from chroma_qualify.faults.experiments import Experiment, experiments

_MARK = "foreseen: "  # as plugin.foresee prints it


def refuse_unfit(directory: Path) -> None:
    """Raises UsageError if a run would refuse a directory of manifests, with the sentence that it would end with."""
    command = [sys.executable, "-m", "chroma_qualify.plugin.precheck", str(directory)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UsageError(done.stderr.strip()[-1000:])


def foreseen(
    table: Sequence[Experiment], expression: str, faults: Sequence[str], *, one_lane: bool
) -> tuple[tuple[Experiment, ...], list[dict[str, Any]] | None]:
    """Which experiments of a table a run would make, and its other scenarios by `name` and `lane`.

    Args:
        table: what was chosen by `--fault`.
        expression: which scenarios, as pytest's -k takes them; "" for all.
        faults: what `--fault` said.
        one_lane: nothing runs beside others.

    Returns:
        both; None for the scenarios where there is no checkout, and so no scenario.

    Raises:
        UsageError: nothing matches, or the expression is none.
    """
    if faults and not expression:
        return tuple(table), []  # then nothing but faults runs, see plugin.choice
    try:
        checkout = find_checkout()
    except UsageError:
        return tuple(table), None
    command = [sys.executable, "-m", "chroma_qualify.plugin", "-p", "chroma_qualify.plugin.foresee"]
    command += ["-p", "no:cacheprovider", "-o", "addopts=", "--strict-markers", "-q", "--collect-only", "tests/e2e"]
    command += [*(f"--fault={name}" for name in faults), *(["--one-lane"] if one_lane else [])]
    command += [f"-k{expression}"] if expression else []
    done = subprocess.run(command, cwd=checkout, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    told = next((line for line in done.stdout.splitlines() if line.startswith(_MARK)), None)
    if told is None:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        said = next((line for line in lines if line.startswith("ERROR: ")), lines[-1] if lines else "")
        if done.returncode == 2:
            raise UsageError(said.removeprefix("ERROR: ")[:500])
        raise InfraError(f"the scenarios cannot be listed: {said[:500]}")
    document = json.loads(told.removeprefix(_MARK))
    if not document["scenarios"] and not document["experiments"]:
        raise UsageError(f"no scenario matches {expression!r}")
    # What was collected has the usual number of power losses.
    left_out = {each.name for each in experiments()} - set(document["experiments"])
    struck = {each.fault.name for each in experiments() if each.name not in left_out}
    kept = [each for each in table if each.name not in left_out and each.fault.name in struck]
    return tuple(kept), document["scenarios"]
