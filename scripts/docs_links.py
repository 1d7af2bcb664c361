"""mkdocs' hook for links from pages to files of the repository that are no pages: `../../manifests/base`.

In the repository they lead to the file. The built site does not hold these files, so there the link becomes the file's
path, in its place. A link to a file that does not exist stays as it is, and `--strict` refuses it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]+)\]\((?P<target>\.\./[^)#]+)(?:#[^)]*)?\)")


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_: object) -> str:
    """Called by mkdocs for each page before it is rendered."""
    docs = Path(config.docs_dir).resolve()
    here = (docs / page.file.src_uri).parent

    def as_path(link: re.Match[str]) -> str:
        target = Path(os.path.normpath(here / link["target"]))
        if target.is_relative_to(docs) or not target.exists():
            return link[0]
        path = f"`{target.relative_to(docs.parent)}`"
        return path if link["text"].strip("`").lower() in path.lower() else f"{link['text']} ({path})"

    return _LINK.sub(as_path, markdown)
