"""A SAC in the style of CleanRL, timed. Written for this suite: CleanRL is a collection of files, not a library.

Structure and settings follow cleanrl/sac_continuous_action.py (vwxyzjn/cleanrl): two separate critic modules, Adam
without options, `torch.distributions`, a vector environment of one, a replay of arrays of 10^6 rows, two actor updates
at every second critic update, target networks copied parameter by parameter. Its logging is left out.
"""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import torch
from clock import LEARNING_STARTS, Clock, arguments
from torch import nn
from torch.nn import functional as F

GAMMA, TAU, BATCH, CAPACITY = 0.99, 0.005, 256, 1_000_000
ACTOR_RATE, CRITIC_RATE, ACTOR_PERIOD = 3e-4, 1e-3, 2
LOG_STD_RANGE = (-5, 2)


class Critic(nn.Module):
    """Q(s, a)."""

    def __init__(self, observation_size, action_size):
        super().__init__()
        self.first = nn.Linear(observation_size + action_size, 256)
        self.second = nn.Linear(256, 256)
        self.last = nn.Linear(256, 1)

    def forward(self, states, actions):
        x = F.relu(self.first(torch.cat([states, actions], 1)))
        return self.last(F.relu(self.second(x))).view(-1)


class Actor(nn.Module):
    """Tanh-Gaussian policy."""

    def __init__(self, observation_size, action_size):
        super().__init__()
        self.first = nn.Linear(observation_size, 256)
        self.second = nn.Linear(256, 256)
        self.mean = nn.Linear(256, action_size)
        self.log_std = nn.Linear(256, action_size)

    def forward(self, states):
        x = F.relu(self.second(F.relu(self.first(states))))
        low, high = LOG_STD_RANGE
        return self.mean(x), low + 0.5 * (high - low) * (torch.tanh(self.log_std(x)) + 1)

    def sample(self, states):
        mean, log_std = self(states)
        normal = torch.distributions.Normal(mean, log_std.exp())
        latent = normal.rsample()
        actions = torch.tanh(latent)
        log_density = normal.log_prob(latent) - torch.log(1 - actions.pow(2) + 1e-6)
        return actions, log_density.sum(1)


class Replay:
    """A ring of arrays, as `cleanrl_utils.buffers`."""

    def __init__(self, observation_size, action_size):
        self.observations = np.zeros((CAPACITY, observation_size), np.float32)
        self.following = np.zeros((CAPACITY, observation_size), np.float32)
        self.actions = np.zeros((CAPACITY, action_size), np.float32)
        self.rewards, self.terminated = np.zeros(CAPACITY, np.float32), np.zeros(CAPACITY, np.float32)
        self.added = 0

    def add(self, observation, following, action, reward, terminated):
        row = self.added % CAPACITY
        self.observations[row], self.following[row], self.actions[row] = observation, following, action
        self.rewards[row], self.terminated[row] = reward, terminated
        self.added += 1

    def sample(self):
        rows = np.random.randint(0, min(self.added, CAPACITY), BATCH)  # noqa: NPY002 - as CleanRL does
        columns = (self.observations, self.actions, self.following, self.rewards, self.terminated)
        return [torch.as_tensor(column[rows]) for column in columns]


class Agent:
    """The networks and one update of them."""

    def __init__(self, observation_size, action_size):
        self.actor = Actor(observation_size, action_size)
        self.critics = [Critic(observation_size, action_size) for _ in range(2)]
        self.targets = [Critic(observation_size, action_size) for _ in range(2)]
        for critic, target in zip(self.critics, self.targets, strict=True):
            target.load_state_dict(critic.state_dict())
        parameters = [parameter for critic in self.critics for parameter in critic.parameters()]
        self.critic_optimiser = torch.optim.Adam(parameters, CRITIC_RATE)
        self.actor_optimiser = torch.optim.Adam(self.actor.parameters(), ACTOR_RATE)
        self.log_alpha, self.alpha = torch.zeros(1, requires_grad=True), 1.0
        self.alpha_optimiser = torch.optim.Adam([self.log_alpha], CRITIC_RATE)
        self.target_entropy = -float(action_size)

    def update(self, step, states, actions, following, rewards, terminated):
        with torch.no_grad():
            next_actions, log_density = self.actor.sample(following)
            value = torch.min(*(target(following, next_actions) for target in self.targets)) - self.alpha * log_density
            wanted = rewards + (1 - terminated) * GAMMA * value
        loss = sum(F.mse_loss(critic(states, actions), wanted) for critic in self.critics)
        self.critic_optimiser.zero_grad()
        loss.backward()
        self.critic_optimiser.step()
        if step % ACTOR_PERIOD == 0:
            for _ in range(ACTOR_PERIOD):  # makes up for the delay
                self.update_actor(states)
        for critic, target in zip(self.critics, self.targets, strict=True):
            for parameter, copy in zip(critic.parameters(), target.parameters(), strict=True):
                copy.data.copy_(TAU * parameter.data + (1 - TAU) * copy.data)

    def update_actor(self, states):
        actions, log_density = self.actor.sample(states)
        value = torch.min(*(critic(states, actions) for critic in self.critics))
        loss = (self.alpha * log_density - value).mean()
        self.actor_optimiser.zero_grad()
        loss.backward()
        self.actor_optimiser.step()
        with torch.no_grad():
            _, log_density = self.actor.sample(states)
        loss = (-self.log_alpha.exp() * (log_density + self.target_entropy)).mean()
        self.alpha_optimiser.zero_grad()
        loss.backward()
        self.alpha_optimiser.step()
        self.alpha = self.log_alpha.exp().item()


def make():
    """One environment as CleanRL makes it."""
    return gym.wrappers.RecordEpisodeStatistics(gym.make("HalfCheetah-v5"))


if __name__ == "__main__":
    options = arguments().parse_args()
    clock = Clock(options.warmup, options.steps)
    np.random.seed(options.seed)  # noqa: NPY002
    torch.manual_seed(options.seed)
    environments = gym.vector.SyncVectorEnv([make], autoreset_mode=gym.vector.AutoresetMode.SAME_STEP)
    sizes = environments.single_observation_space.shape[0], environments.single_action_space.shape[0]
    agent, replay = Agent(*sizes), Replay(*sizes)
    observations, _ = environments.reset(seed=options.seed)
    step = updates = 0
    while clock.at(step, updates):
        if step < LEARNING_STARTS:
            actions = environments.action_space.sample()
        else:
            actions = agent.actor.sample(torch.Tensor(observations))[0].detach().numpy()
        following, rewards, terminated, truncated, info = environments.step(actions)
        outcome = info["final_obs"][0] if terminated[0] or truncated[0] else following[0]
        replay.add(observations[0], outcome, actions[0], rewards[0], terminated[0])
        observations = following
        if step >= LEARNING_STARTS:
            agent.update(step, *replay.sample())
            updates += 1
        step += 1
    clock.report("HalfCheetah-v5", "torch", "gymnasium", "mujoco", "numpy")
