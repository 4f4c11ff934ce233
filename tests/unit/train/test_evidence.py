"""The comparison of objectives: what its runs read, how they are scored, and what its page says."""

import itertools
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks import objectives_data as data
from benchmarks import objectives_runs as runs
from benchmarks import objectives_tasks as tasks
from benchmarks.objectives_page import table
from benchmarks.objectives_plot import Panel, Point, draw, limits
from benchmarks.objectives_reading import compared, reading, wrapped
from benchmarks.objectives_results import Results, shown, spread, verdict
from callosum.core.embedding import Embedding, SpaceId, unit_rows
from callosum.core.finding import Presence
from callosum.train.material import read_material
from callosum.train.supply import Kind, is_in_share, read_rows


def row(name: str, *found: str, split: str = "train", text: str = "", patient: str = "") -> data.Row:
    labels = {finding: str(int(finding in found)) for finding in data.FINDINGS}
    return {"id": name, "path": f"{name}.png", "patient_id": patient or name, "split": split, "text": text, **labels}


def test_findings_in_words() -> None:
    assert data.spoken(["No Finding"]) == data.spoken([]) == "no finding"
    assert data.spoken(["Pleural_Thickening"]) == "pleural thickening"
    assert data.spoken(["Mass", "Edema", "Hernia"]) == "mass, edema and hernia"


def test_films_get_sentences_of_the_most_similar_labels_and_of_the_training_side_only() -> None:
    films = [row("film", "Mass", "Edema")]
    texts = [
        row("both", "Mass", "Edema", text="mass and edema"),
        row("one", "Mass", text="mass"),
        row("more", "Mass", "Edema", "Hernia", text="three"),
        row("none", "No Finding", text="clear"),
        row("other", "Fibrosis", text="scars"),
        row("hidden", "Mass", "Edema", text="of another side", split="val"),
    ]
    found = data.matched(films, texts)
    assert [each["text"] for each in found[:3]] == ["mass and edema", "three", "mass"]
    assert len(found) == data.NUM_MATCHED and "of another side" not in {each["text"] for each in found}
    assert len({each["id"] for each in found}) == len(found) and {each["path"] for each in found} == {"film.png"}


def test_noise_changes_the_labels_of_the_share_and_nothing_else() -> None:
    rows = [row(f"r{n}", data.FINDINGS[n % 15], text=f"text {n}") for n in range(3000)]
    spoilt = data.corrupted(rows, share=0.3)
    changed = [data.positives(a) != data.positives(b) for a, b in zip(rows, spoilt, strict=True)]
    assert np.mean(changed) == pytest.approx(0.3 * 14 / 15, abs=0.03)  # a donor has the same label one time in 15
    assert [each["text"] for each in spoilt] == [each["text"] for each in rows]


def test_labels_of_pairs_are_columns_that_training_reads(tmp_path: Path) -> None:
    rows = [{**data._plain(row(f"p{n}")), "text": f"{n} mass", "pack": "x"} for n in range(40)]
    said = {"Mass": Presence.PRESENT, "Edema": Presence.UNCERTAIN, "left lung": Presence.PRESENT}
    concepts = (*data.FINDINGS, "left lung")
    data.write(tmp_path / "pairs.csv", rows)
    data.write(tmp_path / "labelled.csv", data.labelled(rows, lambda _: said, concepts))
    supply = data.supply(tmp_path, "labelled")
    material = read_material([supply])
    assert material.concepts == concepts and len(material.pools[0].pair_rows) == 40
    codes = dict(zip(material.concepts, material.text_labels_MK[0], strict=True))
    assert (codes["Mass"], codes["Edema"], codes["left lung"]) == (1.0, -1.0, 1.0) and np.isnan(codes["Hernia"])
    assert data.supply(tmp_path, "pairs").labels == {}


def test_every_method_has_the_same_tenth_of_the_pairs(tmp_path: Path) -> None:
    rows = [{**data._plain(row(f"p{n}", patient=f"q{n // 2}")), "text": "a", "pack": "x"} for n in range(400)]
    drawn = []
    for name in ("pairs", "labelled"):
        data.write(tmp_path / f"{name}.csv", rows)
        parts = []
        for share in (0.1, 0.3, 1.0):
            read = read_rows(data.supply(tmp_path, name, share=share), 0, concepts=())
            parts.append({each.record_id for each in read if is_in_share(each.patient, share)})
        drawn.append(parts)
    assert drawn[0] == drawn[1]
    tenth, third, every = drawn[0]
    assert tenth < third < every and 0.05 < len(tenth) / len(every) < 0.17


def test_kinds_of_manifests(tmp_path: Path) -> None:
    for name in ("films", "noisy_films", "reports", "captions"):
        data.write(tmp_path / f"{name}.csv", [row("a", "Mass", text="b")])
    kinds = {name: data.supply(tmp_path, name).kind for name in ("films", "noisy_films", "reports", "captions")}
    assert kinds == {"films": Kind.IMAGES, "noisy_films": Kind.IMAGES, "reports": Kind.TEXTS, "captions": Kind.PAIRS}
    assert set(data.supply(tmp_path, "films").labels) == set(data.FINDINGS)


def test_the_plan_is_balanced_when_it_is_cut_short() -> None:
    planned = list(runs.plan())
    assert len({run.name for run in planned}) == len(planned)
    ends = [run for run in planned if run.method in runs.MAIN and run.share in (1.0, 0.1)]
    assert planned[: len(ends)] == ends and [run.seed for run in ends] == sorted(run.seed for run in ends)
    counts = Counter((run.method.name, run.share) for run in planned)
    assert set(counts.values()) == {len(runs.SEEDS)}
    for name in ("clip", "siglip", "convirt", "gloria", "medclip", "medclip-both", "clip-captions"):
        assert [counts[name, share] for share in runs.SHARES] == [3, 3, 3]


@pytest.mark.parametrize("method", runs.METHODS, ids=lambda method: method.name)
def test_every_run_sees_as_many_pictures_and_texts_from_the_same_weights(method: runs.Method, tmp_path: Path) -> None:
    bench = runs.Bench(folder=tmp_path)
    batch, plain = (runs.config_of(runs.Run(method=m, share=1.0, seed=2), bench) for m in (method, runs.METHODS[0]))
    assert batch.batch.num_pairs + batch.batch.num_images == batch.batch.num_pairs + batch.batch.num_texts == 64
    same = ("start", "num_steps", "optim", "seed", "ema_decay", "precision", "sentences", "num_threads")
    assert all(getattr(batch, name) == getattr(plain, name) for name in same)
    assert batch.batch.augmentation == plain.batch.augmentation
    assert batch.watch.validate_every == 0  # or weights would be chosen by the rows that they are scored on


class WordEncoder:
    """A word is a direction; what has none of the words lies apart."""

    words: ClassVar = ("effusion", "heart", "normal", "mass")
    space = SpaceId(name="words.v1", recipe={"weights": "0", "pooling": "none"})

    def encode_text(self, texts: list[str]) -> Embedding:
        rows = [[float(word in text.lower()) for word in self.words] + [0.01] for text in texts]
        return Embedding(matrix=unit_rows(np.array(rows, np.float32)), space=self.space)

    def encode_pixels(self, pixels: np.ndarray) -> Embedding:
        return Embedding(matrix=unit_rows(pixels.astype(np.float32)), space=self.space)


def test_a_film_scores_for_the_finding_it_lies_by() -> None:
    films_ND = unit_rows(np.eye(5, dtype=np.float32)[:3])
    score_NK = tasks.film_scores(WordEncoder(), films_ND)  # type: ignore[arg-type]
    effusion, heart, normal = (data.FINDINGS.index(n) for n in ("Effusion", "Cardiomegaly", "No Finding"))
    assert score_NK[:, effusion].argmax() == 0 and score_NK[:, heart].argmax() == 1
    assert score_NK[:, normal].argmax() == 2
    assert score_NK[2, effusion] < 0


def questions(films: list[data.Row], texts: list[data.Row]) -> Any:
    square = {each["id"]: n for n, each in enumerate(films)}
    rows = np.eye(5)[[["Effusion", "Cardiomegaly", "No Finding"].index(data.positives(f)[0]) for f in films]]
    return SimpleNamespace(films=films, texts=texts, squares=lambda asked: rows[[square[f["id"]] for f in asked]])


def gallery() -> Any:
    kinds = (("Effusion", "effusion"), ("Cardiomegaly", "heart"), ("No Finding", "normal"))
    films = [row(f"{name}{n}", name, split="val") for name, _ in kinds for n in range(9)]
    texts = [row(f"t{word}{n}", name, text=f"{word} {n}") for name, word in kinds for n in range(8 + (word == "heart"))]
    texts += [row("two", "Effusion", "Cardiomegaly", text="effusion heart"), row("rare", "Mass", text="mass")]
    texts.append(row("again", "Effusion", text="Effusion  0"))  # equal to one that is there
    return questions(films, texts)


def test_films_look_among_equally_many_sentences_of_one_finding() -> None:
    films, texts, names = tasks.film_gallery(gallery())
    assert names == ["Cardiomegaly", "Effusion", "No Finding"] and len(films) == 27
    assert Counter(data.positives(text)[0] for text in texts) == dict.fromkeys(names, 8)
    assert not {"two", "rare"} & {text["id"] for text in texts}


def test_precision_by_class_of_a_perfect_encoder_and_of_guessing() -> None:
    asked = gallery()
    figures = tasks.ask_sentences(asked, WordEncoder())  # type: ignore[arg-type]
    assert [figures[f"P@{k} by class"] for k in tasks.CUTS] == pytest.approx([1.0, 1.0, 1.0, 0.8])
    asked.pairs = [{"pack": "roco_open"}] * 20
    asked.classes = {classes.name: [] for classes in tasks.CLASSES}
    assert tasks.chances(asked)["P@5 by class"] == pytest.approx(1 / 3)
    assert tasks.chances(asked)["R@5, roco_open"] == 0.25


def test_precision_at() -> None:
    score_QN = np.array([[0.9, 0.8, 0.1], [0.2, 0.3, 0.1]])
    right_QN = np.array([[True, False, True], [False, False, True]])
    assert tasks.precision_at(score_QN, right_QN, 1).tolist() == [1.0, 0.0]
    assert tasks.precision_at(score_QN, right_QN, 2).tolist() == [0.5, 0.0]
    assert tasks.precision_at(score_QN, right_QN, 3) == pytest.approx([2 / 3, 1 / 3])


def test_mean_and_deviation_over_seeds() -> None:
    assert spread([]) is None and shown(None) == ""
    assert spread([0.5]) == Point(mean=0.5, sd=0.0, num=1) and shown(spread([0.5])) == "0.500 (one seed)"
    assert shown(spread([0.1, 0.2, 0.3])) == "0.200 ± 0.100"


def test_results_are_read_by_figure_method_and_share() -> None:
    made = [
        {"method": "clip", "share": share, "seed": seed, "logged": {"loss": 2.0 + seed}, "values": [share + seed, None]}
        for share, seed in itertools.product((0.1, 1.0), (0, 1))
    ]
    results = Results({"methods": {"clip": "CLIP", "siglip": "SigLIP"}, "figures": ["a", "b"], "runs": made})
    assert results.done == ["clip"]
    assert shown(results.point("clip", "a", 0.1), 4) == "0.6000 ± 0.7071"
    assert results.point("clip", "b") is None and shown(results.logged("clip", "loss"), 1) == "2.5 ± 0.7"


def test_a_difference_is_one_when_the_interval_and_every_seed_agree() -> None:
    assert verdict({"low": 0.01, "high": 0.2, "seeds": [0.1, 0.02]}) == "better"
    assert verdict({"low": 0.01, "high": 0.2, "seeds": [0.3, -0.02]}) == "no difference shown"
    assert verdict({"low": -0.2, "high": -0.01, "seeds": [-0.1, -0.2]}) == "worse"
    assert verdict({"low": -0.01, "high": 0.2, "seeds": [0.1, 0.1]}) == "no difference shown"


def test_the_picture_is_svg_with_every_line_inside_its_axes() -> None:
    lines = {"A & B": [Point(mean=0.5, sd=0.1), None, Point(mean=0.7, sd=0.0)], "C": [Point(mean=0.4, sd=0.0)] * 3}
    panel = Panel(title="x < y", lines=lines, level=0.33)
    low, high, step = limits(panel)
    assert low <= 0.33 and high >= 0.7 and step == 0.1
    root = ElementTree.fromstring(draw([panel], ["10%", "30%", "100%"], caption="c"))
    name = "{http://www.w3.org/2000/svg}"
    tracks = [
        [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]
        for line in root.iter(f"{name}polyline")
    ]
    assert [len(track) for track in tracks] == [2, 3]
    assert tracks[0][1][1] < tracks[0][0][1] < tracks[1][0][1]  # higher values stand higher
    assert "A & B" in {text.text for text in root.iter(f"{name}text")}


def test_means_are_apart_by_more_than_both_spreads() -> None:
    at = Point(mean=0.5, sd=0.03, num=3)
    assert compared(Point(mean=0.56, sd=0.04, num=3), at) == "above"
    assert compared(Point(mean=0.44, sd=0.04, num=3), at) == "below"
    assert compared(Point(mean=0.54, sd=0.04, num=3), at) == "within the spread of the seeds of"
    assert "single seed" in compared(Point(mean=0.9, sd=0.0, num=1), at)


def results_with(*, both: float, tenth: float, retrieved: float, gain: tuple[float, float]) -> Results:
    """Two seeds of CLIP at 0.6 and of MedCLIP; random weights at 0.5."""
    names = ["zero-shot AUROC, macro", "R@10, roco_open", "accuracy, ensemble"]
    values = {("clip", 1.0): (0.6, 0.2), ("medclip", 1.0): (0.6, 0.2), ("clip-captions", 1.0): (0.6, 0.2)}
    values |= {("medclip-both", 1.0): (both, retrieved), ("medclip-both", 0.1): (tenth, retrieved)}
    values |= {("clip", share): (0.6, 0.2) for share in (0.1, 0.3)} | {("medclip-both", 0.3): (both, retrieved)}
    made = [
        {"method": m, "share": share, "seed": seed, "logged": {}, "values": [a + seed / 500, r + seed / 500, 0.5]}
        for (m, share), (a, r) in values.items()
        for seed in (0, 1)
    ]
    low, high = gain
    found = {"value": (low + high) / 2, "low": low, "high": high, "seeds": [low, high]}
    pairs = [(("medclip-both", share), ("clip", share)) for share in (0.1, 0.3, 1.0)]
    pairs += [(("medclip-both", 0.1), ("clip", share)) for share in (0.3, 1.0)]
    pairs += [(("medclip", 1.0), ("clip", 1.0)), (("medclip-both", 1.0), ("clip-captions", 1.0))]
    return Results(
        {
            "methods": {name: name for name, _ in values},
            "figures": names,
            "runs": made,
            "claims": [{"what": "", "one": [*one], "other": [*other], **found} for one, other in pairs],
            "rows": {"findings": {}},
            "references": {"random": [{names[0]: 0.5}, {names[0]: 0.502}], "pixels": {}},
        }
    )


def test_the_words_follow_the_figures() -> None:
    good = " ".join(reading(results_with(both=0.7, tenth=0.7, retrieved=0.3, gain=(0.05, 0.15))))
    assert (
        "At equal pairs the claim holds for reading" in good
        and "It holds where pairs" in good
        and "0.701 ± 0.001" in good
    )
    assert "(better)" in good and "it is better than CLIP with all" in good
    poor = " ".join(reading(results_with(both=0.6, tenth=0.6, retrieved=0.1, gain=(-0.05, 0.05))))
    assert "the claim is not shown to hold for reading" in poor and "It does not hold where pairs" in poor
    assert "(no difference shown)" in poor and "(better)" not in poor and "(below CLIP; half" in poor


def test_items_of_lists_are_wrapped_below_themselves() -> None:
    lines = wrapped("- " + "word " * 60)
    assert len(lines) > 1 and max(map(len, lines)) <= 120
    assert lines[0].startswith("- w") and all(line.startswith("  w") for line in lines[1:])


def test_tables() -> None:
    assert table(["a", "b"], [["1", "2"]]) == ["| a | b |", "|---|---|", "| 1 | 2 |"]
