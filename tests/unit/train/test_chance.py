import numpy as np

from callosum.train.chance import keys, permutation, uniforms


def test_numbers_are_a_function_of_the_parts_alone() -> None:
    together = uniforms(keys(7, 1, np.arange(5)), 3)
    alone = uniforms(keys(7, 1, 3), 3)
    assert np.array_equal(together[3], alone[0])
    assert len(np.unique(together)) == 15
    assert not np.array_equal(keys(1, 2), keys(2, 1))


def _scrambled(bits: int) -> int:
    """The mixing function of SplitMix64 in whole numbers, as its authors print it."""
    bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EB % 2**64
    return bits ^ (bits >> 31)


def test_numbers_are_those_of_splitmix64() -> None:
    step, key = 0x9E3779B97F4A7C15, 0
    for part in (5, 2**63 + 1):
        key = _scrambled(((key ^ part) + step) % 2**64)
    assert keys(5, 2**63 + 1).tolist() == [key]
    found = [_scrambled((key + n * step) % 2**64) for n in range(1, 9)]
    assert uniforms(keys(5, 2**63 + 1), 8)[0].tolist() == [(bits >> 11) / 2**53 for bits in found]
    assert permutation(keys(5, 2**63 + 1), 8).tolist() == sorted(range(8), key=found.__getitem__)
    assert _scrambled(step) == 0xE220A8397B1DCDAF  # the first number of the published generator for seed 0


def test_numbers_are_uniform() -> None:
    values = uniforms(keys(3, np.arange(20_000)), 2)
    assert values.min() >= 0
    assert values.max() < 1
    assert np.allclose(values.mean(axis=0), 0.5, atol=0.01)
    assert np.allclose(np.histogram(values[:, 0], 10, (0, 1))[0], 2000, atol=200)
    assert abs(np.corrcoef(values.T)[0, 1]) < 0.02


def test_permutation_has_every_number_once() -> None:
    for num in (0, 1, 2, 1000):
        assert np.array_equal(np.sort(permutation(keys(5), num)), np.arange(num))
    assert not np.array_equal(permutation(keys(5), 1000), permutation(keys(6), 1000))
