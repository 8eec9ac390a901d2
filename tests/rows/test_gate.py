"""The gate by a clock of its own: it opens with successes, and closes by the share of refusals."""

from __future__ import annotations

import pytest

from comet_magic.rows.gate import FIRST, Gate, Ticket, gate_for


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gate(clock: Clock) -> Gate:
    return Gate(clock)


def begun(gate: Gate, count: int) -> list[Ticket]:
    tickets = [gate.begin() for _ in range(count)]
    return [ticket for ticket in tickets if ticket]


def end(gate: Gate, tickets: list[Ticket], refused: int = 0, wait_s: float | None = None) -> None:
    for number, ticket in enumerate(tickets):
        is_refused = number < refused
        gate.end(ticket, is_refused=is_refused, is_success=not is_refused, wait_s=wait_s if is_refused else None)


def test_it_doubles_with_each_round_trip_until_it_is_cut(gate: Gate) -> None:
    sizes = []
    for _ in range(4):
        tickets = begun(gate, 1000)
        sizes.append(len(tickets))
        end(gate, tickets)
    assert sizes == [FIRST, 2 * FIRST, 4 * FIRST, 8 * FIRST]


def test_a_share_of_a_fifth_changes_nothing_and_a_higher_one_cuts_and_holds(gate: Gate, clock: Clock) -> None:
    end(gate, begun(gate, 8))
    end(gate, begun(gate, 10), refused=2)
    assert (gate.limit, gate.hold[0]) == (24, 0.0)
    end(gate, begun(gate, 20)[::-1], refused=8, wait_s=7.0)
    assert gate.limit < 24
    assert 7.0 <= gate.hold[0] <= 7.7
    assert gate.begin() is None
    clock.now += 8
    assert gate.hold == (0.0, "")
    tickets = begun(gate, 1000)
    before = gate.limit
    assert len(tickets) == before
    end(gate, tickets)
    assert before < gate.limit <= before + 2


def test_refusals_of_requests_begun_before_a_cut_do_not_cut_again(gate: Gate, clock: Clock) -> None:
    for _ in range(3):
        end(gate, begun(gate, 1000))
    tickets = begun(gate, 64)
    end(gate, tickets[:20], refused=20, wait_s=1.0)
    cut = gate.limit
    end(gate, tickets[20:], refused=44, wait_s=1.0)
    assert gate.limit == cut


def test_rpm_and_tpm_are_taken_before_they_are_waited_for(gate: Gate, clock: Clock) -> None:
    begun_at = []
    for _ in range(1000):
        while ticket := gate.begin(rpm=60):
            begun_at.append(clock.now)
            gate.end(ticket, is_refused=False, is_success=True)
        clock.now += 0.1
    in_first_minute = [at for at in begun_at if at < 160.0]
    assert 58 <= len(in_first_minute) <= 63
    other = Gate(clock)
    assert other.begin(tpm=6000, tokens=100)
    assert other.begin(tpm=6000, tokens=100)
    assert other.begin(tpm=6000, tokens=100) is None


def test_headers_hold_it_while_too_little_is_left(gate: Gate, clock: Clock) -> None:
    tickets = begun(gate, 4)
    gate.read_headers({"anthropic-ratelimit-requests-remaining": "9", "anthropic-ratelimit-requests-reset": "5s"})
    assert gate.hold[0] == 0
    gate.read_headers({"anthropic-ratelimit-requests-remaining": "2", "anthropic-ratelimit-requests-reset": "5s"})
    seconds, why = gate.hold
    assert 5 <= seconds <= 5.5
    assert why == "the limit of requests is used up, says the endpoint"
    gate.read_headers({"anthropic-ratelimit-tokens-remaining": "0", "anthropic-ratelimit-tokens-reset": "9000s"})
    assert gate.hold[0] <= 331
    for odd in ("", "x", "-1", "²", "9" * 5000):
        gate.read_headers({"anthropic-ratelimit-requests-remaining": odd, "anthropic-ratelimit-requests-reset": odd})
    end(gate, tickets)


def test_there_is_one_gate_for_an_endpoint_a_key_and_a_model() -> None:
    assert gate_for("https://a", "k", "m") is gate_for("https://a", "k", "m")
    assert gate_for("https://a", "k", "m") is not gate_for("https://a", "other", "m")
