"""The demo's page: one HTML file that holds its pictures and asks nothing of the network."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from callosum.core.result import Hit, IngestReport, Prediction


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question and its answer.

    Attributes:
        kind: "text" or "image".
        title: The sentence, or what the picture is.
        hits: The answer.
        picture: JPEG of the query picture, for an image query.
    """

    kind: str
    title: str
    hits: Sequence[Hit]
    picture: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class Tour:
    """Everything that the page shows.

    Attributes:
        report: What became of the files.
        questions: Searches and their hits.
        predictions: Zero-shot scores.
        thumbnails: JPEG by record id and, for predictions, by source.
        space: The space of all vectors, described.
    """

    report: IngestReport
    questions: Sequence[Question]
    predictions: Sequence[Prediction]
    thumbnails: Mapping[str, bytes]
    space: str


def render_page(tour: Tour) -> str:
    """The page as HTML text."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = _data_uri
    environment.filters["share"] = _share
    template = environment.get_template("demo.html")
    answers = sorted({str(problem.answer) for problem in tour.report.problems})
    return template.render(tour=tour, answers=answers, caption=_caption)


def _data_uri(jpeg: bytes | None) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}" if jpeg else ""


def _share(score: float, scores: Sequence[float]) -> float:
    """The length of a bar, in percent of the best score."""
    best = max(scores)
    return round(max(0.0, 100.0 * score / best), 1) if best > 0 else 0.0


def _caption(hit: Hit) -> str:
    """Size, encoding and frame of a picture, as far as its header told them."""
    known = hit.attributes
    parts = []
    if "rows" in known and "columns" in known:
        parts.append(f"{known['rows']} × {known['columns']}")
    parts += [str(known[name]) for name in ("photometric", "transfer_syntax") if name in known]
    if int(known.get("num_frames", 1)) > 1:
        parts.append(f"frame {int(known.get('frame', 0)) + 1} of {known['num_frames']}")
    return " · ".join(parts)
