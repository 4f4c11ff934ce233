"""What a run reads: the rows it learns from, those it only looks at, and the batches of the former."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from callosum.core.protocols import Extractor
from callosum.data.manifest import read_table
from callosum.models.preprocess import Preprocess
from callosum.train.adapt import Tune
from callosum.train.augment_recipes import Recipe as Augmentation
from callosum.train.distributed import Place
from callosum.train.features import (
    FeatureFeed,
    FeatureLoader,
    TextTable,
    image_features,
    kept_features,
    possible_texts,
    text_features,
)
from callosum.train.feed import check_contrast
from callosum.train.held_out import HeldOut
from callosum.train.inputs import Texts
from callosum.train.kin import kin, widened
from callosum.train.loader import Loader, LoaderConfig
from callosum.train.material import read_material
from callosum.train.mixture import Mixture, MixtureConfig
from callosum.train.pixel_cache import CacheConfig, PixelCache, build_cache
from callosum.train.recipe import RunConfig
from callosum.train.start import Start
from callosum.train.stock import Material
from callosum.train.supply import Side, Supply, read_rows

PIXELS, FEATURES = "pixels", "features.safetensors"


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where a run reads.

    Attributes:
        training: What is learnt from, and validated on.
        retained: Pairs of another task.
        pixels: Folder of decoded pictures.
        extractor: Labels of texts; those of the label columns when absent.
    """

    training: tuple[Supply, ...]
    retained: tuple[Supply, ...] = ()
    pixels: Path
    extractor: Extractor | None = None

    def without_labels(self) -> Sources:
        """The same for an objective that does not look at labels: what stands in their columns does not matter."""
        return replace(self, training=tuple(replace(s, labels={}) for s in self.training), extractor=None)


@dataclass(frozen=True, kw_only=True, eq=False)
class Stocked:
    """Rows whose pictures are there.

    Attributes:
        material: The rows.
        cache: Their pictures.
        num_unreadable: Pictures that could not be read.
    """

    material: Material
    cache: PixelCache
    num_unreadable: int


def stocked(config: RunConfig, preprocess: Preprocess, material: Material, pixels: Path) -> Stocked:
    """Decode the pictures of a material once; those that cannot be read are left out."""
    cache = build_cache(material.sources, pixels, cache_config(config, preprocess))
    return Stocked(material=material.readable(cache), cache=cache, num_unreadable=len(cache.problems))


def cache_config(config: RunConfig, preprocess: Preprocess) -> CacheConfig:
    """Squares made as the encoder makes them, with a margin for crops unless nothing is cropped."""
    margin = 1.0 if config.batch.augmentation is Augmentation.NONE else 8 / 7
    side_px = config.batch.store_px or round(margin * preprocess.size_px)
    return CacheConfig(
        side_px=side_px, num_channels=config.batch.num_channels, fit=preprocess.fit, resample=preprocess.resample
    )


def held_out_of(
    config: RunConfig, preprocess: Preprocess, sources: Sources, *, concepts: tuple[str, ...]
) -> tuple[HeldOut | None, HeldOut | None]:
    """The rows of validation, and those of what is to be retained; None where there are none.

    Of what is to be retained the rows of validation count, or all where a manifest has no column `split`.
    """
    plain = replace(config, batch=replace(config.batch, augmentation=Augmentation.NONE, store_px=0))

    def held(chosen: Sequence[Supply], side: Side, *, has_loss: bool) -> HeldOut:
        material = read_material(
            chosen,
            concepts=concepts if has_loss else (),
            side=side,
            extractor=sources.extractor if has_loss else None,
        )
        if has_loss and config.has_hierarchy:
            material = widened(material, kin(config.scheme))
        stock = stocked(plain, preprocess, material, sources.pixels)
        return HeldOut(
            material=stock.material,
            cache=stock.cache,
            num_rows=config.watch.validation_rows,
            size_px=preprocess.size_px,
            prefix=config.batch.text_prefix if has_loss else "",
            has_loss=has_loss,
        )

    validation = retained = None
    if config.watch.validate_every and (placed := [s for s in sources.training if has_validation(s)]):
        validation = held(placed, Side.VALIDATION, has_loss=True)
    if retain := sources.retained:
        has_split = ["split" in read_table(s.manifest, required="path").column_names for s in retain]
        side = Side.VALIDATION if all(has_split) else Side.TRAIN
        unsplit = [s if side is Side.VALIDATION else replace(s, has_split=False) for s in retain]
        retained = held(unsplit, side, has_loss=False)
    return validation, retained


def has_validation(supply: Supply) -> bool:
    """Whether a manifest places rows on the side of validation."""
    rows = read_rows(replace(supply, labels={}), 0, concepts=())
    return supply.has_split and any(row.side == Side.VALIDATION for row in rows)


def batches_of(
    config: RunConfig, start: Start, stock: Stocked, place: Place, *, folder: Path, identity: str
) -> tuple[Loader | FeatureLoader, Texts | None]:
    """Batches to learn from; where both towers are locked and nothing changes a picture, those of their features.

    Returns:
        The batches, and what gives the features of texts where the text tower ran already.
    """
    batch, size_px = config.batch, start.preprocess.size_px
    mixture = MixtureConfig(
        num_pairs=place.part(batch.num_pairs, what="num_pairs"),
        num_images=place.part(batch.num_images, what="num_images"),
        num_texts=place.part(batch.num_texts, what="num_texts"),
        seed=config.seed,
    )
    is_still = config.adapt.tune is Tune.PROJECTION and batch.augmentation is Augmentation.NONE
    texts = possible_texts(stock.material, config.sentences, prefix=batch.text_prefix) if is_still else None
    if texts is None or start.network.config.has_regions:
        settings = LoaderConfig(mixture=mixture, sentences=config.sentences, recipe=batch.augmentation, size_px=size_px)
        return Loader(stock.material, stock.cache, settings, rank=place.rank, world_size=place.num_processes), None
    check_contrast(stock.material, has_pairs=batch.num_pairs > 0)
    found = kept_features(
        folder / f"{place.rank}-{FEATURES}",
        identity,
        lambda: {
            "image": image_features(
                start.network, stock.material, stock.cache, size_px=size_px, precision=config.precision
            ),
            "text": text_features(start.network, start.tokenizer, texts, precision=config.precision),
        },
    )
    feed = FeatureFeed(stock.material, stock.cache, features_NF=found["image"], sentences=config.sentences)
    loader = FeatureLoader(feed, Mixture(stock.material, mixture, rank=place.rank, world_size=place.num_processes))
    return loader, TextTable(texts, found["text"])
