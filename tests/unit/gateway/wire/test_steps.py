"""The steps are plain values: what can be told by looking at one."""

from __future__ import annotations

from gateway.wire.steps import Origin, Traffic


def test_origins_are_keys():
    """Two origins of the same place are one: their connections are shared; another context is another origin."""
    assert {Origin("a", 1): 1} == {Origin("a", 1, None): 1}
    assert Origin("a", 1) != Origin("a", 2)


def test_traffic_begins_empty():
    """Nothing has moved before anything moves."""
    traffic = Traffic()
    assert (traffic.received, traffic.sent, traffic.cut) == (0, 0, "")
