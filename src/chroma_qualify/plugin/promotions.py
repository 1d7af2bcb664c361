"""From a baseline to a candidate, and what is done with both afterwards: what the fixture `promotion` gives.

BASELINE and MANIFESTS  from the one directory to the other
MANIFESTS               from the candidate with the oldest Chroma that is at hand
neither                 from tests/overlays/baseline-1.0 to tests/overlays/guarded
"""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from chroma_qualify.checks.run import ExperimentResult
from chroma_qualify.cluster.images.ensure import older_chromas
from chroma_qualify.cluster.kind import load_missing_images
from chroma_qualify.cluster.model import Cluster
from chroma_qualify.deployment.access import provide_secrets
from chroma_qualify.deployment.apply import Deployed, apply, scale, wait_ready
from chroma_qualify.deployment.migrations import Step, step
from chroma_qualify.deployment.objects import Candidate
from chroma_qualify.errors import CandidateError, UnavailableError, UndecidedError
from chroma_qualify.faults.experiment import FINAL_PATIENCE, Context, Done, perform
from chroma_qualify.faults.promotion import promotion as planned
from chroma_qualify.faults.promotion import prune
from chroma_qualify.plugin.bench import no_upgrade, service_way
from chroma_qualify.plugin.candidates import (
    Candidates,
    chroma_image,
    with_chroma_image,
    with_chroma_version,
    with_objects,
)
from chroma_qualify.plugin.run import Run
from chroma_qualify.rejudge import judge_recorded
from chroma_qualify.workload.client import connect

_OVERLAYS = Path("tests") / "overlays"
_READY = 300.0  # seconds for a rollout, whose old pod has a grace period


class Promotions:
    """A namespace in which the baseline is deployed, and into which other manifests follow.

    Attributes:
        baseline: what is in use.
        candidate: what is to come.
        step: what going from one to the other means for the database, as far as the images' tags tell.
        deployed: what is deployed now.
    """

    def __init__(self, run: Run, cluster: Cluster, pair: tuple[Candidate, Candidate], context: Context) -> None:
        self.baseline, self.candidate = pair
        self.step: Step = step(chroma_image(self.baseline), chroma_image(self.candidate))
        self._run = run
        self._cluster = cluster
        self._context = context
        self.deployed: Deployed
        self._tried = False
        self._promoted = False
        self._stopped = False

    def begin(self) -> None:
        """Deploy the baseline.

        Raises:
            UndecidedError: it does not get ready, which says nothing of the candidate.
        """
        try:
            self.deployed = self.apply(self.baseline)
        except CandidateError as error:
            evidence = error.evidence
            raise UndecidedError(f"the baseline did not get ready: {error.message}", evidence=evidence) from error

    def apply(self, manifests: Candidate) -> Deployed:
        """Apply a set of manifests over what is deployed, prune, and wait until it is ready.

        Raises:
            CandidateError: it does not get ready.
        """
        before = getattr(self, "deployed", None)
        applied = apply(self._cluster, manifests, str(manifests.namespace))
        if self._stopped and "replicas" not in manifests.deployment["spec"]:  # it leaves them to an autoscaler
            scale(applied, 1)
        self._stopped = False
        if before is not None:
            prune(applied, before.candidate, manifests)
        self.deployed = applied
        seconds = wait_ready(applied, _READY)
        self._run.say(f"{applied.namespace}: {chroma_image(manifests)} ready after {seconds:.1f} s")
        return applied

    def stop(self) -> None:
        """Scale to zero, and wait until the server's pod is gone: nobody writes to the volume any more."""
        scale(self.deployed, 0)
        self._stopped = True
        wait_ready(self.deployed, _READY)

    def with_image(self, image: str) -> Candidate:
        """The candidate with another image of Chroma, loaded into the nodes."""
        load_missing_images(self._cluster, (image,))
        objects = with_chroma_image(self.candidate.objects, self.candidate.container, image)
        return with_objects(self.candidate, objects)

    def require_promoted(self) -> None:
        """For what comes after a promotion: skip if it failed, make up for it where it was not selected."""
        if not self._tried:
            self.apply(self.candidate)
        elif not self._promoted:
            pytest.skip("the candidate was not promoted, see the scenario before")
        self._tried = self._promoted = True

    def promote(self) -> Done:
        """The candidate over the baseline, under writes."""
        self._tried = True
        before = self.deployed
        ahead = provide_secrets(self._cluster, self.candidate, before.namespace)
        after = dataclasses.replace(before, candidate=self.candidate, credentials=ahead)
        # A client can send the token that it will need before it is asked for; TLS it can only change to.
        credentials = ahead if ahead.token and ahead.scheme == before.credentials.scheme else before.credentials
        with ExitStack() as stack:
            way = stack.enter_context(service_way(before))

            def connect_finally(patience: float) -> Any:  # noqa: ANN401 (chromadb's own type)
                there = stack.enter_context(service_way(after, FINAL_PATIENCE))
                return connect(there.host, there.port, credentials=ahead, timeout=patience)

            done = perform(
                planned(self.baseline, self.candidate),
                before,
                lambda patience: connect(way.host, way.port, credentials=credentials, timeout=patience),
                self._context,
                connect_finally,
            )
        self.deployed = after
        self._promoted = True
        return done

    def judge(self) -> ExperimentResult:
        """Judge the promotion from what was written, as `chroma-qualify check` will."""
        result = judge_recorded(self._context.run_dir, planned().name)
        self._run.add_experiment(result)
        return result


def promotion_pair(run: Run, cluster: Cluster, candidates: Candidates, root: Path) -> tuple[Candidate, Candidate]:
    """Baseline and candidate, not in a namespace yet, their images in the nodes; skips as `candidate` does."""
    options = run.options
    if cluster.guest is not None and not options.baseline:
        raise UnavailableError("it needs an older image of Chroma in the nodes; name what is in use with --baseline")
    oldest = older_chromas()[0]
    if options.baseline:
        before, after = candidates.load_from(options.baseline), candidates.load()
        if why_not := candidates.why_not(after, ""):
            pytest.skip(why_not)
        known = [image for image in older_chromas() if _usual(image) == _usual(chroma_image(before))]
        load_missing_images(cluster, tuple(known))
        return before, after
    if options.manifests:
        after = candidates.load()
        if reason := candidates.why_not(after, "") or no_upgrade(oldest, chroma_image(after)):
            pytest.skip(reason)
        before = with_objects(after, with_chroma_image(after.objects, after.container, oldest))
    else:
        before, after = (candidates.load_from(root / _OVERLAYS / name) for name in ("baseline-1.0", "guarded"))
        if options.chroma_version:
            after = with_objects(after, with_chroma_version(after.objects, after.container, options.chroma_version))
    load_missing_images(cluster, (oldest,))
    return before, after


def _usual(image: str) -> str:
    return image.removeprefix("docker.io/")
