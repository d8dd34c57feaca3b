"""The command line, one file per verb or group of verbs; no logic that a notebook would want.

No room imports it. Every verb's file is read for every command, so what is slow to import is imported inside the verbs
that need it.
"""
