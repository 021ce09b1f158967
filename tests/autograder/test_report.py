"""The class report: its numbers agree with the gradebook, its texts are escaped, and it needs nothing but itself."""

import os
import re
import sqlite3
import stat
import sys
from itertools import pairwise
from pathlib import Path

import classroom
import pytest
from bs4 import BeautifulSoup
from classroom import CLAMP, EVIL, FGSM, LINEAR, STUDENTS
from click.testing import CliRunner
from nbgrader.api import Gradebook

from sparring_grader.commands.report import command
from sparring_grader.course import ABOUT, describe
from sparring_grader.errors import CourseError
from sparring_grader.report import Grade, Report, collect, render, summarize


@pytest.fixture(scope="module")
def course(tmp_path_factory) -> tuple[Path, str]:
    """A class of 24 on disk: the folder with its records, and its gradebook's URL."""
    folder = tmp_path_factory.mktemp("class")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
        return folder, classroom.build(folder, unwalled=(2, 5))


@pytest.fixture(scope="module")
def report(course) -> Report:
    folder, url = course
    return collect(folder / "records", url, "ml-sec-26")


@pytest.fixture(scope="module")
def html(report) -> str:
    return render(report)


@pytest.fixture(scope="module")
def page(html) -> BeautifulSoup:
    return BeautifulSoup(html, "html.parser")


def lesson_of(report: Report, name: str):
    return next(lesson for lesson in report.lessons if lesson.lesson == name)


def table(page: BeautifulSoup, caption: str) -> list[list[str]]:
    """Return the body of the table whose caption begins so, as text."""
    found = next(
        item for item in page.find_all("table") if item.caption.get_text(" ", strip=True).startswith(caption)
    )
    return [
        [" ".join(cell.get_text(" ").split()) for cell in row.find_all(["th", "td"])]
        for row in found.tbody.find_all("tr")
    ]


def test_totals_are_the_gradebooks(course, report):
    """Every learner's total and points on the page are nbgrader's own sums, by machine and by hand."""
    with Gradebook(course[1], course_id="ml-sec-26") as gradebook:
        for lesson in report.lessons:
            theirs = {item.student.id: item for item in gradebook.assignment_submissions(lesson.lesson)}
            assert {row.student for row in lesson.rows} == set(theirs)
            for row in lesson.rows:
                assert row.earned == pytest.approx(theirs[row.student].score)
                assert row.points == pytest.approx(theirs[row.student].max_score)
                assert row.waiting == bool(theirs[row.student].needs_manual_grade)


def test_the_table_of_marks_shows_each_mark(page):
    """castro lost a point in fgsm and one in robust_curve, and a person gave 5; garcia's answer waits."""
    rows = {row[0]: row[1:] for row in table(page, f"Marks in {FGSM}")}
    assert rows["castro"] == ["3", "2", "3", "2", "1", "5", "16", "89 %"]
    assert rows["jansen"] == ["3", "2", "2", "2", "2", "waits", "11 + waiting", "61 %"]
    assert rows["wong broke"] == ["0", "0", "0", "0", "0", "0", "0", "0 %"]
    assert len(rows) == 23


def test_a_failed_check_is_counted_once_per_learner(report):
    """Five left the range, with different numbers in one message; the untouched, broken and hung don't count."""
    check = lesson_of(report, FGSM).failures[0]
    assert (check.exercise, check.failed, check.judged) == ("fgsm", 5, 21)
    (message,) = check.messages
    assert set(message.students) == {STUDENTS[i] for i in (1, 2, 3, 7, 9)}
    assert message.text == CLAMP.format(1.1)


def test_the_most_frequent_misunderstanding_comes_first(report, page):
    """Over all lessons, by the number of learners; one learner who meets a message twice counts once."""
    counts = [len(item.message.students) for item in report.misunderstandings]
    assert counts == sorted(counts, reverse=True)
    assert counts[:2] == [5, 3]
    first = page.find("ol", class_="top").li.get_text(" ", strip=True)
    assert first.startswith("Some pixels left [0, 1]")
    assert "5 of 21" in first


def test_what_was_left_unwritten_is_no_misunderstanding(report):
    """The untouched release is counted per exercise, apart from mistakes."""
    assert dict(lesson_of(report, FGSM).unwritten) == dict.fromkeys(classroom.LESSONS[FGSM], 1)
    assert not any("NotImplementedError" in item.message.text for item in report.misunderstandings)


def test_what_waits_for_a_person_is_listed_until_it_is_marked(report, page):
    """Fifteen answers wait; six have been marked, and what nobody wrote waits for nobody."""
    (waiting,) = [item for lesson in report.lessons for item in lesson.waiting]
    assert (waiting.lesson, waiting.question, waiting.points) == (FGSM, "survivors", 5)
    assert set(waiting.students) == {STUDENTS[i] for i in [*range(6, 20), classroom.HANGS]}
    assert table(page, "Answers that a person has to mark")[0][:4] == [FGSM, "survivors", "5", "15"]
    assert "jupyter lab" in page.find(id="waiting").parent.get_text()


def test_what_broke_is_listed_with_its_reason_once(report):
    """A notebook that hung and a file that is none: the reason is not repeated for each exercise."""
    said = {(item.lesson, item.student): item.text for item in report.remarks("broken")}
    assert said == {
        (FGSM, "vargas"): classroom.HUNG,
        (FGSM, "wong"): "the file is not JSON: Expecting value: line 1 column 1 (char 0)",
        (LINEAR, "wong"): "the file is not JSON: Expecting value: line 1 column 1 (char 0)",
    }
    assert len(report.remarks("broken")) == 3


def test_notes_of_the_rebuild_are_listed(report):
    """What differed from the release stands with the learner's name."""
    (note,) = report.remarks("notes")
    assert (note.student, note.text) == (
        "tanaka",
        "the answer cell fgsm is missing; the release's empty one stands in its place",
    )


def test_a_missing_wall_is_said_first_and_loudly(report, page):
    """The page opens with it, says how many, and a class graded behind the wall has no such notice."""
    notice = page.main.find(True, recursive=False)
    assert notice.name == "aside"
    assert "Graded without a wall" in notice.h2.get_text()
    assert "4 submissions of 40" in notice.get_text()
    walled = summarize(FGSM, [classroom.record(FGSM, 0)], {STUDENTS[0]: [Grade("check-fgsm", 4, 4)]})
    clean = BeautifulSoup(render(Report("c", report.made, (STUDENTS[0],), (walled,))), "html.parser")
    assert clean.find("aside") is None


def test_who_did_not_hand_in_is_named(report):
    """A learner in the gradebook without a submission is absent, not zero."""
    assert lesson_of(report, FGSM).absent == ("zhang",)


def test_texts_of_strangers_are_escaped(html, page):
    """A message with a script and a name with a tag are text; the page's one script is ours."""
    assert EVIL in page.get_text()
    assert "<b>quispe</b>" in page.get_text()
    assert EVIL not in html
    assert "<b>quispe" not in html
    assert len(page.find_all("script")) == 1


def test_the_page_needs_no_network(html, page):
    """No address of anything outside, no file beside it, and a policy that forbids both."""
    assert not re.search(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}", html)
    for tag in page.find_all(["img", "source", "link", "script", "a"]):
        for name in ("src", "srcset", "href"):
            assert tag.get(name, "#").startswith(("data:image/svg+xml;base64,", "#")), tag
    assert "default-src 'none'" in page.find("meta", {"http-equiv": "Content-Security-Policy"})["content"]


def test_the_page_is_well_formed_for_those_who_hear_it(page):
    """Language, landmarks, headings in order, captions, scopes, unique ids, links that lead somewhere, alt text."""
    assert page.html["lang"] == "en"
    for landmark in ("header", "nav", "main", "footer"):
        assert len(page.body.find_all(landmark, recursive=False)) == 1
    levels = [int(tag.name[1]) for tag in page.find_all(re.compile("^h[1-6]$"))]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert levels.count(1) == 1
    for item in page.find_all("table"):
        assert item.caption.get_text(strip=True)
        assert all(head.get("scope") in ("col", "row") for head in item.find_all("th"))
    ids = [tag["id"] for tag in page.find_all(id=True)]
    assert len(ids) == len(set(ids))
    assert {link["href"][1:] for link in page.find_all("a")} <= set(ids)
    assert {tag["aria-labelledby"] for tag in page.find_all(attrs={"aria-labelledby": True})} <= set(ids)
    assert len(page.find_all("img")) == 2


def test_alt_text_says_what_a_histogram_shows(page):
    """The counts in the words add up to the learners, and median and waiting are named."""
    alt = page.find_all("img")[1]["alt"]
    assert alt.startswith(f"Histogram of the marks in {FGSM}, in percent of 18 points:")
    assert sum(int(count) for count in re.findall(r"(\d+) from", alt)) == 23
    assert "Median 72 %; 15 of 23 still wait for a person." in alt


def test_every_tag_is_closed_in_its_turn(html):
    """What the template opens, it closes: checked by a parser that mends nothing."""
    from test_feedback import Reader

    void = re.sub(r"<(meta|source|img|br)\b[^>]*>", "", html)
    assert "table" in Reader(void).tags


def test_colors_have_enough_contrast():
    """Text on its ground reaches 4.5 to 1 in both schemes, as WCAG 2.2 asks."""
    css = (Path(sys.modules["sparring_grader"].__file__).parent / "templates" / "report.css").read_text()
    for block in re.findall(r":root \{(.*?)\}", css, re.DOTALL)[:2]:
        color = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
        for ground in ("paper", "page"):
            for ink in ("ink", "soft", "link", "accent"):
                assert contrast(color[ink], color[ground]) >= 4.5, (ink, ground)
        for ground in ("full", "part", "none", "waiting"):
            assert contrast(color["ink"], color[ground]) >= 4.5, ground
        assert contrast(color["loud-ink"], color["loud"]) >= 4.5


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colors (WCAG 2.2, relative luminance)."""

    def luminance(color: str) -> float:
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("name", [LINEAR, "02"])
def test_one_lesson_can_be_reported_alone(course, name):
    """A lesson named by its id or its number is reported, and nothing of another."""
    folder, url = course
    report = collect(folder / "records", url, "ml-sec-26", [name])
    assert [lesson.lesson for lesson in report.lessons] == [LINEAR]
    assert FGSM not in render(report)


def test_a_mark_changed_by_hand_shows_as_the_gradebook_has_it():
    """A person's mark on an exercise wins over the record, and the page says that it was given by hand."""
    record = classroom.record(FGSM, 1)
    grades = {"bianchi": [Grade("check-fgsm", 4, 4, by_hand=True)]}
    (row,) = summarize(FGSM, [record], grades).rows
    assert (row.earned, row.marks[0].by_hand) == (4, True)


def test_records_and_gradebook_that_disagree_are_named(report):
    """A submission that only one of them knows is nobody's silent zero."""
    lesson = summarize(FGSM, [classroom.record(FGSM, 0)], {"castro": [Grade("check-fgsm", 4, 4)]})
    assert lesson.unrecorded == ("adeyemi", "castro")
    assert "Gradebook and records disagree" in render(Report("c", report.made, ("castro",), (lesson,)))


def test_a_lesson_that_nobody_handed_in_has_a_page_too(report):
    """An empty class divides by nothing."""
    empty = summarize(FGSM, [], {}, STUDENTS)
    assert "Nothing has been graded yet." in render(Report("c", report.made, tuple(STUDENTS), (empty,)))


def test_what_cannot_be_reported_is_refused_with_its_remedy(course, tmp_path):
    """An unknown lesson, nothing graded, a damaged record, a gradebook that is missing or no database."""
    folder, url = course
    with pytest.raises(CourseError, match=rf"no lesson '99_x'.*{FGSM}"):
        collect(folder / "records", url, "ml-sec-26", ["99_x"])
    with pytest.raises(CourseError, match="run `sparring grade` first"):
        collect(tmp_path / "records", url, "ml-sec-26")
    with pytest.raises(CourseError, match="no gradebook at"):
        collect(folder / "records", f"sqlite:///{tmp_path / 'none.db'}", "ml-sec-26")
    assert not (tmp_path / "none.db").exists()
    damaged = tmp_path / "damaged" / FGSM
    damaged.mkdir(parents=True)
    (damaged / "castro.json").write_text('{"format": 1}')
    with pytest.raises(CourseError, match=rf"castro.json.*sparring grade {FGSM} --student castro"):
        collect(damaged.parent, url, "ml-sec-26")
    (tmp_path / "text.db").write_text("no database at all, but a text of some length")
    with pytest.raises(CourseError, match=r"can't be read: .*not a database"):
        collect(folder / "records", f"sqlite:///{tmp_path / 'text.db'}", "ml-sec-26")


def test_reading_a_locked_gradebook_says_so(course, tmp_path):
    """Another program's lock ends in a message, not in a wait without end or a traceback."""
    folder, url = course
    locked = tmp_path / "locked.db"
    locked.write_bytes(Path(url.removeprefix("sqlite:///")).read_bytes())
    holder = sqlite3.connect(locked, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(CourseError, match=r"can't be read: database is locked; .*URL in course\.json"):
            collect(folder / "records", f"sqlite:///{locked}", "ml-sec-26")
    finally:
        holder.close()


def test_the_command_writes_one_private_page(course, report, tmp_path, monkeypatch):
    """In a folder of the course, it writes the page where it is told, for its owner's eyes only, and says where."""
    folder, url = course
    home = tmp_path / "course"
    (home / ".sparring").mkdir(parents=True)
    (home / "source").mkdir()
    (home / ".sparring" / "records").symlink_to(folder / "records")
    (home / ABOUT).write_text(describe(report.course, url))
    monkeypatch.chdir(home / "source")
    first = CliRunner().invoke(command, [], catch_exceptions=False)
    second = CliRunner().invoke(command, ["02", "--output", "linear.html"], catch_exceptions=False)
    assert first.output == f"wrote {home / 'report.html'}\n"
    assert second.output == "wrote linear.html\n"
    assert stat.S_IMODE((home / "report.html").stat().st_mode) == 0o600
    assert FGSM in (home / "report.html").read_text()
    assert FGSM not in (home / "source" / "linear.html").read_text()


def test_a_folder_that_is_no_course_is_refused(tmp_path):
    """The command ends with the error that its edge prints, and writes nothing."""
    result = CliRunner().invoke(command, ["--course", str(tmp_path)])
    assert isinstance(result.exception, CourseError)
    assert list(tmp_path.iterdir()) == []
