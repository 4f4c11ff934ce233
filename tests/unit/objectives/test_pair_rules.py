import itertools
import math

import pytest
import torch

from callosum.core.errors import InputError
from callosum.objectives.pairs import FalseNegatives, Pairing
from tests.unit.objectives.batches import batch, plain, unit

POLICIES = list(itertools.product(FalseNegatives, FalseNegatives))


@pytest.mark.parametrize(("text", "patient"), POLICIES)
def test_truth_by_the_words_of_the_policy(text: FalseNegatives, patient: FalseNegatives) -> None:
    views = batch()
    pairing = Pairing(equal_text=text, equal_patient=patient)
    found = pairing.truth(views.image, views.text)
    for n in range(7):
        for m in range(7):
            said = {text} if {n, m} == {1, 2} else set()
            said |= {patient} if n != m and {n, m} <= {0, 3, 5} else set()
            said |= {patient} if n == m == 6 else set()
            expected = 0.0
            if (n == m and n != 6) or FalseNegatives.POSITIVE in said:
                expected = 1.0
            elif FalseNegatives.MASK in said:
                expected = math.nan
            assert float(found[n, m]) == pytest.approx(expected, nan_ok=True), (n, m)
    assert int(pairing.num_matched(views.image, views.text)) == int((found == 1).any(dim=1).sum())


def test_rows_without_a_key_are_tied_to_nothing() -> None:
    views = plain(unit(3, 4, seed=0), unit(3, 4, seed=1), torch.tensor(1.0)).paired()
    every = Pairing(equal_text=FalseNegatives.POSITIVE, equal_patient=FalseNegatives.POSITIVE)
    assert torch.equal(every.truth(views.image, views.text), torch.eye(3, dtype=torch.float64))
    none = plain(unit(3, 4, seed=0), unit(3, 4, seed=1), torch.tensor(1.0))
    with pytest.raises(InputError, match="pair keys"):
        every.truth(none.image, none.text)
