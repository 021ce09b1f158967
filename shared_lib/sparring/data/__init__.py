"""Data sets by name, as tensors, with the bounds that a threat model needs."""

from sparring.data.dataset import Dataset
from sparring.data.loading import NAMES, load

__all__ = ["NAMES", "Dataset", "load"]
