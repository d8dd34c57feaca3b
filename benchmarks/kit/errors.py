"""The exceptions that are shown to the user as a single line, without a traceback."""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class UserError(Exception):
    """Something the user can fix: the message names the thing at fault and the fix, in one line."""


class RestoringError(UserError):
    """A run cannot go on from its checkpoint, which stays as it is: nothing of the run is stored.

    The message is the reason and what else to do, but for the checkpoint's place, which whoever shows it adds.
    """


@contextmanager
def writing(folder: object) -> Iterator[None]:
    """Say in one line that a folder cannot be written to: an OSError becomes a `UserError`."""
    try:
        yield
    except OSError as error:
        reason, place = error.strerror or str(error), str(error.filename2 or error.filename or folder)
        reason += "" if place == str(folder) or place in reason else f" ({place})"
        raise UserError(f"cannot write to {folder}: {reason}; make room there or choose another folder") from None


LONGEST = 500
"""Characters of an error that are shown and stored."""


def legible(text: str) -> str:
    """A text that can be stored and printed: what is no character, such as a byte of a file's name, is written out."""
    return text.encode(errors="backslashreplace").decode()


def in_one_line(error: BaseException) -> str:
    """Type and text of an error, legible; of a long one the beginning and the end: what matters may stand in either."""
    try:
        told = str(error)
    except Exception:  # of somebody else's class
        told = ""
    text, half = " ".join(legible(told).split()), LONGEST // 2
    text = text if len(text) <= LONGEST else f"{text[:half]} ... {text[-half:]}"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def near_miss(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the most similar known one, and all of them."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    meant = f"did you mean {near[0]}? " if near else ""
    return f"{meant}there {'is' if len(known) == 1 else 'are'} {', '.join(known) or 'none'}"
