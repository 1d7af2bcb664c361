"""Another image: the server is replaced by another version of itself, on the data that it finds.

Only upwards: Chroma's migrations of the database are one-way. The deployment starts with the older image, see
`experiments`; the newer one is what the candidate names.
"""

from __future__ import annotations

import dataclasses

from chroma_qualify.deployment.apply import Deployed
from chroma_qualify.errors import UndecidedError
from chroma_qualify.faults.base import Injected, Proof, ready_again, the_server, wait_for_server


@dataclasses.dataclass(frozen=True, slots=True)
class ImageUpgrade:
    """`kubectl set image` to the image that the candidate names."""

    name: str

    def available(self, deployed: Deployed) -> str | None:  # noqa: ARG002
        """Always."""
        return None

    def inject(self, deployed: Deployed) -> Injected:
        """Set the candidate's image."""
        before = the_server(deployed)
        candidate = deployed.candidate
        running = _image_of(deployed, before.pod)
        pod = candidate.deployment["spec"]["template"]["spec"]
        wanted = next(str(item["image"]) for item in pod["containers"] if item["name"] == candidate.container)
        # A guard's init container looks at the image that is about to start, so it must have the same.
        guards = [item["name"] for item in pod.get("initContainers") or () if item["image"] == wanted]
        if wanted == running:
            raise UndecidedError(f"the server runs {running} already: there is nothing to upgrade")
        images = [f"{name}={wanted}" for name in (candidate.container, *guards)]
        deployed.cluster.run_kubectl("set", "image", f"--namespace={deployed.namespace}", candidate.name, *images)
        return Injected(self.name, before, f"kubectl set image {candidate.name}: {running} -> {wanted}", running)

    def prove(self, deployed: Deployed, injected: Injected) -> Proof:
        """Another pod runs another image."""
        after = wait_for_server(
            deployed,
            f"a pod of the new image instead of {injected.before.pod}",
            lambda state: state.uid != injected.before.uid and bool(state.container_id),
            timeout=300,
        )
        image = _image_of(deployed, after.pod)
        if image == injected.mark:
            raise UndecidedError(f"the pod was replaced, but still runs {image}")
        return Proof(
            "the server was upgraded", f"{injected.mark} -> {image}; before: {injected.before}; after: {after}"
        )

    def undo(self, deployed: Deployed, injected: Injected) -> None:
        """Nothing: there is no way back, the database has been migrated."""

    def prove_undone(self, deployed: Deployed, injected: Injected) -> Proof:
        """The new version is ready."""
        return ready_again(deployed, injected)


def _image_of(deployed: Deployed, pod: str) -> str:
    """The image that the kubelet says the server's container runs."""
    found = deployed.cluster.get_json("pod", pod, f"--namespace={deployed.namespace}")
    statuses = found["status"].get("containerStatuses") or ()
    return next((str(item["image"]) for item in statuses if item["name"] == deployed.candidate.container), "")
