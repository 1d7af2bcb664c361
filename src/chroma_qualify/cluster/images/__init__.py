"""The images a cluster needs: built from packages, or taken from a registry.

Everything is addressed by its content: a thing is named after the hash of its definition,
so it is made once, and again only when its definition changes.
"""
