"""Whatever is changed in a backup, it is refused; whenever a run is killed, earlier backups are whole."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import chroma_tools
import hypothesis
import pytest
from chroma_tools import _target, backup, restore, verify
from chroma_tools._chroma import Chroma
from chroma_tools._format import BackupError, check
from hypothesis import strategies
from record_values import counted, everything


@pytest.fixture(scope="module")
def filled(source):
    with Chroma(f"http://127.0.0.1:{source.port}") as chroma:
        chroma.upsert(chroma.create_collection("one"), everything(120))
        chroma.upsert(chroma.create_collection("two"), counted(range(30)))
        chroma.create_collection("three")
    return source


@pytest.fixture(scope="module")
def whole(filled, tmp_path_factory):
    """A backup, to be damaged and mended again."""
    place = tmp_path_factory.mktemp("backups")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHROMA_URL", f"http://127.0.0.1:{filled.port}")
        backup.run(place, 1, ["default_tenant"])
    return place / _target.names(place)[0]


FILES = ("manifest.json", "manifest.sha256", "collection-0001.parquet", "collection-0003.parquet")


@hypothesis.given(data=strategies.data())
def test_a_changed_byte_is_found(whole, data):
    file = whole / data.draw(strategies.sampled_from(FILES))
    content = file.read_bytes()
    at = data.draw(strategies.integers(0, len(content) - 1))
    changed = bytearray(content)
    changed[at] ^= data.draw(strategies.integers(1, 255))
    _refused(whole, file, content, bytes(changed))


@hypothesis.given(data=strategies.data())
def test_a_truncated_or_extended_file_is_found(whole, data):
    file = whole / data.draw(strategies.sampled_from(FILES))
    content = file.read_bytes()
    other = data.draw(
        strategies.one_of(
            strategies.integers(0, len(content) - 1).map(lambda length: content[:length]),
            strategies.binary(min_size=1, max_size=9).map(lambda more: content + more),
        )
    )
    _refused(whole, file, content, other)


def _refused(whole, file, content, changed):
    assert check(whole).records == 150
    file.write_bytes(changed)
    try:
        with pytest.raises(BackupError, match=rf"^backup {whole.name} (is not what was taken|cannot be read)"):
            check(whole)
        with pytest.raises(BackupError):
            # Before it asks for Chroma: there is none at this address.
            restore.run(whole.parent, "latest")
    finally:
        file.write_bytes(content)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_found(whole, name):
    shutil.move(whole / name, whole.parent / "away")
    try:
        with pytest.raises(BackupError, match=rf"cannot be read: {name}: No such file"):
            check(whole)
        with pytest.raises(BackupError):
            verify.run(whole.parent, "all")
    finally:
        shutil.move(whole.parent / "away", whole / name)
    verify.run(whole.parent, "all")


def test_a_newer_format_is_refused(whole, tmp_path):
    """With a right digest: it is what was taken, but by a tool of the future."""
    import hashlib

    copy = tmp_path / whole.name
    shutil.copytree(whole, copy)
    manifest = json.loads((copy / "manifest.json").read_text()) | {"format": 2}
    (copy / "manifest.json").write_text(json.dumps(manifest))
    digest = hashlib.sha256((copy / "manifest.json").read_bytes()).hexdigest()
    (copy / "manifest.sha256").write_text(f"{digest}  manifest.json\n")
    with pytest.raises(BackupError, match="its format is 2, this tool reads 1"):
        check(copy)


def test_the_digests_are_what_sha256sum_takes(whole):
    assert subprocess.run(["sha256sum", "-c", "manifest.sha256"], cwd=whole, check=False).returncode == 0


KILLED = """
import os, signal, sys
from chroma_tools import _export, _format, _target, backup
def killing(place, name, after):
    real, left = getattr(place, name), [after]
    def instead(*args, **kwargs):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)
    setattr(place, name, instead)
where, name, after = sys.argv[1:]
killing(eval(where), name, int(after))
sys.argv = ["backup"]
sys.exit(backup.main())
"""
# where it is killed: when this is called for the n+1st time
STAGES = [
    ("backup.Chroma", "databases", 0),
    ("_format.RecordsFile", "write", 0),
    ("_format.RecordsFile", "write", 1),
    ("_format.RecordsFile", "finish", 1),
    ("backup", "write_manifest", 0),
    ("_format.os", "fsync", 3),
    ("_format", "sync_directory", 0),
    ("backup", "check", 0),
    ("backup.Path", "rename", 0),
    ("backup", "sync_directory", 0),
    ("_target", "prune", 0),
    ("_target.Path", "rename", 1),
    ("_target.shutil", "rmtree", 0),
    ("os", "rmdir", 0),
]


def own_environment(target):
    """For a process of its own: it finds the tools, and the tools the backups."""
    tools = Path(chroma_tools.__file__).parents[1]
    return {**os.environ, "BACKUPS_DIR": str(target), "PYTHONPATH": str(tools)}


@pytest.mark.parametrize(("where", "name", "after"), STAGES)
def test_a_killed_run_leaves_earlier_backups_as_they_were(filled, target, at, where, name, after):
    at(filled.port)
    for _ in range(2):
        backup.run(target, 2, ["default_tenant"])
    earlier = _target.names(target)
    digests = {one: check(target / one).digest for one in earlier}
    environment = {**own_environment(target), "BACKUPS_KEPT": "2"}
    done = subprocess.run([sys.executable, "-c", KILLED, where, name, str(after)], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL, "the stage was not reached: the control fails"

    there = _target.names(target)
    assert there[-1] >= earlier[-1]
    assert len(there) >= 2, "less is left than was to be kept"
    assert all(check(target / one).records == 150 for one in there)
    assert all(check(target / one).digest == digests[one] for one in there if one in digests)
    # The next one cleans up.
    backup.run(target, 2, ["default_tenant"])
    verify.run(target, "all")
    assert sorted(path.name for path in target.iterdir()) == [".lock", *_target.names(target)]
    assert len(_target.names(target)) == 2


def test_sigterm_cleans_up(filled, target, at):
    """The end of a pod's patience; as process 1 of a container there is no default action for it."""
    at(filled.port)
    program = (
        "import os, signal, sys; from chroma_tools import backup\n"
        "backup.write_manifest = lambda *_: os.kill(os.getpid(), signal.SIGTERM)\n"
        "sys.exit(backup.main())"
    )
    done = subprocess.run([sys.executable, "-c", program], env=own_environment(target), check=False)
    assert done.returncode == 128 + signal.SIGTERM
    assert [path.name for path in target.iterdir()] == [".lock"]


def test_only_own_names_are_deleted(target, filled, at):
    at(filled.port)
    strangers = ["notes.txt", "backup-of-mine", "backup-20200101T000000Z", "x.partial", "lost+found"]
    for name in strangers:
        (target / name).mkdir()
    link = target / "backup-20200101T000000.000Z"
    link.symlink_to(target / "notes.txt")
    (target / "backup-20200101T000000.001Z.partial").mkdir()
    for _ in range(3):
        backup.run(target, 1, ["default_tenant"])
    kept = _target.names(target)
    assert len(kept) == 1
    assert sorted(path.name for path in target.iterdir()) == sorted([".lock", *strangers, link.name, *kept])


def test_backups_of_an_empty_chroma_do_not_push_out_the_others(filled, empty, target, at):
    at(filled.port)
    for _ in range(2):
        backup.run(target, 2, ["default_tenant"])
    good = _target.names(target)
    at(empty.port)
    for _ in range(4):
        backup.run(target, 2, ["default_tenant"])
    assert _target.names(target)[:2] == good
    assert len(_target.names(target)) == 4


def test_runs_exclude_each_other(filled, target, at, monkeypatch, capsys):
    at(filled.port)
    monkeypatch.setenv("BACKUPS_DIR", str(target))
    monkeypatch.setenv("HOSTNAME", "the-other-pod")
    backup.run(target, 2, ["default_tenant"])
    before = _target.names(target)
    with _target.locked(target):
        for main in (backup.main, verify.main, restore.main):
            monkeypatch.setattr(sys, "argv", ["chroma_tools"])
            assert main() == 3
            assert capsys.readouterr().err.startswith(f"another run uses {target}: the-other-pod, since 2")
    with _target.locked(target, shared=True):
        verify.run(target, "all")
        assert backup.main() == 3
    assert _target.names(target) == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting asks for root")
def test_a_full_target_loses_nothing(filled, target, at, monkeypatch, capsys):
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "none", target], check=False)
    if mounted.returncode != 0:
        pytest.skip("this machine does not let us mount")
    try:
        at(filled.port)
        backup.run(target, 2, ["default_tenant"])
        before = {one: check(target / one).digest for one in _target.names(target)}
        (target / "ballast").write_bytes(b"x" * (shutil.disk_usage(target).free - 8192))
        monkeypatch.setenv("BACKUPS_DIR", str(target))
        assert backup.main() == 1
        said = capsys.readouterr().err
        assert f"the backup target {target} is full" in said
        assert said.count("\n") == 1, said
        assert {one: check(target / one).digest for one in _target.names(target)} == before
        assert sorted(path.name for path in target.iterdir()) == sorted([".lock", "ballast", *before])
    finally:
        subprocess.run(["umount", target], check=True)


def test_a_target_that_is_not_there(tmp_path, at, filled, monkeypatch, capsys):
    at(filled.port)
    (tmp_path / "file").touch()
    for place in (tmp_path / "none", tmp_path / "file"):
        monkeypatch.setenv("BACKUPS_DIR", str(place))
        monkeypatch.setattr(sys, "argv", ["chroma_tools"])
        for main in (backup.main, verify.main, restore.main):
            assert main() == 1
            assert f"the backup target {place} is not there" in capsys.readouterr().err
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setenv("BACKUPS_DIR", str(empty))
    assert verify.main() == 1
    assert f"there is no backup in {empty}" in capsys.readouterr().err


def test_names_sort_by_time():
    assert _target.new_name(datetime(2026, 11, 25, 9, 5, 7, 4999, tzinfo=UTC)) == "backup-20261125T090507.004Z"
