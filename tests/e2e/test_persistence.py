"""What the server acknowledged is still there after it was stopped, killed, replaced, moved.

Nothing is being written while a fault strikes. Three collections of 999, 1000 and 1001
records are written before each one, because Chroma flushes its index every 1000 writes:
the first is in the log only, the last has one record in the log. The scenarios go in
sequence on one deployment, the slowest fault last; at the end everything ever written is
read once more.
"""

import time

import pytest

from chroma_qualify.errors import CandidateError
from chroma_qualify.faults import FAULTS
from chroma_qualify.faults.strike import strike
from chroma_qualify.workload import client
from chroma_qualify.workload.audit import audit
from chroma_qualify.workload.records import Values, make_records, vector

SIZES = (999, 1000, 1001)
BATCH = 250


@pytest.fixture(scope="module")
def deployed(module_deploy):
    """The server that all faults strike."""
    return module_deploy("single-writer")


@pytest.fixture(scope="module")
def values(seed):
    return Values(seed)


@pytest.fixture(scope="module")
def ledger() -> dict[str, dict[str, int]]:
    """Collection to what was acknowledged in it, over the whole file."""
    return {}


def tell(report, result) -> None:
    for finding in result.findings:
        report.fail(
            finding.rule,
            finding.message,
            evidence=finding.evidence,
            remedy=finding.remedy,
            collection=finding.collection,
        )


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_acknowledged_records_survive(  # noqa: PLR0917 (pytest passes them by name)
    fault, deployed, chroma, report, run_dir, values, ledger
):
    before = chroma(deployed)
    names = [f"{fault.name}-{size}" for size in SIZES]
    for name, size in zip(names, SIZES, strict=True):
        collection = client.create_collection(before, name)
        ledger[name] = client.write(before, collection, make_records(name, values.take(size)), batch=BATCH)

    struck = strike(fault, deployed, run_dir)

    after = chroma(deployed)  # a new client: the old one's connections died with the server
    canary_id, canary_value = next(iter(ledger[names[0]].items()))
    collection = after.get_collection(names[0], embedding_function=None)
    (answer,) = client.query(collection, vector(canary_value)[None, :], 1)
    report.measure(f"{fault.name}: fault proven", struck.proof_seconds, "s")
    report.measure(f"{fault.name}: first query answered", time.monotonic() - struck.started, "s")
    if answer != (canary_id,):
        raise CandidateError(
            "low-recall", f"after {fault.name} a record's own embedding finds {answer}", evidence=canary_id
        )
    for name in names:
        tell(report, audit(after.get_collection(name, embedding_function=None), ledger[name]))


def test_nothing_was_lost_over_all_faults(deployed, chroma, report, ledger):
    if not ledger:
        pytest.skip("no fault ran")
    server = chroma(deployed)
    for name, expected in ledger.items():
        tell(report, audit(server.get_collection(name, embedding_function=None), expected))
    report.measure("records checked after all faults", sum(map(len, ledger.values())))
