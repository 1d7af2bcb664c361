"""What a change of the image means, and what a guard's sentence becomes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from chroma_qualify.deployment.causes import State
from chroma_qualify.deployment.diagnose import certain_failure
from chroma_qualify.deployment.migrations import Way, guard_sentence, migrations_of, step

NOW = datetime(2026, 11, 25, 12, 0, 0, tzinfo=UTC)
LATER, EARLIER = "2026-11-25T12:00:05Z", "2026-11-25T11:59:00Z"
REFUSAL = "rollback refused: the database has 18 migrations (Chroma 1.5), nothing was touched"


@pytest.mark.parametrize(
    ("image", "count"),
    [
        ("chromadb/chroma:1.0.0", 16),
        ("docker.io/chromadb/chroma:1.2.2", 16),
        ("mirror.example:5000/ai/chroma:v1.3.7@sha256:00", 17),
        ("chroma:1.4.1", 17),
        ("chroma:1.5.9", 18),
        ("chroma:1.6.0", None),  # nobody has counted
        ("chroma:0.6.3", None),
        ("chroma:latest", None),
        ("chroma@sha256:00", None),
        ("mirror.example:5000/chroma", None),
    ],
)
def test_migrations_by_tag(image, count):
    assert migrations_of(image) == count


@pytest.mark.parametrize(
    ("older", "newer", "way", "says"),
    [
        ("c:1.0.20", "c:1.5.9", Way.ONE_WAY, "from 16 to 18 migrations, one way"),
        ("c:1.0.20", "c:1.4.1", Way.ONE_WAY, "from 16 to 17 migrations, one way"),
        ("c:1.4.1", "c:1.5.9", Way.BACK_WITHOUT_LISTS, "until a list is stored"),
        ("c:1.5.8", "c:1.5.9", Way.SAME, "migrates nothing"),
        ("c:1.5.9", "c:1.4.1", Way.BACK, "goes back from 18 to 17"),
        ("c:latest", "c:latest", Way.SAME, "migrates nothing"),
        ("c:1.5.9", "c:latest", Way.UNKNOWN, "the tags do not say"),
    ],
)
def test_what_a_step_means_and_says(older, newer, way, says):
    taken = step(older, newer)
    assert taken.way is way
    assert says in taken.notice


def pod(container):
    return {
        "kind": "Pod",
        "metadata": {"name": "chromadb-1", "uid": "p1"},
        "spec": {"containers": [{"name": "chromadb"}]},
        "status": {"phase": "Pending", "initContainerStatuses": [{"name": "guard", "restartCount": 0, **container}]},
    }


def ended(message, code=1, at=LATER):
    return {"terminated": {"exitCode": code, "message": message, "finishedAt": at, "reason": "Error"}}


WAITING = {"waiting": {"reason": "CrashLoopBackOff"}}


@pytest.mark.parametrize(
    ("container", "rule"),
    [
        ({"state": ended(REFUSAL)}, "rollback-refused"),
        ({"state": WAITING, "lastState": ended(REFUSAL)}, "rollback-refused"),
        ({"state": ended("guard undecided: no database; nothing was touched")}, "guard-undecided"),
        ({"state": ended(REFUSAL, at=EARLIER)}, None),  # of another wait
        ({"state": ended("nothing to migrate", code=0), "lastState": ended(REFUSAL)}, None),  # it went on
        ({"state": ended("some other init container's words")}, None),
        ({"state": {"running": {}}, "lastState": ended(REFUSAL)}, None),  # it tries again
    ],
)
def test_a_guards_refusal_is_certain_at_once_and_in_its_own_words(container, rule):
    failure = certain_failure(State(since=NOW, pods={"p1": pod(container)}))
    assert (failure.rule if failure else None) == rule
    if failure:
        assert failure.message.startswith(("rollback refused", "guard undecided"))
        assert failure.remedy


def test_what_a_guard_said_when_it_let_the_server_start():
    assert guard_sentence(pod({"state": ended("one-way migration: …", code=0)})) == "one-way migration: …"
    assert guard_sentence({"status": {}}) == ""
