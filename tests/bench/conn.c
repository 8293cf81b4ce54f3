/* bench_conn [SECONDS] - one stream of an end-to-end connection, both ends in this process over a
 * perfect carrier: what a packet costs each side, beside AES-256-GCM alone on as many bytes in the
 * same run. Time is virtual (a round trip is 200 us), so neither pacing nor delay bounds it; what
 * is measured is the thread's CPU time. */
#include <malloc.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/crypto.h"
#include "base/secret.h"
#include "onion/conns.h"

enum { RING = 1 << 13, STEP_US = 100, WARM_MB = 32 };

struct cell {
    uint32_t splice;
    enum onion_kind kind;
    size_t len;
    uint8_t bytes[ONION_PAYLOAD];
};

struct ring {
    struct cell *cells;
    size_t from, to;
    uint64_t packets, lost;
};

/* An environment of its own for each end: only what connections use. */
struct side {
    struct env env;
    struct timers timers;
    struct list tasks;
    struct ring out;
    struct onion_buffers buffers;
    struct onion_conn *conn;
    struct onion_conn_stream *stream;
    double cpu_s;
    uint64_t bytes;
};

static uint64_t now_ns = ENV_S(1000);
static struct side client, service;
static struct onion_conns *conns;
static struct onion_service_key key;
static uint8_t chunk[64 << 10];

static double cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void must(int ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "bench_conn: %s\n", what);
        exit(1);
    }
}

/* ---- the environment ------------------------------------------------------------------------- */

static struct side *side_of(struct env *e)
{
    return container_of(e, struct side, env);
}

static uint64_t on_now(struct env *e)
{
    (void)e;
    return now_ns;
}

static void on_timer_set(struct env *e, struct env_timer *t, uint64_t at_ns)
{
    timers_set(&side_of(e)->timers, t, at_ns);
}

static void on_timer_stop(struct env *e, struct env_timer *t)
{
    timers_stop(&side_of(e)->timers, t);
}

static void on_defer(struct env *e, struct env_task *t)
{
    if (!list_linked(&t->node))
        list_push_back(&side_of(e)->tasks, &t->node);
}

static void on_random(struct env *e, void *buf, size_t n)
{
    (void)e;
    randombytes_buf(buf, n);
}

static const struct env_ops ops = { .now_ns = on_now,
                                    .timer_set = on_timer_set,
                                    .timer_stop = on_timer_stop,
                                    .defer = on_defer,
                                    .random = on_random };

static void side_init(struct side *s)
{
    s->env.ops = &ops;
    timers_init(&s->timers);
    list_init(&s->tasks);
    onion_buffers_init(&s->buffers, 0, 0);
    s->out.cells = malloc(RING * sizeof *s->out.cells);
    must(s->out.cells != NULL, "no memory");
}

static void put(struct ring *r, uint32_t splice, enum onion_kind kind, const uint8_t *bytes,
                size_t len)
{
    r->packets++;
    if (r->to - r->from == RING) {
        r->lost++;
        return;
    }
    struct cell *c = &r->cells[r->to++ % RING];
    c->splice = splice;
    c->kind = kind;
    c->len = len;
    memcpy(c->bytes, bytes, len);
}

static void turn(struct side *s)
{
    struct env_timer *t;
    while ((t = timers_pop(&s->timers, now_ns)) != NULL)
        t->fn(t, t->arg);
    while (!list_empty(&s->tasks)) {
        struct env_task *k = container_of(s->tasks.next, struct env_task, node);
        list_del(&k->node);
        k->fn(k->arg);
    }
}

/* ---- both ends ------------------------------------------------------------------------------- */

static void pump(void *arg)
{
    struct side *s = arg;
    while (s->stream != NULL &&
           onion_conn_stream_write(s->stream, chunk, sizeof chunk) == sizeof chunk)
        ;
}

static void on_data(void *arg, const uint8_t *data, size_t len, bool is_early)
{
    struct side *s = arg;
    (void)data;
    (void)is_early;
    s->bytes += len;
    onion_conn_stream_consumed(s->stream, len);
}

static void on_gone(void *arg)
{
    ((struct side *)arg)->stream = NULL;
}

static void on_reset(void *arg, uint64_t code)
{
    (void)code;
    ((struct side *)arg)->stream = NULL;
}

static const struct onion_conn_stream_ops stream_ops = {
    .data = on_data, .writable = pump, .reset = on_reset, .closed = on_gone
};

static void client_send(void *arg, uint32_t splice, enum onion_kind kind, const uint8_t *bytes,
                        size_t len)
{
    (void)arg;
    put(&client.out, splice, kind, bytes, len);
}

static void service_send(void *arg, uint32_t splice, enum onion_kind kind, const uint8_t *bytes,
                         size_t len)
{
    (void)arg;
    put(&service.out, splice, kind, bytes, len);
}

static void on_closed(void *arg, const struct onion_conn_end *end)
{
    (void)arg;
    fprintf(stderr, "bench_conn: %s\n", onion_end_text(end->how));
    exit(1);
}

static void on_stream(void *arg, struct onion_conn_stream *s, uint16_t port, bool is_early)
{
    (void)arg;
    (void)port;
    (void)is_early;
    service.stream = s;
    onion_conn_stream_set_ops(s, &stream_ops, &service);
    onion_conn_stream_answer(s, ONION_ANSWER_OPEN);
    pump(&service);
}

static const struct onion_conn_ops conn_ops = { .closed = on_closed, .stream = on_stream };

static bool accepted(void *arg, struct onion_conn *c)
{
    (void)arg;
    service.conn = c;
    onion_conn_set_ops(c, &conn_ops, NULL);
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
    return 1700000000;
}

static void connect_both(struct onion_flights *flights)
{
    static const struct onion_conns_ops conns_ops = { service_send, close_splice, accepted,
                                                      net_time };
    struct onion_conns_options o = { .env = &service.env,
                                     .buffers = &service.buffers,
                                     .flights = flights,
                                     .ops = &conns_ops,
                                     .initial_rtt_ns = 1000000 };
    struct onion_carrier carrier = { .send = client_send };
    struct onion_conn_options c = { .env = &client.env,
                                    .buffers = &client.buffers,
                                    .carrier = &carrier,
                                    .ops = &conn_ops,
                                    .initial_rtt_ns = 1000000 };
    struct onion_stream_id id = { 0 };
    randombytes_buf(key.secret, sizeof key.secret);
    crypto_dh_public(key.pub, key.secret);
    memcpy(id.service_key, key.pub, sizeof id.service_key);
    conns = onion_conns_create(&o);
    client.conn = onion_conn_create(&c, &id, net_time(NULL), NULL);
    must(conns != NULL && client.conn != NULL, "no memory");
    client.stream = onion_conn_stream_open(client.conn, 80, &stream_ops, &client, NULL);
    must(client.stream != NULL, "no stream");
    onion_conn_path_up(client.conn, 1, NULL, ONION_EARLY_TO_SEND);
}

static void to_service(struct cell *c)
{
    (void)onion_conns_received(conns, c->splice, &key, c->kind, c->bytes, c->len);
}

static void to_client(struct cell *c)
{
    (void)onion_conn_received(client.conn, c->splice, c->bytes, c->len);
}

/* One turn of a side: what came, timers, what leaves. */
static void run_side(struct side *s, struct ring *in, void (*arrive)(struct cell *))
{
    double start = cpu_s();
    for (size_t end = in->to; in->from < end;)
        arrive(&in->cells[in->from++ % RING]);
    turn(s);
    s->cpu_s += cpu_s() - start;
}

static void step(void)
{
    now_ns += (uint64_t)STEP_US * 1000;
    run_side(&service, &client.out, to_service);
    now_ns += (uint64_t)STEP_US * 1000;
    run_side(&client, &service.out, to_client);
}

/* ---- AES-256-GCM alone ----------------------------------------------------------------------- */

/* CPU microseconds to seal, and to open, a packet. */
static void gcm(double seconds, double *seal_us, double *open_us)
{
    uint8_t k[32], nonce[12] = { 0 }, head[3] = { 0 }, text[ONION_PAYLOAD], tag[16];
    EVP_CIPHER_CTX *tx = EVP_CIPHER_CTX_new(), *rx = EVP_CIPHER_CTX_new();
    enum { LEN = ONION_PAYLOAD - 3 - 16 };
    int n, good = 1;
    randombytes_buf(k, sizeof k);
    randombytes_buf(text, sizeof text);
    EVP_EncryptInit_ex(tx, EVP_aes_256_gcm(), NULL, k, NULL);
    EVP_DecryptInit_ex(rx, EVP_aes_256_gcm(), NULL, k, NULL);
    double seal = 0, open = 0, end = cpu_s() + seconds;
    uint64_t packets = 0;
    while (cpu_s() < end) {
        double a = cpu_s();
        for (unsigned i = 0; i < 1000; i++) {
            nonce[11] = (uint8_t)i;
            EVP_EncryptInit_ex(tx, NULL, NULL, NULL, nonce);
            EVP_EncryptUpdate(tx, NULL, &n, head, sizeof head);
            EVP_EncryptUpdate(tx, text, &n, text, LEN);
            EVP_EncryptFinal_ex(tx, text + n, &n);
            EVP_CIPHER_CTX_ctrl(tx, EVP_CTRL_AEAD_GET_TAG, 16, tag);
        }
        double b = cpu_s();
        for (unsigned i = 0; i < 1000; i++) {
            EVP_DecryptInit_ex(rx, NULL, NULL, NULL, nonce);
            EVP_CIPHER_CTX_ctrl(rx, EVP_CTRL_AEAD_SET_TAG, 16, tag);
            EVP_DecryptUpdate(rx, NULL, &n, head, sizeof head);
            EVP_DecryptUpdate(rx, text, &n, text, LEN);
            good += EVP_DecryptFinal_ex(rx, text + n, &n) == 1;
        }
        seal += b - a;
        open += cpu_s() - b;
        packets += 1000;
    }
    must(good > 0 && packets > 0, "GCM");
    *seal_us = seal * 1e6 / (double)packets;
    *open_us = open * 1e6 / (double)packets;
    EVP_CIPHER_CTX_free(tx);
    EVP_CIPHER_CTX_free(rx);
}

/* ---- main ------------------------------------------------------------------------------------ */

/* Bytes of memory that one more open connection without streams costs an end. */
static double idle_memory(void)
{
    enum { N = 64 };
    static struct onion_conn *more[N];
    struct onion_carrier carrier = { .send = client_send };
    struct onion_conn_options c = {
        .env = &client.env, .buffers = &client.buffers, .carrier = &carrier, .ops = &conn_ops
    };
    struct onion_stream_id id = { 0 };
    memcpy(id.service_key, key.pub, sizeof id.service_key);
    size_t before = mallinfo2().uordblks;
    for (uint32_t i = 0; i < N; i++) {
        more[i] = onion_conn_create(&c, &id, net_time(NULL), NULL);
        must(more[i] != NULL, "no memory");
        onion_conn_path_up(more[i], 100 + i, NULL, ONION_EARLY_TO_SEND);
    }
    for (unsigned i = 0; i < 2000; i++) {
        now_ns += (uint64_t)STEP_US * 1000;
        run_side(&service, &client.out, to_service);
        now_ns += (uint64_t)STEP_US * 1000;
        double start = cpu_s();
        for (size_t end = service.out.to; service.out.from < end; service.out.from++) {
            struct cell *cell = &service.out.cells[service.out.from % RING];
            struct onion_conn *to = cell->splice >= 100 ? more[cell->splice - 100] : client.conn;
            (void)onion_conn_received(to, cell->splice, cell->bytes, cell->len);
        }
        turn(&client);
        client.cpu_s += cpu_s() - start;
    }
    for (uint32_t i = 0; i < N; i++)
        must(onion_conn_is_open(more[i]), "not open");
    return (double)(mallinfo2().uordblks - before) / N / 2;
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 2, seal_us, open_us;
    must(secret_init(NULL) == 0, "libsodium");
    side_init(&client);
    side_init(&service);
    struct onion_flights *flights = onion_flights_create(ONION_FLIGHTS, 0, now_ns);
    must(flights != NULL, "no memory");
    connect_both(flights);
    while (client.bytes < (uint64_t)WARM_MB << 20)
        step();
    client.cpu_s = service.cpu_s = 0;
    client.bytes = 0;
    uint64_t sent = service.out.packets, acks = client.out.packets, lost = service.out.lost;
    while (client.cpu_s + service.cpu_s < seconds)
        step();
    sent = service.out.packets - sent;
    acks = client.out.packets - acks;
    double mb = (double)client.bytes / 1e6, tx = service.cpu_s, rx = client.cpu_s;
    gcm(seconds / 4, &seal_us, &open_us);
    onion_conn_stream_reset(service.stream, 0);
    service.stream = NULL;
    for (unsigned i = 0; i < 1000; i++)
        step();
    double memory = idle_memory();
    printf(
        "{\"mb_per_s\": %.1f, \"sender_us\": %.3f, \"receiver_us\": %.3f, \"gcm_seal_us\": %.3f, "
        "\"gcm_open_us\": %.3f, \"packets\": %llu, \"acks_per_100\": %.2f, \"lost\": %llu, "
        "\"cpu_s_per_gb\": %.2f, \"idle_bytes\": %.0f}\n",
        mb / (tx + rx), tx * 1e6 / (double)sent, rx * 1e6 / (double)sent, seal_us, open_us,
        (unsigned long long)sent, 100.0 * (double)acks / (double)sent,
        (unsigned long long)(service.out.lost - lost), (tx + rx) * 1000 / mb, memory);
    return 0;
}
