"""Where tensors should live."""

import torch


def pick_device() -> torch.device:
    """Return the first CUDA device if there is one, else the CPU.

    Apple's MPS is not picked, since it has no float64, in which threat models are measured.
    """
    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
