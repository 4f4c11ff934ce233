"""`callosum train`: a recipe and manifests into a checkpoint."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from callosum.cli.options import FILE, JSON


@click.command("train")
@click.argument("recipe")
@click.option("--data", "data", multiple=True, required=True, metavar="MANIFEST", help="CSV or Parquet; repeatable.")
@click.option("--out", type=FILE, required=True, help="Folder of the checkpoint.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change one choice; repeatable.")
@click.option("--retain", multiple=True, metavar="MANIFEST", help="Pairs of another task, to look at too; repeatable.")
@click.option("--pixels", type=FILE, help="Folder of decoded pictures, to be shared by runs.")
@click.option("--resume", is_flag=True, help="Continue an interrupted run.")
@JSON
def command(
    recipe: str,
    data: tuple[str, ...],
    out: Path,
    settings: tuple[str, ...],
    retain: tuple[str, ...],
    pixels: Path | None,
    resume: bool,
    as_json: bool,
) -> None:
    """Train RECIPE on manifests and write a checkpoint.

    RECIPE is clip, siglip, convirt, gloria, medclip (small towers from random weights), projection, finetune, lora or
    prompt (from a checkpoint, the starter by default), or a function of one's own: FILE.py:function, whose code is run.

    A manifest is named as FILE, pairs:FILE, images:FILE or texts:FILE. Its column `split` says train, validation or
    test; test rows are never read. Columns of the words positive, negative, uncertain and unmentioned are labels.

    \b
    Examples:
      callosum train clip --data study/manifest.csv --out model
      callosum train projection --data study/manifest.csv --out model --set num_steps=200
      callosum train medclip --data images:films.csv --data texts:reports.csv --out model
    """
    from callosum.cli.output import note, progress_bar, write_json
    from callosum.core.errors import Interrupted
    from callosum.train.manifests import supply_of
    from callosum.train.recipe import with_settings
    from callosum.train.recipes import find_recipe
    from callosum.train.run import train

    config = with_settings(find_recipe(recipe), settings)
    supplies = [supply_of(given, concepts=config.concepts) for given in data]
    kept = [supply_of(given) for given in retain]
    with progress_bar("Training", total=config.num_steps) as show:

        def tell(event: Mapping[str, Any]) -> None:
            show(event["step"])
            if as_json:
                write_json([event])
            elif event["kind"] == "look":
                figures = "  ".join(f"{k} {v:.4f}" for k, v in event.items() if isinstance(v, float))
                note(f"step {event['step']}: {figures}")

        try:
            result = train(config, supplies, out, retain=kept, pixels=pixels, is_resumed=resume, tell=tell)
        except KeyboardInterrupt:
            again = shlex.join(["callosum", *(part for part in sys.argv[1:] if part != "--resume"), "--resume"])
            note(f"Continue with: {again}")
            message = "Stopped; the last saved state is kept."
            raise Interrupted(message, hint="Give the same command with --resume to continue.") from None
    for doubt in result.doubts:
        note(doubt)
    if as_json:
        write_json([result.to_json()])
    else:
        early = ", ended early" if result.is_early else ""
        note(f"{result.name}: {result.steps} steps in {result.seconds:.0f} s{early}")
        for name, value in result.figures.items():
            click.echo(f"{name:<24} {value:.4f}")
