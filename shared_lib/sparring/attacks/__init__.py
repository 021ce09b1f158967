"""Searches for a perturbation.

Every attack keeps these promises. Nothing of the caller's changes: not the inputs, the weights, their `.grad` and
`requires_grad`, the train or eval mode of any submodule, nor any global random state (a model that draws random
numbers itself moves the state it draws from). The result lies in the threat model and in its bounds without a
tolerance; where eps is 0 it is x, bit for bit. A sample's result doesn't depend on its batch, as far as the model's
own arithmetic doesn't. The model is attacked in eval mode. Success, objective and distance are those of the
`x_adv` that is returned.
"""

from sparring.attacks.apgd import apgd
from sparring.attacks.apgd_t import apgd_t
from sparring.attacks.cw_l2 import cw_l2
from sparring.attacks.ddn import ddn
from sparring.attacks.deepfool import deepfool
from sparring.attacks.fgsm import fgsm
from sparring.attacks.fmn import fmn
from sparring.attacks.mi_fgsm import mi_fgsm
from sparring.attacks.nes import nes
from sparring.attacks.pgd import pgd
from sparring.attacks.r_fgsm import r_fgsm
from sparring.attacks.result import AttackResult
from sparring.attacks.simba import simba
from sparring.attacks.spsa import spsa
from sparring.attacks.square import square

__all__ = [
    "AttackResult",
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
    "r_fgsm",
    "simba",
    "spsa",
    "square",
]
