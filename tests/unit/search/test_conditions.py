"""Findings as conditions, on a real archive."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from callosum.archive.archive import Archive
from callosum.archive.entry import entry_from_image
from callosum.core.errors import NotFound, UsageError
from callosum.core.record import Image, PixelUnit
from callosum.knowledge.matcher import default_matcher
from callosum.knowledge.ontology import Concept, Ontology
from callosum.search.conditions import concept_of, finding_condition
from tests.fakes import FakeEncoder

TREE = Ontology([Concept(name=name) for name in ("effusion", "edema", "crow's nest", "lesion")])


@pytest.fixture
def archive(tmp_path: Path, encoder: FakeEncoder) -> Archive:
    said = {
        "a": {"findings": ("effusion", "crow's nest"), "findings_uncertain": (), "findings_absent": ("edema",)},
        "b": {"findings": ("effusion", "edema"), "findings_uncertain": (), "findings_absent": ()},
        "c": {"findings": ("effusion",), "findings_uncertain": ("edema",), "findings_absent": ()},
        "d": {"findings": (), "findings_uncertain": (), "findings_absent": ("effusion",)},
        "e": {},
    }
    images = [Image(pixels=np.full((8, 8), n, np.uint8), unit=PixelUnit.DISPLAY) for n in range(len(said))]
    made = Archive.create(tmp_path / "a")
    rows = [
        replace(entry_from_image(image, source=name, record_id=name), **fields)
        for image, (name, fields) in zip(images, said.items(), strict=True)
    ]
    made.add(rows, encoder.encode_image(images))
    return made


@pytest.mark.parametrize(
    ("present", "without", "where", "expected"),
    [
        (["effusion"], [], None, "abc"),
        (["effusion"], ["edema"], None, "a"),
        ([], ["edema"], None, "ade"),
        ([], ["effusion", "edema"], None, "de"),
        (["crow's nest"], [], None, "a"),
        (["lesion"], [], None, ""),
        (["effusion"], [], "record_id = 'a' OR record_id = 'd' -- a comment", "a"),
    ],
)
def test_admitted(archive: Archive, present: list[str], without: list[str], where: str | None, expected: str) -> None:
    condition = finding_condition(present=present, without=without, ontology=TREE, where=where)
    assert {name for name in "abcde" if archive.count(where=f"({condition}\n) AND record_id = '{name}'")} == set(
        expected
    )


def test_nothing_asked_is_no_condition() -> None:
    assert finding_condition(ontology=TREE) is None


def test_refusals() -> None:
    with pytest.raises(NotFound, match="effusion"):
        finding_condition(present=["effusio"], ontology=TREE)
    with pytest.raises(UsageError, match="parenthesis"):
        finding_condition(present=["effusion"], ontology=TREE, where="1 = 1) OR (1 = 1")


def test_facets_count_what_is_there_and_what_is_unknown(archive: Archive) -> None:
    found = {facet.name: facet for facet in archive.facets()}
    assert found["findings"].counts == {"effusion": 3, "crow's nest": 1, "edema": 1}
    assert (found["findings"].num_images, found["findings"].num_unknown) == (5, 1)
    assert found["findings_absent"].counts == {"edema": 1, "effusion": 1}
    assert found["modality"].counts == {} and found["modality"].num_unknown == 5
    some = {facet.name: facet for facet in archive.facets(where="array_has(findings, 'edema')")}
    assert some["findings"].counts == {"edema": 1, "effusion": 1}


def test_facets_of_an_empty_archive_and_of_a_wrong_condition(archive: Archive, tmp_path: Path) -> None:
    assert all(facet.num_images == 0 for facet in Archive.create(tmp_path / "empty").facets())
    with pytest.raises(UsageError, match="SQL"):
        archive.facets(where="nonsense = 1")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("pleural effusion", "pleural effusion"), ("Pleural  Effusion", "pleural effusion"), ("PTX", "pneumothorax")],
)
def test_findings_are_named_by_any_of_their_words(name: str, expected: str) -> None:
    assert concept_of(name, matcher=default_matcher()) == expected


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(NotFound, match="pneumothorax"):
        concept_of("pneumothoraks", matcher=default_matcher())
