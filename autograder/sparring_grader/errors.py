"""What can go wrong in a way that a person can mend; the command line prints these and exits with 2."""


class GraderError(Exception):
    """A mistake that the user can mend; its message names the value, the limit and the remedy."""


class LessonError(GraderError):
    """A lesson's text, checks or mistakes are wrong; the message names file and line."""


class CourseError(GraderError):
    """A course directory is none, is damaged, or was made by a newer version."""


class SubmissionError(GraderError):
    """A submitted file can't be taken as a notebook of this lesson; costs only that submission."""


class WallError(GraderError):
    """The wall around submissions can't be built on this machine."""
