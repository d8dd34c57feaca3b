"""A method of this suite through its contract, as the runner drives it, timed; runs in the suite's own environment."""

from __future__ import annotations

from contextlib import closing

import torch
from clock import LEARNING_STARTS, Clock, arguments

from benchmarks.data import datasets
from benchmarks.instrument.environment import LearnerEnvironments
from benchmarks.kit.contract import Problem
from benchmarks.peers.exchange import MATCHED
from benchmarks.plan import registry
from benchmarks.plan.configuration import configure
from benchmarks.plan.profiles import Profile

TASK = "halfcheetah"
SETTINGS = {f"sac.{name}": value for name, value in MATCHED.items()} | {"sac.warmup": LEARNING_STARTS}

if __name__ == "__main__":
    parser = arguments()
    parser.add_argument("--method", default="sac")
    parser.add_argument("--demos", type=int, default=1, help="demonstrations, for methods that use them")
    parser.add_argument("--set", action="append", default=[], metavar="METHOD.FIELD=VALUE")
    options = parser.parse_args()
    clock = Clock(options.warmup, options.steps)
    method, task = registry.find_method(options.method), registry.find_task(TASK)
    changed = Profile(name="timed", tasks=(TASK,), methods=(options.method,)).with_settings(options.set).overrides
    config = configure(method.config, SETTINGS | changed.get(method.name, {}), f"method {method.name}")
    # the first steps of a usual run: how updates are carried out depends on how many are to come
    budget = max(clock.total + 10, task.budget)
    demonstrations = (datasets.load(task, "embedded", options.demos, 1, options.seed),) if method.demonstrations else ()
    with closing(LearnerEnvironments(task, (options.seed,), budget, method.privileged)) as environments:
        problem = Problem(
            task=task.name,
            seeds=(options.seed,),
            observation_size=environments.observation_size,
            action_size=environments.action_size,
            demonstrations=demonstrations,
            environments=environments,
            budget=budget,
            device=torch.device("cpu"),
        )
        training = method.train(problem, config)
        while clock.at(environments.steps, next(training).updates):
            pass
    clock.report(task.env_id, "torch", "gymnasium", "mujoco", "numpy")
