"""`callosum prompts`: sentences for a class, and what an encoder may misread in a sentence."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from callosum.cli.options import JSON, MODEL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from callosum.knowledge.lint import Pieces, Remark
    from callosum.knowledge.prompts import PromptSet

EXIT_GATE = 8
MODALITY = click.option("--modality", metavar="NAME", help="What the pictures are: a DICOM code, or a word such as CT.")
_STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}


@click.group("prompts")
def command() -> None:
    """Make prompts for a class, or say what an encoder may misread in one."""


@command.command("show")
@click.argument("name", metavar="CLASS")
@click.option("--scheme", metavar="NAME", help="Label scheme that the class belongs to, such as chexpert14.")
@MODALITY
@click.option("--limit", default=10, type=click.IntRange(min=1), help="Most sentences of each sort; 10.")
@click.option("--seed", default=0, type=int, help="Which of the many sentences are drawn; 0.")
@JSON
def show(name: str, scheme: str | None, modality: str | None, limit: int, seed: int, as_json: bool) -> None:
    """Show sentences of one in whom CLASS is present, and of one in whom it is absent.

    \b
    Examples:
      callosum prompts show "pleural effusion" --modality "chest x-ray"
      callosum prompts show "No Finding" --scheme chexpert14 --json
    """
    from callosum.cli.output import note, write_json
    from callosum.knowledge.prompts import prompt_set

    made = prompt_set(name, scheme=scheme, modality=modality, limit=limit, seed=seed)
    if as_json:
        write_json([_prompts_line(made)])
        return
    _prompts_table(made)
    if made.note:
        note(made.note)


@command.command("lint")
@click.argument("texts", nargs=-1, required=True, metavar="TEXT...|-")
@MODEL
@MODALITY
@click.option("--strict", "is_strict", is_flag=True, help="Exit with 8 when there is anything to say.")
@JSON
def lint(texts: tuple[str, ...], model: str | None, modality: str | None, is_strict: bool, as_json: bool) -> int:
    """Say what an encoder may misread in each TEXT; `-` reads standard input, a text a line.

    With `--model`, pieces and length are those of its tokenizer.

    \b
    Examples:
      callosum prompts lint "chest x-ray without pneumothorax" "2 cm nodule, RUL"
      callosum prompts lint "pleural effusion" --model starter --strict
    """
    from callosum.cli.output import note, write_json
    from callosum.core.errors import InputError
    from callosum.knowledge.lint import lint as remarks_on

    prompts = [line for text in texts for line in (_standard_input() if text == "-" else [text])]
    if not prompts:
        message = "There is nothing to look at: the input is empty."
        raise InputError(message)
    tokenizer, context_length = _tokenizer(model) if model else (None, None)
    num_remarks = 0
    for prompt in prompts:
        remarks = remarks_on(prompt, tokenizer=tokenizer, context_length=context_length, modality=modality)
        num_remarks += len(remarks)
        if as_json:
            write_json([_remarks_line(prompt, remarks)])
        else:
            _remarks_table(prompt, remarks)
    if not as_json:
        note(f"{num_remarks} remarks on {len(prompts)} prompts.")
    return EXIT_GATE if is_strict and num_remarks else 0


def _standard_input() -> list[str]:
    from callosum.data.report import decode_text

    return [line.strip() for line in decode_text(sys.stdin.buffer.read())[0].splitlines() if line.strip()]


def _tokenizer(model: str) -> tuple[Pieces, int]:
    """The tokenizer of an installed checkpoint as a function, and how many pieces of a text it reads."""
    from callosum.models.checkpoints.cards import TOKENIZER
    from callosum.models.checkpoints.home import checkpoint_folder
    from callosum.models.checkpoints.load import read_sizes
    from callosum.models.tokenizer import read_tokenizer

    folder = checkpoint_folder(model)
    tokenizer, (sizes, _) = read_tokenizer(folder / TOKENIZER), read_sizes(folder)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    room = int(sizes.text.context_length) - tokenizer.num_special_tokens_to_add(is_pair=False)

    def pieces(text: str) -> list[str]:
        return list(tokenizer.encode(text, add_special_tokens=False).tokens)

    return pieces, room


def _prompts_line(made: PromptSet) -> dict[str, Any]:
    return {
        "schema": "callosum.prompts/1",
        "name": made.name,
        "concept": made.concept,
        "positive": made.positive,
        "negative": made.negative,
        "pairs": [{"present": present, "absent": absent} for present, absent in made.pairs],
        "note": made.note,
    }


def _prompts_table(made: PromptSet) -> None:
    from itertools import zip_longest

    from rich.markup import escape
    from rich.table import Table

    from callosum.cli.output import console

    title = made.name if made.concept in ("", made.name) else f"{made.name}: {made.concept}"
    table = Table("present", "absent", title=escape(title), title_justify="left", title_style="bold")
    for present, absent in zip_longest(made.positive, made.negative, fillvalue=""):
        table.add_row(escape(present), escape(absent))
    pairs = Table("present", "absent", title="Pairs", title_justify="left", title_style="bold")
    for present, absent in made.pairs:
        pairs.add_row(escape(present), escape(absent))
    console().print(table, pairs)


def _remarks_line(prompt: str, remarks: Sequence[Remark]) -> dict[str, Any]:
    return {
        "schema": "callosum.prompt_remarks/1",
        "text": prompt,
        "remarks": [
            {
                "trouble": remark.trouble,
                "severity": remark.severity,
                "span": remark.span,
                "words": prompt[slice(*remark.span)],
                "message": remark.message,
                "suggestion": remark.suggestion,
            }
            for remark in remarks
        ],
    }


def _remarks_table(prompt: str, remarks: Sequence[Remark]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from callosum.cli.output import console, shorten

    title = escape(shorten(prompt) or "(empty)")
    if not remarks:
        console().print(f"{title}: nothing to say", highlight=False)
        return
    table = Table(title=title, title_justify="left", title_style="bold")
    for name in ("severity", "words", "why", "instead"):
        table.add_column(name, overflow="fold")
    for remark in remarks:
        severity = f"[{_STYLES[remark.severity]}]{remark.severity}[/]"
        words = shorten(prompt[slice(*remark.span)])
        table.add_row(severity, escape(words), escape(remark.message), escape(remark.suggestion))
    console().print(table)
