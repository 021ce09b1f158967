"""A lesson's text: what is read from it, and which faults are refused with file, line and remedy."""

from pathlib import Path

import pytest

from sparring_grader import lesson as lessons
from sparring_grader.errors import LessonError
from sparring_grader.frontmatter import names

PATH = Path(__file__).parent / "fixtures/solutions/01_doubling_up/01_doubling_up.py"
TEXT = PATH.read_text(encoding="utf-8")
EXERCISE = '# %% exercise="double"'
CHECK = '# %% check="double" points=3'


def parse(text):
    return lessons.parse(text, "01_doubling_up.py", known=["01_doubling_up"])


def replaced(old, new):
    assert TEXT.count(old) == 1, f"the fixture should hold {old!r} once"
    return TEXT.replace(old, new)


def line_of(text, part):
    return next(number for number, line in enumerate(text.splitlines(), start=1) if part in line)


def test_the_kinds_names_and_lines_of_cells_are_read():
    """Each cell knows what it is, what nbgrader calls it, and the line of its mark."""
    found = [(cell.kind, cell.name) for cell in parse(TEXT).cells]
    assert found == [
        ("front", None),
        ("markdown", None),
        ("parameters", None),
        ("code", None),
        ("markdown", None),
        ("exercise", "double"),
        ("check", "check-double"),
        ("show", None),
        ("markdown", None),
        ("question", "why-alone"),
    ]
    marks = [number for number, line in enumerate(TEXT.splitlines(), start=1) if line.startswith("# %%")]
    assert [cell.line for cell in parse(TEXT).cells][1:] == marks


def test_exercises_and_points_are_gathered():
    """The lesson's points are those of its checks and of its questions together."""
    lesson = parse(TEXT)
    assert [(item.name, item.points) for item in lesson.exercises] == [("double", 3)]
    assert [cell.points for cell in lesson.questions] == [2.5]
    assert lesson.points == 5.5
    assert lesson.cells[5].source.startswith("def double(x):")


def test_a_mark_inside_a_string_or_a_fence_is_no_cell():
    """Lines are counted as jupytext cuts cells, so text that looks like a mark misleads nobody."""
    text = replaced(
        "generator = torch.Generator().manual_seed(seed)",
        'generator = torch.Generator()\ntext = """\n# %% no\n"""',
    )
    lesson = parse(text)
    assert len(lesson.cells) == 10
    assert lesson.cells[5].line == line_of(text, EXERCISE)


@pytest.mark.parametrize(
    ("old", "new", "at", "says"),
    [
        ("# id: 01_doubling_up", "# id: 02_other", "id: 02_other", "the file is called '01_doubling_up'"),
        ("# id: 01_doubling_up", "# id: Doubling", "id: Doubling", "use two digits"),
        ("# minutes: 5\n", "", "# ---", "lacks 'minutes'; add it: how long a learner takes"),
        ("# minutes: 5", "# minutes: five", "minutes: five", "not a whole number of minutes"),
        ("# minutes: 5", "# minuets: 5", "minuets", "unknown key 'minuets'; did you mean 'minutes'?"),
        ("# minutes: 5", "# minutes: 5\n# minutes: 6", "minutes: 6", "'minutes' twice"),
        ("# seconds: 2", "# seconds: 600", "seconds: 600", "up to 60"),
        ("# points: 5.5", "# points: 9", "points: 9", "add up to 5.5 (double 3, why-alone 2.5); write points: 5.5"),
        ("# points: 5.5", "# points: many", "points: many", "not a number of points"),
        ("module: A. Foundations", "module: Foundation", "module:", "did you mean 'A. Foundations'?"),
        ("[research scientist]", "[researcher]", "roles:", "no role 'researcher'; did you mean 'research scientist'?"),
        ("[research scientist]", "[]", "roles:", "give at least 1"),
        ("NISTAML.022", "NISTAML.099", "nist_ai_100_2:", "no NISTAML.099 in NIST AI 100-2"),
        ("name: Evasion", "name: Escape", "nist_ai_100_2:", "NISTAML.022 is called 'Evasion', not 'Escape'"),
        ("AML.T0043.000", "AML.T9043", "mitre_atlas:", "no AML.T9043 in MITRE ATLAS"),
        ("name: White-Box Optimization", "name: White Box", "mitre_atlas:", "called 'White-Box Optimization'"),
        ("name: Evasion}", "label: Evasion}", "nist_ai_100_2:", "should be {id: ..., name: ...}"),
        ("prerequisites: []", "prerequisites: [00_nothing]", "prerequisites:", "no lesson '00_nothing'"),
        ("prerequisites: []", "prerequisites: [09_later]", "prerequisites:", "'09_later' does not come before"),
        ("# title: \"Doubling up: the", "# title: Doubling up: the", "title:", "can't be read"),
        ("# id: 01", "# [id: 01", "[id:", "can't be read"),
        ('# %% tags=["parameters"]', "# %%", "# ---", "no parameters cell"),
        ("seed = 0\n", "sead = 0\n", 'tags=["parameters"]', "must say seed = 0"),
        ('profile = "fast"', 'profile = "full"', 'tags=["parameters"]', "must say profile = 'fast'"),
        ('# %% tags=["show"]', '# %% tags=["parameters"]', 'print("shown"', "a second parameters cell"),
        ("# ## Exercises", "# ## Exercises\n\n# %%\na = 1", 'tags=["parameters"]', "runs before the parameters"),
        ('# %% tags=["show"]', '# %% tags=["shown"]', 'tags=["shown"]', "unknown tag 'shown'"),
        ('# %% tags=["show"]', '# %% tags="show"', 'tags="show"', "of the wrong type"),
        ('# %% tags=["show"]', "# %% show", "# %% show", "text 'show' behind"),
        (EXERCISE, '# %% exercize="double"', "exercize", "unknown mark exercize=; did you mean exercise=?"),
        (EXERCISE, "# %% exercise=double", "exercise=double", "can't read the marks"),
        (EXERCISE, '# %% exercise="my fgsm"', "my fgsm", "can't be a name"),
        (EXERCISE, '# %% exercise="double" points=3', EXERCISE, "belongs on the exercise's check cell"),
        (EXERCISE, '# %% exercise="double" check="double"', EXERCISE, "exercise and check at once"),
        (CHECK, '# %% check="double"', '# %% check="double"', "needs points="),
        (CHECK, '# %% check="double" points=0', '# %% check="double"', "a number above 0; got 0"),
        (CHECK, '# %% check="doubel" points=3', "doubel", "no such exercise; did you mean 'double'?"),
        (CHECK, "# %%", EXERCISE, "the exercise 'double' has no check"),
        ("    ### BEGIN SOLUTION\n", "", "### END SOLUTION", "END SOLUTION without"),
        ("    ### END SOLUTION\n", "", "### BEGIN SOLUTION", "BEGIN SOLUTION without"),
        ("    secret_of", "    ### BEGIN SOLUTION\n    secret_of", "secret_of", "inside the one on line"),
        ("generator = ", "### BEGIN SOLUTION\n### END SOLUTION\ngenerator = ", "### BEGIN SOLUTION\n", "no exercise"),
        ('print("shown"', "### BEGIN HIDDEN TESTS\n(", "BEGIN HIDDEN", "write them in checks.py"),
        ("generator = ", "!ls\ngenerator = ", "!ls", "is not plain Python"),
        ('question="why-alone"', 'question="double"', 'question="double"', "a second cell is called 'double'"),
        ('[markdown] question="why-alone"', 'question="why-alone"', 'question="why-alone"', "must stand on a markdown"),
    ],
)  # fmt: skip
def test_a_fault_is_refused_with_file_line_and_remedy(old, new, at, says):
    """Each fault is named by exactly one line of the message, which starts with the file and the line."""
    text = replaced(old, new)
    with pytest.raises(LessonError) as caught:
        parse(text)
    lines = [line for line in str(caught.value).splitlines() if says in line]
    assert len(lines) == 1, str(caught.value)
    expected = line_of(text, at.strip("\n"))
    assert lines[0].startswith("01_doubling_up.py:")
    assert abs(int(lines[0].split(":")[1]) - expected) <= 1, f"expected line {expected}: {lines[0]}"


def test_a_check_before_its_exercise_is_refused():
    """A check runs where it stands, so before its exercise it could only fail."""
    cells = TEXT.split("# %% ")
    exercise = next(index for index, cell in enumerate(cells) if cell.startswith("exercise"))
    cells[exercise], cells[exercise + 1] = cells[exercise + 1], cells[exercise]
    with pytest.raises(LessonError, match="stands before its exercise; move it behind"):
        parse("# %% ".join(cells))


def test_an_exercise_without_a_solution_is_refused():
    """The reference notebook would be the release."""
    text = replaced("    ### BEGIN SOLUTION\n", "").replace("    ### END SOLUTION\n", "")
    with pytest.raises(LessonError, match="'double' has no solution; put it between"):
        parse(text)


def test_an_empty_text_and_a_text_without_front_matter_are_refused():
    """There is a message, not a crash, for a file that is no lesson at all."""
    for text in ("", "\n", "x = 1\n", "# ---\n# id: 1\n", "# ---\n# - 1\n# ---\n"):
        with pytest.raises(LessonError, match=r"^01_doubling_up.py:\d+: "):
            parse(text)


def test_all_faults_are_told_at_once_in_the_order_of_lines():
    """An author mends a lesson in one go."""
    text = replaced("# minutes: 5", "# minutes: -1").replace(CHECK, '# %% check="double"')
    with pytest.raises(LessonError) as caught:
        parse(text)
    numbers = [int(line.split(":")[1]) for line in str(caught.value).splitlines()]
    assert numbers == sorted(numbers)
    assert len(numbers) == 2


def test_a_lesson_without_exercises_has_no_points():
    """The orientation is ungraded, and still a lesson."""
    head, _, rest = TEXT.partition("# %% [markdown]\n# ### Exercise 1")
    assert rest
    lesson = parse(head.replace("# points: 5.5", "# points: 0"))
    assert lesson.points == 0
    assert lesson.exercises == ()


def test_jupytexts_own_header_is_no_front_matter():
    """JupyterLab's jupytext writes its settings into the header; they are left out."""
    jupyter = "# ---\n# jupyter:\n#   kernelspec:\n#     display_name: P\n#     language: python\n#     name: python3\n"
    lesson = parse(jupyter + TEXT.removeprefix("# ---\n"))
    assert "jupyter" not in lesson.front
    assert lesson.cells[0].source.startswith("---\nid: 01_doubling_up")


def test_a_missing_file_is_named(tmp_path):
    """The path and the rule are in the message."""
    with pytest.raises(LessonError, match="a lesson's text is called like its folder"):
        lessons.read(tmp_path / "01_nothing.py")


RAW = """
# %% nbgrader={"grade": false, "grade_id": "half", "locked": false, "schema_version": 3, "solution": true, "task": false}
def half(x):
    ### BEGIN SOLUTION
    return x / 2
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "test_half", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false} deletable=false editable=false
assert half(2) == 1
"""


def test_nbgraders_own_metadata_is_taken_as_exercise_and_check():
    """What JupyterLab's panel writes means what it means to nbgrader, and passes through unchanged."""
    lesson = parse(TEXT.replace("points: 5.5", "points: 7.5") + RAW)
    assert [item.name for item in lesson.exercises] == ["double", "half"]
    check = lesson.exercises[1].check
    assert (check.name, check.exercise, check.points) == ("test_half", "half", 2)
    assert check.metadata["editable"] is False
    assert check.metadata["nbgrader"]["grade_id"] == "test_half"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"points": 2, ', "", "points"),
        ('"schema_version": 3, "solution": false', '"schema_version": 9, "solution": false', "too new"),
        ('"grade_id": "test_half"', '"grade_id": "double"', "a second cell is called 'double'"),
        ('# %% nbgrader={"grade": true', '# %% points=1 nbgrader={"grade": true', "keep one of the two"),
    ],
)
def test_nbgrader_metadata_that_nbgrader_refuses_is_refused_here_with_its_line(old, new, says):
    """The fault shows when publishing, not when a class hands in."""
    assert RAW.count(old) == 1
    text = TEXT.replace("points: 5.5", "points: 7.5") + RAW.replace(old, new)
    with pytest.raises(LessonError, match=rf"01_doubling_up.py:{line_of(text, 'test_half') if 'double' not in new else line_of(text, 'assert half') - 1}: .*{says}"):  # fmt: skip
        parse(text)


def test_the_taxonomies_hold_what_the_standards_name():
    """A few ids whose names are known from the standards themselves, and no id without a name."""
    assert names("nist_ai_100_2")["NISTAML.022"] == "Evasion"
    assert names("nist_ai_100_2")["NISTAML.033"] == "Membership Inference"
    assert names("mitre_atlas")["AML.T0020"] == "Poison Training Data"
    assert names("mitre_atlas")["AML.TA0011"] == "Impact"
    for taxonomy in ("nist_ai_100_2", "mitre_atlas"):
        assert all(name.strip() for name in names(taxonomy).values())
