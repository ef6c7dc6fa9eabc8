"""The one error that is the user's to mend."""


class UserError(Exception):
    """A mistake that the user can mend, told in one sentence.

    The text says what was wrong, the value received, what was expected and what to do next. Commands print it
    after ``error:`` and exit with 1; they show no traceback.
    """
