"""The commands as a shell sees them: exit code and one sentence. No engine is needed, and none is there."""

from __future__ import annotations

import pytest

from chroma_qualify import cli


@pytest.fixture
def chroma_qualify(monkeypatch, tmp_path, capsys):
    """Run the console entry with no docker on PATH and an empty cache; returns exit code, stdout, stderr."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def run(*args: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["chroma-qualify", *args])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


@pytest.mark.parametrize(
    "args",
    [
        ("nothing-like-it",),
        ("up", "--bogus"),
        ("up", "--nodes", "abc"),
        ("up", "--nodes", "0"),
        ("up", "--images", "foo"),
        ("up", "--k8s-version", "latest"),
    ],
)
def test_a_wrong_request_ends_with_2(chroma_qualify, args):
    code, _, err = chroma_qualify(*args)
    assert code == 2
    assert args[-1] in err or "--nodes" in err
    assert "Traceback" not in err


def test_a_cluster_that_does_not_exist_cannot_be_deleted(chroma_qualify):
    code, _, err = chroma_qualify("down", "cq-nowhere")
    assert (code, err) == (2, "there is no cluster cq-nowhere; there are: none\n")


def test_nothing_to_delete_is_no_error(chroma_qualify):
    assert chroma_qualify("down") == (0, "there is no cluster to delete\n", "")
    assert chroma_qualify("status") == (0, "no cluster was kept\n", "")


def test_a_machine_without_docker_is_told_in_one_sentence(chroma_qualify):
    code, _, err = chroma_qualify("clean")
    assert code == 4
    assert err.count("\n") == 1
    assert "docker is not installed" in err
