import shutil

import pytest

from terminals import Machine


@pytest.fixture
def machine():
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        pytest.skip("the commands of the pages run where unshare and nsenter of util-linux are (Linux)")
    made = Machine()
    if made.refused is not None:
        made.close()
        pytest.skip(f"the commands of the pages need a network namespace of their own: {made.refused}")
    yield made
    made.close()
