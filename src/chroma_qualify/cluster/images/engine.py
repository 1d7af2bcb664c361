"""The few things we ask of the Docker engine while building."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from chroma_qualify.cluster.images.store import cache_dir
from chroma_qualify.errors import InfraError


def docker(*arguments: str, timeout: float = 900, stdin: Path | None = None) -> str:
    """Run docker; returns what it prints.

    Raises:
        InfraError: with docker's last words.
    """
    # The classic builder: no plugin, no builder image to pull.
    environment = {**os.environ, "DOCKER_BUILDKIT": "0"}
    with open(stdin or os.devnull, "rb") as file:  # noqa: PTH123 (devnull)
        try:
            done = subprocess.run(
                ["docker", *arguments], stdin=file, capture_output=True, timeout=timeout, check=False, env=environment
            )
        except FileNotFoundError as error:
            raise InfraError("there is no docker command", remedy="run this through scripts/sandbox run") from error
        except subprocess.TimeoutExpired as error:
            raise InfraError(f"`docker {arguments[0]}` did not end within {timeout:.0f} s") from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).decode(errors="replace").splitlines()
        raise InfraError(f"`docker {arguments[0]}` failed: {' '.join(said[-2:])[-500:]}")
    return done.stdout.decode(errors="replace").strip()


def in_sandbox() -> bool:
    """Is it the engine of scripts/sandbox, which is ours alone?"""
    return "chroma-qualify" in os.environ.get("DOCKER_HOST", "")


def image_id(reference: str) -> str | None:
    """The id of an image that the engine has, else None."""
    done = subprocess.run(
        ["docker", "image", "inspect", "--format", "{{.Id}}", reference], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else None


def build_image(reference: str, dockerfile: Path, context: Mapping[str, Path], *, target: str = "") -> None:
    """Build an image from a Dockerfile and files that lie in many places.

    Args:
        reference: its name.
        dockerfile: its Dockerfile.
        context: path in the build context to the file or directory that it is; hard links, not copies.
        target: the stage to build.
    """
    with tempfile.TemporaryDirectory(prefix="context-", dir=cache_dir()) as name:
        root = Path(name)
        for destination, source in context.items():
            _link(source, root / destination)
        (root / "Dockerfile").write_text(dockerfile.read_text())
        options: Sequence[str] = ["--target", target] if target else []
        docker("build", "--quiet", *options, "--tag", reference, str(root))


def _link(source: Path, destination: Path) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, destination, copy_function=_link_file, symlinks=True, dirs_exist_ok=True)
    else:
        _link_file(str(source), str(destination))


def _link_file(source: str, destination: str) -> None:
    try:
        os.link(source, destination, follow_symlinks=False)
    except OSError:  # another file system
        shutil.copy2(source, destination, follow_symlinks=False)
