"""Manifests of what a cluster needs beside Kubernetes, rendered once per definition.

Cilium's come from its chart, metrics-server's from its module's kustomize base, the
definitions of Prometheus' kinds from prometheus-operator's module: none is kept in this repository.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from chroma_qualify.cluster.images.catalog import Catalog
from chroma_qualify.cluster.images.golang import build_programs, module_dir
from chroma_qualify.cluster.images.store import Say, cache_dir, definitions, digest, make
from chroma_qualify.errors import InfraError

# What Cilium's operator would create, as far as the features that we leave on ask for it.
_CILIUM_CRDS = (
    "v2/ciliumcidrgroups", "v2/ciliumclusterwidenetworkpolicies", "v2/ciliumendpoints", "v2/ciliumidentities",
    "v2/ciliumloadbalancerippools", "v2/ciliumnetworkpolicies", "v2/ciliumnodeconfigs", "v2/ciliumnodes",
    "v2alpha1/ciliuml2announcementpolicies", "v2alpha1/ciliumpodippools",
)  # fmt: skip

# What the operator must find to run a Prometheus; it looks after no other kind where the definition is missing.
_PROMETHEUS_CRDS = ("prometheuses", "servicemonitors", "podmonitors", "probes", "prometheusrules", "scrapeconfigs")


def addon_dir(catalog: Catalog) -> Path:
    """Where the rendered manifests are, or will be."""
    root = definitions()
    parts: list[str | Path] = [root / "addons", root / "cilium" / "values.yaml", Path(__file__)]
    parts += [catalog.go[name].version for name in ("cilium", "metrics-server", "prometheus-operator", "helm")]
    return cache_dir() / "addons" / digest([*parts, catalog.kubernetes])


def render_addons(catalog: Catalog, say: Say) -> Path:
    """Render them; returns the directory with cilium.yaml, metrics-server.yaml and crds.yaml."""
    target = addon_dir(catalog)
    if target.exists():
        return target
    helm = build_programs(catalog.go["helm"], say) / "helm"
    kubectl = build_programs(catalog.go["kubernetes"], say) / "kubectl"

    def produce(place: Path) -> None:
        place.mkdir()
        root = definitions()
        cilium = module_dir(catalog.go["cilium"], say)
        chart = cilium / "install/kubernetes/cilium"
        _save(
            [str(helm), "template", "cilium", str(chart), "--namespace", "kube-system",
             "--kube-version", catalog.kubernetes, "--values", str(root / "cilium" / "values.yaml")],
            place / "cilium.yaml",
        )  # fmt: skip
        work = place / "metrics-server"
        shutil.copytree(root / "addons" / "metrics-server", work)
        shutil.copytree(module_dir(catalog.go["metrics-server"], say) / "manifests" / "base", work / "base")
        _save([str(kubectl), "kustomize", str(work)], place / "metrics-server.yaml")
        shutil.rmtree(work)
        crds = module_dir(catalog.go["prometheus-operator"], say) / "example/prometheus-operator-crd"
        definitions_of_cilium = cilium / "pkg/k8s/apis/cilium.io/client/crds"
        files = [definitions_of_cilium / f"{name}.yaml" for name in _CILIUM_CRDS]
        files += [crds / f"monitoring.coreos.com_{name}.yaml" for name in _PROMETHEUS_CRDS]
        (place / "crds.yaml").write_text("\n---\n".join(file.read_text() for file in files))

    return make(target, produce)


def _save(command: list[str], place: Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise InfraError(f"{place.name} cannot be rendered: {' '.join(done.stderr.split())[-500:]}")
    place.write_text(done.stdout)
