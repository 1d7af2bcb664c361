"""The pytest plugin that makes a test run a qualification run: `pytest -p chroma_qualify.plugin`.

It is not registered as an entry point, so that it touches no other project's tests; tests/e2e/conftest.py and the
Makefile name it. It puts the rooms together and holds no logic of its own about Chroma or Kubernetes.

    options    what can be asked, checked before anything starts
    outcome    which exception is whose fault
    run        the state of one run, from plan.json to verdict.json
    candidates which manifests a scenario gets
    lane       scenarios that may run beside others, in a process of their own (`lifeline`: which ends with the run)
    visit      a run in a cluster that is not ours (`where`: which scenarios cannot be there)
    hooks      pytest's events → the run
    fixtures   what scenarios use
    namespaces what a scenario has for itself
    promotions from the manifests in use to the candidate
    contract   pytest-kind's `kind_cluster`, on a cluster of ours
"""

pytest_plugins = [
    "chroma_qualify.plugin.options",
    "chroma_qualify.plugin.hooks",
    "chroma_qualify.plugin.where",
    "chroma_qualify.plugin.fixtures",
]
