"""Everything a cluster is made of, ensured before it is created; found again, quickly, when it is.

`python -m chroma_qualify.cluster.images ensure` runs outside the sandbox, where the package
registries are; `find_images` runs inside it, when a cluster is created, and builds nothing.
"""

from __future__ import annotations

import dataclasses
import enum
import os
import shutil
import subprocess
from pathlib import Path

from chroma_qualify.cluster.images import packages
from chroma_qualify.cluster.images.addons import addon_dir, render_addons
from chroma_qualify.cluster.images.catalog import Catalog, load_catalog
from chroma_qualify.cluster.images.engine import build_image, docker, image_id
from chroma_qualify.cluster.images.golang import build_programs, drop_caches, program_dir
from chroma_qualify.cluster.images.store import Say, build_lock, cache_dir, definitions, digest, require_space, sweep
from chroma_qualify.errors import InfraError, UsageError

MIRROR_VARIABLE = "REGISTRY_MIRROR"
PULL_TIMEOUT = 1800.0


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
        older: images of earlier Chromas in the engine, to upgrade from, oldest first; loaded by who needs them.
        scanner: the program kube-score, which judges manifests.
    """

    source: Source
    node: str
    load: tuple[str, ...]
    addons: Path
    kind: Path
    kubectl: Path
    older: tuple[str, ...]
    scanner: Path


# The last ones before migrations of the database: from 16 to 17, and from 17 to 18.
OLDER_CHROMAS = ("1.0.20", "1.4.1")


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
    source = _what_is_there(kubernetes) if source is Source.AUTO else source
    if source is Source.AUTO:
        source = Source.REGISTRY if _registry_answers(kubernetes, say) else Source.PACKAGES
    catalog = load_catalog(None if source is Source.REGISTRY else kubernetes, chroma)
    wanted = _image_set(source, catalog, kubernetes)
    if not _missing(wanted, catalog):
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
            for version, reference in zip(OLDER_CHROMAS, wanted.older, strict=True):
                if not image_id(reference):
                    packages.build_chroma(load_catalog(chroma=version), say)
        for name in ("kind", "kube-score"):
            build_programs(catalog.go[name], say)
        # kubectl renders them; where the rest of Kubernetes comes in a node image, do not compile it for that.
        alone = {"kubernetes": catalog.go["kubectl"]} if source is Source.REGISTRY else {}
        render_addons(dataclasses.replace(catalog, go=catalog.go | alone), say)
        drop_caches()
        packages.drop_old_nodes()
    if missing := _missing(wanted, catalog):
        raise InfraError(f"still missing after the build: {', '.join(missing)}")
    say(f"images: ready ({wanted.node})")
    return wanted


def find_images(source: Source, kubernetes: str | None, chroma: str | None) -> ImageSet:
    """The same set, without making anything.

    Raises:
        InfraError: something is not there.
    """
    source = _what_is_there(kubernetes) if source is Source.AUTO else source
    if source is Source.AUTO:
        source = Source.PACKAGES  # neither is there; the message names what that lacks
    catalog = load_catalog(None if source is Source.REGISTRY else kubernetes, chroma)
    wanted = _image_set(source, catalog, kubernetes)
    if missing := _missing(wanted, catalog):
        raise InfraError(f"not built yet: {', '.join(missing)}", remedy="run `make images`")
    return wanted


def older_chromas() -> tuple[str, ...]:
    """The references of the earlier Chromas that upgrades start from, oldest first."""
    return tuple(load_catalog(chroma=version).chroma_reference for version in OLDER_CHROMAS)


def find_kubectl(say: Say) -> Path:
    """A kubectl for what needs no cluster, such as rendering: one built for a cluster, else PATH's, else built now."""
    catalog = load_catalog()
    for name in ("kubernetes", "kubectl"):
        if (built := program_dir(catalog.go[name]) / "kubectl").exists():
            return built
    if there := shutil.which("kubectl"):
        return Path(there)
    with build_lock(say):
        return build_programs(catalog.go["kubectl"], say) / "kubectl"


def find_program(name: str, program: str, say: Say) -> Path:
    """A Go program of the catalog for what needs no cluster, such as promtool; built now where it is not there."""
    module = load_catalog().go[name]
    if not program_dir(module).exists():
        with build_lock(say):
            build_programs(module, say)
    return program_dir(module) / program


def _what_is_there(kubernetes: str | None) -> Source:
    """What AUTO means by the node images that the engine has; AUTO if it has none."""
    try:
        built = packages.node_reference(load_catalog(kubernetes))
    except UsageError:
        built = ""  # a version that only a registry can have
    if built and image_id(built):
        return Source.PACKAGES
    return Source.REGISTRY if image_id(_node_image(load_catalog(), kubernetes)) else Source.AUTO


def _registry_answers(kubernetes: str | None, say: Say) -> bool:
    """Pull the node image, and see: it is the engine that must reach the registry, and only it can tell."""
    reference = _node_image(load_catalog(), kubernetes)
    say(f"asking the registry: pulling {reference} (about 1 GB if it is there)")
    try:
        docker("pull", "--quiet", reference, timeout=PULL_TIMEOUT)
    except InfraError as error:
        say(f"no registry serves it, so everything is built from packages ({error.message})")
        return False
    return True


def _image_set(source: Source, catalog: Catalog, kubernetes: str | None) -> ImageSet:
    kind = program_dir(catalog.go["kind"]) / "kind"
    scanner = program_dir(catalog.go["kube-score"]) / "kube-score"
    if source is Source.REGISTRY:
        kubectl = program_dir(catalog.go["kubectl"]) / "kubectl"
        load = (*registry_images(catalog), packages.LOADER, packages.TOOLS)
        node = _node_image(catalog, kubernetes)
        return ImageSet(source, node, load, addon_dir(catalog), kind, kubectl, older_chromas(), scanner)
    kubectl = program_dir(catalog.go["kubernetes"]) / "kubectl"
    # The node image holds the default Chroma; another one is loaded beside it.
    load = () if catalog.chroma == load_catalog().chroma else (catalog.chroma_reference,)
    node = packages.node_reference(catalog)
    return ImageSet(source, node, load, addon_dir(catalog), kind, kubectl, older_chromas(), scanner)


def _node_image(catalog: Catalog, kubernetes: str | None) -> str:
    """kindest/node of that version, by digest where we know it.

    Under the mirror's name if there is one: a pull by digest leaves no other, and nothing asks for the usual one.
    """
    if kubernetes is None or kubernetes.removeprefix("v") == catalog.registry_kubernetes:
        return pulled_as(f"docker.io/kindest/node:v{catalog.registry_kubernetes}@{catalog.registry_digest}")
    return pulled_as(f"docker.io/kindest/node:v{kubernetes.removeprefix('v')}")


def registry_images(catalog: Catalog) -> tuple[str, ...]:
    """Chroma and the add-ons, under their usual references."""
    cilium = catalog.go["cilium"].version
    return (
        catalog.chroma_reference,
        f"quay.io/cilium/cilium:v{cilium}",
        f"quay.io/cilium/operator-generic:v{cilium}",
        f"registry.k8s.io/metrics-server/metrics-server:v{catalog.go['metrics-server'].version}",
        *(image.reference for image in catalog.static),
    )


def _fetch(wanted: ImageSet, catalog: Catalog, say: Say) -> None:
    build_programs(catalog.go["kubectl"], say)
    if not image_id(wanted.node):
        _pull(wanted.node, say)
    for reference in (*registry_images(catalog), *wanted.older, catalog.python):
        if _is_pulled(reference):
            continue
        pulled = pulled_as(reference)
        _pull(pulled, say)
        if pulled != reference:
            docker("tag", pulled, reference)
    # What the loader is built on elsewhere is Debian's Python; this one looks in another directory for packages.
    base = definitions() / "loader-base" / "Dockerfile"
    docker("build", "--quiet", "--build-arg", f"PYTHON={catalog.python}", "--tag", packages.BASE, "-", stdin=base)
    for image in (packages.loader_image(say), packages.tools_image(say)):
        build_image(image.references[0], image.dockerfile, image.context)
        docker("tag", image.references[0], _mark(image.references[0], catalog))


def _pull(reference: str, say: Say) -> None:
    say(f"pulling {reference}")
    try:
        docker("pull", "--quiet", reference, timeout=PULL_TIMEOUT)
    except InfraError as error:
        raise InfraError(
            f"{reference} cannot be pulled: {error.message}",
            remedy=f"{MIRROR_VARIABLE}=host:port names a registry that the engine reaches (the sandbox's has no"
            " uplink); IMAGES=packages needs none",
        ) from error


def pulled_as(reference: str) -> str:
    """The reference to pull: with REGISTRY_MIRROR=host[:port][/path] every registry is replaced by that one."""
    mirror = os.environ.get(MIRROR_VARIABLE, "").rstrip("/")
    return f"{mirror}/{reference.partition('/')[2]}" if mirror else reference


def _is_pulled(reference: str) -> bool:
    """Does the engine have it, and from a registry? What was built from packages has the same name, but no digest."""
    done = subprocess.run(
        ["docker", "image", "inspect", "--format", "{{len .RepoDigests}}", reference],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode == 0 and done.stdout.strip() != "0"


def _mark(reference: str, catalog: Catalog) -> str:
    """A second name of an image of ours that was built on the registry's Python, with its definition's hash."""
    root = definitions()
    parts: list[str | Path] = [catalog.python, root / "loader", root / "loader-base", root / "tools"]
    return f"{reference.rpartition(':')[0]}:registry-{digest(parts)}"


def _missing(wanted: ImageSet, catalog: Catalog) -> list[str]:
    missing = [str(path) for path in (wanted.kind, wanted.kubectl, wanted.scanner, wanted.addons) if not path.exists()]
    if not image_id(wanted.node):
        missing.append(wanted.node)
    if wanted.source is not Source.REGISTRY:
        return missing + [reference for reference in (*wanted.load, *wanted.older) if not image_id(reference)]
    missing += [reference for reference in (*registry_images(catalog), *wanted.older) if not _is_pulled(reference)]
    for reference in (packages.LOADER, packages.TOOLS):
        ours = image_id(reference)
        if ours is None or image_id(_mark(reference, catalog)) != ours:
            missing.append(reference)
    return missing
