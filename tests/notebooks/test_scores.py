"""What a lesson's hidden checks give: all to the reference, none to the release, each mistake its message.

One session behind the wall serves a lesson: where the reference notebook comes to an exercise's check, each mistake
and each right answer of another shape is put in the solution's place, scored, and the solution put back.
"""

import functools
import json
from dataclasses import dataclass, field

import gates
import pytest

from sparring_grader import solutions
from sparring_grader.checks import load_checks, load_mistakes
from sparring_grader.errors import WallError
from sparring_grader.publish import to_release
from sparring_grader.sandbox import Session
from sparring_grader.scoring import Job, Seed, score, score_exercise
from sparring_grader.wall import find_bubblewrap

try:
    find_bubblewrap()
except WallError as error:
    pytest.skip(f"no wall can be built here: {error}", allow_module_level=True)

SEEDS = [Seed(bytes([number]) * 32) for number in range(5)]
every_lesson = pytest.mark.parametrize("identity", gates.LESSONS)


@dataclass
class Scores:
    """A lesson's scores: of the reference for each seed, of mistakes and of alternatives by their names."""

    reference: dict = field(default_factory=dict)
    mistakes: dict = field(default_factory=dict)
    alternatives: dict = field(default_factory=dict)


def scores_in_one_session(lesson):
    """Take the reference through a session and return all its scores."""
    hidden = load_checks(lesson.path.with_name("checks.py"))
    mistakes, alternatives = load_mistakes(lesson.path.with_name("mistakes.py"))
    exercises = {exercise.check.name: exercise for exercise in lesson.exercises}
    found = Scores()
    with Session() as session:

        def run(source):
            outputs, raised = session.run(source)
            assert not raised, f"{lesson.id}: a cell raised: {outputs.cells[-1]}\n{source}"

        for cell in lesson.cells:
            if cell.cell_type != "code" or cell.kind == "show":
                continue
            run(cell.source)
            exercise = exercises.get(cell.name)
            if exercise is None:
                continue

            def scored(seed, exercise=exercise):
                return score_exercise(
                    session, hidden[exercise.name], exercise.check.name, exercise.points, seed
                )

            found.reference[exercise.name] = [scored(seed) for seed in SEEDS]
            for entries, kept in ((mistakes, found.mistakes), (alternatives, found.alternatives)):
                for entry in entries:
                    if entry.exercise == exercise.name:
                        run(entry.source)
                        kept[entry.exercise, entry.name] = entry, [scored(seed) for seed in SEEDS[:2]]
            run(exercise.cell.source)
    return found


@functools.cache
def lesson_of(identity):
    return solutions.load(gates.SOLUTIONS, identity)


@functools.cache
def scores_of(identity):
    return scores_in_one_session(lesson_of(identity))


def messages(result):
    return " ".join(check.message for check in result.checks if check.message)


@every_lesson
def test_the_reference_earns_all_points_with_five_seeds(identity):
    """Marks don't depend on the seed, nor on the cells that only show."""
    lesson = lesson_of(identity)
    found = scores_of(identity).reference
    assert list(found) == [exercise.name for exercise in lesson.exercises]
    for exercise in lesson.exercises:
        for seed, result in enumerate(found[exercise.name]):
            assert result.earned == exercise.points, f"{exercise.name}, seed {seed}: {messages(result)}"


@every_lesson
def test_each_mistake_loses_points_on_its_exercise_and_gets_its_message(identity):
    """Learners read what they did wrong; with another seed too."""
    found = scores_of(identity).mistakes
    assert len(found) >= solutions.LEAST_MISTAKES * len(lesson_of(identity).exercises)
    wrong = [
        f"{exercise}/{name}, seed {seed}: earned {result.earned:g} of {result.points:g}: {messages(result)!r}"
        for (exercise, name), (entry, results) in found.items()
        for seed, result in enumerate(results)
        if result.earned >= result.points or entry.message not in messages(result)
    ]
    assert wrong == []


@every_lesson
def test_each_right_answer_of_another_shape_earns_all_points(identity):
    """Nobody loses points for a style."""
    found = scores_of(identity).alternatives
    assert found
    wrong = [
        f"{exercise}/{name}, seed {seed}: {messages(result)}"
        for (exercise, name), (_, results) in found.items()
        for seed, result in enumerate(results)
        if result.earned != result.points
    ]
    assert wrong == []


@every_lesson
def test_the_untouched_release_earns_nothing_and_has_answered_nothing(identity, tmp_path):
    """Handing in what one was given gives no mark, by the same route as any submission."""
    lesson = lesson_of(identity)
    release = to_release(lesson)
    job = Job(identity, "nobody", release, lesson.path.with_name("checks.py"), b"secret")
    record = score(json.dumps(release).encode(), job).record
    assert {item.exercise: item.earned for item in record.exercises} == {
        item.name: 0 for item in lesson.exercises
    }
    assert {item.exercise: item.points for item in record.exercises} == {
        item.name: item.points for item in lesson.exercises
    }
    assert not any(question.answered for question in record.questions)
    assert record.trouble is None
