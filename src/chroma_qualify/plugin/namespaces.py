"""Namespaces that scenarios have for themselves: made for them, or, in a cluster that is not ours, lent to the run.

Used by `fixtures`, and by scenarios that need several.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator

import pytest

from chroma_qualify.cluster.guests import delete_own
from chroma_qualify.cluster.model import RUN_LABEL, Cluster
from chroma_qualify.deployment.admission import ENFORCE
from chroma_qualify.deployment.apply import create_namespace, delete_namespace
from chroma_qualify.errors import UnavailableError
from chroma_qualify.observe.recorder import Observer
from chroma_qualify.plugin.hooks import CANDIDATES
from chroma_qualify.plugin.run import Run

_numbers = itertools.count(1)
_occupied: set[str] = set()  # lent namespaces, by their cluster's kubeconfig, in which a scenario is


@contextlib.contextmanager
def fresh_namespace(run: Run, cluster: Cluster, observer: Observer, node: pytest.Item, name: str) -> Iterator[str]:
    """A namespace for as long as the block lasts; its evidence is collected if a scenario of `node` has failed."""
    if cluster.guest is not None and cluster.guest.namespace:
        with _lent_namespace(run, cluster, observer, node) as space:
            yield space
        return
    words = re.sub(r"[^a-z0-9]+", "-", name.lower().removeprefix("test_").removesuffix(".py")).strip("-")
    space = f"cq-{words[:40].strip('-')}-{run.id[-6:]}-{next(_numbers)}"
    labels = {
        ENFORCE: node.config.stash[CANDIDATES].pod_security,
        "app.kubernetes.io/managed-by": "chroma-qualify",
        RUN_LABEL: run.id,
    }
    create_namespace(cluster, space, labels)
    try:
        observer.follow(space)
        yield space
    finally:
        failed = run.failed(node.nodeid)
        try:
            if failed:
                run.say(f"{space}: collecting evidence")
                observer.collect(space)
        finally:
            if cluster.guest is not None:
                observer.leave(space)
            # A failed scenario in a cluster that is kept is there to be looked at.
            if not (failed and run.options.keep):
                delete_namespace(cluster, space, wait=False)


@contextlib.contextmanager
def _lent_namespace(run: Run, cluster: Cluster, observer: Observer, node: pytest.Item) -> Iterator[str]:
    """The one namespace that was lent to the run, empty, for as long as the block lasts."""
    assert cluster.guest is not None
    space, place = cluster.guest.namespace, str(cluster.kubeconfig)
    if place in _occupied:
        raise UnavailableError(f"it needs a namespace beside {space}, the one that was lent")
    _occupied.add(place)
    try:
        observer.follow(space)
        yield space
    finally:
        _occupied.discard(place)
        try:
            if run.failed(node.nodeid):
                run.say(f"{space}: collecting evidence")
                observer.collect(space)
        finally:
            delete_own(cluster)
