"""A volume of a node of ours that can be filled up, and whose power can be lost: ext4 on a loop device.

The file system lives in one file on the node, behind a loop device with direct I/O. So it has a size that is enforced,
and a copy of that file holds what had reached the disk, which is what a power loss leaves (Linux, loop(4), losetup(8)).
Everything is done inside the node's container; when that is removed, its mounts go, and the loop devices with them, for
they are set to detach by themselves. Used by `deployment.volume` and by the faults that need such a volume.
"""

from __future__ import annotations

import dataclasses

from chroma_qualify.cluster.model import Cluster, Node

PLACE = "/var/lib/chroma-qualify/volumes"
_SCRIPT = "/usr/local/sbin/chroma-qualify-volumes"
_UNIT = "chroma-qualify-volumes.service"

# Mounts NAME.img at NAME: the NAME that is given, else (after a restart) every one that is not mounted. While the node
# is up only by name: two lanes make volumes, and what is unmounted may be so on purpose. Without udev, as in a
# container, a new loop device has no node in /dev. `losetup --detach` of a mounted one only marks it: it detaches when
# it is unmounted.
_MOUNT = f"""#!/bin/sh
set -eu
cd {PLACE}
for image in ${{1:-*}}.img; do
  [ -f "$image" ] || continue
  directory=${{image%.img}}
  mkdir -p "$directory"
  mountpoint -q "$directory" && continue
  for _ in 1 2 3 4 5; do
    device=$(losetup --find)
    [ -b "$device" ] || mknod "$device" b 7 "${{device#/dev/loop}}" 2>/dev/null || [ -b "$device" ]
    losetup --direct-io=on "$device" "$image" 2>/dev/null && break
    losetup "$device" "$image" 2>/dev/null && break
    device=
  done
  [ -n "$device" ] || {{ echo "no loop device for $image" >&2; exit 1; }}
  mount -t ext4 -o noatime "$device" "$directory" || {{ losetup --detach "$device"; exit 1; }}
  losetup --detach "$device"
done
"""
# Also after a restart of the node, before its pods.
_MOUNT_UNIT = f"""[Unit]
Before=containerd.service kubelet.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={_SCRIPT}
[Install]
WantedBy=multi-user.target
"""
_INSTALL = f"""
set -eu
mkdir -p {PLACE}
# Whole at once: the other lane may be running it.
cat > {_SCRIPT}.$$ <<'SCRIPT'
{_MOUNT}SCRIPT
chmod 755 {_SCRIPT}.$$
mv {_SCRIPT}.$$ {_SCRIPT}
cat > /etc/systemd/system/{_UNIT} <<'UNIT'
{_MOUNT_UNIT}UNIT
systemctl enable --quiet {_UNIT}
"""
_CREATE = f"""
set -eu
truncate --size "$2M" "{PLACE}/$1.new"
mkfs.ext4 -q -m 0 -E lazy_itable_init=1 "{PLACE}/$1.new"
mv "{PLACE}/$1.new" "{PLACE}/$1.img"
{_SCRIPT} "$1"
chmod 777 "{PLACE}/$1"
"""


@dataclasses.dataclass(frozen=True, slots=True)
class LoopVolume:
    """A mounted volume.

    Attributes:
        node: where it is.
        name: unique on the node.
    """

    cluster: Cluster
    node: Node
    name: str

    @property
    def directory(self) -> str:
        """Where it is mounted, on its node."""
        return f"{PLACE}/{self.name}"

    @property
    def backing(self) -> str:
        """The file that it lives in, on its node."""
        return f"{PLACE}/{self.name}.img"

    def shell(self, script: str, *args: str, timeout: float = 180) -> str:
        """Run a script of sh on its node, in which `$1` is the directory and `$2` the backing file; its output.

        Raises:
            InfraError: it failed or took longer than `timeout` s.
        """
        words = ["sh", "-c", f"set -eu\n{script}", "sh", self.directory, self.backing, *args]
        return self.cluster.on_node(self.node, *words, timeout=timeout).stdout

    def mount(self) -> None:
        """Mount the backing file again, after `unmount`."""
        self.shell(f"{_SCRIPT} {self.name}")

    def unmount(self) -> None:
        """Take the mount away; nobody may use it."""
        self.shell('umount "$1"')

    def drop(self) -> None:
        """Unmount as soon as nobody uses it, and delete the backing file."""
        self.shell('umount --lazy "$1" 2>/dev/null || true; rm -f "$2" "$2.crashed"')


def create_volume(cluster: Cluster, node: Node, name: str, mebibytes: int) -> LoopVolume:
    """Make an empty volume on a node and mount it, writable for everybody.

    Raises:
        InfraError: the node can do no loop devices, or is out of space.
    """
    volume = LoopVolume(cluster, node, name)
    cluster.on_node(node, "sh", "-c", _INSTALL)
    cluster.on_node(node, "sh", "-c", _CREATE, "sh", name, str(mebibytes))
    return volume


def volume_of(cluster: Cluster, node: Node, path: str) -> LoopVolume | None:
    """The volume that is mounted at a path of a node; None if it is none of ours."""
    name = path.removeprefix(f"{PLACE}/")
    return LoopVolume(cluster, node, name) if name != path and "/" not in name and name else None
