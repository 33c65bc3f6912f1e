"""swepo_loss and sequence_logps against their formulas, their limits, their gradients and bad input."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optional import lazily, needs

torch = lazily("torch")
sequence_logps = lazily("setwise.preference.logps", "sequence_logps")
swepo_loss = lazily("setwise.preference.loss", "swepo_loss")
mean_split = lazily("setwise.preference.loss", "mean_split")
one_vs_k = lazily("setwise.preference.loss", "one_vs_k")
scores = lazily("setwise.preference.loss", "scores")

pytestmark = needs("torch")


def written_out(logps, rewards, positive, mask, *, lengths=None, alpha=0.0, beta=1.0, gamma=1.0):
    """AMPO Eq. 4 term by term in float64, each group for itself."""
    losses = []
    for row in range(len(logps)):
        chosen = [i for i in range(len(logps[row])) if mask[row][i]]
        average = sum(rewards[row][i] for i in chosen) / len(chosen)
        s = {}
        for i in chosen:
            value = logps[row][i] / (lengths[row][i] if lengths is not None else 1)
            s[i] = beta * value + alpha * (rewards[row][i] - average)
        top = max(s.values())
        good = sum(math.exp(s[i] - top) for i in chosen if positive[row][i])
        bad = sum(math.exp(s[i] - top) for i in chosen if not positive[row][i])
        losses.append(-math.log(good / (good + gamma * bad)))
    return losses


def groups(seed, rows=5, most=6):
    """Ragged groups with at least one positive and one negative each."""
    rng = np.random.default_rng(seed)
    logps = rng.normal(-20, 4, (rows, most))
    rewards = rng.random((rows, most))
    lengths = rng.integers(1, 30, (rows, most))
    mask = np.arange(most) < rng.integers(2, most + 1, (rows, 1))
    positive = rng.random((rows, most)) < 0.4
    positive[:, 0], positive[:, 1] = True, False
    return [torch.tensor(each) for each in (logps, rewards, positive, mask, lengths)]


OPTIONS = {
    "plain": {},
    "rewards": {"alpha": 2.5},
    "as in the experiments": {"beta": 5.0, "gamma": 3.0, "length_normalized": True},
    "all": {"alpha": 1.5, "beta": 0.3, "gamma": 0.5, "length_normalized": True},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_equals_the_formula_written_out(options):
    for seed in range(20):
        logps, rewards, positive, mask, lengths = groups(seed)
        got = swepo_loss(logps, rewards, positive, mask=mask, lengths=lengths, reduction="none", **options)
        plain = dict(options)
        kept = lengths.tolist() if plain.pop("length_normalized", False) else None
        expected = written_out(
            logps.tolist(), rewards.tolist(), positive.tolist(), mask.tolist(), lengths=kept, **plain
        )
        np.testing.assert_allclose(got.numpy(), expected, rtol=1e-9, atol=1e-12)


def test_reductions():
    logps, rewards, positive, mask, _ = groups(1)
    each = swepo_loss(logps, rewards, positive, mask=mask, reduction="none")
    assert each.shape == (5,)
    assert torch.equal(swepo_loss(logps, rewards, positive, mask=mask, reduction="sum"), each.sum())
    assert torch.equal(swepo_loss(logps, rewards, positive, mask=mask), each.mean())


def test_a_pair_is_the_logistic_loss_of_the_difference():
    logps = torch.tensor([[-3.0, -5.5], [-8.0, -2.0]], dtype=torch.float64)
    positive = torch.tensor([[True, False], [True, False]])
    got = swepo_loss(logps, None, positive, reduction="none")
    expected = -torch.nn.functional.logsigmoid(logps[:, 0] - logps[:, 1])
    torch.testing.assert_close(got, expected, rtol=1e-14, atol=0)


def test_one_positive_is_infonce():
    logps = torch.randn(7, 9, dtype=torch.float64)
    positive = torch.zeros(7, 9, dtype=torch.bool)
    positive[torch.arange(7), torch.arange(7)] = True
    expected = torch.nn.functional.cross_entropy(logps, torch.arange(7), reduction="none")
    torch.testing.assert_close(swepo_loss(logps, None, positive, reduction="none"), expected)


def test_gamma_counts_negatives_more_than_once():
    logps = torch.tensor([[-1.0, -2.0, -3.0]], dtype=torch.float64)
    tripled = torch.tensor([[-1.0, *[-2.0] * 3, *[-3.0] * 3]], dtype=torch.float64)
    first = torch.tensor([[True] + [False] * 6])
    torch.testing.assert_close(
        swepo_loss(logps, None, first[:, :3], gamma=3.0), swepo_loss(tripled, None, first)
    )


@given(st.integers(0, 10_000), st.sampled_from(list(OPTIONS)))
def test_the_order_of_responses_does_not_matter(seed, name):
    logps, rewards, positive, mask, lengths = groups(seed)
    order = torch.randperm(logps.shape[1], generator=torch.Generator().manual_seed(seed))
    one = swepo_loss(logps, rewards, positive, mask=mask, lengths=lengths, **OPTIONS[name])
    other = swepo_loss(
        logps[:, order],
        rewards[:, order],
        positive[:, order],
        mask=mask[:, order],
        lengths=lengths[:, order],
        **OPTIONS[name],
    )
    torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


@given(st.integers(0, 10_000), st.floats(-1e3, 1e3))
def test_a_shift_of_all_rewards_or_all_scores_changes_nothing(seed, shift):
    logps, rewards, positive, mask, _ = groups(seed)
    plain = swepo_loss(logps, rewards, positive, mask=mask, alpha=2.0)
    moved = swepo_loss(logps + shift, rewards + shift, positive, mask=mask, alpha=2.0)
    torch.testing.assert_close(plain, moved, rtol=1e-7, atol=1e-9)


def test_what_the_mask_hides_is_not_looked_at_and_gets_no_gradient():
    logps, rewards, positive, mask, lengths = groups(3)
    options = {"alpha": 1.0, "length_normalized": True}
    plain = swepo_loss(logps, rewards, positive, mask=mask, lengths=lengths, **options)
    for rubbish in (math.nan, math.inf, -math.inf, 0.0):
        dirty = torch.where(mask, logps, rubbish).requires_grad_()
        loss = swepo_loss(
            dirty,
            torch.where(mask, rewards, rubbish),
            positive,
            mask=mask,
            lengths=torch.where(mask, lengths, 0),
            **options,
        )
        loss.backward()
        assert torch.equal(loss, plain)
        assert torch.isfinite(dirty.grad).all()
        assert (dirty.grad[~mask] == 0).all()
        assert (dirty.grad[mask] != 0).all()


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_gradients(options):
    logps, rewards, positive, mask, lengths = groups(4)

    def loss(values):
        return swepo_loss(values, rewards, positive, mask=mask, lengths=lengths, reduction="none", **options)

    assert torch.autograd.gradcheck(loss, (logps.requires_grad_(),))


def test_gradient_of_the_end_regularizer():
    logps, rewards, positive, mask, _ = groups(5)
    ends = torch.where(torch.rand(logps.shape) < 0.3, math.nan, -torch.rand(logps.shape).double())
    ends[0] = math.nan  # no response of this group has an end
    present = ends[~ends.isnan()].requires_grad_()
    places = (~ends.isnan()).nonzero(as_tuple=True)

    def loss(values, known):
        filled = ends.index_put(places, known)
        return swepo_loss(
            values, rewards, positive, mask=mask, eos_regularizer=0.7, eos_logps=filled, reduction="none"
        )

    assert torch.autograd.gradcheck(loss, (logps.requires_grad_(), present))
    plain = swepo_loss(logps, rewards, positive, mask=mask, reduction="none")
    extras = (loss(logps, present) - plain).tolist()
    for row in range(5):
        known = [
            math.exp(v) for v, m in zip(ends[row].tolist(), mask[row].tolist(), strict=True) if m and v == v
        ]
        extra = 0.7 * sum(known) / len(known) if known else 0.0
        assert extras[row] == pytest.approx(extra, abs=1e-12)


def test_extreme_scores_stay_finite_and_exact():
    positive = torch.tensor([[True, False]])
    for gap in (50.0, 1e3, 1e4):
        right = swepo_loss(torch.tensor([[-1.0, -1.0 - gap]]).double(), None, positive)
        wrong = swepo_loss(torch.tensor([[-1.0 - gap, -1.0]]).double(), None, positive)
        assert float(wrong) == pytest.approx(gap, rel=1e-12)
        assert float(right) == pytest.approx(math.exp(-gap), rel=1e-9)
    low = torch.full((1, 2), -1e30, requires_grad=True)
    loss = swepo_loss(low, None, positive)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(math.log(2))
    assert low.grad.tolist() == [[-0.5, 0.5]]


@pytest.mark.parametrize("narrow", ["bfloat16", "float16"])
def test_narrow_types_are_computed_in_float32(narrow):
    logps, rewards, positive, mask, lengths = groups(6)
    short = logps.to(getattr(torch, narrow))
    got = swepo_loss(short, rewards, positive, mask=mask, lengths=lengths, **OPTIONS["all"])
    wide = swepo_loss(short.float(), rewards, positive, mask=mask, lengths=lengths, **OPTIONS["all"])
    assert got.dtype == torch.float32
    assert torch.equal(got, wide)
    assert float(got) == pytest.approx(
        float(swepo_loss(logps, rewards, positive, mask=mask, lengths=lengths, **OPTIONS["all"])), rel=0.02
    )


def refused(match, *arguments, error=ValueError, **options):
    with pytest.raises(error, match=match):
        swepo_loss(*arguments, **options)


def test_bad_input_is_refused_with_its_place():
    logps, rewards, positive, mask, lengths = groups(7)
    for value in (math.nan, math.inf, -math.inf):
        broken = logps.clone()
        broken[2, 1] = value
        refused("logps: row 2, response 1 is NaN or infinite", broken, rewards, positive, mask=mask)
        broken = rewards.clone()
        broken[3, 0] = value
        refused("rewards: row 3, response 0", logps, broken, positive, mask=mask)
    none = positive.clone()
    none[1] = False
    refused("row 1 has no positive response", logps, rewards, none, mask=mask)
    every = positive.clone()
    every[4] = True
    refused("row 4 has no negative response", logps, rewards, every, mask=mask)
    hidden = mask.clone()
    hidden[0, 0] = False
    alone = torch.zeros_like(positive)
    alone[:, 0] = True
    refused("row 0 has no positive response", logps, rewards, alone, mask=hidden)
    refused("lengths: needed", logps, rewards, positive, mask=mask, length_normalized=True)
    zero = lengths.clone()
    zero[0, 0] = 0
    refused(
        "lengths: row 0, response 0 is below 1",
        logps,
        rewards,
        positive,
        mask=mask,
        length_normalized=True,
        lengths=zero,
    )
    refused("rewards: needed by alpha", logps, None, positive, alpha=1.0)
    refused("rewards: expected shape", logps, rewards[:, :2], positive)
    refused("positive_mask: expected shape", logps, rewards, positive[:3])
    refused("mask: expected shape", logps, rewards, positive, mask=mask[:3])
    refused("logps: expected shape", logps[0], rewards, positive)
    refused("eos_logps: needed", logps, rewards, positive, eos_regularizer=0.1)
    refused("gamma: 0", logps, rewards, positive, gamma=0)
    refused("beta: -1", logps, rewards, positive, beta=-1)
    refused("alpha: nan is not", logps, rewards, positive, alpha=math.nan)
    refused("did you mean 'mean'", logps, rewards, positive, reduction="means")
    refused("expected a torch.Tensor, got list", [[0.0]], None, positive, error=TypeError)
    refused("expected a bool tensor", logps, rewards, positive.long(), error=TypeError)
    refused("mask: expected a bool", logps, rewards, positive, mask=mask.long(), error=TypeError)
    refused("logps: expected a floating", logps.long(), rewards, positive, error=TypeError)


def test_mean_split():
    rewards = torch.tensor([[0.9, 0.1, 0.2, 9.0], [0.5, 0.4, 0.1, 0.2]])
    mask = torch.tensor([[True, True, True, False], [True] * 4])
    assert mean_split(rewards, mask).tolist() == [[True, False, False, False], [True, True, False, False]]


@given(st.floats(1e-6, 1e6), st.integers(1, 40))
def test_equal_rewards_have_no_positive(value, count):
    for dtype in (torch.float32, torch.float64):
        same = torch.full((1, count), value, dtype=dtype)
        assert not mean_split(same).any()
        assert not one_vs_k(same).any()


def test_a_reward_at_the_mean_is_a_negative_in_any_order():
    for order in ([0.1, 0.2, 0.3], [0.3, 0.2, 0.1], [0.2, 0.3, 0.1]):
        chosen = mean_split(torch.tensor([order], dtype=torch.float64))
        assert chosen.tolist() == [[value == 0.3 for value in order]]


def test_one_vs_k():
    rewards = torch.tensor([[0.1, 0.8, 0.8], [0.3, 0.2, 9.0]])
    mask = torch.tensor([[True, True, True], [True, True, False]])
    assert one_vs_k(rewards, mask).tolist() == [[False, True, False], [True, False, False]]
    with pytest.raises(ValueError, match="rewards: row 0, response 1"):
        one_vs_k(torch.tensor([[0.0, math.nan]]))
    with pytest.raises(ValueError, match="rewards: row 0, response 1"):
        mean_split(torch.tensor([[0.0, math.inf]]))


# Log-probabilities of sequences


def sequences(seed=0, dtype="float64", batch=4, length=11, vocabulary=13):
    """Logits, labels with prompt and padding masked, and the token that ends a sequence (0)."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, length, vocabulary, generator=generator, dtype=torch.float64)
    logits = logits.to(getattr(torch, dtype))
    labels = torch.randint(1, vocabulary, (batch, length), generator=generator)
    for row in range(batch):
        labels[row, : 2 + row] = -100
        labels[row, length - row :] = -100
    labels[0, -1] = 0
    labels[2, length - 3] = 0
    return logits, labels


def test_sequence_logps_equals_log_softmax():
    logits, labels = sequences()
    got = sequence_logps(logits, labels, eos_token_id=0)
    table = logits.log_softmax(-1)
    for row in range(4):
        terms = [float(table[row, t - 1, labels[row, t]]) for t in range(1, 11) if labels[row, t] != -100]
        assert float(got.logps[row]) == pytest.approx(sum(terms), rel=1e-12)
        assert int(got.lengths[row]) == len(terms)
        ends = terms[-1] if row in (0, 2) else math.nan
        assert float(got.eos_logps[row]) == pytest.approx(ends, rel=1e-12, nan_ok=True)
    assert sequence_logps(logits, labels).eos_logps is None


def test_sequence_logps_agrees_with_cross_entropy():
    logits, labels = sequences(1)
    loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    got = sequence_logps(logits, labels)
    torch.testing.assert_close(-got.logps.sum() / got.lengths.sum(), loss)


@pytest.mark.parametrize("block", [1, 13, 40, 10_000])
def test_blocks_change_nothing(block):
    logits, labels = sequences(2)
    logits.requires_grad_()
    upstream = torch.arange(1.0, 5.0).double()
    whole = torch.autograd.grad(sequence_logps(logits, labels).logps, logits, upstream)[0]
    parts = torch.autograd.grad(sequence_logps(logits, labels, block=block).logps, logits, upstream)[0]
    assert torch.equal(whole, parts)
    assert (whole[labels.roll(-1, 1) == -100] == 0).all()


def test_gradient_of_sequence_logps():
    logits, labels = sequences(3, batch=3, length=6, vocabulary=5)
    labels.clamp_(max=4)

    def both(values):
        logps, _, ends = sequence_logps(values, labels, eos_token_id=0, block=12)
        return logps, ends[:1]

    assert torch.autograd.gradcheck(both, (logits.requires_grad_(),))


def test_logits_of_any_strides():
    logits, labels = sequences(4)
    turned = logits.transpose(1, 2).contiguous().transpose(1, 2)
    wider = torch.cat([logits, logits], dim=2)[:, :, :13]
    assert not turned.is_contiguous()
    expected = sequence_logps(logits, labels).logps
    assert torch.equal(sequence_logps(turned, labels).logps, expected)
    assert torch.equal(sequence_logps(wider, labels).logps, expected)


def test_bfloat16_logits():
    logits, labels = sequences(5, "bfloat16")
    logits.requires_grad_()
    wide = logits.detach().float().requires_grad_()
    narrow = sequence_logps(logits, labels)
    full = sequence_logps(wide, labels)
    assert narrow.logps.dtype == torch.float32
    assert torch.equal(narrow.logps, full.logps)
    narrow.logps.sum().backward()
    full.logps.sum().backward()
    assert logits.grad.dtype == torch.bfloat16
    assert torch.equal(logits.grad, wide.grad.to(torch.bfloat16))


def test_no_second_copy_of_the_logits_in_float32():
    """Of what autograd keeps, and of what any one operation makes, nothing but the gradient is (B, T, V)."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        wide = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor) and result.dtype == torch.float32:
                self.wide = max(self.wide, result.numel())
            return result

    logits = torch.randn(4, 64, 1000).bfloat16().requires_grad_()
    labels = torch.randint(0, 1000, (4, 64))
    with Largest() as blocked:
        sequence_logps(logits, labels, block=8 * 1000).logps.sum().backward()
    assert blocked.wide == 8 * 1000
    with Largest() as plain:
        logits.float().log_softmax(-1).sum().backward()
    assert plain.wide == logits.numel()


def test_a_row_without_labels_has_no_tokens():
    logits, labels = sequences(6)
    labels[1] = -100
    got = sequence_logps(logits, labels, eos_token_id=0)
    assert (float(got.logps[1]), int(got.lengths[1])) == (0.0, 0)
    assert math.isnan(got.eos_logps[1])
    assert float(got.eos_logps[0]) < 0
    nothing = sequence_logps(logits, torch.full_like(labels, -100), eos_token_id=0)
    assert nothing.logps.tolist() == [0.0] * 4
    assert nothing.eos_logps.isnan().all()


def test_labels_with_gaps():
    """Several turns: tokens between the first and the last labeled one that are not."""
    logits, labels = sequences(7)
    labels[:, 6] = -100
    logits.requires_grad_()
    got = sequence_logps(logits, labels, block=26)
    table = logits.detach().log_softmax(-1)
    for row in range(4):
        terms = [float(table[row, t - 1, labels[row, t]]) for t in range(1, 11) if labels[row, t] != -100]
        assert float(got.logps[row].detach()) == pytest.approx(sum(terms), rel=1e-12)
        assert int(got.lengths[row]) == len(terms)
    got.logps.sum().backward()
    assert (logits.grad[:, 5] == 0).all()
    assert torch.autograd.gradcheck(lambda values: sequence_logps(values, labels, block=26).logps, (logits,))


def test_bad_logits_and_labels_are_refused():
    logits, labels = sequences()
    with pytest.raises(ValueError, match="outside the vocabulary of 13"):
        sequence_logps(logits, labels + 1000 * (labels > 5))
    with pytest.raises(ValueError, match="outside the vocabulary"):
        sequence_logps(logits, torch.where(labels == -100, -1, labels))
    with pytest.raises(ValueError, match="labels: expected shape"):
        sequence_logps(logits, labels[:, 1:])
    with pytest.raises(ValueError, match="labels: expected at least two tokens"):
        sequence_logps(logits[:, :1], labels[:, :1])
    with pytest.raises(TypeError, match="labels: expected an integer"):
        sequence_logps(logits, labels.float())
    with pytest.raises(TypeError, match="logits: expected a floating tensor"):
        sequence_logps(logits[0], labels[0])
    with pytest.raises(ValueError, match="block: 0 is below 1"):
        sequence_logps(logits, labels, block=0)


def test_logits_that_are_not_finite_are_refused_by_the_loss():
    logits, labels = sequences()
    logits[1, 5] = math.nan
    logps = sequence_logps(logits, labels).logps.view(2, 2)
    with pytest.raises(ValueError, match="logps: row 0, response 1 is NaN"):
        swepo_loss(logps, None, torch.tensor([[True, False]] * 2))


def test_scores_are_what_the_loss_compares():
    logps, rewards, positive, mask, _ = groups(8)
    s = scores(logps, rewards, mask=mask, alpha=2.0, beta=0.5)
    assert (s[~mask] == 0).all()
    by_scores = swepo_loss(s, None, positive, mask=mask)
    torch.testing.assert_close(
        by_scores, swepo_loss(logps, rewards, positive, mask=mask, alpha=2.0, beta=0.5)
    )
