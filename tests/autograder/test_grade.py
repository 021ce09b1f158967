"""`sparring grade`: everyone gets a record, nobody's trouble is another's, and nothing is done twice."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from coursework import (
    HANDED_IN,
    LESSON,
    RIGHT,
    SQUARED,
    copy_of,
    hand_in,
    hostile,
    mark_by_hand,
    scores,
    sparring,
)

from sparring_grader import filing, grade, pool
from sparring_grader.errors import CourseError, GraderError, LessonError, WallError
from sparring_grader.grade import Task, grade_course, plan, score_submission
from sparring_grader.record import Record
from sparring_grader.wall import find_bubblewrap

try:
    find_bubblewrap()
except WallError as error:
    pytest.skip(f"no wall can be built here: {error}", allow_module_level=True)

ANSWER = "Because the caller holds it."


@pytest.fixture(scope="module")
def classroom(made_course, tmp_path_factory):
    """A graded class: right, wrong, untouched and crashing work, and all that is no notebook."""
    course = copy_of(made_course, tmp_path_factory.mktemp("class") / "fall")
    hand_in(course, "ada", RIGHT, ANSWER)
    hand_in(course, "bob", SQUARED)
    hand_in(course, "cyd")
    hand_in(course, "dan", "import os\nos._exit(3)\n" + RIGHT)
    hand_in(course, "odd name", RIGHT)
    steps = []
    said = hostile(course)
    return course, grade_course(course, progress=steps.append), steps, said


@pytest.fixture
def small(course):
    """A course of the test's own, with one right submission, scored once in this process."""
    hand_in(course, "ada", RIGHT, ANSWER)
    return course


def record(course, student):
    return Record.from_json(course.record(LESSON, student).read_text())


def page(course, student):
    return BeautifulSoup(course.feedback(LESSON, student).read_text(), "html.parser").get_text()


def test_each_submission_gets_its_marks_in_record_and_gradebook(classroom):
    course, summary, _, _ = classroom
    earned = {made.student: made.earned for made in summary.graded}
    assert {name: earned[name] for name in ("ada", "bob", "cyd", "dan")} == {
        "ada": 3,
        "bob": 1,
        "cyd": 0,
        "dan": 0,
    }
    for student in earned:
        assert record(course, student).earned == earned[student]
        assert scores(course, student)["check-double"][0] == earned[student]
    assert scores(course, "ada")["why-alone"] == (None, None, True)
    assert summary.waiting == {(LESSON, "ada")}


def test_what_is_no_notebook_gets_zero_and_is_told_why(classroom):
    """Missing, renamed, a pipe, a link, a folder, 200 MB, not JSON, another lesson's: a record and a feedback page."""
    course, summary, _, said = classroom
    for student, reason in said.items():
        made = record(course, student)
        assert (made.earned, made.points, made.wall) == (0, 3, "not run")
        assert reason in made.trouble
        assert reason in page(course, student)
        assert scores(course, student) == {"check-double": (0, None, False), "why-alone": (0, None, False)}
    assert set(said) < {made.student for made in summary.graded}


def test_a_link_is_not_followed(classroom):
    """It pointed at the course's secret, of which nothing may be read or shown."""
    course, *_ = classroom
    graded = course.autograded(LESSON, "link") / f"{LESSON}.ipynb"
    assert not graded.is_symlink()
    assert course.secret not in graded.read_bytes()


def test_feedback_says_which_property_failed(classroom):
    course, *_ = classroom
    assert "You squared x" in page(course, "bob")
    assert "not written yet" in page(course, "cyd")
    assert "ended with code 3" in page(course, "dan")
    assert "You squared x" not in page(course, "ada")


def test_an_oddly_named_folder_is_told_and_costs_nobody_else(classroom):
    _, summary, _, _ = classroom
    assert summary.problems == [
        "submitted/'odd name' is not named like a student; rename it to that student's id: up to 128 letters, digits, "
        "'_', '.', '@', '+' and '-', beginning with a letter, a digit or '_'"
    ]


def test_progress_is_told_for_each_submission_once(classroom):
    _, summary, steps, _ = classroom
    assert sorted(step.student for step in steps) == [made.student for made in summary.records]


def test_nbgraders_stamps_lie_beside_the_graded_notebook_and_the_page(classroom):
    """By the time nbgrader knows which is newer, by the secret it gives feedback to its owner."""
    course, *_ = classroom
    assert (course.autograded(LESSON, "ada") / "timestamp.txt").read_text() == HANDED_IN
    assert (course.feedback(LESSON, "ada").parent / "timestamp.txt").read_text() == HANDED_IN


def test_what_is_graded_is_left_alone_until_something_changes(classroom, monkeypatch, tmp_path):
    """Same bytes, checks and wall: nothing runs. A lost page, other marks in the gradebook, other checks: it does."""
    course = copy_of(classroom[0], tmp_path / "fall", without=("pipe", "giant"))
    ran = []

    def run(work, tasks, workers):
        ran.append(sorted(task.student for task in tasks))
        return (item for item in ())

    monkeypatch.setattr(pool, "results", run)
    grade_course(course, students=["ada", "bob", "pdf"])
    assert ran.pop() == []
    grade_course(course)
    assert ran.pop() == ["ghost", "link", "nest", "renamed"], "what could not be read may have been put right"
    course.feedback(LESSON, "ada").unlink()
    made = record(course, "bob")
    course.record(LESSON, "bob").write_text(made.to_json().replace('"earned": 1.0', '"earned": 2.0'))
    hand_in(course, "cyd", RIGHT)
    grade_course(course, students=["ada", "bob", "cyd", "dan"])
    assert ran.pop() == ["ada", "bob", "cyd"]
    grade_course(course, students=["dan"], unsandboxed=True)
    assert ran.pop() == ["dan"]
    grade_course(course, students=["dan"], force=True)
    assert ran.pop() == ["dan"]
    with course.checks(LESSON).open("a") as file:
        file.write("# another word\n")
    grade_course(course, students=["dan"])
    assert ran.pop() == ["dan"]


def test_a_changed_resubmission_is_graded_and_a_persons_mark_stays_flagged(small):
    grade_course(small, workers=1)
    mark_by_hand(small, "ada", "why-alone", 2.0)
    assert grade_course(small, workers=1).graded == []
    hand_in(small, "ada", SQUARED, "Another answer.")
    assert [made.earned for made in grade_course(small, workers=1).graded] == [1]
    assert scores(small, "ada") == {"check-double": (1, None, False), "why-alone": (None, 2.0, True)}


def test_grading_without_a_wall_is_stamped_on_record_and_page(small):
    """And the next run behind the wall takes the stamp away."""
    assert grade_course(small, unsandboxed=True, workers=1).graded[0].wall == "none"
    assert "Graded without a wall" in page(small, "ada")
    assert grade_course(small, workers=1).graded[0].wall.startswith("bubblewrap")
    assert "Graded without a wall" not in page(small, "ada")


def test_no_wall_no_grading(small, monkeypatch):
    def refuse():
        raise WallError("no namespaces here; allow them")

    monkeypatch.setattr("sparring_grader.wall.find_bubblewrap", refuse)
    with pytest.raises(WallError):
        grade_course(small)
    assert not small.records.exists()


def outcomes(monkeypatch, *made):
    """Let the pool give these outcomes instead of running anything."""
    monkeypatch.setattr(
        pool, "results", lambda work, tasks, workers: ((tasks[i], one) for i, one in enumerate(made))
    )


def test_one_that_can_not_be_graded_is_named_and_the_others_are_kept(small, monkeypatch):
    """A worker killed twice, an unreadable file, a fault of ours, a page that can't be made."""
    for student in ("bob", "cyd", "dan", "eve"):
        hand_in(small, student, RIGHT)
    graded = score_submission(Task(small.directory, LESSON, "ada"))
    eve = score_submission(Task(small.directory, LESSON, "eve"))
    broken = grade.BrokenProcessPool("gone")
    outcomes(monkeypatch, graded, broken, PermissionError(13, "Permission denied"), KeyError("x"), eve)
    keep = filing.keep
    monkeypatch.setattr(filing, "keep", lambda c, b, g: 1 / 0 if g is eve else keep(c, b, g))
    summary = grade_course(small)
    assert [made.student for made in summary.graded] == ["ada"]
    assert [problem.split(";")[0] for problem in summary.problems] == [
        f"bob's {LESSON} took its grading process down twice",
        f"cyd's {LESSON} can't be read: Permission denied",
        f"dan's {LESSON} could not be graded: KeyError: 'x'",
        f"eve's {LESSON} could not be graded: ZeroDivisionError: division by zero",
    ]


def test_a_full_disk_stops_the_run_and_what_was_there_stays_whole(small, monkeypatch):
    """The record comes last, so the submission is graded again; the old page and record are as they were."""
    grade_course(small, workers=1)
    before = (small.feedback(LESSON, "ada").read_bytes(), small.record(LESSON, "ada").read_bytes())
    hand_in(small, "ada", SQUARED)
    graded = score_submission(Task(small.directory, LESSON, "ada"))
    outcomes(monkeypatch, graded)

    def full(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(GraderError, match="No space left on device; make room"):
            grade_course(small)
    assert (small.feedback(LESSON, "ada").read_bytes(), small.record(LESSON, "ada").read_bytes()) == before
    outcomes(monkeypatch, graded)
    assert [made.earned for made in grade_course(small).graded] == [1]


@pytest.mark.parametrize("broken", ["checks", "release", "missing release", "secret"])
def test_what_breaks_every_submission_stops_the_run_and_is_named(small, broken):
    if broken == "checks":
        small.checks(LESSON).write_text("import nothing_like_it\n")
    elif broken == "release":
        small.master(LESSON).write_text("{")
    elif broken == "secret":
        (small.directory / ".sparring" / "secret").unlink()
    else:
        small.master(LESSON).unlink()
    with pytest.raises((LessonError, CourseError), match=r"checks\.py|generate_assignment|secret"):
        score_submission(Task(small.directory, LESSON, "ada"))


def test_a_record_of_another_format_is_no_record(small):
    path = small.record(LESSON, "ada")
    path.parent.mkdir(parents=True)
    for text in ("{}", "[]", '{"format": 99}', "no json", '{"format": 1, "exercises": 3}'):
        path.write_text(text)
        assert filing.previous(small, LESSON, "ada") is None


def test_nothing_to_grade_says_where_it_looked_and_what_to_do(course):
    with pytest.raises(GraderError, match=rf"nothing in .*submitted to grade.*`nbgrader collect {LESSON}`"):
        plan(course)
    with pytest.raises(LessonError, match="no lesson '05'"):
        plan(course, ["05"])


def test_the_command_prints_the_table_and_its_exit_code_tells(classroom, monkeypatch, capsys):
    """0 when all is graded, whatever the marks; 1 when something could not be; 2 for a mistake."""
    course, *_ = classroom
    place = ["--course", str(course.directory)]
    monkeypatch.setattr(pool, "results", lambda *_: (item for item in ()))
    assert sparring(monkeypatch, "grade", LESSON, "--student", "ada", "--student", "bob", *place) == 0
    out = capsys.readouterr().out
    assert "3 of 3 *" in out
    assert "0 graded, 2 as they were" in out
    monkeypatch.chdir(course.directory / "submitted")
    assert sparring(monkeypatch, "grade") == 1
    assert "Not graded: submitted/'odd name'" in capsys.readouterr().out
    for words, said in [
        (["99"], "no lesson '99'"),
        (["--student", "../ada"], "'../ada' can't be used"),
        (["--student", "adda"], "did you mean ada"),
        (["--course", "/nowhere"], "no course directory"),
        (["--workers", "0"], "x>=1"),
    ]:
        assert sparring(monkeypatch, "grade", *words) == 2
        assert said in capsys.readouterr().err


def test_without_a_wall_the_command_says_so_loudly(small, monkeypatch, capsys):
    monkeypatch.setattr(pool, "results", lambda *_: (item for item in ()))
    sparring(monkeypatch, "grade", "--unsandboxed", "--course", str(small.directory))
    assert "GRADING WITHOUT A WALL" in capsys.readouterr().out


def gone(group):
    """Whether a process group ends within ten seconds."""
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_graded_and_the_same_command_goes_on(course):
    """A real signal to a real run: exit 130, one line that says how to go on, and no process left behind."""
    hand_in(course, "ada", RIGHT)
    hand_in(course, "zed", "import time\ntime.sleep(50)\n" + RIGHT)
    command = [str(Path(sys.executable).with_name("sparring")), "grade", "--workers", "1"]
    with subprocess.Popen(
        command, cwd=course.directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        end = time.monotonic() + 120
        while not course.record(LESSON, "ada").exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end, "nothing was graded"
            time.sleep(0.1)
        time.sleep(1)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert "Stopped. 1 of 2 are graded and kept; run the same command to go on." in out
    assert "Traceback" not in out + err
    assert not course.record(LESSON, "zed").exists()
    assert gone(process.pid), "processes of the run are still there"
    assert [made.student for made in grade_course(course, students=["ada"]).current] == ["ada"]
