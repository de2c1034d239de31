from __future__ import annotations

import pytest

from kernels.runtime import ABI, AbiError, require_abi


def test_another_abi_is_told_what_to_do() -> None:
    require_abi(ABI, "mine.conv")
    with pytest.raises(
        AbiError, match=r"mine\.conv was generated for an older runtime.*derive-kernels generate"
    ):
        require_abi(ABI - 1, "mine.conv")
    with pytest.raises(ImportError, match="a newer runtime"):
        require_abi(ABI + 1, "mine.conv")
