"""The load tests use the scenarios' fixtures."""

pytest_plugins = ["chroma_qualify.plugin"]
