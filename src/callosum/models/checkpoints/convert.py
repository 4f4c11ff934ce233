"""A published model as this package keeps it, in memory: nothing is written, and every digest is known."""

from __future__ import annotations

import json
import math
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from callosum.core.digest import digest_bytes
from callosum.core.embedding import SpaceId
from callosum.core.errors import InputError, UsageError
from callosum.models.checkpoints.cards import CONFIG, FORMAT, TOKENIZER, WEIGHTS, is_checkpoint
from callosum.models.checkpoints.fit import require_fit
from callosum.models.checkpoints.foreign import Family, Foreign, Reading, read_foreign
from callosum.models.checkpoints.load import open_checkpoint, space_of
from callosum.models.checkpoints.pack import is_pack
from callosum.models.checkpoints.weights import digest_weights
from callosum.models.compute import compute_for
from callosum.models.dual import DualEncoder
from callosum.models.empty import without_values
from callosum.models.encoder import CheckpointEncoder
from callosum.models.layers import Activation
from callosum.models.runtime.precision import RuntimeConfig
from callosum.models.text.pooling import Pool
from callosum.models.tokenizer import SubwordTokenizer

COUNTER = "num_batches_tracked"
NUM_HEX = 8


@dataclass(frozen=True, kw_only=True)
class Converted:
    """A published model and the files it would become.

    Attributes:
        model: Sizes, weights under our names, preprocessing and tokenizer.
        config: Bytes of `config.json`.
        tokenizer: Bytes of `tokenizer.json`.
        weights_digest: SHA-256 of `model.safetensors`.
    """

    model: Foreign
    config: bytes
    tokenizer: bytes
    weights_digest: str

    @property
    def name(self) -> str:
        """Family and the first eight characters of the weights' digest: its default name, and that of its space."""
        return f"{self.model.family}.{self.weights_digest[:NUM_HEX]}"

    @property
    def digests(self) -> dict[str, str]:
        """Digests of the three files."""
        return {
            CONFIG: digest_bytes(self.config),
            WEIGHTS: self.weights_digest,
            TOKENIZER: digest_bytes(self.tokenizer),
        }

    @property
    def space(self) -> SpaceId:
        """The space of its vectors; the same once it is imported, whatever name it is given."""
        return space_of(self.name, self.digests, self.model.config, self.model.preprocess)

    def encoder(
        self, *, read: Callable[[Path], Any] | None = None, runtime: RuntimeConfig | None = None
    ) -> CheckpointEncoder:
        """An encoder over the weights in memory; see `open_checkpoint`."""
        model = self.model
        return CheckpointEncoder(
            dim=model.config.dim,
            compute=compute_for(
                model.config, model.preprocess, model.state, pad_id=model.tokenizer.pad_id, runtime=runtime
            ),
            tokenizer=model.tokenizer,
            preprocess=model.preprocess,
            space=self.space,
            read=read,
        )


def open_local(
    path: Path,
    reading: Reading | None = None,
    *,
    read: Callable[[Path], Any] | None = None,
    runtime: RuntimeConfig | None = None,
) -> CheckpointEncoder:
    """An encoder over a folder of a published model, or of a checkpoint of this package; nothing is written.

    Raises:
        UsageError: it is a pack; or a checkpoint, and `reading` asks for something.
        NotFound, InputError: see `convert`.
        DigestMismatch: a file of a checkpoint is not the one its card names.
    """
    if is_pack(path):
        message = "A pack is imported before it is used."
        raise UsageError(message, hint="Run: callosum model import FILE")
    if not is_checkpoint(path):
        converted = convert(path, reading)
        if converted.model.assumed:
            warnings.warn(converted.model.assumed, stacklevel=2)
        return converted.encoder(read=read, runtime=runtime)
    if reading not in (None, Reading()):
        message = "A checkpoint of this package says itself how it is read; options of reading do not apply."
        raise UsageError(message, hint="Leave them out.")
    return open_checkpoint(path, read=read, runtime=runtime)


def reading_of(
    *,
    family: str | None = None,
    tokenizer: str | Path | None = None,
    pool: str | None = None,
    context_length: int | None = None,
    activation: str | None = None,
) -> Reading:
    """How a published model is to be read, from plain values.

    Raises:
        UsageError: there is no such family or pooling, those that exist are named; or no text is that short.
    """
    for value, choices in ((family, Family), (pool, Pool), (activation, Activation)):
        if value is not None and value not in list(choices):
            message = f"{choices.__name__.lower()} is one of {', '.join(choices)}; found {value!r}."
            raise UsageError(message)
    if context_length is not None and (type(context_length) is not int or context_length < 3):
        message = f"context_length is a whole number of at least 3; found {context_length!r}."
        raise UsageError(message)
    return Reading(
        family=Family(family) if family else None,
        tokenizer=Path(tokenizer) if tokenizer else None,
        pool=Pool(pool) if pool else None,
        context_length=context_length,
        activation=Activation(activation) if activation else None,
    )


def convert(path: Path, reading: Reading | None = None) -> Converted:
    """Read a published model and check that its weights are all there, and no others.

    Raises:
        NotFound: there are no weights or no tokenizer.
        InputError: files are damaged or hold code; weights are missing, unexpected or of another shape, all listed; the
            tokenizer is of another model; or the family does not do what `reading` asks for.
    """
    reading = reading or Reading()
    if not (path.is_file() or path.is_dir()):
        message = "There is no file or folder of a model at the place given."
        raise InputError(message, hint="Check the spelling.")
    found = read_foreign(path, reading)
    state = {name: value for name, value in found.state.items() if not name.endswith(COUNTER)}
    model = replace(found, state=state)
    _require_reading(model, reading)
    _require_fit(model)
    _require_tokenizer(model)
    values = {"format": FORMAT, **model.config.to_json(), "preprocess": asdict(model.preprocess)}
    return Converted(
        model=model,
        config=(json.dumps(values, indent=1) + "\n").encode(),
        tokenizer=_tokenizer_bytes(model.tokenizer),
        weights_digest=digest_weights(state),
    )


def _require_reading(model: Foreign, reading: Reading) -> None:
    """Refuse a wish that the family's reader passed over."""
    text = model.config.text
    for what, wanted, found in (
        ("pooling", reading.pool, getattr(text, "pool", None)),
        ("context length", reading.context_length, text.context_length),
        ("activation", reading.activation, getattr(text, "activation", None)),
    ):
        if wanted is not None and wanted != found:
            message = f"The {what} of this model is {found}; it cannot be {wanted}."
            raise InputError(message, hint="Leave the option out, or give a value that its weights allow.")


def _require_fit(model: Foreign) -> None:
    made = model.preprocess.tower_px or model.preprocess.size_px
    side = getattr(model.config.vision, "size_px", made)
    if made != side:
        message = f"The image tower takes pictures of {side} px; this family's preprocessing makes them {made} px."
        raise InputError(message, hint="The weights are of another family: leave --family out, or give another.")
    try:
        with without_values():
            network = DualEncoder(model.config, model.preprocess)
    except UsageError as error:  # of the files, and not of the call
        message = f"The settings are of no model that can be built. {error}"
        raise InputError(message) from error
    expected = {n: tuple(value.shape) for n, value in network.state_dict().items() if not n.endswith(COUNTER)}
    require_fit({name: tuple(value.shape) for name, value in model.state.items()}, expected)
    for name, value in model.state.items():
        if not value.is_floating_point():
            message = f"Weights are floating-point numbers; {name} is {str(value.dtype).removeprefix('torch.')}."
            raise InputError(message, hint="Quantised weights are not read: give those they were made of.")
        # The least and the largest, which a value that is not a number is both: a tenth of the time of isfinite.
        if value.numel() and not all(math.isfinite(float(end)) for end in value.aminmax()):
            message = f"The weights hold values that are not finite numbers, in {name} first."
            raise InputError(message, hint="The file is damaged, or its training diverged.")


def _require_tokenizer(model: Foreign) -> None:
    """Every id the tokenizer can give needs its row in the table of pieces."""
    highest = max([*model.tokenizer.tokenizer.get_vocab().values(), model.tokenizer.pad_id])
    rows = model.config.text.vocab_size
    if highest >= rows:
        message = f"The tokenizer gives ids up to {highest}; the text tower knows {rows} pieces."
        raise InputError(message, hint="The tokenizer is of another model: give its own with --tokenizer.")


def _tokenizer_bytes(tokenizer: SubwordTokenizer) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / TOKENIZER
        tokenizer.save(path)
        return path.read_bytes()
