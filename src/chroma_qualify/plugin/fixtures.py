"""What scenarios use: a cluster, a namespace each, a deployed candidate, a way to reach it, a way to report.

Scope `module_…` is for scenarios that go in sequence on one deployment; apart from that the two do the same.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from chroma_qualify.cluster.images.ensure import Source, find_images
from chroma_qualify.cluster.kind import ClusterConfig, ephemeral_cluster, find_cluster
from chroma_qualify.cluster.model import Cluster
from chroma_qualify.deployment.apply import Deployed, apply, wait_ready
from chroma_qualify.deployment.forward import Forward, open_forward
from chroma_qualify.deployment.objects import Candidate
from chroma_qualify.deployment.render import in_namespace
from chroma_qualify.errors import CandidateError, InfraError, QualifyError
from chroma_qualify.findings import Finding, Severity
from chroma_qualify.observe.recorder import Observer
from chroma_qualify.plugin.candidates import DEFAULT_TOPOLOGY
from chroma_qualify.plugin.hooks import CANDIDATES, RUN, VISIT
from chroma_qualify.plugin.lane import second_lane
from chroma_qualify.plugin.namespaces import fresh_namespace
from chroma_qualify.plugin.options import Options
from chroma_qualify.plugin.run import Run, ScenarioState
from chroma_qualify.report.console import how_to_reach
from chroma_qualify.report.verdict import Matrix, MatrixCell, Measure

if TYPE_CHECKING:
    from chroma_qualify.faults.experiment import Context
    from chroma_qualify.plugin.bench import Bench
    from chroma_qualify.plugin.promotions import Promotions
    from chroma_qualify.workload.recorder import Recorder

_CREATE_USUALLY = 40  # seconds, on 2 cores


class Deploy(Protocol):
    """`deploy("single-writer")`: render, apply, wait until it is ready."""

    def __call__(self, topology: str = DEFAULT_TOPOLOGY) -> Deployed:
        """Raises CandidateError if it does not get ready; skips where the candidate has not what is needed."""


class Report:
    """What a scenario says beside its assertions; it goes on, and any finding fails it at its end."""

    def __init__(self, state: ScenarioState) -> None:
        self._state = state

    def fail(
        self, rule: str, message: str, *, evidence: object = "", remedy: str = "", collection: str | None = None
    ) -> None:
        """The candidate broke a rule."""
        self._add(Finding(rule, Severity.FAIL, message, str(evidence), remedy, collection=collection))

    def unknown(
        self, rule: str, message: str, *, evidence: object = "", remedy: str = "", collection: str | None = None
    ) -> None:
        """Something could not be decided: a control failed, a fault has no proof."""
        self._add(Finding(rule, Severity.UNKNOWN, message, str(evidence), remedy, collection=collection))

    def note(self, rule: str, message: str, *, evidence: object = "", remedy: str = "") -> None:
        """What must be known before promoting, and fails nothing."""
        self._add(Finding(rule, Severity.NOTE, message, str(evidence), remedy))

    def measure(self, name: str, value: float, unit: str = "") -> None:
        """A number for the verdict's table."""
        self._state.measures.append(Measure(name, float(value), unit))

    def matrix(
        self, name: str, rows: Sequence[str], columns: Sequence[str], cells: Sequence[Sequence[MatrixCell | None]]
    ) -> None:
        """A table of what was promised and what was seen; it judges nothing by itself.

        Raises:
            ValueError: it has not a cell, or None, for each row and column.
        """
        if [len(row) for row in cells] != [len(columns)] * len(rows):
            raise ValueError(f"matrix {name} must have {len(rows)} rows of {len(columns)} cells")
        whole = tuple(tuple(row) for row in cells)
        self._state.matrices.append(Matrix(name, self._state.name, tuple(rows), tuple(columns), whole))

    def add(self, *findings: Finding) -> None:
        """What a check found, as it is."""
        for finding in findings:
            self._add(finding)

    def _add(self, finding: Finding) -> None:
        self._state.findings.append(dataclasses.replace(finding, scenario=self._state.name))


@pytest.fixture(scope="session")
def run(request: pytest.FixtureRequest) -> Run:
    """The run itself: `say`, `part`, `options`."""
    return request.config.stash[RUN]


@pytest.fixture(scope="session")
def run_dir(run: Run) -> Path:
    """Where the evidence goes."""
    return run.directory


@pytest.fixture(scope="session")
def seed(run: Run) -> int:
    """All data of scenarios derives from it."""
    return run.options.seed


@pytest.fixture(scope="session")
def cluster_config(run: Run) -> ClusterConfig:
    """What cluster was asked for."""
    options = run.options
    return ClusterConfig(
        name=options.cluster_name,
        workers=options.nodes - 1,
        k8s_version=options.k8s_version,
        chroma_version=options.chroma_version,
        images=options.images,
        keep=options.keep,
        kind=options.kind,
        kubectl=options.kubectl,
        evidence=run.directory / "logs" / "cluster",
    )


@pytest.fixture(scope="session")
def cluster(run: Run, cluster_config: ClusterConfig, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """The cluster, its add-ons ready; deleted at the end unless `--keep-cluster` or `--use-cluster`."""
    options = run.options
    if options.context:
        with request.config.stash[VISIT].used(run) as cluster:
            run.versions["kubernetes"] = _server_version(cluster)
            run.images = "existing"
            _settle(run, cluster, request)
            yield cluster
        return
    if options.use_cluster:
        cluster = _with_loader(find_cluster(options.use_cluster), options)
        _note_versions(run, cluster)
        _settle(run, cluster, request)
        run.say(f"cluster {cluster.name}: used as it is")
        with second_lane(request.session, cluster.name):
            yield cluster
        return
    life = ephemeral_cluster(cluster_config, run.say)
    run.say(f"cluster: creating, {options.nodes} node(s) (usually {_CREATE_USUALLY} s)")
    try:
        with run.part("cluster create"):
            cluster = _with_loader(life.__enter__(), options)
    except Exception as error:
        if isinstance(error, InfraError) or not isinstance(error, QualifyError):
            raise
        raise InfraError(error.message, remedy=error.remedy, evidence=error.evidence) from error
    try:
        _note_versions(run, cluster)
        _settle(run, cluster, request)
        run.say(f"cluster {cluster.name}: ready")
        with second_lane(request.session, cluster.name):
            yield cluster
    finally:
        run.say(f"cluster {cluster.name}: {'kept' if options.keep else 'deleting'}")
        with run.part("teardown"):
            life.__exit__(None, None, None)
    if options.keep:
        sandboxed = "chroma-qualify" in os.environ.get("DOCKER_HOST", "")
        run.say(f"look at it:  {how_to_reach(cluster.kubeconfig, cluster.kubectl, sandboxed=sandboxed)}")
        run.say("delete it:   make down")


@pytest.fixture(scope="session")
def observer(run: Run, cluster: Cluster, run_dir: Path) -> Iterator[Observer]:
    """Writes timeline.jsonl and every container's log from its birth."""
    with Observer(cluster, run_dir, run.clock) as observer:
        try:
            yield observer
        finally:
            run.digests |= observer.digests()


@pytest.fixture
def namespace(run: Run, cluster: Cluster, observer: Observer, request: pytest.FixtureRequest) -> Iterator[str]:
    """A fresh namespace that enforces Pod Security `restricted`."""
    with fresh_namespace(run, cluster, observer, request.node, request.node.name) as name:
        yield name


@pytest.fixture(scope="module")
def module_namespace(run: Run, cluster: Cluster, observer: Observer, request: pytest.FixtureRequest) -> Iterator[str]:
    """The same, shared by the scenarios of a file."""
    with fresh_namespace(run, cluster, observer, request.node, request.node.name) as name:
        yield name


@pytest.fixture(scope="session")
def recorder(run: Run) -> Iterator[Recorder]:
    """The one writer of this run's history.jsonl."""
    from chroma_qualify.workload.recorder import Recorder

    with Recorder(run.directory / "history.jsonl", run.clock) as recorder:
        yield recorder


@pytest.fixture(scope="module")
def bench(
    run: Run, cluster: Cluster, observer: Observer, recorder: Recorder, request: pytest.FixtureRequest
) -> Iterator[Bench]:
    """Deployments for experiments, shared by a file."""
    from chroma_qualify.faults.experiment import Context  # these import chromadb
    from chroma_qualify.plugin.bench import Bench

    def namespace(words: str) -> contextlib.AbstractContextManager[str]:
        return fresh_namespace(run, cluster, observer, request.node, words)

    context = Context(recorder, run.clock, run.directory, run.options.seed)
    bench = Bench(run, cluster, request.config.stash[CANDIDATES], namespace, observer.collect, context)
    try:
        yield bench
    finally:
        bench.close()


@pytest.fixture(scope="module")
def promotion(
    run: Run, cluster: Cluster, module_namespace: str, recorder: Recorder, request: pytest.FixtureRequest
) -> Promotions:
    """The baseline, deployed and ready, and the candidate that is to follow; shared by a file."""
    from chroma_qualify.faults.experiment import Context
    from chroma_qualify.plugin.promotions import Promotions, promotion_pair

    pair = promotion_pair(run, cluster, request.config.stash[CANDIDATES], request.config.rootpath)
    before, after = (in_namespace(each, module_namespace) for each in pair)
    context = Context(recorder, run.clock, run.directory, run.options.seed)
    promotions = Promotions(run, cluster, (before, after), context)
    promotions.begin()
    return promotions


@pytest.fixture
def writers_context(run: Run, request: pytest.FixtureRequest) -> Iterator[Context]:
    """Where writes to several servers are recorded: for a candidate in the run's own history, which they may fail.

    For a shipped topology that must fail, in a place of its own, which `chroma-qualify check` can judge as well.
    """
    from chroma_qualify.faults.experiment import Context
    from chroma_qualify.faults.experiments import SCALED_OUT_WRITES, scaled_out_writes
    from chroma_qualify.workload.recorder import Recorder

    if run.options.manifests:
        yield Context(request.getfixturevalue("recorder"), run.clock, run.directory, run.options.seed)
        return
    number = request.getfixturevalue("repetition")
    place = run.directory / "expected" / (f"{SCALED_OUT_WRITES}-{number}" if number > 1 else SCALED_OUT_WRITES)
    place.mkdir(parents=True)
    plan = {"experiments": [scaled_out_writes(by_load=False)]}
    (place / "plan.json").write_text(json.dumps(plan, indent=2) + "\n", encoding="utf-8")
    with Recorder(place / "history.jsonl", run.clock) as recorder:
        yield Context(recorder, run.clock, place, run.options.seed)


@pytest.fixture(scope="session")
def candidate(request: pytest.FixtureRequest) -> Callable[[str], Candidate]:
    """`candidate("single-writer")`: the manifests, not deployed; skips as `deploy` does."""
    return _candidate_loader(request)


@pytest.fixture
def deploy(run: Run, cluster: Cluster, namespace: str, request: pytest.FixtureRequest) -> Deploy:
    """Deploy into this scenario's namespace."""
    return _deployer(run, cluster, namespace, request)


@pytest.fixture(scope="module")
def module_deploy(run: Run, cluster: Cluster, module_namespace: str, request: pytest.FixtureRequest) -> Deploy:
    """Deploy into this file's namespace."""
    return _deployer(run, cluster, module_namespace, request)


@pytest.fixture
def forward() -> Iterator[Callable[[Deployed], Forward]]:
    """`forward(deployed)`: an open way to its Service; one per deployment, closed at the end."""
    opened: dict[str, Forward] = {}
    with contextlib.ExitStack() as stack:

        def to(deployed: Deployed) -> Forward:
            if deployed.namespace not in opened:
                candidate = deployed.candidate
                way = open_forward(deployed.cluster, deployed.namespace, candidate.service, candidate.service_port)
                opened[deployed.namespace] = stack.enter_context(way)
            return opened[deployed.namespace]

        yield to


@pytest.fixture
def chroma(forward: Callable[[Deployed], Forward]) -> Callable[..., Any]:
    """`chroma(deployed, tenant=…, database=…)`: a chromadb client over a forward."""
    from chroma_qualify.workload.client import connect  # importing chromadb takes seconds

    def client(deployed: Deployed, **options: Any) -> Any:  # noqa: ANN401 (chromadb's own type)
        way = forward(deployed)
        return connect(way.host, way.port, **{"credentials": deployed.credentials, **options})

    return client


@pytest.fixture(scope="session")
def load_pods(run: Run) -> int:
    """How many pods send the load together."""
    return max(run.options.load_pods, 1)


@pytest.fixture
def report(run: Run, request: pytest.FixtureRequest) -> Report:
    """Soft findings and measures of this scenario."""
    return Report(run.scenario(request.node.nodeid))


def _with_loader(cluster: Cluster, options: Options) -> Cluster:
    """The cluster, and the image that was named for helper pods."""
    return dataclasses.replace(cluster, loader=options.loader_image) if options.loader_image else cluster


def _note_versions(run: Run, cluster: Cluster) -> None:
    """What runs, for the verdict."""
    options = run.options
    run.versions["kubernetes"] = _server_version(cluster)
    try:
        images = find_images(Source(options.images), options.k8s_version or None, options.chroma_version or None)
    except InfraError:
        if not options.use_cluster:  # that one may have been made of images that are defined otherwise by now
            raise
    else:
        run.images = images.source.value


def _settle(run: Run, cluster: Cluster, request: pytest.FixtureRequest) -> None:
    """The candidate as this cluster can have it, and what there is to say of that; the first lane says it."""
    candidates = request.config.stash[CANDIDATES]
    notes = candidates.settle(cluster, pulls=run.images != Source.PACKAGES.value)
    run.refused = candidates.refused
    if run.options.beside_of:
        return
    for finding in (*notes, *([run.refused] if run.refused else ())):
        run.say(f"{finding.severity.value}: {finding.rule}: {finding.message}")
    for finding in notes:
        run.add_finding(finding)


def _server_version(cluster: Cluster) -> str:
    """What the API server says of itself, e.g. `1.37.2`."""
    told = json.loads(cluster.run_kubectl("version", "--output=json").stdout)
    return str(told["serverVersion"]["gitVersion"]).removeprefix("v")


def _candidate_loader(request: pytest.FixtureRequest) -> Callable[[str], Candidate]:
    candidates = request.config.stash[CANDIDATES]

    def load(topology: str = DEFAULT_TOPOLOGY) -> Candidate:
        candidate = candidates.load(topology)
        if why_not := candidates.why_not(candidate, topology):
            pytest.skip(why_not)
        return candidate

    return load


def _deployer(run: Run, cluster: Cluster, namespace: str, request: pytest.FixtureRequest) -> Deploy:
    candidates = request.config.stash[CANDIDATES]
    load = _candidate_loader(request)

    def deploy(topology: str = DEFAULT_TOPOLOGY) -> Deployed:
        candidate = load(topology)
        try:
            deployed = apply(cluster, in_namespace(candidate, namespace), namespace)
            seconds = wait_ready(deployed)
        except CandidateError as error:
            candidates.not_ready(candidate, error)
            raise
        candidates.ready(candidate)
        run.say(f"{namespace}: ready after {seconds:.1f} s")
        return deployed

    return deploy
