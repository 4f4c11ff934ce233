"""Every picture of a run as one small square of bytes, decoded once and mapped into memory from then on.

A cache is a folder. Below it, one folder a recipe (what decides how a square looks), and in that, pieces: `00000.npy`
with the squares `[n, S, S, C]`, and `00000.json`, which names the content of each by its SHA-256. The second is written
last, by renaming a complete file, so that a process that is killed loses at most the piece it was filling. Sources are
recognised by a digest of their place with size and time of change; no path and no identifier is written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from jaxtyping import Int64, UInt8

from callosum.core.cores import num_cores
from callosum.core.digest import digest_bytes, digest_file, digest_json
from callosum.core.errors import DigestMismatch, InputError, IntegrityError, UsageError
from callosum.core.record import Answer
from callosum.core.result import Problem
from callosum.data.jail import JailConfig
from callosum.data.sources import Source
from callosum.models.preprocess import Fit, Preprocess, Resample
from callosum.train.cache_worker import GREY, SquareJob
from callosum.train.square_readers import SquareReaders

SCHEMA = "callosum.pixels/1"
Place = tuple[str, int, int]
"""Digest of where a source is, its size in bytes, and when it was changed in nanoseconds."""


@dataclass(frozen=True, kw_only=True)
class CacheConfig:
    """What is kept of a picture.

    Attributes:
        side_px: Side of the squares; a little more than the tower takes, so that crops can be taken from them.
        num_channels: 1 keeps luminance only, a third of the room: for radiographs. 3 keeps colours.
        fit: How a picture becomes a square; that of the encoder's own preprocessing.
        resample: The filter.
        num_per_piece: Squares a piece: what is lost at most when the process is killed.
        num_processes: Processes that decode.
        jail: What decoding one file may take.
    """

    side_px: int = 256
    num_channels: int = 3
    fit: Fit = Fit.SQUEEZE
    resample: Resample = Resample.BILINEAR
    num_per_piece: int = 256
    num_processes: int = field(default_factory=num_cores)
    jail: JailConfig = field(default_factory=JailConfig)

    def __post_init__(self) -> None:
        if self.num_channels not in (GREY, 3) or min(self.side_px, self.num_per_piece, self.num_processes) < 1:
            message = "A pixel cache keeps 1 or 3 channels, and its sizes are 1 or more."
            raise UsageError(message)

    @property
    def preprocess(self) -> Preprocess:
        """A picture to its square."""
        return Preprocess(size_px=self.side_px, fit=self.fit, resample=self.resample)

    @property
    def recipe(self) -> dict[str, Any]:
        """What decides how a square looks."""
        return {"schema": SCHEMA, "num_channels": self.num_channels, "preprocess": asdict(self.preprocess)}


class PixelCache:
    """The squares that were made by one recipe; see `build_cache` and `open_cache`.

    Attributes:
        config: The recipe.
        problems: The pictures that could not be read in the build that returned this, and why.
    """

    def __init__(self, folder: Path, config: CacheConfig) -> None:
        self.config = config
        self.problems: tuple[Problem, ...] = ()
        self._folder = folder / digest_json(config.recipe)[:16]
        self._pieces: list[np.ndarray] = []
        self._row_of: dict[str, int] = {}
        self._digest_of: dict[Place, str] = {}
        self._piece_of: list[tuple[int, int]] = []
        for header in sorted(self._folder.glob("[0-9]*.json")):
            self._open(header)

    def __len__(self) -> int:
        return len(self._piece_of)

    def __contains__(self, digest: str) -> bool:
        return digest in self._row_of

    def find(self, sources: Sequence[Source]) -> Int64[np.ndarray, " N"]:
        """The row of each source; -1 for one that is not here, or has changed since."""
        places = places_of(sources)
        return np.array([self._row_of.get(self._digest_of.get(place, ""), -1) for place in places], np.int64)

    def contents(self, sources: Sequence[Source]) -> list[str]:
        """SHA-256 of the content of each source; empty for one that is not here."""
        return [self._digest_of.get(place, "") for place in places_of(sources)]

    def gather(self, rows_N: Int64[np.ndarray, " N"]) -> UInt8[np.ndarray, "N S S C"]:
        """Copies of some squares."""
        S, C = self.config.side_px, self.config.num_channels
        out = np.empty((len(rows_N), S, S, C), np.uint8)
        for n, row in enumerate(rows_N.tolist()):
            piece, at = self._piece_of[row]
            out[n] = self._pieces[piece][at]
        return out

    def verify(self) -> None:
        """Read every piece and compare its digest.

        Raises:
            DigestMismatch: a piece is not what was written.
        """
        for header in sorted(self._folder.glob("[0-9]*.json")):
            if digest_file(header.with_suffix(".npy")) != _header(header)["digest"]:
                message = "A piece of the pixel cache has changed since it was written."
                raise DigestMismatch(message, hint="Delete the folder of the cache; it is made again.")

    @property
    def known(self) -> np.ndarray:
        """Sorted digests of the contents that are here, `[N]` of type `S64`."""
        return np.sort(np.array(list(self._row_of), "S64"))

    def add(self, squares: list[tuple[str, np.ndarray]], places: dict[Place, str]) -> None:
        """Write a piece: digests with their squares, and which digest is at which place.

        Raises:
            InputError: there is no room, or the folder may not be written.
        """
        number = 1 + max((int(path.stem) for path in self._folder.glob("[0-9]*.json")), default=-1)
        path = self._folder / f"{number:05d}.npy"
        S, C = self.config.side_px, self.config.num_channels
        pixels = np.stack([square for _, square in squares]) if squares else np.zeros((0, S, S, C), np.uint8)
        draft = path.with_suffix(".part")
        try:
            with draft.open("wb") as stream:
                np.save(stream, pixels)
                stream.flush()
                os.fsync(stream.fileno())
            digest = digest_file(draft)
            draft.replace(path)
            value = {
                "schema": SCHEMA,
                "digest": digest,
                "contents": [content for content, _ in squares],
                "places": [[*place, content] for place, content in places.items()],
            }
            with draft.open("w", encoding="utf-8") as text:
                json.dump(value, text)
                text.flush()
                os.fsync(text.fileno())
            draft.replace(path.with_suffix(".json"))
        except OSError as error:
            draft.unlink(missing_ok=True)
            message = "The pixel cache cannot be written; what was in it before is intact."
            raise InputError(message, hint="Check the room on its disk and the permissions of its folder.") from error
        self._open(path.with_suffix(".json"))

    def _open(self, header: Path) -> None:
        value = _header(header)
        S, C = self.config.side_px, self.config.num_channels
        try:
            pixels = np.load(header.with_suffix(".npy"), mmap_mode="r" if value["contents"] else None)
        except (OSError, ValueError) as error:
            raise _damaged() from error
        if pixels.shape != (len(value["contents"]), S, S, C) or pixels.dtype != np.uint8:
            raise _damaged()
        for at, content in enumerate(value["contents"]):
            self._row_of[content] = len(self._piece_of)
            self._piece_of.append((len(self._pieces), at))
        self._pieces.append(pixels)
        self._digest_of.update({(place, size, time): content for place, size, time, content in value["places"]})


def open_cache(folder: Path, config: CacheConfig | None = None) -> PixelCache:
    """What is in a cache, without adding to it.

    Raises:
        IntegrityError: a piece is damaged.
    """
    return PixelCache(folder, config or CacheConfig())


def build_cache(
    sources: Sequence[Source],
    folder: Path,
    config: CacheConfig | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> PixelCache:
    """Make the squares that are not there yet, and return the cache.

    One process builds at a time; others wait, and then find everything there. What was made before a process ended in
    whatever way is kept. Pictures that could not be read before are tried again.

    Args:
        sources: The pictures.
        folder: The cache; it is made when it is not there.
        config: The recipe.
        progress: Called with how many sources are done, and how many there are.

    Raises:
        InputError: the folder cannot be written.
        IntegrityError: a piece is damaged.
    """
    config = config or CacheConfig()
    inside = folder / digest_json(config.recipe)[:16]
    try:
        inside.mkdir(parents=True, exist_ok=True)
        (inside / "recipe.json").write_text(json.dumps(config.recipe, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        message = "The folder of the pixel cache cannot be written."
        raise InputError(message, hint="Check its permissions and the room on its disk.") from error
    with FileLock(inside / "build.lock"):
        cache = PixelCache(folder, config)
        _fill(cache, sources, progress)
    return cache


def places_of(sources: Sequence[Source]) -> list[Place]:
    """What tells that a source has not changed; each file is looked at once."""
    stats: dict[Path, tuple[int, int]] = {}
    found = []
    for source in sources:
        if source.location not in stats:
            try:
                status = source.location.stat()
                stats[source.location] = (status.st_size, status.st_mtime_ns)
            except OSError:
                stats[source.location] = (-1, -1)
        name = f"{source.location.absolute()}\0{source.member}".encode("utf-8", "surrogateescape")
        found.append((digest_bytes(name), *stats[source.location]))
    return found


def _fill(cache: PixelCache, sources: Sequence[Source], progress: Callable[[int, int], None] | None) -> None:
    config = cache.config
    missing = np.flatnonzero(cache.find(sources) < 0).tolist()
    places = places_of(sources)
    first = {places[n]: n for n in reversed(missing)}
    wanted = sorted(first.values())
    problems: list[Problem] = []
    squares: dict[str, np.ndarray] = {}
    known: dict[Place, str] = {}
    num_done = len(sources) - len(missing)
    job = SquareJob(preprocess=config.preprocess, num_channels=config.num_channels, known=cache.known)
    with SquareReaders(job, num_processes=config.num_processes, jail=config.jail) as readers:
        try:
            for at, square in readers.squares([sources[n] for n in wanted]):
                number = wanted[at]
                if square.refusal:
                    problems.append(_problem(sources[number], square.digest, square.refusal))
                else:
                    known[places[number]] = square.digest
                if square.pixels is not None and square.digest not in cache:
                    squares.setdefault(square.digest, square.pixels)
                if len(squares) >= config.num_per_piece:
                    cache.add(list(squares.items()), known)
                    squares, known = {}, {}
                num_done += 1
                if progress is not None:
                    progress(num_done, len(sources))
        finally:  # also what was read before an interruption
            if known:
                cache.add(list(squares.items()), known)
    cache.problems = tuple(problems)


def _problem(source: Source, digest: str, refusal: tuple[str, ...]) -> Problem:
    answer, code, sentence = refusal
    return Problem(source=source.name, source_digest=digest, answer=Answer(answer), code=code, sentence=sentence)


def _header(path: Path) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {key: value[key] for key in ("digest", "contents", "places")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged() from error


def _damaged() -> IntegrityError:
    message = "A piece of the pixel cache is damaged."
    return IntegrityError(message, hint="Delete the folder of the cache; it is made again.")
