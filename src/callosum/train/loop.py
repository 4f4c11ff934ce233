"""The training loop: batches in, averaged weights out."""

from __future__ import annotations

import copy
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from callosum.models.dual import DualEncoder
from callosum.models.preprocess import Preprocess
from callosum.models.text.sizes import SmallTextConfig
from callosum.models.tokenizer import WordPiece, pad
from callosum.models.towers import DualConfig
from callosum.objectives.contrastive import contrastive_loss
from callosum.train.augment import PACK_AUGMENT, augment
from callosum.train.batch import PromptTask, Sampler, caption_batch, drop_words, prompt_tasks
from callosum.train.captions import Captioner
from callosum.train.config import TrainConfig
from callosum.train.ema import update_average
from callosum.train.examination import EXAMINED
from callosum.train.packs import Row
from callosum.train.words import caption_vectors, ppmi_vectors

MAX_LOGIT_SCALE = 50.0


@dataclass(kw_only=True)
class Material:
    """What a run trains on.

    Attributes:
        rows: Training rows.
        pixels: Their pictures, `store_px` square.
        wordpiece: The tokenizer.
        extra_texts: Captions without pictures, for word vectors only.
    """

    rows: Sequence[Row]
    pixels: UInt8[np.ndarray, "N S S 3"]
    wordpiece: WordPiece
    extra_texts: Sequence[str] = ()


class Heads(nn.Module):
    """What is trained beside the towers and dropped afterwards: caption words, and the image-to-image projector."""

    def __init__(self, feature_width: int, vocab_size: int) -> None:
        super().__init__()
        self.words = nn.Linear(feature_width, vocab_size)
        self.projector = nn.Sequential(nn.Linear(feature_width, 512), nn.ReLU(), nn.Linear(512, 128))


class Trainer:
    """Holds the networks, their optimiser, the averaged weights, the steps done and the seconds they took.

    Args:
        config: Every choice.
        material: Rows, pictures and tokenizer.
    """

    def __init__(self, config: TrainConfig, material: Material) -> None:
        self.config = config
        self.material = material
        self.generator = torch.Generator().manual_seed(config.seed)
        self.rng = random.Random(config.seed)
        self.np_rng = np.random.default_rng(config.seed)
        text = SmallTextConfig(
            vocab_size=material.wordpiece.vocab_size,
            width=config.text_width,
            num_blocks=config.text_blocks,
            context_length=config.context_length,
            dropout=config.text_dropout,
        )
        sizes = DualConfig(dim=config.dim, vision=config.vision, text=text, max_logit_scale=MAX_LOGIT_SCALE)
        self.model = DualEncoder(sizes, Preprocess(size_px=config.vision.size_px))
        self.model = self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._start_words()
        self.heads = Heads(self.model.vision.feature_width, self.bags.shape[1])
        self.average = copy.deepcopy(self.model).eval()
        self.sampler = Sampler(material.rows, config.batch_rows, rng=self.np_rng)
        self.captioner = Captioner(self.rng, avoid=EXAMINED)
        self.optimizer = torch.optim.AdamW(self._groups(), lr=config.learning_rate, betas=(0.9, 0.98), fused=True)
        self.step = 0
        self.seconds = 0.0

    def _groups(self) -> list[dict[str, object]]:
        named = [*self.model.named_parameters(), *self.heads.named_parameters()]
        decayed = [p for _, p in named if p.ndim >= 2]
        plain = [p for _, p in named if p.ndim < 2]
        return [
            {"params": decayed, "weight_decay": self.config.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ]

    def _start_words(self) -> None:
        """Word vectors and caption similarity from the captions of the training rows and the texts without pictures."""
        wordpiece, rows = self.material.wordpiece, self.material.rows
        templates = Captioner(random.Random(self.config.seed + 1), free_text=0.0, avoid=EXAMINED)
        labelled = [row for row in rows if not row.texts]
        written = [templates.for_row(self.rng.choice(labelled)).text for _ in range(3000 if labelled else 0)]
        real = [t for row in rows for t in row.texts]
        vocab_size = wordpiece.vocab_size
        vectors = ppmi_vectors(
            wordpiece.ids([*real, *self.material.extra_texts, *written]),
            vocab_size=vocab_size,
            width=self.config.text_width,
            rng=self.np_rng,
        )
        with torch.no_grad():
            self.model.text.token.weight[:, : vectors.shape[1]] = torch.from_numpy(vectors)
        ids = wordpiece.ids([row.texts[0] if row.texts else "" for row in rows])
        lsa = caption_vectors(ids, vocab_size=vocab_size, width=128, rng=self.np_rng)
        self.lsa = torch.from_numpy(lsa)
        bags = torch.zeros(len(rows), vocab_size)
        for n, (row, pieces) in enumerate(zip(rows, ids, strict=True)):
            if row.texts:
                bags[n, pieces] = 1.0
        share = bags.sum(0) / max(1.0, float((bags.sum(1) > 0).sum()))
        num = bags.sum(0)
        self.bags = bags[:, (share <= 0.25) & (num >= 4)]

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then a cosine to two per cent."""
        warmup = max(1, int(self.config.warmup_share * self.config.num_steps))
        if step < warmup:
            return self.config.learning_rate * (step + 1) / warmup
        done = (step - warmup) / max(1, self.config.num_steps - warmup)
        return self.config.learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))

    def run(self, *, until: int | None = None, report: Callable[[int, dict[str, float]], None]) -> None:
        """Train to step `until` (the configured number when absent), reporting the loss terms of every step."""
        self.model.train()
        while self.step < (self.config.num_steps if until is None else until):
            start = time.perf_counter()
            for group in self.optimizer.param_groups:
                group["lr"] = self.learning_rate(self.step)
            terms = self._terms()
            loss = torch.stack(list(terms.values())).sum()
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_([*self.model.parameters(), *self.heads.parameters()], 3.0)
            self.optimizer.step()
            self.step += 1
            update_average(self.average, self.model, decay=self.config.ema_decay, step=self.step)
            values = {name: float(term.detach()) for name, term in terms.items()}
            step_s = time.perf_counter() - start
            self.seconds += step_s
            report(self.step, {**values, "step_s": step_s})

    def _terms(self) -> dict[str, Tensor]:
        """Loss terms of one step, weighted."""
        config = self.config
        chosen = self.sampler.draw()
        rows = [self.material.rows[n] for n in chosen]
        captions, truth = caption_batch(rows, self.captioner)
        tasks = prompt_tasks(rows, self.captioner, rng=self.rng)
        features = self._image_features(chosen, rows)
        free = [c.asserts is None for c in captions]
        drop = [config.word_dropout if f else config.template_dropout for f in free]
        wanted = [c.text for c in captions] + [t for task in tasks for t in task.texts]
        drop += [0.0] * (len(wanted) - len(captions))
        embedded = self._embed_texts(wanted, drop)
        text, prompts = embedded[: len(captions)], embedded[len(captions) :]
        smoothing = self._similar(chosen, torch.tensor(free)) if config.smoothing else None
        terms: dict[str, list[Tensor]] = {}
        scale = self.model.logit_scale
        for view in features:
            image = self.model.embed_features(view)
            pair = contrastive_loss(image, text, logit_scale=scale, truth_NM=truth, smoothing=smoothing)
            terms.setdefault("contrastive", []).append(pair["contrastive"])
            terms.setdefault("prompts", []).append(config.prompt_weight * _prompt_loss(image, prompts, tasks, scale))
            if config.words_weight:
                terms.setdefault("words", []).append(config.words_weight * self._words_loss(view, chosen))
        out = {name: torch.stack(values).mean() for name, values in terms.items()}
        if len(features) == 2:
            first, second = (functional.normalize(self.heads.projector(f), dim=-1) for f in features)
            views = contrastive_loss(first, second, logit_scale=torch.tensor(5.0))
            out["views"] = config.view_weight * views["contrastive"]
        return out

    def _image_features(self, chosen: np.ndarray, rows: Sequence[Row]) -> list[Float[Tensor, "B F"]]:
        pixels = torch.from_numpy(self.material.pixels[chosen])
        limits = [PACK_AUGMENT[row.pack] for row in rows]
        size_px = self.config.vision.size_px
        vision = self.model.vision
        out = []
        for _ in range(self.config.views):
            x = augment(pixels, limits, size_px=size_px, generator=self.generator)
            x = ((x - self.model.mean) / self.model.std).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16):
                out.append(vision(x))
        return [f.float() for f in out]

    def _embed_texts(self, texts: Sequence[str], drop: Sequence[float]) -> Float[Tensor, "B D"]:
        """Embed texts in three batches of like length, long ones cut to a random window."""
        wordpiece, longest = self.material.wordpiece, self.config.window
        ids = drop_words(
            wordpiece.ids(texts), drop, mask_id=wordpiece.mask_id, vocab_size=wordpiece.vocab_size, rng=self.rng
        )
        ids = [_window(row, longest, rng=self.rng) for row in ids]
        order = sorted(range(len(ids)), key=lambda n: len(ids[n]))
        parts = []
        for part in np.array_split(np.array(order), 3):
            padded, mask = pad([ids[n] for n in part])
            with torch.autocast("cpu", torch.bfloat16):
                parts.append(self.model.encode_text(torch.from_numpy(padded), torch.from_numpy(mask)))
        return torch.cat(parts)[torch.from_numpy(np.argsort(np.array(order)))]

    def _similar(self, chosen: np.ndarray, free: Tensor) -> Float[Tensor, "B B"]:
        """Target mass for free captions that resemble another's, from latent semantic analysis."""
        lsa = self.lsa[chosen]
        cosine = lsa @ lsa.T
        both = free[:, None] & free[None, :]
        cosine = cosine.masked_fill(~both | torch.eye(len(chosen), dtype=torch.bool), -1.0)
        weight = torch.where(both, torch.exp(cosine / 0.1), torch.zeros(()))
        return self.config.smoothing * weight / weight.sum(dim=1, keepdim=True).clamp_min(1e-6)

    def _words_loss(self, features: Tensor, chosen: np.ndarray) -> Tensor:
        """Cross-entropy of caption words given the picture's features (Joulin et al. 2016)."""
        bags = self.bags[chosen]
        count = bags.sum(dim=1)
        has = count > 0
        log_probability = functional.log_softmax(self.heads.words(features[has]), dim=1)
        return -((bags[has] / count[has, None]) * log_probability).sum(dim=1).mean()


def _window(ids: list[int], longest: int, *, rng: random.Random) -> list[int]:
    start = rng.randint(0, max(0, len(ids) - longest))
    return ids[start : start + longest]


def _prompt_loss(image: Tensor, prompts: Tensor, tasks: Sequence[PromptTask], scale: Tensor) -> Tensor:
    """Cross-entropy of the true prompt among the prompts of its task, for the rows that have one."""
    total, start = image.new_zeros(()), 0
    for task in tasks:
        stop = start + len(task.texts)
        has = (task.truth == 1).any(dim=1)
        if bool(has.any()):
            truth = task.truth[has]
            logits = (scale * image[has] @ prompts[start:stop].T).masked_fill(truth.isnan(), float("-inf"))
            weight = truth.nan_to_num(0.0)
            weight = weight / weight.sum(dim=1, keepdim=True)
            log_probability = functional.log_softmax(logits, dim=1).masked_fill(weight == 0, 0.0)
            total = total - task.weight * (weight * log_probability).sum(dim=1).mean()
        start = stop
    return total
