"""The one exception that is shown to the user as a single line, without a traceback."""


class UserError(Exception):
    """Something the user can fix: the message names the thing at fault and the fix, in one line."""
