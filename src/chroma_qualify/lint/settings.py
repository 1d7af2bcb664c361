"""What rules must know beside the objects. Here, and not in `engine`, so that rules can import it."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """For what the candidate is judged.

    Attributes:
        kubernetes: the version, like 1.37; "": the newest whose schemas are known.
        vectors: how many one server is to hold; 0: nobody said, so what depends on it is not judged.
        dimensions: of one vector; the default is what Chroma's own embedding function makes.
    """

    kubernetes: str = ""
    vectors: int = 0
    dimensions: int = 384


DEFAULTS = Settings()
