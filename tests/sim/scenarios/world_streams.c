/* Streams: all bytes, in order, whatever the network does to datagrams; ends, bounds, refusals,
 * resets, partitions. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/scenarios/probe.h"

enum { STREAM_PORT = 80, BULK = 3 << 20, PIECE = 60000 };

struct talker {
    struct sim_run *run;
    struct sim_node *node;
    struct env_listener *listener;
    struct env_stream *s;
    bool echoes, is_open, has_eof;
    int open_code, close_code;
    unsigned n_opened, n_closed, n_drained;
    uint64_t n_in, n_out;
    bool is_wrong; /* a byte was not the next one */
};

/* Byte i of every test stream. */
static uint8_t pattern(uint64_t i)
{
    return (uint8_t)(i * 7 + (i >> 8));
}

static void on_opened(void *arg, int code)
{
    struct talker *t = arg;
    t->n_opened++;
    t->open_code = code;
    t->is_open = code == 0;
}

static void on_data(void *arg, uint8_t *data, size_t len)
{
    struct talker *t = arg;
    if (len == 0)
        t->has_eof = true;
    for (size_t i = 0; i < len; i++)
        if (data[i] != pattern(t->n_in++))
            t->is_wrong = true;
    if (t->echoes && len > 0)
        run_check(t->run, env_stream_write(sim_node_env(t->node), t->s, data, len) == 0, "echo");
}

static void on_drained(void *arg)
{
    ((struct talker *)arg)->n_drained++;
}

static void on_closed(void *arg, int code)
{
    struct talker *t = arg;
    t->n_closed++;
    t->close_code = code;
}

static const struct env_stream_events events = {
    .opened = on_opened, .data = on_data, .drained = on_drained, .closed = on_closed
};

static void on_accepted(void *arg, struct env_stream *s)
{
    struct talker *t = arg;
    t->s = s;
    env_stream_attach(sim_node_env(t->node), s, &events, t);
}

static void drop(void *arg, struct sim_node *n)
{
    struct talker *t = arg;
    struct env *e = sim_node_env(n);
    env_stream_close(e, t->s);
    env_listener_close(e, t->listener);
    t->s = NULL;
    t->listener = NULL;
}

struct stage {
    struct sim_world *w;
    struct talker client, server;
    struct env_endpoint at;
};

static void talker_add(struct talker *t, struct sim_run *r, struct sim_world *w, uint32_t i,
                       const struct sim_node *same_host)
{
    struct sim_node_options o = {
        .address = probe_address(i, 0), .same_host = same_host, .drop = drop, .arg = t
    };
    *t = (struct talker){ .run = r };
    t->node = sim_node_add(w, &o);
    sim_node_boot(t->node);
}

static void stage_init(struct stage *s, struct sim_run *r, bool is_unix)
{
    s->w = run_world(r, &sim_link_rough);
    talker_add(&s->server, r, s->w, 1, NULL);
    talker_add(&s->client, r, s->w, 2, is_unix ? s->server.node : NULL);
    s->at = (struct env_endpoint){ .kind = ENV_TCP, .addr = probe_address(1, STREAM_PORT) };
    if (is_unix)
        s->at = (struct env_endpoint){ .kind = ENV_UNIX, .path = "/run/cyxd.sock" };
    int rc = env_listen(sim_node_env(s->server.node), &s->at, on_accepted, &s->server,
                        &s->server.listener, NULL);
    run_check(r, rc == 0, "listen: %d", rc);
}

static void dial(struct stage *s)
{
    struct env *e = sim_node_env(s->client.node);
    if (env_connect(e, &s->at, &events, &s->client, &s->client.s, NULL) < 0)
        abort();
}

/* Writes up to n pattern bytes; returns how many went. */
static uint64_t pour(struct talker *t, uint64_t n)
{
    static uint8_t buf[PIECE];
    uint64_t done = 0;
    while (done < n) {
        size_t len = n - done < PIECE ? (size_t)(n - done) : PIECE;
        for (size_t i = 0; i < len; i++)
            buf[i] = pattern(t->n_out + i);
        if (env_stream_write(sim_node_env(t->node), t->s, buf, len) < 0)
            break;
        t->n_out += len;
        done += len;
    }
    return done;
}

static void check_bulk(struct sim_run *r, bool is_unix)
{
    struct stage s;
    stage_init(&s, r, is_unix);
    s.server.echoes = true;
    dial(&s);
    pour(&s.client, 100); /* before it is open: waits behind the opening */
    run_for(s.w, SIM_S(1));
    run_check(r, s.client.is_open && s.server.n_in == 100, "early bytes: %u arrived",
              (unsigned)s.server.n_in);
    while (s.client.n_out < BULK) {
        pour(&s.client, BULK - s.client.n_out < PIECE ? BULK - s.client.n_out : PIECE);
        run_for(s.w, SIM_MS(50));
    }
    env_stream_end(sim_node_env(s.client.node), s.client.s);
    run_for(s.w, SIM_S(1));
    run_check(r, s.server.n_in == BULK && s.server.has_eof, "the server got %u of %u, end %d",
              (unsigned)s.server.n_in, BULK, s.server.has_eof);
    run_check(r, s.client.n_in == BULK && !s.client.has_eof, "half-closed: %u of %u came back",
              (unsigned)s.client.n_in, BULK);
    run_check(r, !s.client.is_wrong && !s.server.is_wrong, "bytes out of order");
    run_check(r, s.client.n_drained > 0, "never drained");
    struct env_cred cred;
    int rc = env_stream_cred(sim_node_env(s.server.node), s.server.s, &cred);
    run_check(r, rc == (is_unix ? 0 : CYX_EUNSUPPORTED), "credentials: %d", rc);
    env_stream_close(sim_node_env(s.server.node), s.server.s);
    s.server.s = NULL;
    run_for(s.w, SIM_S(1));
    run_check(r, s.client.has_eof, "no end after close");
    run_hash(r, s.w);
    sim_destroy(s.w);
}

static void check_push_back(struct sim_run *r)
{
    struct stage s;
    stage_init(&s, r, false);
    dial(&s);
    run_for(s.w, SIM_S(1));
    env_stream_pause(sim_node_env(s.server.node), s.server.s, true);
    uint64_t poured = pour(&s.client, 2 * ENV_STREAM_QUEUE_MAX);
    run_check(r, poured <= ENV_STREAM_QUEUE_MAX && poured + PIECE > ENV_STREAM_QUEUE_MAX,
              "a queue of 1 MiB took %u", (unsigned)poured);
    run_for(s.w, SIM_S(1));
    run_check(r, s.server.n_in == 0 && s.client.n_drained == 0, "a paused reader reads");
    env_stream_pause(sim_node_env(s.server.node), s.server.s, false);
    run_for(s.w, SIM_S(1));
    run_check(r, s.server.n_in == poured && s.client.n_drained > 0, "an unpaused reader waits");
    run_check(r, env_stream_queued(sim_node_env(s.client.node), s.client.s) == 0, "still queued");
    sim_destroy(s.w);
}

static void check_refusals(struct sim_run *r)
{
    struct stage s;
    struct env_listener *second = NULL;
    stage_init(&s, r, true);
    int rc = env_listen(sim_node_env(s.client.node), &s.at, on_accepted, &s.client, &second, NULL);
    run_check(r, rc == CYX_EBUSY, "two listeners on one path: %d", rc);
    snprintf(s.at.path, sizeof s.at.path, "/run/nobody.sock");
    dial(&s);
    run_check(r, s.client.n_opened == 0, "called back from within env_connect");
    run_for(s.w, SIM_S(1));
    run_check(r, s.client.n_opened == 1 && s.client.open_code != 0, "nobody listens, yet opened");
    run_check(r, pour(&s.client, 1) == 0, "a refused stream takes bytes");
    sim_destroy(s.w);
}

static void check_crash(struct sim_run *r)
{
    struct stage s;
    stage_init(&s, r, false);
    dial(&s);
    run_for(s.w, SIM_S(1));
    pour(&s.client, 1000);
    sim_node_crash(s.server.node);
    run_for(s.w, SIM_S(1));
    run_check(r, s.client.n_closed == 1 && s.client.close_code != 0, "a crash resets nothing");
    run_check(r, pour(&s.client, 1) == 0, "a reset stream takes bytes");
    sim_destroy(s.w);
}

/* A reset is no end, and what was on its way is lost; a unix stream has only ends. */
static void check_reset(struct sim_run *r)
{
    struct stage s;
    stage_init(&s, r, false);
    dial(&s);
    run_for(s.w, SIM_S(1));
    pour(&s.client, 1000);
    env_stream_reset(sim_node_env(s.client.node), s.client.s);
    s.client.s = NULL;
    run_for(s.w, SIM_S(1));
    run_check(r, s.server.n_closed == 1 && s.server.close_code == CYX_ECLOSED && !s.server.has_eof,
              "a reset: closed %u, end %d", s.server.n_closed, s.server.has_eof);
    run_check(r, s.server.n_in < 1000, "a reset lost nothing");
    sim_destroy(s.w);
    stage_init(&s, r, true);
    dial(&s);
    run_for(s.w, SIM_S(1));
    env_stream_reset(sim_node_env(s.client.node), s.client.s);
    s.client.s = NULL;
    run_for(s.w, SIM_S(1));
    run_check(r, s.server.n_closed == 0 && s.server.has_eof, "a unix stream was reset");
    sim_destroy(s.w);
}

static void check_partition(struct sim_run *r)
{
    struct stage s;
    stage_init(&s, r, false);
    dial(&s);
    run_for(s.w, SIM_S(1));
    sim_node_set_group(s.server.node, 1);
    pour(&s.client, 1000);
    run_for(s.w, SIM_S(10));
    run_check(r, s.server.n_in == 0, "bytes cross a partition");
    sim_heal(s.w);
    run_for(s.w, SIM_S(1));
    run_check(r, s.server.n_in == 1000, "a healed stream lost bytes");
    sim_node_set_group(s.server.node, 1);
    pour(&s.client, 1000);
    run_for(s.w, SIM_S(60));
    run_check(r, s.client.n_closed == 1 && s.client.close_code == CYX_ETIMEDOUT,
              "a stream across a lasting partition: closed %u", s.client.n_closed);
    sim_destroy(s.w);
}

static void run(struct sim_run *r)
{
    check_bulk(r, false);
    check_bulk(r, true);
    check_push_back(r);
    check_refusals(r);
    check_crash(r);
    check_reset(r);
    check_partition(r);
    run_figure(r, "nodes", "nodes in a case", 2, "");
}

extern const struct sim_scenario scenario_world_streams;
const struct sim_scenario scenario_world_streams = {
    .name = "world-streams",
    .help = "streams bring all bytes in order; bounds, refusals, resets, partitions",
    .run = run,
};
