/* bench_train [SECONDS] - path builds a second of one core: what a hop does for one (open, answer,
 * reply, and the replay cache), beside the bound that its three X25519 multiplications alone set
 * in the same run; what a client of three hops does. Everything is in memory: what is timed is
 * onion/train.h and onion/replay.h. Time is the thread's own CPU time. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/crypto.h"
#include "base/secret.h"
#include "onion/replay.h"
#include "onion/train.h"

enum { HOPS = 3, NOW = 1700000000 };

static double cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* As the daemon's environment draws; its disk is always done. */
static void draw(struct env *e, void *buf, size_t n)
{
    (void)e;
    randombytes_buf(buf, n);
}

static int no_blob(struct env *e, const char *name, uint8_t *buf, size_t cap, size_t *len,
                   struct cyx_err *err)
{
    (void)e, (void)buf, (void)cap, (void)len;
    return cyx_fail(err, CYX_ENOENT, "%s: no such file", name);
}

static struct {
    env_done_fn done;
    void *arg;
} stored;

static void blob(struct env *e, const char *name, const uint8_t *data, size_t len, env_done_fn done,
                 void *arg)
{
    (void)e, (void)name, (void)data, (void)len;
    stored.done = done;
    stored.arg = arg;
}

static const struct env_ops ops = { .random = draw, .blob_load = no_blob, .blob_store = blob };

struct bench {
    struct env env;
    struct mesh_network net;
    struct mesh_identity hops[HOPS];
    struct onion_build path;
    struct onion_replay *replay;
};

static bool start(struct bench *b)
{
    *b = (struct bench){ .env.ops = &ops };
    if (secret_init(NULL) != 0 || mesh_network_init(&b->net, "bench", 1, true, NULL) != 0)
        return false;
    b->path = (struct onion_build){ .n_hops = HOPS, .stamp = NOW, .last.command = ONION_BUILD_END };
    for (size_t i = 0; i < HOPS; i++) {
        struct mesh_keypair *k = &b->hops[i].onion[0];
        randombytes_buf(b->hops[i].id, 32);
        randombytes_buf(k->secret, 32);
        crypto_dh_public(k->pub, k->secret);
        k->made = 1;
        memcpy(b->path.hops[i].id, b->hops[i].id, 32);
        memcpy(b->path.hops[i].onion_key, k->pub, 32);
    }
    b->replay = onion_replay_open(
        &b->env,
        &(struct onion_replay_start){ .identity = &b->hops[0], .keys_are_new = true, .now = NOW },
        NULL);
    if (b->replay == NULL || stored.done == NULL)
        return false;
    stored.done(stored.arg, 0);
    return true;
}

/* X25519 a CPU second: with a point of the peer's, and with the base point. */
static void x25519_rate(double seconds, double *dh, double *base)
{
    uint8_t secret[32], point[32];
    unsigned long n = 0;
    randombytes_buf(secret, sizeof secret);
    crypto_dh_public(point, secret);
    double begun = cpu_s();
    for (; cpu_s() - begun < seconds; n++)
        if (crypto_dh(point, secret, point) != 0)
            return;
    *dh = (double)n / (cpu_s() - begun);
    begun = cpu_s();
    for (n = 0; cpu_s() - begun < seconds; n++)
        crypto_dh_public(secret, secret);
    *base = (double)n / (cpu_s() - begun);
}

/* One build at one hop, as a relay or as a last hop. */
static bool hop_once(struct bench *b, uint8_t train[static ONION_TRAIN],
                     uint8_t reply[static ONION_REPLY], bool is_last)
{
    cleanup_opened struct onion_opened o;
    cleanup_answer struct onion_answer a;
    if (onion_hop_open(&o, &b->hops[0], &b->net, train) != DROP_NONE ||
        onion_hop_answer(&a, &o, &b->env) != 0)
        return false;
    onion_hop_reply(&a, ONION_OK, 0, NULL, is_last, &b->env, reply);
    return true;
}

static double hop_rate(struct bench *b, double seconds, bool is_last)
{
    uint8_t fresh[ONION_TRAIN], train[ONION_TRAIN], reply[ONION_REPLY] = { 0 };
    struct onion_train *t = onion_train_create(&b->path, &b->net, &b->env, fresh, NULL);
    unsigned long n = 0;
    if (t == NULL)
        return 0;
    onion_train_destroy(t);
    double begun = cpu_s();
    for (; cpu_s() - begun < seconds; n++) {
        memcpy(train, fresh, sizeof train);
        if (!hop_once(b, train, reply, is_last))
            return 0;
    }
    return (double)n / (cpu_s() - begun);
}

/* Asks for and enters as many ephemerals as a generation of the busiest relay holds. */
static double replay_rate(struct bench *b, size_t *bytes)
{
    enum { BUILDS = 420 * 1000 };
    struct onion_replay_info info;
    uint8_t e[32] = { 0 };
    double begun = cpu_s();
    for (uint32_t i = 0; i < BUILDS; i++) {
        memcpy(e, &i, sizeof i);
        if (onion_replay_check(b->replay, e, NOW) != DROP_NONE ||
            onion_replay_enter(b->replay, e, NOW - NOW % 60, NOW) != DROP_NONE)
            return 0;
    }
    double took = cpu_s() - begun;
    onion_replay_info(b->replay, &info);
    *bytes = info.bytes / info.entries;
    return BUILDS / took;
}

/* Builds a train, has it answered by the hops (not timed), reads the reply. */
static double client_rate(struct bench *b, double seconds)
{
    unsigned long n = 0;
    double spent = 0;
    while (spent < seconds) {
        struct onion_opened o[HOPS];
        struct onion_answer a;
        cleanup_built struct onion_built built;
        uint8_t train[ONION_TRAIN], reply[ONION_REPLY];
        double t0 = cpu_s();
        struct onion_train *t = onion_train_create(&b->path, &b->net, &b->env, train, NULL);
        spent += cpu_s() - t0;
        for (size_t i = 0; t != NULL && i < HOPS; i++)
            if (onion_hop_open(&o[i], &b->hops[i], &b->net, train) != DROP_NONE)
                return 0;
        for (size_t i = HOPS; t != NULL && i-- > 0;) {
            if (onion_hop_answer(&a, &o[i], &b->env) != 0)
                return 0;
            onion_hop_reply(&a, ONION_OK, 0, NULL, i + 1 == HOPS, &b->env, reply);
        }
        t0 = cpu_s();
        if (t == NULL || onion_train_reply(t, reply, &built) != DROP_NONE || built.n_hops != HOPS)
            return 0;
        onion_train_destroy(t);
        spent += cpu_s() - t0;
        n++;
    }
    return (double)n / spent;
}

int main(int argc, char **argv)
{
    static struct bench b;
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 2, dh = 0, base = 0;
    size_t bytes = 0;
    if (!(seconds > 0 && seconds < 3600) || !start(&b))
        return 2;
    x25519_rate(seconds / 4, &dh, &base);
    double relay = hop_rate(&b, seconds, false), last = hop_rate(&b, seconds, true);
    double client = client_rate(&b, seconds), replay = replay_rate(&b, &bytes);
    if (dh == 0 || relay == 0 || last == 0 || client == 0 || replay == 0) {
        fprintf(stderr, "bench_train: a build failed\n");
        return 1;
    }
    /* A hop: es, ee, and its own ephemeral. A client: the same for each of its hops. */
    double bound = 1 / (2 / dh + 1 / base);
    printf("{\"hop_builds_per_s\":%.0f,\"last_hop_builds_per_s\":%.0f,\"hop_bound_per_s\":%.0f,"
           "\"hop_of_bound\":%.3f,\"client_us\":%.1f,\"client_bound_us\":%.1f,"
           "\"replay_ns\":%.0f,\"replay_bytes_per_build\":%zu,\"x25519_per_s\":%.0f}\n",
           relay, last, bound, relay / bound, 1e6 / client, 1e6 * HOPS / bound, 1e9 / replay, bytes,
           dh);
    onion_replay_close(b.replay);
    return 0;
}
