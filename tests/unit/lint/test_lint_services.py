"""Rule `unreachable`: the Service that is meant for Chroma must lead to it."""

import pytest
from lint_builders import container, merge, service, workload

from chroma_qualify.lint.rules.services import unreachable


def with_selector(selector, **more):
    return merge(service(**more), {"spec": {"selector": None}}) | {
        "spec": {"selector": selector, "ports": service(**more)["spec"]["ports"]}
    }


@pytest.mark.parametrize(
    ("objects", "words"),
    [
        pytest.param(
            [workload(), with_selector({"tier": "data"})],
            "its selector tier=data matches none of Chroma's pods, which are labelled tier=db",
            id="the only one",
        ),
        pytest.param(
            [workload(), with_selector({"tier": "web"}), with_selector({"app": "x"}, name="chromadb-service")],
            "Service chromadb-service leads nowhere",
            id="named after it",
        ),
        pytest.param(
            [workload(), with_selector({"tier": "web"}), with_selector({"app": "chromadb"}, name="vectors")],
            "Service vectors leads nowhere",
            id="its selector names it",
        ),
        pytest.param(
            [workload(), service(target="http")],
            "its targetPort http is no port of Chroma's pods, whose named ports are api",
            id="no such port",
        ),
        pytest.param(
            [workload(containers=[container(ports=None)]), service(target="http")],
            "whose named ports are none",
            id="no port at all",
        ),
    ],
)
def test_found(objects, words):
    (found,) = unreachable(objects)
    assert found.rule == "unreachable"
    assert words in found.message
    assert found.remedy
    assert found.object.startswith("Service/")


@pytest.mark.parametrize(
    "objects",
    [
        pytest.param([workload(), service()], id="by name"),
        pytest.param([workload(), service(target=9000)], id="by number"),
        pytest.param([workload(), service(target=8000)], id="by a number that nobody declares"),
        pytest.param([workload(), service(), with_selector({"app": "chroma-ui"}, name="ui")], id="another one too"),
        pytest.param([workload()], id="no Service: not among these objects"),
        pytest.param([workload(), with_selector({"a": "b"}), with_selector({"c": "d"}, name="e")], id="of others"),
        pytest.param([workload(), with_selector({}, name="chroma")], id="no selector: its endpoints are made by hand"),
        pytest.param([service()], id="no Chroma"),
        pytest.param(
            [
                workload(containers=[container(ports=None), container(name="proxy", image="caddy")]),
                service(),
            ],
            id="to a proxy beside it",
        ),
    ],
)
def test_not_found(objects):
    assert list(unreachable(objects)) == []
