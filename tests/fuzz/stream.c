/* Sequences of events for an end-to-end connection: any packet, packets of any frames sealed under
 * the right keys of any level (what a malicious client or service can say), copies and changed
 * copies of true ones on other splices, streams, datagrams, paths, time. Randomness is a constant,
 * so this side knows all keys. Whatever comes, nothing may break but the connection. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/reader.h"
#include "base/secret.h"
#include "base/writer.h"
#include "onion/conn_internal.h"
#include "onion/conns.h"
#include "tests/sim/world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { OPS_MAX = 300, WIRE = 64, STREAMS = 16, CONST = 0x42, NET_TIME = 1700000000 };

struct cell {
    bool to_service;
    uint32_t splice;
    enum onion_kind kind;
    size_t len;
    uint8_t bytes[ONION_PAYLOAD];
};

static struct {
    struct sim_world *world;
    struct sim_node *node;
    struct env *env;
    struct env_ops ops;
    struct onion_buffers buffers;
    struct onion_flights *flights;
    struct onion_conns *conns;
    struct onion_conn *client, *service[8];
    size_t n_service;
    struct onion_service_key key;
    struct onion_conn_stream *streams[2][STREAMS]; /* client's, services' */
    size_t n_streams[2];
    struct cell wire[WIRE]; /* on the way, then kept to be repeated */
    size_t n_wire, n_delivered;
    struct onion_secret_pair secrets[4]; /* Initial, 0-RTT, Handshake, 1-RTT */
    bool loses, is_slow;
} w;

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void constant(struct env *env, void *buf, size_t n)
{
    (void)env;
    memset(buf, CONST, n);
}

/* ---- users of streams ------------------------------------------------------------------------ */

static void forget(struct onion_conn_stream *s)
{
    for (unsigned side = 0; side < 2; side++)
        for (size_t i = 0; i < w.n_streams[side]; i++)
            if (w.streams[side][i] == s)
                w.streams[side][i] = NULL;
}

/* Whoever destroys a connection hears nothing of its streams any more. */
static void destroy(struct onion_conn **at)
{
    for (unsigned side = 0; side < 2; side++)
        for (size_t i = 0; i < w.n_streams[side]; i++)
            if (w.streams[side][i] != NULL && onion_conn_stream_conn(w.streams[side][i]) == *at)
                w.streams[side][i] = NULL;
    onion_conn_destroy(*at);
    *at = NULL;
}

/* arg is where the stream stands in w.streams. */
static void on_status(void *arg, uint8_t status)
{
    struct onion_conn_stream **at = arg;
    if (status != ONION_ANSWER_OPEN)
        *at = NULL;
}

static void on_data(void *arg, const uint8_t *data, size_t len, bool is_early)
{
    struct onion_conn_stream **at = arg;
    (void)is_early;
    must(*at != NULL && len > 0);
    if (data[0] == 'r') {
        onion_conn_stream_reset(*at, data[len - 1]);
        *at = NULL;
    } else if (data[0] == 'c') {
        onion_conn_close(onion_conn_stream_conn(*at), ONION_CODE_DONE);
    } else if (data[0] == 'e') {
        (void)onion_conn_stream_write(*at, data, len);
        onion_conn_stream_consumed(*at, len);
    } else if (!w.is_slow) {
        onion_conn_stream_consumed(*at, len);
    }
}

static void on_end(void *arg)
{
    struct onion_conn_stream **at = arg;
    must(*at != NULL);
    onion_conn_stream_end(*at);
}

static void on_writable(void *arg)
{
    struct onion_conn_stream **at = arg;
    must(*at != NULL);
    (void)onion_conn_stream_write(*at, "more", 4);
}

static void on_reset(void *arg, uint64_t code)
{
    (void)code;
    *(struct onion_conn_stream **)arg = NULL;
}

static void on_gone(void *arg)
{
    *(struct onion_conn_stream **)arg = NULL;
}

static const struct onion_conn_stream_ops stream_ops = { on_status,   on_data,  on_end,
                                                         on_writable, on_reset, on_gone };

static void keep_stream(unsigned side, struct onion_conn_stream *s)
{
    if (s == NULL)
        return;
    if (w.n_streams[side] == STREAMS) {
        onion_conn_stream_reset(s, 1);
        return;
    }
    struct onion_conn_stream **at = &w.streams[side][w.n_streams[side]++];
    *at = s;
    onion_conn_stream_set_ops(s, &stream_ops, at);
}

/* ---- both ends ------------------------------------------------------------------------------- */

static void put(bool to_service, uint32_t splice, enum onion_kind kind, const uint8_t *bytes,
                size_t len)
{
    must(len >= 1 && len <= ONION_PAYLOAD);
    if (w.n_wire == WIRE || w.loses)
        return;
    struct cell *c = &w.wire[w.n_wire++];
    *c = (struct cell){ .to_service = to_service, .splice = splice, .kind = kind, .len = len };
    memcpy(c->bytes, bytes, len);
}

static void client_send(void *arg, uint32_t splice, enum onion_kind kind, const uint8_t *bytes,
                        size_t len)
{
    (void)arg;
    put(true, splice, kind, bytes, len);
}

static void service_send(void *arg, uint32_t splice, enum onion_kind kind, const uint8_t *bytes,
                         size_t len)
{
    (void)arg;
    put(false, splice, kind, bytes, len);
}

static void client_closed(void *arg, const struct onion_conn_end *end)
{
    (void)arg;
    must(onion_end_text(end->how) != NULL);
    destroy(&w.client);
}

static const struct onion_conn_ops client_ops = { .closed = client_closed };

static void service_closed(void *arg, const struct onion_conn_end *end)
{
    (void)end;
    destroy(arg);
}

static void service_stream(void *arg, struct onion_conn_stream *s, uint16_t port, bool is_early)
{
    (void)arg;
    (void)is_early;
    onion_conn_stream_answer(s, port == 0 ? ONION_ANSWER_REFUSED : ONION_ANSWER_OPEN);
    if (port != 0)
        keep_stream(1, s);
}

static void got_datagram(void *arg, uint16_t port, uint16_t flow, const uint8_t *data, size_t len,
                         bool is_early)
{
    struct onion_conn **at = arg;
    (void)is_early;
    if (port == 7 && onion_conn_datagram(*at, flow, port, data, len) != 0)
        return;
    if (port == 8)
        destroy(at);
}

static const struct onion_conn_ops service_ops = { .closed = service_closed,
                                                   .stream = service_stream,
                                                   .datagram = got_datagram };

static bool accepted(void *arg, struct onion_conn *c)
{
    (void)arg;
    if (w.n_service == sizeof w.service / sizeof w.service[0])
        return false;
    struct onion_conn **at = &w.service[w.n_service++];
    *at = c;
    onion_conn_set_ops(c, &service_ops, at);
    return true;
}

static void close_splice(void *arg, uint32_t splice, enum onion_close reason)
{
    (void)arg;
    (void)splice;
    (void)reason;
}

static uint64_t net_time(void *arg)
{
    (void)arg;
    return NET_TIME;
}

static const struct onion_conns_ops conns_ops = { service_send, close_splice, accepted, net_time };

/* ---- once for an input ----------------------------------------------------------------------- */

static void boot(void *arg, struct sim_node *n)
{
    (void)arg;
    (void)n;
}

static struct onion_stream_id id_of(void)
{
    struct onion_stream_id id = { 0 };
    memset(id.net, 1, 32);
    memcpy(id.address, w.key.address, 32);
    memcpy(id.service_key, w.key.pub, 32);
    memset(id.dcid, CONST, ONION_DCID);
    return id;
}

/* The chaining key, and so every secret, depends on DH results alone, which are known here. */
static void know_keys(void)
{
    struct onion_stream_id id = id_of();
    struct onion_stream_hs hs, service;
    struct onion_stream_secrets s;
    struct onion_hello hello;
    uint8_t e[32], msg[ONION_MESSAGE_MAX];
    memset(e, CONST, sizeof e);
    onion_stream_initial(&id, &w.secrets[0]);
    must(onion_stream_hello(&hs, &id, e, 0, NULL, 0, msg, w.secrets[1].client) == 0);
    must(onion_stream_hello_read(&service, &id, w.key.secret, msg, ONION_MESSAGE1, &hello,
                                 w.secrets[1].server) == DROP_NONE);
    must(onion_stream_reply(&service, e, NULL, 0, msg, &s) == 0);
    w.secrets[2] = s.handshake;
    w.secrets[3] = s.app;
}

static void begin(uint8_t how)
{
    memset(&w, 0, sizeof w);
    w.world = sim_create(&(struct sim_options){ .seed = 1 });
    must(w.world != NULL);
    struct sim_node_options no = { .address = env_addr_v4(10, 0, 0, 1, 0),
                                   .boot = boot,
                                   .drop = boot };
    w.node = sim_node_add(w.world, &no);
    must(w.node != NULL);
    sim_node_boot(w.node);
    sim_run_until(w.world, SIM_S(100));
    w.env = sim_node_env(w.node);
    w.ops = *w.env->ops;
    w.ops.random = constant;
    w.env->ops = &w.ops;
    memset(w.key.address, 2, 32);
    memset(w.key.secret, 3, 32);
    crypto_dh_public(w.key.pub, w.key.secret);
    know_keys();
    onion_buffers_init(&w.buffers, (how & 1) != 0 ? 1 << 20 : 0, (how & 1) != 0 ? 1 << 20 : 0);
    w.is_slow = (how & 2) != 0;
    w.flights = onion_flights_create(16, (how & 4) != 0 ? NET_TIME + 60 : 0, SIM_S(100));
    struct onion_conns_options o = { .env = w.env,
                                     .buffers = &w.buffers,
                                     .flights = w.flights,
                                     .ops = &conns_ops,
                                     .initial_rtt_ns = SIM_MS(20) };
    memset(o.net, 1, 32);
    w.conns = onion_conns_create(&o);
    must(w.flights != NULL && w.conns != NULL);
    struct onion_carrier carrier = { .send = client_send };
    struct onion_conn_options c = { .env = w.env,
                                    .buffers = &w.buffers,
                                    .carrier = &carrier,
                                    .ops = &client_ops,
                                    .initial_rtt_ns = SIM_MS(20) };
    struct onion_stream_id id = id_of();
    w.client = onion_conn_create(&c, &id, NET_TIME, NULL);
    must(w.client != NULL);
}

static void finish(void)
{
    onion_conn_destroy(w.client);
    for (size_t i = 0; i < w.n_service; i++)
        onion_conn_destroy(w.service[i]);
    onion_conns_destroy(w.conns);
    onion_flights_destroy(w.flights);
    must(w.buffers.rx.used == 0 && w.buffers.tx.used == 0);
    sim_destroy(w.world);
}

/* ---- events ---------------------------------------------------------------------------------- */

static void arrive(const struct cell *c)
{
    if (c->len == 0)
        return;
    uint8_t *exact = malloc(c->len); /* so that ASan sees one byte over */
    must(exact != NULL);
    memcpy(exact, c->bytes, c->len);
    if (c->to_service)
        (void)onion_conns_received(w.conns, c->splice, &w.key, c->kind, exact, c->len);
    else if (w.client != NULL)
        (void)onion_conn_received(w.client, c->splice, exact, c->len);
    free(exact);
}

/* What is on the way arrives, n cells of it. */
static void deliver(struct reader *in)
{
    for (unsigned n = reader_u8(in) % 16 + 1u; n > 0 && w.n_delivered < w.n_wire; n--) {
        struct cell c = w.wire[w.n_delivered++];
        arrive(&c);
    }
    if (w.n_delivered == w.n_wire && w.n_wire > WIRE / 2)
        w.n_wire = w.n_delivered = 0;
}

static void raw(struct reader *in)
{
    struct cell c = { 0 };
    uint8_t how = reader_u8(in);
    c.to_service = how & 1;
    c.kind = how & 2 ? ONION_KIND_ATTACH : ONION_KIND_QUIC;
    c.splice = how >> 2 & 7;
    c.len = reader_u16(in) % (ONION_PAYLOAD + 1);
    if (c.len > reader_left(in))
        c.len = reader_left(in);
    reader_copy(in, c.bytes, c.len);
    arrive(&c);
}

/* One that travelled, changed in one place, cut, or as it was; perhaps on another splice. */
static void again(struct reader *in)
{
    uint8_t which = reader_u8(in), how = reader_u8(in), mask = reader_u8(in);
    uint16_t at = reader_u16(in);
    if (w.n_wire == 0)
        return;
    struct cell c = w.wire[which % w.n_wire];
    c.bytes[at % c.len] ^= mask;
    if (how & 8)
        c.splice = how & 7;
    if (how & 16)
        c.len = 1 + at % c.len;
    arrive(&c);
}

/* Header of a packet at a level, up to and with a 4-byte number; where the number starts. */
static size_t head(struct writer *h, unsigned level, bool from_client, uint32_t number,
                   size_t sealed, uint8_t bits)
{
    static const uint8_t type[] = { 0xC0, 0xD0, 0xE0 };
    if (level == 3) {
        writer_u8(h, (uint8_t)(0x43 | (bits & 0x04))); /* key phase */
    } else {
        bool has_id = from_client && (level < 2 && (bits & 8) == 0);
        writer_u8(h, type[level] | 3);
        writer_u32(h, 1);
        writer_u8(h, has_id ? ONION_DCID : 0);
        for (unsigned i = 0; has_id && i < ONION_DCID; i++)
            writer_u8(h, CONST);
        writer_u8(h, 0);
        if (level == 0) {
            writer_u8(h, from_client ? 1 : 0);
            if (from_client)
                writer_u8(h, 0x63);
        }
        writer_u16(h, (uint16_t)(0x4000 | (sealed + 4)));
    }
    size_t at = writer_len(h);
    writer_u32(h, number);
    return at;
}

/* Protects `text` as the client or the service would. */
static void seal(struct cell *c, unsigned level, uint32_t number, uint8_t bits, const uint8_t *text,
                 size_t len)
{
    const struct onion_secret_pair *s = &w.secrets[level];
    ngtcp2_callbacks cb = { 0 };
    ngtcp2_crypto_aead_ctx aead = { 0 };
    ngtcp2_crypto_cipher_ctx hp = { 0 };
    struct onion_quic_keys k;
    uint8_t nonce[12], mask[16], *p = c->bytes;
    struct writer h = writer_on(p, 64);
    onion_quic_keys_derive(&k, c->to_service ? s->client : s->server);
    onion__quic_crypto_callbacks(&cb);
    must(onion__quic_aead(&aead, &k, ONION__QUIC_SEAL, NULL) == 0 && onion__quic_hp(&hp, &k) == 0);
    size_t at = head(&h, level, c->to_service, number, len + 16, bits), n = writer_len(&h);
    memcpy(nonce, k.iv, 12);
    for (unsigned i = 0; i < 4; i++)
        nonce[8 + i] ^= (uint8_t)(number >> (24 - 8 * i));
    must(cb.encrypt(p + n, NULL, &aead, text, len, nonce, 12, p, n) == 0);
    must(cb.hp_mask(mask, NULL, &hp, p + at + 4) == 0);
    p[0] ^= mask[0] & (level == 3 ? 0x1F : 0x0F);
    for (unsigned i = 0; i < 4; i++)
        p[at + i] ^= mask[1 + i];
    c->len = n + len + 16;
    onion__quic_aead_free(&aead);
    onion__quic_hp_free(&hp);
}

static void sealed(struct reader *in)
{
    uint8_t how = reader_u8(in), number = reader_u8(in), bits = reader_u8(in);
    uint8_t text[1100] = { 0 };
    size_t len = reader_u8(in) * 4u, pad = (bits & 16) != 0 ? 1100 : 24;
    struct cell c = { .to_service = how & 1, .kind = ONION_KIND_QUIC, .splice = how >> 3 & 7 };
    unsigned level = how >> 1 & 3;
    if (len > reader_left(in))
        len = reader_left(in);
    reader_copy(in, text, len); /* PADDING behind it: zero */
    /* Near what comes next, so that it counts as new. */
    uint32_t base = (bits & 32) != 0 ? 0 : 200;
    seal(&c, level, base + number, bits, text, len > pad ? len : pad);
    arrive(&c);
}

static struct onion_conn_stream *pick(unsigned side, uint8_t which)
{
    return w.n_streams[side] == 0 ? NULL : w.streams[side][which % w.n_streams[side]];
}

static void stream(struct reader *in)
{
    static const uint8_t bytes[40000] = "data";
    uint8_t how = reader_u8(in), n = reader_u8(in);
    struct onion_conn_stream *s = pick(how & 1, how >> 4);
    if ((how >> 1 & 7) == 0 && w.client != NULL)
        keep_stream(0, onion_conn_stream_open(w.client, n, &stream_ops, NULL, NULL));
    if (s == NULL)
        return;
    switch (how >> 1 & 7) {
    case 1:
        (void)onion_conn_stream_write(s, bytes, n);
        break;
    case 2:
        (void)onion_conn_stream_write(s, bytes, (size_t)n * 150);
        break;
    case 3:
        onion_conn_stream_end(s);
        break;
    case 4:
        onion_conn_stream_reset(s, n);
        forget(s);
        break;
    case 5:
        (void)onion_conn_stream_write(s, "e echo", 6);
        break;
    case 6:
        onion_conn_stream_consumed(s, n < s->held ? n : s->held);
        break;
    case 7:
        (void)onion_conn_stream_write(s, n & 1 ? "reset" : "close", 5);
        break;
    }
}

static void path(struct reader *in)
{
    uint8_t how = reader_u8(in);
    struct onion_early early;
    if (how & 0x80)
        onion_conns_splice_gone(w.conns, how & 7);
    if (w.client == NULL)
        return;
    if (how & 0x40)
        onion_conn_path_down(w.client, how & 7);
    else if (how & 0x20)
        onion_conn_path_up(w.client, how & 7, NULL, ONION_EARLY_TO_SEND);
    else if (onion_conn_early(w.client, &early) == 0)
        onion_conn_path_up(w.client, how & 7, &early,
                           how & 0x10 ? ONION_EARLY_WENT : ONION_EARLY_TO_SEND);
}

static void whole(struct reader *in)
{
    uint8_t how = reader_u8(in);
    struct onion_conn *c = how & 1 ? w.client : w.n_service > 0 ? w.service[0] : NULL;
    struct onion_conn_info info;
    if (c == NULL)
        return;
    onion_conn_info(c, &info);
    if ((how >> 1 & 7) == 0)
        onion_conn_close(c, ONION_CODE_LEAVING);
    else if ((how >> 1 & 7) == 1)
        onion_conn_drain(c);
    else if ((how >> 1 & 7) == 2 && info.is_open && c->is_through)
        (void)conn__update_keys(c);
    else if (onion_conn_datagram(c, how, 1, "datagram", how >> 5) != 0)
        return;
}

static void lose(struct reader *in)
{
    w.loses = reader_u8(in) & 1;
    w.is_slow ^= true;
}

static void (*const events[])(struct reader *) = { deliver, raw,  again, sealed,
                                                   stream,  path, whole, lose };

static void enter(void *arg)
{
    struct reader *in = arg;
    uint8_t op = reader_u8(in);
    events[op & 7](in);
}

static void step(struct reader *in)
{
    uint8_t op = reader_u8(in);
    sim_node_enter(w.node, enter, in);
    sim_run_until(w.world, sim_now(w.world) +
                               (op & 0x80 ? SIM_MS(500) * (op & 0x7f) : SIM_MS(1) * (op & 0x7f)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct reader in = reader_on(data, len);
    uint8_t how = reader_u8(&in);
    must(secret_init(NULL) == 0);
    begin(how);
    for (unsigned i = 0; i < OPS_MAX && reader_left(&in) > 0; i++)
        step(&in);
    sim_run_until(w.world, sim_now(w.world) + SIM_MS(300));
    finish();
    return 0;
}
