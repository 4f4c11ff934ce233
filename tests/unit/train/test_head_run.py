"""Heads from manifests: a probe of pictures, and attention over those of a study."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import callosum
from callosum.cli.commands.train import command
from callosum.core.embedding import SpaceId
from callosum.core.errors import DigestMismatch, InputError, IntegrityError, NotFound, SpaceMismatch, UsageError
from callosum.train.head_file import CARD, WEIGHTS, read_head
from callosum.train.head_run import HeadConfig, train_head
from callosum.train.heads import AttentionConfig
from callosum.train.manifests import supply_of

FILMS = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("heads")


@pytest.fixture(scope="module")
def studies(folder: Path) -> Path:
    """Studies of four films; in one of the four a disc, if the study has any. Films of tests are not there."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:64, 0:64]
    rows = []
    for study in range(60):
        side = ("train", "train", "val", "test")[study % 4]
        has_disc = study // 4 % 2 == 0
        for film in range(FILMS):
            pixels = 60 * rng.random((64, 64))
            if has_disc and film == study % FILMS:
                pixels += 180 * (np.hypot(x - 20 - rng.integers(24), y - 20 - rng.integers(24)) < 14)
            if side != "test":
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{study}-{film}.png")
            label = "positive" if has_disc else "negative"
            rows.append([f"{study}-{film}.png", f"s{study}", f"p{study}", side, label, "negative"])
    return write(folder / "studies.csv", rows)


def write(path: Path, rows: list[list[str]]) -> Path:
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([["path", "study_id", "patient_id", "split", "Disc", "Ring"], *rows])
    return path


def run(recipe: str, data: Path, out: Path, *settings: str) -> list[str]:
    given = [part for setting in ("num_threads=1", *settings) for part in ("--set", setting)]
    arguments = [recipe, "--data", str(data), "--out", str(out), "--pixels", str(data.parent / "pixels"), *given]
    done = CliRunner().invoke(command, arguments, standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done.output.splitlines()


@pytest.fixture(scope="module")
def attention(studies: Path, folder: Path) -> Path:
    printed = run("attention", studies, folder / "attention")
    assert any(line.startswith("validation_auroc ") for line in printed)
    assert any("'Ring' has no positive" in line for line in printed)
    return folder / "attention"


def test_attention_tells_studies_by_one_film(attention: Path, studies: Path, folder: Path) -> None:
    run("probe", studies, folder / "mean", "group=study_id")
    cards = [json.loads((out / CARD).read_text()) for out in (attention, folder / "mean")]
    learnt, mean = (card["figures"]["validation_auroc"] for card in cards)
    assert learnt >= 0.95
    assert learnt >= mean
    assert cards[0]["num_groups"] == [30, 15]
    assert cards[0]["concepts"] == ["Disc"]
    assert cards[0]["data"]["num_unreadable"] == 0
    trace = json.loads((attention / "run" / "trace.json").read_text())
    assert trace["checkpoint"] == cards[0]["digests"]
    assert str(folder) not in json.dumps([cards, trace])


def test_a_head_scores_vectors_of_its_space(attention: Path, folder: Path) -> None:
    encoder = callosum.load_encoder("starter")
    head = read_head(attention, space=encoder.space)
    studies = (0, 4, 8, 12)  # discs in the first and third
    films = [folder / f"{study}-{film}.png" for study in studies for film in range(FILMS)]
    vectors_ND = encoder.encode_image(films).matrix
    scores_GK = head.scores(vectors_ND, np.repeat(np.arange(4), FILMS))
    assert scores_GK.shape == (4, 1)
    assert scores_GK[[0, 2]].min() > scores_GK[[1, 3]].max()
    assert head.attention is not None
    assert head.attention.weights(vectors_ND[:FILMS]).argmax() == 0
    with pytest.raises(SpaceMismatch, match="head is for"):
        read_head(attention, space=SpaceId(name="other.v1", recipe={}))


def test_a_head_that_was_changed_or_is_not_there(attention: Path, tmp_path: Path) -> None:
    space = SpaceId.from_json(json.loads((attention / CARD).read_text())["space"])
    with pytest.raises(NotFound):
        read_head(tmp_path, space=space)
    (tmp_path / CARD).write_bytes((attention / CARD).read_bytes())
    (tmp_path / WEIGHTS).write_bytes((attention / WEIGHTS).read_bytes()[:-4] + b"\0\0\0\0")
    with pytest.raises(DigestMismatch):
        read_head(tmp_path, space=space)


def test_a_probe_scores_each_picture(studies: Path, folder: Path) -> None:
    run("probe", studies, folder / "probe")
    card = json.loads((folder / "probe" / CARD).read_text())
    assert card["num_groups"] == [120, 60]
    with pytest.raises(UsageError, match="already"):
        run("probe", studies, folder / "probe")


def test_what_a_head_cannot_be_fitted_on(studies: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'Disk'.* Did you mean 'Disc'\?"):
        run("probe", studies, tmp_path / "typo", "concepts=Disk")
    (studies.parent / "pixels").mkdir(exist_ok=True)
    rows = [[f"0-{n}.png", "s", f"p{n}", side, "positive", ""] for n, side in enumerate(("train", "val"))]
    both = write(studies.parent / "both.csv", rows)
    config = HeadConfig(name="own.head", group="study_id", attention=AttentionConfig())
    with pytest.raises(IntegrityError, match="1 groups"):
        train_head(config, [supply_of(str(both))], tmp_path / "a")
    one = write(studies.parent / "one.csv", [[f"0-{n}.png", "s", "p", "train", "positive", ""] for n in range(2)])
    with pytest.raises(InputError, match="both positive and negative"):
        train_head(config, [supply_of(str(one))], tmp_path / "b", pixels=studies.parent / "pixels")
    none = write(studies.parent / "none.csv", [["0-0.png", "s", "p", "train", "", ""]])
    with pytest.raises(UsageError, match="learns labels"):
        train_head(config, [supply_of(str(none))], tmp_path / "c")
    with pytest.raises(InputError, match="slide"):
        run("attention", studies, tmp_path / "d", "group=slide")
    with pytest.raises(UsageError, match="group"):
        HeadConfig(name="own.head", attention=AttentionConfig())
