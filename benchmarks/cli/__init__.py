"""The command line, one file per verb; no logic that a notebook would want.

May import every room; no room imports it.
"""
