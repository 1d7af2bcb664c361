"""What we ship leads to Chroma, lets clients in, and is set up rightly: the doctor has nothing to say of it.

Whether it starts is for a cluster to show; here are the objects alone, as kubectl renders them.
"""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from doctor_builders import NOW

from chroma_qualify.doctor.snapshot import Snapshot
from chroma_qualify.doctor.tell import report_on

REPOSITORY = Path(__file__).parents[3]
OVERLAYS = [
    str(path.parent.relative_to(REPOSITORY))
    for place in ("manifests", "tests")
    for path in sorted(REPOSITORY.glob(f"{place}/overlays/*/kustomization.yaml"))
]


def rules(directory):
    kubectl = shutil.which("kubectl")
    assert kubectl, "kubectl is needed to render manifests: run this through `make test`"
    done = subprocess.run([kubectl, "kustomize", REPOSITORY / directory], check=True, capture_output=True, text=True)
    report = report_on(Snapshot("goaltrajectory-ai", NOW, tuple(yaml.safe_load_all(done.stdout))))
    assert report.patient.servers
    return {item.rule for item in report.found}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nothing_is_found_in_what_we_ship(overlay):
    assert rules(overlay) == ({"two-servers-one-volume"} if overlay.endswith("/autoscaling") else set())


@pytest.mark.parametrize(
    ("candidate", "found"), [("unreachable", {"unreachable"}), ("seed", {"probe-v1-api", "no-writable-tmp"})]
)
def test_what_must_be_refused_is_found(candidate, found):
    assert found <= rules(f"tests/gauntlet/{candidate}")
