"""Everything a cluster is made of, ensured before it is created; found again, quickly, when it is.

`python -m chroma_qualify.cluster.images ensure` runs outside the sandbox, where the package
registries are; `find_images` runs inside it, when a cluster is created, and builds nothing.
"""

from __future__ import annotations

import dataclasses
import enum
import os
import subprocess
from pathlib import Path

from chroma_qualify.cluster.images import packages
from chroma_qualify.cluster.images.addons import addon_dir, render_addons
from chroma_qualify.cluster.images.catalog import Catalog, load_catalog
from chroma_qualify.cluster.images.engine import build_image, docker, image_id
from chroma_qualify.cluster.images.golang import build_programs, drop_caches, program_dir
from chroma_qualify.cluster.images.store import Say, build_lock, cache_dir, require_space, sweep
from chroma_qualify.errors import InfraError, UsageError

MIRROR_VARIABLE = "REGISTRY_MIRROR"


class Source(enum.StrEnum):
    """Where images come from."""

    AUTO = "auto"
    REGISTRY = "registry"
    PACKAGES = "packages"


@dataclasses.dataclass(frozen=True, slots=True)
class ImageSet:
    """What a cluster is created from.

    Attributes:
        source: `packages` or `registry`.
        node: the node image.
        load: images in the engine that every node is given after creation; empty when the node image has them.
        addons: directory of the add-ons' manifests.
        kind: the kind program.
        kubectl: the kubectl program.
    """

    source: Source
    node: str
    load: tuple[str, ...]
    addons: Path
    kind: Path
    kubectl: Path


def ensure_images(source: Source, kubernetes: str | None, chroma: str | None, say: Say) -> ImageSet:
    """Make or fetch what is missing.

    Args:
        source: AUTO takes the registry when it answers, else packages.
        kubernetes: version without `v`, None for the default.
        chroma: version, None for the default.
        say: told of every step.

    Raises:
        UsageError: an unknown version. InfraError: a build or a download failed.
    """
    source = _resolve(source, kubernetes)
    catalog = load_catalog(None if source is Source.REGISTRY else kubernetes, chroma)
    wanted = _image_set(source, catalog, kubernetes)
    if not _missing(wanted):
        say(f"images: nothing to do ({wanted.node})")
        return wanted
    with build_lock(say):
        sweep(cache_dir())
        if source is Source.REGISTRY:
            _fetch(wanted, catalog, say)
        else:
            require_space(packages.NEEDED_SPACE)
            packages.build_node(catalog, say)
            if wanted.load:
                packages.build_chroma(catalog, say)
        build_programs(catalog.go["kind"], say)
        render_addons(catalog, say)
        drop_caches()
        packages.drop_old_nodes()
    if missing := _missing(wanted):
        raise InfraError(f"still missing after the build: {', '.join(missing)}")
    say(f"images: ready ({wanted.node})")
    return wanted


def find_images(source: Source, kubernetes: str | None, chroma: str | None) -> ImageSet:
    """The same set, without making anything.

    Raises:
        InfraError: something is not there.
    """
    source = _resolve(source, kubernetes)
    catalog = load_catalog(None if source is Source.REGISTRY else kubernetes, chroma)
    wanted = _image_set(source, catalog, kubernetes)
    if missing := _missing(wanted):
        raise InfraError(f"not built yet: {', '.join(missing)}", remedy="run `make images`")
    return wanted


def _resolve(source: Source, kubernetes: str | None) -> Source:
    """AUTO: what is there already wins, then a registry that answers."""
    if source is not Source.AUTO:
        return source
    default = load_catalog()
    try:
        built = packages.node_reference(load_catalog(kubernetes))
    except UsageError:
        built = ""  # a version that only a registry can have
    if built and image_id(built):
        return Source.PACKAGES
    reference = _node_reference(default, kubernetes)
    if image_id(reference):
        return Source.REGISTRY
    try:
        answered = subprocess.run(
            ["docker", "manifest", "inspect", _pulled_as(reference)], capture_output=True, timeout=20, check=False
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return Source.PACKAGES
    return Source.REGISTRY if answered.returncode == 0 else Source.PACKAGES


def _image_set(source: Source, catalog: Catalog, kubernetes: str | None) -> ImageSet:
    kind = program_dir(catalog.go["kind"]) / "kind"
    if source is Source.REGISTRY:
        kubectl = program_dir(catalog.go["kubectl"]) / "kubectl"
        load = (*_registry_images(catalog), packages.LOADER)
        return ImageSet(source, _node_reference(catalog, kubernetes), load, addon_dir(catalog), kind, kubectl)
    kubectl = program_dir(catalog.go["kubernetes"]) / "kubectl"
    # The node image holds the default Chroma; another one is loaded beside it.
    load = () if catalog.chroma == load_catalog().chroma else (catalog.chroma_reference,)
    return ImageSet(source, packages.node_reference(catalog), load, addon_dir(catalog), kind, kubectl)


def _node_reference(catalog: Catalog, kubernetes: str | None) -> str:
    """kindest/node of that version; by digest where we know it."""
    if kubernetes is None or kubernetes.removeprefix("v") == catalog.registry_kubernetes:
        return f"docker.io/kindest/node:v{catalog.registry_kubernetes}@{catalog.registry_digest}"
    return f"docker.io/kindest/node:v{kubernetes.removeprefix('v')}"


def _registry_images(catalog: Catalog) -> tuple[str, ...]:
    """Chroma and the add-ons, under their usual references."""
    cilium = catalog.go["cilium"].version
    return (
        catalog.chroma_reference,
        f"quay.io/cilium/cilium:v{cilium}",
        f"quay.io/cilium/operator-generic:v{cilium}",
        f"registry.k8s.io/metrics-server/metrics-server:v{catalog.go['metrics-server'].version}",
    )


def _fetch(wanted: ImageSet, catalog: Catalog, say: Say) -> None:
    build_programs(catalog.go["kubectl"], say)
    for reference in (wanted.node, *_registry_images(catalog), catalog.python):
        if image_id(reference):
            continue
        pulled = _pulled_as(reference)
        say(f"pulling {pulled}")
        docker("pull", "--quiet", pulled, timeout=1800)
        if pulled != reference:
            docker("tag", pulled, reference.partition("@")[0])
    docker("tag", catalog.python, packages.BASE)
    loader = packages.loader_image(say)
    build_image(packages.LOADER, loader.dockerfile, loader.context)


def _pulled_as(reference: str) -> str:
    """The reference to pull: with REGISTRY_MIRROR=host[:port][/path] every registry is replaced by that one."""
    mirror = os.environ.get(MIRROR_VARIABLE, "").rstrip("/")
    return f"{mirror}/{reference.partition('/')[2]}" if mirror else reference


def _missing(wanted: ImageSet) -> list[str]:
    files = [str(path) for path in (wanted.kind, wanted.kubectl, wanted.addons) if not path.exists()]
    return [*files, *(reference for reference in (wanted.node, *wanted.load) if not image_id(reference))]
