"""Concepts of UMLS, from an installation that the user has a licence for: nothing of it comes with this package.

`build_umls_index` reads `MRCONSO.RRF`, `MRSTY.RRF` and, when it is there, `MRREL.RRF` into one SQLite file;
`UmlsIndex` looks words up in it in the manner of QuickUMLS (Soldaini and Goharian 2016): every run of up to five
words, compared with all terms by the Jaccard index of their character trigrams, at least 0.7; of overlapping runs the
most alike counts, and of those the longest. Two terms that alike share one of their rarest trigrams, so that only those
are in the index (prefix filtering, Chaudhuri et al. 2006), and no term is missed.
"""

from __future__ import annotations

import math
import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from callosum.core.errors import InputError, NotFound
from callosum.knowledge.matcher import Mention
from callosum.knowledge.ontology import Concept

FINDING_TYPES = frozenset("T019 T020 T033 T037 T046 T047 T049 T074 T184 T190 T191".split())
"""Semantic types of what a report finds: abnormalities, findings, injuries, diseases, devices, signs, neoplasms."""

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE concept (cui TEXT PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE semantic_type (cui TEXT NOT NULL, tui TEXT NOT NULL, PRIMARY KEY (cui, tui)) WITHOUT ROWID;
CREATE TABLE parent (cui TEXT NOT NULL, parent TEXT NOT NULL, PRIMARY KEY (cui, parent)) WITHOUT ROWID;
CREATE TABLE term (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE term_concept (term INTEGER NOT NULL, cui TEXT NOT NULL, PRIMARY KEY (term, cui)) WITHOUT ROWID;
CREATE TABLE trigram (trigram TEXT PRIMARY KEY, rank INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE prefix (trigram TEXT NOT NULL, term INTEGER NOT NULL, PRIMARY KEY (trigram, term)) WITHOUT ROWID;
"""
_VERSION = "1"
_WORD = re.compile(r"[^\W_]+")
_STOP = frozenset("a an and are as at by for from in is of on or the to was were with without no not".split())
_MOST_KEPT = 100_000


@dataclass(frozen=True, kw_only=True)
class UmlsConfig:
    """How words are looked up.

    Attributes:
        window: Words of the longest run that is compared.
        threshold: Least Jaccard index, in 0..1; not below the one that the index was built for.
        semantic_types: TUIs that count; all when empty.
        min_letters: Characters of the shortest run that is compared.
    """

    window: int = 5
    threshold: float = 0.7
    semantic_types: frozenset[str] = FINDING_TYPES
    min_letters: int = 3


class UmlsMatch(NamedTuple):
    """A term that a run of words is like."""

    score: float
    term: str
    cui: str


def build_umls_index(source: Path, index: Path, *, threshold: float = 0.7) -> int:
    """Read a UMLS installation into an index and return the number of its terms.

    Args:
        source: Folder of `MRCONSO.RRF` and `MRSTY.RRF`, and `MRREL.RRF` if parents are wanted.
        index: The SQLite file to write; it must not be there.
        threshold: Least Jaccard index that look-ups will ask for.

    Raises:
        NotFound: The folder lacks a table.
        InputError: The index is there already, a table has too few columns, or no English term is left.
    """
    if any(not (source / name).is_file() for name in ("MRCONSO.RRF", "MRSTY.RRF")):
        message = "A UMLS installation has MRCONSO.RRF and MRSTY.RRF; one of them is not there."
        raise NotFound(message, hint="Give the META folder that MetamorphoSys wrote.")
    if index.exists():
        message = "The index should be a new file; there is one of that name."
        raise InputError(message, hint="Remove it, or choose another name.")
    part = index.with_name(index.name + ".part")
    part.unlink(missing_ok=True)
    with closing(sqlite3.connect(part)) as base:
        base.executescript(_SCHEMA)
        _read_terms(base, source / "MRCONSO.RRF")
        _read_pairs(base, "semantic_type", _rows(source / "MRSTY.RRF", 0, 1))
        if (source / "MRREL.RRF").is_file():
            related = _rows(source / "MRREL.RRF", 0, 3, 4)
            _read_pairs(
                base, "parent", ((one, other) for one, kind, other in related if kind == "PAR" and one != other)
            )
        _write_prefixes(base, threshold)
        base.executemany("INSERT INTO meta VALUES (?, ?)", [("version", _VERSION), ("threshold", repr(threshold))])
        base.commit()
        count = int(base.execute("SELECT count(*) FROM term").fetchone()[0])
    if not count:
        part.unlink()
        message = "MRCONSO.RRF should have English terms that are not suppressed; none was found."
        raise InputError(message, hint="Include English sources in the subset.")
    part.replace(index)
    return count


def _rows(path: Path, *columns: int) -> Iterator[tuple[str, ...]]:
    """These columns of every row."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            cells = line.rstrip("\n").split("|")
            if len(cells) <= max(columns):
                message = f"{path.name} should have at least {max(columns) + 1} columns; a row has {len(cells)}."
                raise InputError(message, hint="Give the RRF files as MetamorphoSys wrote them.")
            yield tuple(cells[column] for column in columns)


def _read_terms(base: sqlite3.Connection, path: Path) -> None:
    """Every English term that is not suppressed; the name of a concept is its preferred one."""
    for cui, language, status, kind, preferred, text, suppressed in _rows(path, 0, 1, 2, 4, 6, 14, 16):
        if language != "ENG" or suppressed not in ("N", ""):
            continue
        words = _plain(text)
        if not words:
            continue
        base.execute("INSERT OR IGNORE INTO term (text) VALUES (?)", (words,))
        base.execute("INSERT OR IGNORE INTO term_concept SELECT id, ? FROM term WHERE text = ?", (cui, words))
        is_name = (status, kind, preferred) == ("P", "PF", "Y")
        base.execute(f"INSERT OR {'REPLACE' if is_name else 'IGNORE'} INTO concept VALUES (?, ?)", (cui, text))


def _read_pairs(base: sqlite3.Connection, table: str, pairs: Iterable[tuple[str, ...]]) -> None:
    base.executemany(f"INSERT OR IGNORE INTO {table} VALUES (?, ?)", pairs)


def _write_prefixes(base: sqlite3.Connection, threshold: float) -> None:
    counts: Counter[str] = Counter()
    for (text,) in base.execute("SELECT text FROM term"):
        counts.update(_trigrams(text))
    rank = {trigram: at for at, (trigram, _) in enumerate(sorted(counts.items(), key=lambda item: (item[1], item[0])))}
    base.executemany("INSERT INTO trigram VALUES (?, ?)", rank.items())
    terms = base.execute("SELECT id, text FROM term")
    rows = ((trigram, term) for term, text in terms for trigram in _prefix(_trigrams(text), rank, threshold))
    base.executemany("INSERT INTO prefix VALUES (?, ?)", rows)


def _plain(text: str) -> str:
    return " ".join(_WORD.findall(text.lower()))


def _trigrams(text: str) -> frozenset[str]:
    """Of the text with a space before and after it, so that the beginning of a word counts."""
    padded = f" {text} "
    return frozenset(padded[i : i + 3] for i in range(max(1, len(padded) - 2)))


def _prefix(trigrams: frozenset[str], rank: dict[str, int], threshold: float) -> list[str]:
    """The rarest trigrams: as many that a text without any of them cannot be as alike as the threshold."""
    ordered = sorted(trigrams, key=lambda trigram: (rank.get(trigram, -1), trigram))
    return ordered[: len(ordered) - math.ceil(threshold * len(ordered) - 1e-9) + 1]


class UmlsIndex:
    """Finds concepts of UMLS in texts; a `MentionFinder` whose concepts are CUIs, for any number of threads.

    Labels and conditions are about concepts of an ontology and know no CUI: give `names` where findings are to be
    labelled.

    Args:
        index: What `build_umls_index` wrote.
        config: How words are looked up.
        names: Concepts of an ontology by CUI ("C0032326": "pneumothorax"). Mentions have these names, and what has
            none is no mention; when None, mentions have CUIs.

    Raises:
        NotFound: There is no such file.
        InputError: It is no index of this version, or was built for a higher threshold.
    """

    def __init__(
        self, index: Path, config: UmlsConfig | None = None, *, names: Mapping[str, str] | None = None
    ) -> None:
        self.config = UmlsConfig() if config is None else config
        if not index.is_file():
            message = "There is no UMLS index of that name."
            raise NotFound(message, hint="Make one with `build_umls_index`.")
        self._names = names
        self._base = sqlite3.connect(f"{index.resolve().as_uri()}?mode=ro", uri=True, check_same_thread=False)
        self._turn = Lock()
        try:
            meta = dict(self._base.execute("SELECT key, value FROM meta"))
            self._rank: dict[str, int] = dict(self._base.execute("SELECT trigram, rank FROM trigram"))
        except sqlite3.DatabaseError:
            meta = {}
        if meta.get("version") != _VERSION or float(meta["threshold"]) > self.config.threshold:
            self._base.close()
            message = f"A UMLS index of version {_VERSION} for a threshold of {self.config.threshold} was expected."
            raise InputError(message, hint="Build it again with `build_umls_index`.")
        self._known: dict[str, tuple[UmlsMatch, ...]] = {}

    def close(self) -> None:
        """Close the file."""
        self._base.close()

    def mentions(self, text: str) -> list[Mention]:
        """Every mention, in the order of the text; of overlapping runs the most alike, then the longest."""
        words = [(m.group().lower(), m.start(), m.end()) for m in _WORD.finditer(text)]
        found = []
        for first in range(len(words)):
            for last in range(first, min(first + self.config.window, len(words))):
                if words[first][0] in _STOP or words[last][0] in _STOP:
                    continue
                run = " ".join(word for word, _, _ in words[first : last + 1])
                if len(run) >= self.config.min_letters and (matches := self.lookup(run)):
                    found.append((matches[0].score, last - first, first, last, matches))
        taken: set[int] = set()
        mentions = []
        for score, _, first, last, matches in sorted(found, key=lambda f: (-f[0], -f[1], f[2])):
            if taken.isdisjoint(range(first, last + 1)):
                taken.update(range(first, last + 1))
                start, end = words[first][1], words[last][2]
                best = {self._name(match.cui) for match in matches if match.score == score}
                mentions += [Mention(start, end, name, start) for name in sorted(best) if name]
        return sorted(mentions)

    def _name(self, cui: str) -> str:
        """What a concept is called in a mention; empty when it should be none."""
        return cui if self._names is None else self._names.get(cui, "")

    def _ask(self, query: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        """All rows of an answer; one thread at a time."""
        with self._turn:
            return self._base.execute(query, values).fetchall()

    def lookup(self, words: str) -> tuple[UmlsMatch, ...]:
        """The terms that words are like, the most alike first; only of the semantic types that count."""
        plain = _plain(words)
        if plain not in self._known:
            if len(self._known) >= _MOST_KEPT:
                self._known.clear()
            self._known[plain] = tuple(self._search(plain))
        return self._known[plain]

    def _search(self, plain: str) -> list[UmlsMatch]:
        trigrams = _trigrams(plain)
        prefix = [t for t in _prefix(trigrams, self._rank, self.config.threshold) if t in self._rank]
        if not prefix:
            return []
        marks = ",".join("?" * len(prefix))
        query = f"SELECT DISTINCT id, text FROM prefix JOIN term ON term.id = prefix.term WHERE trigram IN ({marks})"
        matches = []
        for term, text in self._ask(query, prefix):
            others = _trigrams(text)
            score = len(trigrams & others) / len(trigrams | others)
            if score >= self.config.threshold:
                matches += [UmlsMatch(score, text, cui) for cui in self._concepts(term)]
        return sorted(matches, key=lambda match: (-match.score, match.term, match.cui))

    def _concepts(self, term: int) -> list[str]:
        found = [cui for (cui,) in self._ask("SELECT cui FROM term_concept WHERE term = ?", (term,))]
        wanted = self.config.semantic_types
        return [cui for cui in found if not wanted or wanted & self.semantic_types(cui)]

    def semantic_types(self, cui: str) -> frozenset[str]:
        """The TUIs of a concept."""
        rows = self._ask("SELECT tui FROM semantic_type WHERE cui = ?", (cui,))
        return frozenset(tui for (tui,) in rows)

    def concept(self, cui: str) -> Concept:
        """A concept by its CUI, which is its name here as in `Mention`; its phrase is the preferred term.

        Raises:
            NotFound: The index does not have it.
        """
        named = self._ask("SELECT name FROM concept WHERE cui = ?", (cui,))
        if not named:
            message = "The UMLS index has no concept of that CUI."
            raise NotFound(message, hint="It may be suppressed, or in no English source of the subset.")
        parents = self._ask("SELECT parent FROM parent WHERE cui = ? ORDER BY parent", (cui,))
        above = tuple(parent for (parent,) in parents)
        return Concept(name=cui, parents=above, codes=(f"UMLS:{cui}",), phrases=(str(named[0][0]),))
