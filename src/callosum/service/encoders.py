"""Encoders by name, able to read files: where `models` and `data` meet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callosum.core.config import config_from
from callosum.core.errors import UsageError
from callosum.core.protocols import Encoder

if TYPE_CHECKING:
    from callosum.models.encoder import CheckpointEncoder
    from callosum.models.runtime.precision import RuntimeConfig

LOCAL = "local-dir:"
MAX_CALIBRATION = 256
"""Pictures of a folder that int8 is set up with and measured on."""


def load_encoder(  # noqa: PLR0913 - every choice has its name and a default
    name: str = "starter",
    *,
    precision: str = "fp32",
    runtime: str = "auto",
    device: str = "auto",
    calibration: Sequence[Any] | str | Path | None = None,
    pool: str | None = None,
    context_length: int | None = None,
    tokenizer: str | Path | None = None,
    family: str | None = None,
    activation: str | None = None,
) -> Encoder:
    """Load a checkpoint.

    Args:
        name: An installed one, `family` or `family.tag`, as `callosum model list` shows them; or `local-dir:PATH`, a
            folder of a published model, converted in memory, or of a checkpoint; or `hf-hub:ORG/REPO`, once it was
            pulled.
        precision: `fp32`, which equals the plain computation to 1e-5; `bf16`, whose vectors keep a cosine of 0.9995;
            or `int8`, which is refused where it does not keep that on `calibration`.
        runtime: `torch`, `openvino` where it is installed, or `auto`, which is torch.
        device: `cpu`, a GPU such as `cuda`, or `auto`, which is a GPU where there is one.
        calibration: Pictures of your own that int8 is set up with (the first half) and measured on (the second), or a
            folder of them, of which at most 256 are taken; what cannot be read there is passed over.
        pool: Pooling of the text tower, for a published model whose family has a choice.
        context_length: Longest text, for a published model whose files do not say.
        tokenizer: Folder of a published model's tokenizer, where it does not lie beside the weights.
        family: Family of a published model, where its files do not tell.
        activation: `gelu` or `quick_gelu`, for a bare CLIP, whose weights do not tell; `quick_gelu` by default.

    Returns:
        An encoder whose weights, tokenizer and preprocessing equal the digests on its card, where it has one.

    Raises:
        NotFound: no checkpoint has this name, or the folder holds no model.
        DigestMismatch: a file of the checkpoint is not the one that its card names.
        InputError: the folder's model is damaged, holds code, or is not one this package computes.
        UsageError: an option was given for a checkpoint that says itself how it is read.
    """
    from callosum.data.read import read
    from callosum.models.runtime.precision import Precision, RuntimeConfig

    chosen = config_from(RuntimeConfig, {"precision": precision, "runtime": runtime, "device": device})
    if isinstance(calibration, str | Path):
        calibration = _pictures(Path(calibration)) if chosen.precision is Precision.INT8 else None
    options: dict[str, Any] = {
        "pool": pool,
        "context_length": context_length,
        "tokenizer": tokenizer,
        "family": family,
        "activation": activation,
    }
    if name.startswith(LOCAL):
        from callosum.models.checkpoints.convert import open_local, reading_of

        reading = reading_of(**options)
        path = Path(name.removeprefix(LOCAL)).expanduser()
        return _measured(partial(open_local, path, reading, read=read), chosen, calibration)
    if given := [option for option, value in options.items() if value is not None]:
        message = f"{', '.join(given)}: how an installed checkpoint is read was decided when it was imported."
        raise UsageError(message, hint=f"Leave it out, or name a published model as {LOCAL}PATH.")
    from callosum.models.checkpoints.load import load_checkpoint

    return _measured(partial(load_checkpoint, name, read=read), chosen, calibration)


def _pictures(folder: Path) -> list[Any]:
    """Pictures of a folder and those below it, evenly taken in the order of their names, in turns for either half."""
    from callosum.service.reading import read_each

    files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
    found = [image for _, image in read_each(files[:: -(-len(files) // MAX_CALIBRATION) or 1], [])]
    return [*found[::2], *found[1::2]]


def _measured(
    load: Callable[..., CheckpointEncoder], chosen: RuntimeConfig, calibration: Sequence[Any] | None
) -> CheckpointEncoder:
    """The encoder, given pictures to be measured on where there are some: the plain one prepares them."""
    if calibration is None:
        return load(runtime=chosen)
    return load(runtime=replace(chosen, calibration=load().prepare(calibration)))
