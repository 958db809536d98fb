"""The facts of a synthetic picture, and their text."""

import dataclasses

import numpy as np
import pytest

from tfcxr.data.records import read_dataset_info
from tfcxr.data.schema import Record
from tfcxr.data.synthetic_facts import SyntheticFacts, facts_of_record

IMAGE = np.zeros((32, 32), np.uint8)


def test_the_sentence_says_that_it_is_synthetic_and_how_it_was_made():
    facts = SyntheticFacts("acgan/1", "0123456789abcdef" * 4, ("Mass", "age 60"), 7, 0.7)
    assert facts.sentence == (
        "Synthetic image, shows no patient; model acgan/1, weights 0123456789ab, seed 7, truncation 0.7; "
        "generated as: Mass, age 60."
    )
    assert SyntheticFacts("gan/1", "ab" * 32).sentence == (
        "Synthetic image, shows no patient; model gan/1, weights abababababab; generated as: no label."
    )


@pytest.mark.parametrize(
    ("key", "seed"),
    [("synthetic-0123abcd-4294967296", 2**32), ("synthetic-0123456789abcdef-0", None), ("0123456789abcdef", None)],
)
def test_a_record_of_a_cohort(disc_records, key, seed):
    provenance = {"saved_model": "cgan/2", "weights_sha256": "ab" * 32, "truncation": 0.5}
    info = dataclasses.replace(read_dataset_info(disc_records), is_synthetic=True, provenance=provenance)
    record = Record(IMAGE, key, (0.0, 1.0), "p", "PA", 60.0, "F")
    labels = ("PNEUMONIA", "sex F", "age 60", "view PA")
    assert facts_of_record(record, info) == SyntheticFacts("cgan/2", "ab" * 32, labels, seed, 0.5)


def test_a_record_of_embedded_images_has_its_run_as_model(disc_records):
    provenance = {"run": "segal", "weights_sha256": "ab" * 32}
    info = dataclasses.replace(read_dataset_info(disc_records), is_synthetic=True, provenance=provenance)
    facts = facts_of_record(Record(IMAGE, "k", (1.0, np.nan), "p"), info)
    assert facts == SyntheticFacts("segal", "ab" * 32, ("NORMAL",))
