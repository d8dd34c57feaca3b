"""Small methods for tests of the front, found as "toy_methods:WALKER" also from worker processes, and their cells."""

import os
import signal
import time
from dataclasses import dataclass

import torch

from benchmarks.data import datasets
from benchmarks.kit.contract import Method, Progress
from benchmarks.plan import grid
from benchmarks.plan.profiles import Profile


@dataclass(frozen=True)
class WalkerConfig:
    """Settings of a random walk of linear policies."""

    rate: float = 0.1
    """Size of a step of the weights."""
    fault: str = ""
    """What goes wrong, such as "raise", "nan action", "huge info", "kill", "hang" or "interrupt"; see `walk`."""
    at: int = 10
    """Environment step of the fault."""
    sleep: float = 0.0
    """Seconds per environment step."""


class Walker:
    """Linear policies a = tanh(w s), one per lane, whose weights do a random walk."""

    def __init__(self, problem):
        self.steps = problem.streams("walk")
        self.noise = problem.streams("noise")
        self.weights = self.steps.normal(problem.observation_size, problem.action_size)

    def act(self, observations):
        return torch.tanh(observations @ self.weights)

    def state_dict(self):
        return {"weights": self.weights, "steps": self.steps.state_dict(), "noise": self.noise.state_dict()}

    def load_state_dict(self, state):
        self.weights = state["weights"]
        self.steps.load_state_dict(state["steps"])
        self.noise.load_state_dict(state["noise"])


class Narrow(Walker):
    """Its actions lack their last dimension but keep the axis, as broadcasting would have it."""

    def act(self, observations):
        return super().act(observations)[..., :1].mean(1, keepdim=True)


RAISED = {
    "raise": ValueError("first line\nthe walker stumbled"),
    "memory": MemoryError(),
    "float": FloatingPointError("nothing is finite"),
    "exit": SystemExit(0),
    "no text": ValueError("byte \udcff"),
}
SENT = {
    "kill": [(os.getpid, signal.SIGKILL)],
    "interrupt": [(os.getpid, signal.SIGINT)],
    "interrupt parent": [(os.getppid, signal.SIGINT)],
    "interrupt twice": [(os.getpid, signal.SIGINT), (os.getpid, signal.SIGTERM)],
    "interrupt parent twice": [(os.getppid, signal.SIGINT), (os.getppid, signal.SIGTERM)],
}
SLEPT = {"interrupt parent twice": 60, "hang": 600}


def stumble(fault, problem):
    """What a walker with this fault does once."""
    if fault in RAISED:
        raise RAISED[fault]
    for process, sent in SENT.get(fault, ()):
        os.kill(process(), sent)
    time.sleep(SLEPT.get(fault, 0))
    if fault == "odd notes":
        problem.notes[5] = object()


def limp(fault, actions, walker, info):
    """What a walker with this fault gives from then on."""
    spoilt = {"nan action": actions, "nan policy": walker.weights, "nan info": info["size"]}
    if fault in spoilt:
        spoilt[fault][0] = torch.nan
    if fault == "huge info":
        info["size"][0] = -torch.inf
    if fault == "scalar info":
        info["size"] = 0.5
    if fault == "long info":
        info["size"] = info["size"].repeat(2)


def walk(problem, config):
    walker = Narrow(problem) if config.fault == "narrow" else Walker(problem)
    problem.keep(walker=walker)
    environments = problem.environments
    sound = bool(os.environ.get("WALKERS_ARE_SOUND"))
    fault, pause = ("", 0.0) if sound else (config.fault, config.sleep)
    rate = torch.tensor(config.rate).reshape(-1, 1, 1)
    while environments.steps < problem.budget:
        observations = torch.as_tensor(environments.observations).unsqueeze(1)
        actions = walker.act(observations)[:, 0] + 0.1 * walker.noise.normal(problem.action_size)
        walker.weights = walker.weights + rate * walker.steps.normal(*walker.weights.shape[1:])
        info = {"size": walker.weights.square().mean((1, 2))}
        time.sleep(pause)
        if environments.steps == config.at:
            if fault == "early":
                return
            stumble(fault, problem)
        if environments.steps >= config.at:
            limp(fault, actions, walker, info)
        environments.step(actions.numpy())
        updates = {"no number": str(environments.steps), "huge number": 2**63}.get(fault, environments.steps)
        yield "done" if fault == "text" else Progress(updates, walker, info)


def look(problem, config):
    """Offline: the mean demonstrated action, whatever the observation."""
    means = torch.stack([torch.tensor(d.actions.mean(0)) for d in problem.demonstrations])

    class Mean:
        def act(self, observations):
            return means[:, None].expand(-1, observations.shape[1], -1)

    if config.fault == "long fit":
        problem.tell("a fit", 1500, 3000)
    if config.fault == "step":
        problem.environments.step(means.numpy())
    if config.fault != "silent":
        yield Progress(0, Mean())
        yield Progress(7, Mean())


@dataclass(frozen=True)
class LookerConfig:
    """Settings of the offline method."""

    fault: str = ""
    """What goes wrong: "step", "silent", "long fit" or nothing."""


def _walker(name, **options):
    return Method(
        name=name, label=name.title(), summary="Walks at random", source="a test", train=walk, config=WalkerConfig(),
        demonstrations=False, **options,
    )  # fmt: skip


WALKER = _walker("walker", swept=("rate",), per_task={"hopper": {"rate": 0.5}})
SINGLE = _walker("single", lanes=False)
FALLER = _walker("faller")
LOOKER = Method("looker", "Looker", "Looks at demonstrations", "a test", look, LookerConfig(), online=False)
NO_METHOD = "a string"
MUTABLE = Method("mutable", "Mutable", "Has no frozen config", "a test", walk, config={"rate": 1})
SHOUTING = _walker("Shouting Method")
BC_TWIN = _walker("bc")
WALKER_TWIN = _walker("walker")


class Still:
    """A policy that does nothing."""

    def __init__(self, action_size=1):
        self.action_size = action_size

    def act(self, observations):
        return torch.zeros(*observations.shape[:2], self.action_size)


def after(calls):
    """A `stop` that turns true after so many calls."""
    left = iter([False] * calls)
    return lambda: next(left, True)


def cells(methods="toy_methods:WALKER", lanes=None, **changes):
    """Short cells on the smallest task; `changes` are of fields of the profile, the others of the method's settings."""
    fields = {"tasks": "inverted-pendulum", "seeds": (0, 1), "steps": 40, "evaluations": 2, "eval_episodes": 2}
    fields |= {name: changes.pop(name) for name in Profile.model_fields.keys() & changes.keys()}
    overrides = {"overrides": {methods.rpartition(":")[2].lower(): changes}} if changes else {}
    profile = Profile(name="test", methods=methods, **fields | overrides)
    return grid.cells(
        grid.expand(profile, lambda *asked: datasets.prepare(*asked).content_hash, lambda task: None), lanes
    )
