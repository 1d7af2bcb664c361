"""Which process is the server, judged on lists as a node gives them."""

import pytest

from chroma_qualify.errors import UndecidedError
from chroma_qualify.faults.process_kill import Process, parse_processes, server_process


@pytest.mark.parametrize(
    ("listed", "pid"),
    [
        ("4100 4000 dumb-init\n4120 4100 chroma\n", 4120),
        ("4100 4000 dumb-init\n4120 4100 chroma\n4130 4120 chroma\n", 4120),  # its child is not the server
        ("4120 4000 chroma\n", 4120),  # no init at all
        ("4100 4000 dumb-init\n4110 4100 sh\n4120 4110 python3\n", 4120),
        ("4100 4000 dumb-init\n4120 4100 chroma\n4140  \n", 4120),  # one ended while it was looked at
        ("4100 4000 dumb-init\n4120 4100 my server\n", 4120),
    ],
)
def test_the_server_is_the_topmost_that_is_no_init(listed, pid):
    assert server_process(parse_processes(listed), "abc").pid == pid


@pytest.mark.parametrize(
    "listed", ["", "4100 4000 dumb-init\n", "4100 4000 dumb-init\n1 4100 chroma\n2 4100 sidecar\n"]
)
def test_no_server_or_several_is_undecided(listed):
    with pytest.raises(UndecidedError, match="cannot tell the server"):
        server_process(parse_processes(listed), "abc")


def test_commands_may_hold_spaces():
    assert parse_processes("7 1 tokio runtime") == (Process(7, 1, "tokio runtime"),)
