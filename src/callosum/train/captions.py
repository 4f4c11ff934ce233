"""Captions for pictures that have only labels: varied templates, each with what it asserts.

`Captioner.for_row` writes one caption that is true of a row; `Captioner.for_class` writes one prompt for a class of
a task. Both return the text and the facts it asserts, so that the objective knows of which other pictures the caption
is also true.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from callosum.train import class_phrases as classes
from callosum.train import phrases as words
from callosum.train.facts import NIH_FINDINGS, Facts
from callosum.train.packs import Row

CHEST_FILMS = ("cxr_nih14", "cxr_pediatric", "cxr_notes")


@dataclass(frozen=True, kw_only=True)
class Caption:
    """A sentence and what it claims.

    Attributes:
        text: The sentence.
        asserts: Facts the sentence claims; `None` for free text that only its own picture is known to satisfy.
        key: Key of a free text, equal for equal source texts; empty for templates.
    """

    text: str
    asserts: Facts | None
    key: str = ""


def text_key(text: str) -> str:
    """Lower-case letters and digits only: equal for texts that differ in spacing and punctuation."""
    return re.sub(r"[^a-z0-9]+", " ", text.lower()).strip()


class Captioner:
    """Writes captions; the random generator is the caller's.

    Args:
        rng: Source of every choice.
        free_text: How often a row with real sentences gets one of them instead of a template.
        avoid: `text_key` of sentences that no template caption and no prompt may be: those of an examination.
    """

    def __init__(self, rng: random.Random, *, free_text: float = 0.85, avoid: frozenset[str] = frozenset()) -> None:
        self.rng = rng
        self.free_text = free_text
        self.avoid = avoid

    def for_row(self, row: Row) -> Caption:
        """Write one caption that is true of `row`."""
        return self._allowed(lambda: self._write_row(row))

    def for_class(self, task: str, name: str) -> Caption:
        """Write one prompt for class `name` of `task`.

        Tasks: `modality`, `organ` (names like `ct:head`), `histology`, `breast`, `film` (`normal` or a finding),
        `not_film` (the same, negated), `child` (`normal`, `pneumonia`, `bacterial`, `viral`).
        """
        return self._allowed(lambda: self._write_class(task, name))

    def _allowed(self, write: Callable[[], Caption]) -> Caption:
        """Write until the sentence is not one to avoid; free texts are never avoided."""
        while True:
            caption = write()
            if caption.asserts is None or text_key(caption.text) not in self.avoid:
                return caption

    def _write_row(self, row: Row) -> Caption:
        facts = row.facts
        free_text = 0.35 * self.free_text if row.pack == "us_lung_pocus" else self.free_text
        if row.texts and (self.rng.random() < free_text or not _has_modality(facts)):
            return self._real(row)
        if row.pack in CHEST_FILMS:
            return self._finish(self._chest_film(row.facts))
        if row.pack == "path_lc25000":
            kinds = [k for k in ("adenocarcinoma", "squamous", "benign", "malignant") if facts[k]]
            return self._finish(self.histology(self.rng.choice(kinds + kinds[:1])))
        if row.pack == "us_breast_busi":
            kinds = [k for k in ("normal", "benign", "malignant", "mass") if facts.get(k)]
            return self._finish(self.breast(self.rng.choice(kinds + kinds[:1])))
        if row.pack == "us_lung_pocus" and self.rng.random() < 0.7:
            return self._finish(self._lung_ultrasound(facts))
        if row.pack == "blood_bccd" and self.rng.random() < 0.5:
            return self._finish(self._blood(row))
        return self._finish(self._plain(facts))

    def _write_class(self, task: str, name: str) -> Caption:
        if task == "modality":
            return self._finish(self.modality(name))
        if task == "organ":
            modality, region = name.split(":")
            return self._finish(self.organ(modality, region))
        if task == "histology":
            return self._finish(self.histology(name))
        if task == "breast":
            return self._finish(self.breast(name))
        if task == "child":
            return self._finish(self.child_film(name))
        return self._finish(self.film(name, negated=task == "not_film"))

    # -- parts, each returning (text, asserted facts) ------------------------------------------------------------

    def pick(self, options: Sequence[str]) -> str:
        """One of `options`."""
        return self.rng.choice(options)

    def modality(self, name: str) -> tuple[str, dict[str, bool]]:
        """A caption that names the modality only."""
        return self.pick(words.FRAMES).format(self.pick(words.MODALITY_NOUNS[name])), {name: True}

    def organ(self, modality: str, region: str) -> tuple[str, dict[str, bool]]:
        """A caption that names modality and region."""
        noun = self.pick(words.MODALITY_NOUNS[modality])
        if modality == "ultrasound" and region == "heart" and self.rng.random() < 0.4:
            text = self.pick(("echocardiogram", "echocardiography", "cardiac echo", "transthoracic echocardiogram"))
        elif self.rng.random() < 0.5:
            text = f"{noun} of the {self.pick(words.REGION_NOUNS[region])}"
        else:
            text = f"{self.pick(words.REGION_ADJECTIVES[region])} {noun}"
        if modality == "xray" and region == "chest" and self.rng.random() < 0.15:
            text = self.pick(("CXR", "chest film", "a frontal chest radiograph"))
        return self.pick(words.FRAMES).format(text), {modality: True, region: True}

    def histology(self, kind: str) -> tuple[str, dict[str, bool]]:
        """A caption of a lung tissue tile of `kind`."""
        frame = self.pick(classes.HISTOLOGY_FRAMES)
        text = frame.format(
            self.pick(classes.HISTOLOGY_CLASSES[kind]), noun=self.pick(words.MODALITY_NOUNS["histology"])
        )
        return self.pick(words.FRAMES[:14]).format(text), {"histology": True, kind: True}

    def breast(self, kind: str) -> tuple[str, dict[str, bool]]:
        """A caption of a breast ultrasound picture of `kind`."""
        asserts = {"ultrasound": True, "breast": True, kind: True}
        roll = self.rng.random()
        if roll < 0.12 and kind in classes.BREAST_TEMPLATES:
            return classes.BREAST_TEMPLATES[kind], asserts
        noun = self.pick(words.MODALITY_NOUNS["ultrasound"])
        scan = self.pick((f"breast {noun}", f"breast {noun}", f"{noun} of the breast", f"mammary {noun}"))
        thing = self.pick(classes.BREAST_CLASSES[kind])
        if roll < 0.45 and kind in classes.BREAST_ADJECTIVES:
            text = f"{self.pick(classes.BREAST_ADJECTIVES[kind])} {scan}"
        elif roll < 0.6 and kind != "normal":
            text = self.pick((f"{thing} on {scan}", f"{thing} in the breast, {noun}", f"{thing}, {scan}", thing))
        else:
            text = f"{scan} {self.pick(words.LINKS)} {thing}"
        return self.pick(words.FRAMES[:16]).format(text), asserts

    def film(self, finding: str, *, negated: bool = False) -> tuple[str, dict[str, bool]]:
        """A chest film that shows `finding` (or `normal`), or does not."""
        scan = self._film_noun()
        if finding == "normal":
            text = self._abnormal(scan) if negated else self._normal(scan)
            if self.rng.random() < 0.1:
                text = self.pick(words.SICK_LUNG_SENTENCES if negated else words.LUNG_SENTENCES)
        else:
            thing = self.pick(words.FINDING_NOUNS[finding])
            if negated:
                thing = re.sub(r"^an? ", "", thing)
                text = self._join(scan, f"{self.pick(words.NO_WORDS)} {thing}")
            else:
                text = self._positive(scan, thing)
        return self.pick(words.FRAMES[:14]).format(text), {"xray": True, "chest": True, finding: not negated}

    def child_film(self, kind: str) -> tuple[str, dict[str, bool]]:
        """A child's chest film: `normal`, `pneumonia`, `bacterial` or `viral`."""
        scan = self.pick(words.CHILD_WORDS).format(self._film_noun())
        asserts = {"xray": True, "chest": True, "child": True, kind: True}
        if kind == "normal":
            if self.rng.random() < 0.3:
                text = self._join(scan, f"{self.pick(words.NO_WORDS)} pneumonia")
                return text, {**asserts, "pneumonia": False}
            if self.rng.random() < 0.1:
                text = self.pick(words.LUNG_SENTENCES)
                return self.pick((f"{text} in a child", f"{text} in this child", f"child, {text}")), asserts
            return self._normal(scan), asserts
        if kind == "pneumonia":
            return self._positive(scan, self.pick(words.FINDING_NOUNS["pneumonia"])), asserts
        return self._positive(scan, f"{kind} pneumonia"), {**asserts, "pneumonia": True}

    # -- whole captions ------------------------------------------------------------------------------------------

    def _real(self, row: Row) -> Caption:
        text = self.rng.choice(row.texts)
        key = text_key(text)
        sentences = [s for s in re.split(r"(?<=[.;])\s+", text) if len(s) > 15]
        if len(sentences) > 1 and self.rng.random() < 0.5:
            start = self.rng.randrange(len(sentences))
            text = " ".join(sentences[start : start + self.rng.randint(1, 2)])
        return Caption(text=text, asserts=None, key=key)

    def _plain(self, facts: Facts) -> tuple[str, dict[str, bool]]:
        modality = self.rng.choice([m for m in words.MODALITY_NOUNS if facts.get(m)])
        regions = [r for r in words.REGION_NOUNS if facts.get(r)]
        if regions and self.rng.random() < 0.8:
            return self.organ(modality, self.rng.choice(regions))
        return self.modality(modality)

    def _chest_film(self, facts: Facts) -> tuple[str, dict[str, bool]]:
        roll = self.rng.random()
        if roll < 0.12:
            return self._plain(facts)
        kinds = [k for k in ("normal", "pneumonia", "bacterial", "viral") if facts.get(k)]
        if facts.get("child") and kinds and roll < 0.65:
            return self.child_film(self.rng.choice(kinds))
        if facts.get("normal") and roll < 0.85:
            text, asserts = self.film("normal")
        else:
            present = [f for f in words.FINDING_NOUNS if facts.get(f)]
            absent = [f for f in NIH_FINDINGS if facts.get(f) is False]
            if present and roll < 0.65:
                text, asserts = self._several(present)
            elif facts.get("normal") is False and roll < 0.8:
                text, asserts = self.film("normal", negated=True)
            elif absent:
                text, asserts = self.film(self.rng.choice(absent), negated=True)
            else:
                return self._plain(facts)
        return self._with_view(text, asserts, facts)

    def _several(self, present: list[str]) -> tuple[str, dict[str, bool]]:
        chosen = self.rng.sample(present, k=min(len(present), self.rng.choice((1, 1, 2, 3))))
        things = [self.pick(words.FINDING_NOUNS[f]) for f in chosen]
        listed = things[0] if len(things) == 1 else ", ".join(things[:-1]) + " and " + things[-1]
        text = self._positive(self._film_noun(), listed)
        return text, {"xray": True, "chest": True, **dict.fromkeys(chosen, True)}

    def _with_view(self, text: str, asserts: dict[str, bool], facts: Facts) -> tuple[str, dict[str, bool]]:
        options = []
        if "projection_ap" in facts:
            views = words.PROJECTION_AP if facts["projection_ap"] else words.PROJECTION_PA
            options.append((views, {"projection_ap": facts["projection_ap"]}))
        if "male" in facts:
            sexes = words.MALE_WORDS if facts["male"] else words.FEMALE_WORDS
            options.append((sexes, {"male": facts["male"]}))
        if options and self.rng.random() < 0.12:
            frames, more = self.rng.choice(options)
            return self.pick(frames).format(text), {**asserts, **more}
        return text, asserts

    def _lung_ultrasound(self, facts: Facts) -> tuple[str, dict[str, bool]]:
        scan = self.pick(("lung {}", "lung {}", "{} of the lung", "thoracic {}", "chest {}", "point-of-care lung {}"))
        scan = scan.format(self.pick(words.MODALITY_NOUNS["ultrasound"]))
        asserts = {"ultrasound": True, "lung": True}
        if facts.get("normal"):
            return self._normal(scan), {**asserts, "normal": True}
        present = [f for f in words.FINDING_NOUNS if facts.get(f)]
        if not present:
            return scan, asserts
        finding = self.rng.choice(present)
        return self._positive(scan, self.pick(words.FINDING_NOUNS[finding])), {**asserts, finding: True}

    def _blood(self, row: Row) -> tuple[str, dict[str, bool]]:
        noun = self.pick(words.MODALITY_NOUNS["smear"])
        cells = ["red blood cells", "erythrocytes", "many red cells", "blood cells"]
        if row.facts["white_cells"]:
            cells += ["a white blood cell", "red blood cells and a leukocyte", "white and red blood cells"]
        text = f"{noun} {self.pick(words.LINKS[:6])} {self.pick(cells)}"
        if row.facts["platelets"] and self.rng.random() < 0.3:
            return f"{text} and platelets", {"smear": True, "platelets": True}
        return text, {"smear": True}

    def _film_noun(self) -> str:
        if self.rng.random() < 0.12:
            return self.pick(("CXR", "chest film", "chest radiograph", "thoracic x-ray", "x-ray of the chest"))
        text = f"chest {self.pick(words.MODALITY_NOUNS['xray'])}"
        return self.pick(words.FRONTAL_WORDS).format(text) if self.rng.random() < 0.12 else text

    def _normal(self, scan: str) -> str:
        if self.rng.random() < 0.5:
            word = self.pick(words.NORMAL_WORDS[:5])
            return self.pick((f"{word} {scan}", f"{word} {scan}", f"{scan}, {word}", f"{scan} is {word}"))
        return self._join(scan, self.pick(words.NORMAL_TAILS))

    def _abnormal(self, scan: str) -> str:
        if self.rng.random() < 0.4:
            return f"{self.pick(words.ABNORMAL_WORDS)} {scan}"
        return self._join(scan, self.pick(words.ABNORMAL_TAILS))

    def _join(self, scan: str, tail: str) -> str:
        if tail.split()[0] in ("without", "free", "negative"):
            return f"{scan} {tail}"
        return self.pick((f"{scan} with {tail}", f"{scan} showing {tail}", f"{scan}, {tail}", f"{tail} on {scan}"))

    def _positive(self, scan: str, thing: str) -> str:
        roll = self.rng.random()
        if roll < 0.2:
            return self.pick((f"{thing} on {scan}", f"{thing}, {scan}", f"{scan}: {thing}", thing))
        return f"{scan} {self.pick(words.LINKS)} {thing}"

    def _finish(self, part: tuple[str, dict[str, bool]]) -> Caption:
        text, asserts = part
        text = re.sub(r"\ba (an?|the) ", r"\1 ", text)
        text = re.sub(r"\ba (?=[aeiouAEIOU]|X-|x-|xray|MR|H&E)(?!US |uni)", "an ", text)
        if self.rng.random() < 0.2:
            text = f"{self.pick(words.PREFIXES)} {text}"
        if self.rng.random() < 0.12:
            text = f"{text.rstrip('.')} {self.pick(words.SUFFIXES)}"
        roll = self.rng.random()
        if roll < 0.3:
            text = text[:1].upper() + text[1:]
        elif roll < 0.5:
            text = text.lower()
        return Caption(text=text, asserts=asserts)


def _has_modality(facts: Facts) -> bool:
    return any(facts.get(m) for m in words.MODALITY_NOUNS)
