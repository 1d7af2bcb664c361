"""A context of somebody's kubeconfig, by itself: found as kubectl finds it, and never written to."""

import stat

import pytest
import yaml

from chroma_qualify.cluster.existing import context_of, find_context, write_copy
from chroma_qualify.errors import UsageError


def kubeconfig(path, name, *, server="https://a.example:6443", user=None, current="", **cluster):
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": current,
        "contexts": [{"name": name, "context": {"cluster": f"c-{name}", "user": f"u-{name}"}}],
        "clusters": [{"name": f"c-{name}", "cluster": {"server": server, **cluster}}],
        "users": [{"name": f"u-{name}", "user": user or {"token": "t"}}],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(document))
    return path


def test_only_that_context_is_copied_for_its_owners_eyes_only(tmp_path):
    source = kubeconfig(tmp_path / "config", "one", current="one")
    document = yaml.safe_load(source.read_text())
    document["users"].append({"name": "other", "user": {"token": "secret-of-other"}})
    source.write_text(yaml.safe_dump(document))
    before = source.read_text()
    context = context_of([source], "current-context")
    assert (context.name, context.server) == ("one", "https://a.example:6443")
    copy = tmp_path / "copy"
    write_copy(context, copy)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert "secret-of-other" not in copy.read_text()
    assert yaml.safe_load(copy.read_text())["current-context"] == "one"
    assert source.read_text() == before
    assert "t" not in repr(context).partition("sources")[0].split("token")[1:]


def test_plugins_and_files_are_found_from_anywhere(tmp_path):
    user = {"tokenFile": "tokens/t", "exec": {"command": "./bin/login", "apiVersion": "v1"}}
    source = kubeconfig(tmp_path / "k" / "config", "one", user=user, **{"certificate-authority": "/etc/ca.pem"})
    parts = context_of([source], "one").document
    assert parts["users"][0]["user"]["tokenFile"] == str(tmp_path / "k" / "tokens" / "t")
    assert parts["users"][0]["user"]["exec"]["command"] == str(tmp_path / "k" / "bin" / "login")
    assert parts["clusters"][0]["cluster"]["certificate-authority"] == "/etc/ca.pem"
    source = kubeconfig(tmp_path / "config", "two", user={"exec": {"command": "aws"}})
    assert context_of([source], "two").document["users"][0]["user"]["exec"]["command"] == "aws"


def test_of_several_files_the_first_to_name_something_wins(tmp_path, monkeypatch):
    first = kubeconfig(tmp_path / "a", "one", server="https://first.example")
    second = kubeconfig(tmp_path / "b", "one", server="https://second.example", current="one")
    monkeypatch.setenv("KUBECONFIG", f"{first}:{tmp_path / 'missing'}:{second}")
    assert find_context(None, "current-context").server == "https://first.example"
    assert find_context(second, "one").server == "https://second.example"


@pytest.mark.parametrize(
    ("text", "wanted", "sentence"),
    [
        (None, "one", "there is no kubeconfig"),
        ("a: [", "one", "cannot be read as a kubeconfig"),
        ("- a", "one", "is no kubeconfig"),
        ("contexts: [{context: {}}]", "one", "is no kubeconfig"),
        ("kind: Config", "current-context", "has no current context"),
        ("kind: Config", "two", "has no context two"),
        ("contexts: [{name: one, context: {cluster: gone}}]", "one", "names the cluster 'gone', which is not there"),
    ],
)
def test_what_is_wrong_is_one_sentence(text, wanted, sentence, tmp_path):
    path = tmp_path / "config"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError, match=sentence):
        context_of([path], wanted)
