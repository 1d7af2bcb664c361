"""What we make in clusters that are not ours goes again, also after `kill -9`.

A lease in the user's cache directory says which run, in which context, which namespace was lent, and who owns it. It is
taken before anything is made. `chroma-qualify clean`, and the next run on that context, delete what the run of a dead
owner left: namespaces and objects with that run's label, nothing else. No Docker engine is needed for it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from chroma_qualify.cluster.existing import Context, context_of, find_kubectl, write_copy
from chroma_qualify.cluster.images.store import cache_dir
from chroma_qualify.cluster.lease import boot_id, process_lives, start_time
from chroma_qualify.cluster.model import RUN_LABEL, Cluster, Guest
from chroma_qualify.errors import InfraError, QualifyError, UsageError

_LISTED = ("-o", "name", "--request-timeout=20s")  # a cluster that is away is not waited for long
_GONE = 300.0  # s until what was deleted must be gone: a server may have 90 s to stop


@dataclasses.dataclass(frozen=True, slots=True)
class GuestLease:
    """A run in a cluster that is not ours.

    Attributes:
        run: its id.
        context: of the kubeconfig.
        server: URL of the API server, to tell whether two runs are in one cluster.
        sources: the kubeconfig's files.
        namespace: the one that was lent; "": the run makes its own.
        kinds: what may be deleted in a lent one, as kubectl names it.
        pid, started, boot: the owner, as `lease.Lease` has them.
    """

    run: str
    context: str
    server: str
    sources: tuple[str, ...]
    namespace: str
    kinds: tuple[str, ...]
    pid: int
    started: int
    boot: str

    def owner_lives(self) -> bool:
        """Does the process of the run still run?"""
        return process_lives(self.pid, self.started, self.boot)

    @property
    def place(self) -> str:
        """For a person."""
        return f"the namespace {self.namespace} of context {self.context}" if self.namespace else self.context


def guest_dir(run_id: str) -> Path:
    """Where a run's lease and its private kubeconfig are."""
    return cache_dir() / "guests" / run_id


def enter(context: Context, guest: Guest, *, loader: str) -> Cluster:
    """Take a lease for this process and return the cluster; again, when more is known of the terms.

    Nothing is asked of the API server.

    Args:
        context: where.
        guest: on what terms.
        loader: image of helper pods, "" for none.

    Raises:
        UsageError: there is no kubectl.
    """
    kubectl = find_kubectl()
    place = guest_dir(guest.run)
    place.mkdir(parents=True, mode=0o700, exist_ok=True)
    pid = os.getpid()
    lease = GuestLease(
        run=guest.run,
        context=context.name,
        server=context.server,
        sources=tuple(map(str, context.sources)),
        namespace=guest.namespace,
        kinds=guest.kinds,
        pid=pid,
        started=start_time(pid),
        boot=boot_id(),
    )
    temporary = place / ".lease.json"
    temporary.write_text(json.dumps(dataclasses.asdict(lease)))
    temporary.replace(place / "lease.json")
    write_copy(context, place / "kubeconfig")  # after the lease: credentials that nobody would sweep must not stay
    return Cluster(context.name, place / "kubeconfig", kubectl, guest=guest, loader=loader)


def leave(run_id: str) -> None:
    """Forget a run that has left nothing."""
    shutil.rmtree(guest_dir(run_id), ignore_errors=True)


def read_guests() -> list[GuestLease]:
    """Every lease there is; one that cannot be read is left alone, for nobody knows what it is of."""
    found = []
    for path in sorted((cache_dir() / "guests").glob("*/lease.json")):
        try:
            document = json.loads(path.read_text())
            lists = {key: tuple(document[key]) for key in ("sources", "kinds")}
            found.append(GuestLease(**{**document, **lists}))
        except (OSError, ValueError, TypeError, KeyError):
            continue
    return found


def sweep_guests(say: Callable[[str], None], *, server: str = "") -> list[str]:
    """Delete what runs of dead owners left; returns what was deleted, for a person.

    Args:
        say: told what cannot be done; the lease stays then, and the next sweep tries again.
        server: only in the cluster with this API server; "": everywhere.
    """
    swept: list[str] = []
    for lease in read_guests():
        if lease.owner_lives() or (server and lease.server != server):
            continue
        try:
            swept += _sweep(lease)
        except QualifyError as error:
            say(
                f"run {lease.run} left something in {lease.place} that cannot be deleted now: {error.message}; "
                f"if that cluster is gone for good, delete {guest_dir(lease.run)}"
            )
            continue
        leave(lease.run)
    return swept


def delete_own(cluster: Cluster, *, timeout: float = _GONE) -> list[str]:
    """Delete all that a run has made, by its label, and wait until it is gone; returns the names.

    Raises:
        InfraError: it does not go, or may not be deleted.
    """
    guest = cluster.guest
    if guest is None:
        raise InfraError(f"cluster {cluster.name} is ours, nothing in it is deleted by a label")
    label = ["--selector", f"{RUN_LABEL}={guest.run}"]
    if not guest.namespace:
        names = cluster.run_kubectl("get", "namespaces", *label, *_LISTED).stdout.split()
        what: tuple[str, ...] = ("namespaces",)
        place: list[str] = []
    else:
        what, place = (",".join(guest.kinds),), [f"--namespace={guest.namespace}"]
        names = cluster.run_kubectl("get", *what, *label, *place, *_LISTED).stdout.split()
    if names:
        # In the foreground: an owner is gone when all that it owned is.
        words = ["--cascade=foreground", "--ignore-not-found", "--wait", f"--timeout={timeout:.0f}s"]
        cluster.run_kubectl("delete", *what, *label, *place, *words, timeout=timeout + 30)
    return names


def _sweep(lease: GuestLease) -> list[str]:
    place = guest_dir(lease.run)
    try:  # its owner may have got new credentials since; then those are better than the copy
        now = context_of([Path(source) for source in lease.sources], lease.context)
        if now.server == lease.server:
            write_copy(now, place / "kubeconfig")
    except UsageError:
        pass
    guest = Guest(lease.run, lease.namespace, kinds=lease.kinds)
    cluster = Cluster(lease.context, place / "kubeconfig", find_kubectl(), guest=guest)
    return [f"{name} in {lease.place}" for name in delete_own(cluster)]
