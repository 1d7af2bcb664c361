"""Every image of a cluster, built from packages, and the node image that holds them all."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from chroma_qualify.cluster.images import node
from chroma_qualify.cluster.images.catalog import Catalog, load_catalog
from chroma_qualify.cluster.images.engine import build_image, docker, image_id, in_sandbox
from chroma_qualify.cluster.images.golang import build_programs, module_dir, program_dir
from chroma_qualify.cluster.images.rootfs import base_tar, build_base, build_layer, layer_tar, prepare_machine
from chroma_qualify.cluster.images.store import Say, cache_dir, definitions, digest, make
from chroma_qualify.errors import InfraError

BASE = "chroma-qualify/debian:dev"
LOADER = "docker.io/chroma-qualify/loader:dev"
TOOLS = "docker.io/chroma-qualify/tools:dev"
NODE = "chroma-qualify/node"
KEPT_NODES = 3
NEEDED_SPACE = 30 * 1024**3  # compiler output 11 GiB, downloads 4, userlands and images 6, the rest is room


@dataclasses.dataclass(frozen=True, slots=True)
class Built:
    """An image to build: its references, and what goes in."""

    references: tuple[str, ...]
    dockerfile: Path
    context: Mapping[str, Path]
    target: str = ""


def node_reference(catalog: Catalog) -> str:
    """The node image's name: its tag holds the hash of everything in it."""
    root = definitions()
    parts: list[str | Path] = [
        root / name for name in ("static", "kube-proxy", "cilium", "node", "loader", "storage-helper", "tools")
    ]
    parts += [root / "chroma" / name for name in ("Dockerfile", "chroma", "config.yaml")]
    parts += [
        chroma_lock(load_catalog()),
        base_tar(catalog).name,
        *(layer_tar(catalog, x).name for x in catalog.layers.values()),
    ]
    parts += [program_dir(module).name for name, module in catalog.go.items() if name not in _NO_PROGRAMS]
    # How it is put together is part of what it is.
    parts += [image.reference for image in catalog.static]
    parts += [catalog.etcd, catalog.coredns, catalog.pause, Path(__file__), Path(node.__file__)]
    return f"docker.io/{NODE}:v{catalog.kubernetes}-{digest(parts)}"


def chroma_lock(catalog: Catalog) -> Path:
    """The hashes of that Chroma's Python package."""
    return definitions() / "chroma" / "versions" / f"{catalog.chroma}.lock"


def build_node(catalog: Catalog, say: Say) -> str:
    """Build everything that is not there yet; returns the node image's reference."""
    reference = node_reference(catalog)
    if image_id(reference):
        return reference
    prepare_machine(say)
    programs = {name: build_programs(module, say) for name, module in catalog.go.items() if name not in _NO_PROGRAMS}
    base = build_base(catalog, say)
    layers = {name: build_layer(catalog, layer, say) for name, layer in catalog.layers.items()}
    began = time.monotonic()
    say("building the images (usually 60 s)")
    docker("import", str(base), BASE)
    wanted = set(_listed(programs["kubernetes"] / "kubeadm", catalog))
    images = _images(catalog, programs, layers, say)
    references = [reference for image in images for reference in image.references]
    if missing := wanted - set(references):
        raise InfraError(f"kubeadm wants images that images.toml does not name: {', '.join(sorted(missing))}")
    for image in images:
        build_image(image.references[0], image.dockerfile, image.context, target=image.target)
        for other in image.references[1:]:
            docker("tag", image.references[0], other)
    say(f"{len(images)} images built in {time.monotonic() - began:.0f} s; preloading the node image (usually 60 s)")
    node.build(reference, catalog, programs, layers["node"], references, module_dir(catalog.go["kind"], say))
    if not in_sandbox():
        # On somebody's own engine the usual names mean the published images.
        for usual in references:
            docker("image", "rm", usual)
    say(f"node image ready, {time.monotonic() - began:.0f} s in all")
    return reference


_NO_PROGRAMS = {"kubectl", "kube-score"}  # not of the node image


def _images(catalog: Catalog, programs: Mapping[str, Path], layers: Mapping[str, Path], say: Say) -> list[Built]:
    root = definitions()
    kubernetes, tag = programs["kubernetes"], f"v{catalog.kubernetes}"

    def static(target: str, directory: Path, *references: str) -> Built:
        program = "cilium-operator-generic" if target == "cilium-operator" else target
        return Built(references, root / "static/Dockerfile", {f"bin/{program}": directory / program}, target)

    kind = module_dir(catalog.go["kind"], say)
    provisioner, helper = node.storage_images(kind)
    cilium, source = programs["cilium"], module_dir(catalog.go["cilium"], say)
    agent = {name: cilium / name for name in ("cilium-agent", "cilium-dbg", "cilium-mount", "cilium-sysctlfix")}
    return [
        *(
            static(name, kubernetes, f"registry.k8s.io/{name}:{tag}")
            for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
        ),
        Built(
            (f"registry.k8s.io/kube-proxy:{tag}",),
            root / "kube-proxy/Dockerfile",
            {"bin/kube-proxy": kubernetes / "kube-proxy"},
        ),
        static("etcd", programs["etcd"], catalog.etcd),
        static("coredns", programs["coredns"], catalog.coredns),
        static("pause", programs["pause"], catalog.pause, *node.sandbox_images(kind)),
        static(
            "metrics-server",
            programs["metrics-server"],
            f"registry.k8s.io/metrics-server/metrics-server:v{catalog.go['metrics-server'].version}",
        ),
        static("local-path-provisioner", programs["local-path-provisioner"], provisioner),
        static("cilium-operator", cilium, f"quay.io/cilium/operator-generic:v{catalog.go['cilium'].version}"),
        Built(
            (f"quay.io/cilium/cilium:v{catalog.go['cilium'].version}",),
            root / "cilium/Dockerfile",
            {
                "layer.tar": layers["cilium"],
                "bpf": source / "bpf",
                "cni/cilium-cni": cilium / "cilium-cni",
                "scripts/init-container.sh": source / "images/cilium/init-container.sh",
                "scripts/install-plugin.sh": source / "plugins/cilium-cni/install-plugin.sh",
                "scripts/cni-uninstall.sh": source / "plugins/cilium-cni/cni-uninstall.sh",
                **{f"bin/{name}": path for name, path in agent.items()},
            },
        ),
        chroma_image(load_catalog(), say),
        loader_image(say),
        tools_image(say),
        *(static(image.program, programs[image.go], image.reference) for image in catalog.static),
        Built((helper,), root / "storage-helper/Dockerfile", {}),
    ]


def drop_old_nodes() -> None:
    """Remove all but the newest node images, 2 GB each, that earlier definitions left; one in use stays."""
    listed = docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", NODE).split()  # newest first
    for reference in listed[KEPT_NODES:]:
        with contextlib.suppress(InfraError):
            docker("image", "rm", reference)
    if in_sandbox():
        docker("image", "prune", "--force")


def build_chroma(catalog: Catalog, say: Say) -> None:
    """Build the image of a Chroma that is not the node image's."""
    docker("import", str(build_base(catalog, say)), BASE)
    image = chroma_image(catalog, say)
    build_image(image.references[0], image.dockerfile, image.context)


def chroma_image(catalog: Catalog, say: Say) -> Built:
    """Chroma from its Python package."""
    root = definitions() / "chroma"
    tree = _site_packages(f"chroma-{catalog.chroma}", chroma_lock(catalog), say, dependencies=False)
    context = {"site-packages": tree, "chroma": root / "chroma", "config.yaml": root / "config.yaml"}
    return Built((catalog.chroma_reference,), root / "Dockerfile", context)


def loader_image(say: Say) -> Built:
    """What runs beside Chroma in the cluster: load and probes."""
    root = definitions() / "loader"
    tree = _site_packages("loader", root / "requirements.lock", say)
    programs = {path.name: path for path in sorted(root.glob("*.py"))}
    return Built((LOADER,), root / "Dockerfile", {"site-packages": tree, **programs})


def tools_image(say: Say) -> Built:
    """What the components under manifests/ run beside Chroma: backup, restore, canary, guard."""
    root = definitions() / "tools"
    tree = _site_packages("tools", root / "requirements.lock", say)
    context = {"site-packages": tree, "chroma_tools": root / "chroma_tools"}
    return Built((TOOLS,), root / "Dockerfile", context)


def _site_packages(name: str, lock: Path, say: Say, *, dependencies: bool = True) -> Path:
    """A directory of installed Python packages for the images' Python, checked against their hashes."""
    target = cache_dir() / "site-packages" / f"{name}-{digest([lock, 'v1'])}"

    def produce(place: Path) -> None:
        say(f"installing the Python packages of {name}")
        uv = os.environ.get("UV") or shutil.which("uv") or "uv"
        command = [uv, "pip", "install", "-q", "--require-hashes", "--target", str(place), "-r", str(lock),
                   "--python", sys.executable, "--python-version", "3.11", "--only-binary", ":all:",
                   "--link-mode", "copy", *([] if dependencies else ["--no-deps"])]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise InfraError(f"the Python packages of {name} cannot be installed: {done.stderr.strip()[-400:]}")

    return make(target, produce)


def _listed(kubeadm: Path, catalog: Catalog) -> list[str]:
    """The images that kubeadm will ask for."""
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [str(kubeadm), "config", "images", "list", "--kubernetes-version", f"v{catalog.kubernetes}"],
            capture_output=True, text=True, check=True, env={**os.environ, "HOME": home},
        )  # fmt: skip
    return done.stdout.split()
