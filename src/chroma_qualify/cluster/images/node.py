"""The node image: kind's own files, Kubernetes' programs, and every image unpacked already."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from chroma_qualify.cluster.images.catalog import Catalog
from chroma_qualify.cluster.images.engine import build_image
from chroma_qualify.cluster.images.store import cache_dir, definitions
from chroma_qualify.errors import InfraError

CONTAINERD_TIMEOUT = 30.0


def sandbox_images(kind: Path) -> tuple[str, ...]:
    """The pause image that kind's containerd configuration names."""
    text = (kind / "images/base/files/etc/containerd/config.toml").read_text()
    return tuple(re.findall(r'sandbox_image = "([^"]+)"', text))


def storage_images(kind: Path) -> tuple[str, str]:
    """The references of the local-path provisioner and of its helper, as kind's manifest has them."""
    text = (kind / "pkg/build/nodeimage/const_storage.go").read_text()
    found = dict(re.findall(r'const (storage\w+Image) = "([^"]+)"', text))
    return found["storageProvisionerImage"], found["storageHelperImage"]


def build(
    reference: str,
    catalog: Catalog,
    programs: Mapping[str, Path],
    layer: Path,
    images: Sequence[str],
    kind: Path,
) -> None:
    """Build the node image.

    Args:
        reference: its name.
        catalog: its versions.
        programs: directories of compiled programs by module.
        layer: the tar file of the node's Debian packages.
        images: references in the Docker engine, to be preloaded.
        kind: the directory of kind's module.
    """
    with tempfile.TemporaryDirectory(prefix="node-", dir=cache_dir()) as name:
        work = Path(name)
        files = work / "files"
        _copy_files(kind, files, catalog, programs["containerd"])
        preload = work / "preload.tar"
        _preload(programs["containerd"], images, work, preload)
        context = {
            "layer.tar": layer,
            "files": files,
            "preload.tar": preload,
            **{f"bin/{name}": programs["kubernetes"] / name for name in ("kubelet", "kubeadm", "kubectl")},
            **{f"local-bin/{path.name}": path for path in sorted(programs["containerd"].iterdir())},
        }
        build_image(reference, definitions() / "node/Dockerfile", context)


def _copy_files(kind: Path, place: Path, catalog: Catalog, containerd: Path) -> None:
    """What kind's base image copies in, and what its node image build writes."""
    shutil.copytree(kind / "images/base/files", place)
    for path in [place, *place.rglob("*")]:
        scripts = path.parent.name == "bin" or path.is_dir()
        path.chmod(0o755 if scripts else 0o644)
    config = place / "etc/containerd/config.toml"
    # Where the host lacks CAP_SYS_RESOURCE nobody may lower an OOM score; harmless elsewhere.
    config.write_text(config.read_text().replace("restrict_oom_score_adj = false", "restrict_oom_score_adj = true"))
    spec = json.loads(subprocess.run([str(containerd / "ctr"), "oci", "spec"], capture_output=True, check=True).stdout)
    spec.setdefault("hooks", {}).setdefault("createContainer", []).append({"path": "/kind/bin/mount-product-files.sh"})
    spec["process"].pop("rlimits", None)
    (place / "etc/containerd/cri-base.json").write_text(json.dumps(spec))
    (place / "kind/version").write_text(f"v{catalog.kubernetes}")
    manifests = place / "kind/manifests"
    manifests.mkdir()
    (manifests / "default-storage.yaml").write_text(_storage_manifest(kind))


def _storage_manifest(kind: Path) -> str:
    """Kind's manifest of the StorageClass `standard`: a string constant of its Go source."""
    text = (kind / "pkg/build/nodeimage/const_storage.go").read_text()
    provisioner, helper = storage_images(kind)
    found = re.search(r"const defaultStorageManifest = `(.*)", text, re.DOTALL)
    if not found:
        raise InfraError("kind's module has its storage manifest elsewhere now")
    manifest = found.group(1).replace("` + storageProvisionerImage + `", provisioner)
    manifest = manifest.replace("` + storageHelperImage + `", helper)
    return manifest.rsplit("`", 1)[0]


def _preload(containerd: Path, images: Sequence[str], work: Path, place: Path) -> None:
    """Unpack images as containerd would, so that a new node has them without any work."""
    with _containerd(containerd, work) as address:
        client = [str(containerd / "ctr"), "--address", address, "--namespace", "k8s.io"]
        save = subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        done = subprocess.run(
            [*client, "images", "import", "--local", "--discard-unpacked-layers",
             "--label", "io.cri-containerd.pinned=pinned", "-"],
            stdin=save.stdout, capture_output=True, text=True, check=False,
        )  # fmt: skip
        _, said = save.communicate()
        if save.returncode != 0 or done.returncode != 0:
            raise InfraError(f"the images cannot be preloaded: {(said.decode() + done.stderr).strip()[-500:]}")
        # Removing an image with --sync collects garbage: the layers' archives, half of the size.
        subprocess.run([*client, "images", "tag", images[0], "garbage:now"], capture_output=True, check=True)
        subprocess.run([*client, "images", "remove", "--sync", "garbage:now"], capture_output=True, check=True)
    done = subprocess.run(
        ["tar", "-C", str(work / "root"), "--xattrs", "--numeric-owner", "-cf", str(place), "var"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise InfraError(f"the preloaded images cannot be packed: {done.stderr.strip()[-300:]}")


@contextmanager
def _containerd(programs: Path, work: Path) -> Iterator[str]:
    """The containerd that the node will run, on this machine, for as long as the block lasts; yields its address."""
    address = work / "containerd.sock"
    config = work / "containerd.toml"
    config.write_text(
        f'version = 3\nroot = "{work / "root/var/lib/containerd"}"\nstate = "{work / "state"}"\n'
        'disabled_plugins = ["io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", '
        '"io.containerd.grpc.v1.cri"]\n'
        f'[grpc]\naddress = "{address}"\n[ttrpc]\naddress = "{address}.ttrpc"\n'
    )
    log = work / "containerd.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            # Should we be killed, it goes too.
            ["setpriv", "--pdeathsig", "KILL", "--", str(programs / "containerd"), "--config", str(config)],
            stdout=output, stderr=output, env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
        )  # fmt: skip
    try:
        until = time.monotonic() + CONTAINERD_TIMEOUT
        version = [str(programs / "ctr"), "--address", str(address), "version"]
        while subprocess.run(version, capture_output=True, check=False).returncode != 0:
            if process.poll() is not None or time.monotonic() > until:
                raise InfraError(f"containerd did not start: {log.read_text().strip()[-400:]}")
            time.sleep(0.1)  # its socket cannot be watched
        yield str(address)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(CONTAINERD_TIMEOUT)
