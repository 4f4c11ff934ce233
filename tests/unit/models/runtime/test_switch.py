import threading

import pytest
import torch

from callosum.models.runtime.switch import _tf32_settings, is_offered, permitted, without_tf32

pytestmark = pytest.mark.skipif(not is_offered(), reason="this torch has no such setting")


def setting() -> str:
    return torch.backends.mkldnn.matmul.fp32_precision


def test_it_does_not_outlive_the_call() -> None:
    before = setting()
    with permitted():
        assert setting() == "bf16"
        with permitted():
            assert setting() == "bf16"
        assert setting() == "bf16"
    assert setting() == before


def test_it_is_put_back_after_an_error() -> None:
    before = setting()
    with pytest.raises(KeyError), permitted():
        raise KeyError
    assert setting() == before


def test_what_the_user_had_set_is_put_back() -> None:
    before = setting()
    torch.backends.mkldnn.matmul.fp32_precision = "ieee"
    try:
        with permitted():
            assert setting() == "bf16"
        assert setting() == "ieee"
    finally:
        torch.backends.mkldnn.matmul.fp32_precision = before


def test_the_last_of_two_threads_puts_it_back() -> None:
    before, inside, leave = setting(), threading.Event(), threading.Event()

    def stay() -> None:
        with permitted():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=stay)
    thread.start()
    assert inside.wait(10)
    with permitted():
        pass
    assert setting() == "bf16"
    leave.set()
    thread.join()
    assert setting() == before


def test_tf32_is_off_inside_and_as_it_was_outside() -> None:
    def settings() -> list[object]:
        return [getattr(owner, name) for owner, name, _ in _tf32_settings()]

    exact = [value for _, _, value in _tf32_settings()]
    before = settings()
    assert before != exact, "torch's default for convolutions is TF32"
    with without_tf32():
        with without_tf32():
            assert settings() == exact
        assert settings() == exact
    assert settings() == before
    assert torch.backends.cudnn.allow_tf32, "the older name must be readable still"
