"""Concepts of a UMLS installation: a made-up one, with CUIs that UMLS does not have."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from callosum.core.errors import InputError, NotFound
from callosum.core.finding import Presence
from callosum.knowledge.extract import Extractor
from callosum.knowledge.labels import label
from callosum.knowledge.matcher import Mention, MentionFinder
from callosum.knowledge.ontology import Ontology
from callosum.knowledge.umls import UmlsConfig, UmlsIndex, build_umls_index


def term(cui: str, text: str, *, language: str = "ENG", preferred: bool = False, suppress: str = "N") -> str:
    status, kind, is_preferred = ("P", "PF", "Y") if preferred else ("S", "VO", "N")
    return f"{cui}|{language}|{status}|L1|{kind}|S1|{is_preferred}|A1||||MADEUP|PT|X|{text}|0|{suppress}||\n"


TERMS = [
    term("C9000001", "pleural water"),
    term("C9000001", "Pleural effusion", preferred=True),
    term("C9000002", "Effusion", preferred=True),
    term("C9000003", "Pneumothorax", preferred=True),
    term("C9000004", "Chest", preferred=True),
    term("C9000005", "épanchement pleural", language="FRE"),
    term("C9000006", "Obsolete dropsy", suppress="O"),
    term("C9000007", "Fracture of seventh rib", preferred=True),
    term("C9000008", "Cold", preferred=True),
    term("C9000009", "Cold", preferred=True),
]
TYPES = [("C9000001", "T047"), ("C9000002", "T046"), ("C9000003", "T047"), ("C9000004", "T023")]
TYPES += [("C9000007", "T037"), ("C9000008", "T047"), ("C9000009", "T070")]
RELATIONS = ["C9000001|A1|AUI|PAR|C9000002|A2|AUI|isa|R1||MADEUP|MADEUP|||N||\n"]
RELATIONS += ["C9000002|A2|AUI|CHD|C9000001|A1|AUI||R2||MADEUP|MADEUP|||N||\n"]


@pytest.fixture
def installation(tmp_path: Path) -> Path:
    folder = tmp_path / "META"
    folder.mkdir()
    (folder / "MRCONSO.RRF").write_text("".join(TERMS), encoding="utf-8")
    (folder / "MRSTY.RRF").write_text("".join(f"{cui}|{tui}|A1|Type|AT1||\n" for cui, tui in TYPES))
    (folder / "MRREL.RRF").write_text("".join(RELATIONS))
    return folder


@pytest.fixture
def index(installation: Path, tmp_path: Path) -> UmlsIndex:
    assert build_umls_index(installation, tmp_path / "umls.sqlite") == 7
    found = UmlsIndex(tmp_path / "umls.sqlite")
    yield found  # type: ignore[misc]
    found.close()


def test_the_longest_of_what_is_equally_alike(index: UmlsIndex) -> None:
    text = "No large PLEURAL effusion; pneumothorax"
    assert isinstance(index, MentionFinder)
    assert index.mentions(text) == [Mention(9, 25, "C9000001", 9), Mention(27, 39, "C9000003", 27)]


def test_nearly_the_same_letters(index: UmlsIndex) -> None:
    (mention,) = index.mentions("pneumothoraxes")
    assert mention.concept == "C9000003"
    (match,) = index.lookup("pneumothoraxes")
    mine = {" pneumothoraxes "[i : i + 3] for i in range(14)}
    its = {" pneumothorax "[i : i + 3] for i in range(12)}
    assert match.score == pytest.approx(len(mine & its) / len(mine | its))
    assert match.score >= 0.7
    assert index.lookup("thorax") == ()


def test_the_filter_by_rare_trigrams_loses_nothing(index: UmlsIndex) -> None:
    words = [
        "pleural effusion",
        "pleural effusions",
        "plural effusion",
        "effusion of",
        "pneumothora",
        "fracture of sevent rib",
    ]
    terms = ["pleural water", "pleural effusion", "effusion", "pneumothorax", "fracture of seventh rib", "cold"]

    def grams(text: str) -> set[str]:
        return {f" {text} "[i : i + 3] for i in range(len(text))}

    for word in words:
        alike = {t for t in terms if len(grams(word) & grams(t)) / len(grams(word) | grams(t)) >= 0.7}
        assert {match.term for match in index.lookup(word)} == alike
    assert index.lookup("fracture of sevent rib")


def test_a_window_of_five_words(index: UmlsIndex, tmp_path: Path) -> None:
    assert [m.concept for m in index.mentions("a fracture of seventh rib")] == ["C9000007"]
    narrow = UmlsIndex(tmp_path / "umls.sqlite", UmlsConfig(window=3, threshold=0.9))
    assert narrow.mentions("a fracture of seventh rib") == []
    narrow.close()


def test_semantic_types(index: UmlsIndex, tmp_path: Path) -> None:
    assert index.mentions("the chest has a cold") == [Mention(16, 20, "C9000008", 16)]
    every = UmlsIndex(tmp_path / "umls.sqlite", UmlsConfig(semantic_types=frozenset()))
    assert [m.concept for m in every.mentions("chest, cold")] == ["C9000004", "C9000008", "C9000009"]
    every.close()


def test_languages_and_suppressed_terms_are_left_out(index: UmlsIndex) -> None:
    assert index.mentions("epanchement pleural, obsolete dropsy") == []


def test_names_parents_and_codes(index: UmlsIndex) -> None:
    concept = index.concept("C9000001")
    assert (concept.phrases, concept.parents, concept.codes) == (
        ("Pleural effusion",),
        ("C9000002",),
        ("UMLS:C9000001",),
    )
    ontology = Ontology([concept, index.concept("C9000002")])
    assert ontology.is_a("C9000001", "C9000002")
    with pytest.raises(NotFound):
        index.concept("C9000006")


def test_without_relations(installation: Path, tmp_path: Path) -> None:
    (installation / "MRREL.RRF").unlink()
    build_umls_index(installation, tmp_path / "bare.sqlite")
    bare = UmlsIndex(tmp_path / "bare.sqlite")
    assert bare.concept("C9000001").parents == ()
    bare.close()


def test_what_cannot_be_built(installation: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="MRCONSO"):
        build_umls_index(tmp_path, tmp_path / "a.sqlite")
    (tmp_path / "there.sqlite").write_text("")
    with pytest.raises(InputError, match="new file"):
        build_umls_index(installation, tmp_path / "there.sqlite")
    (installation / "MRCONSO.RRF").write_text(TERMS[5])
    with pytest.raises(InputError, match="English"):
        build_umls_index(installation, tmp_path / "b.sqlite")
    (installation / "MRCONSO.RRF").write_text("C9|ENG|x\n")
    with pytest.raises(InputError, match="columns"):
        build_umls_index(installation, tmp_path / "c.sqlite")


def test_what_cannot_be_opened(installation: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        UmlsIndex(tmp_path / "none.sqlite")
    (tmp_path / "text.sqlite").write_text("no database at all, but long enough to be looked at" * 20)
    with pytest.raises(InputError, match="index"):
        UmlsIndex(tmp_path / "text.sqlite")
    build_umls_index(installation, tmp_path / "strict.sqlite", threshold=0.9)
    with pytest.raises(InputError, match=r"0\.7"):
        UmlsIndex(tmp_path / "strict.sqlite")


def test_any_thread_may_look_words_up(installation: Path, tmp_path: Path) -> None:
    build_umls_index(installation, tmp_path / "shared.sqlite")
    index = UmlsIndex(tmp_path / "shared.sqlite")
    texts = ["pneumothorax today", "small pleural effusion", "fracture of the seventh rib", "effusions"] * 5
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(index.mentions, texts))
    assert found == [index.mentions(text) for text in texts]
    assert [m.concept for m in found[0]] == ["C9000003"]
    index.close()


def test_findings_by_names_of_an_ontology_can_be_labelled(installation: Path, tmp_path: Path) -> None:
    build_umls_index(installation, tmp_path / "named.sqlite")
    index = UmlsIndex(tmp_path / "named.sqlite", names={"C9000003": "pneumothorax"})
    findings = Extractor(finder=index).sentence("No pneumothorax, pleural water.")
    assert [finding.concept for finding in findings] == ["pneumothorax"]
    assert label(findings, "nih14")["Pneumothorax"] is Presence.ABSENT
    index.close()
