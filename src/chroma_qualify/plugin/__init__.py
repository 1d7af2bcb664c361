"""The pytest plugin that makes a test run a qualification run: `pytest -p chroma_qualify.plugin`.

It is not registered as an entry point, so that it touches no other project's tests; tests/e2e/conftest.py and the
Makefile name it. It puts the rooms together and holds no logic of its own about Chroma or Kubernetes.

    options    what can be asked, checked before anything starts
    outcome    which exception is whose fault
    run        the state of one run, from plan.json to verdict.json
    candidates which manifests a scenario gets
    lane       scenarios that may run beside others, in a process of their own (`lifeline`: which ends with the run)
    choice     which scenarios were asked for
    limit      what happens when the time is over
    visit      a run in a cluster that is not ours (`where`: which scenarios cannot be there)
    hooks      pytest's events → the run
    command    the shell command that repeats a run
    fixtures   what scenarios use
    namespaces what a scenario has for itself
    promotions from the manifests in use to the candidate
    contract   pytest-kind's `kind_cluster`, on a cluster of ours
"""

_PLUGINS = ("options", "choice", "limit", "hooks", "where", "fixtures")
pytest_plugins = [f"chroma_qualify.plugin.{name}" for name in _PLUGINS]
