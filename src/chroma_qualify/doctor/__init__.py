"""What is wrong with a Chroma that runs somewhere, and the remedy: `chroma-qualify doctor`. Looks, and changes nothing.

`collect` takes a snapshot, `look` puts it in order, `rules` name what is wrong, `tell` says it.
"""
