"""What each of two processes of the gathering test does; imported by name in the new processes."""

import os
from pathlib import Path

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from callosum.core.errors import InputError
from callosum.objectives.cached import cached_backward
from callosum.objectives.gather import Gathering, gather_views
from callosum.objectives.registry import ObjectiveName, build_objective
from callosum.objectives.views import Side, Views

MODES = {
    "local": Gathering(),
    "whole": Gathering(local_loss=False),
    "silent": Gathering(local_loss=False, with_gradient=False),
}
POLICY = {"equal_text": "positive", "equal_patient": "mask"}
ROWS = {0: slice(0, 3), 1: slice(3, 8)}


class Towers(nn.Module):
    """Four linear maps, a scale and a bias."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.maps = nn.ModuleList(nn.Linear(6, 4, bias=False, dtype=torch.float64) for _ in range(4))
        self.log_scale = nn.Parameter(torch.tensor(1.5, dtype=torch.float64))
        self.bias = nn.Parameter(torch.tensor(-2.0, dtype=torch.float64))

    def forward(self, image: dict[str, Tensor], text: dict[str, Tensor]) -> Views:
        sides = []
        for n, given in enumerate((image, text)):
            embedding = functional.normalize(self.maps[2 * n](given["x"]), dim=1)
            keys = {name: value for name, value in given.items() if name not in ("x", "tokens")}
            sides.append(Side(embedding_ND=embedding, token_NLD=self.maps[2 * n + 1](given["tokens"]), **keys))
        return Views(image=sides[0], text=sides[1], logit_scale=self.log_scale.exp(), logit_bias=self.bias)


def whole_batch() -> list[dict[str, Tensor]]:
    """Eight images and texts; two texts are equal, and a patient lies in both processes."""
    sides = []
    for seed, num_tokens in ((1, 5), (2, 6)):
        generator = torch.Generator().manual_seed(seed)
        text, patient = torch.arange(8), torch.arange(8)
        text[6], patient[5] = text[1], patient[0]
        mask = torch.arange(num_tokens) <= torch.arange(8)[:, None] % (num_tokens - 2)
        sides.append(
            {
                "x": torch.randn(8, 6, generator=generator, dtype=torch.float64),
                "tokens": torch.randn(8, num_tokens, 6, generator=generator, dtype=torch.float64),
                "token_mask_NL": mask,
                "text_N": text,
                "patient_N": patient,
                "present_NK": (torch.arange(8)[:, None] % 3 == torch.arange(3)).double(),
                "uncertain_NK": torch.rand(8, 3, generator=generator) < 0.2,
            }
        )
    return sides


def part(given: dict[str, Tensor], rows: slice) -> dict[str, Tensor]:
    """Some rows, and no more tokens than they need: processes pad to their own longest."""
    cut = {name: value[rows] for name, value in given.items()}
    longest = int(cut["token_mask_NL"].sum(dim=1).max())
    return cut | {"tokens": cut["tokens"][:, :longest], "token_mask_NL": cut["token_mask_NL"][:, :longest]}


def averaged_gradients(towers: Towers, loss: Tensor) -> list[Tensor]:
    """The loss and all gradients, averaged over the processes."""
    values = [p.grad if p.grad is not None else torch.zeros_like(p) for p in towers.parameters()]
    values.insert(0, loss.detach().clone())
    for value in values:
        distributed.all_reduce(value)
    return [value / 2 for value in values]


def in_chunks(rank: int, name: str) -> list[Tensor]:
    """The same gradients where each process also embeds its rows in two chunks."""
    towers = Towers()
    rows = ROWS[rank]
    middle = (rows.start + rows.stop) // 2
    parts = [slice(rows.start, middle), slice(middle, rows.stop)]
    keyed = [given | {"pair_N": torch.arange(8)} for given in whole_batch()]

    def encode(chunk: slice) -> tuple[Side, Side]:
        views = towers(*(part(given, chunk) for given in keyed))
        return views.image, views.text

    def loss(image: Side, text: Side) -> dict[str, Tensor]:
        views = Views(image=image, text=text, logit_scale=towers.log_scale.exp(), logit_bias=towers.bias)
        return build_objective(name, POLICY)(gather_views(views))

    return averaged_gradients(towers, cached_backward(parts, encode=encode, loss=loss)["loss"])


def work(rank: int, folder: Path) -> None:
    """Averaged gradients and loss of each objective and mode, written by the first process."""
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    image, text = (part(given, ROWS[rank]) for given in whole_batch())
    found = {}
    for name in ObjectiveName:
        objective = build_objective(name, POLICY)
        for mode, gathering in MODES.items():
            towers = Towers()
            loss = objective(gather_views(towers(image, text), gathering))["loss"]
            loss.backward()
            found[f"{name}/{mode}"] = averaged_gradients(towers, loss)
        found[f"{name}/cached"] = in_chunks(rank, name)
    odd = towers(image, text)
    if rank == 1:
        odd = Views(image=Side(embedding_ND=odd.image.embedding_ND), text=Side(embedding_ND=odd.text.embedding_ND))
    try:
        gather_views(odd)
    except InputError as error:
        (folder / f"refused{rank}").write_text(str(error))
    if rank == 0:
        torch.save(found, folder / "found.pt")
    distributed.destroy_process_group()
