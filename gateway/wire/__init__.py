"""The data plane: sockets, HTTP/1.1 framing, pumps. It knows heads, framings and steps; nothing about S3.

    client ──▶ Client ── a head ──▶ Desk.again, else read and Desk.turn         (what the desk knows is not read)
                 │                            └──▶ Turn.begin ──▶ Step ─┐       steps.py: what a Step is
                 │ body                  Exchange ◀─────────────────────┘       Say    answer here
                 └──▶ Body ──▶ Upload (Relay) ──▶ Upstream ──▶ backend          Send   to an origin; then
    client ◀──── Client ◀──── Answer ◀────────── Upstream ◀── answer            Pass / Collect / Drop its answer
                                                                                Read   the client's body first
    client ◀═════════════════ Pump ═════════════════════════▶ backend           Pull   it piece by piece
                                                                                Later  wait for something
    Question ──▶ Upstream ──▶ somebody else we ask                              Ask    somebody else first
    Pool: kept connections, per address                                         HandOver  to the control surface
    Plane: listener, clock, tasks, hand-over

client.py    one client's connection: heads in order, pipelining, closing, the clock
exchange.py  one request being answered: its steps, one after the other
upload.py    its body on the way to the backend        answer.py  the answer on the way to the client
body.py      the client's body, framed, kept until somebody wants it
pump.py carriers.py   many bytes from socket to socket without entering Python
sieve.py     the same through a relay
feed.py tap.py   large bodies to and from a client under TLS
goodbyes.py  how connections of clients under TLS end
near.py      how much a near source may have on its way to the pump
upstream.py  one connection to a backend               stream.py  its socket, where it is plaintext
outlet.py    what connections write, written at the end of a round of the event loop
pool.py shortage.py   the connections of the process: kept, bounded, made when none is free; names, probes
group.py     the addresses of one origin: which is next, which is passed over, who waits (docs/decisions/0007)
resumption.py  TLS to backends: verified, and resumed
plane.py     one process: listener, tick, who owns the tasks
heads.py answer_heads.py chunks.py   HTTP/1.1 as bytes, read strictly
forms.py     texts with holes: heads that were seen before, and what is written about them
fetch.py question.py   a request of our own: awaited; between two steps
heap.py      what malloc is told about pieces of bodies

A request that needs nothing awaited is answered in the callbacks that bring its bytes: no task, no future; one read and one
write on each side when it is small, since a head goes with the first bytes of its body, and an answer that came whole is
written whole. All connections' small writes wait for the end of the event loop's round, thirty-two of them at most (outlet.py).

A body goes through as pieces of what is read at once (256 KB at most). From `PUMPED` bytes still to come the Pump takes over, if
their number is known and both sides are plaintext: no chunks of HTTP, no TLS. They go untouched through a pipe, or where a relay
has to see them and lets as many out as come, through a Sieve: read into one buffer of the thread, written from it. The transports stay
the sockets' owners: the source is paused, the target writes nothing, until the pump says that it is done. Then the Upstream or
the Body is told what was moved, and all goes on as if the bytes had come through. The Exchange stops the pump before either
connection ends.

Who is ahead is paused: the backend while the client does not read, the client while the backend does not. Nothing is repeated
but a request whose kept connection turned out to be dead before a byte of its answer came, and only when repeating is safe.

What a connection holds at most, beyond the kernel's own buffers: idle 3 KiB (measured: 2,000 kept clients after one GET each);
a head 64 KiB, what is pipelined behind a request 128 KiB and one read; a body without the pump 768 KiB in each direction (the
write buffer at which the other side is paused, and one read; one read more where a relay holds it back); with the pump one
carrier: a pipe of 1 MiB, or where there is none a copy of 512 KiB; with a relay what that holds of a chunk, and for a backend that
stalls at most one read: 2 MiB when it took all at once before, else 512 KiB. 100 stalled downloads of 64 MiB took 0.1 KiB each of the
process, and up to that pipe of the kernel.
"""
