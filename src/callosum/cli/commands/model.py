"""`callosum model`: the checkpoints of this installation."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from callosum.cli.commands import model_move
from callosum.cli.options import JSON

if TYPE_CHECKING:
    from callosum.models.checkpoints.cards import Card


@click.group("model")
def command() -> None:
    """List, show, verify, import and carry checkpoints."""


for _move in model_move.COMMANDS:
    command.add_command(_move)


@command.command("list")
@JSON
def list_models(as_json: bool) -> None:
    """List the installed checkpoints: the package's own, then those that were imported.

    \b
    Example:
      callosum model list
    """
    from rich.markup import escape
    from rich.table import Table

    from callosum.cli.output import console, note, write_json
    from callosum.models.checkpoints.load import installed_cards

    cards = installed_cards(tell=note)
    if as_json:
        write_json(card_json(card) for card in cards)
        return
    table = Table("name", "licence", "what it is")
    for card in cards:
        table.add_row(card.name, escape(card.licence), escape(card.summary))
    console().print(table)


@command.command("show")
@click.argument("name")
@JSON
def show_model(name: str, as_json: bool) -> None:
    """Show the card of checkpoint NAME: its source, data and licences, and what it must not be used for.

    \b
    Example:
      callosum model show starter
    """
    from rich.markup import escape
    from rich.table import Table

    from callosum.cli.output import console, write_json
    from callosum.models.checkpoints.cards import read_card
    from callosum.models.checkpoints.load import checkpoint_folder, checkpoint_space, read_sizes

    folder = checkpoint_folder(name)
    card = read_card(folder)
    values = card_json(card)
    values["context_length"] = read_sizes(folder)[0].text.context_length
    values["recipe"] = dict(checkpoint_space(folder).recipe)
    if as_json:
        write_json([values])
        return
    table = Table(show_header=False, title=card.name, title_justify="left", title_style="bold", show_lines=True)
    for key, value in values.items():
        if key not in ("schema", "name") and value not in ("", [], {}):
            title = {"not_for": "it must not be used", "recipe": "what makes its space"}.get(key, key)
            table.add_row(title.replace("_", " "), escape(_text(value)))
    console().print(table)


@command.command("verify")
@click.argument("name")
@JSON
def verify_model(name: str, as_json: bool) -> None:
    """Compare every file of checkpoint NAME with the digest on its card, and its vectors with the golden ones.

    \b
    Example:
      callosum model verify starter
    """
    from callosum.cli.output import write_json
    from callosum.models.checkpoints.load import verify_checkpoint

    card, deviation = verify_checkpoint(name)
    if as_json:
        write_json([{**card_json(card), "golden": asdict(deviation) if deviation else None}])
        return
    for file, digest in card.digests.items():
        click.echo(f"ok  {digest}  {file}")
    if deviation:
        click.echo(f"ok  golden vectors: largest difference {deviation.max_abs:.1e}")


def card_json(card: Card) -> dict[str, Any]:
    """A card as `--json` writes it."""
    return {"schema": "callosum.card/1", **asdict(card)}


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "\n".join(f"- {_text(item)}" for item in value)
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_text(inner)}" for key, inner in value.items())
    return json.dumps(value)
