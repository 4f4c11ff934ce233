import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image as PilImage

from callosum.core.errors import DigestMismatch, InputError, NotFound, UsageError
from callosum.core.protocols import Encoder
from callosum.models.checkpoints.cards import Card, read_card
from callosum.models.checkpoints.load import checkpoint_folder, installed_cards, load_checkpoint, open_checkpoint
from callosum.models.checkpoints.save import save_checkpoint
from callosum.models.dual import DualEncoder
from callosum.models.preprocess import Preprocess
from callosum.models.text.sizes import SmallTextConfig
from callosum.models.tokenizer import WordPiece, train_wordpiece
from callosum.models.towers import DualConfig
from callosum.models.vision.sizes import HybridConfig

VISION = HybridConfig(size_px=32, stem=8, widths=(8, 16, 16), depths=(1, 1, 1), token_width=16, thumbnail_px=4)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    wordpiece = WordPiece(train_wordpiece(["a chest x-ray", "a CT of the head"] * 3, vocab_size=100), context_length=16)
    text = SmallTextConfig(vocab_size=wordpiece.vocab_size, width=16, context_length=16)
    model = DualEncoder(DualConfig(dim=16, vision=VISION, text=text), Preprocess(size_px=32))
    card = Card(name="tiny.v1", summary="s", intended_use="u", not_for="n", licence="l")
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    save_checkpoint(folder, model, wordpiece=wordpiece, preprocess=Preprocess(size_px=32), card=card)
    return folder


def test_a_saved_checkpoint_is_an_encoder(saved: Path) -> None:
    encoder = open_checkpoint(saved)
    assert isinstance(encoder, Encoder)
    assert encoder.space.name == "tiny.v1"
    assert encoder.space == open_checkpoint(saved).space
    texts = encoder.encode_text(["a chest x-ray", "a chest x-ray", "head"])
    assert texts.matrix.shape == (3, 16)
    assert np.array_equal(texts.matrix[0], texts.matrix[1])
    assert len(encoder.encode_text([])) == len(encoder.encode_image([])) == 0


def test_every_kind_of_image(saved: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (40, 50)).astype(np.uint8)
    encoder = open_checkpoint(saved, read=lambda path: SimpleNamespace(display=lambda **_: grey))
    record = SimpleNamespace(display=lambda **_: grey)
    colour = np.repeat(grey[:, :, None], 3, axis=2)
    kinds = [grey, colour, PilImage.fromarray(grey), PilImage.fromarray(colour), record, "film.png", Path("film.png")]
    matrix = encoder.encode_image(kinds, batch_size=2).matrix
    assert np.abs(matrix - matrix[0]).max() < 1e-5
    pixels = np.stack([encoder.preprocess(grey)])
    assert np.abs(encoder.encode_pixels(pixels).matrix - matrix[:1]).max() < 1e-5


def test_raw_grey_is_scaled_and_never_clipped(saved: Path) -> None:
    encoder = open_checkpoint(saved)
    ramp = np.linspace(0, 1, 40 * 50).reshape(40, 50)
    low, high = (ramp * 4000).astype(np.uint16), (ramp * 60000).astype(np.uint16)
    matrix = encoder.encode_image([low, high]).matrix
    assert matrix[0] @ matrix[1] > 0.999


@pytest.mark.parametrize("bad", [np.zeros((4, 4)), np.zeros((4, 4, 2), np.uint8), np.zeros((0, 4), np.uint8), 7])
def test_other_things_are_refused(saved: Path, bad: object) -> None:
    with pytest.raises(InputError):
        open_checkpoint(saved).encode_image([bad])


def test_paths_need_a_reader_and_texts_a_list(saved: Path) -> None:
    encoder = open_checkpoint(saved)
    with pytest.raises(UsageError):
        encoder.encode_image(["film.png"])
    with pytest.raises(InputError):
        encoder.encode_text("one string")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_one_flipped_byte_is_refused(saved: Path, tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(saved, tmp_path / "copy"))
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(DigestMismatch):
        open_checkpoint(folder)


def test_missing_files_and_strange_cards(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        open_checkpoint(tmp_path)
    folder = Path(shutil.copytree(saved, tmp_path / "copy"))
    (folder / "tokenizer.json").unlink()
    with pytest.raises(NotFound):
        open_checkpoint(folder)
    for text in ("no json", "[]"):
        (folder / "card.json").write_text(text)
        with pytest.raises(InputError):
            read_card(folder)


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    with pytest.raises(NotFound, match="starter"):
        load_checkpoint("startr")


def test_the_starter_is_installed_and_small() -> None:
    card = next(c for c in installed_cards() if c.name == "starter.v1")
    folder = checkpoint_folder("starter")
    assert sum(path.stat().st_size for path in folder.iterdir()) < 15_000_000
    assert all(entry["licence"] and entry["attribution"] for entry in card.data)
    assert card.not_for
    assert card.quality


def test_the_starter_gives_its_golden_vectors() -> None:
    golden = json.loads((Path(__file__).parent / "starter_golden.json").read_text())
    encoder = load_checkpoint("starter")
    texts = encoder.encode_text([entry["text"] for entry in golden["texts"]]).matrix
    for row, entry in zip(texts, golden["texts"], strict=True):
        assert np.abs(row[:8] - np.array(entry["first"])).max() < 1e-4
    y, x = np.mgrid[0:150, 0:200]
    picture = ((np.sin(x / 17) * np.cos(y / 11) + 1) * 127).astype(np.uint8)
    image = encoder.encode_image([picture]).matrix[0]
    assert np.abs(image[:8] - np.array(golden["image"]["first"])).max() < 1e-4


def test_texts_need_no_torch() -> None:
    program = (
        "import sys; from callosum.models.checkpoints.load import load_checkpoint;"
        "load_checkpoint('starter').encode_text(['a']); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
