"""`-p chroma_qualify.plugin.foresee --collect-only`: which scenarios a run would have, told and not begun.

Used by `chroma-qualify plan`, which asks for it in a process of its own.
"""

from __future__ import annotations

import json
import sys

import pytest

from chroma_qualify.errors import UsageError
from chroma_qualify.plugin.choice import chosen_experiments, leave_out
from chroma_qualify.plugin.lane import for_second_lane, in_order
from chroma_qualify.plugin.options import parse_options
from chroma_qualify.plugin.run import scenario_name

MARK = "foreseen: "  # before the one line that we print


@pytest.hookimpl(trylast=True)  # once others have left out what was not asked for
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what was not asked for, and print the rest."""
    try:
        options = parse_options(config)
        leave_out(items, options, config)
    except UsageError as error:
        pytest.exit(f"{error.message}{f'; {error.remedy}' if error.remedy else ''}", returncode=2)
    items[:] = in_order(items)
    beside = for_second_lane(items, options)
    scenarios = [
        {"name": scenario_name(item.nodeid), "lane": 2 if item in beside else 1}
        for item in items
        if not chosen_experiments([item])
    ]
    document = {"scenarios": scenarios, "experiments": [each.name for each in chosen_experiments(items)]}
    sys.stdout.write(f"{MARK}{json.dumps(document)}\n")
    sys.stdout.flush()
