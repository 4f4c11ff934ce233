"""`callosum classify`: scores of pictures for labels that are only words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from callosum.cli.options import COMPUTING, FILE, JSON, MODEL

if TYPE_CHECKING:
    from callosum.core.result import Prediction, Problem

EXIT_SKIPPED = 7


@click.command("classify")
@click.argument("files", nargs=-1, required=True, type=FILE)
@click.option("--label", "labels", multiple=True, required=True, metavar="TEXT", help="A label; give two or more.")
@click.option("--template", "templates", multiple=True, metavar="TEXT", help="A sentence with {} for the label.")
@MODEL
@COMPUTING
@JSON
def command(
    files: tuple[Path, ...],
    labels: tuple[str, ...],
    templates: tuple[str, ...],
    model: str | None,
    computing: dict[str, Any],
    as_json: bool,
) -> int:
    """Score each of FILES for labels that are only words (zero-shot classification).

    Scores are raw cosines: not probabilities, and not a diagnosis.

    \b
    Example:
      callosum classify film.dcm --label "chest x-ray" --label "CT of the head"
    """
    from callosum.classify.zero_shot import TEMPLATES, zero_shot
    from callosum.cli.output import note_cut, predictions_table, problems_table, write_json
    from callosum.service.encoders import load_encoder
    from callosum.service.reading import read_each

    encoder = load_encoder(model or "starter", **computing)
    note_cut(encoder, [template.replace("{}", label) for label in labels for template in templates or TEMPLATES])
    predictions: list[Prediction] = []
    problems: list[Problem] = []
    for source, image in read_each(files, problems):
        predictions += zero_shot(encoder, [image], labels, templates=templates or TEMPLATES, sources=[source])
    if as_json:
        write_json(prediction.to_json() for prediction in predictions)
        write_json(problem.to_json() for problem in problems)
    else:
        if predictions:
            predictions_table(predictions, title="Zero-shot scores")
        problems_table(problems)
    return EXIT_SKIPPED if problems else 0
