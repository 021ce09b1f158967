"""What all tests share."""

from pathlib import Path

import pytest

# Files that take minutes, the longest first: begun last, one of them would keep everybody waiting at the end.
LONG = ("test_demo.py", "test_tutorial.py", "test_instructor.py", "test_grade.py", "test_learner.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest; the order within a file stays."""
    place = {name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(Path(item.path).name, len(LONG)))
