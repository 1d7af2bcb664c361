"""For all tests: pytest's own `pytester`, with which the plugin is tested, and hypothesis without a clock."""

import hypothesis

pytest_plugins = ["pytester"]

# A busy machine is no bug: no example has a time limit.
hypothesis.settings.register_profile("chroma-qualify", deadline=None)
hypothesis.settings.load_profile("chroma-qualify")
