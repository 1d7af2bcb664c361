"""Rule `guard-of-another-image`."""

import pytest
from lint_builders import container, workload

from chroma_qualify.lint.rules.guard import guard_of_another_image

SERVER = "mirror.example/chroma:1.5.9"
GUARD = {"name": "guard", "image": "tools:dev", "args": ["guard"]}


def looks(image, **more):
    return {"name": "guard-image", "image": image, "command": ["sh", "-c"], "args": ["chroma run /guard/c"], **more}


def found(*init, image=SERVER):
    good = workload(containers=[container(image=image)], pod={"initContainers": list(init)} if init else None)
    return list(guard_of_another_image([good]))


@pytest.mark.parametrize(
    "init",
    [
        (),
        (looks(SERVER), GUARD),
        (looks("mirror.example/chroma:1.0.20"),),  # no guard looks at it
        (GUARD,),
        (looks(SERVER), looks("mirror.example/chroma:1.0.20", restartPolicy="Always"), GUARD),  # a server itself
    ],
)
def test_nothing_to_say(init):
    assert found(*init) == []


@pytest.mark.parametrize("other", ["mirror.example/chroma:1.0.20", "chromadb/chroma:1.5.9", "private:1"])
def test_the_guard_looks_at_another_image(other):
    (finding,) = found(looks(other), GUARD)
    assert finding.rule == "guard-of-another-image"
    assert other in finding.message
    assert SERVER in finding.message
    assert finding.object == "Deployment/vector-db"
