"""Responses are drawn from the model's own distribution, and do not depend on what is beside them."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from scipy import stats

import tiny_policy
from optional import lazily, needs
from setwise.preference.loop import generate
from setwise.preference.loop.score import RewardModel, reward_name, score
from setwise.preference.prompts import all_tokens, as_tokens, uses_chat

torch = lazily("torch")

pytestmark = needs("torch", "transformers")

PROMPTS = ["what is it", "red tree", "is house blue green good"]


def sampling(**changes):
    return generate.Sampling(
        **{
            "responses": 4,
            "temperature": 0.8,
            "top_p": 1.0,
            "max_new_tokens": 6,
            "batch_size": 5,
            **changes,
        }
    )


def draw(prompts=PROMPTS, model=None, keys=None, **changes):
    words = tiny_policy.tokenizer()
    tokens = [as_tokens(one, words, chat=False) for one in prompts]
    keys = [(0, row) for row in range(len(prompts))] if keys is None else keys
    engine = generate.TransformersEngine(model or tiny_policy.model(), words, sampling(**changes))
    return engine.generate(tokens, keys)


def test_shapes_and_ends():
    found = draw(max_new_tokens=6)
    assert [len(one.texts) for one in found] == [4, 4, 4]
    for one in found:
        for text, count, ended in zip(one.texts, one.tokens, one.finished, strict=True):
            assert 1 <= count <= 6
            assert ended or count == 6
            assert "</s>" not in text
            assert len(text.split()) <= count
        assert [len(tokens) for tokens in one.token_ids] == one.tokens


def test_at_temperature_0_the_likeliest_tokens_are_taken():
    model, words = tiny_policy.model(), tiny_policy.tokenizer()
    for prompt, found in zip(PROMPTS, draw(model=model, temperature=0, responses=2), strict=True):
        tokens = torch.tensor([as_tokens(prompt, words, chat=False)])
        greedy = model.generate(tokens, do_sample=False, max_new_tokens=6, pad_token_id=0)[0].tolist()
        assert found.token_ids == [greedy[tokens.shape[1] :]] * 2


def test_a_further_token_ends_a_response():
    words = tiny_policy.tokenizer()
    engine = generate.TransformersEngine(tiny_policy.model(), words, sampling(responses=30), end=6)
    (found,) = engine.generate([as_tokens(PROMPTS[0], words, chat=False)], [(0, 0)])
    ended = [tokens for tokens in found.token_ids if 6 in tokens]
    assert ended
    assert all(tokens.index(6) == len(tokens) - 1 for tokens in ended)
    assert [bool({2, 6} & set(tokens)) for tokens in found.token_ids] == found.finished


@pytest.mark.parametrize("size", [1, 2, 12, 100])
def test_batch_size_changes_nothing(size):
    assert draw(batch_size=size) == draw(batch_size=5)


def test_a_prompt_is_answered_alike_whatever_is_beside_it():
    alone = draw([PROMPTS[1]], keys=[(0, 1)])[0]
    assert draw()[1] == alone
    assert draw([PROMPTS[1]], keys=[(0, 2)])[0] != alone
    assert draw([PROMPTS[1]], keys=[(1, 1)])[0] != alone


def test_more_responses_begin_with_the_same():
    few, many = draw(responses=3), draw(responses=7)
    assert [one.texts for one in few] == [one.texts[:3] for one in many]


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.5, 1.0), (2.0, 0.6)])
def test_first_tokens_follow_the_models_distribution(temperature, top_p):
    """Chi-squared against softmax(logits / T), cut to the smallest set of probability top_p."""
    model, words, count = tiny_policy.model(seed=3), tiny_policy.tokenizer(), 4000
    tokens = words(PROMPTS[0])["input_ids"]
    with torch.no_grad():
        logits = model(torch.tensor([tokens])).logits[0, -1].double()
    expected = torch.softmax(logits / temperature, 0).numpy()
    order = np.argsort(-expected)
    kept = order[: int(np.searchsorted(np.cumsum(expected[order]), top_p)) + 1] if top_p < 1 else order
    cut = np.zeros_like(expected)
    cut[kept] = expected[kept] / expected[kept].sum()
    drawn = []
    engine = generate.TransformersEngine(
        model,
        words,
        sampling(responses=count, max_new_tokens=1, temperature=temperature, top_p=top_p, batch_size=count),
    )
    original = words.decode
    words.decode = lambda ids, **_: drawn.append(ids[0]) or original(ids)
    engine.generate([tokens], [(7,)])
    seen = np.bincount(drawn, minlength=len(cut))
    assert seen[cut == 0].sum() == 0
    often = cut * count >= 5
    observed = np.append(seen[often], seen[~often].sum())
    wanted = np.append(cut[often], cut[~often].sum()) * count
    if wanted[-1] == 0:
        observed, wanted = observed[:-1], wanted[:-1]
    assert len(wanted) > 2
    assert stats.chisquare(observed, wanted).pvalue > 1e-3


def test_settings_saved_with_a_model_step_aside_and_come_back():
    model = tiny_policy.model()
    plain = draw(model=model)
    model.generation_config.temperature = 0.1
    model.generation_config.repetition_penalty = 5.0
    model.generation_config.do_sample = True
    kept = model.generation_config
    model.train()
    assert draw(model=model) == plain
    assert model.generation_config is kept
    assert model.training


def test_uniform_numbers_stay_below_one_by_2_to_minus_24():
    numbers = generate.uniform_numbers([1, 2, 3], 1000)
    assert numbers.dtype == np.float32
    assert (numbers >= 0).all()
    assert (numbers <= 1 - 2**-24).all()
    assert (numbers * 2**24 == np.round(numbers * 2.0**24)).all()
    assert (numbers == generate.uniform_numbers([1, 2, 3], 1000)).all()


def test_without_an_end_token_nothing_is_generated():
    words, model = tiny_policy.tokenizer(), tiny_policy.model()
    words.eos_token = None
    model.generation_config.eos_token_id = None
    with pytest.raises(ValueError, match="tokenizer: it has no end-of-sequence token"):
        generate.TransformersEngine(model, words, sampling())


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed")
def test_vllm_that_is_missing_is_one_clear_error():
    with pytest.raises(ImportError, match=r"engine='vllm' .* needs vllm: pip install 'setwise\[vllm\]'"):
        generate.VLLMEngine("nowhere", sampling())


def test_prompts_as_tokens():
    plain, chat = tiny_policy.tokenizer(), tiny_policy.tokenizer(chat=True)
    messages = [{"role": "user", "content": "red tree"}]
    assert plain.decode(as_tokens("red tree", plain, chat=False)) == "red tree"
    for prompt in ("red tree", messages):
        assert chat.decode(as_tokens(prompt, chat, chat=True)) == "user red tree assistant"
    assert uses_chat(["red"], plain, None) is False
    assert uses_chat(["red"], chat, None) is True
    assert uses_chat(["red", messages], chat, False) is False


@pytest.mark.parametrize(
    ("prompts", "chat", "error", "message"),
    [
        ([], None, ValueError, "prompts: there are none"),
        ("red", None, TypeError, "prompts: expected a list of prompts, got str"),
        (["red", "  "], None, ValueError, "prompts: row 1 is empty"),
        (["red", 3], None, TypeError, "prompts: row 1 is neither a text nor a list of messages"),
        ([[{"role": "user"}]], None, TypeError, "prompts: row 0 is neither"),
        ([[{"role": "user", "content": "red"}]], None, ValueError, "prompts: row 0 holds messages"),
        (["red"], True, ValueError, "chat: the tokenizer has no chat template"),
    ],
)
def test_bad_prompts(prompts, chat, error, message):
    with pytest.raises(error, match=message):
        uses_chat(prompts, tiny_policy.tokenizer(), chat)


def test_a_prompt_that_leaves_no_room_is_refused():
    words = tiny_policy.tokenizer()
    arguments = {"chat": False, "limit": 8, "name": "prompts"}
    assert len(all_tokens(["red tree"], words, room=6, **arguments)[0]) == 2
    with pytest.raises(ValueError, match=r"prompts: row 1 has 3 tokens, and with 6 new ones .* model's 8"):
        all_tokens(["red tree", "red tree is"], words, room=6, **arguments)


def test_score_asks_once_a_prompt_and_response():
    asked = []

    def reward(prompts, responses):
        asked.extend(zip(prompts, responses, strict=True))
        return np.arange(len(responses), dtype=np.float32)

    assert score(reward, ["a", "b"], [["x", "y"], ["z"]]) == [[0.0, 1.0], [2.0]]
    assert asked == [("a", "x"), ("a", "y"), ("b", "z")]
    assert score(lambda p, r: torch.ones(len(r)), ["a"], [["x", "y"]]) == [[1.0, 1.0]]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ([1.0], ValueError, "reward: it returned 1 numbers for 3 responses"),
        ([1.0, 2.0, 3.0, 4.0], ValueError, "reward: it returned 4 numbers for 3 responses"),
        ([1.0, float("nan"), 0.0], ValueError, r"reward: nan for response 1 to prompt 5 \('what is it'\)"),
        ([1.0, 2.0, float("inf")], ValueError, r"reward: inf for response 0 to prompt 6 \('red tree'\)"),
        ([1.0, "2", 3.0], TypeError, r"reward: it returned '2' \(str\), expected a number"),
        ([1.0, None, 3.0], TypeError, "reward: it returned None"),
        (None, TypeError, "reward: it returned NoneType, expected a list"),
        (0.5, TypeError, "reward: it returned float, expected a list"),
    ],
)
def test_bad_rewards(given, error, message):
    with pytest.raises(error, match=message):
        score(lambda prompts, responses: given, PROMPTS[:2], [["x", "y"], ["z"]], first=5)


def reward_folder(folder, *, outputs=1, chat=False):
    from transformers import LlamaForSequenceClassification

    words = tiny_policy.tokenizer(chat=chat)
    settings = tiny_policy.model().config
    settings.num_labels = outputs
    torch.manual_seed(1)
    judge = LlamaForSequenceClassification(settings).eval()
    judge.save_pretrained(folder)
    words.save_pretrained(folder)
    return judge, words


@pytest.mark.parametrize("chat", ["", "user", "user with an end"])
def test_reward_model_is_its_model_one_text_at_a_time(tmp_path, chat):
    judge, words = reward_folder(tmp_path, chat=bool(chat))
    end = f"{words.eos_token} " if chat.endswith("end") else ""
    if end:  # it is no padding, where neither the model nor its tokenizer names any
        judge.config.pad_token_id = words.pad_token = None
        judge.save_pretrained(tmp_path)
        words.chat_template = words.chat_template.replace("{% endfor %}", "{{ eos_token }} {% endfor %}", 1)
        words.save_pretrained(tmp_path)
    prompts, responses = ["red", "red tree", "is it", "red"], ["good", "bad fine good", "poor", "blue tree"]
    found = RewardModel(str(tmp_path), batch_size=3)(prompts, responses)
    for prompt, response, value in zip(prompts, responses, found, strict=True):
        text = f"user {prompt} {end}assistant {response} {end}" if chat else f"{prompt} {response}"
        with torch.no_grad():
            alone = judge(torch.tensor([words(text)["input_ids"]])).logits[0, 0].item()
        assert value == pytest.approx(alone, abs=1e-5)
    assert len(set(found)) == 4
    assert reward_name(RewardModel(str(tmp_path))) == f"RewardModel({tmp_path})"


def test_an_answer_that_has_begun_is_one_turn_for_a_reward_model(tmp_path):
    _, words = reward_folder(tmp_path, chat=True)
    asked = [{"role": "user", "content": "red tree"}]
    begun = [*asked, {"role": "assistant", "content": "good "}]
    reward = RewardModel(str(tmp_path))
    # Apart, as padding moves the last bits.
    (gone_on,), (whole,), (other,) = (
        reward([begun], ["bad fine"]),
        reward([asked], ["good bad fine"]),
        reward([asked], ["bad fine"]),
    )
    assert gone_on == whole != other
    words.chat_template = "{{ raise_exception('Roles must alternate') }}"
    words.save_pretrained(tmp_path)
    with pytest.raises(
        ValueError, match=r"^reward: 'red tree': the chat template refuses it \(Roles must alternate\)"
    ):
        RewardModel(str(tmp_path))([asked], ["good"])


def test_reward_models_that_are_refused(tmp_path):
    reward_folder(tmp_path / "two", outputs=2)
    reward_folder(tmp_path / "one")
    with pytest.raises(ValueError, match="has 2 outputs; a reward model has one"):
        RewardModel(str(tmp_path / "two"))
    with pytest.raises(ValueError, match="is neither a folder with a reward model nor the name of one"):
        RewardModel(str(tmp_path / "none"))
    with pytest.raises(ValueError, match="'red' with its response has 4 tokens, above the model's 3"):
        RewardModel(str(tmp_path / "one"), max_length=3)(["red"], ["good bad fine"])
    with pytest.raises(ValueError, match="is a chat, and the reward model has no chat template"):
        RewardModel(str(tmp_path / "one"))([[{"role": "user", "content": "red"}]], ["good"])
