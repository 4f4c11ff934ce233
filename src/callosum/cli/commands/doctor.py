"""`callosum doctor`: what this installation can do."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
from dataclasses import asdict, dataclass

import click

from callosum.cli.options import JSON

PACKAGES = {
    "torch": "encode pictures",
    "lancedb": "keep archives",
    "pyarrow": "keep archives, read manifests",
    "tokenizers": "encode texts",
    "safetensors": "read weights",
    "pydicom": "read DICOM",
    "openjpeg": "decode JPEG 2000 and HTJ2K",
    "jpeg_ls": "decode JPEG-LS",
    "imagecodecs": "decode lossless and 12-bit JPEG",
    "tifffile": "read TIFF of any sample type",
    "PIL": "read PNG, JPEG and TIFF",
}
EXIT_ENVIRONMENT = 3


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    name: str
    is_ok: bool
    detail: str


@click.command("doctor")
@JSON
def command(as_json: bool) -> int:
    """Check packages, decoders and installed checkpoints, and say what to do about what is missing."""
    from rich.markup import escape
    from rich.table import Table

    from callosum.cli.output import console, write_json

    checks = [*_machine(), *(_package(name, use) for name, use in PACKAGES.items()), *_models()]
    if as_json:
        write_json({"schema": "callosum.check/1", **asdict(check)} for check in checks)
    else:
        table = Table("check", "", "detail")
        for check in checks:
            table.add_row(check.name, "[green]ok[/]" if check.is_ok else "[red]no[/]", escape(check.detail))
        console().print(table)
    return 0 if all(check.is_ok for check in checks) else EXIT_ENVIRONMENT


def _machine() -> list[Check]:
    cores = f"{os.cpu_count()} cores, {platform.machine()}"
    return [
        Check(name="python", is_ok=True, detail=platform.python_version()),
        Check(name="machine", is_ok=True, detail=cores),
    ]


def _package(module: str, use: str) -> Check:
    try:
        importlib.import_module(module)
    except ImportError as error:
        detail = f"needed to {use}; not usable ({type(error).__name__}). Run: make setup"
        return Check(name=module, is_ok=False, detail=detail)
    packages = importlib.metadata.packages_distributions().get(module, [module])
    return Check(name=module, is_ok=True, detail=f"{importlib.metadata.version(packages[0])}: {use}")


def _models() -> list[Check]:
    from callosum.core.errors import CallosumError
    from callosum.models.checkpoints.load import installed_cards, verify_checkpoint

    checks = []
    for card in installed_cards():
        try:
            verify_checkpoint(card.name)
        except CallosumError as error:
            checks.append(Check(name=f"model {card.name}", is_ok=False, detail=str(error)))
        else:
            checks.append(Check(name=f"model {card.name}", is_ok=True, detail="every digest equals the card's"))
    return checks
