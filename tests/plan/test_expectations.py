"""How many rows a run should find."""

from __future__ import annotations

from typing import Any

import pytest

from loader.plan.expectations import unmet
from loader.settings import Expect


@pytest.mark.parametrize(
    ("expect", "rows", "before", "expected"),
    [
        ({"rows": "10.."}, 10, [], None),
        ({"rows": "1,000.."}, 10, [], ValueError),
        ({"rows": ".."}, 10, [], ValueError),
        ({"rows": "10..", "change": "50%"}, 9, [100, 100, 100], "at least 10 and 50 to 150, going by 100"),
        ({"change": "50%"}, 1, [100, 100], None),
        ({"change": "50%"}, 50, [100, 100, 100], None),
        ({"change": "50%"}, 151, [1, 100, 9000], "50 to 150, going by 100, the median of the last 3 runs"),
        ({"change": "-50%.."}, 9_999, [100, 100, 100], None),
        ({"change": "-50%.."}, 49, [100, 100, 100], "at least 50, going by 100"),
        ({"change": "..+200%"}, 301, [100, 100, 100], "at most 300, going by 100"),
        ({"change": "-50%..200%"}, 300, [100, 100, 100], None),
        # The eighth of the runs before does not count.
        ({"change": "10%"}, 10, [10, 10, 10, 99, 99, 10, 10, 99, 99, 99, 99], None),
        ({"change": "0%"}, 10, [], ValueError),
        ({"change": 0.5}, 10, [], ValueError),
    ],
)
def test_what_is_not_as_expected(expect: dict[str, Any], rows: int, before: list[int], expected: Any) -> None:
    if expected is ValueError:
        with pytest.raises(ValueError, match="expected a"):
            Expect.model_validate(expect)
        return
    words = unmet(Expect.model_validate(expect), rows, before)
    assert words == expected if expected is None else expected in str(words)
