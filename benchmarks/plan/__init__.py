"""What is to be run: methods and tasks by name, typed settings, profiles, and the grid of runs and cells.

Opens no dataset and no expert.
"""
