"""Measures against the programs that define them."""

import numpy as np
import pytest

from setwise import metrics

pyndeval = pytest.importorskip("pyndeval")


def instance(seed):
    """A ranking and judged aspects, with many ties between the candidates' gains."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(3, 26))
    ids = [f"d{one}" for one in rng.permutation(60)[:n]] if seed % 2 else rng.permutation(60)[:n].tolist()
    aspects = {}
    for name in range(int(rng.integers(1, 7))):
        picked = rng.permutation(n)[: int(rng.integers(1, 16))]
        aspects[str(name)] = [ids[one] for one in picked]
    ranked = [ids[one] for one in rng.permutation(n)[: int(rng.integers(1, n + 1))]]
    return ranked, aspects


def published(ranked, aspects, alpha):
    qrels = [pyndeval.SubtopicQrel("1", name, str(one), 1) for name, ids in aspects.items() for one in ids]
    run = [pyndeval.ScoredDoc("1", str(one), float(-place)) for place, one in enumerate(ranked)]
    return pyndeval.ndeval(qrels, run, alpha=alpha)["1"]


def test_measures_of_aspects_are_those_of_ndeval():
    for seed in range(500):
        ranked, aspects = instance(seed)
        alpha = [0.5, 0.3, 0.9][seed % 3]
        theirs = published(ranked, aspects, alpha)
        for k in (5, 10, 20):
            ours = {
                f"alpha-nDCG@{k}": metrics.alpha_ndcg(ranked, aspects, k, alpha=alpha),
                f"ERR-IA@{k}": metrics.err_ia(ranked, aspects, k, alpha=alpha),
                f"nERR-IA@{k}": metrics.err_ia(ranked, aspects, k, alpha=alpha, ideal=True),
                f"P-IA@{k}": metrics.aspect_precision(ranked, aspects, k),
                f"strec@{k}": metrics.aspect_recall(ranked, aspects, k),
            }
            for name, value in ours.items():
                assert value == pytest.approx(theirs[name], abs=1e-9), (seed, name)


def test_runs_and_judgments_are_read_by_ndeval_as_by_us(tmp_path):
    rng = np.random.default_rng(0)
    qrels, run = {}, {}
    for topic in ("t1", "t2", "t3"):
        ids = [f"d{one}" for one in rng.permutation(30)]
        qrels[topic] = {name: ids[3 * number : 3 * number + 5] for number, name in enumerate("abc")}
        run[topic] = [ids[one] for one in rng.permutation(30)[:9]]
    metrics.write_run(tmp_path / "run", run)
    metrics.write_qrels(tmp_path / "qrels", qrels)
    assert metrics.read_run(tmp_path / "run") == run
    assert metrics.read_qrels(tmp_path / "qrels") == qrels
    lines = [line.split() for line in (tmp_path / "qrels").read_text().splitlines()]
    judged = [pyndeval.SubtopicQrel(*line[:3], int(line[3])) for line in lines]
    lines = [line.split() for line in (tmp_path / "run").read_text().splitlines()]
    theirs = pyndeval.ndeval(judged, [pyndeval.ScoredDoc(one[0], one[2], float(one[4])) for one in lines])
    for topic, ranked in run.items():
        assert metrics.alpha_ndcg(ranked, qrels[topic], 10) == pytest.approx(theirs[topic]["alpha-nDCG@10"])


def test_equal_scores_are_in_ndeval_s_order_where_that_is_asked_for(tmp_path):
    for seed in range(60):
        rng = np.random.default_rng(seed)
        ids = [f"d{one:02d}" for one in rng.permutation(80)[:20]]
        qrels = [
            ("1", name, ids[one], grade)
            for name in "abc"
            for one, grade in enumerate(rng.integers(-2, 3, 20))
        ]
        run = [(one, float(rng.integers(4))) for one in ids[:12]]
        end = ["\n", "\r\n"][seed % 2]
        (tmp_path / "run").write_bytes(
            "".join(f"1\tQ0\t{one}\t1\t{score}\tx{end}" for one, score in run).encode()
        )
        (tmp_path / "qrels").write_bytes("".join(f"{' '.join(map(str, one))}{end}" for one in qrels).encode())
        ranked = metrics.read_run(tmp_path / "run", ties="ndeval")["1"]
        aspects = metrics.read_qrels(tmp_path / "qrels")["1"]
        judged = [pyndeval.SubtopicQrel(*one[:3], int(one[3])) for one in qrels]
        theirs = pyndeval.ndeval(judged, [pyndeval.ScoredDoc("1", *one) for one in run])["1"]
        assert metrics.alpha_ndcg(ranked, aspects, 5) == pytest.approx(theirs["alpha-nDCG@5"], abs=1e-9)
        assert metrics.err_ia(ranked, aspects, 10) == pytest.approx(theirs["ERR-IA@10"], abs=1e-9)
    with pytest.raises(ValueError, match="ties: 'mine' is unknown"):
        metrics.read_run(tmp_path / "run", ties="mine")


def test_wasserstein_is_that_of_pot():
    ot = pytest.importorskip("ot")
    rng = np.random.default_rng(0)
    for n, m in ((5, 5), (4, 9), (30, 17), (40, 40)):
        a, b = rng.normal(size=(n, 3)), 1 + rng.normal(size=(m, 3))
        theirs = ot.emd2(ot.unif(n), ot.unif(m), ot.dist(a, b, metric="euclidean"))
        assert metrics.wasserstein(a, b) == pytest.approx(theirs, rel=1e-9)
        theirs = ot.emd2(ot.unif(n), ot.unif(m), ot.dist(a, b, metric="cosine"))
        assert metrics.wasserstein(a, b, metric="cosine") == pytest.approx(theirs, rel=1e-9)
        drawn = rng.normal(size=(3, 8))
        drawn /= np.linalg.norm(drawn, axis=0)
        theirs = ot.sliced_wasserstein_distance(a, b, projections=drawn, p=1)
        line = np.mean([ot.wasserstein_1d(a @ one, b @ one, p=1) for one in drawn.T])
        assert theirs == pytest.approx(line)
        ours = metrics.sliced_wasserstein(a, b, projections=2000)
        reference = ot.sliced_wasserstein_distance(a, b, n_projections=20_000, p=1, seed=1)
        assert ours == pytest.approx(reference, rel=0.05)
        assert metrics.sliced_wasserstein(a[:, :1], b[:, :1]) == pytest.approx(
            float(np.squeeze(ot.wasserstein_1d(a[:, 0], b[:, 0], p=1)))
        )
