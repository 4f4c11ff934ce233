"""Random numbers that are functions of where they are used, not of what was drawn before.

A key is mixed from the seed and from numbers such as the epoch and the place in it (SplitMix64: Steele, Lea and Flood
2014, doi:10.1145/2660193.2660195). Equal keys give equal numbers in any process, in any order, with any numpy, so that
an interrupted run goes on with the same pictures, and two processes share a permutation without speaking.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int64, UInt64

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def keys(*parts: int | np.ndarray) -> UInt64[np.ndarray, " N"]:
    """One key for each row of the parts, which are integers or arrays of them and are broadcast."""
    state_N = np.zeros(1, np.uint64)
    for part in parts:
        state_N = _scramble((state_N ^ np.atleast_1d(np.asarray(part)).astype(np.uint64)) + _STEP)
    return state_N


def uniforms(keys_N: UInt64[np.ndarray, " N"], num: int) -> Float64[np.ndarray, "N num"]:
    """`num` numbers in [0, 1) for each key."""
    bits = _scramble(keys_N[:, None] + _STEP * np.arange(1, num + 1, dtype=np.uint64))
    return (bits >> np.uint64(11)) / float(1 << 53)


def permutation(key_1: UInt64[np.ndarray, " 1"], num: int) -> Int64[np.ndarray, " num"]:
    """The numbers below `num` in an order that the key decides."""
    return np.argsort(_scramble(key_1 + _STEP * np.arange(1, num + 1, dtype=np.uint64)), kind="stable")


def _scramble(bits: np.ndarray) -> np.ndarray:
    bits = (bits ^ (bits >> np.uint64(30))) * _FIRST
    bits = (bits ^ (bits >> np.uint64(27))) * _SECOND
    return bits ^ (bits >> np.uint64(31))
