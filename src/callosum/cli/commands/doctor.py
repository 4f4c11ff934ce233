"""`callosum doctor`: what this installation can do."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
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
EXTRAS = {
    "nibabel": ("nifti", "read NIfTI"),
    "openslide": ("slides", "read whole slides of every scanner"),
    "huggingface_hub": ("hub", "fetch published models when asked to"),
    "openvino": ("openvino", "encode with OpenVINO"),
}
"""Packages that are not needed: their extra, and what they are for."""

EXIT_ENVIRONMENT = 3


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    name: str
    is_ok: bool
    detail: str


@click.command("doctor")
@click.option("--quick", is_flag=True, help="Do not run imported checkpoints, only look at their files.")
@JSON
def command(quick: bool, as_json: bool) -> int:
    """Check packages, decoders, the runtime and installed checkpoints, and say what to do about what is missing.

    Every checkpoint computes its golden vectors again: two pictures and three sentences.

    \b
    Example:
      callosum doctor --quick
    """
    from rich.markup import escape
    from rich.table import Table

    from callosum.cli.output import console, write_json

    checks = [*_machine(), *(_package(name, use) for name, use in PACKAGES.items())]
    checks += [_extra(name, *what) for name, what in EXTRAS.items()]
    checks += [*_jail(), *_runtime(), *_models(quick=quick)]
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


def _extra(module: str, extra: str, use: str) -> Check:
    if importlib.util.find_spec(module) is None:
        return Check(name=module, is_ok=True, detail=f"not installed; pip install 'callosum[{extra}]' to {use}")
    return _package(module, use)


def _jail() -> list[Check]:
    """What the process that decodes files is kept from on this system; the network may be beyond our reach."""
    from callosum.core.errors import MissingDependency
    from callosum.data.jail import confinement

    try:
        measures = confinement()
    except MissingDependency as error:
        return [Check(name="jail", is_ok=False, detail=str(error))]
    return [
        Check(
            name=f"jail {each.name}",
            is_ok=True,
            detail=each.detail if each.is_applied else f"not kept from: {each.detail}",
        )
        for each in measures
    ]


def _runtime() -> list[Check]:
    """Which way to compute each operation was found right and fastest on this machine."""
    try:
        from callosum.models.runtime.precision import Precision
        from callosum.models.runtime.probe import probe_here
    except ImportError:
        return []  # torch is missing, which its own line says
    report = probe_here(Precision.FP32)
    name = f"runtime {report.runtime} {report.precision}"
    return [Check(name=f"{name} {path.op}", is_ok=True, detail=f"{path.path}: {path.why}") for path in report.paths]


def _models(*, quick: bool) -> list[Check]:
    """Digests of every checkpoint; golden vectors of the package's own, and of the others unless it has to be quick."""
    from callosum.core.errors import CallosumError
    from callosum.models.checkpoints.home import installed, packaged
    from callosum.models.checkpoints.load import verify_folder

    checks, ours = [], packaged()
    for name, folder in installed().items():
        try:
            _, deviation = verify_folder(folder, is_run=name in ours or not quick)
        except CallosumError as error:
            checks.append(Check(name=f"model {name}", is_ok=False, detail=str(error)))
            continue
        run = f"golden vectors equal to {deviation.max_abs:.1e}" if deviation else "not run"
        checks.append(Check(name=f"model {name}", is_ok=True, detail=f"every digest equals the card's; {run}"))
    return checks
