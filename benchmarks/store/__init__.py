"""Results on disk: the only room that knows their layout.

May import: kit.errors, files.
"""
