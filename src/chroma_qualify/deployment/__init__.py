"""Render, apply, wait for and reach a set of Chroma manifests."""
