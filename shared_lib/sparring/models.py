"""Small reference classifiers, drawn from a generator and rebuilt from a description.

Each takes samples of shape (n, ...) and returns logits of shape (n, classes). Each has `.config`, a JSON-able dict
from which `build` makes a model of the same architecture: with a state_dict it is a white-box model that needs
no pickle. Weights are drawn from the generator given, or from one seeded with 0; the global one is left alone.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sparring.errors import ModelError
from sparring.randomness import given_or_zero


def _dense(inputs: int, outputs: int, generator: torch.Generator, gain: float) -> nn.Linear:
    layer = nn.Linear(inputs, outputs, device="meta").to_empty(
        device="cpu"
    )  # the constructor's draw is skipped
    _fill(layer, inputs, generator, gain)
    return layer


def _conv(inputs: int, outputs: int, generator: torch.Generator) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, device="meta").to_empty(device="cpu")
    _fill(layer, inputs * 9, generator, gain=2.0)
    return layer


def _fill(layer: nn.Linear | nn.Conv2d, fan_in: int, generator: torch.Generator, gain: float) -> None:
    """Draw weights of variance gain / fan_in; 2 keeps a signal's size through ReLU (He et al., ICCV 2015)."""
    bound = math.sqrt(3 * gain / fan_in)
    with torch.no_grad():
        drawn = torch.rand(layer.weight.shape, generator=generator, device=generator.device)
        layer.weight.copy_((2 * drawn - 1) * bound)
        assert layer.bias is not None
        layer.bias.zero_()


def _whole(kind: str, name: str, value: object, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ModelError(f"{kind}: {name} is {value!r}; it must be a whole number, {least} or more")
    return value


class _Described(nn.Module):
    """A model that can say how to build it again."""

    def _shape(self) -> dict[str, Any]:
        raise NotImplementedError

    @property
    def config(self) -> dict[str, Any]:
        """What `build` needs to make this architecture again, as JSON-able values."""
        dtype = next((p.dtype for p in self.parameters() if p.is_floating_point()), torch.float32)
        return {**self._shape(), "dtype": str(dtype).removeprefix("torch.")}


class Linear(_Described):
    """Multinomial logistic regression on the flattened sample: logits = W x + b."""

    def __init__(self, in_features: int, classes: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.in_features = _whole("Linear", "in_features", in_features, 1)
        self.classes = _whole("Linear", "classes", classes, 2)
        self.layer = _dense(in_features, classes, given_or_zero(generator), gain=1.0)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, shape (n, classes)."""
        logits: Tensor = self.layer(x.flatten(1))
        return logits

    def _shape(self) -> dict[str, Any]:
        return {"kind": "linear", "in_features": self.in_features, "classes": self.classes}


class MLP(_Described):
    """A multilayer perceptron on the flattened sample, ReLU between layers; sizes = (inputs, hidden..., classes)."""

    def __init__(self, sizes: Sequence[int], *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        if len(sizes) < 2:
            raise ModelError(f"MLP: sizes is {list(sizes)!r}; it needs the inputs and the classes at least")
        self.sizes = [_whole("MLP", f"sizes[{i}]", size, 1) for i, size in enumerate(sizes)]
        _whole("MLP", f"sizes[{len(sizes) - 1}]", sizes[-1], 2)
        generator = given_or_zero(generator)
        layers: list[nn.Module] = []
        for inputs, outputs in zip(self.sizes[:-2], self.sizes[1:-1], strict=True):
            layers += [_dense(inputs, outputs, generator, gain=2.0), nn.ReLU()]
        layers.append(_dense(self.sizes[-2], self.sizes[-1], generator, gain=1.0))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, shape (n, classes)."""
        logits: Tensor = self.layers(x.flatten(1))
        return logits

    def _shape(self) -> dict[str, Any]:
        return {"kind": "mlp", "sizes": list(self.sizes)}


class CNN(_Described):
    """Two 3x3 convolutions of `width` and 2 `width` channels, each with ReLU and 2x2 pooling, then two dense layers.

    Takes square images (n, in_channels, size, size), size at least 4.
    """

    def __init__(
        self,
        in_channels: int = 1,
        classes: int = 10,
        width: int = 16,
        size: int = 28,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.in_channels = _whole("CNN", "in_channels", in_channels, 1)
        self.classes = _whole("CNN", "classes", classes, 2)
        self.width = _whole("CNN", "width", width, 1)
        self.size = _whole("CNN", "size", size, 4)
        generator = given_or_zero(generator)
        self.layers = nn.Sequential(
            _conv(in_channels, width, generator), nn.ReLU(), nn.MaxPool2d(2),
            _conv(width, 2 * width, generator), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(),
            _dense(2 * width * (size // 4) ** 2, 8 * width, generator, gain=2.0), nn.ReLU(),
            _dense(8 * width, classes, generator, gain=1.0),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, shape (n, classes)."""
        logits: Tensor = self.layers(x)
        return logits

    def _shape(self) -> dict[str, Any]:
        return {
            "kind": "cnn",
            "in_channels": self.in_channels,
            "classes": self.classes,
            "width": self.width,
            "size": self.size,
        }


class Normalized(_Described):
    """A model behind (x - mean) / std, so that attacks outside it measure eps in the data's own units.

    `mean` and `std` are numbers, or one per channel (dimension 1 of x).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, mean: float | Sequence[float], std: float | Sequence[float]) -> None:
        super().__init__()
        self.model = model
        self._mean, self._std = (
            [float(v) for v in torch.as_tensor(value, dtype=torch.float64).flatten()] for value in (mean, std)
        )
        if not all(math.isfinite(v) for v in self._mean) or not all(
            math.isfinite(v) and v > 0 for v in self._std
        ):
            raise ModelError(
                f"Normalized: mean is {mean!r}, std is {std!r}; both must be finite and std above 0"
            )
        dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
        self.register_buffer("mean", torch.tensor(self._mean, dtype=dtype))
        self.register_buffer("std", torch.tensor(self._std, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        """Return the inner model's logits, shape (n, classes)."""
        for name, given in (("mean", self._mean), ("std", self._std)):
            if len(given) not in (1, x.shape[1]):
                raise ModelError(
                    f"Normalized: {name} holds {len(given)} numbers but x has {x.shape[1]} channels (dimension 1); "
                    "give one per channel, or one for all"
                )
        shape = (1, -1, *[1] * (x.ndim - 2))
        logits: Tensor = self.model((x - self.mean.view(shape)) / self.std.view(shape))
        return logits

    def _shape(self) -> dict[str, Any]:
        if not isinstance(self.model, _Described):
            raise ModelError(
                f"Normalized: a {type(self.model).__name__} has no config; wrap one of sparring.models"
            )
        return {
            "kind": "normalized",
            "model": self.model.config,
            "mean": list(self._mean),
            "std": list(self._std),
        }


_KINDS: dict[str, type[_Described]] = {"linear": Linear, "mlp": MLP, "cnn": CNN}
_DTYPES = {"float32": torch.float32, "float64": torch.float64}


def build(config: Mapping[str, Any]) -> nn.Module:
    """Return a model of the architecture that a `.config` describes, with weights of its own (seed 0).

    Raises ModelError for a description that no reference model has.
    """
    arguments = dict(config)
    kind, dtype = arguments.pop("kind", None), arguments.pop("dtype", "float32")
    if dtype not in _DTYPES:
        raise ModelError(f"a model of dtype {dtype!r} can't be built; choose {' or '.join(_DTYPES)}")
    try:
        if kind == "normalized":
            model: nn.Module = Normalized(build(arguments.pop("model")), **arguments)
        elif kind in _KINDS:
            model = _KINDS[kind](**arguments)
        else:
            known = ", ".join([*_KINDS, "normalized"])
            raise ModelError(f"a model of kind {kind!r} is unknown; known are {known}")
    except (TypeError, KeyError) as error:
        raise ModelError(f"this is no description of a {kind} model: {dict(config)!r} ({error})") from error
    return model.to(_DTYPES[dtype])
