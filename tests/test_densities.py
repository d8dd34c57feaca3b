import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
import torch

from benchmarks.kit.fitting import FitConfig, fit, held_out_rows
from benchmarks.kit.replay import Replay, demonstration_replay
from benchmarks.kit.standardiser import Standardiser
from benchmarks.kit.streams import Streams
from ndi.ebm import EBMConfig, kernel_score
from ndi.kde import KDEConfig
from ndi.made import MADEConfig


def as_replay(x, observation_size):
    """Rows x (L, N, D) as demonstrations with D - observation_size action dimensions."""
    replay = Replay(len(x), x.shape[1], observation_size, x.shape[2] - observation_size, x.device)
    replay.rows[..., :observation_size] = x[..., :observation_size]
    replay.rows[..., observation_size : x.shape[2]] = x[..., observation_size:]
    replay.added += x.shape[1]
    return replay


def sized(problem, observation_size, action_size):
    return type(problem)(
        **{**vars(problem), "observation_size": observation_size, "action_size": action_size, "demonstrations": ()}
    )


QUIET = 1e-4  # smoothing far below the data's own scale


def test_made_is_strictly_autoregressive_in_every_ordering(point_problem):
    problem = sized(point_problem(seeds=(0, 1)), 3, 2)
    made = MADEConfig(hidden=(32, 32), components=2, orderings=3).build(problem)
    x = torch.randn(2, 16, 5, generator=torch.Generator().manual_seed(1)).requires_grad_()
    generator = torch.Generator().manual_seed(0)
    orders = [torch.arange(5)] + [torch.randperm(5, generator=generator) for _ in range(2)]
    for lane in range(2):
        for ordering, places in enumerate(orders):
            for i in range(5):
                value = made.log_conditionals(x)[lane, ordering, :, i].sum()
                gradient = torch.autograd.grad(value, x)[0].abs().sum(1)
                # the conditional of x_i may see x_i itself and what stands before it, nothing after it, no other lane
                assert (gradient[lane][places > places[i]] == 0).all()
                assert (gradient[1 - lane] == 0).all()
                before = gradient[lane][places < places[i]]
                assert (before != 0).all()


def test_layers_narrower_than_the_input_leave_no_predecessor_unseen(point_problem):
    made = MADEConfig(hidden=(24, 16)).build(sized(point_problem(), 30, 10))
    x = torch.randn(1, 64, 40, generator=torch.Generator().manual_seed(1)).requires_grad_()
    gradient = torch.autograd.grad(made.log_conditionals(x)[:, 0, :, 39].sum(), x)[0].abs().sum((0, 1))
    assert (gradient[:36] > 0).all()  # the last three fall between the places of two units


def test_made_stays_autoregressive_through_a_fit(point_problem):
    problem = point_problem(seeds=(0, 1))
    made = MADEConfig(hidden=(16,), fit=FitConfig(steps=50, weight_decay=0.1, averaging=0.9)).build(problem)
    before = [weight.detach().clone() for weight in made.parameters()]
    made.fit(problem, demonstration_replay(problem, Standardiser.from_demonstrations(problem)))
    assert all((old != new).any() for old, new in zip(before, made.parameters(), strict=True))
    x = torch.randn(2, 16, 4).requires_grad_()
    for i in range(4):
        gradient = torch.autograd.grad(made.log_conditionals(x)[:, 0, :, i].sum(), x)[0].abs().sum((0, 1))
        assert (gradient[i + 1 :] == 0).all()
        assert (gradient[: i + 1] > 0).all()


@pytest.mark.parametrize(
    "config", [MADEConfig((0.1,), hidden=(32,)), MADEConfig((0.1,), hidden=(32,), components=3, orderings=2)]
)
def test_made_integrates_to_one_on_a_grid(point_problem, config):
    made = config.build(sized(point_problem(), 1, 1))
    edges = torch.linspace(-25, 25, 2001)
    grid = torch.cartesian_prod(edges, edges)
    with torch.no_grad():
        log_density = torch.cat([made.log_density_of(part[None])[0] for part in grid.split(500_000)])
    cell = (edges[1] - edges[0]).item() ** 2
    assert log_density.double().exp().sum().item() * cell == pytest.approx(1, abs=1e-3)


@pytest.mark.learning
def test_made_reaches_the_analytic_likelihood_of_a_gaussian(point_problem):
    problem = sized(point_problem(), 3, 2)
    generator = torch.Generator().manual_seed(1)
    mixing = torch.eye(5) + 0.5 * torch.randn(5, 5, generator=generator).tril(-1)
    x = torch.randn(1, 20_000, 5, generator=generator) @ mixing.T
    settings = FitConfig(steps=1500, batch_size=512, learning_rate=3e-3, weight_decay=0.0)
    made = MADEConfig((QUIET,), settings, hidden=(64, 64)).build(problem)
    made.fit(problem, as_replay(x, 3))
    fresh = torch.randn(1, 20_000, 5, generator=generator) @ mixing.T
    analytic = torch.distributions.MultivariateNormal(torch.zeros(5), mixing @ mixing.T).log_prob(fresh[0]).mean()
    assert made.log_density_of(fresh).mean().item() == pytest.approx(analytic.item(), rel=0.01)


@pytest.mark.learning
@pytest.mark.parametrize("objective", ["denoising", "sliced"])
def test_score_matching_recovers_the_score_of_a_gaussian_in_ten_dimensions(point_problem, objective):
    """The smoothed density is N(0, C + sigma^2 I), whose score is linear."""
    problem = sized(point_problem(), 8, 2)
    generator = torch.Generator().manual_seed(0)
    mixing = torch.eye(10) + 0.3 * torch.randn(10, 10, generator=generator).tril(-1)
    x = torch.randn(1, 100_000, 10, generator=generator) @ mixing.T
    rows = 128 if objective == "denoising" else 192
    settings = FitConfig(2500, rows, learning_rate=2e-3, weight_decay=0.0, held_out=0.0, averaging=0.999)
    ebm = EBMConfig((0.1,), fit=settings, hidden=(128, 128), objective=objective).build(problem)
    ebm.fit(problem, as_replay(x, 8))
    covariance = mixing @ mixing.T + 0.1**2 * torch.eye(10)
    points = torch.randn(1, 4000, 10, generator=generator) @ torch.linalg.cholesky(covariance).T
    exact = -points @ torch.linalg.inv(covariance)
    error = (ebm.score(points).detach() - exact).square().sum() / exact.square().sum()
    assert error < 0.05**2
    assert ebm.on_demonstrations(as_replay(x, 8)).mean().abs() < 1e-3  # anchored


def test_sliced_loss_of_the_exact_gaussian_energy(point_problem):
    """For log q = -|x|^2 / 2 and x ~ N(0, I), the expected loss is -D / 2."""
    problem = sized(point_problem(), 6, 4)
    ebm = EBMConfig((1e-6,), objective="sliced", prior=1.0, hidden=(8,)).build(problem)
    with torch.no_grad():
        for parameter in ebm.energy.parameters():
            parameter.zero_()
    x = torch.randn(1, 100_000, 10, generator=torch.Generator().manual_seed(0))
    assert ebm.loss_of(x, problem.streams("noise")).mean().item() == pytest.approx(-5, rel=0.01)


def test_denoising_loss_of_a_gaussian_energy(point_problem):
    """For log q = -b |x|^2 / 2 the loss at x is (s^2 b^2 |x|^2 + D (1 - b s^2)^2) / 2, from E over x + s noise."""
    problem = sized(point_problem(), 6, 4)
    ebm = EBMConfig((0.5,), prior=2.0, hidden=(8,)).build(problem)
    with torch.no_grad():
        for parameter in ebm.energy.parameters():
            parameter.zero_()
    x = torch.full((1, 100_000, 10), 0.3)
    wanted = (0.5**2 * 2.0**2 * 10 * 0.3**2 + 10 * (1 - 2.0 * 0.5**2) ** 2) / 2
    assert ebm.loss_of(x, problem.streams("noise")).mean().item() == pytest.approx(wanted, rel=0.01)


@pytest.mark.parametrize("objective", ["denoising", "sliced"])
def test_constant_dimensions_have_no_part_in_the_energys_loss(point_problem, objective):
    """With two levels of noise, dimensions that had some would tell the network which one it was."""

    def loss(size, kept):
        problem = sized(point_problem(), size - 4, 4)
        ebm = EBMConfig((0.1, 0.3), objective=objective, prior=2.0, hidden=(8,)).build(problem)
        ebm.kept.copy_(kept)
        with torch.no_grad():
            for parameter in ebm.energy.parameters():
                parameter.zero_()
        x = 0.3 * kept.expand(1, 50_000, size)
        noise, _ = ebm.smoothing(x, problem.streams("noise"))
        assert not noise[kept.expand_as(noise) == 0].any()
        return ebm.loss_of(x, problem.streams("noise")).mean().item()

    wide = torch.zeros(1, 1, 80)
    wide[..., :10] = 1
    assert loss(80, wide) == pytest.approx(loss(10, torch.ones(1, 1, 10)), rel=0.02)


def test_kernel_score_is_the_gradient_of_the_mixture_kernel():
    offset = torch.randn(7, 4, dtype=torch.float64, requires_grad=True)
    levels = (0.2, 1.0)
    kernels = [
        torch.distributions.Independent(torch.distributions.Normal(torch.zeros(4).double(), s), 1) for s in levels
    ]
    log_density = torch.stack([kernel.log_prob(offset) for kernel in kernels]).logsumexp(0) - math.log(2)
    (gradient,) = torch.autograd.grad(log_density.sum(), offset)
    torch.testing.assert_close(
        kernel_score(offset.detach(), levels, torch.tensor(4.0)), gradient, check_dtype=False, atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("config", [MADEConfig(hidden=(16,)), EBMConfig(hidden=(16,)), KDEConfig()])
def test_constant_dimensions_change_nothing(point_problem, config):
    problem = sized(point_problem(), 3, 1)
    x = torch.randn(1, 200, 4, generator=torch.Generator().manual_seed(0))
    x[..., 1] = 0.0
    small = replace(config, fit=FitConfig(steps=20))
    density = small.build(problem)
    density.fit(problem, as_replay(x, 3))
    moved = x.clone()
    moved[..., 1] = 7.0
    value = lambda rows: density.log_density(rows[..., :3], rows[..., 3:])  # noqa: E731
    assert density.kept[0, 0].tolist() == [1, 0, 1, 1]
    torch.testing.assert_close(value(x), value(moved))


@pytest.mark.parametrize("config", [MADEConfig(hidden=(16,)), KDEConfig(noise=(0.1, 0.3))])
def test_without_its_constant_dimensions_a_density_still_integrates_to_one(point_problem, config):
    """The constant dimension comes second, so that its conditional would hang on the first."""
    problem = sized(point_problem(), 1, 1)
    x = torch.randn(1, 200, 2, generator=torch.Generator().manual_seed(0))
    x[..., 1] = 0.0
    density = replace(config, fit=FitConfig(steps=200)).build(problem)
    density.fit(problem, as_replay(x, 1))
    grid = torch.linspace(-30, 30, 60_001).view(1, -1, 1)
    with torch.no_grad():
        mass = density.log_density(grid, torch.zeros_like(grid)).exp().sum() * 60 / 60_000
    assert mass.item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("config", [MADEConfig(hidden=(16,)), EBMConfig(hidden=(16,)), KDEConfig()])
def test_fitting_a_lane_does_not_depend_on_its_company(point_problem, config):
    small = replace(config, fit=FitConfig(steps=60, check_every=10, patience=2, refit=True))
    fitted = []
    for seeds in ((0, 1), (1,)):
        problem = point_problem(seeds=seeds)
        density = small.build(problem)
        density.fit(problem, demonstration_replay(problem, Standardiser.from_demonstrations(problem)))
        fitted.append(density)
    x = torch.randn(1, 50, 4)
    with torch.no_grad():
        torch.testing.assert_close(
            fitted[0].log_density_of(x.repeat(2, 1, 1))[1], fitted[1].log_density_of(x)[0], atol=1e-3, rtol=1e-3
        )


@pytest.mark.parametrize("kind", [MADEConfig, EBMConfig, KDEConfig])
def test_densities_are_saved_and_restored(point_problem, tmp_path, kind):
    problem = point_problem()
    demonstrations = demonstration_replay(problem, Standardiser.from_demonstrations(problem))
    config = replace(kind(), fit=FitConfig(steps=20))
    density, other = config.build(problem), config.build(problem)
    density.fit(problem, demonstrations)
    assert not torch.equal(density.on_demonstrations(demonstrations), other.on_demonstrations(demonstrations))
    torch.save(density.state_dict(), tmp_path / "density.pt")
    other.load_state_dict(torch.load(tmp_path / "density.pt", weights_only=True))
    assert torch.equal(density.on_demonstrations(demonstrations), other.on_demonstrations(demonstrations))


def test_held_out_blocks_are_contiguous_and_of_the_right_size():
    held_out = held_out_rows(torch.tensor([1000, 400]), 0.1, Streams((0, 1), "split"))
    for lane, size in enumerate((1000, 400)):
        rows = held_out[lane].int()
        assert abs(rows.sum().item() - size / 10) <= 5
        assert (rows.diff() == 1).sum() + rows[0] == 5  # five blocks begin
        assert rows[size:].sum() == 0


def test_averaged_weights_are_kept_and_training_goes_on_from_its_own(point_problem):
    """Against a plain loop: the raw weights follow AdamW, the kept ones their running average."""
    problem = point_problem()
    demonstrations = demonstration_replay(problem, Standardiser.from_demonstrations(problem))
    module, twin = torch.nn.ParameterList([torch.zeros(1, 2)]), torch.nn.Parameter(torch.zeros(1, 2))
    loss = lambda weights: (weights - torch.tensor([1.0, -2.0])).square()  # noqa: E731
    settings = FitConfig(steps=30, learning_rate=0.1, check_every=7, held_out=0.0, averaging=0.5)
    rows = lambda batch, streams: loss(module[0]).sum() * torch.ones_like(batch.masks)  # noqa: E731
    list(fit(problem, module, rows, demonstrations, settings, "test"))
    optimiser = torch.optim.AdamW([twin], 0.1, weight_decay=settings.weight_decay)
    average = torch.zeros(1, 2)
    for step in range(1, 31):
        optimiser.zero_grad()
        loss(twin).sum().backward()
        optimiser.step()
        average = average + max(0.5, 9 / (step + 9)) * (twin.detach() - average)
    torch.testing.assert_close(module[0].detach(), average)
    assert (module[0] - twin).abs().max() > 1e-3


@pytest.mark.parametrize("levels", [(0.3,), (0.1, 0.5)])
def test_kde_agrees_with_scipy(point_problem, levels):
    problem = sized(point_problem(seeds=(0, 1)), 2, 1)
    generator = torch.Generator().manual_seed(0)
    data = as_replay(torch.randn(2, 60, 3, generator=generator), 2)
    data.added[1] = 40  # the second lane has fewer rows
    kde = KDEConfig(levels).build(problem)
    assert kde.fit(problem, data) == []
    x = 2 * torch.randn(2, 50, 3, generator=generator)
    for lane, size in enumerate((60, 40)):
        rows = data.rows[lane, :size, :3].double()
        spread = np.linalg.cholesky(np.cov(rows.T.numpy()))  # scipy scales its kernel by the sample covariance
        whitened = np.linalg.solve(spread, rows.T.numpy())
        kernels = [scipy.stats.gaussian_kde(whitened, bw_method=level) for level in levels]
        wanted = np.log(np.mean([kernel(x[lane].double().T.numpy()) for kernel in kernels], axis=0))
        data.rows[lane, :size, :3] = torch.tensor(whitened.T)
        kde.fit(problem, data)
        np.testing.assert_allclose(kde.log_density_of(x)[lane].numpy(), wanted, rtol=2e-4, atol=2e-4)


def test_kde_thins_a_long_demonstration_evenly(point_problem):
    problem = sized(point_problem(), 1, 1)
    x = torch.arange(100.0).repeat(2, 1).T[None]
    kde = KDEConfig(most_centres=10).build(problem)
    kde.fit(problem, as_replay(x, 1))
    assert kde.centres[0, :, 0].tolist() == [10.0 * k for k in range(10)]
