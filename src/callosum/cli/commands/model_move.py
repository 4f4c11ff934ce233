"""`callosum model import | pull | pack | export`: checkpoints into the model home and out of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from callosum.cli.options import FILE, JSON

if TYPE_CHECKING:
    from callosum.models.checkpoints.install import Imported

F = TypeVar("F", bound=Callable[..., Any])
READING = (
    click.option("--name", metavar="FAMILY.TAG", help="Its name here; by default made of family and weights."),
    click.option("--family", metavar="F", help="Its family, where the files do not tell."),
    click.option("--tokenizer", type=FILE, help="Folder of its tokenizer, where that does not lie beside the weights."),
    click.option("--pool", metavar="P", help="Pooling of the text tower, where the family has a choice."),
    click.option("--context-length", type=click.IntRange(min=3), metavar="N", help="Longest text in pieces."),
    click.option("--activation", metavar="A", help="Of a bare CLIP: gelu, or quick_gelu (OpenAI's; the default)."),
    click.option("--licence", metavar="TEXT", help="Its licence, where that is known better than by its family."),
)


def _reading(function: F) -> F:
    """The options that say how a published model is read."""
    for option in reversed(READING):
        function = option(function)
    return function


@click.command("import")
@click.argument("path", type=FILE)
@_reading
@JSON
def import_command(
    path: Path,
    name: str | None,
    family: str | None,
    tokenizer: Path | None,
    pool: str | None,
    context_length: int | None,
    activation: str | None,
    licence: str | None,
    as_json: bool,
) -> None:
    """Import PATH once: a published model (a folder, a zip, a file of weights), or a file that `pack` wrote.

    The model is read, found complete, run, and then kept in the model home. Importing it again changes nothing.

    \b
    Examples:
      callosum model import BiomedCLIP/
      callosum model import medclip-vit-pretrained.zip --tokenizer Bio_ClinicalBERT/
      callosum model import biomedclip.callosum
    """
    from callosum.cli.output import note
    from callosum.models.checkpoints.convert import reading_of
    from callosum.models.checkpoints.install import Import, import_model

    reading = reading_of(
        family=family, tokenizer=tokenizer, pool=pool, context_length=context_length, activation=activation
    )
    what = Import(path=path, name=name, reading=reading, licence=licence)
    _show(import_model(what, tell=note), as_json=as_json)


@click.command("pull")
@click.argument("name")
@click.option("--allow-network", is_flag=True, help="Needed: nothing is fetched otherwise.")
@click.option("--name", "as_name", metavar="FAMILY.TAG", help="Its name here; by default made of family and weights.")
@click.option("--licence", metavar="TEXT", help="Its licence, where that is known better than by its family.")
@JSON
def pull_command(name: str, allow_network: bool, as_name: str | None, licence: str | None, as_json: bool) -> None:
    """Fetch NAME, `hf-hub:ORG/REPO` or `biomedclip`, and import it.

    \b
    Example:
      callosum model pull biomedclip --allow-network
    """
    from callosum.cli.output import note
    from callosum.models.checkpoints.install import Import
    from callosum.models.checkpoints.pull import pull_model

    what = Import(path=Path(), name=as_name, licence=licence)
    _show(pull_model(name, what, allows_network=allow_network, tell=note), as_json=as_json)


@click.command("pack")
@click.argument("name")
@click.option("-o", "--output", type=FILE, required=True, help="The file to write.")
@JSON
def pack_command(name: str, output: Path, as_json: bool) -> None:
    """Write checkpoint NAME as one file, to `import` on a machine without a network.

    \b
    Example:
      callosum model pack starter -o starter.callosum
    """
    from callosum.cli.output import note, write_json
    from callosum.models.checkpoints.load import checkpoint_folder, verify_checkpoint
    from callosum.models.checkpoints.pack import write_pack

    card, _ = verify_checkpoint(name)
    digest = write_pack(checkpoint_folder(name), output)
    if as_json:
        write_json([{"schema": "callosum.pack/1", "name": card.name, "digest": digest}])
        return
    click.echo(f"{digest}  {output}")
    note("Tell the receiver this digest by another way than the file: import shows it again.")


@click.command("export")
@click.argument("name")
@click.option("--format", "form", type=click.Choice(["open_clip"]), required=True, help="Whose layout.")
@click.option("-o", "--output", type=FILE, required=True, help="The folder to write.")
@JSON
def export_command(name: str, form: str, output: Path, as_json: bool) -> None:
    """Write checkpoint NAME as a folder that another program loads.

    \b
    Example:
      callosum model export biomedclip --format open_clip -o exported
    """
    from callosum.cli.output import write_json
    from callosum.models.checkpoints.export import export_open_clip
    from callosum.models.checkpoints.load import checkpoint_folder

    export_open_clip(checkpoint_folder(name), output)
    files = sorted(path.name for path in output.iterdir())
    if as_json:
        write_json([{"schema": "callosum.export/1", "name": name, "format": form, "files": files}])
        return
    for file in files:
        click.echo(file)


def _show(imported: Imported, *, as_json: bool) -> None:
    from callosum.cli.output import note, write_json

    card = imported.card
    if as_json:
        write_json([{"schema": "callosum.card/1", **asdict(card), "is_new": imported.is_new}])
        return
    click.echo(card.name)
    note("Imported." if imported.is_new else "It is installed already, with the same content; nothing was changed.")
    note(f"Licence: {card.licence}")


COMMANDS = (import_command, pull_command, pack_command, export_command)
