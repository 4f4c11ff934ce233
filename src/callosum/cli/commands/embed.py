"""`callosum embed`: pictures or texts to vectors."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from callosum.cli.options import COMPUTING, MODEL

if TYPE_CHECKING:
    from callosum.core.embedding import Embedding
    from callosum.core.result import Problem

EXIT_SKIPPED = 7


@click.command("embed")
@click.argument("files", nargs=-1, required=True, metavar="FILE...|-")
@click.option("--as", "kind", type=click.Choice(["image", "text"]), required=True, help="What the files hold.")
@MODEL
@COMPUTING
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), required=True, help=".npz or .parquet")
def command(files: tuple[str, ...], kind: str, model: str | None, computing: dict[str, Any], output: Path) -> int:
    """Turn FILES into unit vectors of one space.

    With `--as image` each file is a picture. With `--as text` each line of each file is a text. `-` reads standard
    input: paths of pictures, or texts, one a line.

    \b
    Examples:
      callosum embed scans/a.dcm scans/b.png --as image -o vectors.npz
      echo "ultrasound of the heart" | callosum embed - --as text -o query.parquet
    """
    from dataclasses import replace

    import numpy as np

    from callosum.cli.output import note, note_cut, problems_table
    from callosum.core.embedding import Embedding
    from callosum.core.errors import InputError, UsageError
    from callosum.service.encoders import load_encoder
    from callosum.service.reading import read_each

    if output.suffix not in {".npz", ".parquet"}:
        message = "The output is written as .npz or .parquet."
        raise UsageError(message, hint="Name it so, such as -o vectors.npz.")
    items = _lines(files) if kind == "text" else _paths(files)
    if not items:
        message = "There is nothing to embed: the input is empty."
        raise InputError(message)
    encoder = load_encoder(model or "starter", **computing)
    problems: list[Problem] = []
    if kind == "text":
        embedding = replace(encoder.encode_text(items), ids=tuple(items))
        note_cut(encoder, items)
    else:
        rows, names = [], []
        for name, image in read_each(map(Path, items), problems):
            names.append(name)
            rows.append(encoder.encode_image([image]).matrix)
        if not rows:
            problems_table(problems)
            message = "None of the files is a picture that can be read."
            raise InputError(message)
        embedding = Embedding(matrix=np.concatenate(rows), space=encoder.space, ids=tuple(names))
    _write(embedding, output)
    note(f"{len(embedding)} vectors of width {embedding.matrix.shape[1]} in {embedding.space}.")
    problems_table(problems)
    return EXIT_SKIPPED if problems else 0


def _lines(files: tuple[str, ...]) -> list[str]:
    from callosum.core.errors import InputError

    lines: list[str] = []
    for file in files:
        try:
            text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            message = "A file of texts cannot be read as UTF-8."
            raise InputError(message, hint="Check that it exists and is plain text.") from error
        lines += [line.strip() for line in text.splitlines() if line.strip()]
    return lines


def _paths(files: tuple[str, ...]) -> list[str]:
    return [path for file in files for path in (sys.stdin.read().splitlines() if file == "-" else [file]) if path]


def _write(embedding: Embedding, output: Path) -> None:
    space = json.dumps(embedding.space.to_json())
    if output.suffix == ".npz":
        import numpy as np

        np.savez(output, matrix=embedding.matrix, ids=np.array(embedding.ids), space=np.array(space))
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = pa.FixedSizeListArray.from_arrays(pa.array(embedding.matrix.ravel()), embedding.matrix.shape[1])
    table = pa.table({"id": list(embedding.ids), "vector": rows})
    pq.write_table(table.replace_schema_metadata({"callosum.space": space}), output)
