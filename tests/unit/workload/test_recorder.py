"""The recorder: what is on file when, whoever dies."""

import json
import random
import signal
import subprocess
import sys
import threading
import time

import history_lines as lines
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chroma_qualify.errors import UsageError
from chroma_qualify.workload.history import Answer, Call, Op, Outcome, Phase, completion, invocation, run_clock
from chroma_qualify.workload.recorder import Recorder

OK, INFO = Answer(Outcome.OK), Answer(Outcome.INFO, error="reset")


def call(number=0):
    return Call(Op.ADD, "c", Phase.BEFORE, values=(("a", number), ("b", number + 1)))


def test_the_invocation_is_on_file_before_the_request(tmp_path):
    path = tmp_path / "history.jsonl"
    times = iter((5, 7))
    with Recorder(path, lambda: next(times)) as recorder:
        process = recorder.new_process()
        recorder.invoke(process, call())
        assert json.loads(path.read_text()) == {
            "index": 0, "time": 5, "process": 0, "type": "invoke", "f": "add", "collection": "c",
            "endpoint": None, "phase": "before", "values": {"a": 0, "b": 1},
        }  # fmt: skip
        recorder.complete(process, OK)
    assert json.loads(path.read_text().splitlines()[1]) == {
        "index": 1, "time": 7, "process": 0, "type": "ok", "f": "add", "collection": "c", "endpoint": None,
        "phase": "before",
    }  # fmt: skip


def test_a_process_does_one_thing_and_retires_after_info(tmp_path):
    with Recorder(tmp_path / "h", run_clock()) as recorder:
        first, second = recorder.new_process(), recorder.new_process()
        recorder.invoke(first, call())
        with pytest.raises(ValueError, match="busy"):
            recorder.invoke(first, call())
        recorder.complete(first, OK)
        with pytest.raises(ValueError, match="no open call"):
            recorder.complete(first, OK)
        recorder.invoke(second, call(2))
        recorder.complete(second, INFO)
        with pytest.raises(ValueError, match="retired"):
            recorder.invoke(second, call(4))
        assert recorder.new_process() == 2
        with pytest.raises(ValueError, match="unknown"):
            recorder.invoke(3, call())
        assert (recorder.invoked("c", Phase.BEFORE), recorder.ended("c", Phase.BEFORE, Outcome.INFO)) == (2, 1)
    assert len(lines.read(tmp_path / "h")) == 4  # nothing of what was refused


def test_many_threads_make_one_order(tmp_path):
    with Recorder(tmp_path / "h", run_clock()) as recorder:

        def work(lane):
            process = recorder.new_process()
            for number in range(300):
                recorder.invoke(process, call(lane * 1000 + number * 2))
                info = (number + lane) % 7 == 0
                recorder.complete(process, INFO if info else OK)
                if info:
                    process = recorder.new_process()

        threads = [threading.Thread(target=work, args=(lane,)) for lane in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = lines.read(tmp_path / "h")
    assert len(found) == 8 * 300 * 2
    lines.validate(found)


def test_two_runs_do_not_share_a_file(tmp_path):
    Recorder(tmp_path / "h", run_clock()).close()
    with pytest.raises(UsageError, match="exists already"):
        Recorder(tmp_path / "h", run_clock())


@given(
    pairs=st.lists(st.tuples(st.text(), st.integers(-1, 2**62)), max_size=5),
    text=st.text(),
    near=st.none() | st.text(),
    ids=st.none() | st.lists(st.text()),
)
def test_any_text_survives_json(pairs, text, near, ids):
    asked = Call(
        Op.GET, text, Phase.FINAL, text, tuple(pairs), None if ids is None else tuple(ids), 3, vectors=True, near=near
    )
    line = json.loads("{" + invocation(1, asked) + "}")
    assert (line["collection"], line["endpoint"], line.get("near"), line.get("ids")) == (text, text, near, ids)
    assert line["values"] == dict(pairs)
    ended = "{" + completion(1, asked, Answer(Outcome.FAIL, tuple(pairs), 0, text)) + "}"
    assert "\n" not in ended
    assert json.loads(ended)["error"] == text
    assert json.loads(ended, object_pairs_hook=list)[6] == ("values", pairs) or not pairs  # repeated ids stay


CHILD = """
import os, sys, threading
from pathlib import Path
from chroma_qualify.workload.history import *
from chroma_qualify.workload.recorder import Recorder
recorder = Recorder(Path(sys.argv[1]), run_clock())
def work(lane):
    process = recorder.new_process()
    for n in range(10**6):
        values = tuple((f"{lane}-{n}-{i}", 1) for i in range(1 + n % 90))
        recorder.invoke(process, Call(Op.ADD, "c", Phase.BEFORE, values=values))
        os.write(1, f"sent {lane}-{n}-0\\n".encode())  # the request
        recorder.complete(process, Answer(Outcome.OK))
        os.write(1, f"answered {lane}-{n}-0\\n".encode())
for lane in range(3):
    threading.Thread(target=work, args=(lane,)).start()
"""


@pytest.mark.parametrize("seed", range(6))
def test_a_killed_recorder_loses_no_invocation(tmp_path, seed):
    path = tmp_path / "h"
    child = subprocess.Popen([sys.executable, "-c", CHILD, path], stdout=subprocess.PIPE)
    drained: list[bytes] = []
    reader = threading.Thread(target=lambda: drained.append(child.stdout.read()))
    reader.start()
    deadline = time.monotonic() + 30
    while not path.exists() or path.stat().st_size < 10_000:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    time.sleep(random.Random(seed).uniform(0, 0.1))
    child.send_signal(signal.SIGKILL)
    child.wait()
    reader.join()
    found = lines.read(path, cut=True)
    assert [line["index"] for line in found] == list(range(len(found)))
    invoked = {next(iter(line["values"])) for line in found if line["type"] == "invoke"}
    said = drained[0].decode().split("\n")[:-1]
    sent = {line.removeprefix("sent ") for line in said if line.startswith("sent")}
    assert len(sent) > 10
    assert sent <= invoked
    answered = sum(line.startswith("answered") for line in said)
    assert answered <= sum(line["type"] == "ok" for line in found) <= len(invoked)


FULL = """
import resource, signal, sys
from pathlib import Path
from chroma_qualify.errors import InfraError
from chroma_qualify.workload.history import *
from chroma_qualify.workload.recorder import Recorder
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
room = resource.RLIM_INFINITY
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, room))  # the write behind byte 1000 fails
recorder = Recorder(Path(sys.argv[1]), run_clock())
done, refused = 0, 0
for n in range(20):
    if n == 15:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))  # too late: the file ends with half a line
    process = recorder.new_process()
    try:
        recorder.invoke(process, Call(Op.COUNT, "c", Phase.BEFORE))
        done += 1
    except InfraError as error:
        refused += 1
print(done, refused)
"""


def test_without_room_nothing_is_sent_and_the_file_stays_readable(tmp_path):
    said = subprocess.run(
        [sys.executable, "-c", FULL, tmp_path / "h"], capture_output=True, text=True, check=True
    ).stdout.split()
    done, refused = map(int, said)
    assert done + refused == 20
    assert refused > 5  # every one after the first
    assert len(lines.read(tmp_path / "h", cut=True)) == done
