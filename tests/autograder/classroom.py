"""A made-up class of 24: records as grading leaves them, and a real nbgrader gradebook that agrees with them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from nbgrader.api import Gradebook

from sparring_grader.record import CheckResult, ExerciseScore, QuestionState, Record

FGSM, LINEAR = "05_mlp_and_fgsm", "02_linear_models"
QUESTION = "survivors"
CLAMP = "Some pixels left [0, 1]: {:.2f} was the largest. Clamp to the range after the step, not before it."
DOWN = "You went downhill: the loss fell. FGSM adds the sign of the gradient, it doesn't subtract it."
UNWRITTEN = "{} still raises NotImplementedError: its solution is not written yet."
MODE = "You changed the model's train or eval mode and left it so. Put back what you found."
HUNG = "the notebook ran for more than 60 s and was stopped; is there a loop that does not end?"
EVIL = "<script>alert('got you')</script>"

CHECKS = {
    "init_mlp": [
        "One pair (W, b) per layer",
        "All biases are zero",
        "Weights have mean 0 and variance 2 / fan_in",
    ],
    "mlp_logits": [
        "Logits of small networks, ReLU after each hidden layer only",
        "Images of any size are flattened",
    ],
    "fgsm": [
        "x_adv lies within eps of x and inside [0, 1]",
        "Each pixel moves by eps in the direction that raises the loss",
        "A pixel with gradient 0 stays where it is",
        "Images, weights, gradients and the model's mode are as they were",
    ],
    "loss_rise": [
        "The actual rise is the loss at x_adv minus the loss at x",
        "The predicted rise uses the gradient at x",
    ],
    "robust_curve": [
        "Robust accuracy is a share of all images",
        "What fell at a smaller eps never stands again",
    ],
    "margin": ["The margin has a sign", "The distance uses the dual norm"],
    "worst_case": ["The worst case meets the closed form", "Nothing of the caller's changes"],
}
LESSONS = {
    FGSM: ["init_mlp", "mlp_logits", "fgsm", "loss_rise", "robust_curve"],
    LINEAR: ["margin", "worst_case"],
}

# What each learner's submission fails: {(exercise, number of the check): message}.
VARIANCE = "You used 2 / fan_in as the standard deviation. It is the variance: take its square root."
DENOMINATOR = "You divided by the images that were right before. Robust accuracy is a share of all of them."
BATCH = "You lost the batch dimension: wrong shape: got ({0},), expected ({1}, {0})."
FAILS: dict[int, dict[tuple[str, int], str]] = {
    1: {("fgsm", 0): CLAMP.format(1.1)},
    2: {("fgsm", 0): CLAMP.format(1.25), ("robust_curve", 0): DENOMINATOR},
    3: {("fgsm", 1): DOWN, ("fgsm", 0): CLAMP.format(1.07)},
    4: {("init_mlp", 2): VARIANCE},
    5: {("init_mlp", 2): VARIANCE, ("robust_curve", 0): DENOMINATOR, ("robust_curve", 1): DENOMINATOR},
    6: {("fgsm", 3): MODE},
    7: {("mlp_logits", 1): BATCH.format(10, 7), ("fgsm", 0): CLAMP.format(1.3)},
    8: {("robust_curve", 0): DENOMINATOR},
    9: {("fgsm", 0): CLAMP.format(1.02), ("fgsm", 2): f"Your function raised ValueError: {EVIL}"},
    10: {
        (
            "loss_rise",
            1,
        ): "You took the gradient at x_adv. The tangent of the linearization touches the loss at x."
    },
    11: {("init_mlp", 1): "Some bias is not zero. Only the weights need random numbers."},
    12: {("fgsm", 1): DOWN},
    13: {("margin", 0): "You took the absolute value: a sample on the wrong side has a negative margin."},
    14: {("margin", 1): "You used the Linf norm of w. Against an Linf budget the dual norm is L1."},
    15: {("margin", 1): "You used the Linf norm of w. Against an Linf budget the dual norm is L1."},
}
UNTOUCHED, HANGS, BROKEN, ABSENT, EDITOR = 20, 21, 22, 23, 19
NAMES = [
    *(
        "adeyemi",
        "bianchi",
        "castro",
        "delacroix",
        "eriksson",
        "fujita",
        "garcia",
        "haddad",
        "ivanova",
        "jansen",
    ),
    *(
        "kaya",
        "lindqvist",
        "mbeki",
        "novak",
        "okafor",
        "petrov",
        "quispe",
        "rossi",
        "silva",
        "tanaka",
        "ueda",
    ),
    *("vargas", "wong", "zhang"),
]
STUDENTS = [*NAMES[:16], "<b>quispe</b>", *NAMES[17:]]


def record(lesson: str, number: int, *, wall: str = "bubblewrap 0.8.0") -> Record:
    """Return the record of one made-up learner's submission of a lesson."""
    fails = {name: message for name, message in FAILS.get(number, {}).items() if name[0] in LESSONS[lesson]}
    exercises = []
    for exercise in LESSONS[lesson]:
        titles = CHECKS[exercise]
        messages: list[str | None] = [fails.get((exercise, i)) for i in range(len(titles))]
        reason = None
        if number == UNTOUCHED:
            messages = [UNWRITTEN.format(exercise)] * len(titles)
        if number == HANGS and exercise in ("loss_rise", "robust_curve"):
            reason, messages = HUNG, [HUNG] * len(titles)
        if number == BROKEN:
            reason, messages = "the file is not JSON: Expecting value: line 1 column 1 (char 0)", []
        checks = tuple(
            CheckResult(f"c{i}", title, 0.0 if message else 1.0, 1.0, message)
            for i, (title, message) in enumerate(zip(titles, messages, strict=False))
        )
        earned = sum(check.earned for check in checks)
        exercises.append(ExerciseScore(exercise, f"check-{exercise}", earned, len(titles), reason, checks))
    notes = ("the answer cell fgsm is missing; the release's empty one stands in its place",)
    return Record(
        lesson=lesson,
        student=STUDENTS[number],
        submission_sha256=hashlib.sha256(f"{lesson}{number}".encode()).hexdigest(),
        checks_sha256=hashlib.sha256(lesson.encode()).hexdigest(),
        wall="not run" if number == BROKEN else wall,
        seed_id=f"{number:016x}",
        started=f"2026-03-02T17:{number:02d}:00+00:00",
        seconds=60.0 if number == HANGS else 4.0 + number % 5 / 2,
        exercises=tuple(exercises),
        questions=(QuestionState(QUESTION, 5.0, number not in (UNTOUCHED, BROKEN)),)
        if lesson == FGSM
        else (),
        notes=notes if number == EDITOR and lesson == FGSM else (),
        trouble=exercises[-1].reason,
    )


def handed_in(lesson: str) -> list[int]:
    """Return the numbers of those who handed in a lesson."""
    return [number for number in range(24) if number != ABSENT and (lesson == FGSM or number % 4)]


def build(folder: Path, *, unwalled: tuple[int, ...] = ()) -> str:
    """Write the class's records and gradebook into a folder and return the gradebook's URL."""
    url = f"sqlite:///{folder / 'gradebook.db'}"
    with Gradebook(url, course_id="ml-sec-26") as gradebook:
        for student in STUDENTS:
            gradebook.add_student(student)
        for lesson in (FGSM, LINEAR):
            _add_lesson(gradebook, lesson)
            for number in handed_in(lesson):
                made = record(lesson, number)
                made = replace(made, wall="none") if number in unwalled else made
                name = (
                    hashlib.sha256(made.student.encode()).hexdigest()[:8]
                    if "<" in made.student
                    else made.student
                )
                path = folder / "records" / lesson / f"{name}.json"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(made.to_json())
                _add_marks(gradebook, made, number)
        gradebook.db.commit()
    return url


def _add_lesson(gradebook: Gradebook, lesson: str) -> None:
    gradebook.add_assignment(lesson)
    gradebook.add_notebook(lesson, lesson)
    for exercise in LESSONS[lesson]:
        points = len(CHECKS[exercise])
        gradebook.add_grade_cell(f"check-{exercise}", lesson, lesson, max_score=points, cell_type="code")
    if lesson == FGSM:
        gradebook.add_grade_cell(QUESTION, lesson, lesson, max_score=5, cell_type="markdown")


def _add_marks(gradebook: Gradebook, made: Record, number: int) -> None:
    gradebook.add_submission(made.lesson, made.student)
    for exercise in made.exercises:
        grade = gradebook.find_grade(exercise.cell, made.lesson, made.lesson, made.student)
        grade.auto_score, grade.needs_manual_grade = exercise.earned, False
    for question in made.questions:
        grade = gradebook.find_grade(question.cell, made.lesson, made.lesson, made.student)
        if number < 6:  # a person has marked the first six
            grade.manual_score, grade.needs_manual_grade = 3.0 + number % 3, False
        elif not question.answered:
            grade.auto_score, grade.needs_manual_grade = 0.0, False
