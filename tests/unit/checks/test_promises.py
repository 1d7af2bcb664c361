"""qualification.yaml: what it says, and every way in which it can be wrong."""

import copy
import datetime
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from chroma_qualify.checks.plan import read_faults, read_plan
from chroma_qualify.checks.promises import FILE, STRICTEST, Setting, Stress, from_json, refuse_unknown_faults
from chroma_qualify.deployment.qualification import load_promises
from chroma_qualify.errors import UsageError

RISK = {
    "rule": "lost-index", "fault": "power-loss", "sync_threshold": "default", "reason": "r", "upstream": "u",
    "mitigation": "m", "expires": "2027-06-30",
}  # fmt: skip
GOOD = {
    "durability": {"default": "graceful", "never": "power-loss"},
    "writes_while_scaled_out": False,
    "full_volume": False,
    "stale_seconds": 0.5,
    "unavailable_seconds": {"default": 30, "node-restart": 90},
    "accepted_risks": [RISK],
}
SHIPPED = Path(__file__).parents[3] / "manifests/overlays/single-writer"


def test_what_is_promised():
    promises = from_json(GOOD)
    assert promises.includes(Stress.GRACEFUL, Setting.DEFAULT)
    assert not promises.includes(Stress.PROCESS_KILL, Setting.DEFAULT)
    assert promises.includes(Stress.POWER_LOSS, Setting.NEVER)
    assert not promises.includes(Stress.SCALED_OUT, Setting.NEVER)
    assert not promises.includes(Stress.VOLUME_FULL, Setting.NEVER)
    assert (promises.limit("pod-delete"), promises.limit("node-restart")) == (30, 90)
    assert promises.risks[0].expires == datetime.date(2027, 6, 30)
    assert from_json(promises.as_json()) == promises


def test_without_a_file_everything_is_promised(tmp_path):
    assert load_promises(tmp_path) == STRICTEST
    assert all(STRICTEST.includes(stress, setting) for stress in Stress for setting in Setting)
    assert STRICTEST.limit("pod-delete") is None
    assert not STRICTEST.stated


def test_the_shipped_topology_says_what_it_accepts():
    promises = load_promises(SHIPPED)
    assert promises.stated
    assert from_json(promises.as_json()) == promises
    assert {risk.fault for risk in promises.risks} >= {"power-loss", "process-kill", "volume-full"}
    assert all(risk.upstream and risk.mitigation for risk in promises.risks)


def test_a_topology_based_on_another_changes_what_it_says_itself(tmp_path):
    base, own = tmp_path / "base", tmp_path / "own"
    for directory in (base, own):
        directory.mkdir()
    (base / FILE).write_text(yaml.safe_dump(GOOD))
    (own / FILE).write_text("based_on: ../base\n")
    assert load_promises(own) == load_promises(base)
    (own / FILE).write_text("{based_on: ../base, accepted_risks: [], unavailable_seconds: {default: 5}}")
    assert load_promises(own) == from_json(
        GOOD | {"accepted_risks": [], "unavailable_seconds": {"default": 5, "node-restart": 90}}
    )
    (tmp_path / FILE).write_text("based_on: own")
    assert load_promises(tmp_path) == load_promises(own)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("based_on: .", "is based on itself"),
        ("based_on: ../nowhere", "nowhere/qualification.yaml cannot be read: No such file"),
        ("based_on: [..]", "based_on must be a directory"),
        ("{based_on: ../base, stale: 1}", "has the unknown field 'stale'"),
    ],
)
def test_what_is_based_on_nothing_is_said(tmp_path, text, words):
    for name, content in (("base", yaml.safe_dump(GOOD)), ("own", text)):
        (tmp_path / name).mkdir()
        (tmp_path / name / FILE).write_text(content)
    with pytest.raises(UsageError, match=words):
        load_promises(tmp_path / "own")


def test_every_environment_promises_what_the_single_writer_does():
    environments = ("dev", "staging", "production")
    assert [load_promises(SHIPPED.parent / name) for name in environments] == [load_promises(SHIPPED)] * 3


def changed(path, value):
    document = copy.deepcopy(GOOD)
    *way, last = path
    place = document
    for key in way:
        place = place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return document


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "must be an object"),
        (None, "must be an object"),
        (changed(["durabilty"], 1), "unknown field 'durabilty'"),
        (changed(["durability"], None), "durability"),
        (changed(["durability", "never"], "eternal"), r"durability\.never must be one of graceful, process-kill"),
        (changed(["durability", "never"], "volume-full"), r"durability\.never must be one of"),
        (changed(["full_volume"], "no"), "full_volume must be true or false"),
        (changed(["writes_while_scaled_out"], None), "writes_while_scaled_out must be true or false"),
        (changed(["stale_seconds"], -1), "stale_seconds must be a number"),
        (changed(["stale_seconds"], float("nan")), "stale_seconds must be a number"),
        (changed(["stale_seconds"], 10**400), "stale_seconds must be a number"),
        (changed(["unavailable_seconds"], [1]), "unavailable_seconds must be an object"),
        (changed(["unavailable_seconds", "default"], "30"), r"unavailable_seconds\.default must be a number"),
        (changed(["accepted_risks"], {}), "accepted_risks must be a list"),
        (changed(["accepted_risks", 0], "x"), r"accepted_risks\[0\] must be an object"),
        (changed(["accepted_risks", 0, "rule"], []), "rule must be the name of a rule"),
        (changed(["accepted_risks", 0, "upstream"], " "), "upstream is missing"),
        (changed(["accepted_risks", 0, "expires"], "soon"), "no date like"),
        (changed(["accepted_risks", 0, "owner"], "x"), "unknown field 'owner'"),
        (changed(["accepted_risks", 0, "mitigated_by"], "x"), "mitigated_by must be one of default, never"),
        (changed(["accepted_risks", 0, "certain"], 1), "certain must be true or false"),
        (changed(["durability", "default"], "power-loss"), "promises what it lists as an accepted risk"),
    ],
)
def test_what_is_wrong_is_said(document, words):
    with pytest.raises(UsageError, match=words):
        from_json(document)


@pytest.mark.parametrize(
    ("text", "words"),
    [("a: [1", "broken YAML at line"), ("\0", "broken YAML"), ("- 1", "must be an object"), ("", "must be an object")],
)
def test_a_broken_file_is_named(tmp_path, text, words):
    path = tmp_path / "qualification.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=words) as raised:
        load_promises(tmp_path)
    assert str(path) in raised.value.message


@pytest.mark.parametrize("text", ["a: &a [*a]", "expires: 2027-06-31", "a: &a {b: *a}"])
def test_what_yaml_stumbles_over_is_one_sentence(tmp_path, text):
    (tmp_path / "qualification.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"qualification\.yaml"):
        load_promises(tmp_path)


def test_a_misspelt_fault_is_named():
    known = {"power-loss", "node-restart"}
    refuse_unknown_faults(from_json(GOOD), known)
    with pytest.raises(UsageError, match="names the fault 'node_restart'"):
        refuse_unknown_faults(from_json(GOOD | {"unavailable_seconds": {"node_restart": 90}}), known)
    with pytest.raises(UsageError, match="names the fault 'power-los'"):
        refuse_unknown_faults(from_json(GOOD | {"accepted_risks": [RISK | {"fault": "power-los"}]}), known)


def test_a_date_may_be_one_of_yaml_s_own(tmp_path):
    document = yaml.safe_dump(GOOD).replace("'2027-06-30'", "2027-06-30")
    assert "expires: 2027-06-30" in document
    (tmp_path / "qualification.yaml").write_text(document)
    assert load_promises(tmp_path) == from_json(GOOD)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*GOOD, *RISK, "name", "x"]), inner),
    max_leaves=8,
)


@given(JUNK, st.sampled_from(sorted(GOOD)))
def test_no_document_is_a_crash(junk, field):
    for document in (junk, {**GOOD, field: junk}):
        try:
            from_json(document)
        except UsageError as error:
            assert error.message  # noqa: PT017 (either is right)


FIELDS = ["limits", "experiments", "promises", "date", "name", "fault", "stress", "collections", "floors", "setting"]


@given(st.dictionaries(st.sampled_from(FIELDS), JUNK))
def test_no_plan_and_no_faults_are_a_crash(document):
    for read in (
        lambda: read_plan(document),
        lambda: read_plan({"experiments": [document]}),
        lambda: read_plan(
            {"experiments": [{"name": "a", "fault": "b", "stress": "graceful", "collections": [document]}]}
        ),
        lambda: read_faults([document]),
        lambda: read_faults([{"experiment": "a", "fault": "b", **document}]),
    ):
        try:
            read()
        except UsageError as error:
            assert error.message  # noqa: PT017
