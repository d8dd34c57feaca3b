"""The benchmark suite around the methods. One sentence: a method imports the kit, the bench reaches methods by name.

kit/            the only part a method may import: contract, demonstrations, networks, replay, SAC, interaction
tasks.py        the task table; references.json holds the measured random and expert returns
datasets.py     Minari datasets -> Demonstrations; the only file that imports minari
experts/        shipped expert policies: played, measured and published
environment.py  the learner's environments; evaluation.py the instrument that measures a policy
registry.py     names -> methods and tasks, through entry points; configuration.py their typed settings
profiles/       TOML: which methods, tasks, seeds and budgets; grid.py resolves them to runs and cells
runner.py       one cell of lanes -> stored rows; pool.py runs cells in processes
store.py        the results on disk; the only file that knows their layout
reporting/      rows -> tables and figures; imports no torch

README.md beside this file lists every module.
"""
