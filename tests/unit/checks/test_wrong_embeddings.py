"""A wrong value and a wrong embedding are `wrong-value`, and nothing else.

The recorder holds embeddings against the values that it reads and leaves out those that do not fit, so one that
is wrong looks absent; and where the value is wrong, the right embedding looks absent, too.
"""

from lines import Lines, findings, rules

from chroma_qualify.checks.limits import Limits

SWAPPED = {"a": 2, "b": 1}


def swapped():
    return Lines().write(a=1, b=2, c=3).read(**SWAPPED, c=3).read(vectors=True, ids=["a", "b", "c"], c=3)


def test_its_missing_embedding_is_no_loss_of_the_index():
    (finding,) = findings(swapped())
    assert finding.rule == "wrong-value"
    assert "ids: a, b" in finding.evidence


def test_its_missing_embedding_is_not_stale_when_a_query_finds_the_record():
    assert rules(swapped().query("c", 3, **SWAPPED, c=3)) == ["wrong-value"]


def test_its_neighbours_are_not_judged_as_it_was_asked_with_the_vector_of_the_value_read():
    values = {f"r{n}": n for n in range(0, 100, 2)}
    read = {**values, "r0": 98, "r98": 0}
    far = {id_: value for id_, value in read.items() if value >= 80}  # near r98's own vector, asked for as r0
    lines = Lines().write(**values).read(**read).read(vectors=True, ids=list(values), **values)
    assert rules(lines.query("r0", 10, **far)) == ["wrong-value"]


def test_a_foreign_value_before_the_final_reads_excuses_no_later_loss():
    lines = Lines().write(a=1, b=2).read("after", a=2, b=2)
    assert rules(lines.read(a=1, b=2).read(vectors=True, ids=["a", "b"], b=2)) == ["lost-index", "wrong-value"]


def wrong_embedding(phase="final"):
    return Lines().write(a=1, b=2).read(a=1, b=2).read(phase, vectors=True, ids=["a", "b"], b=2).query("b", 2, a=1, b=2)


def test_an_embedding_that_never_comes_back_right_is_wrong_however_stale_reads_may_be():
    (finding,) = findings(wrong_embedding(), Limits(stale=60.0))
    assert finding.rule == "wrong-value"
    assert "a: its embedding did not come back as it was written in get#4" in finding.evidence
    assert [each.rule for each in findings(wrong_embedding())] == ["wrong-value"]


def test_an_embedding_that_comes_back_right_later_was_stale():
    later = {"vectors": True, "ids": ["a", "b"], "a": 1, "b": 2}
    assert rules(wrong_embedding().read(**later)) == ["stale-read"]
    assert rules(wrong_embedding("after").read(**later)) == ["stale-read"]
    assert rules(wrong_embedding().read(**later), Limits(stale=60.0)) == []


def test_a_query_does_not_vouch_for_what_the_store_lost():
    lines = Lines().write(a=1, b=2).read(b=2).read(vectors=True, ids=["a", "b"], b=2).query("b", 2, a=1, b=2)
    assert "wrong-value" not in rules(lines)


def test_an_embedding_of_a_record_that_was_deleted_and_written_again_is_asked_anew():
    lines = wrong_embedding().delete("a").write(a=3)
    assert rules(lines.final(a=3, b=2)) == []
    assert rules(lines.delete("a").write(a=4).read(a=4, b=2).read(vectors=True, b=2).query("b", 2, a=4, b=2)) == [
        "wrong-value"
    ]
