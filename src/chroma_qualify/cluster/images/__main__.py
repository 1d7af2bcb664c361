"""`python -m chroma_qualify.cluster.images ensure`: called by the Makefile, outside the sandbox."""

from __future__ import annotations

import argparse
import errno
import sys
import time

from chroma_qualify.cluster.images.clients import ensure_clients
from chroma_qualify.cluster.images.ensure import Source, ensure_images, find_kubectl
from chroma_qualify.cluster.images.store import cache_dir
from chroma_qualify.errors import QualifyError, UsageError


def main() -> int:
    """Returns the exit code: 0, 2 for a wrong request, 4 when a build or a download failed."""
    parser = argparse.ArgumentParser(prog="images", description="Build or fetch the images that a cluster needs.")
    parser.add_argument("command", choices=["ensure", "kubectl"], help="kubectl: print where one is, built if need be")
    parser.add_argument("--mode", type=Source, choices=list(Source), default=Source.AUTO)
    parser.add_argument("--k8s-version")
    parser.add_argument("--chroma-version")
    options = parser.parse_args()
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:6.1f} s] {text}", flush=True)

    try:
        if options.command == "kubectl":
            print(find_kubectl(lambda text: print(f"setup: {text}", file=sys.stderr)))
            return 0
        ensure_images(options.mode, options.k8s_version, options.chroma_version, say)
        ensure_clients(say)
    except QualifyError as error:
        print(f"images: {error.message}" + (f"; {error.remedy}" if error.remedy else ""), file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 4
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES}:
            raise
        print(f"images: {cache_dir()} cannot be written: {error}; make room, or set XDG_CACHE_HOME", file=sys.stderr)
        return 4
    except KeyboardInterrupt:
        print("images: interrupted; what is compiled so far is kept, run it again to go on", file=sys.stderr)
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(main())
