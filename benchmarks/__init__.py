"""The benchmark suite around the methods. One sentence: a method imports the kit, the bench reaches methods by name.

From a notebook: `from benchmarks import experiment`, then `plan`, `run` and `frame`. README.md beside this file
describes the rooms, their laws, and the life of one run.
"""
