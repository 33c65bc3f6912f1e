"""Each loss on groups against a plain reference in float64, finite differences, and TRL's own classes."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from training_toys import BOS, EOS, ids, make_model, make_rows, make_tokenizer, settings

from optional import lazily, needs

torch = lazily("torch")
losses = lazily("setwise.preference.losses")
PreferenceTrainer = lazily("setwise.preference", "PreferenceTrainer")

pytestmark = needs("torch", "transformers", "accelerate")


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def plain(name, s, r, good, bad, *, gamma=1.0, margin=0.0, temperature=0.1, pairs="best-vs-worst"):
    """A group's loss by its formula, in plain Python: s and r by response, good and bad their places."""
    if name in ("refa", "swepo", "mpo"):
        up, down = (sum(math.exp(s[i]) for i in part) for part in (good, bad))
        return -math.log(up / (up + gamma * down))
    everyone = [*good, *bad]
    if name in ("infonca", "nca"):
        total = sum(math.exp(r[i] / temperature) for i in everyone)
        p = {i: math.exp(r[i] / temperature) / total for i in everyone}
        if name == "infonca":
            model = sum(math.exp(s[i]) for i in everyone)
            return -sum(p[i] * math.log(math.exp(s[i]) / model) for i in everyone)
        return -sum(
            p[i] * math.log(sigmoid(s[i])) + math.log(sigmoid(-s[i])) / len(everyone) for i in everyone
        )
    if name == "listwise-dpo":
        order = sorted(everyone, key=lambda i: -r[i])
        return -sum(
            math.log(math.exp(s[i]) / sum(math.exp(s[j]) for j in order[place:]))
            for place, i in enumerate(order)
        )
    if pairs == "all":
        return float(np.mean([-math.log(sigmoid(s[i] - s[j] - margin)) for i in good for j in bad]))
    best, worst = max(good, key=lambda i: r[i]), min(bad, key=lambda i: r[i])
    return -math.log(sigmoid(s[best] - s[worst] - margin))


CASES = {
    "refa": ("refa", {"gamma": 2.0}),
    "mpo": ("mpo", {"gamma": 1.0}),
    "infonca": ("infonca", {"reward_temperature": 0.3}),
    "nca": ("nca", {"reward_temperature": 0.3}),
    "listwise-dpo": ("listwise-dpo", {}),
    "simpo": ("simpo", {"margin": 0.7, "pairs": "best-vs-worst"}),
    "dpo": ("dpo", {"margin": 0.0, "pairs": "best-vs-worst"}),
    "dpo, all pairs": ("dpo", {"margin": 0.0, "pairs": "all"}),
}


@pytest.mark.parametrize(("name", "own"), CASES.values(), ids=CASES)
def test_a_loss_is_its_formula_and_its_gradient_the_finite_differences(name, own):
    rng = np.random.default_rng(5)
    sizes = [(1, 1), (1, 6), (2, 3), (3, 1)]
    widest = max(a + b for a, b in sizes)
    s, r = rng.normal(0, 2, (4, widest)), rng.random((4, widest))
    positive, negative = np.zeros((4, widest), bool), np.zeros((4, widest), bool)
    expected = []
    renamed = {"reward_temperature": "temperature"}
    for row, (a, b) in enumerate(sizes):
        places = rng.permutation(a + b).tolist()
        positive[row, places[:a]], negative[row, places[a:]] = True, True
        words = {renamed.get(word, word): value for word, value in own.items()}
        expected.append(plain(name, s[row], r[row], sorted(places[:a]), sorted(places[a:]), **words))
    tensors = [torch.from_numpy(one) for one in (r, positive, negative)]
    function = losses.LOSSES[name].function
    assert set(own) == set(losses.LOSSES[name].own)
    scores = torch.from_numpy(s)
    assert function(scores, *tensors, **own).tolist() == pytest.approx(expected, rel=1e-12)
    scores.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: function(x, *tensors, **own), (scores,))


def test_nca_and_simpo_are_those_of_trl():
    pytest.importorskip("trl")
    from trl.experimental.cpo import CPOTrainer

    rng = np.random.default_rng(2)
    s = torch.from_numpy(rng.normal(0, 1, (6, 2)))
    positive = torch.tensor([[True, False]] * 6)
    rewards = torch.tensor([[1.0, 0.0]] * 6, dtype=torch.float64)
    stub = SimpleNamespace(
        alpha=0.0,
        loss_type="simpo",
        simpo_gamma=0.5,
        beta=2.0,
        label_smoothing=0.0,
        accelerator=SimpleNamespace(device="cpu"),
    )
    theirs, *_ = CPOTrainer.cpo_loss(stub, s[:, 0], s[:, 1])
    ours = losses.pairwise(2.0 * s, rewards, positive, ~positive, margin=0.5, pairs="best-vs-worst")
    torch.testing.assert_close(ours, theirs)


def test_rewards_on_a_scale_of_their_group():
    # Of sizes that are no float32, nor are their squares.
    for size in (1.0, 1e139, 1e-170):
        rewards = np.array([1.0, 3.0, 2.0]) * size
        assert losses.scale_rewards(rewards, "minmax").tolist() == pytest.approx([0.0, 1.0, 0.5])
        z = losses.scale_rewards(rewards, "zscore")
        assert z.tolist() == pytest.approx([-math.sqrt(1.5), math.sqrt(1.5), 0.0])
        assert losses.scale_rewards(rewards, "none") is rewards
    assert losses.scale_rewards(np.full(4, 5.0), "minmax").tolist() == [0.5] * 4
    assert losses.scale_rewards(np.full(4, 5.0), "zscore").tolist() == [0.0] * 4


def test_effective_negatives():
    s = torch.tensor(
        [[9.0, 0.0, 0.0, 0.0], [9.0, 5.0, -40.0, -40.0], [0.0, math.log(3), 0.0, 7.0]], dtype=torch.float64
    ).requires_grad_()
    negative = torch.tensor(
        [[False, True, True, True], [False, True, True, True], [True, True, False, False]]
    )
    loss = losses.contrastive(s, torch.zeros_like(s), ~negative, negative, gamma=2.0)
    (gradient,) = torch.autograd.grad(loss.sum(), s)
    assert losses.effective_negatives(gradient, negative).tolist() == pytest.approx([3.0, 1.0, 16 / 10])
    assert losses.effective_negatives(torch.zeros_like(s), negative).tolist() == [0.0] * 3


def test_terms_of_ending():
    """REFA's three equations and the plain mean, written out for two groups of two, one of them cut off."""
    p = np.array([[0.2, 0.5], [0.4, np.nan]])
    lengths = np.array([[3, 5], [2, 4]])
    each = np.full((2, 2, 5), np.nan)
    rng = np.random.default_rng(0)
    for row in range(2):
        for place in range(2):
            each[row, place, : lengths[row, place]] = rng.uniform(0.01, 0.9, lengths[row, place])
    mask = torch.ones(2, 2, dtype=torch.bool)
    logs = torch.from_numpy(np.log(p))

    def term(name, **options):
        return losses.end_term(name, logs, torch.from_numpy(lengths), mask, **options).tolist()

    assert term("mean") == pytest.approx([0.35, 0.4])
    assert term("target") == pytest.approx([0.2 * 2, 0.4 * 2])
    assert term("target", target=4) == pytest.approx([0.2, 0.4 * 2])
    assert term("shorten") == pytest.approx([-math.log(0.2) - math.log(0.5), -math.log(0.4)])
    b = 3
    expected = []
    for row in range(2):
        total = 0.0
        for place in range(2):
            own, length = each[row, place], lengths[row, place]
            total += sum(own[: min(b - 1, length)]) / b
            total -= sum(own[b:length]) / (length - b) if length > b else 0.0
        expected.append(total)
    found = term("budget", each=torch.from_numpy(np.log(each)), target=b)
    assert found == pytest.approx(expected)


# In the trainer


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


def logps_alone(model, prompt, response):
    """Log-probabilities of a response's tokens, and of ending at each, the response run alone."""
    before, answer = [BOS, *ids(prompt)], [*ids(response), EOS]
    table = model(torch.tensor([before + answer])).logits[0].log_softmax(-1).detach()
    rows = table[len(before) - 1 : -1]
    return [float(rows[i, token]) for i, token in enumerate(answer)], rows[:, EOS].tolist()


TRAINED = {
    "mpo": {"loss": "mpo"},
    "nca": {"loss": "nca"},
    "listwise": {"loss": "listwise-dpo"},
    "simpo": {"loss": "simpo"},
    "dpo": {"loss": "dpo", "pairs": "all"},
    "sft and the budget": {
        "loss": "refa",
        "sft_weight": 0.4,
        "eos_regularizer": 0.2,
        "eos_term": "budget",
        "eos_target": 3,
    },
    "REFA's end": {"loss": "refa", "eos_regularizer": 0.2, "responses_per_forward": 2},
}


@pytest.mark.parametrize("options", TRAINED.values(), ids=TRAINED)
def test_the_trainers_loss_is_the_formula_on_each_response_alone(tokenizer, tmp_path, options):
    rows = make_rows(3)
    model, other = make_model().double(), make_model().double()
    with torch.no_grad():
        for weight in other.parameters():
            weight += 0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)).double()
    config = settings(tmp_path, **options)
    known = losses.LOSSES[config.loss]
    made = PreferenceTrainer(
        model,
        config,
        train_dataset=rows,
        processing_class=tokenizer,
        reference_model=other if known.reference else None,
    )
    found = float(made.compute_loss(model.eval(), made.data_collator(list(made.train_dataset))))
    expected = []
    for row in rows:
        responses, r = [*row["chosen"], *row["rejected"]], np.array(row["rewards"])
        good, bad = range(len(row["chosen"])), range(len(row["chosen"]), len(responses))
        r = (r - r.min()) / (r.max() - r.min())
        s, tokens, lengths, ends = [], [], [], []
        for response in responses:
            own, end = logps_alone(model, row["prompt"], response)
            total = sum(own)
            if known.reference:
                total -= sum(logps_alone(other, row["prompt"], response)[0])
            s.append(config.beta * total / (len(own) if config.length_normalized else 1))
            tokens.append(np.mean(own))
            lengths.append(len(own))
            ends.append(np.exp(end))
        s = np.array(s) + (config.alpha or 0.0) * (r - r.mean())
        words = {name: getattr(config, name) for name in known.own if name != "reward_temperature"}
        value = plain(config.loss, s, r, good, bad, **words)
        value -= config.sft_weight * np.mean([tokens[i] for i in good])
        if config.eos_term == "budget":
            for length, end in zip(lengths, ends, strict=True):
                after = end[3:].sum() / (length - 3) if length > 3 else 0.0
                value += config.eos_regularizer * (end[:2].sum() / 3 - after)
        elif config.eos_regularizer:
            value += config.eos_regularizer * sum(
                end[-1] * (max(lengths) - length) for length, end in zip(lengths, ends, strict=True)
            )
        expected.append(value)
    assert found == pytest.approx(np.mean(expected), rel=1e-6)


def test_the_model_before_training_is_its_own_reference(tokenizer, tmp_path, monkeypatch):
    """With adapters, the model without them; and what was computed once is read again."""
    import peft

    rows = make_rows(2)
    adapted = peft.get_peft_model(
        make_model(), peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    )
    expected = [logps_alone(make_model(), row["prompt"], row["rejected"][0])[0] for row in rows]
    config = settings(tmp_path, loss="dpo", save_strategy="epoch", per_device_eval_batch_size=2)
    made = PreferenceTrainer(adapted, config, train_dataset=rows, processing_class=tokenizer)
    for group, row, own in zip(made.train_dataset, rows, expected, strict=True):
        assert group.reference[len(row["chosen"])] == pytest.approx(sum(own), rel=1e-5)
    (kept,) = tmp_path.rglob("reference_logps.npz")
    for damage in (b"", kept.read_bytes()[:-30]):  # what is not whole is computed anew
        kept.write_bytes(damage)
        PreferenceTrainer(adapted, config, train_dataset=rows, processing_class=tokenizer)
    monkeypatch.setattr(PreferenceTrainer, "sequence_logps", None)
    again = PreferenceTrainer(adapted, config, train_dataset=rows, processing_class=tokenizer)
    for one, two in zip(again.train_dataset, made.train_dataset, strict=True):
        assert one.reference.tolist() == two.reference.tolist()


@pytest.mark.parametrize("loss", ["sigmoid", "nca_pair"])
def test_trl_computes_the_same_loss_on_our_rows(tokenizer, tmp_path, loss):
    """TRL's DPOTrainer reads the pairs that are made, and its first loss is ours with the same reference."""
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    from setwise.preference import PreferenceRows, train

    pools = [
        {"prompt": "what is ", "responses": ["rome", "paris ugly", "old a b"], "rewards": [1.0, 0.0, 0.2]},
        {"prompt": "the best ", "responses": ["a b c", "no", "yes d"], "rewards": [0.1, 0.7, 0.4]},
    ]
    pairs = list(PreferenceRows(pools, k=1, method="bottom-k", format="pairs", model="lsa"))
    model, other = make_model(), make_model()
    with torch.no_grad():
        other.lm_head.weight *= 0.5
    theirs = trl.DPOTrainer(
        model,
        ref_model=other,
        args=trl.DPOConfig(
            output_dir=str(tmp_path / "trl"),
            loss_type=[loss],
            beta=0.3,
            max_steps=1,
            learning_rate=0.0,
            logging_steps=1,
            per_device_train_batch_size=2,
            save_strategy="no",
            use_cpu=True,
            bf16=False,
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=datasets.Dataset.from_list(
            [{name: row[name] for name in ("prompt", "chosen", "rejected")} for row in pairs]
        ),
        processing_class=make_tokenizer(),
    )
    theirs.train()
    options = {"loss": "dpo"} if loss == "sigmoid" else {"loss": "nca", "reward_temperature": 0.01}
    config = settings(
        tmp_path, beta=0.3, max_steps=1, learning_rate=0.0, per_device_train_batch_size=2, **options
    )
    groups = [
        {**row, "rewards": [row["score_chosen"], row["score_rejected"]], "rejected": [row["rejected"]]}
        for row in pairs
    ]
    ours = train(make_model(), groups, config, tokenizer=tokenizer, reference_model=other)
    assert theirs.state.log_history[0]["loss"] == pytest.approx(ours.state.log_history[0]["loss"], rel=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "dpo", "gamma": 2.0}, "gamma: loss='dpo' has none"),
        ({"margin": 1.0}, "margin: loss='refa' has none"),
        ({"loss": "simpo", "pairs": "some"}, "pairs: 'some' is unknown"),
        ({"reward_scale": "rank"}, "reward_scale: 'rank' is unknown"),
        ({"eos_term": "budget"}, "eos_target: needed by eos_term='budget'"),
        ({"sft_weight": -1.0}, "sft_weight: -1.0 is below 0"),
        ({"loss": "nca", "reward_temperature": 0.0}, "reward_temperature"),
    ],
)
def test_settings_that_a_loss_does_not_take(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        settings(tmp_path, **options)


def test_a_reference_that_no_loss_asks_for_is_refused(tokenizer, tmp_path):
    with pytest.raises(ValueError, match="reference_model: loss='refa' has no reference"):
        PreferenceTrainer(
            make_model(),
            settings(tmp_path),
            train_dataset=make_rows(1),
            processing_class=tokenizer,
            reference_model=make_model(),
        )
