"""Scenarios that a cluster which is not ours cannot have; each says why, and the verdict has its reason.

A file of scenarios says `pytestmark = pytest.mark.own_cluster("its images are in our own nodes only")`, or
`pytest.mark.own_namespaces("it needs two of them")`.
"""

from __future__ import annotations

import pytest

from chroma_qualify.plugin.hooks import RUN

OWN_CLUSTER = "own_cluster"
OWN_NAMESPACES = "own_namespaces"


@pytest.hookimpl(tryfirst=True)  # before any fixture of the scenario is made
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave a scenario out where its mark says so."""
    run = item.config.stash.get(RUN, None)
    if run is None or run.options.context is None:
        return
    for mark in item.iter_markers(OWN_CLUSTER):
        pytest.skip(f"it needs a cluster of our own: {mark.args[0]}")
    for mark in item.iter_markers(OWN_NAMESPACES) if run.options.namespace else ():
        pytest.skip(f"it needs namespaces of its own: {mark.args[0]}")
