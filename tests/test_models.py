"""The networks: formulas by hand, and known coefficients and interactions recovered."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
import torch

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.fields import FieldEncoder, FieldSettings
from bidpilot.ctr.log import AuctionLog
from bidpilot.ctr.loop import scores
from bidpilot.ctr.metrics import auc
from bidpilot.ctr.models import autoint, dcnv2, deepfm, finalmlp, fm, ftrl, fwfm, gdcn, logistic, trees, widedeep

if TYPE_CHECKING:
    from bidpilot.ctr.network import Network
    from bidpilot.ctr.training import Predictor

CLOCKLESS = FieldSettings(hour=False)
N = 18_000
TRAIN, VALID, TEST = slice(0, 10_000), slice(10_000, 12_000), slice(12_000, N)
QUICK: dict[str, Any] = {"fields": CLOCKLESS, "epochs": 12}

CONFIGS: dict[str, Any] = {
    "logistic": logistic.Config(**QUICK),
    "fm": fm.Config(**QUICK),
    "fwfm": fwfm.Config(**QUICK),
    "deepfm": deepfm.Config(**QUICK),
    "widedeep": widedeep.Config(**QUICK),
    "dcnv2": dcnv2.Config(**QUICK),
    "dcnv2 stacked, full": dcnv2.Config(**QUICK, stacked=True, rank=0),
    "gdcn": gdcn.Config(**QUICK),
    "autoint": autoint.Config(**QUICK),
    "autoint alone": autoint.Config(**QUICK, hidden=()),
    "finalmlp": finalmlp.Config(**QUICK),
    "finalmlp, contexts": finalmlp.Config(**QUICK, contexts_1=("a",), contexts_2=("b",)),
    "ftrl": ftrl.Config(**QUICK),
    "trees": trees.Config(fields=CLOCKLESS, epochs=60, learning_rate=0.2, patience=5),
}
NETWORKS = [name for name in CONFIGS if name not in ("ftrl", "trees")]
ADDITIVE = ("logistic", "ftrl")
"""Models without interactions."""


def crossed(rng: np.random.Generator) -> tuple[AuctionLog, np.ndarray]:
    """Draw clicks from a law that is nothing but an interaction: a x b decides, each alone says nothing."""
    a, b = rng.integers(0, 2, (2, N))
    p = np.where(a == b, 0.3, 0.05)
    columns = {"time": np.arange(N) * 1.0, "click": (rng.random(N) < p).astype(np.int8), "a": a.astype(str)}
    return AuctionLog.from_columns(columns | {"b": b.astype(str)}, categorical=("a", "b")), p


def mixed(rng: np.random.Generator, rows: int = 2_000) -> AuctionLog:
    """Draw a log with every kind of field: ids few and many, several values in a cell, numbers with gaps."""
    tags, a, age = rng.integers(0, 30, (rows, 2)).astype(str), rng.integers(0, 3, rows), rng.exponential(5.0, rows)
    p = np.array([0.1, 0.3, 0.6])[a] + 0.2 * (age > 5.0)
    columns: dict[str, Any] = {"time": np.arange(rows) * 60.0, "click": (rng.random(rows) < p).astype(np.int8)}
    columns |= {"site": rng.integers(0, 400, rows).astype(str), "a": a.astype(str)}
    columns |= {"b": rng.integers(0, 3, rows).astype(str), "age": np.where(rng.random(rows) < 0.1, np.nan, age)}
    columns |= {"tags": [",".join(pair[: 1 + row % 2]) for row, pair in enumerate(tags)]}
    return AuctionLog.from_columns(columns, categorical=("site", "a", "tags", "b"), numeric=("age",), multi=("tags",))


def _network(name: str, seed: int = 7, log: AuctionLog | None = None) -> tuple[Any, FieldEncoder]:
    encoder = FieldEncoder.fit(mixed(np.random.default_rng(2)) if log is None else log)
    return CONFIGS[name].build(encoder, 0.1, torch.Generator().manual_seed(seed)), encoder


def _shaken(net: Network) -> Network:
    """Draw every weight, so that no part of a formula is silent."""
    noise = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=noise))
    return net


def _vectors(fields: int = 4, k: int = 16, rows: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    noise = torch.Generator().manual_seed(3)
    return torch.randn(rows, fields, k, generator=noise), torch.randn(rows, generator=noise)


def _bytes(predictor: Predictor) -> bytes:
    return b"".join(array.tobytes() for array in predictor.tensors().values())


# --- what holds for every model -----------------------------------------------------------------------------------


class Trial(NamedTuple):
    """One model on the held-out rows of `crossed`."""

    name: str
    label: np.ndarray
    predicted: np.ndarray
    truth: np.ndarray


@pytest.fixture(scope="module", params=list(CONFIGS))
def tested(request: pytest.FixtureRequest) -> Trial:
    """Fit a model to `crossed`, once for all tests."""
    log, truth = crossed(np.random.default_rng(0))
    predictor, _ = CONFIGS[request.param].fit(log.rows(TRAIN), log.rows(VALID), "click", np.random.default_rng(5))
    test = log.rows(TEST)
    return Trial(request.param, test.frame["click"].to_numpy(), predictor.predict(test), truth[TEST])


def test_finds_an_interaction_unless_it_has_none(tested: Trial) -> None:
    reached = auc(tested.label, tested.predicted)
    if tested.name in ADDITIVE:
        assert reached < 0.56
    else:
        assert reached > auc(tested.label, tested.truth) - 0.03
        np.testing.assert_allclose(tested.predicted, tested.truth, atol=0.05)


def test_never_beats_the_truth_beyond_noise(tested: Trial) -> None:
    """By the log loss of held-out rows, in standard errors of the paired difference."""
    loss, best = (-np.log(np.where(tested.label, p, 1.0 - p)) for p in (tested.predicted, tested.truth))
    excess = loss - best
    assert excess.mean() > -3.0 * excess.std() / np.sqrt(len(excess))


@pytest.mark.parametrize("name", CONFIGS)
def test_reads_every_kind_of_field_and_is_the_same_after_saving(name: str) -> None:
    log = mixed(np.random.default_rng(11))
    config = replace(CONFIGS[name], epochs=2)
    early, late = log.rows(slice(0, 1_500)), log.rows(slice(1_500, 2_000))
    fitted, curve = config.fit(early, late, "click", np.random.default_rng(1))
    assert len(curve.train) == len(curve.valid) == 3
    assert np.isfinite([*curve.train, *curve.valid]).all()
    predicted = fitted.predict(log)
    assert ((predicted > 0.0) & (predicted < 1.0)).all()
    assert auc(log.frame["click"].to_numpy(), predicted) > 0.65
    again = config.restore(fitted.settings(), fitted.tensors())
    assert again.predict(log).tobytes() == predicted.tobytes()


@pytest.mark.parametrize("name", CONFIGS)
def test_the_same_seed_is_the_same_fit_and_another_is_not(name: str) -> None:
    log = mixed(np.random.default_rng(12))
    config = replace(CONFIGS[name], epochs=3)
    fits = [config.refit(log, "click", 2, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert _bytes(fits[0]) == _bytes(fits[1])
    assert _bytes(fits[0]) != _bytes(fits[2])


@pytest.mark.parametrize("name", ["logistic", "ftrl", "trees"])
def test_rows_of_weight_0_teach_nothing(name: str) -> None:
    """Half of the rows, of weight 0, say the opposite of the others: those alone are believed."""
    rng = np.random.default_rng(13)
    site, lie = rng.integers(0, 2, 6_000), rng.random(6_000) < 0.5
    click = rng.random(6_000) < np.where(lie == site, 0.1, 0.5)
    columns = {"time": np.arange(6_000) * 1.0, "click": click.astype(np.int8), "a": site.astype(str)}
    log = AuctionLog.from_columns(columns | {"b": ["x"] * 6_000}, categorical=("a", "b"))
    weight = np.where(lie, 0.0, 2.0)
    config = replace(CONFIGS[name], epochs=12)
    fitted, _ = config.fit(log.rows(slice(0, 4_500)), log.rows(slice(4_500, 6_000)), "click", rng, weight)
    for model in (fitted, config.refit(log, "click", config.epochs, rng, weight)):
        p = model.predict(log)
        assert p[site == 1].mean() - p[site == 0].mean() > 0.2, "site 1 is clicked at 0.5, site 0 at 0.1"


# --- networks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_an_untrained_network_predicts_the_base_rate_and_the_same_seed_is_the_same_network(name: str) -> None:
    log = mixed(np.random.default_rng(2))
    outputs = []
    for _ in range(2):
        net, encoder = _network(name)
        outputs.append(scores(net, encoder.transform(log.rows(slice(0, 50)))))
    assert torch.equal(outputs[0], outputs[1])
    np.testing.assert_allclose(torch.sigmoid(outputs[0]).numpy(), 0.1, atol=0.02)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_weight_is_learned_or_has_a_prior(name: str) -> None:
    net, encoder = _network(name)
    _shaken(net)
    e, first = net.table(_batch(encoder))
    (net(e, first).sum() + net.penalty() + net.table.penalty()).backward()
    still = [path for path, weight in net.named_parameters() if weight.grad is None or not weight.grad.abs().sum()]
    assert still == []


@pytest.mark.parametrize("name", NETWORKS)
def test_the_prior_pulls_what_was_shaken_back(name: str) -> None:
    """Minus the log prior is lower at its mean, where the network starts from or 0, than away from it."""
    net, _ = _network(name)
    shaken = _shaken(_network(name)[0])
    assert net.penalty() >= 0.0
    if name not in ("logistic", "fm"):
        assert shaken.penalty() > net.penalty()


def _batch(encoder: FieldEncoder) -> Any:  # noqa: ANN401
    from bidpilot.ctr.embedding import Batch

    return Batch.of(encoder.transform(mixed(np.random.default_rng(2)).rows(slice(0, 20))))


def test_logistic_recovers_known_coefficients() -> None:
    rng = np.random.default_rng(1)
    site = rng.integers(0, 4, N)
    weight = np.array([-1.0, -0.3, 0.3, 1.0])
    p = 1 / (1 + np.exp(2.0 - weight[site]))
    columns = {"time": np.arange(N) * 1.0, "click": (rng.random(N) < p).astype(np.int8), "site": site.astype(str)}
    log = AuctionLog.from_columns(columns, categorical=("site",))
    config = logistic.Config(epochs=20, fields=CLOCKLESS)
    fitted, _ = config.fit(log.rows(slice(0, 14_000)), log.rows(slice(14_000, N)), "click", rng)
    probe = AuctionLog.from_columns({"time": np.arange(4.0), "site": ["0", "1", "2", "3"]}, categorical=("site",))
    odds = fitted.predict(probe)
    np.testing.assert_allclose(np.log(odds / (1 - odds)), weight - 2.0, atol=0.2)


@pytest.mark.parametrize("name", ["fm", "deepfm"])
def test_factorisation_is_the_sum_over_pairs(name: str) -> None:
    """With the deep part silent: bias + weights + sum over i < j of <e_i, e_j>."""
    log, _ = crossed(np.random.default_rng(3))
    net, encoder = _network(name, 8, log)
    with torch.no_grad():
        net.table.weight[:, 0].normal_(generator=torch.Generator().manual_seed(9))
    fields = encoder.transform(log.rows(slice(0, 5)))
    for place, row in enumerate(fields.ids):
        e = [net.table.weight[i, 1:] for i in row]
        pairs = sum(e[i] @ e[j] for i in range(len(e)) for j in range(i + 1, len(e)))
        expected = net.bias + net.table.weight[row, 0].sum() + pairs
        got = scores(net, fields.rows(slice(place, place + 1)))
        torch.testing.assert_close(got[0], expected)


def test_fwfm_with_all_pairs_alike_is_fm_and_a_weight_scales_its_pair_alone() -> None:
    net, encoder = _network("fwfm")
    e, first = _vectors(net.table.fields)
    plain = fm.Config().build(encoder, 0.1, torch.Generator())
    torch.testing.assert_close(net(e, first), plain(e, first), rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        net.strength[1, 3] = 3.0
    torch.testing.assert_close(net(e, first), plain(e, first) + 2.0 * (e[:, 1] * e[:, 3]).sum(1), rtol=1e-4, atol=1e-4)


def test_wide_and_deep_without_its_deep_part_is_a_regression() -> None:
    net, _ = _network("widedeep")
    e, first = _vectors(net.table.fields)
    torch.testing.assert_close(net(e, first), net.bias + first)
    with torch.no_grad():
        net.deep.layers[-1].weight.fill_(0.1)
    torch.testing.assert_close(net(e, first), net.bias + first + 0.1 * net.deep.below(e.flatten(1)).sum(1))


def test_a_cross_layer_by_hand() -> None:
    layer = dcnv2.Cross(2, 0, torch.Generator())
    with torch.no_grad():
        for weight, value in zip(layer.mix.parameters(), ([[1.0, 2.0], [0.0, -1.0]], [0.5, 0.0]), strict=True):
            weight.copy_(torch.tensor(value))
    x0, x = torch.tensor([[2.0, 3.0]]), torch.tensor([[1.0, -1.0]])
    torch.testing.assert_close(layer(x0, x), torch.tensor([[2.0 * (1.0 - 2.0 + 0.5) + 1.0, 3.0 * 1.0 - 1.0]]))


def test_a_cross_layer_of_low_rank_is_one_with_that_matrix() -> None:
    thin, full = dcnv2.Cross(8, 2, torch.Generator().manual_seed(1)), dcnv2.Cross(8, 0, torch.Generator())
    (narrow, wide, _), (matrix, _) = thin.mix.parameters(), full.mix.parameters()
    with torch.no_grad():
        matrix.copy_(wide @ narrow)
    assert torch.linalg.matrix_rank(matrix) == 2
    x0, x = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(thin(x0, x), full(x0, x))


def test_open_gates_leave_the_crosses_of_dcn_and_shut_ones_none() -> None:
    gated, plain = gdcn.GatedCross(6, 0, torch.Generator().manual_seed(1)), dcnv2.Cross(6, 0, torch.Generator())
    plain.mix.load_state_dict(gated.mix.state_dict())
    x0, x = torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(2))
    for bias, expected in ((100.0, plain(x0, x)), (-100.0, x)):
        torch.nn.init.constant_(gated.gate.bias, bias)
        torch.testing.assert_close(gated(x0, x), expected)
    torch.nn.init.zeros_(gated.gate.weight)
    torch.nn.init.zeros_(gated.gate.bias)
    torch.testing.assert_close(gated(x0, x), 0.5 * (plain(x0, x) + x))


def test_attention_shares_sum_to_1_and_follow_likeness() -> None:
    layer, (e, _) = autoint.Attention(16, 2, 8, torch.Generator().manual_seed(1)), _vectors()
    share = layer.attention(e)
    assert share.shape == (5, 2, 4, 4)
    torch.testing.assert_close(share.sum(3), torch.ones(5, 2, 4))
    query, key = (e[0] @ layer.project[name][:, 8:] for name in ("query", "key"))
    torch.testing.assert_close(share[0, 1, 2], torch.softmax(key @ query[2], 0))


def test_attention_by_hand_and_alike_for_all_orders_of_fields() -> None:
    layer, (e, _) = autoint.Attention(16, 2, 8, torch.Generator().manual_seed(1)), _vectors()
    out = layer(e)
    share, value = layer.attention(e), e @ layer.project["value"]
    heads = [share[:, head] @ value[:, :, 8 * head : 8 * head + 8] for head in range(2)]
    expected = torch.relu(torch.cat(heads, dim=2) + e @ layer.project["residual"])
    torch.testing.assert_close(out, expected)
    order = [2, 0, 3, 1]
    torch.testing.assert_close(layer(e[:, order]), out[:, order])


def test_fusion_by_hand() -> None:
    """Heads (1, 2) and (3, 4): 1 x 5 x 2 + 2 x 6 x 3 with diagonal weights, and a term across in the second head."""
    fusion = finalmlp.Fusion(4, 2)
    with torch.no_grad():
        fusion.weight[0] = torch.diag(torch.tensor([2.0, 3.0]))
        fusion.weight[1, 0, 1] = 10.0
    o1, o2 = torch.tensor([[1.0, 2.0, 3.0, 4.0]]), torch.tensor([[5.0, 6.0, 7.0, 8.0]])
    torch.testing.assert_close(fusion(o1, o2), torch.tensor([[10.0 + 36.0 + 3.0 * 8.0 * 10.0]]))


def test_gates_start_open_and_heed_their_context_alone() -> None:
    net, encoder = _network("finalmlp, contexts")
    assert [stream.gate.places for stream in (net.one, net.two)] == [[1], [2]]
    assert list(encoder.vocabularies)[1:3] == ["a", "b"]
    gate, (e, _) = net.one.gate, _vectors(net.table.fields)
    torch.testing.assert_close(gate(e), e.flatten(1))
    torch.nn.init.normal_(gate.net.layers[-1].weight, generator=torch.Generator().manual_seed(1))
    ratio = (gate(e) / e.flatten(1)).detach()
    assert ratio.std() > 0.1
    other = e.clone()
    other[:, 0], other[:, 2:] = e[:, 2], 2.0 * e[:, 2:]
    torch.testing.assert_close(gate(other) / other.flatten(1), ratio)


def test_settings_that_cannot_be_are_named() -> None:
    with pytest.raises(InputError, match="heads must divide the last of hidden; got 5"):
        finalmlp.Config(heads=5)
    with pytest.raises(InputError, match="unknown field of the context 'c'; known: a, b"):
        finalmlp.Config(contexts_1=("c",)).build(
            FieldEncoder.fit(crossed(np.random.default_rng(0))[0], CLOCKLESS), 0.1, torch.Generator()
        )
    with pytest.raises(InputError, match="layers must be at least 1; got 0"):
        autoint.Config(layers=0)
