"""From what a pass over a collection noted to findings: one of each rule, with the smallest witness.

The rule names are those of history-format.md, an interface. Called by `checks.judge`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from chroma_qualify.checks.answers import some
from chroma_qualify.checks.limits import Limits
from chroma_qualify.checks.operation import Phase
from chroma_qualify.checks.register import Cluster, Conflict, Flaw, Span, conflict
from chroma_qualify.checks.track import Absences, Hit, Register, Stale, Track
from chroma_qualify.findings import Finding, Severity

Accused = set[tuple[str, int]]  # an id, and the index of a read that another rule has named

_ONE_WRITER = "never let two servers use one volume: one replica, strategy Recreate, no HPA"
_REMEDY = {
    "lost-store": f"{_ONE_WRITER}; restore the volume from a backup",
    "lost-index": f"{_ONE_WRITER}; write the lost records again (upsert)",
    "stale-read": f"{_ONE_WRITER}; or promise how stale a read may be, in qualification.yaml",
    "diverged": f"{_ONE_WRITER}: each replica keeps an index of its own in memory",
    "phantom": "look for another writer on this collection, and for errors that were answered after the write was done",
    "resurrected": f"{_ONE_WRITER}; look for a volume that was put back to an older state",
    "duplicate": "look for a proxy between client and server, and for two servers on one volume",
    "wrong-value": f"{_ONE_WRITER}; look for a proxy that answers from a cache",
}
_FLAW = {
    Flaw.BEFORE_WRITE: "a value was read before it was written",
    Flaw.TWO_AT_ONCE: "an older value was read after a newer one",
    Flaw.INSIDE: "an acknowledged write never took effect",
    Flaw.ABSENT_INSIDE: "the record was absent between two reads of one value",
    Flaw.DELETE_INSIDE: "an acknowledged delete never took effect",
    Flaw.ABSENT: "the record was absent although it was written and not deleted",
}


def found(rule: str, collection: str, message: str, evidence: str) -> Finding:
    """A finding against the candidate."""
    text = f"{message} (collection {collection})"
    return Finding(rule, Severity.FAIL, text, evidence, _REMEDY[rule], collection=collection)


def undecided(rule: str, collection: str | None, message: str, remedy: str, evidence: str = "") -> Finding:
    """A finding that says what could not be decided."""
    where = f" (collection {collection})" if collection else ""
    return Finding(rule, Severity.UNKNOWN, message + where, evidence, remedy, collection=collection)


def lost_store(track: Track) -> tuple[list[Finding], Accused]:
    """`lost-store`: acknowledged, not deleted, absent from every final read."""
    missed, seen = track.missed["store"], track.seen["store"]
    lost = sorted(id_ for id_ in missed if id_ not in seen)
    if lost:
        first = lost[0]
        write = track.live[first].write
        text = f"{len(lost)} acknowledged records are absent from every final read of the store"
        witness = f"{first} was acknowledged by {write.told()} and is not in {missed[first].told()}"
        return [found("lost-store", track.collection, text, f"{witness}; lost: {some(lost)}")], _accuse(track, lost)
    if track.final_counts and not track.final_reads:
        best = max(track.final_counts, key=lambda counted: (counted.operation.count or 0) - counted.least)
        short = best.least - (best.operation.count or 0)
        if short > 0:
            text = f"{short} of {best.least} acknowledged records are missing from every final count"
            return [found("lost-store", track.collection, text, best.operation.told())], set()
    return [], set()


def lost_index(track: Track) -> list[Finding]:
    """`lost-index`: in the store, but neither exact reads of the index nor a query by its own embedding find it."""
    in_store = track.seen["store"]
    missed, seen = track.missed["index"], track.seen["index"]
    # An embedding is held against the value read with it: under a foreign value it cannot come back right.
    foreign = {id_ for id_, op in track.foreign if op.phase is Phase.FINAL}
    lost = sorted(id_ for id_ in missed if id_ in in_store and id_ not in seen and id_ not in foreign)
    if not lost:
        return []
    first = lost[0]
    total = sum(1 for id_ in track.live if id_ in in_store)
    if track.rest is not None:
        total += int(track.rest.in_store.sum())
    text = f"{len(lost)} of {total} records are in the store but no final read of the index finds them"
    there = track.live.get(first)
    written = f"was acknowledged by {there.write.told()}, " if there else ""
    witness = f"{first} {written}is in the store, and not in {missed[first].told()}"
    return [found("lost-index", track.collection, text, f"{witness}; lost: {some(lost)}")]


def unread(track: Track) -> list[Finding]:
    """What the final reads did not ask: nothing is proven of it."""
    number = len(track.live) + (len(track.rest.ids) if track.rest is not None else 0)
    if not number:
        return []
    findings = []
    last = -1  # the last final count, where it stands for final reads
    if not track.final_reads and track.final_counts:
        last = max(counted.operation.index for counted in track.final_counts)
    store = {
        id_
        for id_, there in track.live.items()
        if id_ not in track.seen["store"] and id_ not in track.missed["store"] and there.since > last
    }
    index = [
        id_
        for id_ in track.live
        if id_ not in store and id_ not in track.seen["index"] and id_ not in track.missed["index"]
        and (id_ in track.seen["store"] or id_ not in track.missed["store"])
    ]  # fmt: skip
    if track.rest is not None:
        more = ~track.rest.in_store & (track.rest.since > last)
        store.update(track.names[id_] for id_ in track.rest.ids[more].tolist())
        index += [track.names[id_] for id_ in track.rest.ids[~more & ~track.rest.in_index].tolist()]
    if store:
        text = f"{len(store)} of {number} acknowledged records were in no final read of the store"
        remedy = "read the whole collection after everything is healed"
        findings.append(undecided("no-final-reads", track.collection, text, remedy, some(sorted(store))))
    if index:
        text = f"{len(index)} of {number} acknowledged records were neither found nor missed by an exact read"
        remedy = "get them with their embeddings, or query near each of them, after everything is healed"
        findings.append(
            undecided("index-not-read", track.collection, f"{text} of the index", remedy, some(sorted(index)))
        )
    return findings


def stale_reads(track: Track, limits: Limits) -> tuple[list[Finding], Accused]:
    """`stale-read`: absent from a read after the acknowledgement, present in a later one."""
    accused: Accused = set()
    worst: dict[str, tuple[float, str]] = {}
    for stale in track.stale:
        write = stale.absences.write
        age = age_of(stale)
        if stale.what == "store":
            accused |= _reads(track, stale.id, stale.absences)
        if age > limits.stale or limits.stale == 0:
            told = (
                f"{stale.id} was acknowledged by {write.told()}, absent from {stale.absences.last.told()} "
                f"of the {stale.what}, and there in {stale.found.told()}"
            )
            worst[stale.id] = max(worst.get(stale.id, (-1.0, "")), (age, told))
    if not worst:
        return _short_counts(track, limits), accused
    age, told = max(worst.values())
    text = f"{len(worst)} acknowledged records were missing from reads for up to {age:.3f} s"
    evidence = f"{told}; stale: {some(sorted(worst))}"
    return [found("stale-read", track.collection, text, evidence)], accused


def age_of(stale: Stale) -> float:
    """For how many seconds after its acknowledgement a record was missing from a read, at least."""
    return (stale.absences.last.start - (stale.absences.write.end or 0)) / 1e9


def diverged(track: Track) -> tuple[list[Finding], Accused]:
    """`diverged`: replicas read while nothing was written disagree."""
    if not track.disagreements:
        return [], set()
    accused: Accused = set()
    for each in track.disagreements:
        accused.update((id_, op.index) for op in (each.one, each.other) for id_ in each.ids if id_ not in op.values)
    worst = max(track.disagreements, key=lambda each: (len(each.ids), -each.other.index))
    text = f"replicas disagree while nothing is written ({len(track.disagreements)} pairs of reads): {worst.text}"
    ids = f"; in question: {some(worst.ids)}" if worst.ids else ""
    evidence = f"{worst.one.told()} against {worst.other.told()}{ids}"
    return [found("diverged", track.collection, text, evidence)], accused


def strange(track: Track) -> list[Finding]:
    """`phantom`, `resurrected`, `duplicate`: an answer holds what it must not."""
    findings = []
    for rule, hits, text in (
        ("phantom", track.phantom, "ids were read that nothing wrote"),
        ("resurrected", track.resurrected, "ids were read again after their acknowledged delete"),
        ("duplicate", track.repeated, "ids came more than once in one answer"),
    ):
        if hits:
            findings.append(_hits(track, rule, hits, text))
    over = [(count, (count.operation.count or 0) - count.most) for count in track.miscounts]
    for rule, suspects in (
        ("resurrected", [each for each in over if each[1] <= each[0].gone]),
        ("phantom", [each for each in over if each[1] > each[0].gone]),
    ):
        if suspects and all(finding.rule != rule for finding in findings):
            count, more = suspects[0]
            text = f"a count found {count.operation.count} records, {more} more than can be there"
            findings.append(found(rule, track.collection, text, count.operation.told()))
    return findings


def wrong_values(track: Track, accused: Accused) -> list[Finding]:
    """`wrong-value`: a value that was never written under its id, or no order of the operations explains them."""
    bad: dict[str, str] = {}
    for id_, op in track.foreign:
        if id_ not in bad:
            bad[id_] = f"{id_}: value {op.values[id_]} was never written under it and read by {op.told()}"
    for id_, register in track.registers.items():
        if id_ in bad:
            continue
        reason = conflict(*problem(id_, register, accused))
        if reason is not None:
            bad[id_] = _explain(id_, reason)
    for id_ in track.missing["index"].keys() & track.seen["index"] - track.exact - track.missed["store"].keys():
        absences = track.missing["index"][id_]  # not lost, as a query finds it, but no exact read gave it
        if absences.last.phase is Phase.FINAL:
            bad.setdefault(id_, f"{id_}: its embedding did not come back as it was written in {absences.last.told()}")
    if not bad:
        return []
    first = min(bad)
    text = f"the operations on {len(bad)} ids fit no order in which each read gives what was last written"
    return [found("wrong-value", track.collection, text, f"{bad[first]}; ids: {some(sorted(bad))}")]


def problem(id_: str, register: Register, accused: Accused) -> tuple[Sequence[Cluster], Sequence[Span], Sequence[Span]]:
    """What `register.conflict` decides, without the reads that another rule has named already."""
    clusters: Iterable[Cluster] = register.clusters.values()
    if register.optional:
        clusters = (c for c in clusters if c.read or c.value not in register.optional)
    absent = [(op.index, op.done or 0) for op in register.absent if (id_, op.index) not in accused]
    return list(clusters), register.deletes, absent


def floors(acknowledged: Mapping[Phase, int], limits: Limits) -> list[Finding]:
    """Too little traffic in a phase: the run proves nothing of it."""
    return [
        undecided(
            "too-little-traffic",
            None,
            f"{acknowledged[phase]} operations were acknowledged in phase {phase.value}, the plan asks for {floor}",
            "let the phase last longer, or raise the rate",
        )
        for phase, floor in limits.floors.items()
        if acknowledged[phase] < floor
    ]


def _short_counts(track: Track, limits: Limits) -> list[Finding]:
    """Counts of fewer records than were certainly there, where no other read tells which were missing."""
    if track.missing["store"] or track.disagreements or not track.final_reads:
        return []
    late = [(age, short) for short, age in track.short_counts if age > limits.stale or limits.stale == 0]
    if not late:
        return []
    age, worst = max(late, key=lambda each: each[0])
    number = worst.operation.count or 0
    text = f"{len(late)} counts were short, by records that had been acknowledged for up to {age:.3f} s"
    evidence = f"{worst.operation.told()} found {number} of at least {worst.least}"
    return [found("stale-read", track.collection, text, evidence)]


def _explain(id_: str, reason: Conflict) -> str:
    values = " and ".join(str(value) for value in reason.values)
    points = ", ".join(f"#{point}" for point in reason.points if point < 1 << 62)
    return f"{id_}: {_FLAW[reason.flaw]}{f' (value {values})' if values else ''}; see the lines {points}"


def _hits(track: Track, rule: str, hits: Sequence[Hit], text: str) -> Finding:
    first, op = hits[0]
    ids = sorted({id_ for id_, _ in hits})
    return found(rule, track.collection, f"{len(ids)} {text}", f"{first} in {op.told()}; ids: {some(ids)}")


def _accuse(track: Track, ids: Iterable[str]) -> Accused:
    absences = track.missing["store"]
    return {pair for id_ in ids if id_ in absences for pair in _reads(track, id_, absences[id_])}


def _reads(track: Track, id_: str, absences: Absences) -> Accused:
    low, high = absences.first.index, absences.last.index
    return {(id_, op.index) for op in track.registers[id_].absent if low <= op.index <= high}
