"""Results on disk: the only room that knows their layout.

Imports kit.errors, files, provenance and tasks.
"""
