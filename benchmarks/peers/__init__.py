"""Side by side with other libraries, each in a virtual environment of its own; see README.md in this folder.

`__main__` is `nox -s peers`. `speed` interleaves timed processes and keeps their rows; `methods` makes methods of peers
that train on what the bench lends (`exchange`), so that the suite's own runner, instrument, store and report serve them
too, and `returns` compares; `venvs` builds the environments of `requirements/`; `scripts/` is what runs inside them.
"""
