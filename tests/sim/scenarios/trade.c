#include "tests/sim/scenarios/trade.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/reader.h"
#include "base/writer.h"
#include "onion/address.h"

enum {
    CHUNK = 4096,
    PATIENCE_S = 60,
    READY_S = 120, /* all services are seen within this */
    PACE_MS = 100, /* between two pieces of a paced answer */
};

/* A request being served. */
struct seat {
    struct list node;
    struct trade_host *host;
    struct onion_stream *s;
    struct trade_call *call; /* NULL: its head isn't here yet */
    uint8_t head[TRADE_HEAD];
    uint64_t got, sent;
    struct env_timer pace;
    bool is_pacing;
};

/* ---- bytes ---- */

enum side { REQUEST, ANSWER };

static uint8_t byte_at(uint64_t number, enum side side, uint64_t i)
{
    uint64_t x = (number * 2 + side + 1) * 0x9e3779b97f4a7c15u + i * 0xd6e8feb86659fd93u;
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93u;
    return (uint8_t)(x >> 56);
}

static void fill(uint8_t *out, size_t len, uint64_t number, enum side side, uint64_t from)
{
    for (size_t i = 0; i < len; i++)
        out[i] = byte_at(number, side, from + i);
}

static bool is_right(const uint8_t *data, size_t len, uint64_t number, enum side side,
                     uint64_t from)
{
    uint8_t bad = 0;
    for (size_t i = 0; i < len; i++)
        bad |= data[i] ^ byte_at(number, side, from + i);
    return bad == 0;
}

static void head_write(const struct trade_call *c, uint8_t out[static TRADE_HEAD])
{
    struct writer w = writer_on(out, TRADE_HEAD);
    writer_u64(&w, c->number);
    writer_u32(&w, c->o.request);
    writer_u32(&w, c->o.answer);
}

/* ---- broken promises ---- */

static void broken(struct trade_tally *t, const char *what, uint64_t number, uint64_t at)
{
    if (t->wrong++ == 0)
        snprintf(t->what, sizeof t->what, "%s, visit %u at byte %u", what, (unsigned)number,
                 (unsigned)at);
}

static struct trade_tally *tally_of(struct seat *x)
{
    return x->call != NULL ? x->call->o.tally : &x->host->trade->stray;
}

/* ---- a service ---- */

static void seat_free(struct seat *x)
{
    if (x->is_pacing)
        env_timer_stop(sim_node_env(x->host->at->base.node), &x->pace);
    list_del(&x->node);
    free(x);
}

static void seat_closed(void *arg, enum onion_fail why)
{
    (void)why;
    seat_free(arg);
}

/* As much as there is room for, at most `most` bytes. False: the stream takes no more now. */
static bool answer(struct seat *x, uint64_t most)
{
    uint8_t buf[CHUNK];
    const struct trade_call *c = x->call;
    uint64_t until = c->o.answer - x->sent < most ? c->o.answer : x->sent + most;
    while (x->sent < until) {
        size_t len = until - x->sent < CHUNK ? (size_t)(until - x->sent) : CHUNK;
        fill(buf, len, c->number, ANSWER, x->sent);
        size_t took = onion_stream_write(x->s, buf, len);
        x->sent += took;
        if (took < len)
            return false;
    }
    if (x->sent == c->o.answer)
        onion_stream_end(x->s);
    return true;
}

static void paced(struct env_timer *t, void *arg)
{
    struct seat *x = arg;
    (void)t;
    env_timer_in(sim_node_env(x->host->at->base.node), &x->pace, ENV_MS(PACE_MS));
    (void)answer(x, (uint64_t)x->call->o.pace * PACE_MS / 1000);
    if (x->sent == x->call->o.answer)
        env_timer_stop(sim_node_env(x->host->at->base.node), &x->pace);
}

static void begin_answer(struct seat *x)
{
    if (x->call->o.pace == 0) {
        (void)answer(x, UINT64_MAX);
        return;
    }
    x->is_pacing = true;
    env_timer_init(&x->pace, paced, x);
    env_timer_in(sim_node_env(x->host->at->base.node), &x->pace, 0);
}

static void seat_writable(void *arg)
{
    struct seat *x = arg;
    if (x->call != NULL && x->call->o.pace == 0 && x->sent < x->call->o.answer)
        (void)answer(x, UINT64_MAX);
}

static void know_call(struct seat *x)
{
    const struct trade *t = x->host->trade;
    struct reader r = reader_on(x->head, sizeof x->head);
    uint64_t number = reader_u64(&r);
    uint32_t request = reader_u32(&r), answer_len = reader_u32(&r);
    struct trade_call *c = number < t->n_calls ? t->calls[number] : NULL;
    if (c == NULL || &t->hosts[c->o.host] != x->host || c->o.request != request ||
        c->o.answer != answer_len) {
        broken(&x->host->trade->stray, "a head that nobody sent", number, 0);
        return;
    }
    x->call = c;
    if (c->n_seats++ > 0)
        broken(c->o.tally, "a request served twice", number, 0);
}

static void seat_bytes(struct seat *x, const uint8_t *data, size_t len)
{
    size_t n = 0;
    for (; x->got < TRADE_HEAD && n < len; n++) {
        x->head[x->got++] = data[n];
        if (x->got == TRADE_HEAD)
            know_call(x);
    }
    if (n == len || x->call == NULL)
        return;
    uint64_t from = x->got - TRADE_HEAD;
    if (from + (len - n) > x->call->o.request ||
        !is_right(data + n, len - n, x->call->number, REQUEST, from))
        broken(x->call->o.tally, "wrong bytes in a request", x->call->number, from);
    x->got += len - n;
}

static void seat_data(void *arg, const uint8_t *data, size_t len)
{
    struct seat *x = arg;
    if (len > 0) {
        seat_bytes(x, data, len);
        onion_stream_consumed(x->s, len);
        return;
    }
    if (x->call != NULL && x->got == TRADE_HEAD + (uint64_t)x->call->o.request)
        begin_answer(x);
    else
        broken(tally_of(x), "a request that ends early", x->call != NULL ? x->call->number : 0,
               x->got);
}

static void came(void *arg, struct onion_stream *s, uint16_t port)
{
    static const struct onion_stream_events ev = { .data = seat_data,
                                                   .writable = seat_writable,
                                                   .closed = seat_closed };
    struct trade_host *h = arg;
    struct seat *x = calloc(1, sizeof *x);
    (void)port;
    if (x == NULL)
        abort();
    x->host = h;
    x->s = s;
    list_init(&x->node);
    list_push_back(&h->seats, &x->node);
    onion_stream_attach(s, &ev, x);
    onion_stream_accept(s);
}

static void changed(void *arg, const struct onion_service_info *now)
{
    struct trade_host *h = arg;
    if (now->state == ONION_SERVICE_READY)
        h->ready_ns = sim_now(h->trade->maze->w);
}

static void serve(struct trade_host *h)
{
    static const struct onion_service_events ev = { .stream = came, .changed = changed };
    const struct onion_port port = { TRADE_PORT, ONION_PORT_STREAM };
    const struct onion_service_config c = { .seed = h->seed, .ports = &port, .n_ports = 1 };
    struct cyx_err err = { 0 };
    h->ready_ns = 0;
    h->s = onion_serve(h->at->onion, &c, &ev, h, &err);
    if (h->s == NULL)
        abort();
}

/* ---- hooks of the maze ---- */

static struct trade_host *host_on(struct trade *t, const struct maze_node *me)
{
    uint32_t i = me->base.number - maze_of(me)->o.relays;
    return !me->is_relay && i < t->n_hosts ? &t->hosts[i] : NULL;
}

static void node_started(void *arg, struct maze_node *me)
{
    struct trade_host *h = host_on(arg, me);
    if (h == NULL)
        return;
    h->at = me;
    serve(h);
}

/* Streams end with their service; who was not told is freed here. */
static void node_dropped(void *arg, struct maze_node *me)
{
    struct trade_host *h = host_on(arg, me);
    if (h == NULL)
        return;
    onion_service_close(h->s);
    h->s = NULL;
    h->ready_ns = 0;
    list_each_safe (node, &h->seats)
        seat_free(container_of(node, struct seat, node));
}

struct maze_hooks trade_hooks(struct trade *t)
{
    return (struct maze_hooks){ .started = node_started, .dropped = node_dropped, .arg = t };
}

/* ---- a visit ---- */

static void over(struct trade_call *c)
{
    struct trade_tally *t = c->o.tally;
    uint64_t now = sim_now(c->trade->maze->w);
    c->is_over = true;
    if (!c->is_done) {
        town_sample(&t->failed_us, (now - c->begun_ns) / 1000);
        return;
    }
    t->done++;
    town_sample(&t->whole_us, (now - c->begun_ns) / 1000);
    town_sample(&t->pause_us, c->pause_ns / 1000);
}

static void push(struct trade_call *c)
{
    uint8_t buf[TRADE_HEAD + CHUNK];
    uint64_t all = TRADE_HEAD + (uint64_t)c->o.request;
    while (c->sent < all) {
        size_t len = 0;
        if (c->sent < TRADE_HEAD) {
            head_write(c, buf);
            len = TRADE_HEAD - (size_t)c->sent;
            memmove(buf, buf + c->sent, len);
        }
        uint64_t from = c->sent + len - TRADE_HEAD;
        size_t more = all - c->sent - len < CHUNK ? (size_t)(all - c->sent - len) : CHUNK;
        fill(buf + len, more, c->number, REQUEST, from);
        size_t took = onion_stream_write(c->s, buf, len + more);
        c->sent += took;
        if (took < len + more)
            return;
    }
    onion_stream_end(c->s);
}

static void call_bytes(struct trade_call *c, const uint8_t *data, size_t len)
{
    uint64_t now = sim_now(c->trade->maze->w);
    if (c->got == 0)
        town_sample(&c->o.tally->first_us, (now - c->begun_ns) / 1000);
    else if (now - c->last_ns > c->pause_ns)
        c->pause_ns = now - c->last_ns;
    c->last_ns = now;
    if (c->got + len > c->o.answer || !is_right(data, len, c->number, ANSWER, c->got))
        broken(c->o.tally, "wrong bytes in an answer", c->number, c->got);
    c->got += len;
    c->o.tally->bytes += len;
}

static void call_data(void *arg, const uint8_t *data, size_t len)
{
    struct trade_call *c = arg;
    if (len > 0) {
        call_bytes(c, data, len);
        if (!c->o.never_reads)
            onion_stream_consumed(c->s, len);
        return;
    }
    if (c->got == c->o.answer)
        c->is_done = true;
    else
        broken(c->o.tally, "an answer that ends early", c->number, c->got);
}

static void call_writable(void *arg)
{
    push(arg);
}

static void call_closed(void *arg, enum onion_fail why)
{
    struct trade_call *c = arg;
    c->s = NULL;
    if (!c->is_done) {
        c->o.tally->fails[why]++;
        if (why == ONION_FAIL_NONE)
            broken(c->o.tally, "an orderly end without all bytes", c->number, c->got);
    }
    over(c);
}

static void give_up_in(void *arg)
{
    struct trade_call *c = arg;
    if (c->s == NULL)
        return;
    onion_stream_reset(c->s);
    c->s = NULL;
    if (!c->is_done)
        c->o.tally->hung++;
    over(c);
}

static void give_up(void *arg)
{
    struct trade_call *c = arg;
    if (c->s != NULL)
        sim_node_enter(c->at->base.node, give_up_in, c);
}

static void dial(void *arg)
{
    static const struct onion_stream_events ev = { .data = call_data,
                                                   .writable = call_writable,
                                                   .closed = call_closed };
    struct trade_call *c = arg;
    struct onion_target to = { .port = TRADE_PORT };
    struct cyx_err err = { 0 };
    memcpy(to.address, c->trade->hosts[c->o.host].address, sizeof to.address);
    memcpy(to.isolation.tag, &c->o.tag, sizeof c->o.tag);
    c->begun_ns = sim_now(c->trade->maze->w);
    c->s = onion_dial(c->at->onion, &to, &ev, c, &err);
    if (c->s == NULL) {
        c->o.tally->fails[ONION_FAIL_BUSY]++;
        over(c);
        return;
    }
    push(c);
}

static void begin(void *arg)
{
    struct trade_call *c = arg;
    struct sim_world *w = c->trade->maze->w;
    c->o.tally->asked++;
    c->is_begun = true;
    sim_node_enter(c->at->base.node, dial, c);
    sim_at(w, sim_now(w) + c->o.patience_ns, give_up, c);
}

struct trade_call *trade_visit(struct trade *t, const struct trade_order *o, uint64_t in_ns)
{
    struct trade_call *c = calloc(1, sizeof *c);
    if (t->n_calls == t->cap) {
        t->cap = t->cap == 0 ? 64 : 2 * t->cap;
        t->calls = realloc(t->calls, t->cap * sizeof(struct trade_call *));
    }
    if (c == NULL || t->calls == NULL)
        abort();
    c->trade = t;
    c->o = *o;
    if (c->o.patience_ns == 0)
        c->o.patience_ns = SIM_S(PATIENCE_S);
    c->at = maze_user(t->maze, o->client);
    c->number = t->n_calls;
    t->calls[t->n_calls++] = c;
    sim_at(t->maze->w, sim_now(t->maze->w) + in_ns, begin, c);
    return c;
}

/* ---- life ---- */

struct trade *trade_create(uint32_t hosts)
{
    struct trade *t = calloc(1, sizeof *t);
    if (t == NULL)
        abort();
    t->hosts = calloc(hosts, sizeof *t->hosts);
    if (t->hosts == NULL)
        abort();
    t->n_hosts = hosts;
    for (uint32_t i = 0; i < hosts; i++) {
        struct trade_host *h = &t->hosts[i];
        h->trade = t;
        list_init(&h->seats);
        memset(h->seed, 7, sizeof h->seed);
        memcpy(h->seed, &i, sizeof i);
        onion_address_of_seed(h->address, h->seed);
    }
    return t;
}

void trade_open(struct trade *t, struct maze *m)
{
    t->maze = m;
}

void trade_destroy(struct trade *t)
{
    for (size_t i = 0; i < t->n_calls; i++)
        free(t->calls[i]);
    free(t->calls);
    free(t->hosts);
    trade_tally_fini(&t->stray);
    free(t);
}

static uint32_t count_ready(const struct trade *t)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->n_hosts; i++)
        n += t->hosts[i].ready_ns != 0;
    return n;
}

void trade_settle(struct trade *t, struct sim_run *r)
{
    uint64_t end = sim_now(t->maze->w) + SIM_S(READY_S);
    while (count_ready(t) < t->n_hosts && sim_now(t->maze->w) < end)
        maze_pass(t->maze, r, SIM_MS(100));
    run_check(r, count_ready(t) == t->n_hosts, "%u of %u services are seen from outside",
              count_ready(t), t->n_hosts);
}

static bool are_over(const struct trade *t)
{
    for (size_t i = 0; i < t->n_calls; i++)
        if (!t->calls[i]->is_over)
            return false;
    return true;
}

void trade_wait(struct trade *t, struct sim_run *r)
{
    while (!are_over(t))
        maze_pass(t->maze, r, SIM_MS(500));
}

/* ---- figures ---- */

void trade_tally_fini(struct trade_tally *t)
{
    free(t->first_us.v);
    free(t->whole_us.v);
    free(t->pause_us.v);
    free(t->failed_us.v);
}

void trade_check(const struct trade *t, struct sim_run *r, const struct trade_tally *tally,
                 const char *what)
{
    run_check(r, tally->wrong == 0, "%s: %u promises broken, the first: %s", what,
              (unsigned)tally->wrong, tally->what);
    run_check(r, t->stray.wrong == 0, "%s: %u promises broken, the first: %s", what,
              (unsigned)t->stray.wrong, t->stray.what);
}

uint64_t trade_permille(const struct trade_tally *t)
{
    return t->asked > 0 ? 1000 * t->done / t->asked : 1000;
}

void trade_report_fails(struct sim_run *r, const struct trade_tally *t, const char *key,
                        const char *label)
{
    if (t->hung > 0)
        run_figure(r, run_text(r, "%s_hung", key), run_text(r, "%s: given up", label), t->hung, "");
    for (unsigned i = 0; i < ONION_FAILS; i++)
        if (t->fails[i] > 0)
            run_figure(r, run_text(r, "%s_fail_%s", key, onion_fail_name((enum onion_fail)i)),
                       run_text(r, "%s: ended as %s", label, onion_fail_name((enum onion_fail)i)),
                       t->fails[i], "");
}

void trade_report(struct sim_run *r, const struct trade_tally *t, const char *key,
                  const char *label)
{
    run_figure(r, run_text(r, "%s_visits", key), run_text(r, "%s: visits", label), t->asked, "");
    run_figure(r, run_text(r, "%s_permille", key), run_text(r, "%s: every byte back", label),
               trade_permille(t), "permille");
    trade_report_fails(r, t, key, label);
}
