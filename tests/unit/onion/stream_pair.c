#include "stream_pair.h"

#include <criterion/criterion.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/secret.h"

/* A cell on its way. */
struct flying {
    struct pair *pair;
    struct env_timer timer;
    struct list node;
    struct pair_cell cell;
};

static struct list sky; /* tests run one by one, each in a process of its own */

static uint64_t rnd(struct pair *p, uint64_t below)
{
    p->random = p->random * 6364136223846793005u + 1442695040888963407u;
    return below == 0 ? 0 : (p->random >> 20) % below;
}

uint64_t pair_now(const struct pair *p)
{
    return sim_now(p->world);
}

/* ---- a stream's ends -------------------------------------------------------------------------
 */

static uint8_t pattern(uint8_t seed, uint64_t at)
{
    return (uint8_t)(seed + at * 131 + (at >> 8) * 17);
}

static void pump(struct pair_end *e)
{
    uint8_t buf[4096];
    while (e->written < e->to_send && e->stream != NULL) {
        size_t want = e->to_send - e->written < sizeof buf ? e->to_send - e->written : sizeof buf;
        for (size_t i = 0; i < want; i++)
            buf[i] = pattern(e->seed_out, e->written + i);
        size_t n = onion_conn_stream_write(e->stream, buf, want);
        e->written += n;
        if (n < want)
            return;
    }
    if (e->ends && e->stream != NULL)
        onion_conn_stream_end(e->stream);
}

static void on_status(void *arg, uint8_t status)
{
    struct pair_end *e = arg;
    cr_assert_not(e->has_status);
    e->has_status = true;
    e->status = status;
    if (status != ONION_ANSWER_OPEN)
        e->stream = NULL;
}

static void on_data(void *arg, const uint8_t *data, size_t len, bool is_early)
{
    struct pair_end *e = arg;
    if (e->received == 0)
        e->first_byte_ns = pair_now(e->pair);
    cr_assert_not(e->has_ended);
    for (size_t i = 0; i < len; i++)
        e->is_wrong |= data[i] != pattern(e->seed_in, e->received + i);
    e->received += len;
    e->early += is_early ? len : 0;
    if (e->is_slow)
        e->unread += len;
    else
        onion_conn_stream_consumed(e->stream, len);
}

static void on_end(void *arg)
{
    struct pair_end *e = arg;
    cr_assert_not(e->has_ended);
    e->has_ended = true;
    e->end_ns = pair_now(e->pair);
}

static void on_writable(void *arg)
{
    pump(arg);
}

static void on_reset(void *arg, uint64_t code)
{
    struct pair_end *e = arg;
    cr_assert_not(e->was_reset);
    cr_assert_not(e->is_closed);
    e->was_reset = true;
    e->code = code;
    e->stream = NULL;
}

static void on_stream_closed(void *arg)
{
    struct pair_end *e = arg;
    cr_assert_not(e->is_closed);
    e->is_closed = true;
    e->stream = NULL;
}

static const struct onion_conn_stream_ops end_ops = { on_status,   on_data,  on_end,
                                                      on_writable, on_reset, on_stream_closed };

void pair_read(struct pair_end *e, uint64_t n)
{
    n = n < e->unread ? n : e->unread;
    e->unread -= n;
    if (e->stream != NULL)
        onion_conn_stream_consumed(e->stream, n);
    pair_poke(e->pair);
}

/* ---- cells ----------------------------------------------------------------------------------- */

static void deliver(struct pair *p, const struct pair_cell *c)
{
    if (c->to_service)
        (void)onion_conns_received(p->conns, c->splice, &p->key, c->kind, c->bytes, c->len);
    else if (p->client != NULL && c->kind == ONION_KIND_QUIC)
        (void)onion_conn_received(p->client, c->splice, c->bytes, c->len);
}

static void on_arrival(struct env_timer *t, void *arg)
{
    struct flying *f = arg;
    (void)t;
    struct pair_cell c = f->cell;
    struct pair *p = f->pair;
    list_del(&f->node);
    free(f);
    if (!p->cut[c.splice % 16])
        deliver(p, &c);
}

static void fly(struct pair *p, const struct pair_cell *c, uint64_t delay_ns)
{
    struct flying *f = malloc(sizeof *f);
    cr_assert_not_null(f);
    *f = (struct flying){ .pair = p, .cell = *c };
    list_init(&f->node);
    list_push_back(&sky, &f->node);
    env_timer_init(&f->timer, on_arrival, f);
    env_timer_in(p->env, &f->timer, delay_ns);
}

static void send_cell(struct pair *p, bool to_service, uint32_t splice, enum onion_kind kind,
                      const uint8_t *bytes, size_t len)
{
    struct pair_cell c = { .splice = splice, .kind = kind, .to_service = to_service, .len = len };
    const struct pair_link *l = to_service ? &p->up : &p->down;
    cr_assert(len >= 1 && len <= ONION_PAYLOAD);
    memcpy(c.bytes, bytes, len);
    if (to_service) {
        p->cells_up++;
        p->bytes_up += len;
    } else {
        p->cells_down++;
        p->last_to_client_on = splice;
        p->to_client_on[splice % 16]++;
    }
    if (p->tap != NULL && !p->tap(p, &c))
        return;
    if (p->records && p->n_tape < PAIR_TAPE)
        p->tape[p->n_tape++] = c;
    unsigned copies = rnd(p, 1000000) < l->copy_ppm ? 2 : 1;
    for (unsigned i = 0; i < copies; i++)
        if (rnd(p, 1000000) >= l->loss_ppm && !p->cut[splice % 16])
            fly(p, &c, l->delay_ns + rnd(p, l->jitter_ns));
}

static void client_send(void *arg, uint32_t splice, enum onion_kind kind, const uint8_t *bytes,
                        size_t len)
{
    send_cell(arg, true, splice, kind, bytes, len);
}

static void service_send(void *arg, uint32_t splice, enum onion_kind kind, const uint8_t *bytes,
                         size_t len)
{
    send_cell(arg, false, splice, kind, bytes, len);
}

void pair_inject(struct pair *p, const struct pair_cell *c, uint32_t splice)
{
    struct pair_cell copy = *c;
    copy.splice = splice;
    fly(p, &copy, 0);
}

void pair_seal(struct pair_cell *out, const uint8_t secret[static 32], uint32_t number,
               const void *frames, size_t len)
{
    ngtcp2_callbacks cb = { 0 };
    ngtcp2_crypto_aead_ctx aead = { 0 };
    ngtcp2_crypto_cipher_ctx hp = { 0 };
    struct onion_quic_keys k;
    uint8_t nonce[12], mask[16], text[64] = { 0 }, *p = out->bytes;
    onion_quic_keys_derive(&k, secret);
    onion__quic_crypto_callbacks(&cb);
    cr_assert_eq(onion__quic_aead(&aead, &k, ONION__QUIC_SEAL, NULL), 0);
    cr_assert_eq(onion__quic_hp(&hp, &k), 0);
    memcpy(text, frames, len); /* PADDING behind them */
    memcpy(nonce, k.iv, sizeof nonce);
    p[0] = 0x43;
    for (unsigned i = 0; i < 4; i++) {
        p[1 + i] = (uint8_t)(number >> (24 - 8 * i));
        nonce[8 + i] ^= p[1 + i];
    }
    cr_assert_eq(cb.encrypt(p + 5, NULL, &aead, text, sizeof text, nonce, 12, p, 5), 0);
    cr_assert_eq(cb.hp_mask(mask, NULL, &hp, p + 5), 0);
    p[0] ^= mask[0] & 0x1F;
    for (unsigned i = 0; i < 4; i++)
        p[1 + i] ^= mask[1 + i];
    out->kind = ONION_KIND_QUIC;
    out->len = 5 + sizeof text + 16;
    onion__quic_aead_free(&aead);
    onion__quic_hp_free(&hp);
}

/* ---- the service ----------------------------------------------------------------------------- */

static void service_open(void *arg)
{
    struct pair *p = arg;
    p->service_open = true;
}

static void service_closed(void *arg, const struct onion_conn_end *end)
{
    struct pair *p = arg;
    p->service_over = true;
    p->service_end = *end;
    onion_conn_destroy(p->service);
    p->service = NULL;
}

void pair_serve_pattern(struct pair *p, struct pair_end *e)
{
    (void)p;
    pump(e);
}

static void service_stream(void *arg, struct onion_conn_stream *s, uint16_t port, bool is_early)
{
    struct pair *p = arg;
    cr_assert_lt(p->n_answers, (size_t)PAIR_STREAMS);
    struct pair_end *e = &p->answers[p->n_answers++];
    e->pair = p;
    e->stream = s;
    e->port = port;
    e->is_early = is_early;
    e->seed_in = (uint8_t)port;
    e->seed_out = (uint8_t)(port + 100);
    e->ends = true;
    onion_conn_stream_set_ops(s, &end_ops, e);
    onion_conn_stream_answer(s, p->answer);
    if (p->answer != ONION_ANSWER_OPEN)
        e->stream = NULL;
    else if (p->serve != NULL)
        p->serve(p, e);
}

static void got_datagram(void *arg, uint16_t port, uint16_t flow, const uint8_t *data, size_t len,
                         bool is_early)
{
    struct pair *p = arg;
    p->n_datagrams++;
    p->n_datagrams_early += is_early;
    p->datagram_port = port;
    p->datagram_flow = flow;
    p->datagram_len = len;
    memcpy(p->datagram, data, len);
}

static const struct onion_conn_ops service_ops = { .open = service_open,
                                                   .closed = service_closed,
                                                   .stream = service_stream,
                                                   .datagram = got_datagram };

static bool accepted(void *arg, struct onion_conn *c)
{
    struct pair *p = arg;
    if (p->refuses)
        return false;
    p->accepted++;
    p->service = c;
    p->service_over = p->service_open = false;
    onion_conn_set_ops(c, &service_ops, p);
    return true;
}

static void close_splice(void *arg, uint32_t splice, enum onion_close reason)
{
    struct pair *p = arg;
    p->closes++;
    p->last_close = reason;
    p->last_closed = splice;
}

static uint64_t net_time(void *arg)
{
    const struct pair *p = arg;
    return p->net_time + sim_now(p->world) / 1000000000u;
}

static const struct onion_conns_ops conns_ops = { service_send, close_splice, accepted, net_time };

/* ---- the client ------------------------------------------------------------------------------ */

static void client_open(void *arg)
{
    struct pair *p = arg;
    p->client_open = true;
    p->client_open_ns = pair_now(p);
}

static void client_closed(void *arg, const struct onion_conn_end *end)
{
    struct pair *p = arg;
    p->client_over = true;
    p->client_end = *end;
    onion_conn_destroy(p->client);
    p->client = NULL;
}

static void path_dead(void *arg)
{
    ((struct pair *)arg)->is_dead = true;
}

static void can_open(void *arg)
{
    ((struct pair *)arg)->can_open++;
}

static const struct onion_conn_ops client_ops = { .open = client_open,
                                                  .closed = client_closed,
                                                  .path_dead = path_dead,
                                                  .can_open = can_open,
                                                  .datagram = got_datagram };

void pair_connect(struct pair *p)
{
    struct onion_carrier carrier = { .send = client_send, .arg = p };
    struct onion_conn_options o = { .env = p->env,
                                    .buffers = &p->client_buffers,
                                    .carrier = &carrier,
                                    .ops = &client_ops,
                                    .arg = p,
                                    .initial_rtt_ns = 2 * (p->up.delay_ns + p->down.delay_ns) };
    struct onion_stream_id id = { 0 };
    memcpy(id.net, p->net, 32);
    memcpy(id.address, p->key.address, 32);
    memcpy(id.service_key, p->key.pub, 32);
    p->client = onion_conn_create(&o, &id, net_time(p), NULL);
    cr_assert_not_null(p->client);
}

struct pair_end *pair_open(struct pair *p, uint16_t port, uint64_t n)
{
    cr_assert_lt(p->n_ends, (size_t)PAIR_STREAMS);
    struct pair_end *e = &p->ends[p->n_ends++];
    *e = (struct pair_end){ .pair = p,
                            .seed_out = (uint8_t)port,
                            .seed_in = (uint8_t)(port + 100),
                            .to_send = n,
                            .ends = true,
                            .port = port };
    e->stream = onion_conn_stream_open(p->client, port, &end_ops, e, NULL);
    if (e->stream == NULL)
        return NULL;
    pump(e);
    return e;
}

void pair_up(struct pair *p, uint32_t splice)
{
    onion_conn_path_up(p->client, splice, NULL, ONION_EARLY_TO_SEND);
    pair_poke(p);
}

/* ---- the world ------------------------------------------------------------------------------- */

static void boot(void *arg, struct sim_node *n)
{
    (void)arg;
    (void)n;
}

static void nothing(void *arg)
{
    (void)arg;
}

void pair_poke(struct pair *p)
{
    sim_node_enter(p->node, nothing, NULL);
    sim_run_until(p->world, sim_now(p->world));
}

void pair_run(struct pair *p, uint64_t ms)
{
    sim_run_until(p->world, sim_now(p->world) + SIM_MS(ms));
}

bool pair_until(struct pair *p, const bool *flag, uint64_t ms)
{
    uint64_t end = sim_now(p->world) + SIM_MS(ms);
    while (!*flag && sim_now(p->world) < end && sim_step(p->world))
        ;
    return *flag;
}

struct pair *pair_create(void)
{
    struct pair *p = calloc(1, sizeof *p);
    cr_assert_eq(secret_init(NULL), 0);
    cr_assert_not_null(p);
    list_init(&sky);
    p->tape = calloc(PAIR_TAPE, sizeof *p->tape);
    p->world = sim_create(&(struct sim_options){ .seed = 7 });
    struct sim_node_options no = { .address = env_addr_v4(10, 0, 0, 1, 0),
                                   .boot = boot,
                                   .drop = boot };
    p->node = sim_node_add(p->world, &no);
    cr_assert_not_null(p->node);
    sim_node_boot(p->node);
    p->env = sim_node_env(p->node);
    sim_run_until(p->world, SIM_S(1000));
    p->random = 99;
    p->up = p->down = (struct pair_link){ .delay_ns = SIM_MS(50) };
    p->net_time = 1700000000;
    memset(p->net, 1, sizeof p->net);
    memset(p->key.address, 2, sizeof p->key.address);
    memset(p->key.secret, 3, sizeof p->key.secret);
    crypto_dh_public(p->key.pub, p->key.secret);
    onion_buffers_init(&p->client_buffers, 0, 0);
    onion_buffers_init(&p->service_buffers, 0, 0);
    p->flights = onion_flights_create(ONION_FLIGHTS, 0, 0);
    struct onion_conns_options o = { .env = p->env,
                                     .buffers = &p->service_buffers,
                                     .flights = p->flights,
                                     .ops = &conns_ops,
                                     .arg = p,
                                     .initial_rtt_ns = SIM_MS(200) };
    memcpy(o.net, p->net, 32);
    p->conns = onion_conns_create(&o);
    cr_assert_not_null(p->conns);
    return p;
}

void pair_destroy(struct pair *p)
{
    onion_conn_destroy(p->client);
    onion_conn_destroy(p->service);
    onion_conns_destroy(p->conns);
    onion_flights_destroy(p->flights);
    list_each_safe (n, &sky) {
        struct flying *f = container_of(n, struct flying, node);
        env_timer_stop(p->env, &f->timer);
        list_del(n);
        free(f);
    }
    cr_expect_eq(p->client_buffers.rx.used, 0u);
    cr_expect_eq(p->client_buffers.tx.used, 0u);
    cr_expect_eq(p->service_buffers.rx.used, 0u);
    cr_expect_eq(p->service_buffers.tx.used, 0u);
    sim_destroy(p->world);
    free(p->tape);
    free(p);
}
