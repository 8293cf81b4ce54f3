/* bench_fetch PROXY|- HOST PORT PATH STREAMS USERS RAMP SECONDS - gets PATH over and over on
 * STREAMS keep-alive connections, through a SOCKS5 proxy (IP:PORT) or straight (-, HOST an IP
 * address). Streams take turns in being of USERS users of the proxy: those of different ones share
 * no path.
 *
 * The clock starts RAMP seconds after every stream had its first byte, so that congestion windows
 * have grown, and runs for SECONDS; with 0 and 0 it all ends with the first byte. Bodies are thrown
 * away in the kernel, so that the measuring side costs as little as it can. Prints one JSON object;
 * first_byte_ms is from connect() to the first byte of the slowest stream, all_bytes counts from
 * the start. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    STREAMS_MAX = 256,
    LATENCIES_MAX = 1 << 20,
    USERS_MAX = 26,
    HEAD_MAX = 4096,
    DISCARD = 1 << 20,
    GIVE_UP_S = 60 /* for every stream's first byte */
};

enum stage { METHODS, LOGIN, REPLY, HEAD, BODY };

struct stream {
    int fd;
    unsigned user;
    enum stage stage;
    char head[HEAD_MAX];
    size_t len;    /* of head */
    uint64_t left; /* of the body */
    uint64_t asked_ns;
    bool has_byte;
};

struct run {
    struct sockaddr_in to;
    bool is_proxied;
    const char *host;
    uint16_t port;
    char request[1024];
    unsigned n_streams, n_flowing; /* the latter had a byte */
    struct stream stream[STREAMS_MAX];
    uint64_t start_ns, flowing_ns, count_ns; /* connect(), every first byte, the clock */
    uint64_t bytes, all_bytes, responses;
    double latency_ms[LATENCIES_MAX];
    size_t n_latencies;
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what)
{
    fprintf(stderr, "bench_fetch: %s\n", what);
    exit(1);
}

static void put(struct stream *s, const void *data, size_t len)
{
    if (send(s->fd, data, len, MSG_NOSIGNAL) != (ssize_t)len)
        die("send failed");
}

static void ask(struct run *r, struct stream *s)
{
    s->stage = HEAD;
    s->len = 0;
    s->asked_ns = now_ns();
    put(s, r->request, strlen(r->request));
}

/* ---- SOCKS5 (RFC 1928, 1929) ----------------------------------------------------------------- */

static void send_login(struct stream *s)
{
    uint8_t m[] = { 1, 1, (uint8_t)('a' + s->user), 1, 'x' };
    put(s, m, sizeof m);
}

static void send_connect(const struct run *r, struct stream *s)
{
    uint8_t m[5 + 255 + 2] = { 5, 1, 0, 3, (uint8_t)strlen(r->host) };
    memcpy(m + 5, r->host, m[4]);
    m[5 + m[4]] = (uint8_t)(r->port >> 8);
    m[6 + m[4]] = (uint8_t)r->port;
    put(s, m, 7u + m[4]);
}

/* The proxy's next answer, of which no byte of the far end is read. */
static void on_proxy(struct run *r, struct stream *s)
{
    size_t want = s->stage == REPLY ? 10 : 2;
    ssize_t n = recv(s->fd, s->head + s->len, want - s->len, 0);
    if (n <= 0)
        die("the proxy closed");
    s->len += (size_t)n;
    if (s->len < want)
        return;
    s->len = 0;
    if (s->head[1] != (s->stage == METHODS ? 2 : 0))
        die("the proxy refused");
    switch (s->stage) {
    case METHODS:
        send_login(s);
        s->stage = LOGIN;
        break;
    case LOGIN:
        send_connect(r, s);
        s->stage = REPLY;
        break;
    case REPLY:
    case HEAD:
    case BODY:
        ask(r, s);
        break;
    }
}

/* ---- HTTP ------------------------------------------------------------------------------------ */

static void on_response_end(struct run *r, struct stream *s)
{
    r->responses++;
    if (r->n_latencies < LATENCIES_MAX)
        r->latency_ms[r->n_latencies++] = (double)(now_ns() - s->asked_ns) / 1e6;
    ask(r, s);
}

static void note_first(struct run *r, struct stream *s)
{
    if (s->has_byte)
        return;
    s->has_byte = true;
    if (++r->n_flowing == r->n_streams)
        r->flowing_ns = now_ns();
}

static void on_head(struct run *r, struct stream *s)
{
    ssize_t n = recv(s->fd, s->head + s->len, HEAD_MAX - 1 - s->len, 0);
    if (n <= 0)
        die("reset before a response");
    note_first(r, s);
    s->len += (size_t)n;
    s->head[s->len] = '\0';
    const char *end = strstr(s->head, "\r\n\r\n"), *size = strcasestr(s->head, "content-length:");
    if (end == NULL) {
        if (s->len == HEAD_MAX - 1)
            die("no end of the head");
        return;
    }
    if (strncmp(s->head, "HTTP/1.1 200", 12) != 0 || size == NULL || size > end)
        die("not a response of 200 with a length");
    uint64_t body = strtoull(size + strlen("content-length:"), NULL, 10);
    uint64_t here = s->len - (size_t)(end + 4 - s->head);
    s->left = body > here ? body - here : 0;
    s->stage = BODY;
    r->bytes += here;
    r->all_bytes += here;
    if (s->left == 0)
        on_response_end(r, s);
}

static void on_body(struct run *r, struct stream *s)
{
    /* MSG_TRUNC of TCP: the bytes are dropped without a copy. */
    ssize_t n = recv(s->fd, NULL, s->left < DISCARD ? s->left : DISCARD, MSG_TRUNC);
    if (n <= 0)
        die("reset within a response");
    s->left -= (uint64_t)n;
    r->bytes += (uint64_t)n;
    r->all_bytes += (uint64_t)n;
    if (s->left == 0)
        on_response_end(r, s);
}

static void on_readable(struct run *r, struct stream *s)
{
    if (s->stage < HEAD)
        on_proxy(r, s);
    else if (s->stage == HEAD)
        on_head(r, s);
    else
        on_body(r, s);
}

/* ---- the run --------------------------------------------------------------------------------- */

static void open_stream(struct run *r, struct stream *s, int ep)
{
    int one = 1;
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->fd < 0 || connect(s->fd, (struct sockaddr *)&r->to, sizeof r->to) < 0)
        die(strerror(errno));
    setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct epoll_event e = { .events = EPOLLIN, .data = { .ptr = s } };
    if (epoll_ctl(ep, EPOLL_CTL_ADD, s->fd, &e) < 0)
        die("epoll_ctl failed");
    if (r->is_proxied)
        put(s, "\5\1\2", 3);
    else
        ask(r, s);
}

/* The ramp is over: counting begins anew. */
static void begin_count(struct run *r, uint64_t now)
{
    r->count_ns = now;
    r->bytes = r->responses = 0;
    r->n_latencies = 0;
}

static void play(struct run *r, uint64_t ramp_ns, uint64_t span_ns)
{
    struct epoll_event e[STREAMS_MAX];
    int ep = epoll_create1(EPOLL_CLOEXEC);
    r->start_ns = now_ns();
    for (unsigned i = 0; i < r->n_streams; i++)
        open_stream(r, &r->stream[i], ep);
    for (;;) {
        uint64_t now = now_ns();
        if (r->count_ns == 0 && r->flowing_ns != 0 && now - r->flowing_ns >= ramp_ns)
            begin_count(r, now);
        if (r->count_ns != 0 && now - r->count_ns >= span_ns)
            return;
        if (r->flowing_ns == 0 && now - r->start_ns > GIVE_UP_S * 1000000000ull)
            die("not every stream had a byte in time");
        int n = epoll_wait(ep, e, STREAMS_MAX, 10);
        for (int i = 0; i < n; i++)
            on_readable(r, e[i].data.ptr);
    }
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print(struct run *r)
{
    double seconds = (double)(now_ns() - r->count_ns) / 1e9;
    size_t n = r->n_latencies;
    qsort(r->latency_ms, n, sizeof r->latency_ms[0], by_size);
    printf(
        "{\"first_byte_ms\":%.3f,\"seconds\":%.3f,\"bytes\":%llu,\"all_bytes\":%llu,"
        "\"mb_per_s\":%.3f,\"responses_per_s\":%.1f,\"latency_ms\":%.3f,\"latency_p99_ms\":%.3f}\n",
        (double)(r->flowing_ns - r->start_ns) / 1e6, seconds, (unsigned long long)r->bytes,
        (unsigned long long)r->all_bytes, seconds > 0 ? (double)r->bytes / seconds / 1e6 : 0,
        seconds > 0 ? (double)r->responses / seconds : 0, n > 0 ? r->latency_ms[n / 2] : 0,
        n > 0 ? r->latency_ms[n * 99 / 100] : 0);
}

/* "IP:PORT" into `to`. */
static bool parse_address(const char *text, struct sockaddr_in *to)
{
    char ip[64];
    const char *colon = strchr(text, ':');
    if (colon == NULL || (size_t)(colon - text) >= sizeof ip)
        return false;
    memcpy(ip, text, (size_t)(colon - text));
    ip[colon - text] = '\0';
    *to = (struct sockaddr_in){ .sin_family = AF_INET,
                                .sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10)) };
    return inet_pton(AF_INET, ip, &to->sin_addr) == 1;
}

int main(int argc, char **argv)
{
    static struct run r;
    if (argc != 9)
        die("usage: bench_fetch PROXY|- HOST PORT PATH STREAMS USERS RAMP SECONDS");
    char direct[128];
    snprintf(direct, sizeof direct, "%s:%s", argv[2], argv[3]);
    r.is_proxied = strcmp(argv[1], "-") != 0;
    r.host = argv[2];
    r.port = (uint16_t)strtoul(argv[3], NULL, 10);
    r.n_streams = (unsigned)strtoul(argv[5], NULL, 10);
    unsigned n_users = (unsigned)strtoul(argv[6], NULL, 10);
    if (!parse_address(r.is_proxied ? argv[1] : direct, &r.to) || r.n_streams == 0 ||
        r.n_streams > STREAMS_MAX || n_users == 0 || n_users > USERS_MAX || strlen(r.host) > 255)
        die("bad arguments");
    for (unsigned i = 0; i < r.n_streams; i++)
        r.stream[i].user = i % n_users;
    snprintf(r.request, sizeof r.request, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", argv[4], r.host);
    play(&r, (uint64_t)(strtod(argv[7], NULL) * 1e9), (uint64_t)(strtod(argv[8], NULL) * 1e9));
    print(&r);
    return 0;
}
