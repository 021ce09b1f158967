"""Courses: `sparring new` makes all of one or nothing, and what is no sound course is refused."""

import json
import stat

import nbformat
import pytest
from coursework import LESSON, SOLUTIONS, sparring
from nbgrader.api import Gradebook as Registry
from nbgrader.apps import AutogradeApp
from traitlets.config import Config

from sparring_grader import course as courses
from sparring_grader import creation, feedback_page
from sparring_grader.course import configure, find_course, open_course
from sparring_grader.creation import create
from sparring_grader.errors import CourseError, GraderError, LessonError


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def describe(directory, **changes):
    path = directory / "course.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_new_course_has_the_lesson_its_source_its_release_and_its_assignment(made_course):
    """The release is nbgrader's own, without the solution; the gradebook knows every graded cell's points."""
    assert made_course.lessons == (LESSON,)
    assert (made_course.directory / "lessons" / LESSON / "mistakes.py").is_file()
    assert "secret_of_doubling" in (made_course.directory / "source" / LESSON / f"{LESSON}.ipynb").read_text()
    release = nbformat.read(made_course.master(LESSON), as_version=4)
    assert "secret_of_doubling" not in str(release)
    assert "NotImplementedError" in str(release)
    with Registry(made_course.db_url, made_course.id) as registry:
        notebook = registry.find_notebook(LESSON, LESSON)
        assert {cell.name: cell.max_score for cell in notebook.grade_cells} == {
            "check-double": 3,
            "why-alone": 2.5,
        }


def test_other_users_of_the_machine_may_reach_the_exchange_and_nothing_else(made_course):
    root = made_course.directory
    assert mode(root) == 0o711
    assert mode(root / "exchange") == 0o777
    for name in (".sparring", "lessons", "source", "release", "submitted", "autograded", "feedback"):
        assert mode(root / name) == 0o700
    for name in ("course.json", "gradebook.db", ".sparring/secret"):
        assert mode(root / name) == 0o600


def test_two_courses_have_different_secrets(made_course, tmp_path):
    other = create(tmp_path / "other", lessons_in=SOLUTIONS, lessons=["01"], course_id="cs-1")
    assert len(made_course.secret) == len(other.secret) == 32
    assert made_course.secret != other.secret
    assert other.id == "cs-1"


def test_a_course_may_be_moved_and_is_found_from_within(course):
    """The gradebook's URL follows the directory, and a command works in its subfolders."""
    moved = course.directory.rename(course.directory.with_name("elsewhere"))
    assert find_course(moved / "submitted").db_url == f"sqlite:///{moved}/gradebook.db"


@pytest.mark.parametrize("there", ["file", "link", "full"])
def test_a_place_in_use_is_refused_and_left_as_it_is(tmp_path, there):
    place = tmp_path / "place"
    if there == "file":
        place.write_text("mine")
    elif there == "link":
        place.symlink_to(tmp_path)
    else:
        place.mkdir()
        (place / "mine.txt").write_text("mine")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(CourseError, match=r"place is (in the way|not empty)"):
        create(place, lessons_in=SOLUTIONS)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "error", [CourseError("nbgrader said no"), OSError(28, "No space left on device"), KeyboardInterrupt()]
)
def test_whatever_fails_nothing_half_made_is_left_behind(tmp_path, monkeypatch, error):
    """A refusal, a full disk, Ctrl-C: the folder's parent is as it was."""

    def fail(*_):
        raise error

    monkeypatch.setattr(creation, "_generate", fail)
    with pytest.raises((CourseError, KeyboardInterrupt)):
        create(tmp_path / "fall", lessons_in=SOLUTIONS)
    assert list(tmp_path.iterdir()) == []


def test_a_gradebook_elsewhere_is_as_it_was_after_a_failure_and_a_second_try_succeeds(tmp_path, monkeypatch):
    """Assignments that nbgrader entered are taken out again, or the second try would find them there."""
    url = f"sqlite:///{tmp_path}/marks.db"
    with monkeypatch.context() as patch:
        patch.setattr("nbgrader.converters.GenerateAssignment.set_permissions", lambda *_: 1 / 0)
        with pytest.raises(CourseError, match=f"nbgrader could not generate {LESSON}"):
            create(tmp_path / "fall", lessons_in=SOLUTIONS, db_url=url)
    assert not (tmp_path / "fall").exists()
    assert create(tmp_path / "fall", lessons_in=SOLUTIONS, db_url=url).db_url == url
    with pytest.raises(GraderError, match=f"holds {LESSON} already"):
        create(tmp_path / "spring", lessons_in=SOLUTIONS, db_url=url)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lessons": ["99_nothing"]}, "no lesson '99_nothing'"),
        ({"course_id": "../up"}, "'../up' can't be used"),
        ({"course_id": "a+b"}, "'a\\+b' can't be used"),
        ({"db_url": "sqlite://"}, "name a file"),
        ({"db_url": "sqlite:///:memory:"}, "name a file"),
        ({"db_url": "marks.db"}, "must look like"),
        ({"db_url": "oracle2://a:hush@h/d"}, "must look like"),
        ({"db_url": "postgresql://a:hush@127.0.0.1:9/d"}, "can't be reached"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_remedy_and_no_password(tmp_path, options, message):
    with pytest.raises(GraderError, match=message) as told:
        create(tmp_path / "fall", lessons_in=SOLUTIONS, **options)
    assert "hush" not in str(told.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_lessons_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CourseError, match="no lesson in"):
        create(tmp_path / "fall", lessons_in=tmp_path / "empty")


def test_a_wrong_lesson_is_refused_with_its_line_before_anything_is_made(tmp_path):
    folder = tmp_path / "solutions" / LESSON
    folder.mkdir(parents=True)
    (folder / f"{LESSON}.py").write_text("# no front matter\n")
    with pytest.raises(LessonError, match=rf"{LESSON}\.py:1: "):
        create(tmp_path / "fall", lessons_in=tmp_path / "solutions")
    assert not (tmp_path / "fall").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "newer version of sparring .format 2, this one knows 1.*pip install --upgrade"),
        ({"format": "1"}, "is damaged"),
        ({"course": None}, "is damaged"),
        ({"course": "a/b"}, "can't be used"),
        ({"gradebook": 3}, "is damaged"),
        ({"limits": {"speed": 1}}, "no limit 'speed'; there are: start_seconds"),
        ({"limits": {"memory": -1}}, "must be a number above 0"),
        ({"limits": []}, "no limit 'limits'"),
    ],
)  # fmt: skip
def test_a_damaged_or_newer_course_is_refused_with_the_reason(course, changes, message):
    describe(course.directory, **changes)
    with pytest.raises(CourseError, match=message):
        open_course(course.directory)


def test_what_is_no_course_at_all_is_refused(course, tmp_path):
    with pytest.raises(CourseError, match=r"no course directory: it has no course.json.*sparring new"):
        open_course(tmp_path)
    (course.directory / "course.json").write_text("{")
    with pytest.raises(CourseError, match="is damaged"):
        open_course(course.directory)
    (course.directory / "course.json").unlink()
    (course.directory / "course.json").mkdir()
    with pytest.raises(CourseError, match="can't read"):
        open_course(course.directory)


def test_a_lost_or_short_secret_is_named(course):
    path = course.directory / ".sparring" / "secret"
    path.write_bytes(b"short")
    with pytest.raises(CourseError, match="holds 5 bytes"):
        _ = course.secret
    path.unlink()
    with pytest.raises(CourseError, match="can't read the course's secret"):
        _ = course.secret


def test_limits_of_a_course_are_read(course):
    describe(course.directory, limits={"cell_seconds": 5, "processes": 7})
    limits = open_course(course.directory).limits
    assert (limits.cell_seconds, limits.processes, limits.memory) == (5.0, 7, 3 << 30)


def test_nbgrader_is_told_to_run_nothing_itself_and_to_show_no_learners_markup(course):
    """No step of nbgrader's own is left in autograding, and the Markdown filter is the feedback page's."""
    c = Config()
    configure(c, course.directory)
    assert c.Autograde.exporter_class == "sparring_grader.nbgrader_plugin.GradingExporter"
    assert c.Autograde.sanitize_preprocessors == c.Autograde.autograde_preprocessors == []
    assert c.HTMLExporter.filters == feedback_page.CONFIG["HTMLExporter"]["filters"]
    assert c.Exchange.root == str(course.directory / "exchange")


@pytest.mark.parametrize("broken", ["course.json", "sparring"])
def test_nbgrader_stops_rather_than_grade_without_a_wall(course, monkeypatch, broken):
    """nbgrader goes on with its defaults after an exception in its configuration; it must not come to that."""
    if broken == "sparring":
        monkeypatch.setitem(__import__("sys").modules, "sparring_grader.course", None)
    else:
        (course.directory / "course.json").write_text("{")
    monkeypatch.chdir(course.directory)
    app = AutogradeApp()
    with pytest.raises(SystemExit, match=r"is damaged|pip install 'sparring\[instructor\]'"):
        app.initialize([])


def test_new_says_what_it_made_and_a_mistake_ends_with_2(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    solutions = ["--solutions", str(SOLUTIONS)]
    assert sparring(monkeypatch, "new", "fall", "01", *solutions, "--course-id", "cs-1") == 0
    assert f"Made the course cs-1 in {tmp_path}/fall with {LESSON}" in capsys.readouterr().out
    assert sparring(monkeypatch, "new", "fall", *solutions) == 2
    assert "fall is not empty" in capsys.readouterr().err
    assert sparring(monkeypatch, "new", "spring") == 2
    assert "--solutions" in capsys.readouterr().err
    assert courses.open_course("fall").id == "cs-1"
