"""Which manifests a scenario gets, and what is already known of them.

Used by `hooks` (lint, before there is a cluster) and by `fixtures` (deploy).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path

from chroma_qualify.checks.promises import Promises, refuse_unknown_faults
from chroma_qualify.cluster.existing import find_kubectl
from chroma_qualify.cluster.images.ensure import Source, find_images
from chroma_qualify.cluster.lease import cluster_dir
from chroma_qualify.cluster.model import Cluster
from chroma_qualify.deployment.admission import LEVELS, strictest
from chroma_qualify.deployment.fit import Place, fit, look_at
from chroma_qualify.deployment.linting import Linted, lint_candidate, load_waivers
from chroma_qualify.deployment.manifests import WAIVERS
from chroma_qualify.deployment.objects import Candidate, KubeObject
from chroma_qualify.deployment.qualification import load_promises
from chroma_qualify.deployment.render import load_candidate
from chroma_qualify.deployment.schemas import cluster_schemas
from chroma_qualify.errors import CandidateError, UsageError
from chroma_qualify.faults.experiments import fault_names
from chroma_qualify.findings import Finding
from chroma_qualify.lint.settings import Settings
from chroma_qualify.lint.waivers import Waiver
from chroma_qualify.plugin.options import Options

# What is qualified where no --manifests is given, hence linted. `autoscaling` is not: it serves
# the read-only scale-out scenario, and the linter rightly refuses it for writes.
DEFAULT_TOPOLOGY = "single-writer"
# Topologies that a scenario asks for because of one feature: a candidate without it cannot be tried.
_AUTOSCALING = "autoscaling"


class Candidates:
    """Loads candidates once each, and remembers one that never got ready.

    Args:
        options: of the run.
        overlays: where the topologies are, one directory each.

    Attributes:
        refused: that the candidate of the options does not meet `restricted`, once `settle` was called.
    """

    def __init__(self, options: Options, overlays: Path) -> None:
        self._options = options
        self._overlays = overlays
        self._loaded: dict[Path, Candidate] = {}
        self._place: Place | None = None
        self._level = LEVELS[0]
        self.refused: Finding | None = None
        self._was_ready: set[str] = set()
        self._never_ready: dict[str, CandidateError] = {}

    def load(self, topology: str = DEFAULT_TOPOLOGY) -> Candidate:
        """The candidate of `--manifests`, else the topology's.

        Raises:
            UsageError: no such topology, or its manifests cannot be read.
        """
        directory = self._options.manifests or self._overlays / topology
        if directory not in self._loaded:
            if not directory.is_dir():
                known = ", ".join(sorted(path.name for path in self._overlays.glob("*") if path.is_dir()))
                raise UsageError(f"there is no topology {topology}", remedy=f"known are: {known or 'none'}")
            candidate = self.load_from(directory)
            if self._options.chroma_version:
                objects = with_chroma_version(candidate.objects, candidate.container, self._options.chroma_version)
                candidate = with_objects(candidate, objects)
            self._loaded[directory] = candidate
        return self._fitted(self._loaded[directory])

    def load_from(self, directory: Path) -> Candidate:
        """The manifests of another directory, such as a baseline's, with the version of Chroma that they say.

        Raises:
            UsageError: they cannot be read.
        """
        return self._fitted(load_candidate(directory, self._kubectl()))

    def settle(self, cluster: Cluster, *, pulls: bool) -> tuple[Finding, ...]:
        """From now on candidates are as this cluster can have them; returns the notes on that of the options.

        Args:
            cluster: where they go.
            pulls: can its nodes pull from a registry?

        Raises:
            InfraError: it does not answer.
        """
        if not self._options.manifests:
            return ()  # what is shipped fits
        self._place = look_at(cluster, pulls=pulls)
        candidate = self.load()
        self._level, self.refused = strictest(cluster, candidate)
        if self._options.baseline:
            levels = (self._level, strictest(cluster, self.load_from(self._options.baseline))[0])
            self._level = max(levels, key=LEVELS.index)
        return candidate.notes

    @property
    def pod_security(self) -> str:
        """The Pod Security level that a run's namespaces enforce."""
        return self._level

    def _fitted(self, candidate: Candidate) -> Candidate:
        return fit(candidate, self._place) if self._place else candidate

    def promises(self, topology: str = DEFAULT_TOPOLOGY) -> Promises:
        """What the candidate's directory, else the topology's, promises.

        Raises:
            UsageError: its qualification.yaml cannot be read.
        """
        promises = load_promises(self._options.manifests or self._overlays / topology)
        refuse_unknown_faults(promises, fault_names())
        return promises

    def lint(self, candidate: Candidate) -> Linted:
        """What `chroma-qualify lint` says of the candidate, in the light of the waivers beside its manifests.

        Raises:
            UsageError: its waivers cannot be read.
        """
        version = self._options.k8s_version
        schemas, settings = cluster_schemas(version), Settings(kubernetes=version)
        waivers = self.waivers(candidate.directory)
        return lint_candidate(candidate.objects, str(candidate.directory), schemas, settings, waivers)

    def waivers(self, directory: Path) -> tuple[Waiver, ...]:
        """What the owner of a directory's manifests takes of the lint's findings; raises UsageError as `lint` does."""
        return load_waivers(directory / WAIVERS)

    def _kubectl(self) -> Path:
        options = self._options
        if options.kubectl:
            return options.kubectl
        if options.context:
            return find_kubectl()
        if options.use_cluster:
            return (cluster_dir(options.use_cluster) / "kubectl").resolve()
        return find_images(Source(options.images), options.k8s_version or None, options.chroma_version or None).kubectl

    def why_not(self, candidate: Candidate, topology: str) -> str:
        """Why a scenario for this topology cannot run on this candidate, or ""."""
        if candidate.digest in self._never_ready:
            return f"the candidate never got ready: {self._never_ready[candidate.digest].message}"
        if topology == _AUTOSCALING and candidate.hpa is None:
            return "the candidate has no HorizontalPodAutoscaler"
        return ""

    def ready(self, candidate: Candidate) -> None:
        """It got ready: a later failure is that scenario's."""
        self._was_ready.add(candidate.digest)

    def not_ready(self, candidate: Candidate, error: CandidateError) -> None:
        """It did not get ready; if it never did, no later scenario waits for it again."""
        if candidate.digest not in self._was_ready:
            self._never_ready[candidate.digest] = error


def with_objects(candidate: Candidate, objects: Sequence[KubeObject]) -> Candidate:
    """The candidate with other objects, of which Chroma is found anew."""
    return candidate.with_objects(objects)


def with_chroma_image(objects: Sequence[KubeObject], container: str, image: str) -> tuple[KubeObject, ...]:
    """The objects with another image in the containers of that name."""
    return _with_images(objects, container, lambda _: image)


def with_chroma_version(objects: Sequence[KubeObject], container: str, version: str) -> tuple[KubeObject, ...]:
    """The objects with another version of Chroma's image in the containers of that name."""

    def renamed(image: str) -> str:
        head, _, tail = image.partition("@")[0].rpartition("/")
        return f"{head}{'/' if head else ''}{tail.partition(':')[0]}:{version}"

    return _with_images(objects, container, renamed)


def _with_images(objects: Sequence[KubeObject], container: str, rename: Callable[[str], str]) -> tuple[KubeObject, ...]:
    changed = copy.deepcopy(list(objects))
    for item in changed:
        pod = (item.get("spec") or {}).get("template", {}).get("spec", {})
        images = {spec.get("image") for spec in pod.get("containers") or () if spec.get("name") == container}
        # What is done before in the same image goes along: the nodes have one version of it.
        for spec in [*(pod.get("containers") or ()), *(pod.get("initContainers") or ())]:
            if spec.get("name") == container or (images and spec.get("image") in images):
                spec["image"] = rename(spec["image"])
    return tuple(changed)


def chroma_image(candidate: Candidate) -> str:
    """The image that the candidate names for Chroma."""
    containers = candidate.deployment["spec"]["template"]["spec"]["containers"]
    return next((str(item.get("image", "")) for item in containers if item.get("name") == candidate.container), "")
