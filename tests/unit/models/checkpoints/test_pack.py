"""One file per checkpoint: equal bytes for equal content, every byte covered."""

import hashlib
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

import callosum
from callosum.core.errors import CallosumError, DigestMismatch, InputError, UsageError
from callosum.models.checkpoints.cards import read_card
from callosum.models.checkpoints.foreign import Reading
from callosum.models.checkpoints.home import checkpoint_folder, imported
from callosum.models.checkpoints.install import Import, import_model
from callosum.models.checkpoints.load import verify_checkpoint
from callosum.models.checkpoints.pack import MARK, NUM_HEX, is_pack, read_pack, write_pack
from callosum.models.text.pooling import Pool

TEXTS = ["chest x-ray", "ct of the head"]


@pytest.fixture
def pack(biomed: Path, tmp_path: Path) -> Path:
    name = import_model(Import(path=biomed)).card.name
    file = tmp_path / "biomed.callosum"
    write_pack(checkpoint_folder(name), file)
    return file


def test_a_pack_is_imported_elsewhere(pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (name,) = imported()
    here = callosum.load_encoder(name)
    card = read_card(checkpoint_folder(name))
    monkeypatch.setenv("CALLOSUM_HOME", str(tmp_path / "elsewhere"))
    assert imported() == {}
    done = import_model(Import(path=pack))
    assert done.is_new
    assert done.card == card
    there = callosum.load_encoder(name)
    assert there.space == here.space
    assert np.array_equal(there.encode_text(TEXTS).matrix, here.encode_text(TEXTS).matrix)
    assert not import_model(Import(path=pack)).is_new
    renamed = import_model(Import(path=pack, name="mine.v1", licence="agreed by letter"))
    assert (renamed.card.name, renamed.card.licence) == ("mine.v1", "agreed by letter")
    assert callosum.load_encoder("mine").space == here.space
    verify_checkpoint("mine")
    with pytest.raises(UsageError, match="says itself"):
        import_model(Import(path=pack, reading=Reading(pool=Pool.MEAN)))
    with pytest.raises(UsageError, match="imported before"):
        callosum.load_encoder(f"local-dir:{pack}")


def test_equal_content_gives_equal_bytes(pack: Path, tmp_path: Path) -> None:
    (name,) = imported()
    folder = Path(shutil.copytree(checkpoint_folder(name), tmp_path / "copy", copy_function=shutil.copyfile))
    digest = write_pack(folder, tmp_path / "again.callosum")
    assert (tmp_path / "again.callosum").read_bytes() == pack.read_bytes()
    assert pack.read_bytes().endswith(digest.encode())
    with zipfile.ZipFile(pack) as bundle:  # any program that reads zips can look into it
        assert bundle.testzip() is None
        assert bundle.namelist()[0] == "card.json"
        assert set(bundle.namelist()) == {path.name for path in folder.iterdir()}
    with pytest.raises(UsageError, match="new file"):
        write_pack(folder, pack)
    with pytest.raises(UsageError, match="new file"):
        write_pack(folder, tmp_path / "nowhere" / "a.callosum")


def test_the_starter_can_be_carried(tmp_path: Path) -> None:
    write_pack(checkpoint_folder("starter"), tmp_path / "starter.callosum")
    assert not import_model(Import(path=tmp_path / "starter.callosum")).is_new
    done = import_model(Import(path=tmp_path / "starter.callosum", name="copy.v1"))
    assert done.is_new
    assert callosum.load_encoder("copy").space == callosum.load_encoder("starter").space


def flips(size: int) -> list[int]:
    """Every byte of the first headers and of the directory at the end, and some of what lies between."""
    between = np.random.default_rng(0).integers(0, size, 150).tolist()
    return sorted({*range(80), *range(size - 700, size), *between})


def test_one_flipped_byte_anywhere_is_refused(pack: Path, tmp_path: Path) -> None:
    whole = pack.read_bytes()
    damaged = tmp_path / "damaged.callosum"
    for at in flips(len(whole)):
        data = bytearray(whole)
        data[at] ^= 1 << (at % 8)
        damaged.write_bytes(data)
        assert is_pack(damaged), at
        with pytest.raises(DigestMismatch, match="not as it was written"):
            read_pack(damaged, tmp_path)
    with pytest.raises(DigestMismatch):
        import_model(Import(path=damaged))


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.9999])
def test_a_pack_that_is_cut_short_or_prolonged_is_refused(pack: Path, tmp_path: Path, share: float) -> None:
    whole = pack.read_bytes()
    damaged = tmp_path / "damaged.callosum"
    before = imported()
    for data in (whole[: int(share * len(whole))], whole + b"\0", b"\0" + whole, whole[: -NUM_HEX - len(MARK)]):
        damaged.write_bytes(data)
        with pytest.raises(CallosumError):
            import_model(Import(path=damaged, name="mine.v1"))
    assert imported() == before


def forged(pack: Path, tmp_path: Path, change: dict[str, bytes], *, method: int = zipfile.ZIP_STORED) -> Path:
    """A pack with other members, and the right digest for them."""
    with zipfile.ZipFile(pack) as bundle:
        members = {name: bundle.read(name) for name in bundle.namelist()} | change
    file = tmp_path / "forged.callosum"
    with zipfile.ZipFile(file, "w", method) as bundle:
        bundle.comment = MARK + b"0" * NUM_HEX
        for name, data in members.items():
            bundle.writestr(name, data)
    data = file.read_bytes()[:-NUM_HEX]
    file.write_bytes(data + hashlib.sha256(data).hexdigest().encode())
    return file


def test_a_forged_pack_is_refused(pack: Path, tmp_path: Path) -> None:
    before = imported()
    with pytest.raises(InputError, match="nothing else"):
        import_model(Import(path=forged(pack, tmp_path, {"../outside": b"x"}), name="mine.v1"))
    assert not list(tmp_path.rglob("outside"))
    with pytest.raises(InputError, match="not compressed"):
        import_model(Import(path=forged(pack, tmp_path, {}, method=zipfile.ZIP_DEFLATED), name="mine.v1"))
    with pytest.raises(DigestMismatch, match=r"config\.json"):
        import_model(Import(path=forged(pack, tmp_path, {"config.json": b"{}"}), name="mine.v1"))
    with pytest.raises(InputError, match=r"card\.json"):
        import_model(Import(path=forged(pack, tmp_path, {"card.json": b'{"name": "../x.y"}'}), name="mine.v1"))
    assert imported() == before
