"""`callosum model`: the installed checkpoints."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from callosum.cli.options import JSON

if TYPE_CHECKING:
    from callosum.models.checkpoints.cards import Card


@click.group("model")
def command() -> None:
    """List, show and verify the installed checkpoints."""


@command.command("list")
@JSON
def list_models(as_json: bool) -> None:
    """List the installed checkpoints.

    \b
    Example:
      callosum model list
    """
    from rich.table import Table

    from callosum.cli.output import console, write_json
    from callosum.models.checkpoints.load import installed_cards

    cards = installed_cards()
    if as_json:
        write_json(_as_json(card) for card in cards)
        return
    table = Table("name", "licence", "what it is")
    for card in cards:
        table.add_row(card.name, card.licence, card.summary)
    console().print(table)


@command.command("show")
@click.argument("name")
@JSON
def show_model(name: str, as_json: bool) -> None:
    """Show the card of checkpoint NAME: its data and licences, how good it is, what it must not be used for.

    \b
    Example:
      callosum model show starter
    """
    from rich.markup import escape
    from rich.table import Table

    from callosum.cli.output import console, write_json
    from callosum.models.checkpoints.cards import read_card
    from callosum.models.checkpoints.load import checkpoint_folder

    card = read_card(checkpoint_folder(name))
    if as_json:
        write_json([_as_json(card)])
        return
    table = Table(show_header=False, title=card.name, title_justify="left", title_style="bold", show_lines=True)
    for key, value in asdict(card).items():
        if key != "name":
            title = {"not_for": "it must not be used"}.get(key, key.replace("_", " "))
            table.add_row(title, escape(_text(value)))
    console().print(table)


@command.command("verify")
@click.argument("name")
@JSON
def verify_model(name: str, as_json: bool) -> None:
    """Compare every file of checkpoint NAME with the digest on its card.

    \b
    Example:
      callosum model verify starter
    """
    from callosum.cli.output import write_json
    from callosum.models.checkpoints.load import verify_checkpoint

    card = verify_checkpoint(name)
    if as_json:
        write_json([_as_json(card)])
        return
    for file, digest in card.digests.items():
        click.echo(f"ok  {digest}  {file}")


def _as_json(card: Card) -> dict[str, Any]:
    return {"schema": "callosum.card/1", **asdict(card)}


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "\n".join(f"- {_text(item)}" for item in value)
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_text(inner)}" for key, inner in value.items())
    return json.dumps(value)
