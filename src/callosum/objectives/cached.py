"""A batch larger than memory, with the gradients of the whole batch (GradCache, Gao et al. 2021).

Plain accumulation sums the losses of small batches, whose negatives are few. Here all chunks are first embedded without
a graph, the loss of all rows gives the gradient of each embedding, and each chunk is embedded once more, with the same
randomness, to carry that gradient into the towers. Scale and bias take part in the loss only, hence exactly once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from callosum.core.errors import InputError
from callosum.objectives.views import Side, join_sides

C = TypeVar("C")


def cached_backward(
    chunks: Sequence[C],
    *,
    encode: Callable[[C], tuple[Side, Side]],
    loss: Callable[[Side, Side], dict[str, Tensor]],
    generators: Sequence[torch.Generator] = (),
) -> dict[str, Tensor]:
    """Add the gradients of the whole batch's loss to `.grad` of everything it depends on.

    Layers whose output depends on the other rows of a chunk (batch normalisation in training) see a chunk, as in plain
    accumulation, and update their averages twice.

    Args:
        chunks: What `encode` takes: the batch in parts that fit.
        encode: Images and texts of a chunk through the towers.
        loss: Terms of the joined sides; here the views are built, with scale and bias, and gathered when there are
            several processes.
        generators: Generators that `encode` draws from besides torch's own.

    Returns:
        The terms of `loss`, without graph.

    Raises:
        InputError: no chunk.
    """
    if not chunks:
        message = "The batch has no chunk."
        raise InputError(message)
    states, sides = [], []
    with torch.no_grad():
        for chunk in chunks:
            states.append(_Randomness.now(generators))
            sides.append(encode(chunk))
    leaves = [tuple(_leaf(side) for side in pair) for pair in sides]
    terms = loss(join_sides([image for image, _ in leaves]), join_sides([text for _, text in leaves]))
    terms["loss"].backward()
    for chunk, state, pair in zip(chunks, states, leaves, strict=True):
        with state.replayed(generators):
            _carry(encode(chunk), pair)
    return {name: term.detach() for name, term in terms.items()}


def _leaf(side: Side) -> Side:
    """The side cut from its past, with places for gradients."""
    token_NLD = None if side.token_NLD is None else side.token_NLD.detach().requires_grad_()
    return replace(side, embedding_ND=side.embedding_ND.detach().requires_grad_(), token_NLD=token_NLD)


def _carry(encoded: tuple[Side, Side], leaves: tuple[Side, ...]) -> None:
    """Carry the gradients of the leaves into what encoded them."""
    outputs, grads = [], []
    for side, leaf in zip(encoded, leaves, strict=True):
        for output, place in ((side.embedding_ND, leaf.embedding_ND), (side.token_NLD, leaf.token_NLD)):
            # A locked tower has no graph, and an objective need not use tokens.
            if output is not None and output.requires_grad and place is not None and place.grad is not None:
                outputs.append(output)
                grads.append(place.grad)
    if outputs:
        torch.autograd.backward(outputs, grads)


@dataclass(frozen=True, kw_only=True)
class _Randomness:
    """The state of every generator before a chunk."""

    cpu: Tensor
    cuda: list[Tensor]
    own: list[Tensor]

    @staticmethod
    def now(generators: Sequence[torch.Generator]) -> _Randomness:
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return _Randomness(cpu=torch.get_rng_state(), cuda=cuda, own=[g.get_state() for g in generators])

    def restore(self, generators: Sequence[torch.Generator]) -> None:
        torch.set_rng_state(self.cpu)
        if self.cuda:
            torch.cuda.set_rng_state_all(self.cuda)
        for generator, state in zip(generators, self.own, strict=True):
            generator.set_state(state)

    @contextmanager
    def replayed(self, generators: Sequence[torch.Generator]) -> Iterator[None]:
        """The same draws again; afterwards the stream goes on where it was."""
        after = _Randomness.now(generators)
        self.restore(generators)
        try:
            yield
        finally:
            after.restore(generators)
