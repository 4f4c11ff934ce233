"""What a run reads: the rows it learns from, those it only looks at, and the batches of the former."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from callosum.core.digest import digest_json
from callosum.core.errors import InputError
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
from callosum.train.stock import Material, together
from callosum.train.supply import Kind, Side, Supply, read_rows

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
        return replace(self, training=_unlabelled(self.training), extractor=None)


@dataclass(frozen=True, kw_only=True, eq=False)
class Stocked:
    """Rows whose pictures are there.

    Attributes:
        material: The rows.
        cache: Their pictures.
        num_unreadable: Pictures that could not be read.
        contents: Digest of what the pictures hold, so that changed ones are noticed.
    """

    material: Material
    cache: PixelCache
    num_unreadable: int
    contents: str


def stocked(config: RunConfig, preprocess: Preprocess, material: Material, pixels: Path) -> Stocked:
    """Decode the pictures of a material once; those that cannot be read are left out."""
    cache = build_cache(material.sources, pixels, cache_config(config, preprocess))
    kept = material.readable(cache)
    contents = digest_json(cache.contents(kept.sources))
    return Stocked(material=kept, cache=cache, num_unreadable=len(cache.problems), contents=contents)


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

    Of what is to be retained the rows of validation count, or all of a manifest without a column `split`.

    Raises:
        InputError: there is nothing to compare: pictures alone, texts alone, a single one, or no pairs to retain.
    """
    plain = replace(config, batch=replace(config.batch, augmentation=Augmentation.NONE, store_px=0))

    def held(material: Material, *, has_loss: bool) -> HeldOut:
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
        material = read_material(placed, concepts=concepts, side=Side.VALIDATION, extractor=sources.extractor)
        if config.has_hierarchy:
            material = widened(material, kin(config.scheme))
        _check_comparable(material)
        validation = held(material, has_loss=True)
    if sources.retained:
        retained = held(_to_retain(_unlabelled(sources.retained)), has_loss=False)
    return validation, retained


def _to_retain(supplies: Sequence[Supply]) -> Material:
    """The rows of validation, and all of manifests that have no sides."""
    placed: list[Supply] = []
    whole: list[Supply] = []
    for supply in supplies:
        columns = read_table(supply.manifest, required="text" if supply.kind is Kind.TEXTS else "path").column_names
        if "split" in columns and supply.has_split:
            placed.append(supply)
        else:
            whole.append(replace(supply, has_split=False))
    sides = ((placed, Side.VALIDATION), (whole, Side.TRAIN))
    material = together([read_material(chosen, side=side) for chosen, side in sides if chosen])
    if not any(len(pool.pair_rows) for pool in material.pools):
        message = "What is to be retained has no pair of a picture and the text that is right for it."
        raise InputError(message, hint="Give pairs to --retain: a column `path` and a column `text`.")
    return material


def _check_comparable(material: Material) -> None:
    """Refuse rows of validation that have nothing to be compared with, before a picture is read."""
    if not material.pictures or not material.texts:
        found = "pictures" if material.pictures else "texts"
        message = f"The {material.side} rows are {found} alone: there is nothing to compare."
        raise InputError(message, hint="Give pairs, or pictures and texts, of that side; or watch.validate_every=0.")
    if len(material.pictures) == len(material.texts) == 1:
        message = "There is one picture and one text to validate on: whatever is learnt, its loss is 0."
        raise InputError(message, hint="Place more rows on that side, or set watch.validate_every=0.")


def _unlabelled(supplies: Sequence[Supply]) -> tuple[Supply, ...]:
    return tuple(replace(supply, labels={}) for supply in supplies)


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
    is_still = config.adapt.tune is Tune.PROJECTION and batch.augmentation is Augmentation.NONE and not batch.mirror
    texts = possible_texts(stock.material, config.sentences, prefix=batch.text_prefix) if is_still else None
    if texts is None or start.network.config.has_regions:
        settings = LoaderConfig(
            mixture=mixture,
            sentences=config.sentences,
            recipe=batch.augmentation,
            mirror=batch.mirror,
            size_px=size_px,
        )
        return Loader(stock.material, stock.cache, settings, rank=place.rank, world_size=place.num_processes), None
    check_contrast(stock.material, has_pairs=batch.num_pairs > 0)
    found = kept_features(
        folder / f"{place.rank}-{FEATURES}",
        digest_json([identity, config.precision]),
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
