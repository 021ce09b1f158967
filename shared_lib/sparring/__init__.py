"""Attacks, defenses, threat models and data for teaching and measuring robustness.

Public names are loaded on first use, so that `import sparring` costs nothing to a program that may never
need torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sparring.errors import SparringError

if TYPE_CHECKING:
    from sparring.attacks import (
        AttackResult,
        apgd,
        apgd_t,
        cw_l2,
        ddn,
        deepfool,
        fgsm,
        fmn,
        mi_fgsm,
        nes,
        pgd,
        r_fgsm,
        simba,
        spsa,
        square,
    )
    from sparring.device import pick_device
    from sparring.threat import ThreatModel

__all__ = [
    "AttackResult",
    "SparringError",
    "ThreatModel",
    "apgd",
    "apgd_t",
    "cw_l2",
    "ddn",
    "deepfool",
    "fgsm",
    "fmn",
    "mi_fgsm",
    "nes",
    "pgd",
    "pick_device",
    "r_fgsm",
    "simba",
    "spsa",
    "square",
]

_HOME = {
    "AttackResult": "sparring.attacks",
    "ThreatModel": "sparring.threat",
    "apgd": "sparring.attacks",
    "apgd_t": "sparring.attacks",
    "cw_l2": "sparring.attacks",
    "ddn": "sparring.attacks",
    "deepfool": "sparring.attacks",
    "fgsm": "sparring.attacks",
    "fmn": "sparring.attacks",
    "mi_fgsm": "sparring.attacks",
    "nes": "sparring.attacks",
    "pgd": "sparring.attacks",
    "pick_device": "sparring.device",
    "r_fgsm": "sparring.attacks",
    "simba": "sparring.attacks",
    "spsa": "sparring.attacks",
    "square": "sparring.attacks",
}
_MODULES = {
    "attacks", "data", "device", "errors", "figures", "models", "objectives", "projections", "threat", "training",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name in _MODULES:
        return import_module(f"sparring.{name}")
    raise AttributeError(f"module 'sparring' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, *_MODULES})
