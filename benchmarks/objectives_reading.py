"""What the figures of the comparison say, in words that the figures choose."""

from __future__ import annotations

import textwrap
from typing import Any

from benchmarks.objectives_plot import Point
from benchmarks.objectives_report import BASE, BOTH, CONTROL, MAIN_FIGURE, UNPAIRED
from benchmarks.objectives_results import Results, shown, verdict

RETRIEVED, ACCURATE, PROBED = "R@10, roco_open", "accuracy, ensemble", "probe AUROC, macro"
SHARES = (0.1, 0.3, 1.0)
WITHIN = "within the spread of the seeds of"


def reading(results: Results) -> list[str]:
    """What the figures say, in words that they choose."""
    parts = (
        _claimed(results),
        _supervised(results),
        _elsewhere(results),
        _sharpened(results),
        _own(results),
        _probed(results),
    )
    return [line for part in parts if part for line in wrapped(f"- {part}")]


def compared(one: Point, other: Point) -> str:
    """Two means in a word: apart by more than both spreads over seeds together, or not; one seed has no spread."""
    if min(one.num, other.num) < 2:
        return "beside, with a single seed,"
    apart = abs(one.mean - other.mean) > (one.sd**2 + other.sd**2) ** 0.5
    if not apart:
        return WITHIN
    return "above" if one.mean > other.mean else "below"


def _difference(results: Results, one: tuple[str, float], other: tuple[str, float]) -> dict[str, Any] | None:
    return next((c for c in results.value["claims"] if [*c["one"]] == [*one] and [*c["other"]] == [*other]), None)


def _interval(claim: dict[str, Any]) -> str:
    return f"{claim['value']:+.3f}, 95 % {claim['low']:+.3f} to {claim['high']:+.3f}"


def _claimed(results: Results) -> str:
    equal = [_difference(results, (BOTH, share), (BASE, share)) for share in SHARES]
    tenth, best = (_difference(results, (BOTH, 0.1), (BASE, share)) for share in (1.0, 0.3))
    clip, both = ([results.point(name, MAIN_FIGURE, share) for share in SHARES] for name in (BASE, BOTH))
    if None in (*equal, *clip, *both) or tenth is None or best is None:
        return ""
    better = [f"{share:.0%}" for share, each in zip(SHARES, equal, strict=True) if each and verdict(each) == "better"]
    holds = {0: "is not shown to hold", len(SHARES): "holds"}.get(len(better), "holds in part")
    differences = ", ".join(_interval(each) for each in equal if each)
    text = f"""**At equal pairs the claim {holds} for reading NIH films by words.** With 10, 30 and 100 % of the pairs
CLIP has a zero-shot AUROC of {", ".join(map(shown, clip))}, and MedCLIP with the same pairs and unpaired films and
reports {", ".join(map(shown, both))}: {differences}. **With a tenth of the pairs** it is {_than(tenth)} CLIP with all
({_interval(tenth)}), and {_than(best)} CLIP with 30 % ({_interval(best)})."""
    means = [point.mean for point in clip if point]
    if means != sorted(means):
        text += """ CLIP's figure does not grow with the pairs: more of these do not teach it films, and what a tenth of
them replaces is little."""
    return text + _largest(results)


def _largest(results: Results) -> str:
    """How much of the difference with all pairs a single finding makes."""
    findings = results.value["rows"]["findings"]
    gains = {}
    for name in findings:
        one, other = (results.point(method, f"zero-shot AUROC, {name}") for method in (BOTH, BASE))
        if one is not None and other is not None:
            gains[name] = (one.mean - other.mean) / len(findings)
    if not gains:
        return ""
    name = max(gains, key=lambda name: abs(gains[name]))
    return f""" With all pairs one finding, {name} with {findings[name]} films, makes {gains[name]:+.3f} of the
{sum(gains.values()):+.3f}."""


def _than(claim: dict[str, Any]) -> str:
    found = verdict(claim)
    return f"{found} than" if found in ("better", "worse") else "not shown to differ from"


def _supervised(results: Results) -> str:
    alone = _difference(results, ("medclip", 1.0), (BASE, 1.0))
    control = _difference(results, (BOTH, 1.0), (CONTROL, 1.0))
    without = _difference(results, (UNPAIRED, 1.0), ("captions", 1.0))
    matched = _difference(results, (UNPAIRED, 1.0), ("matched", 1.0))
    if alone is None or control is None:
        return ""
    text = f"""**Data or objective?** On the same pairs alone MedCLIP differs from CLIP by {_interval(alone)}
({verdict(alone)}). CLIP given the same films in half of its batches, each with a sentence made of its labels, reaches
{shown(results.point(CONTROL, MAIN_FIGURE))}; MedCLIP with unpaired data differs from that by {_interval(control)}
({verdict(control)})."""
    if without is not None and matched is not None:
        text += f""" Without any pairs, MedCLIP on films and reports reaches
{shown(results.point(UNPAIRED, MAIN_FIGURE))}; CLIP on films with label sentences
{shown(results.point("captions", MAIN_FIGURE))} ({_interval(without)}: {verdict(without)}), and CLIP on films that were
each given a report's sentence of the same labels {shown(results.point("matched", MAIN_FIGURE))}
({_interval(matched)}: {verdict(matched)})."""
        if "better" not in map(verdict, (alone, control, without, matched)):
            text += " What helps is the films and their labels; that the objective does is not shown."
    return text


def _elsewhere(results: Results) -> str:
    clip, medclip, both = (results.point(name, RETRIEVED) for name in (BASE, "medclip", BOTH))
    less = results.point(BOTH, RETRIEVED, 0.1)
    base, also = (results.point(name, ACCURATE) for name in (BASE, BOTH))
    if clip is None or medclip is None or both is None or less is None or base is None or also is None:
        return ""
    holds = "holds" if compared(both, clip) == "above" and compared(less, clip) != "below" else "does not hold"
    return f"""**It {holds} where pairs teach something.** Recall@10 of ROCO is {shown(clip)} with CLIP; with MedCLIP
and unpaired data {shown(both)} ({compared(both, clip)} CLIP; half of its batches are no pairs), and with a tenth of the
pairs {shown(less)} ({compared(less, clip)} CLIP with all). MedCLIP on pairs alone, with findings that the extractor
read in their texts, has {shown(medclip)} ({compared(medclip, clip)} CLIP). The accuracy of prompt ensembles over five
packs is {shown(also)} with unpaired data, {compared(also, base)} CLIP's {shown(base)}."""


def _sharpened(results: Results) -> str:
    flat, sharp, noisy = (results.point(name, MAIN_FIGURE) for name in ("unpaired-t1", UNPAIRED, "unpaired-noise"))
    at_one, at_tenth = (results.logged(name, "target_entropy_share") for name in ("unpaired-t1", UNPAIRED))
    pairs_flat, pairs = (results.point(name, RETRIEVED) for name in ("medclip-t1", "medclip"))
    on_pairs = results.logged("medclip-t1", "target_entropy_share")
    if flat is None or sharp is None or at_one is None or at_tenth is None:
        return ""
    text = f"""**Temperature of the targets.** On films and reports alone, at the paper's 1, the targets have
{at_one.mean:.1%} of the entropy of uniform ones, and zero-shot AUROC is {shown(flat)}; at 0.1 they have
{at_tenth.mean:.0%}, and it is {shown(sharp)} ({compared(sharp, flat)} the former)."""
    if pairs is not None and pairs_flat is not None and on_pairs is not None:
        text += f""" On pairs, Recall@10 is {shown(pairs_flat)} at 1, where the targets have
{on_pairs.mean:.1%} of the entropy of uniform ones, and {shown(pairs)} at 0.1 ({compared(pairs, pairs_flat)} the
former)."""
        if compared(pairs, pairs_flat) == "above" and compared(sharp, flat) != "below":
            text += " So 0.1 is the better default of the two, which are what was tried on pairs."
    text += _best(results)
    if noisy is not None:
        text += f""" **Noise.** With 30 % of all labels, of films and of reports, taken from another row, zero-shot
AUROC is {shown(noisy)} ({compared(noisy, sharp)} that of the labels as they are)."""
    return text


def _best(results: Results) -> str:
    """Which variant on films and reports alone has the highest figures."""
    names = [name for name in results.done if name == UNPAIRED or name.startswith("unpaired-")]
    found = []
    for figure, title in ((MAIN_FIGURE, "zero-shot AUROC"), ("P@5 by class", "P@5")):
        points = {name: point for name in names if (point := results.point(name, figure))}
        if points:
            name = max(points, key=lambda name: points[name].mean)
            title_of = results.titles[name].removeprefix("MedCLIP, unpaired only, ")
            found.append(f"the highest {title} has {title_of} ({shown(points[name])})")
    return f" Of what was tried on films and reports, {' and '.join(found)}, chosen on these rows." if found else ""


def _own(results: Results) -> str:
    names = ("medclip-own", BOTH)
    film, plain = (results.point(name, MAIN_FIGURE) for name in names)
    pair, usual = (results.point(name, RETRIEVED) for name in names)
    if film is None or plain is None or pair is None or usual is None:
        return ""
    return f"""**Own pairs as positives** (`equal_text=positive`), so that a caption without findings still has its
picture: zero-shot AUROC {shown(film)} ({compared(film, plain)} that without), Recall@10 {shown(pair)}
({compared(pair, usual)} that without)."""


def _probed(results: Results) -> str:
    names = [name for name in results.done if results.point(name, PROBED)]
    random, pixels = results.random(PROBED), results.value["references"]["pixels"].get(PROBED)
    if not names or random is None or pixels is None:
        return ""
    means = [point.mean for name in names if (point := results.point(name, PROBED))]
    above = [name for name in names if (point := results.point(name, PROBED)) and compared(point, random) == "above"]
    said = ", ".join(results.titles[name] for name in above) or "none"
    return f"""**Features.** Linear probes of NIH's findings lie between {min(means):.3f} and
{max(means):.3f}; 16x16 grey pixels give {pixels:.3f}, random weights {shown(random)}. Above random weights by more than
the spread of the seeds: {said}."""


def wrapped(text: str) -> list[str]:
    """A paragraph, or an item of a list."""
    indent = "  " if text.startswith("- ") else ""
    return textwrap.wrap(" ".join(text.split()), 120, subsequent_indent=indent, break_on_hyphens=False)
