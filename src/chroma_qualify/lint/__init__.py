"""Rules on parsed Kubernetes objects: what can be known of a candidate without a cluster.

The ways in are `lint_objects`, and `schema_invalid` with schemas from whoever has them; the scenarios and the command
line call them. Pure: no files, no network, no clock.
"""

from chroma_qualify.lint.engine import RULES, SETTINGS_RULES, lint_objects
from chroma_qualify.lint.schema import schema_invalid
from chroma_qualify.lint.settings import Settings

__all__ = ["RULES", "SETTINGS_RULES", "Settings", "lint_objects", "schema_invalid"]
