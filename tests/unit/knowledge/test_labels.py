"""Findings to the labels of a scheme."""

import pytest

from callosum.core.errors import InputError, NotFound
from callosum.core.finding import Change, Experiencer, Finding, Presence, Temporality
from callosum.core.report import SectionKind
from callosum.data.datasets.chexpert_labels import OBSERVATIONS
from callosum.data.datasets.covid import CovidRadiography
from callosum.data.datasets.five_by_200 import FINDINGS as FIVE
from callosum.data.datasets.nih14 import FINDINGS as NIH
from callosum.data.datasets.rsna import RsnaPneumonia
from callosum.knowledge.labelers import CHEXBERT_CODES, CodedLabeler, FindingLabeler, Labeler
from callosum.knowledge.labels import Aggregation, NoFinding, aggregate, label, statements
from callosum.knowledge.ontology import read_ontology
from callosum.knowledge.schemes import Role, read_schemes, scheme_of

P, A, U, N = Presence.PRESENT, Presence.ABSENT, Presence.UNCERTAIN, Presence.UNMENTIONED


def found(concept: str, presence: Presence = P, **more: object) -> Finding:
    return Finding(concept=concept, presence=presence, span=(0, 1), sentence=(0, 1), **more)  # type: ignore[arg-type]


def said(*findings: Finding, scheme: str = "chexpert14", **more: object) -> dict[str, Presence]:
    labels = label(findings, scheme, **more)  # type: ignore[arg-type]
    return {name: presence for name, presence in labels.items() if presence is not N}


@pytest.mark.parametrize(
    ("scheme", "classes"),
    [
        ("chexpert14", OBSERVATIONS),
        ("nih14", NIH),
        ("chexpert5", FIVE),
        ("covid", CovidRadiography.concepts),
        ("rsna", RsnaPneumonia.concepts),
    ],
)
def test_the_published_names_in_the_published_order(scheme: str, classes: tuple[str, ...]) -> None:
    assert tuple(label([], scheme)) == classes
    assert set(label([], scheme).values()) == {N}


def test_every_class_is_about_a_concept_and_no_scheme_has_two_normals() -> None:
    for scheme in read_schemes().values():
        about = set(scheme.roots.values())
        assert set(scheme.classes) <= about
        assert list(scheme.roles.values()).count(Role.NORMAL) <= 1


@pytest.mark.parametrize(
    ("concept", "classes"),
    [
        ("lung nodule", {"Lung Lesion"}),
        ("nodule", {"Lung Lesion"}),
        ("lung cancer", {"Lung Lesion"}),
        ("atelectasis", {"Atelectasis"}),
        ("consolidation", {"Consolidation"}),
        ("ground-glass opacity", {"Lung Opacity"}),
        ("hydropneumothorax", {"Pneumothorax", "Pleural Effusion"}),
        ("pulmonary edema", {"Edema"}),
        ("heart failure", {"Edema"}),
        ("rib fracture", {"Fracture"}),
        ("picc", {"Support Devices"}),
        ("pleural thickening", {"Pleural Other"}),
        ("lung infection", {"Pneumonia"}),
        ("thyroid nodule", set()),
        ("breast mass", set()),
        ("macular edema", set()),
        ("joint effusion", set()),
        ("pericardial effusion", set()),
        ("abscess", set()),
        ("melanoma", set()),
    ],
)
def test_the_classes_nearest_above(concept: str, classes: set[str]) -> None:
    assert scheme_of("chexpert14").classes_of(concept, read_ontology()) == classes


def test_one_finding_by_the_names_of_several_schemes() -> None:
    findings = [found("pleural effusion"), found("lung nodule", A)]
    assert said(*findings) == {"Pleural Effusion": P, "Lung Lesion": A}
    assert said(*findings, scheme="nih14") == {"Effusion": P, "Nodule": A}
    assert said(*findings, scheme="pocus") == {"Effusion": P}
    assert said(found("melanoma"), scheme="ham10000") == {"mel": P}


@pytest.mark.parametrize(
    ("more", "presence"),
    [
        ({}, P),
        ({"temporality": Temporality.HISTORICAL}, N),
        ({"experiencer": Experiencer.OTHER}, N),
        ({"change": Change.RESOLVED}, A),
        ({"temporality": Temporality.HYPOTHETICAL}, U),
        ({"temporality": Temporality.HYPOTHETICAL, "section": SectionKind.INDICATION}, N),
        ({"section": SectionKind.HISTORY}, N),
        ({"section": SectionKind.COMPARISON}, N),
        ({"section": SectionKind.FINDINGS}, P),
        ({"section": SectionKind.IMPRESSION}, P),
        ({"section": SectionKind.WET_READ}, P),
    ],
)
def test_whose_when_and_where(more: dict[str, object], presence: Presence) -> None:
    assert label([found("pneumonia", **more)])["Pneumonia"] is presence


@pytest.mark.parametrize(
    ("findings", "labels"),
    [
        ([found("normal heart size")], {"Cardiomegaly": A}),
        ([found("sharp costophrenic angles")], {"Pleural Effusion": A}),
        ([found("clear lungs")], {"Lung Opacity": A}),
        ([found("osseous abnormality", A)], {"Fracture": A}),
        ([found("intact bones")], {"Fracture": A}),
        ([found("clear lungs", A)], {}),
        ([found("clear lungs", U)], {}),
        ([found("clear lung on one side")], {}),
        ([found("clear lungs"), found("lung opacity")], {"Lung Opacity": P}),
        ([found("clear lungs"), found("consolidation")], {"Consolidation": P}),
        ([found("normal heart size"), found("cardiomegaly", U)], {"Cardiomegaly": U}),
        ([found("borderline heart size")], {"Cardiomegaly": U}),
    ],
)
def test_what_normal_statements_imply(findings: list[Finding], labels: dict[str, Presence]) -> None:
    assert said(*findings) == labels


@pytest.mark.parametrize(
    ("findings", "nih", "chexpert"),
    [
        ([found("pneumonia", U, leans=True)], P, U),
        ([found("pneumonia", U)], U, U),
        ([found("pneumonia", U, leans=True), found("pneumonia", A)], P, U),
        ([found("pneumonia", U, leans=True, temporality=Temporality.HISTORICAL)], N, N),
        ([found("pneumonia", U, leans=True, section=SectionKind.INDICATION)], N, N),
    ],
)
def test_a_doubt_that_leans_is_present_where_labels_have_no_word_for_doubt(
    findings: list[Finding], nih: Presence, chexpert: Presence
) -> None:
    assert label(findings, "nih14")["Pneumonia"] is label(findings, "nih15")["Pneumonia"] is nih
    assert label(findings)["Pneumonia"] is chexpert


def test_a_border_leans_to_what_it_borders_on() -> None:
    assert label([found("borderline heart size")], "nih14")["Cardiomegaly"] is P
    assert label([found("borderline heart size")])["Cardiomegaly"] is U
    assert list(statements([found("borderline heart size")]))[1] == ("cardiomegaly", U)


def test_statements_name_what_is_said_and_what_follows() -> None:
    assert list(statements([found("normal heart size")])) == [("normal heart size", P), ("cardiomegaly", A)]


@pytest.mark.parametrize(
    ("presences", "strongest", "chexpert"),
    [
        ([], N, N),
        ([P], P, P),
        ([A, P], P, P),
        ([U, P], P, P),
        ([A, U], U, U),
        ([A, U, P], P, U),
        ([A, A], A, A),
        ([N, A], A, A),
    ],
)
def test_both_rules_of_aggregation(presences: list[Presence], strongest: Presence, chexpert: Presence) -> None:
    assert aggregate(presences) is strongest
    assert aggregate(presences, Aggregation.CHEXPERT) is chexpert
    findings = [found("atelectasis", p) for p in presences if p is not N]
    assert label(findings, aggregation=Aggregation.CHEXPERT)["Atelectasis"] is chexpert


@pytest.mark.parametrize(
    ("findings", "stated", "unless_found"),
    [
        ([], N, N),
        ([found("normal study")], P, P),
        ([found("abnormality", A)], P, P),
        ([found("abnormality", A), found("cardiomegaly")], N, N),
        ([found("abnormality", A), found("emphysema", U)], N, N),
        ([found("abnormality", A), found("picc")], P, P),
        ([found("pneumothorax", A)], N, P),
        ([found("pneumoperitoneum", A)], N, P),
        ([found("low lung volumes")], N, P),
        ([found("normal study"), found("fracture", temporality=Temporality.HISTORICAL)], P, P),
    ],
)
def test_both_rules_of_no_finding(findings: list[Finding], stated: Presence, unless_found: Presence) -> None:
    assert label(findings, no_finding=NoFinding.STATED)["No Finding"] is stated
    assert label(findings, no_finding=NoFinding.UNLESS_FOUND)["No Finding"] is unless_found
    assert label(findings)["No Finding"] is stated
    assert label(findings, "covid", no_finding=NoFinding.UNLESS_FOUND)["Normal"] is unless_found


def test_a_report_has_no_finding_unless_something_is_found() -> None:
    assert said(found("pneumothorax", A, section=SectionKind.FINDINGS)) == {"No Finding": P, "Pneumothorax": A}


def test_strangers() -> None:
    with pytest.raises(NotFound, match="chexpert14"):
        label([], "chexpert15")
    with pytest.raises(NotFound, match="no concept"):
        label([found("phlogiston")])


def test_own_schemes(tmp_path: object) -> None:
    folder = tmp_path  # type: ignore[var-annotated]
    table = folder / "schemes.csv"  # type: ignore[operator]
    table.write_text(
        "scheme,class,role,concepts\nmine,Water,finding,pleural effusion; -empyema\nmine,Fine,normal,normal study\n"
    )
    mine = read_schemes(folder)["mine"]  # type: ignore[arg-type]
    assert label([found("hydropneumothorax")], mine) == {"Water": P, "Fine": N}
    assert label([found("empyema")], mine) == {"Water": N, "Fine": N}
    table.write_text("scheme,class,role,concepts\nmine,Water,finding,phlogiston\n")
    with pytest.raises(InputError, match="phlogiston"):
        read_schemes(folder)  # type: ignore[arg-type]
    table.write_text("scheme,class,role,concepts,leaning\nmine,Water,finding,pleural effusion,present\n")
    mine = read_schemes(folder)["mine"]  # type: ignore[arg-type]
    assert label([found("empyema", U, leans=True)], mine) == {"Water": P}
    table.write_text("scheme,class,role,concepts,leaning\nmine,Water,finding,pleural effusion,perhaps\n")
    with pytest.raises(InputError, match="leaning"):
        read_schemes(folder)  # type: ignore[arg-type]
    table.write_text("scheme,class,role,concepts\nmine,Water,wet,pleural effusion\n")
    with pytest.raises(InputError, match="role"):
        read_schemes(folder)  # type: ignore[arg-type]


def test_a_labeller_of_findings() -> None:
    labeler = FindingLabeler(
        extract=lambda text: [found("pleural effusion")] if "fluid" in text else [], scheme="nih14"
    )
    assert isinstance(labeler, Labeler)
    assert labeler("pleural fluid")["Effusion"] is P
    assert set(labeler("nothing").values()) == {N}


def test_a_model_that_gives_numbers_in_its_own_order() -> None:
    classes = tuple(reversed(OBSERVATIONS))
    numbers = [0] * 14
    numbers[classes.index("Edema")], numbers[classes.index("Fracture")], numbers[classes.index("Pneumonia")] = 1, 2, 3
    labeler = CodedLabeler(predict=lambda text: numbers, classes=classes)
    assert isinstance(labeler, Labeler)
    labels = labeler("any")
    assert tuple(labels) == OBSERVATIONS
    assert {k: v for k, v in labels.items() if v is not N} == {"Edema": P, "Fracture": A, "Pneumonia": U}
    assert set(CHEXBERT_CODES.values()) == set(Presence)


def test_a_model_that_gives_something_else() -> None:
    with pytest.raises(InputError, match="expected in any order"):
        CodedLabeler(predict=lambda text: [], classes=("Edema",))
    for numbers in ([0] * 13, [4] * 14):
        with pytest.raises(InputError, match="14 numbers"):
            CodedLabeler(predict=lambda text, n=numbers: n, classes=OBSERVATIONS)("any")
