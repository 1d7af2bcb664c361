"""What is in images/images.toml, as types."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path

from chroma_qualify.cluster.images.store import definitions
from chroma_qualify.errors import UsageError


@dataclasses.dataclass(frozen=True, slots=True)
class GoModule:
    """Programs that one go.mod names as tools.

    Attributes:
        name: its key in images.toml.
        path: of the module that the programs come from.
        directory: where its go.mod is.
        version: of the main module it builds, without `v`.
        about: usual seconds to build on 2 cores with nothing cached.
        names: package directory name to program name, where they differ.
        programs: packages to build; `tool` is all that go.mod names.
    """

    name: str
    path: str
    directory: Path
    version: str
    about: int
    tags: tuple[str, ...] = ()
    ldflags: tuple[str, ...] = ()
    names: tuple[tuple[str, str], ...] = ()
    programs: tuple[str, ...] = ("tool",)


@dataclasses.dataclass(frozen=True, slots=True)
class Layer:
    """Debian packages on top of the base userland."""

    name: str
    packages: tuple[str, ...]
    unpacked: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class StaticImage:
    """An image of one static program.

    Attributes:
        go: key of the Go module that the program comes from.
        program: its name, and that of the stage of static/Dockerfile.
        reference: of the published image that it stands for.
    """

    go: str
    program: str
    reference: str


@dataclasses.dataclass(frozen=True, slots=True)
class Catalog:
    """One choice of versions, and how everything in it is made."""

    kubernetes: str
    chroma: str
    suite: str
    base: tuple[str, ...]
    layers: dict[str, Layer]
    go: dict[str, GoModule]
    static: tuple[StaticImage, ...]
    etcd: str
    coredns: str
    pause: str
    python: str
    registry_kubernetes: str
    registry_digest: str

    @property
    def chroma_reference(self) -> str:
        """How the manifests name Chroma's image."""
        return f"docker.io/chromadb/chroma:{self.chroma}"


def default_versions() -> tuple[str, str]:
    """The Kubernetes and Chroma versions used where none is asked for."""
    defaults = tomllib.loads((definitions() / "images.toml").read_text())["defaults"]
    return defaults["kubernetes"], defaults["chroma"]


def load_catalog(kubernetes: str | None = None, chroma: str | None = None) -> Catalog:
    """Read images.toml for these versions, without `v`; None means the default.

    Raises:
        UsageError: there is no definition for that version.
    """
    root = definitions()
    raw = tomllib.loads((root / "images.toml").read_text())
    kubernetes = (kubernetes or raw["defaults"]["kubernetes"]).removeprefix("v")
    chroma = chroma or raw["defaults"]["chroma"]
    if kubernetes not in raw["kubernetes"]:
        raise UsageError(f"no definition for Kubernetes {kubernetes}; there is {', '.join(sorted(raw['kubernetes']))}")
    chromas = sorted(path.stem for path in (root / "chroma" / "versions").glob("*.lock"))
    if chroma not in chromas:
        raise UsageError(f"no definition for Chroma {chroma}; there is {', '.join(chromas)}")
    cluster = raw["kubernetes"][kubernetes]
    modules = {name: _go_module(root, name, table, cluster["go"]) for name, table in raw["go"].items()}
    return Catalog(
        kubernetes=kubernetes,
        chroma=chroma,
        suite=raw["debian"]["suite"],
        base=tuple(raw["debian"]["packages"]),
        layers={
            name: Layer(name, tuple(table["packages"]), tuple(table.get("unpacked", ())))
            for name, table in raw["layers"].items()
        },
        go=modules,
        static=tuple(_static_image(table, modules) for table in raw["static"]),
        etcd=cluster["etcd"],
        coredns=cluster["coredns"],
        pause=cluster["pause"],
        python=raw["registry"]["python"],
        registry_kubernetes=raw["registry"]["kubernetes"],
        registry_digest=raw["registry"]["digest"],
    )


def _go_module(root: Path, name: str, table: dict[str, object], kubernetes_directory: str) -> GoModule:
    place = str(table.get("directory", name))
    directory = root / "go" / (kubernetes_directory if place == "kubernetes" else place)
    path = str(table["module"])
    version = _main_version(directory / "go.mod", path)
    major, minor = ([*version.split("."), "", ""])[:2]
    flags = [str(flag).format(version=version, major=major, minor=minor) for flag in _list(table, "ldflags")]
    names = table.get("names", {})
    return GoModule(
        name=name,
        path=path,
        directory=directory,
        version=version,
        about=int(str(table["about"])),
        tags=tuple(_list(table, "tags")),
        ldflags=tuple(flags),
        names=tuple(names.items()) if isinstance(names, dict) else (),
        programs=tuple(_list(table, "programs")) or ("tool",),
    )


def _static_image(table: dict[str, str], modules: dict[str, GoModule]) -> StaticImage:
    version = modules[table["go"]].version
    # Prometheus 3.15.1 is the Go module v0.315.1: a major version above 1 would change the module's path.
    _, minor, patch = version.split(".")
    release = f"{int(minor) // 100}.{int(minor) % 100}.{patch}"
    return StaticImage(table["go"], table["program"], table["image"].format(version=version, release=release))


def _list(table: dict[str, object], key: str) -> list[str]:
    value = table.get(key, [])
    return [str(item) for item in value] if isinstance(value, list) else []


def _main_version(go_mod: Path, path: str) -> str:
    """The version that a go.mod requires of a module, without `v`; "0" for a program of our own."""
    for line in go_mod.read_text().splitlines():
        words = line.removeprefix("require ").split()
        if len(words) >= 2 and words[0] == path:
            return words[1].removeprefix("v")
    return "0"
