"""A target is met at its limit, missed beyond it, and not judged without a measurement."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.ingest import SINGLE_POSTS, STREAMS
from bench.targets import judge_targets

Document = dict[str, Any]

_MIB = 1 << 20


def fanout(*rates: tuple[str, int, int, float]) -> Document:
    names = ("server", "clients", "in_flight", "deliveries_per_second")
    return {"results": [dict(zip(names, rate, strict=True)) for rate in rates]}


def latency(*rounds: tuple[str, float, bool]) -> Document:
    results: dict[str, list[Document]] = {"ryze": [], "gorilla": []}
    for server, p99, usable in rounds:
        results[server].append({"last_receipts": {"p99": p99}, "usable": usable})
    return {"parameters": {"clients": 500, "rate": 200}, "results": results}


def slow_clients(
    *,
    rate: float = 1,
    p99: float = 1,
    pending: tuple[int | None, ...] = (256,),
    kept: float = 0,
    closed_after: tuple[float | None, ...] = (0.1,),
    read_rate: float = 0,
) -> Document:
    return {
        "parameters": {"slow": 1, "clients": 10, "count_event_bytes": 8000, "rate": read_rate},
        "results": {
            "others": {"ryze": {"rounds": [{"rate_ratio": rate, "p99_ratio": p99}]}},
            "counts": {"ryze": {"clients": [{"pending": each} for each in pending]}},
            "closing": {"ryze": {"memory_kept": kept, "closed_after": list(closed_after)}},
        },
    }


def connections(
    size: float = 10 * 1024, *, theirs: float = 20 * 1024, failures: int = 0, grown: float = 0
) -> Document:
    one = {"bytes_a_connection": size, "back_failures": failures, "growth_of_a_return": grown}
    return {
        "parameters": {"clients": 1000},
        "results": {"ryze": [one], "gorilla": [{**one, "bytes_a_connection": theirs}]},
    }


def ingest(times: float = 100, growth: float = 0) -> Document:
    rates = {method.key: [{"events_per_second": 10 * times}] for method in STREAMS}
    rates[SINGLE_POSTS.key] = [{"events_per_second": 10}]
    memory = {method.key: {"growth": growth} for method in STREAMS}
    return {"parameters": {"events": 1000}, "results": {"rates": rates, "memory": memory}}


def judge(directory: Path, question: str, document: Document) -> list[bool]:
    """Write a result; return whether each target that could be judged is met."""
    (directory / f"{question}.json").write_text(json.dumps(document))
    return [result.is_met for result in judge_targets(directory)]


@pytest.mark.parametrize(
    ("n", "w", "other", "least"),
    [
        (1000, 1, "gorilla", 1.2),
        (1000, 1, "c", 0.85),
        (1000, 8, "gorilla", 3.0),
        (1000, 64, "gorilla", 10.0),
        (10, 1, "gorilla", 1.0),
    ],
)
def test_fan_out_is_met_at_its_limit(
    tmp_path: Path, n: int, w: int, other: str, least: float
) -> None:
    for rate, met in ((1000 * least, True), (1000 * least - 1, False)):
        document = fanout(("ryze", n, w, rate), (other, n, w, 1000))
        assert judge(tmp_path, "fanout", document) == [met]


def test_latency_is_met_at_the_p99_of_gorilla(tmp_path: Path) -> None:
    equal = latency(("ryze", 0.02, True), ("gorilla", 0.02, True))
    assert judge(tmp_path, "latency", equal) == [True]
    slower = latency(("ryze", 0.021, True), ("gorilla", 0.02, True))
    assert judge(tmp_path, "latency", slower) == [False]


def test_unusable_round_does_not_count(tmp_path: Path) -> None:
    late = latency(("ryze", 0.03, True), ("ryze", 0.001, False), ("gorilla", 0.02, True))
    assert judge(tmp_path, "latency", late) == [False]
    none_usable = latency(("ryze", 0.001, False), ("gorilla", 0.02, True))
    assert judge(tmp_path, "latency", none_usable) == []


@pytest.mark.parametrize(
    ("question", "met", "missed"),
    [
        ("slow_clients", slow_clients(rate=0.95), slow_clients(rate=0.949)),
        ("slow_clients", slow_clients(p99=1.1), slow_clients(p99=1.101)),
        ("slow_clients", slow_clients(pending=(256, 256)), slow_clients(pending=(256, 257))),
        ("slow_clients", slow_clients(), slow_clients(pending=(256, 255))),
        ("slow_clients", slow_clients(), slow_clients(pending=(None,))),
        ("slow_clients", slow_clients(kept=204_800), slow_clients(kept=204_801)),
        ("slow_clients", slow_clients(), slow_clients(closed_after=(0.1, None))),
        ("connections", connections(15 * 1024), connections(15 * 1024 + 1)),
        ("connections", connections(theirs=10 * 1024 + 1), connections(theirs=10 * 1024)),
        ("connections", connections(), connections(failures=1)),
        ("connections", connections(grown=1_024_000), connections(grown=1_024_001)),
    ],
)
def test_exactly_one_target_is_missed(
    tmp_path: Path, question: str, met: Document, missed: Document
) -> None:
    as_met, as_missed = judge(tmp_path, question, met), judge(tmp_path, question, missed)
    assert as_met == [True] * len(as_missed)
    assert as_missed.count(False) == 1


@pytest.mark.parametrize(
    ("met", "missed"),
    [(ingest(times=50), ingest(times=49.9)), (ingest(growth=_MIB), ingest(growth=_MIB + 1))],
)
def test_both_streams_are_judged(tmp_path: Path, met: Document, missed: Document) -> None:
    assert judge(tmp_path, "ingest", met) == [True] * 4
    assert judge(tmp_path, "ingest", missed).count(False) == 2


@pytest.mark.parametrize(
    ("question", "document", "message"),
    [
        ("fanout", fanout(), "not measured: fan-out, n=10, w=1, ryze against gorilla"),
        ("fanout", {}, "fanout.json lacks 'results', which the targets need"),
        ("slow_clients", slow_clients(read_rate=10), "not measured: slow clients that do not read"),
    ],
)
def test_unmeasured_target_is_reported_and_not_judged(
    tmp_path: Path,
    question: str,
    document: Document,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert judge(tmp_path, question, document) == []
    warnings = capsys.readouterr().err
    assert message in warnings
    assert "run python -m bench.ingest" in warnings


def test_ryze_is_judged_alone_without_gorilla(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = connections()
    all_results = judge(tmp_path, "connections", document)
    del document["results"]["gorilla"]
    assert len(judge(tmp_path, "connections", document)) == len(all_results) - 1
    assert "1,000 connections, ryze against gorilla" in capsys.readouterr().err


def test_short_run_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = {**ingest(), "finished_at": "2020-02-02T02:02:02+00:00"}
    document["parameters"]["short"] = True
    judge(tmp_path, "ingest", document)
    warnings = capsys.readouterr().err
    assert "ingest: finished 2020-02-02T02:02:02+00:00: a short run" in warnings
