import pickle

from callosum.core.errors import CallosumError, Refused


def test_a_refusal_survives_the_way_between_processes() -> None:
    refused = Refused("REJECT", "EMPTY", "The file is empty.", attributes={"modality": "CT"}, identifiers={"a": "b"})
    again = pickle.loads(pickle.dumps(refused))
    assert (again.answer, again.reason, again.sentence) == ("REJECT", "EMPTY", "The file is empty.")
    assert (again.attributes, again.identifiers) == ({"modality": "CT"}, {"a": "b"})
    assert str(again) == "REJECT EMPTY: The file is empty."


def test_a_hint_ends_the_message() -> None:
    assert str(CallosumError("It failed.", hint="Do this.")) == "It failed. Do this."
