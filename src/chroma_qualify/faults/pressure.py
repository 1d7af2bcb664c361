"""Nearly out of something, and no further: memory close to its limit, a volume close to full; and a broken index.

Not among the registered faults, which end a server or a volume: these make an alert true that is to come before that.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from chroma_qualify.cluster.volumes import LoopVolume
from chroma_qualify.deployment.apply import Deployed
from chroma_qualify.faults.base import the_server
from chroma_qualify.faults.processes import CGROUP, node_of, shell

_BALLAST = ".chroma-qualify-ballast"
# `tail` keeps what has no end of line, and `sleep` never takes it. Outside of the container's processes, but in its
# cgroup: so nothing is needed in its image, and killing it does not go through a container that is starved.
_HOLD_MEMORY = (
    CGROUP
    + """
place=$(cgroup memory "$1") || exit 1
if [ -f "$place/memory.max" ]; then limit=memory.max usage=memory.current; else
  limit=memory.limit_in_bytes usage=memory.usage_in_bytes; fi
limit=$(cat "$place/$limit") usage=$(cat "$place/$usage")
[ "$limit" != max ] || { echo "the container has no memory limit" >&2; exit 1; }
inactive=0
while read -r key value; do
  case $key in inactive_file|total_inactive_file) inactive=$value;; esac
done < "$place/memory.stat"
amount=$((limit / 100 * $2 - (usage - inactive)))
setsid sh -c 'echo $$ > "$0/cgroup.procs" && head -c "$1" /dev/zero | tail | sleep 1800' "$place" "$amount" \\
  >/dev/null 2>&1 </dev/null &
echo $!
"""
)
_FILL = f"""
size=$(df --output=size --block-size=1 "$1" | tail -n 1)
free=$(df --output=avail --block-size=1 "$1" | tail -n 1)
fallocate --length "$((free - size * $3 / 100))" "$1/{_BALLAST}"
"""
# The index of the largest collection: where each of its records is. Chroma writes it with the index's other files.
_BREAK_INDEX = """
found=$(ls -S "$1"/*/index_metadata.pickle | head -n 1)
cp -p "$found" "$found.whole"
: > "$found"
"""
_MEND_INDEX = """
for whole in "$1"/*/index_metadata.pickle.whole; do
  [ -f "$whole" ] || continue
  cat "$whole" > "${whole%.whole}"
  rm "$whole"
done
"""


@contextlib.contextmanager
def memory_held(deployed: Deployed, *, percent: int) -> Iterator[None]:
    """So many percent of the container's memory limit are in use, most by a process that is not the server.

    Raises:
        InfraError: there is no limit.
    """
    server = the_server(deployed)
    node = node_of(deployed, server)
    group = shell(deployed, node, _HOLD_MEMORY, server.container_id, str(percent)).strip()
    try:
        yield
    finally:
        shell(deployed, node, 'kill -s KILL -- "-$1" 2>/dev/null || true', group)


@contextlib.contextmanager
def volume_filled(volume: LoopVolume, *, free: int) -> Iterator[None]:
    """So many percent of the volume are free, and no more."""
    volume.shell(_FILL, str(free))
    try:
        yield
    finally:
        volume.shell(f'rm -f "$1/{_BALLAST}"')


@contextlib.contextmanager
def index_broken(volume: LoopVolume) -> Iterator[None]:
    """The index file of the largest collection is empty, as a crash can leave it; a server that runs may not notice."""
    volume.shell(_BREAK_INDEX)
    try:
        yield
    finally:
        volume.shell(_MEND_INDEX)
