"""What sentences say of concepts whose places are known; one sentence a line, by phenomenon.

`[concept|x]` marks a concept and what is said of it: p present, a absent, u uncertain, h historical, q in question
(hypothetical), l uncertain but leaning towards presence, o somebody else's, n new, w worsened, s stable, i improved,
r resolved. None of these sentences is in a data pack.
"""

import re

import pytest

from callosum.core.finding import Assertion, Change, Experiencer, Presence, Temporality
from callosum.knowledge.assertion import ReadSentence

SENTENCES = {
    "plain": """
        Large [hiatal hernia|p].
        The examination shows a [cavitary lesion|p] in the left apex.
        Extensive [subcutaneous emphysema|p] along the chest wall
        [Scoliosis|p] of the thoracic spine is present.
        A [chest tube|p] is in place.
        There is evidence of [pulmonary fibrosis|p].
        Findings are consistent with [pulmonary edema|p].
        MULTIFOCAL [PNEUMONIA|p].
    """,
    "negation before": """
        No [pericardial effusion|a].
        There is no evidence of active [tuberculosis|a].
        The mediastinum is normal without [adenopathy|a].
        Without evidence of [free air|a].
        Negative for acute [hemorrhage|a].
        Lungs are free of [infiltrate|a].
        Absence of [hydronephrosis|a].
        No findings to suggest [aortic dissection|a].
        Nothing to suggest [osteomyelitis|a].
        The scan fails to demonstrate [abscess|a].
        CT ruled out [pulmonary embolism|a].
        He denies [chest pain|a].
        Patient never had [hemoptysis|a].
        The child was not [febrile|a].
        This is not consistent with [sarcoidosis|a].
        No obvious [fracture|a].
        No definite [nodule|a] on this view.
        No focal area of [consolidation|a].
        NO ACUTE [INFARCT|a].
        Not [hypoxic|a].
        w/o [effusion|a]
        The radiograph does not show any [mass|a].
        I do not believe there is a [fracture|a].
        Lacks [calcification|a].
    """,
    "negation after": """
        [Pleural effusion|a] is not identified.
        [Free air|a] is absent.
        A [fracture|a] was not seen.
        [Pulmonary embolism|a] has been excluded.
        [Myocardial infarction|a] was ruled out.
        [Hydronephrosis|a]: none.
        [Lymphadenopathy|a] is not currently evident.
        Acute [intracranial hemorrhage|a] is not visualized.
        [Pneumonia|a] is considered unlikely.
        [Consolidation|a] and [effusion|a] are not demonstrated.
        [Mass|a], [nodule|a], or [adenopathy|a] is not appreciated.
        The suspected [abscess|a] could not be confirmed, it was not found.
        Blood cultures: [bacteremia|a] not detected
        [Fecal occult blood|a] was negative.
        [Thrombus|a] cannot be identified.
    """,
    "lists": """
        No [mass|a], [nodule|a], or [cavity|a].
        No [mass|a], [nodule|a] or [cavity|a] is seen.
        No [wheezes|a], [rales|a], [rhonchi|a].
        Without [effusion|a], focal [consolidation|a], or large [pneumothorax|a].
        No focal [consolidation|a], large [effusion|a], or [pneumothorax|a].
        Denies [fever|a], [cough|a] and [dyspnea|a].
        There is neither [ascites|a] nor [free air|a].
        No [hemorrhage|a], no [infarct|a], and no [mass effect|a].
        No evidence for [edema|a] nor [effusion|a].
        No [adenopathy|a] or [mass|a] in the mediastinum or [effusion|a] at the bases.
        Possible [scarring|u] or [atelectasis|u].
        History of [asthma|h], [diabetes|h], and [stroke|h].
    """,
    "scope": """
        No [effusion|a], but [atelectasis|p] is seen.
        [Scarring|p] without [nodule|a].
        No [pneumothorax|a]; [rib fracture|p] on the right.
        No acute [disease|a] except for mild [scoliosis|p].
        No [fracture|a] other than the [compression deformity|p] of T8.
        No [effusion|a]. [Atelectasis|p] at the left base.
        There is no [effusion|a] and there is mild [edema|p].
        No [infiltrate|a], mild [hyperinflation|p].
        No [effusion|a] and the [aorta is ectatic|p].
        No [pneumothorax|a], [heart size is enlarged|p].
        Although [cardiomegaly|p] is seen, there is no [edema|a].
        No [mass|a] with small [cyst|p] of the liver.
        [Edema|p], no [effusion|a], and stable [cardiomegaly|s].
        [Emphysema|p] is noted, however [pneumonia|a] is not seen.
        No [edema|a] (small [effusion|p]).
        [Granuloma|p] in the right lung, no [adenopathy|a].
        The heart is [enlarged|p] and [effusion|a] is not seen.
        No [effusion|a] or [pneumothorax|a], [scoliosis|p].
        The study is positive for [embolism|p] and negative for [infarct|a].
        no [edema|a] no [mass|a] no [nodule|a]
        No [pulmonary nodule|a] while a [thyroid nodule|p] is present.
        [Bronchiectasis|p] which is not associated with [infection|a].
    """,
    "pseudo-negation": """
        No change in the [hilar mass|s].
        No significant interval change of the left [hydrothorax|s].
        No interval increase in [adenopathy|s].
        No improvement in [interstitial edema|s].
        Not only [edema|p] but also [effusion|p] is seen.
        There is no doubt that a [fracture|p] is present.
        The [abscess|s] has not resolved.
        Without change in the [cavitary lesion|s].
        [Cardiomegaly|s] without change.
        The [hematoma|s] has not significantly enlarged.
        Not without [effusion|p].
        [Lung mass|s], no change.
        There is no specific cause for the [dyspnea|p].
    """,
    "double cue": """
        No suspected [fracture|a].
        The possible [nodule|a] is not confirmed.
        No possible or probable [mass|a].
        Suspected [embolism|a] has been ruled out.
        No evidence of possible [hemorrhage|a].
        No [effusion|a] and possible [atelectasis|u].
    """,
    "uncertain": """
        Possible [empyema|u].
        [Bronchitis|u] is possible.
        Likely [atelectasis|u] at the bases.
        Density which may be a [nodule|u].
        [Opacity|p] could represent [contusion|u] or [aspiration|u].
        Suspicious for [malignancy|u].
        Raises the possibility of [lymphoma|u].
        Concern for [dissection|u].
        Cannot exclude a small [fracture|u].
        [Metastasis|u] is not excluded.
        [Aspiration|u] cannot be entirely excluded.
        Difficult to exclude [infection|u].
        [Abscess|u] cannot be ruled out.
        ?[pneumonia|u]
        [Mass|u]?
        Questionable [rib fracture|u].
        [Infarct|l] versus [tumor|l].
        [Edema|l] vs. [infection|l] at both bases.
        Differential includes [sarcoidosis|u], [lymphoma|u] and [tuberculosis|u].
        [Hemorrhage|u] is in the differential.
        Consider [pneumonia|u].
        [Pneumonia|u] should be considered.
        Findings suggest [congestive failure|u].
        [Cardiomegaly|l] is borderline.
        Favor [scarring|u] over malignancy.
        Felt to represent [vessel on end|u].
        [Pleural plaque|u]: possible.
        [Nodule|p], probably [granuloma|l].
        [Thickening|p] likely related to prior infection, less likely [tumor|u].
        Equivocal [infiltrate|u].
        [Retrocardiac opacity|u] is not well evaluated.
        A small [pneumothorax|u] could be present.
    """,
    "hypothetical": """
        Evaluate for [pulmonary embolism|q].
        Rule out [fracture|q].
        r/o [appendicitis|q]
        Please assess for [metastases|q].
        Screening for [lung cancer|q].
        If [fever|q] develops, call your doctor.
        Return if you have [chest pain|q], [shortness of breath|q], or [swelling|q].
        CT to exclude [dissection|q].
        Look for [nodule|q].
        Reason for exam: evaluate for [edema|q] or [effusion|q].
        Should [pneumothorax|q] develop, place a tube.
        She is at risk for [aspiration|q].
        CT to evaluate for [embolism|a] was negative.
        Whether there is [invasion|q] is the question.
        Evaluate for [mass|q]. No [mass|a].
    """,
    "history": """
        History of [breast cancer|h].
        h/o [CHF|h]
        Status post [lobectomy|h].
        s/p [CABG|h], no [effusion|a].
        Past medical history: [hypertension|h], [diabetes|h].
        Past medical history is significant for [stroke|h], [gout|h], and [anemia|h] who presents with [cough|p].
        Old [rib fractures|h].
        Remote [granulomatous disease|h].
        Prior [pneumonia|h].
        [Tuberculosis|h] in the past.
        [Pneumonia|h] three years ago.
        [Appendicitis|h] in 1998.
        In 2011 the patient had [pancreatitis|h].
        Previously had [shingles|h].
        No history of [seizure|a].
        Healed [clavicle fracture|h].
        PMH [COPD|h]
        Two-day history of [vomiting|p].
        [Cough|p] over the past three weeks.
        Compared to the prior study, [edema|p] is seen.
        History of [lymphoma|h], now with [effusion|p].
        [Nodule|p] on prior CT.
        [Splenectomy|h] last year.
        A 70-year-old man with [syncope|p].
    """,
    "experiencer": """
        Family history of [colon cancer|o].
        His father had [lung cancer|o].
        [Breast cancer|o] in her mother.
        Mother with [diabetes|o]; patient has [asthma|p].
        Mother reports that he had [fever|p].
        Sister died of [leukemia|o].
    """,
    "change": """
        New [consolidation|n].
        Interval development of [effusion|n].
        Newly seen [nodule|n].
        Developing [infiltrate|n] at the right base.
        Worsening [edema|w].
        [Effusion|w] has increased.
        Interval progression of [metastases|w].
        Stable [cardiomegaly|s].
        [Granuloma|s] is unchanged.
        Persistent [atelectasis|s].
        [Scarring|s] again seen.
        Improving [pneumonia|i].
        Interval decrease in the [pneumothorax|i].
        [Edema|i] has nearly resolved.
        Resolving [hematoma|i].
        Prior [effusion|i] has decreased.
        Resolution of [pneumothorax|r].
        [Pneumonia|r] has cleared.
        [Effusion|r] is no longer seen.
        Interval removal of the [nasogastric tube|r].
        The [drain|r] has been removed.
        The [infiltrate|r], which was seen before, has resolved.
        Resolved [atelectasis|r].
        No new [infarct|a].
    """,
    "form": """
        FINDINGS: No [effusion|a].
        [Effusion|a] - absent
        [EDEMA|a]: NO
        [Fracture|a]: No. [Dislocation|p]: yes.
        [Pneumothorax|a] (none)
        [Mass|a]: negative; [Nodule|p]: present
        Impression: 1. [Emphysema|p] 2. No [mass|a] 3. [Scoliosis|p]
        No XXXX of [consolidation|a].
        There are no XXXX XXXX [effusions|a].
        No ___ [pneumonia|a].
        No [**Hospital1**] evidence of [edema|a].
        Complications: None. [Hemorrhage|p] was treated.
        Lungs clear, no [effusion|a]\n\n[Cardiomegaly|p]
        NO [PNEUMOTHORAX|a], [EFFUSION|a], OR [CONSOLIDATION|a].
        - no [fracture|a]\n- [effusion|p]
        Negative for: [embolism|a], [dissection|a].
    """,
    "reports": """
        [Pneumothorax|a] is not visible.
        No residual [pneumothorax|a].
        No recurrent [effusion|a].
        No large [effusion|a].
        No sizable [pneumothorax|a] or [effusion|a].
        There has been no development of [edema|a].
        No radiographic evidence of acute [pneumonia|a].
        No convincing evidence of [pneumonia|a].
        Without radiographic evidence of [heart failure|a].
        No CT evidence of [pulmonary embolism|a].
        I see no [fracture|a].
        No free fluid or [abscess|a] is identified within the pelvis.
        Heart size is normal and there is no [effusion|a].
        There is no focal [consolidation|a], [effusion|a], [edema|a], or [pneumothorax|a] identified.
        No [consolidation|a], [effusion|a] or [pneumothorax|a]; [cardiomegaly|p].
        Small left [effusion|p], no right [effusion|a].
        [Effusion|p] on the left but not on the right.
        Bilateral [effusions|p], right greater than left, without [pneumothorax|a].
        [Atelectasis|p] rather than [pneumonia|u].
        The [opacity|p] is more likely [atelectasis|u] than [pneumonia|u].
        [Opacity|p] most likely representing [atelectasis|u], though [pneumonia|u] cannot be excluded.
        [Opacity|p], which could be [atelectasis|u] or [pneumonia|u] in the correct clinical setting.
        [Pneumonia|u] is not entirely excluded.
        Early [pneumonia|u] cannot be excluded with certainty.
        [Pneumonia|u] is a consideration.
        Superimposed [pneumonia|u] would be difficult to exclude.
        Possibility of [pneumonia|u] is raised.
        Finding may be due to [fracture|u].
        [Infiltrate|p] with possible [effusion|u].
        [Nodule|p] is suspicious for [malignancy|u].
        A [nodule|u] is suspected.
        Question [pneumothorax|u].
        [Effusion|u] is questioned.
        [Pneumothorax|u] not excluded.
        Suspected [pneumonia|u].
        [Edema|u] or [infection|u] could have this appearance.
        Assess for interval change in [effusion|q].
        Concern for [pneumonia|u].
        Evaluate [pneumothorax|p].
        Status post removal of [chest tube|r].
        Chest tube removed, no [pneumothorax|a].
        The [endotracheal tube|r] was removed.
        [Central line|r] has been removed in the interval.
        Interval extubation, [edema|s] is unchanged.
        [Effusion|i] has decreased in size.
        [Effusion|i] is smaller.
        Slight improvement in [edema|i].
        [Pneumonia|r] resolved.
        Complete resolution of [pneumonia|r].
        Previously noted [nodule|r] is no longer seen.
        Previously described [opacity|s] persists.
        Previously seen [consolidation|i] has improved.
        No longer any [pneumothorax|r].
        The prior [effusion|r] has cleared.
        [Cardiomegaly|s], stable.
        [Cardiomegaly|s] is stable and there is no [edema|a].
        The [effusion|w] is larger than before.
        Interval increase in [effusion|w].
        Interval worsening of [edema|w].
        Patient with known [COPD|p].
        Past history of [tuberculosis|h].
        History of prior [pneumonia|h].
        Known history of [lung cancer|h].
        Chronic [rib fractures|p].
        Old [granulomatous disease|h] is noted.
        Prior history of [DVT|h], no [PE|a].
        Remote history of [MI|h] in 2003.
        [CABG|h] in 2010.
        Grandfather had [mesothelioma|o].
        There is a family history of [aneurysm|o].
        Lungs: no [consolidation|a]. Pleura: no [effusion|a] or [pneumothorax|a].
        Pneumothorax status: [pneumothorax|a] absent.
        [Consolidation|a] : none. [Effusion|p] : small.
        [Consolidation|p]: yes. [Effusion|a]: no.
        [Effusion|a]? No.
        [Effusion|a] (-)
        [Effusion|a]: not seen; [edema|p]: mild
        [Pneumothorax|a] = none
        [PNEUMOTHORAX|a]- NO
        no acute [infiltrate|a] or [effusion|a] seen heart size normal
        there is no [pneumothorax|a] there is a small [effusion|p]
        no [chf|a]/[pneumonia|a]
        No [pneumothorax|a]/[effusion|a].
        Neg for [PTX|a].
        No e/o [PNA|a].
        No sig [effusion|a].
        w/ [effusion|p] w/o [PTX|a]
        c/w [edema|p]
        ? [effusion|u]
        [Effusion|u] ?
        poss [pneumonia|u]
        prob [atelectasis|l]
        No [fracture|a] or [dislocation|a]. Soft tissue [swelling|p].
        Interval placement of [chest tube|p].
        No [tube|a] or [line|a] is present.
        Tip of the [catheter|p] is not seen.
        The left [costophrenic angle|p] is not included.
        Lungs are clear bilaterally without [infiltrate|a], [effusion|a], or [mass|a].
        [Hernia|p] without evidence of [obstruction|a] or [strangulation|a].
        Absent [effusion|a].
        Absent [kidney|a].
        Unremarkable without [adenopathy|a].
        This does not represent [pneumonia|a].
        No finding suspicious for [malignancy|a].
        Low suspicion for [pneumonia|u].
        Doubt [pneumonia|u].
        [Pneumonia|a] is not favored.
        Patient is not having [chest pain|a].
        No evidence of [pneumothorax|a] following removal of the [chest tube|r].
        No interval change; [effusion|s] again noted.
        If [symptoms|q] persist, obtain CT.
        Should be followed to exclude [malignancy|q].
        Followup to ensure resolution of [pneumonia|p].
    """,
    "negative for": """
        The margins are negative for [tumor|a].
        Sputum was negative for [tuberculosis|a].
        The abdomen remains negative for [free air|a].
        The scan is negative for [hemorrhage|a], [mass|a], or [infarct|a].
    """,
    "obtained to evaluate": """
        CT was obtained to evaluate for [abscess|q].
        Ultrasound performed to assess for [thrombus|q] or [cyst|q].
        Radiograph to evaluate for the presence of [foreign body|q].
    """,
    "question marks": """
        ? [abscess|u]
        LLL opacity, ? [infection|u].
        [Opacity|p] ? [tumor|u]
        [Fracture|a]? No.
        [Fracture|p]? Yes.
        [Hernia|p]? Yes, small.
        [Effusion|u]?
    """,
    "alternatives": """
        Either [scarring|u] or [tumor|u].
        [Nodule|p] in either lung.
        No [nodule|a] in either lung.
        [Bronchitis|l] and/or [pneumonia|l] at the bases.
        No [mass|a] and/or [adenopathy|a].
        [Hemorrhage|u] or [infarct|u] may produce such a pattern.
        Most consistent with [hemangioma|u].
        Findings are consistent with [hemangioma|p].
    """,
    "doubt after a denial": """
        [Abscess|u] is unlikely but not excluded.
        [Dissection|u] is felt unlikely, but cannot be completely excluded.
        No large [hematoma|u], but a tiny one cannot be excluded.
        No definite [fracture|u], although it cannot be entirely excluded.
        No [effusion|a], but [pneumonia|u] cannot be excluded.
    """,
    "denied change": """
        No evidence that the [hematoma|s] has enlarged.
        No indication that the [nodule|s] has grown or progressed.
        No evidence that there is a [fracture|a].
        Lack of growth of the [nodule|s].
        Absence of significant change in the [lesion|s].
        The [edema|s] has not changed.
        The [edema|s] has not appreciably changed.
    """,
    "nobody as subject": """
        Neither kidney contains a [stone|a].
        None of the images show [fracture|a].
        Zero of five nodes contain [carcinoma|a].
        Neither [fracture|a] nor [dislocation|a] is seen and [swelling|p] is present.
    """,
    "answers": """
        [Hematuria|a]: denies
        [chest pain|a]: denied; [cough|p]
        [hernia|p] present [stone|a] absent [cyst|a] absent
        [stone|a] absent [hernia|p] present
        The [mass|a] present on the prior study is not seen.
    """,
    "after an event": """
        No [hematoma|a] after [drain|p] placement.
        No [pneumothorax|a] following thoracentesis of the [effusion|p].
        No [leak|a] status post [bypass|h].
        No residual [pneumothorax|a] after [chest tube|r] removal.
        History of [DVT|h] after hip surgery.
        Exclude [pneumothorax|q] after [biopsy|p].
    """,
    "tips": """
        The [feeding tube|p] tip is not visualized.
        [Feeding tube tip|p] is not seen.
        The [tip of the picc|p] is not seen.
        The [feeding tube|a] is not visualized.
    """,
    "said otherwise": """
        The [hematoma|r] has vanished.
        The [lesion|r] disappeared.
        MRI without contrast demonstrating [liver mass|p].
        Aspiration precautions given [dysphagia|p].
        Low probability of [embolism|u].
        Intermediate likelihood for [embolism|u].
        Opacity c/f [pneumonia|u].
        [Rash|r] cleared completely.
        [Abscess|a] is no longer suspected.
        No evidence of [metastasis|a] that would explain the [pain|p].
        Worse [edema|w] versus prior exam.
        No images showing [hernia|a].
        [Infection|p] not treated for lack of access.
        He is known to have [COPD|h].
    """,
    "standing facts": """
        [Penicillin allergy|h].
        Patient [smokes cigarettes|h].
        Reports daily [alcohol use|h].
        [Smoke inhalation|p].
        Admitted for [alcohol withdrawal|p] after an [allergic reaction|p].
        History of hysterectomy for fibroids, with [fever|p] and [cough|p].
        History of [diabetes|h], with [nephropathy|h].
    """,
    "leaning": """
        Probable [hemangioma|l].
        The [cyst|l] is probable.
        [Scar|l] versus [polyp|l].
        Borderline [splenomegaly|l].
        [Splenomegaly|l] is borderline.
        [Lipoma|l]: probable
        [Ileus|l] and/or [obstruction|l].
        Possible [scar|u] versus [polyp|u].
        May represent [cyst|u] versus [abscess|u].
        No probable [mass|a].
        Evaluate for [stone|q] versus [phlebolith|q].
        No [fracture|a], probable [bone island|l].
        Possibly [cyst|u].
    """,
}
CHANGES = {
    "n": Change.NEW,
    "w": Change.WORSENED,
    "s": Change.STABLE,
    "i": Change.IMPROVED,
    "r": Change.RESOLVED,
}
MARKED = re.compile(r"\[([^\[\]|*]+)\|(\w)\]")


def letter(said: Assertion) -> str:
    """The letter of what was said; of several the one that says most."""
    if said.experiencer is Experiencer.OTHER:
        return "o"
    if said.temporality is Temporality.HYPOTHETICAL:
        return "q" if said.presence is Presence.UNCERTAIN else "?"
    if said.change is not Change.UNSTATED:
        changed = next(key for key, change in CHANGES.items() if change is said.change)
        expected = Presence.ABSENT if changed == "r" else Presence.PRESENT
        return changed if said.presence is expected else "?"
    if said.presence is Presence.PRESENT:
        return "h" if said.temporality is Temporality.HISTORICAL else "p"
    if said.leans:
        return "l" if said.presence is Presence.UNCERTAIN else "?"
    return {Presence.ABSENT: "a", Presence.UNCERTAIN: "u"}[said.presence]


def unmark(line: str) -> tuple[str, list[tuple[int, int, str]]]:
    """The sentence without its marks, and the concepts with what should be said of them."""
    text, concepts, place = "", [], 0
    for match in MARKED.finditer(line):
        text += line[place : match.start()]
        concepts.append((len(text), len(text) + len(match[1]), match[2]))
        text, place = text + match[1], match.end()
    return text + line[place:], concepts


CASES = [(name, line.strip()) for name, block in SENTENCES.items() for line in block.strip().split("\n        ")]


@pytest.mark.parametrize(("phenomenon", "line"), CASES, ids=[f"{name}: {line[:50]}" for name, line in CASES])
def test_sentence(phenomenon: str, line: str) -> None:
    text, concepts = unmark(line.replace("\\n", "\n"))
    assert concepts
    read = ReadSentence(text)
    said = "".join(letter(read.assess(start, end)) for start, end, _ in concepts)
    assert said == "".join(expected for _, _, expected in concepts)
