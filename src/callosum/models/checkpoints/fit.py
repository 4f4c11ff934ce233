"""Whether weights are those of a network: every name and shape, all differences in one error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from callosum.core.errors import InputError

SHOWN = 12


def require_fit(found: Mapping[str, Sequence[int]], expected: Mapping[str, Sequence[int]]) -> None:
    """Compare names and shapes.

    Raises:
        InputError: weights are missing, unexpected or of another shape; the message lists them.
    """
    missing = sorted(set(expected) - set(found))
    unexpected = sorted(set(found) - set(expected))
    misshapen = [
        f"{name} {list(found[name])} instead of {list(expected[name])}"
        for name in sorted(set(found) & set(expected))
        if tuple(found[name]) != tuple(expected[name])
    ]
    parts = [
        f"{len(names)} {kind}: {', '.join(names[:SHOWN])}{' ...' if len(names) > SHOWN else ''}"
        for kind, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen))
        if names
    ]
    if parts:
        message = f"The weights do not fit the model. {'; '.join(parts)}."
        raise InputError(message, hint="Weights are never made up or left out: give those this model was saved with.")
