"""Figures that everybody can read: colors that color-blind people tell apart, and words for those who can't see.

Nothing here imports matplotlib or IPython. A figure is anything with `savefig`; make it with
`matplotlib.figure.Figure(...)` rather than pyplot, so that it is drawn once and no global state is touched.
"""

import base64
import html
import io
from typing import Any, Protocol

from sparring.errors import InputError

# Okabe and Ito, "Color universal design", 2008.
COLORS = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "vermilion": "#D55E00",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
    "yellow": "#F0E442",
    "black": "#000000",
}

# For `with matplotlib.rc_context(STYLE):` around the making of a figure.
STYLE: dict[str, Any] = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "figure.dpi": 100,
    "font.size": 11,
    "grid.alpha": 0.3,
    "image.cmap": "gray",
    "lines.linewidth": 2,
}


class Savable(Protocol):
    """What can write itself as a PNG, as a matplotlib figure does."""

    def savefig(self, file: Any, /, *, format: str) -> Any:
        """Write the figure to a binary file in the format."""
        ...


class Picture:
    """A PNG together with its description, as a notebook shows it.

    JupyterLab and nbconvert's default template ignore the alt text of an image/png output, so the picture is also
    given as HTML, which both prefer. Only nbconvert's classic template reads the metadata; a grader that strips HTML
    from outputs keeps the image, and the metadata with it.
    """

    def __init__(self, png: bytes, alt: str) -> None:
        self.png = png
        self.alt = alt

    def __repr__(self) -> str:
        return f"Picture({self.alt!r})"

    def _repr_mimebundle_(
        self, include: Any = None, exclude: Any = None
    ) -> tuple[dict[str, str], dict[str, Any]]:
        encoded = base64.b64encode(self.png).decode("ascii")
        data = {
            "text/plain": self.alt,
            "text/html": f'<img src="data:image/png;base64,{encoded}" alt="{html.escape(self.alt)}">',
            "image/png": encoded,
        }
        return data, {"image/png": {"alt": self.alt}}


def picture(fig: Savable, alt: str) -> Picture:
    """Return the figure as a PNG with alt text, to be the last expression of a notebook's cell.

    `alt` says what the figure shows to somebody who can't see it, in a sentence or two. Raises InputError when it is
    empty.
    """
    if not isinstance(alt, str) or not alt.strip():
        raise InputError(
            "a figure's alt text is empty; say in a sentence what the figure shows, as in alt='...'"
        )
    file = io.BytesIO()
    fig.savefig(file, format="png")
    return Picture(file.getvalue(), " ".join(alt.split()))
