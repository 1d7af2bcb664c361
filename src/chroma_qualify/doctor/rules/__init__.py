"""What can be wrong, one file per issue; each rule is a pure function from a patient to diagnoses."""

from __future__ import annotations

from chroma_qualify.doctor.diagnosis import Diagnosis
from chroma_qualify.doctor.look import Patient
from chroma_qualify.doctor.rules.memory import memory
from chroma_qualify.doctor.rules.reaching import reaching
from chroma_qualify.doctor.rules.setup import setup
from chroma_qualify.doctor.rules.starting import starting
from chroma_qualify.doctor.rules.storage import storage


def diagnose(patient: Patient) -> list[Diagnosis]:
    """Everything that is wrong, what keeps Chroma from running first; of the same rule and object only the first."""
    found = [found for rule in (starting, storage, memory, reaching, setup) for found in rule(patient)]
    return list({(item.rule, item.object): item for item in reversed(found)}.values())[::-1]
