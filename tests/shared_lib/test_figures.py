"""Pictures with alt text."""

import base64

import matplotlib
import nbconvert
import nbformat
import pytest
from bs4 import BeautifulSoup
from matplotlib.figure import Figure

from sparring.errors import InputError
from sparring.figures import COLORS, STYLE, picture

ALT = 'Loss "falls" from 2.3 to <0.1> & stays'


def drawn():
    """Return a small figure, made without pyplot."""
    fig = Figure(figsize=(2, 1))
    fig.subplots().plot([0, 1], [1, 0], color=COLORS["blue"])
    return fig


def test_a_picture_is_the_figures_png_with_its_description():
    """As an image with metadata, as HTML with an alt attribute, and as plain text."""
    shown = picture(drawn(), alt=ALT)
    data, metadata = shown._repr_mimebundle_()
    assert base64.b64decode(data["image/png"]) == shown.png
    assert shown.png.startswith(b"\x89PNG")
    assert data["text/plain"] == ALT
    assert metadata == {"image/png": {"alt": ALT}}
    assert repr(shown) == f"Picture({ALT!r})"


@pytest.mark.parametrize("template", ["lab", "classic", "basic"])
def test_a_notebook_as_html_shows_the_picture_once_with_its_alt_text(template):
    """Through nbconvert, whose default template ignores the metadata: this is why there is HTML in the bundle."""
    data, metadata = picture(drawn(), alt=ALT)._repr_mimebundle_()
    output = nbformat.v4.new_output("execute_result", data, metadata=metadata, execution_count=1)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", outputs=[output])])
    html, _ = nbconvert.HTMLExporter(template_name=template).from_notebook_node(notebook)
    images = BeautifulSoup(html, "html.parser").find_all("img")
    assert [image["alt"] for image in images] == [ALT]


@pytest.mark.parametrize("template", ["classic"])
def test_the_image_alone_keeps_its_alt_text(template):
    """Where a grader has removed the HTML from a learner's output, the classic template still finds the words."""
    data, metadata = picture(drawn(), alt="Loss falls")._repr_mimebundle_()
    del data["text/html"]
    output = nbformat.v4.new_output("display_data", data, metadata=metadata)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", outputs=[output])])
    html, _ = nbconvert.HTMLExporter(template_name=template).from_notebook_node(notebook)
    assert 'alt="Loss falls"' in html


@pytest.mark.parametrize("alt", ["", "  \n", None])
def test_a_picture_without_words_is_refused(alt):
    """Not drawn with an empty description that nobody notices."""
    with pytest.raises(InputError, match="alt text is empty"):
        picture(drawn(), alt=alt)


def test_line_breaks_in_the_source_are_none_in_the_description():
    """A long alt text may be written over several lines."""
    assert picture(drawn(), alt="one\n    two ").alt == "one two"


def test_the_style_is_made_of_settings_that_matplotlib_knows():
    """Applied and put back; colors are eight different ones."""
    before = dict(matplotlib.rcParams)
    with matplotlib.rc_context(STYLE):
        assert picture(drawn(), alt="A line").png
    assert dict(matplotlib.rcParams) == before
    assert len(set(COLORS.values())) == 8
    assert all(matplotlib.colors.is_color_like(color) for color in COLORS.values())
