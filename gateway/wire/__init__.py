"""The data plane: sockets, HTTP/1.1 framing, pumps. It knows heads, framings and steps; nothing about S3.

    client ──▶ Client ── a head ──▶ Desk.turn ──▶ Turn.begin ──▶ Step ─┐        steps.py: what a Step is
                 │                                                     │
                 │ body                  Exchange ◀────────────────────┘        Say    answer here
                 └──────▶ Body ──▶ (Relay) ──▶ Upstream ──▶ backend             Send   to an origin; then
    client ◀──── Client ◀──── Exchange ◀──── Upstream ◀──── answer                 Pass / Collect / Drop its answer
                                                                                Read   the client's body first
                               Pool: kept connections, per address              Later  wait for something
                               Plane: listener, clock, tasks, hand-over         HandOver  to the control surface

client.py    one client's connection: heads in order, pipelining, closing, the clock
exchange.py  one request being answered: carries out the steps
body.py      the client's body, kept until somebody wants it
upstream.py  one connection to a backend
pool.py      the connections of the process: kept, bounded, made when none is free; names, probes
group.py     the addresses of one origin: which is next, which is passed over, who waits (docs/decisions/0007)
resumption.py  TLS to backends: verified, and resumed
plane.py     one process: listener, tick, who owns the tasks
heads.py chunks.py   HTTP/1.1 as bytes, read strictly
fetch.py     a request of our own, awaited
pump.py carriers.py   many bytes from socket to socket without entering Python (not in use yet: see docs/decisions/0006)

A request that needs nothing awaited is answered in the callbacks that bring its bytes: no task, no future. Who is ahead is
paused: the backend while the client does not read, the client while the backend does not. Nothing is repeated but a request
whose kept connection turned out to be dead before a byte of its answer came, and only when repeating is safe.
"""
