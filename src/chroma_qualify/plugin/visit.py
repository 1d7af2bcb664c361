"""A run in a cluster that is not ours: what must hold before anything is made there, and that all goes again.

    hooks.pytest_sessionstart → `visit`: rights, what the cluster lacks, the question to the user, what a dead run left
    fixture `cluster`         → `Visit.used`
    after the last fixture    → `Visit.end`: what is left is deleted, by its label, and the lease with it

Whatever is wrong is said before anything is made, in one sentence.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from chroma_qualify.cluster.existing import Context, find_context
from chroma_qualify.cluster.guests import delete_own, enter, leave, sweep_guests
from chroma_qualify.cluster.model import Cluster, Guest
from chroma_qualify.cluster.rights import Right, facts, missing, read_rights
from chroma_qualify.deployment.objects import Candidate, of_kind
from chroma_qualify.errors import InfraError, UsageError
from chroma_qualify.findings import Finding, Severity
from chroma_qualify.plugin.options import Options
from chroma_qualify.plugin.run import Run

ROLE = Path("manifests") / "rbac" / "run-role.yaml"
CLUSTER_ROLE = Path("manifests") / "rbac" / "run-cluster.yaml"
RUN_ROLE = "chroma-qualify-run"  # in both files
_NOWHERE = "cq-asked-for"  # a namespace that is not there: to ask what we may do in one that we make
# What every namespace has, or what its owner needs to lend it.
_THEIRS = {"ConfigMap": {"kube-root-ca.crt", "openshift-service-ca.crt", "istio-ca-root-cert"}}
_THEIR_SECRETS = {
    "kubernetes.io/service-account-token", "kubernetes.io/dockercfg", "kubernetes.io/dockerconfigjson",
}  # fmt: skip
_SHOWN = 6  # of a list, in a sentence


class Visit:
    """The cluster, from its lease to its end."""

    def __init__(self, cluster: Cluster, lacks: Sequence[str]) -> None:
        """Begin nothing.

        Args:
            cluster: its lease is ours.
            lacks: what it has not, one sentence each.
        """
        self.cluster = cluster
        self.lacks = tuple(lacks)
        self.begun = self.over = False

    @contextlib.contextmanager
    def used(self, run: Run) -> Iterator[Cluster]:
        """The cluster, for as long as the block lasts."""
        self.begun = True
        for lack in self.lacks:
            run.say(f"context {self.cluster.name}: {lack}")
            run.add_finding(Finding("cluster-lacks", Severity.NOTE, f"context {self.cluster.name}: {lack}"))
        try:
            yield self.cluster
        finally:
            run.say(f"context {self.cluster.name}: deleting what is left of the run")
            with run.part("teardown"):
                self.end()

    def end(self) -> None:
        """Delete what is left of the run's, wait for it, and give the lease back.

        Raises:
            InfraError: something stays; the lease does so, too, and `chroma-qualify clean` tries again.
        """
        guest = self.cluster.guest
        assert guest is not None
        try:
            delete_own(self.cluster)
        except InfraError as error:
            raise InfraError(
                f"something of the run is left in context {self.cluster.name}: {error.message}",
                remedy="`chroma-qualify clean` tries again",
            ) from error
        self.forget()

    def forget(self) -> None:
        """Give the lease back: nothing was made, or all of it is gone."""
        if self.cluster.guest is not None and not self.over:
            self.over = True
            leave(self.cluster.guest.run)


def visit(
    options: Options,
    run_id: str,
    candidate: Candidate,
    root: Path,
    say: Callable[[str], None],
    confirm: Callable[[str], bool],
) -> Visit:
    """Prepare for a run in the cluster of `options.context`.

    Args:
        options: with a context.
        run_id: its id, part of every name and label.
        candidate: what is deployed by default.
        root: of the repository, for the role files.
        say: told what happens.
        confirm: asks the user; not called with `--yes`.

    Raises:
        UsageError: rights are missing, the lent namespace is in use, or the user does not want to.
        InfraError: the API server does not answer.
    """
    context = find_context(options.kubeconfig, str(options.context))
    rights = read_rights(root / ROLE, "Role")
    lent = options.namespace or ""
    loader = options.loader_image or ""
    cluster = enter(context, Guest(run_id, lent), loader=loader)
    try:
        known = _kinds(cluster, context)
        # Of what the cluster does not have, such as Prometheus' kinds, no right is needed.
        rights = tuple(right for right in rights if _name(right).replace(_sub(right), "") in known)
        rights = (*rights, *_rights_of(candidate, known, rights))
        role = _role(cluster, lent, rights, root)
        kinds = tuple(sorted({_name(right) for right in rights if right.verb == "delete"} & set(known)))
        lacks = tuple(facts(cluster, _storage_class(candidate)))
        if not options.yes:
            made = sorted({str(item["kind"]) for item in candidate.objects if item["kind"] != "Namespace"})
            _refuse_no(confirm(context.question(lent, made)))
        for gone in sweep_guests(say, server=context.server):
            say(f"{gone}: left behind by an earlier run, deleted")
        if lent:
            _refuse_full(cluster, lent, kinds)
        return Visit(enter(context, Guest(run_id, lent, role, kinds), loader=loader), lacks)
    except BaseException:
        leave(run_id)
        raise


def ask(config: pytest.Config, question: str) -> bool:
    """Put a question to whoever started the run.

    Raises:
        UsageError: there is no terminal to ask at.
    """
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is not None:
        capture.suspend_global_capture(in_=True)
    try:
        if not sys.stdin.isatty():
            raise UsageError(f"{question} There is no terminal to confirm it at", remedy="give --yes to confirm it")
        sys.stderr.write(f"{question}\nGo on? [y/N] ")
        sys.stderr.flush()
        return sys.stdin.readline().strip().lower() in {"y", "yes"}
    finally:
        if capture is not None:
            capture.resume_global_capture()


def _refuse_no(answer: bool) -> None:
    if not answer:
        raise UsageError("nothing was made: the question was not answered with yes", remedy="--yes answers it")


def _role(cluster: Cluster, lent: str, rights: Sequence[Right], root: Path) -> str:
    """The ClusterRole to bind in each namespace that we make; "" where our rights reach there anyway."""
    lacking = missing(cluster, lent or _NOWHERE, rights)
    if lent:
        if lacking:
            raise _refused(lent, lacking, ROLE)
        return ""
    spaces = read_rights(root / CLUSTER_ROLE, "ClusterRole")
    own = [right for right in spaces if right.resource in {"namespaces", "rolebindings", "clusterroles"}]
    wanted = own if lacking else [right for right in own if right.resource == "namespaces"]
    if refused := missing(cluster, _NOWHERE, wanted):
        raise _refused("", refused, CLUSTER_ROLE)
    extra = [right for right in lacking if right not in read_rights(root / ROLE, "Role")]
    if extra:
        raise _refused("its own namespaces", extra, CLUSTER_ROLE)
    return RUN_ROLE if lacking else ""


def _refused(where: str, lacking: Sequence[Right], file: Path) -> UsageError:
    shown = ", ".join(map(str, lacking[:_SHOWN]))
    more = f" and {len(lacking) - _SHOWN} more" if len(lacking) > _SHOWN else ""
    return UsageError(
        f"this account lacks rights that a run needs{f' in {where}' if where else ' in the cluster'}: {shown}{more}",
        remedy=f"give it those of {file}",
    )


def _kinds(cluster: Cluster, context: Context) -> Mapping[str, tuple[str, str]]:
    """Of every namespaced kind that is served: kubectl's name for it, to group and kind."""
    found: dict[str, tuple[str, str]] = {}
    words = ["--namespaced", "--no-headers", "--cached=false", "--request-timeout=20s"]
    done = cluster.run_kubectl("api-resources", *words, check=False, timeout=90)
    for line in done.stdout.splitlines():
        words = line.split()
        if len(words) >= 4:
            group = words[-3].rpartition("/")[0]
            found[f"{words[0]}.{group}" if group else words[0]] = (group, words[-1])
    if not found:
        said = " ".join(done.stderr.split())[-300:]
        raise InfraError(f"the API server of context {context.name} ({context.server}) does not answer: {said}")
    return found


def _rights_of(candidate: Candidate, known: Mapping[str, tuple[str, str]], rights: Sequence[Right]) -> Iterator[Right]:
    """Rights on kinds of the candidate that the role file does not have."""
    by_kind = {(group, kind): name for name, (group, kind) in known.items()}
    names = {_name(right) for right in rights}
    for item in candidate.objects:
        group = item["apiVersion"].rpartition("/")[0]
        name = by_kind.get((group, item["kind"]))  # None: it is left out, see `deployment.fit`
        if name is not None and name not in names:
            names.add(name)
            for verb in ("get", "list", "watch", "create", "patch", "delete"):
                yield Right(group, name.partition(".")[0], verb)


def _sub(right: Right) -> str:
    """Its subresource with the slash, or ""."""
    return "".join(right.resource.partition("/")[1:])


def _name(right: Right) -> str:
    return f"{right.resource}.{right.group}" if right.group else right.resource


def _storage_class(candidate: Candidate) -> str | None:
    for claim in of_kind(candidate.objects, "PersistentVolumeClaim"):
        if claim["metadata"]["name"] == candidate.claim:
            name = claim["spec"].get("storageClassName")
            return str(name) if name else None
    return None


def _refuse_full(cluster: Cluster, namespace: str, kinds: Sequence[str]) -> None:
    """The lent namespace must be empty of what is not ours, for ours would meet it."""
    done = cluster.run_kubectl("get", ",".join(kinds), f"--namespace={namespace}", "-o", "json", timeout=60)
    items = json.loads(done.stdout)["items"]
    if not any(item["kind"] == "ServiceAccount" for item in items):  # every namespace has one
        raise UsageError(f"there is no namespace {namespace}", remedy="make it, empty, and lend it to the run")
    found = [f"{item['kind']} {item['metadata']['name']}" for item in items if not _theirs(item)]
    if found:
        shown = f"{', '.join(found[:_SHOWN])}{f' and {len(found) - _SHOWN} more' if len(found) > _SHOWN else ''}"
        raise UsageError(
            f"the namespace {namespace} is not empty, there is: {shown}",
            remedy="lend a namespace that has no other use; nothing was touched",
        )


def _theirs(item: Mapping[str, Any]) -> bool:
    """Is it what every namespace has, or what is needed to lend it?"""
    name = str(item["metadata"]["name"])
    return (
        item["kind"] == "ServiceAccount"
        or name in _THEIRS.get(item["kind"], set())
        or (item["kind"] == "Secret" and item.get("type") in _THEIR_SECRETS)
    )
