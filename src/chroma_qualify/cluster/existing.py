"""A cluster that is not ours, by a context of somebody's kubeconfig.

Used by the plugin for `--cluster`, and by `guests` to clean up. The kubeconfig is only ever read: kubectl and our
clients get a private copy with that one context in it, so that nobody's `kubectl config use-context` meanwhile sends a
run elsewhere.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from chroma_qualify.cluster.images.catalog import load_catalog
from chroma_qualify.cluster.images.golang import program_dir
from chroma_qualify.cluster.model import RUN_LABEL
from chroma_qualify.errors import UsageError

CURRENT = "current-context"
_VARIABLE = "KUBECONFIG"
_DEFAULT = Path("~/.kube/config")
_KINDS = {"contexts": "context", "clusters": "cluster", "users": "user"}  # list to the key of an entry
_PATHS = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
_PRIVATE = 0o600  # the copy holds what the original holds, credentials too


@dataclasses.dataclass(frozen=True, slots=True)
class Context:
    """One context of a kubeconfig, by itself.

    Attributes:
        name: its name.
        server: the API server's URL.
        sources: the files it was looked for in.
        document: a kubeconfig with this context only; paths in it are absolute.
    """

    name: str
    server: str
    sources: tuple[Path, ...]
    document: Mapping[str, Any] = dataclasses.field(repr=False)

    def question(self, lent: str = "", kinds: Sequence[str] = ()) -> str:
        """What whoever starts a run there must agree to.

        Args:
            lent: the namespace that the run is to stay in; "": it makes its own.
            kinds: of the candidate's objects, as far as they are known.
        """
        where = f"uses the namespace {lent}" if lent else f"makes namespaces cq-… of its own (label {RUN_LABEL})"
        what = f"the candidate ({', '.join(kinds)})" if kinds else "the candidate"
        return (
            f"This run goes to the context {self.name}, {self.server}: it {where}, deploys {what} there, starts helper "
            "pods, and breaks Chroma on purpose; at its end it deletes what it made, and it touches nothing else."
        )


def find_context(kubeconfig: Path | None, wanted: str) -> Context:
    """Look a context up as kubectl would.

    Args:
        kubeconfig: a file; None: those of KUBECONFIG, else ~/.kube/config.
        wanted: its name, or `current-context`.

    Raises:
        UsageError: no such file or context, or a context that lacks its cluster or user.
    """
    sources = (kubeconfig,) if kubeconfig else _usual_files()
    return context_of(sources, wanted)


def context_of(sources: Sequence[Path], wanted: str) -> Context:
    """The same from these files; raises UsageError likewise."""
    entries, current = _merged(sources)
    names = ", ".join(sorted(entries["contexts"])) or "none"
    where = " and ".join(map(str, sources))
    name = current if wanted == CURRENT else wanted
    if not name:
        raise UsageError(f"{where} has no current context", remedy=f"name one with --cluster; there are: {names}")
    if name not in entries["contexts"]:
        raise UsageError(f"{where} has no context {name}", remedy=f"there are: {names}")
    context = entries["contexts"][name][0]
    parts: dict[str, Any] = {"contexts": [{"name": name, "context": {"cluster": name, "user": name}}]}
    for kind, key in (("clusters", "cluster"), ("users", "user")):
        of_context = str(context.get(key, ""))
        if of_context not in entries[kind]:
            raise UsageError(f"the context {name} of {where} names the {key} {of_context!r}, which is not there")
        value, base = entries[kind][of_context]
        parts[kind] = [{"name": name, key: _absolute(value, base)}]
    server = str(parts["clusters"][0]["cluster"].get("server", ""))
    if not server:
        raise UsageError(f"the cluster of context {name} in {where} has no server")
    document = {"apiVersion": "v1", "kind": "Config", "current-context": name, **parts}
    return Context(name, server, tuple(path.absolute() for path in sources), document)


def write_copy(context: Context, path: Path) -> None:
    """Write a kubeconfig with this context only, for its owner's eyes only."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        yaml.safe_dump(dict(context.document), file)


def find_kubectl() -> Path:
    """PATH's kubectl, else one that was built for a cluster of ours.

    Raises:
        UsageError: there is none.
    """
    if there := shutil.which("kubectl"):
        return Path(there)
    modules = load_catalog().go
    for name in ("kubernetes", "kubectl"):
        program = program_dir(modules[name]) / "kubectl"
        if os.access(program, os.X_OK):
            return program
    raise UsageError("kubectl is not on PATH", remedy="install it: it is what talks to your cluster")


def _usual_files() -> tuple[Path, ...]:
    named = [Path(name) for name in os.environ.get(_VARIABLE, "").split(os.pathsep) if name]
    return tuple(named) or (_DEFAULT.expanduser(),)


def _merged(sources: Sequence[Path]) -> tuple[dict[str, dict[str, tuple[Any, Path]]], str]:
    """Entries by kind and name, each with its file's directory, and the current context; who names it first wins."""
    entries: dict[str, dict[str, tuple[Any, Path]]] = {kind: {} for kind in _KINDS}
    current, read = "", 0
    for source in sources:
        with contextlib.suppress(FileNotFoundError):  # of several, as with kubectl, some may be missing
            document = _read(source)
            read += 1
            current = current or str(document.get("current-context") or "")
            for kind, key in _KINDS.items():
                for entry in document.get(kind) or ():
                    entries[kind].setdefault(str(entry["name"]), (entry.get(key) or {}, source.absolute().parent))
    if not read:
        where = " and ".join(map(str, sources))
        raise UsageError(f"there is no kubeconfig {where}", remedy="name it with --kubeconfig")
    return entries, current


def _read(path: Path) -> Mapping[str, Any]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UsageError(f"{path} cannot be read as a kubeconfig: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict) or not all(
        isinstance(entry, dict) and "name" in entry for kind in _KINDS for entry in document.get(kind) or ()
    ):
        raise UsageError(f"{path} is no kubeconfig")
    return document


def _absolute(value: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """An entry whose files are found from anywhere; a plugin that is named without a directory is on PATH."""
    found = dict(value)
    for key in _PATHS:
        if found.get(key):
            found[key] = str(base / str(found[key]))
    plugin = found.get("exec")
    if isinstance(plugin, dict) and os.sep in str(plugin.get("command", "")):
        found["exec"] = {**plugin, "command": str(base / str(plugin["command"]))}
    return found
