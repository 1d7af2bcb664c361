"""The second lane: two real processes of pytest with our plugin, and a cluster that is only a name."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

NAME = "cq-lane"
CONFTEST = """
from types import SimpleNamespace
import pytest
from chroma_qualify.plugin.lane import second_lane

@pytest.fixture(scope="session")
def cluster(request):
    with second_lane(request.session, "cq-lane"):
        yield SimpleNamespace(name="cq-lane")
"""
HERE = """
from pathlib import Path
def test_here(cluster, seed, run):
    Path("here").write_text(f"{seed} {run.options.power_losses}")
def test_here_too(cluster): pass
"""
BESIDE = """
import os, pytest
from pathlib import Path
from chroma_qualify.errors import CandidateError
pytestmark = pytest.mark.beside
def test_beside(cluster, seed, run, report):
    Path("beside").write_text(f"{seed} {run.options.power_losses}")
    Path("pid").write_text(str(os.getpid()))
    report.measure("answers", 3)
def test_beside_too(cluster): pass
"""


@pytest.fixture
def lanes(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """Files of scenarios, and a run over them in a process of its own."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(pytester.path / "cache"))
    place = pytester.path / "cache" / "chroma-qualify" / "clusters" / NAME
    place.mkdir(parents=True)
    (place / "kubeconfig").touch()
    (place / "lease.json").write_text(
        json.dumps({"name": NAME, "pid": 1, "started": 1, "boot": "", "expires": 0, "kept": False})
    )
    pytester.makeini(
        "[pytest]\nmarkers =\n    beside: in the second lane\n    alone: after it\naddopts = --strict-markers\n"
    )
    pytester.makeconftest(CONFTEST)
    return Lanes(pytester)


class Lanes:
    def __init__(self, pytester: pytest.Pytester) -> None:
        self.path = pytester.path
        self._pytester = pytester

    def start(self, here: str = HERE, beside: str = BESIDE, *args: str) -> subprocess.Popen[str]:
        self._pytester.makepyfile(test_a=here, test_b=beside)
        command = [sys.executable, "-m", "chroma_qualify.plugin", "-p", "no:cacheprovider", *args]
        # A session of its own, as scripts/prove-interrupts does it.
        return subprocess.Popen(
            command, cwd=self.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )

    def run(self, here: str = HERE, beside: str = BESIDE, *args: str) -> tuple[int, str]:
        process = self.start(here, beside, *args)
        said, _ = process.communicate(timeout=400)
        return process.returncode, said

    @property
    def directory(self) -> Path:
        return self.path / "runs" / "latest"

    @property
    def verdict(self):
        return json.loads((self.directory / "verdict.json").read_text())

    @property
    def outcomes(self) -> dict[str, str]:
        return {scenario["name"]: scenario["outcome"] for scenario in self.verdict["scenarios"]}

    def wait_for(self, name: str) -> str:
        """What a file holds, once it is there and written."""
        until = time.monotonic() + 240
        while time.monotonic() < until:
            if (self.path / name).exists() and (text := (self.path / name).read_text()):
                return text
            time.sleep(0.05)
        raise AssertionError(f"there is no {name}")


def ended(pid: int) -> bool:
    """Is the process gone, or a zombie, within a few seconds?"""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


ALL = ["a::here", "a::here_too", "b::beside", "b::beside_too"]


def test_two_lanes_one_verdict(lanes):
    code, said = lanes.run(HERE, BESIDE, "--seed=7", "--power-losses=3")
    assert code == 0, said
    assert (lanes.path / "here").read_text() == (lanes.path / "beside").read_text() == "7 3"
    assert lanes.outcomes == dict.fromkeys(ALL, "pass")
    by_name = {scenario["name"]: scenario for scenario in lanes.verdict["scenarios"]}
    assert by_name["b::beside"]["measures"] == [{"name": "answers", "value": 3.0, "unit": ""}]
    plan = json.loads((lanes.directory / "plan.json").read_text())
    assert (plan["scenarios"], plan["options"]["lanes"]) == (ALL, 2)
    assert "beside: b::beside: begins (1 of 2)" in said
    assert "4 passed" in said
    assert "second lane, beside the first" in said
    assert "verdict: pass" in (lanes.directory / "logs" / "beside.txt").read_text()
    junit = (lanes.directory / "junit.xml").read_text()
    assert 'tests="4"' in junit
    assert "beside_too" in junit
    beside = json.loads((lanes.directory / "beside" / "plan.json").read_text())
    assert beside["scenarios"] == ALL[2:]
    assert beside["origin"] == plan["origin"], "both lanes have one clock"
    assert by_name["b::beside"]["began"] > by_name["a::here"]["began"], "seconds of the run, in both lanes"
    assert lanes.directory.resolve().name == plan["run_id"]  # not the lane's


def test_what_the_lane_finds_fails_the_run(lanes):
    beside = (
        f"{BESIDE}\ndef test_fails(): raise CandidateError('open-door', 'anybody may write', remedy='ask for a token')"
    )
    code, said = lanes.run(HERE, beside)
    assert code == 1, said
    assert lanes.outcomes["b::fails"] == "fail"
    assert [(f["rule"], f["scenario"]) for f in lanes.verdict["findings"]] == [("open-door", "b::fails")]
    assert "fail: open-door: anybody may write" in said
    assert "1 failed, 4 passed" in said
    assert 'failures="1"' in (lanes.directory / "junit.xml").read_text()


@pytest.mark.parametrize(
    ("statement", "code", "severity"),
    [("os.kill(os.getpid(), 9)", 4, "infra"), ("print('last words', flush=True); os._exit(5)", 3, "unknown")],
)
def test_a_lane_that_dies_is_told(lanes, statement, code, severity):
    beside = f"import sys\n{BESIDE}\ndef test_dies(capfd):\n    with capfd.disabled(): {statement}"
    ended_with, said = lanes.run(HERE, beside)
    assert ended_with == code, said
    (finding,) = lanes.verdict["findings"]
    assert (finding["rule"], finding["severity"]) == ("second-lane", severity)
    assert "b::dies: begins" in finding["evidence"]
    assert lanes.outcomes["b::beside"] == "not-run"
    assert lanes.outcomes["a::here"] == "pass"


@pytest.mark.parametrize("one_lane", ["--one-lane", "ONE_LANE"])
def test_one_lane_runs_all_here(lanes, monkeypatch, one_lane):
    args = [one_lane] if one_lane.startswith("-") else []
    if not args:
        monkeypatch.setenv(one_lane, "1")
    code, said = lanes.run(HERE, BESIDE, *args)
    assert code == 0, said
    assert lanes.outcomes == dict.fromkeys(ALL, "pass")
    assert not (lanes.directory / "beside").exists()


@pytest.mark.parametrize(
    ("chosen", "names", "two"),
    [("beside", ALL[2:], False), ("too", [ALL[1], ALL[3]], True)],
)
def test_a_choice_holds_for_both_lanes(lanes, chosen, names, two):
    code, said = lanes.run(HERE, BESIDE, "-k", chosen)
    assert code == 0, said
    assert lanes.outcomes == dict.fromkeys(names, "pass")
    assert (lanes.directory / "beside").exists() == two


def test_collect_only_starts_nothing(lanes):
    code, said = lanes.run(HERE, BESIDE, "--collect-only")
    assert code == 0
    assert "4 tests collected" in said
    assert not (lanes.path / "runs").exists()


def test_scenarios_that_need_no_cluster_are_no_lane_to_run_beside(lanes):
    code, said = lanes.run("def test_here(): pass", BESIDE)
    assert code == 0, said
    assert not (lanes.directory / "beside").exists()


def test_a_lane_that_never_began_is_no_pass(lanes):
    code, said = lanes.run("import pytest\n@pytest.mark.skip(reason='not here')\ndef test_here(cluster): pass")
    assert code == 3, said
    assert [f["rule"] for f in lanes.verdict["findings"]] == ["second-lane"]
    assert lanes.outcomes["b::beside"] == "not-run"


SLOW = "import time\n{}\ndef test_slow(cluster): Path('slow').write_text('x'); time.sleep(900)"


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_its_lane(lanes, sent):
    process = lanes.start(SLOW.format(HERE), SLOW.format(BESIDE).replace("'slow'", "'slow-beside'"))
    lanes.wait_for("slow")
    lanes.wait_for("slow-beside")
    began = time.monotonic()
    process.send_signal(sent)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 3, said
    assert time.monotonic() - began < 150  # not the 900 s that they sleep
    assert ended(int((lanes.path / "pid").read_text()))
    assert [f["rule"] for f in lanes.verdict["findings"]] == ["interrupted"]
    assert lanes.outcomes["b::beside"] == "pass"  # it had the time to say so
    assert lanes.outcomes["b::slow"] == "unknown"


def test_the_time_limit_holds_for_both_lanes(lanes):
    code, said = lanes.run(
        SLOW.format(HERE), SLOW.format(BESIDE).replace("'slow'", "'slow-beside'"), "--time-limit=25s"
    )
    assert (code, lanes.verdict["verdict"]) == (3, "unknown"), said
    # On a machine so slow that a lane has not begun by then, it is not begun.
    assert lanes.outcomes["a::slow"] in {"unknown", "not-run"}
    assert lanes.outcomes["b::slow"] in {"unknown", "not-run"}
    assert {finding["rule"] for finding in lanes.verdict["findings"]} <= {"time-limit", "second-lane"}
    assert "time-limit" in {finding["rule"] for finding in lanes.verdict["findings"]}


def test_a_run_that_is_killed_takes_its_lane_with_it(lanes):
    process = lanes.start(SLOW.format(HERE), SLOW.format(BESIDE).replace("'slow'", "'slow-beside'"))
    lanes.wait_for("slow-beside")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=300)
    assert ended(int((lanes.path / "pid").read_text()))


def test_what_strikes_at_the_whole_cluster_waits_for_the_lane(lanes):
    other = "import pytest\n@pytest.mark.alone\ndef test_other_alone(cluster): pass\ndef test_other(cluster): pass\n"
    (lanes.path / "test_c.py").write_text(other)
    beside = f"import time\n{BESIDE}\ndef test_slow(): time.sleep(3)"
    here = "def test_fault(cluster, experiment): pass\ndef test_after(cluster): pass"
    code, said = lanes.run(here, beside, "-k", "dns-down or image-upgrade or after or other or slow")
    assert code == 0, said
    lines = [line.partition("] ")[2] for line in said.splitlines()]
    begun = [line.partition(": begins")[0] for line in lines if ": begins" in line and not line.startswith("beside")]
    parallel, alone = ["a::fault[image-upgrade]", "a::after", "c::other"], ["c::other_alone", "a::fault[dns-down]"]
    assert begun == [*parallel, *alone]
    over = next(number for number, line in enumerate(lines) if line.startswith("beside: b::slow: pass"))
    assert over < lines.index("c::other_alone: begins (4 of 5)")
    assert any(part["name"] == "waiting for the second lane" for part in lanes.verdict["parts"])


def test_a_cluster_that_is_there_is_used_and_left(pytester, lanes):
    pytester.makeconftest(
        """
import pytest
import chroma_qualify.plugin.fixtures as ours
from chroma_qualify.cluster.model import Cluster
from pathlib import Path
ours.find_cluster = lambda name: Cluster(name, Path("kubeconfig"), Path("kubectl"))
ours._note_versions = lambda run, cluster: None
ours.ephemeral_cluster = None
"""
    )
    code, said = lanes.run("def test_here(cluster): assert cluster.name == 'cq-lane'", "", "--use-cluster=cq-lane")
    assert code == 0, said
    assert (lanes.path / "cache/chroma-qualify/clusters/cq-lane/lease.json").exists()
