import numpy as np

from callosum.train.facts import FACTS, fact_vector, modality_facts, region_facts, truth_matrix


def test_vectors_are_three_valued() -> None:
    vector = fact_vector({"xray": True, "ct": False})
    assert vector[FACTS.index("xray")] == 1
    assert vector[FACTS.index("ct")] == -1
    assert np.abs(vector).sum() == 2


def test_one_modality_excludes_the_others_and_a_region_those_that_do_not_overlap() -> None:
    assert modality_facts("ct") | {"angiography": None} == {
        "xray": False,
        "ct": True,
        "mri": False,
        "ultrasound": False,
        "histology": False,
        "smear": False,
        "angiography": None,
    }
    chest = region_facts("chest")
    assert chest["chest"] is True
    assert chest["hand"] is False
    assert "heart" not in chest


def test_a_caption_is_true_false_or_unknown_of_a_picture() -> None:
    film = {"xray": True, "ct": False, "pneumonia": True, "normal": False}
    scan = {"xray": False, "ct": True}
    captions = [{"xray": True}, {"xray": True, "pneumonia": False}, {"ct": True, "pneumonia": True}, None]
    truth = truth_matrix([film, scan], captions, picture_keys=["a", "b"], caption_keys=["", "", "", "b"])
    assert truth[0, :3].tolist() == [1.0, 0.0, 0.0]
    assert truth[1, :2].tolist() == [0.0, 0.0]
    assert np.isnan(truth[1, 2])
    assert truth[:, 3].tolist() == [0.0, 1.0]
