from dataclasses import dataclass
from enum import StrEnum

import pytest

from callosum.core.config import config_from
from callosum.core.digest import digest_bytes, digest_file, digest_json
from callosum.core.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class SoupConfig:
    salt_g: float
    num_carrots: int = 3


def test_known_keys() -> None:
    assert config_from(SoupConfig, {"salt_g": 2.0}) == SoupConfig(salt_g=2.0)


def test_a_misspelt_key_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="num_carrots"):
        config_from(SoupConfig, {"salt_g": 2.0, "num_carots": 1})


def test_a_missing_key_is_named() -> None:
    with pytest.raises(UsageError, match="salt_g"):
        config_from(SoupConfig, {})


class Heat(StrEnum):
    LOW = "low"
    HIGH = "high"


@dataclass(frozen=True, kw_only=True)
class StoveConfig:
    heat: Heat
    plates: tuple[int, ...] = ()


def test_values_from_json_take_their_kinds() -> None:
    stove = config_from(StoveConfig, {"heat": "high", "plates": [1, 2]})
    assert stove.heat is Heat.HIGH
    assert stove.plates == (1, 2)
    with pytest.raises(UsageError, match="low, high"):
        config_from(StoveConfig, {"heat": "hot"})


def test_digests(tmp_path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, B.1
    assert digest_file(tmp_path / "file") == digest_bytes(b"abc") == known
    assert digest_json({"a": 1, "b": 2}) == digest_json({"b": 2, "a": 1}) != digest_json({"a": 1, "b": 3})
