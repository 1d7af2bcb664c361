"""The rules themselves, one file per subject. `engine.RULES` lists them."""
