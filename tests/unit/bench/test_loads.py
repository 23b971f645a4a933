"""The generators look at what they get, and leave when they are due."""

from __future__ import annotations

import hashlib
import os
import socket
import sys
import threading

import pytest
from botocore.credentials import Credentials

from bench.contenders import listens
from bench.load_large import Big, Together, digest_get, digest_put, fire, transfer
from bench.load_small import WrongAnswer, parse, refuse, verify, verify_put
from bench.load_steady import arrivals, built, percentile
from bench.load_steady import fire as steady
from bench.origin import unframed
from bench.peers import filled
from bench.plan import in_turn
from bench.signing import CHUNK, Shot, Signer, framed_length
from tests.servers.processes import ROOT, Process, free_port, until

KEYS = Credentials("ACCESS", "secret", "token")
CONTENT = os.urandom(3 * 1024 * 1024 + 5)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    path = tmp_path_factory.mktemp("origin") / "content"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture(scope="module")
def origin(content):
    port = free_port()
    process = Process(
        [sys.executable, str(ROOT / "bench/origin.py"), str(port), str(content)], content.with_name("log")
    )
    process.start()
    until(lambda: listens(port), "the store listens")
    yield port
    process.stop()


@pytest.fixture
def signer(origin):
    return Signer(KEYS, f"127.0.0.1:{origin}")


@pytest.fixture
def strange():
    """A server that answers everything with the same bytes and closes."""
    listener = socket.create_server(("127.0.0.1", 0))
    answers = []

    def serve() -> None:
        while answers:
            sock, _ = listener.accept()
            sock.recv(65536)
            sock.sendall(answers.pop(0))
            sock.close()

    def start(*wanted: bytes) -> int:
        answers.extend(wanted)
        threading.Thread(target=serve, daemon=True).start()
        return listener.getsockname()[1]

    yield start
    listener.close()


def test_the_store_makes_the_bytes_that_are_read(origin, signer):
    """A download of any size is the content, whole."""
    verify(origin, [signer.get(1000, n) for n in range(3)], CONTENT)
    digest_get(origin, Big(signer.get(len(CONTENT), 0).data), DIGEST)


def test_a_changed_byte_is_seen(origin, signer):
    """What is not what was stored ends the run."""
    with pytest.raises(WrongAnswer):
        verify(origin, [signer.get(1000, 0)], b"\0" + CONTENT[1:])
    with pytest.raises(WrongAnswer):
        digest_get(origin, Big(signer.get(len(CONTENT), 0).data), "0" * 64)


def test_an_sdk_upload_arrives_as_it_was(origin, signer):
    """The store finds the content in boto3's framing; its shape is the default of today's SDKs."""
    shot = signer.put(CONTENT[:1024], "digest")
    verify_put(origin, [shot, shot], hashlib.sha256(CONTENT[:1024]).hexdigest())
    assert b"STREAMING-UNSIGNED-PAYLOAD-TRAILER" in shot.data
    assert b"\r\nx-amz-checksum-crc32:" in shot.data
    with pytest.raises(WrongAnswer):
        verify_put(origin, [shot], DIGEST)


def test_signed_chunks_arrive_as_they_were(origin, signer, content):
    """The store finds the content in signed chunks, and they are as long as was said."""
    to = content.with_name("chunked")
    signer.put_chunked(content, to, "digest")
    digest_put(origin, Big(b"", file=to), DIGEST)
    head, _, body = to.read_bytes().partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"".join(unframed(body)) == CONTENT


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_the_length_of_a_framing_is_known_beforehand(size, signer, tmp_path):
    """Content-Length is right for every size."""
    body, to = tmp_path / "body", tmp_path / "to"
    body.write_bytes(bytes(size))
    signer.put_chunked(body, to, "x")
    assert len(to.read_bytes().partition(b"\r\n\r\n")[2]) == framed_length(size)


def test_big_bodies_move_both_ways(origin, signer, content):
    """Downloads that are discarded and uploads by sendfile are counted to their last byte."""
    down = Big(signer.get(len(CONTENT), 0).data, len(CONTENT))
    up = Big(signer.put_head(2 * len(CONTENT), 0), file=content, times=2)
    assert fire(origin, down, 5, 2).count == 5
    assert fire(origin, up, 3, 2).count == 3


def test_many_transfers_are_all_on_their_way_at_once(origin, signer):
    """When `start` returns all are in the middle, and `finish` brings them to their end."""
    transfers = Together(origin, Big(signer.get(64 << 20, 0).data, 64 << 20), 20)
    transfers.start()
    assert transfers.finish(60) == 20


def test_transfers_that_take_too_long_are_cut_off(origin, signer):
    """A bound on time holds, and what it cut is not counted."""
    transfers = Together(origin, Big(signer.get(500 << 30, 0).data, 500 << 30), 2)
    transfers.start()
    assert transfers.finish(0.2) == 0


def test_a_short_body_ends_the_run(strange):
    """A connection that closes inside a body is a wrong answer, not a fast one."""
    port = strange(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort")
    with socket.create_connection(("127.0.0.1", port)) as sock, pytest.raises(WrongAnswer, match="5 bytes before"):
        transfer(sock, Big(b"GET / HTTP/1.1\r\n\r\n", 10))


def test_a_refusal_ends_the_run(strange):
    """A fast error is not a result."""
    port = strange(*[b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n"] * 2)
    with socket.create_connection(("127.0.0.1", port)) as sock, pytest.raises(WrongAnswer, match="503"):
        transfer(sock, Big(b"GET / HTTP/1.1\r\n\r\n", 10))
    with pytest.raises(WrongAnswer, match="503 for a wrong signature"):
        refuse(port, Shot(b"GET / HTTP/1.1\r\n\r\n", 10))


def test_a_wrong_signature_must_be_refused(strange):
    """A contender that answers it is not one that verifies."""
    answers = (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    port = strange(*answers)
    with pytest.raises(WrongAnswer):
        refuse(port, Shot(b"GET / HTTP/1.1\r\n\r\n", 0))
    refuse(port, Shot(b"GET / HTTP/1.1\r\n\r\n", 0))


@pytest.mark.parametrize(
    "printed",
    ["", "RESULT 100 2000000 1 0\n403, 5 bytes: no\n", "RESULT 100 2000000 0 3\n\n", "RESULT 0 2000000 0 0\n\n"],
)
def test_one_wrong_answer_of_wrk_ends_the_run(printed):
    """Wrong answers, errors, no answers and no words of wrk are no result."""
    with pytest.raises(WrongAnswer):
        parse(printed, "", 1.0)


def test_what_wrk_tells_is_read():
    """Count and seconds are those of wrk."""
    fired = parse("Running\nRESULT 100 2000000 0 0\n\n", "", 0.5)
    assert (fired.count, fired.seconds, fired.cpu) == (100, 2.0, 0.5)


@pytest.fixture
def generator(tmp_path):
    """The generator of steady loads."""
    return built(tmp_path) or pytest.skip("there is no C compiler")


def test_latency_counts_from_when_a_request_was_due(generator, origin, signer):
    """Requests that could not leave in time are slow, whatever the server did: no coordinated omission."""
    shots = [signer.get(1000, n) for n in range(4)]
    seen = steady(generator, origin, shots, [-1.0] * 10 + [0.05])
    assert sum(one > 0.9 for one in seen.latencies) == 10
    assert min(seen.latencies) < 0.9
    assert len(seen.late) == 11


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\n\r\nab",
    ],
)
def test_one_wrong_answer_of_a_steady_load_ends_the_run(generator, strange, answer):
    """Its status, its length as told and as it is, and that it comes at all, are looked at."""
    port = strange(answer)
    with pytest.raises(WrongAnswer, match="answer"):
        steady(generator, port, [Shot(b"GET / HTTP/1.1\r\n\r\n", 2)], [0.0])


def test_arrivals_are_the_same_for_everybody():
    """The same seed gives the same arrivals, at the rate that was asked."""
    one = arrivals(1000, 10, 7)
    assert one == arrivals(1000, 10, 7) != arrivals(1000, 10, 8)
    assert one == sorted(one)
    assert 950 < len(one) / one[-1] < 1050


@pytest.mark.parametrize(("share", "wanted"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_percentiles_are_nearest_ranks(share, wanted):
    """The p-th percentile is the smallest number that so many do not exceed."""
    assert percentile(list(range(100, 0, -1)), share) == wanted


def test_the_order_is_swapped_every_round():
    """Who comes first in one round comes last in the next."""
    assert list(in_turn("abc", 3)) == list("abccbaabc")


def test_a_template_says_what_it_lacks():
    """Every name of a configuration is filled, or it is an error."""
    assert filled("listen @port; @tls", {"port": 1, "tls": ""}) == "listen 1; "
    with pytest.raises(KeyError):
        filled("@port @other", {"port": 1})
