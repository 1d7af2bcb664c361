"""Rules on parsed Kubernetes objects: what can be known of a candidate without a cluster.

The way in is `lint_objects`; the scenarios and the command line call it. Pure: no files, no network, no clock.
"""

from chroma_qualify.lint.engine import RULES, lint_objects

__all__ = ["RULES", "lint_objects"]
