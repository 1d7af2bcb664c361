"""`python3 -m chroma_tools NAME …` runs the `main()` of the module of that name."""

import importlib
import pkgutil
import sys

import chroma_tools


def main() -> int:
    names = sorted(module.name for module in pkgutil.iter_modules(chroma_tools.__path__) if module.name[0] != "_")
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    module = importlib.import_module(f"chroma_tools.{name}") if name in names else None
    if module is None or not hasattr(module, "main"):
        print(f"chroma_tools: there is no {name!r}", file=sys.stderr)
        return 2
    sys.argv = [f"chroma_tools {name}", *sys.argv[2:]]
    return int(module.main() or 0)


if __name__ == "__main__":
    sys.exit(main())
