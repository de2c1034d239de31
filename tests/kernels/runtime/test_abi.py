from __future__ import annotations

import pytest

from kernels import runtime
from kernels.runtime import ABI, AbiError, require_abi


def test_another_abi_is_told_what_to_do() -> None:
    require_abi(ABI, "mine.conv")
    with pytest.raises(
        AbiError, match=r"mine\.conv was generated for an older runtime.*derive-kernels generate"
    ):
        require_abi(ABI - 1, "mine.conv")
    with pytest.raises(ImportError, match="a newer runtime"):
        require_abi(ABI + 1, "mine.conv")


def test_an_import_that_this_runtime_lacks_says_what_to_do():
    """Modules of ABI 1 import `block_product`, before they can ask for their number."""
    with pytest.raises(AbiError, match=r"no `block_product`.*derive-kernels generate"):
        exec("from kernels.runtime import block_product", {})
    assert not hasattr(runtime, "__wrapped__")
