/* Sends requests when they are due, and says how long each answer took: the generator of load_steady.py.
 *
 *     steady PLAN SEEN
 *
 * PLAN: port, connections, shots, requests (int32 each); for each shot the bytes of its request and of its answer's body (int32 each),
 * and the request; for each request the seconds after the start when it is due (double). SEEN gets for each request how long after it
 * was due it left, then for each answer how long after its request was due it was whole (double, seconds). Exit status 1, and a line
 * on stderr, for an answer that is not as it must be: status 200, with the Content-Length and as many bytes as were told.
 *
 * It is in C because the store has the same CPU: one in Python took 60 us of it for each request, this one 30, and what waited for
 * the other was told as the server's latency. It has no priority of its own: with one (SCHED_FIFO) it keeps the store waiting instead.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE 10.0 /* seconds without any answer */
#define ROOM 131072   /* bytes of an answer, its head included */

struct shot { int32_t size, body; char *data; };
struct connection { int fd, body, got, begins; double due; char buffer[ROOM + 1]; };

static double started;

static void fail(const char *what, const char *more)
{
    fprintf(stderr, "%s: %.2000s\n", what, more);
    exit(1);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9 - started;
}

static void *room(size_t count, size_t size)
{
    void *made = calloc(count ? count : 1, size);
    if (!made)
        fail("no memory", "");
    return made;
}

static void get(FILE *from, void *to, size_t size)
{
    if (size && fread(to, size, 1, from) != 1)
        fail("the plan ends too early", "");
}

static int connected(int port)
{
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        fail("not connected", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static void put(struct connection *on, const struct shot *shot, double due)
{
    if (send(on->fd, shot->data, shot->size, MSG_NOSIGNAL) != shot->size)
        fail("a small request did not fit into the socket's buffer", "");
    on->body = shot->body, on->due = due, on->got = on->begins = 0;
}

/* Look at the head, once it is there. */
static void look(struct connection *on)
{
    char *end = strstr(on->buffer, "\r\n\r\n"), *field;
    if (!end)
        return;
    on->begins = end + 4 - on->buffer;
    field = strcasestr(on->buffer, "\r\ncontent-length:");
    if (strncmp(on->buffer, "HTTP/1.1 200 ", 13) || !field || field > end || atoi(field + 17) != on->body)
        fail("a wrong answer", on->buffer);
}

/* Take what came; return whether the answer is whole. */
static int take(struct connection *on)
{
    ssize_t got = recv(on->fd, on->buffer + on->got, ROOM - on->got, 0);
    if (got < 0 && errno == EAGAIN)
        return 0;
    if (got <= 0)
        fail("an answer ended early", on->buffer);
    on->got += got;
    on->buffer[on->got] = 0;
    if (!on->begins)
        look(on);
    if (on->begins && on->got - on->begins > on->body)
        fail("more than an answer", on->buffer);
    return on->begins && on->got - on->begins == on->body;
}

int main(int count, char **words)
{
    FILE *plan = count == 3 ? fopen(words[1], "rb") : NULL, *seen = plan ? fopen(words[2], "wb") : NULL;
    int32_t port, connections, shots, requests;
    if (!seen)
        fail("usage: steady PLAN SEEN", "");
    get(plan, &port, 4), get(plan, &connections, 4), get(plan, &shots, 4), get(plan, &requests, 4);
    struct shot *shot = room(shots, sizeof *shot);
    for (int i = 0; i < shots; i++) {
        get(plan, &shot[i].size, 4), get(plan, &shot[i].body, 4);
        shot[i].data = room(shot[i].size, 1);
        get(plan, shot[i].data, shot[i].size);
    }
    double *due = room(requests, sizeof *due), *late = room(requests, sizeof *late), *took = room(requests, sizeof *took);
    get(plan, due, requests * sizeof *due);

    int poll = epoll_create1(0), idle = connections, first = 0; /* idle connections, the longest idle first: a ring */
    struct connection *all = room(connections, sizeof *all), **ring = room(connections, sizeof *ring);
    struct epoll_event *events = room(connections, sizeof *events);
    for (int i = 0; i < connections; i++) {
        all[i].fd = connected(port), ring[i] = &all[i];
        events[0].events = EPOLLIN, events[0].data.ptr = &all[i];
        epoll_ctl(poll, EPOLL_CTL_ADD, all[i].fd, &events[0]);
    }

    started = now();
    for (int sent = 0, done = 0; done < requests;) {
        for (double time = now(); idle && sent < requests && due[sent] <= time; sent++, idle--) {
            late[sent] = time - due[sent];
            put(ring[first], &shot[sent % shots], due[sent]);
            first = (first + 1) % connections;
        }
        int waits = idle && sent < requests;
        double left = waits ? due[sent] - now() : PATIENCE;
        struct timespec most = {0, 0};
        if (left > 0)
            most.tv_sec = left, most.tv_nsec = (left - most.tv_sec) * 1e9;
        int ready = epoll_pwait2(poll, events, connections, &most, NULL);
        if (!ready && !waits)
            fail("answers did not come", "");
        for (int i = 0; i < ready; i++) {
            struct connection *on = events[i].data.ptr;
            if (take(on)) {
                took[done++] = now() - on->due;
                ring[(first + idle++) % connections] = on;
            }
        }
    }
    if (fwrite(late, sizeof *late, requests, seen) != (size_t)requests || fwrite(took, sizeof *took, requests, seen) != (size_t)requests)
        fail("not written", strerror(errno));
    return fclose(seen) ? 1 : 0;
}
