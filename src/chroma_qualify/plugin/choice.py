"""Which scenarios a run has: by the names that verdict.json prints, by `--only`, by `--fault`. Called by `hooks`."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from chroma_qualify.errors import UsageError
from chroma_qualify.faults.experiments import Experiment
from chroma_qualify.plugin.options import Options
from chroma_qualify.plugin.run import scenario_name


def pytest_itemcollected(item: pytest.Item) -> None:
    """`-k data::recall` finds a scenario by the name that verdict.json has."""
    item.extra_keyword_matches.add(scenario_name(item.nodeid))


def leave_out(items: list[pytest.Item], options: Options, config: pytest.Config) -> None:
    """Take from the collected scenarios what was not asked for.

    Raises:
        UsageError: one was asked for that is not there.
    """
    if unknown := sorted(set(options.only) - {scenario_name(item.nodeid) for item in items}):
        raise UsageError(f"there is no scenario {unknown[0]!r} here", remedy="--scenario also takes parts of a name")
    left_out = [item for item in items if not _wanted(item, options)]
    if left_out:
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


def _wanted(item: pytest.Item, options: Options) -> bool:
    """With `--fault` nothing but faults runs, unless scenarios are chosen, too."""
    if options.only:
        return scenario_name(item.nodeid) in options.only
    return not options.faults or bool(options.scenario) or bool(chosen_experiments([item]))


def chosen_experiments(items: Sequence[pytest.Item]) -> list[Experiment]:
    """The experiments among the collected scenarios, in their order."""
    params = (getattr(item, "callspec", None) for item in items)
    return [spec.params["experiment"] for spec in params if spec is not None and "experiment" in spec.params]
