"""The library's face."""

import subprocess
import sys

import pytest
import torch

import sparring


def loaded_after(statement):
    """Return the names of the modules that a fresh interpreter has loaded after the statement."""
    code = f"{statement}\nimport sys\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy():
    """Not even torch: the command's edge imports sparring.errors and must start at once."""
    for statement in ("import sparring", "from sparring import SparringError", "import sparring.errors"):
        assert not loaded_after(statement) & {
            "torch",
            "numpy",
            "matplotlib",
            "sklearn",
            "IPython",
            "nbgrader",
        }


def test_the_library_needs_torch_and_numpy_only():
    """Every public name and module loads without what only lessons and the grader need."""
    names = ", ".join(sparring.__all__)
    modules = "import sparring.figures, sparring.models, sparring.training, sparring.objectives, sparring.projections"
    loaded = loaded_after(f"from sparring import {names}\n{modules}\nimport sparring.data")
    assert "torch" in loaded
    assert not loaded & {
        "matplotlib",
        "sklearn",
        "IPython",
        "nbgrader",
        "nbconvert",
        "scipy",
        "sparring_grader",
    }


def test_public_names_and_modules_are_there_on_first_use():
    """`import sparring` is enough to write sparring.models.MLP; a wrong name is an AttributeError."""
    assert all(getattr(sparring, name) is not None for name in sparring.__all__)
    assert sparring.models.MLP.__name__ == "MLP"
    assert set(sparring.__all__) | {"models", "training", "data"} <= set(dir(sparring))
    with pytest.raises(AttributeError, match="'FGSM'"):
        _ = sparring.FGSM


def test_public_names_say_what_they_are():
    """Each has a docstring of its own."""
    for name in sparring.__all__:
        assert (getattr(sparring, name).__doc__ or "").strip(), name


def test_a_device_can_be_used_at_once():
    """Whatever pick_device returns, a tensor can live there."""
    assert torch.zeros(1, device=sparring.pick_device()).sum() == 0
