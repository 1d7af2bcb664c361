"""Debian userlands from packages: a base by debootstrap, and layers as the difference to it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from chroma_qualify.cluster.images.catalog import Catalog, Layer
from chroma_qualify.cluster.images.store import Say, cache_dir, digest, make
from chroma_qualify.errors import InfraError

# Not needed to run a program, and a third of a minimal Debian.
PRUNED = (
    "usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/lintian", "usr/share/bug",
    "var/cache/apt", "var/lib/apt/lists", "var/log", "usr/share/perl5", "var/cache/debconf",
)  # fmt: skip


def base_tar(catalog: Catalog) -> Path:
    """Where the base userland is, or will be."""
    key = digest([catalog.suite, *catalog.base, *PRUNED, "v1"])
    return cache_dir() / "userlands" / f"debian-{key}.tar"


def layer_tar(catalog: Catalog, layer: Layer) -> Path:
    """Where a layer is, or will be."""
    key = digest([base_tar(catalog).name, *layer.packages, "|", *layer.unpacked, "v1"])
    return cache_dir() / "userlands" / f"{layer.name}-{key}.tar"


def build_base(catalog: Catalog, say: Say) -> Path:
    """Make the base userland; returns its tar file."""
    target = base_tar(catalog)
    if target.exists():
        return target

    def produce(place: Path) -> None:
        began = time.monotonic()
        say(f"installing a minimal Debian {catalog.suite} (about 75 MB to download, usually 40 s)")
        root = place.with_suffix("")
        command = [
            "debootstrap",
            "--variant=minbase",
            "--force-check-gpg",
            f"--include={','.join(catalog.base)}",
            catalog.suite,
            str(root),
        ]
        if mirror := _mirror(catalog.suite):
            command.append(mirror)
        _run(command)
        _tar(root, place, None)
        say(f"minimal Debian ready in {time.monotonic() - began:.0f} s")

    return make(target, produce)


def build_layer(catalog: Catalog, layer: Layer, say: Say) -> Path:
    """Install a layer's packages on a copy of the base and keep what they added; returns its tar file."""
    target = layer_tar(catalog, layer)
    if target.exists():
        return target
    base = build_base(catalog, say)

    def produce(place: Path) -> None:
        began = time.monotonic()
        say(f"installing {len(layer.packages) + len(layer.unpacked)} Debian packages for {layer.name} (usually 30 s)")
        root = place.with_suffix("")
        root.mkdir()
        _run(["tar", "-C", str(root), "--numeric-owner", "-xpf", str(base)])
        before = _listing(root)
        with _chroot(root) as inside:
            _run([*inside, "apt-get", "update", "-q"])
            _run([*inside, "apt-get", "install", "-qy", "--no-install-recommends", *layer.packages])
            if layer.unpacked:
                _run([*inside, "sh", "-ec", f"cd /tmp && apt-get download {' '.join(layer.unpacked)}"])
                for archive in sorted((root / "tmp").glob("*.deb")):
                    _run(["dpkg-deb", "-x", str(archive), str(root)])
                    archive.unlink()
        _tar(root, place, before)
        say(f"packages for {layer.name} ready in {time.monotonic() - began:.0f} s")

    return make(target, produce)


def _tar(root: Path, place: Path, before: dict[str, tuple[int, ...]] | None) -> None:
    for name in PRUNED:
        shutil.rmtree(root / name, ignore_errors=True)
    (root / "var/log").mkdir(parents=True, exist_ok=True)
    listing = _listing(root)
    changed = sorted(name for name, what in listing.items() if before is None or before.get(name) != what)
    _run(
        ["tar", "-C", str(root), "--numeric-owner", "--no-recursion", "--null", "-T", "-", "-cf", str(place)],
        stdin="\0".join(changed).encode(),
    )
    shutil.rmtree(root)


def _listing(root: Path) -> dict[str, tuple[int, ...]]:
    """Every path below root, with what tells whether it changed."""
    found: dict[str, tuple[int, ...]] = {}
    for directory, names, files in os.walk(root):
        for name in [*names, *files]:
            path = Path(directory) / name
            stat = path.lstat()
            size = 0 if path.is_dir() and not path.is_symlink() else stat.st_size
            mtime = 0 if path.is_dir() and not path.is_symlink() else int(stat.st_mtime)
            found[str(path.relative_to(root))] = (stat.st_mode, size, mtime, stat.st_uid, stat.st_gid)
    return found


@contextlib.contextmanager
def _chroot(root: Path) -> Iterator[list[str]]:
    """What to put before a command so that it runs inside root, with name resolution and no services."""
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    resolver = root / "etc/resolv.conf"
    shutil.copyfile("/etc/resolv.conf", resolver)
    # A mount namespace of its own: /proc goes away with the process, even after SIGKILL.
    script = (
        f'mount -t proc proc "{root}/proc"; export DEBIAN_FRONTEND=noninteractive LC_ALL=C; exec chroot "{root}" "$@"'
    )
    yield ["unshare", "--mount", "--", "sh", "-ec", script, "chroot"]
    policy.unlink()
    resolver.unlink()


def _mirror(suite: str) -> str | None:
    """Where this machine's own apt gets that suite from; None lets debootstrap choose."""
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE)", f"Codename: {suite}", "Created-By: Packages"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    sites = [line for line in done.stdout.split() if line.startswith("http")]
    return sites[0] if sites else None


def prepare_machine(say: Say) -> None:
    """Install what builds from packages need of this machine: debootstrap, and certificates to check downloads by.

    Raises:
        InfraError: this is no machine where that can be done.
    """
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise InfraError(
            "building images from packages needs root on Debian or Ubuntu",
            remedy="use IMAGES=registry where a container registry can be reached",
        )
    wanted = {
        "debootstrap": Path("/usr/sbin/debootstrap"),
        "ca-certificates": Path("/etc/ssl/certs/ca-certificates.crt"),
        "debian-archive-keyring": Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
    }
    missing = [package for package, file in wanted.items() if not file.exists()]
    if missing or not any(Path("/var/lib/apt/lists").glob("*_Packages*")):
        _run(["apt-get", "update", "-q"])
    if missing:
        say(f"installing {', '.join(missing)} with apt-get")
        _run(["apt-get", "install", "-qy", "--no-install-recommends", *missing])


def _run(command: list[str], stdin: bytes | None = None) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    done = subprocess.run(command, input=stdin, capture_output=True, check=False, env=environment)
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).decode(errors="replace")
        raise InfraError(f"`{' '.join(command[:3])} …` failed: {' '.join(said.splitlines()[-3:])[-500:]}")
