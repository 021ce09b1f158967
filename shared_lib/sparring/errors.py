"""What sparring raises when a caller's mistake is found; each message names the value, the limit and the remedy."""


class SparringError(ValueError):
    """A caller's mistake that sparring can name; the root of its exceptions."""


class ThreatError(SparringError):
    """A threat model that makes no sense, or that doesn't fit the batch it is used on."""


class InputError(SparringError):
    """Samples, labels, targets or settings that a function can't work with."""


class ModelError(SparringError):
    """A model that doesn't answer as a classifier must, or a description no model can be built from."""


class DataError(SparringError):
    """A data set that is unknown, missing or damaged."""
