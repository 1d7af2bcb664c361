"""Where experiments take place: deployments that they share, the run's one history, and the judgement of each.

Made by the fixture `bench`, once for a file of scenarios. A deployment that did not come through an experiment is
replaced by a new one before the next: what one fault did must not be blamed on another.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack

from chroma_qualify.checks.run import ExperimentResult
from chroma_qualify.cluster.images.ensure import older_chromas
from chroma_qualify.cluster.kind import load_images
from chroma_qualify.cluster.model import Cluster
from chroma_qualify.deployment.access import Credentials
from chroma_qualify.deployment.apply import Deployed, apply, wait_ready
from chroma_qualify.deployment.forward import Forward, open_forward
from chroma_qualify.deployment.nodeway import NodeWay
from chroma_qualify.deployment.render import in_namespace
from chroma_qualify.deployment.volume import drop_volume, provide_volume
from chroma_qualify.errors import CandidateError, QualifyError, UndecidedError
from chroma_qualify.faults.base import the_server
from chroma_qualify.faults.experiment import FINAL_PATIENCE, Connect, Context, Done, perform
from chroma_qualify.faults.experiments import Experiment, Place
from chroma_qualify.faults.processes import find_server
from chroma_qualify.faults.strike import unavailable
from chroma_qualify.plugin.candidates import Candidates, chroma_image, with_chroma_image
from chroma_qualify.plugin.run import Run
from chroma_qualify.rejudge import judge_recorded
from chroma_qualify.workload.client import connect

_OPENING = 60.0  # seconds that opening a way may take, before anything is struck
PATIENCE = 1.0  # seconds that a new connection waits for a ready pod: clients of an outage are to see it
Namespace = Callable[[str], AbstractContextManager[str]]


class Bench:
    """The deployments of a file's experiments."""

    def __init__(
        self,
        run: Run,
        cluster: Cluster,
        candidates: Candidates,
        namespace: Namespace,
        evidence: Callable[[str], None],
        context: Context,
    ) -> None:
        """Deploy nothing yet.

        Args:
            run: told of progress.
            cluster: where.
            candidates: for the candidate.
            namespace: makes a fresh one, for as long as the block lasts.
            evidence: collects what there is in one, before it goes.
            context: of all experiments.
        """
        self._run = run
        self._cluster = cluster
        self._candidates = candidates
        self._namespace = namespace
        self._evidence = evidence
        self._context = context
        self._at: dict[Place, Deployed] = {}
        self._stacks: dict[Place, ExitStack] = {}
        self._failed: dict[Place, QualifyError] = {}
        self._numbers = itertools.count(1)

    def close(self) -> None:
        """Take all deployments away."""
        for place in list(self._stacks):
            self.abandon(place)

    def abandon(self, place: Place) -> None:
        """Take a deployment away; the next experiment gets a new one."""
        self._at.pop(place, None)
        stack = self._stacks.pop(place, ExitStack())
        if not self._run.options.keep:  # else it is there to be looked at
            stack.close()

    def deployed(self, place: Place = Place.VOLUME) -> Deployed:
        """The deployment of that kind, ready; made when it is first asked for.

        Raises:
            QualifyError: it does not get ready; the very same error each time, for it is not tried again.
        """
        if place in self._failed:
            raise self._failed[place]
        if place not in self._at:
            self._make_room()
            with ExitStack() as stack:
                namespace = stack.enter_context(self._namespace(f"{place.value}-{next(self._numbers)}"))
                try:
                    self._at[place] = self._deploy(place, namespace, stack)
                except QualifyError as error:
                    self._failed[place] = error
                    self._evidence(namespace)
                    raise
                self._stacks[place] = stack.pop_all()
        return self._at[place]

    def _make_room(self) -> None:
        """Where one namespace was lent to us there is room for one deployment."""
        if self._cluster.guest is not None and self._cluster.guest.namespace:
            for other in list(self._stacks):
                self.abandon(other)

    def why_not(self, experiment: Experiment) -> str | None:
        """Why an experiment cannot be done here, or None; what the place lacks is then also in faults.jsonl."""
        if never := self._candidates.why_not(self._candidates.load(), ""):
            return never
        if experiment.place is Place.OLDER:
            reason = no_upgrade(older_chromas()[-1], chroma_image(self._candidates.load()))
            if reason is None and self._cluster.guest is not None:
                reason = self._cannot_be_had(experiment.place)
        elif self._cluster.guest is not None and experiment.own_nodes:
            # Known without a deployment: what needs our own nodes asks for nothing else first.
            reason = experiment.fault.available(Deployed(self._cluster, self._candidates.load(), ""))
        else:
            reason = experiment.fault.available(self.deployed(experiment.place))
        if reason is not None:
            unavailable(experiment.fault, self._context.run_dir, experiment.name, reason)
        return reason

    def _cannot_be_had(self, place: Place) -> str | None:
        """Why a cluster that is not ours cannot run the older image; None if it can."""
        try:
            self.deployed(place)
        except UndecidedError as error:
            return f"this cluster cannot have an older Chroma: {error.message}"
        return None

    def perform(self, experiment: Experiment) -> Done:
        """Do an experiment; on any failure its deployment is given up."""
        deployed = self.deployed(experiment.place)
        try:
            with _way(experiment, deployed) as quick, _way(experiment, deployed, patience=FINAL_PATIENCE) as patient:
                connect_quickly, connect_patiently = (_connect(way, deployed.credentials) for way in (quick, patient))
                return perform(experiment, deployed, connect_quickly, self._context, connect_patiently)
        except BaseException:
            self._run.say(f"{deployed.namespace}: {experiment.name} ended before its time, this deployment is given up")
            self._evidence(deployed.namespace)
            self.abandon(experiment.place)
            raise

    def judge(self, experiment: Experiment) -> ExperimentResult:
        """Judge it from what was written, as `chroma-qualify check` will."""
        result = judge_recorded(self._context.run_dir, experiment.name)
        self._run.add_experiment(result)
        return result

    def _deploy(self, place: Place, namespace: str, stack: ExitStack) -> Deployed:
        candidate = in_namespace(self._candidates.load(), namespace)
        objects = candidate
        if place is Place.OLDER:
            image = older_chromas()[-1]
            load_images(self._cluster, (image,))
            older = with_chroma_image(candidate.objects, candidate.container, image)
            objects = dataclasses.replace(candidate, objects=older)
        elif candidate.claim is not None and self._cluster.nodes:
            stack.callback(drop_volume, provide_volume(self._cluster, candidate, namespace))
        try:
            deployed = apply(self._cluster, objects, namespace)
            seconds = wait_ready(deployed)
        except CandidateError as error:
            if place is Place.OLDER:  # it says nothing of the candidate
                raise UndecidedError(f"the older Chroma did not get ready: {error.message}") from error
            self._candidates.not_ready(candidate, error)
            raise
        self._candidates.ready(candidate)
        self._run.say(f"{namespace}: ready after {seconds:.1f} s")
        return dataclasses.replace(deployed, candidate=candidate)


def _connect(way: tuple[str, int], credentials: Credentials) -> Connect:
    return lambda patience: connect(*way, credentials=credentials, timeout=patience)


@contextlib.contextmanager
def _way(experiment: Experiment, deployed: Deployed, patience: float = PATIENCE) -> Iterator[tuple[str, int]]:
    """Host and port by which the clients of an experiment reach Chroma."""
    candidate = deployed.candidate
    if experiment.past_api_server:
        server = find_server(deployed, the_server(deployed))
        with NodeWay(server.node, server.pid, candidate.container_port) as way:
            yield way.host, way.port
        return
    with service_way(deployed, patience) as forward:
        yield forward.host, forward.port


def service_way(deployed: Deployed, patience: float = PATIENCE) -> Forward:
    """A forward to the Service, for clients that are to see its outages: only opening it has time."""
    candidate = deployed.candidate
    return open_forward(
        deployed.cluster,
        deployed.namespace,
        candidate.service,
        candidate.service_port,
        patience=patience,
        opening=_OPENING,
    )


def no_upgrade(older: str, newer: str) -> str | None:
    """Why there is no way up from one image to another, or None: their tags are versions, and rise."""
    tags = [image.partition("@")[0].rpartition("/")[2].partition(":")[2] for image in (older, newer)]
    if not all(re.fullmatch(r"\d+\.\d+\.\d+", tag) for tag in tags):
        return f"the image {newer} has no version as its tag, so it cannot be told whether {older} is older"
    first, second = (tuple(map(int, tag.split("."))) for tag in tags)
    return None if first < second else f"{newer} is not newer than {older}, and there is no way back"
