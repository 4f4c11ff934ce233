"""`callosum train`: a recipe and manifests into a checkpoint."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from callosum.cli.options import FILE, JSON

if TYPE_CHECKING:
    from callosum.train.recipe import RunConfig
    from callosum.train.run import Result
    from callosum.train.supply import Supply


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
    prompt (from a checkpoint, the starter by default), probe or attention (a head on its vectors, for labels), or a
    function of one's own: FILE.py:function, whose code is run.

    A manifest is named as FILE, pairs:FILE, images:FILE or texts:FILE; FILE@2 has twice the share of a batch. Its
    column `split` says train, validation or test; test rows are never read. Columns of the words positive, negative,
    uncertain and unmentioned are labels; with --set scheme=NAME those of texts are read from the texts, by the classes
    of a published scheme.

    \b
    Examples:
      callosum train clip --data study/manifest.csv --out model
      callosum train projection --data study/manifest.csv --out model --set num_steps=200
      callosum train attention --data study/manifest.csv --out head --set group=study_id
      callosum train medclip --data images:films.csv --data texts:reports.csv --out model --set scheme=nih15
      torchrun --nproc-per-node 2 -m callosum train clip --data study/manifest.csv --out model --set spread=fsdp
    """
    from callosum.cli.output import note, write_json
    from callosum.core.errors import UsageError
    from callosum.objectives.registry import needs_findings
    from callosum.train.distributed import is_first_started
    from callosum.train.head_run import HeadConfig, train_head
    from callosum.train.manifests import supply_of
    from callosum.train.recipe import with_settings
    from callosum.train.recipes import find_recipe

    config = with_settings(find_recipe(recipe), settings)
    concepts = config.concepts if isinstance(config, HeadConfig) else config.classes
    wants_labels = isinstance(config, HeadConfig) or needs_findings(config.objective)
    supplies = [supply_of(given, concepts=concepts, wants_labels=wants_labels) for given in data]
    if isinstance(config, HeadConfig):
        if retain or resume:
            message = "A head is fitted in one go, and nothing else is changed by it."
            raise UsageError(message, hint="Leave out --retain and --resume.")
        result = train_head(config, supplies, out, pixels=pixels)
    else:
        result = _trained(config, supplies, out, retain=retain, pixels=pixels, is_resumed=resume, as_json=as_json)
    if not is_first_started():
        return  # of several processes the first speaks for all
    for doubt in result.doubts:
        note(doubt)
    if as_json:
        write_json([result.to_json()])
    else:
        early = ", ended early" if result.is_early else ""
        note(f"{result.name}: {result.steps} steps in {result.seconds:.0f} s{early}")
        for name, value in result.figures.items():
            click.echo(f"{name:<24} {value:.4f}")


def _trained(
    config: RunConfig,
    supplies: Sequence[Supply],
    out: Path,
    *,
    retain: Sequence[str],
    pixels: Path | None,
    is_resumed: bool,
    as_json: bool,
) -> Result:
    """Train with a bar, its events told as they come."""
    from callosum.cli.output import note, progress_bar, write_json
    from callosum.core.errors import Interrupted
    from callosum.train.manifests import supply_of
    from callosum.train.run import train

    with progress_bar("Training", total=config.num_steps) as show:

        def tell(event: Mapping[str, Any]) -> None:
            show(event["step"])
            if as_json:
                write_json([event])
            elif event["kind"] == "look":
                figures = "  ".join(f"{k} {v:.4f}" for k, v in event.items() if isinstance(v, float))
                note(f"step {event['step']}: {figures}")

        try:
            kept = [supply_of(given, wants_labels=False) for given in retain]
            return train(config, supplies, out, retain=kept, pixels=pixels, is_resumed=is_resumed, tell=tell)
        except KeyboardInterrupt:
            again = shlex.join(["callosum", *(part for part in sys.argv[1:] if part != "--resume"), "--resume"])
            note(f"Continue with: {again}")
            message = "Stopped; the last saved state is kept."
            raise Interrupted(message, hint="Give the same command with --resume to continue.") from None
