"""chroma-qualify: may this set of Chroma manifests be promoted?"""

__version__ = "0.1.0"
