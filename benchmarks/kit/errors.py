"""The exceptions that are shown to the user as a single line, without a traceback."""


class UserError(Exception):
    """Something the user can fix: the message names the thing at fault and the fix, in one line."""


class RestoringError(UserError):
    """A run cannot go on from its checkpoint, which stays as it is: nothing of the run is stored.

    The message is the reason and what else to do, but for the checkpoint's place, which whoever shows it adds.
    """
