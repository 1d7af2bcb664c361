"""What lies on a volume, file by file, so that "nothing was touched" can be shown.

Only nodes of ours can be entered. Called by the scenarios of upgrades.
"""

from __future__ import annotations

from chroma_qualify.cluster.model import Node
from chroma_qualify.deployment.apply import Deployed
from chroma_qualify.deployment.volume import directory_on_node
from chroma_qualify.errors import UndecidedError

# Name, size, time of the last change and sum of each file: also what was written again as it was would show.
_LIST = "cd {path} && find . -type f -printf '%p %s %T@\\n' | sort && find . -type f -exec sha256sum {{}} + | sort"


def fingerprint(deployed: Deployed) -> tuple[str, ...]:
    """The files of the volume that Chroma's data is on; nobody may write meanwhile.

    Raises:
        UndecidedError: it cannot be seen from a node of ours.
    """
    path = directory_on_node(deployed)
    for node in deployed.cluster.nodes if path else ():
        if files := _files(deployed, node, path):
            return files
    raise UndecidedError(f"the data directory cannot be looked at: {path or 'the volume'} is on no node of ours")


def _files(deployed: Deployed, node: Node, path: str) -> tuple[str, ...]:
    done = deployed.cluster.on_node(node, "sh", "-c", _LIST.format(path=path), check=False)
    return tuple(done.stdout.splitlines()) if done.returncode == 0 else ()
