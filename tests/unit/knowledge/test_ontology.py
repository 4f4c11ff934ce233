"""The ontology: what its tables say, and what they may not say."""

from pathlib import Path

import pytest
from pydicom.sr._concepts_dict import concepts as dicom_concepts

from callosum.core.errors import InputError, NotFound
from callosum.core.finding import Laterality, Presence
from callosum.knowledge.ontology import Concept, Implication, Kind, Ontology, private_code, read_ontology, read_table

ONTOLOGY = read_ontology()


def test_the_shipped_tables_hold_together() -> None:
    assert len(ONTOLOGY) > 400
    assert len(ONTOLOGY.of_kind(Kind.FINDING)) > 250
    for concept in ONTOLOGY:
        assert concept.name == concept.name.lower().strip()
        assert concept.codes
        assert not concept.site or ONTOLOGY.concept(concept.site).kind is Kind.SITE
        assert concept.name not in ONTOLOGY.ancestors(concept.name)
        if concept.kind is Kind.SITE:
            assert all(ONTOLOGY.concept(parent).kind is Kind.SITE for parent in concept.parents)


def test_public_codes_are_those_of_dicom() -> None:
    known = {code: [] for entries in dicom_concepts["SCT"].values() for code in entries}
    for entries in dicom_concepts["SCT"].values():
        for code, (meaning, *_) in entries.items():
            known[code].append(meaning.lower())
    checked = 0
    for concept in ONTOLOGY:
        for code in concept.codes:
            scheme, value = code.split(":")
            assert scheme in ("SCT", "RADLEX", "99CALLOSUM")
            assert len(value) <= 16
            if scheme == "SCT":
                meanings = known[value]
                assert all(any(word[:4] in m for word in concept.name.split()) for m in meanings) or any(
                    concept.name in m for m in meanings
                ), concept.name
                checked += 1
    assert checked > 60
    assert ONTOLOGY.concept("pneumothorax").codes[0] == "SCT:36118008"


def test_radlex_comes_with_its_notice() -> None:
    notice = (Path(private_code.__code__.co_filename).parent / "tables" / "NOTICE.txt").read_text()
    used = {code.split(":")[0] for concept in ONTOLOGY for code in concept.codes}
    assert all(scheme in notice for scheme in used)


def test_no_two_concepts_share_a_code() -> None:
    codes = [code for concept in ONTOLOGY for code in concept.codes]
    assert len(codes) == len(set(codes))


def test_ancestors_at_any_distance() -> None:
    assert ONTOLOGY.is_a("lung nodule", "nodule")
    assert ONTOLOGY.is_a("lung nodule", "lung lesion")
    assert ONTOLOGY.is_a("hydropneumothorax", "pneumothorax")
    assert ONTOLOGY.is_a("hydropneumothorax", "pleural effusion")
    assert not ONTOLOGY.is_a("nodule", "lung nodule")
    assert not ONTOLOGY.is_a("thyroid nodule", "lung lesion")
    assert "rib fracture" in ONTOLOGY.descendants("fracture")
    assert ONTOLOGY.is_a("pneumonia", "pneumonia")


def test_sides() -> None:
    assert ONTOLOGY.concept("middle lobe").laterality is Laterality.RIGHT
    assert not ONTOLOGY.concept("middle lobe").may_be(Laterality.LEFT)
    assert ONTOLOGY.concept("pleural effusion").may_be(Laterality.LEFT)
    assert ONTOLOGY.concept("pleural effusion").laterality is Laterality.UNSTATED
    assert not ONTOLOGY.concept("cardiomegaly").may_be(Laterality.BILATERAL)
    assert ONTOLOGY.concept("cardiomegaly").may_be(Laterality.UNSTATED)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(NotFound, match="cardiomegaly"):
        ONTOLOGY.concept("cardiomegally")


@pytest.mark.parametrize(
    ("concepts", "message"),
    [
        ([Concept(name="a"), Concept(name="a")], "once"),
        ([Concept(name="a", parents=("b",))], "found b"),
        ([Concept(name="a", site="b")], "found b"),
        ([Concept(name="a", parents=("b",)), Concept(name="b", parents=("a",))], "lead back"),
    ],
)
def test_what_cannot_be(concepts: list[Concept], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Ontology(concepts)


def test_an_implication_of_a_stranger() -> None:
    rule = Implication(concept="a", presence=Presence.PRESENT, other="b", becomes=Presence.ABSENT)
    with pytest.raises(InputError, match="found b"):
        Ontology([Concept(name="a")], implications=[rule])


def test_own_tables(tmp_path: Path) -> None:
    (tmp_path / "concepts.csv").write_text(
        "name,kind,parents,site,side,groups,codes,phrases\n"
        "wing,site,,,any,,,\n"
        "torn wing,finding,,wing,any,,LOCAL:1,tear of the wing; rent\n"
        "odd,finding,,,,,,-; peculiar\n"
    )
    (tmp_path / "implications.csv").write_text("concept,presence,other,becomes\ntorn wing,present,odd,uncertain\n")
    own = read_ontology(tmp_path)
    assert own.names == ("wing", "torn wing", "odd")
    assert own.concept("torn wing").phrases == ("torn wing", "tear of the wing", "rent")
    assert own.concept("torn wing").codes == ("LOCAL:1",)
    assert own.concept("odd").phrases == ("peculiar",)
    assert own.concept("odd").codes == (private_code("odd"),)
    assert own.masks == ONTOLOGY.masks
    assert own.implications[0].becomes is Presence.UNCERTAIN


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("name,parents\na,\n", "lacks kind"),
        ("name,kind\na,thing\n", "kind"),
        ("name,kind,side\na,finding,above\n", "side"),
        ('name,kind\n"a,finding\n', "CSV|comma"),
    ],
)
def test_a_table_that_cannot_be_read(tmp_path: Path, table: str, message: str) -> None:
    (tmp_path / "concepts.csv").write_text(table)
    with pytest.raises(InputError, match=message):
        read_ontology(tmp_path)


def test_a_table_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "masks.csv").write_bytes(b"phrase\n\xff\xfe\x00")
    with pytest.raises(InputError, match="UTF-8"):
        read_table("masks.csv", folder=tmp_path)
