"""What every objective is: a frozen configuration that turns views into loss terms."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Protocol, runtime_checkable

from torch import Tensor

from callosum.objectives.views import Views


class Need(StrEnum):
    """What of the views an objective uses beside the embeddings."""

    SCALE = "scale"
    BIAS = "bias"
    FINDINGS = "findings"
    TOKENS = "tokens"


@runtime_checkable
class Objective(Protocol):
    """Embeddings in, named loss terms out.

    An objective has no state and no weights; it is a frozen dataclass whose fields are its settings. Call it outside
    autocast.

    Attributes:
        needs: What the views must hold.
        initial_logit_scale: Where its paper starts the logit scale; 1 when it has none.
        initial_logit_bias: Where its paper starts the logit bias; 0 when it has none.
    """

    needs: ClassVar[frozenset[Need]]
    initial_logit_scale: ClassVar[float]
    initial_logit_bias: ClassVar[float]

    def __call__(self, views: Views) -> dict[str, Tensor]:
        """`loss`, to be minimised, and terms for the log, without a graph.

        Raises:
            InputError: the views lack something that this objective needs.
        """
        ...
