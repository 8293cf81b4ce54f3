/* Path builds at both ends. The first byte chooses (modulo 4):
 *   0  a hop gets a train of three hops with bytes changed on the way: XORed in, wherever two bytes
 *      say. It must refuse what was changed and touch nothing
 *   1  a hop gets a record that its client sealed properly around the input: any fields, any rest
 *   2  a client gets a reply with bytes changed on the way: as many hops open as come before them
 *   3  a client gets a reply record that its hop sealed properly around the input
 * The second byte is the hop, or the status. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/reader.h"
#include "base/secret.h"
#include "onion/train_internal.h"

enum { HOPS = 3 };

static struct {
    bool ready;
    struct env env;
    uint64_t draws;
    struct mesh_network net;
    struct mesh_identity hops[HOPS];
    uint8_t trains[HOPS][ONION_TRAIN]; /* as they arrive at each hop */
    uint8_t reply[ONION_REPLY];
} world;

static void fake_random(struct env *e, void *buf, size_t n)
{
    uint8_t seed[32] = { 0 };
    (void)e;
    memcpy(seed, &world.draws, sizeof world.draws);
    world.draws++;
    randombytes_buf_deterministic(buf, n, seed);
}

static const struct env_ops ops = { .random = fake_random };

static void must(bool holds)
{
    if (!holds)
        abort();
}

/* The same train each time: only its client's half is used up by a reply. */
static struct onion_train *client(uint8_t train[static ONION_TRAIN])
{
    struct onion_build b = { .n_hops = HOPS, .last.command = ONION_BUILD_END, .stamp = 600 };
    for (size_t i = 0; i < HOPS; i++) {
        memcpy(b.hops[i].id, world.hops[i].id, 32);
        memcpy(b.hops[i].onion_key, world.hops[i].onion[0].pub, 32);
    }
    world.draws = 1000;
    struct onion_train *t = onion_train_create(&b, &world.net, &world.env, train, NULL);
    must(t != NULL);
    return t;
}

static void start_once(void)
{
    struct onion_opened opened[HOPS];
    struct onion_answer a;
    uint8_t train[ONION_TRAIN];
    if (world.ready)
        return;
    world.env.ops = &ops;
    must(secret_init(NULL) == 0 && mesh_network_init(&world.net, "fuzz", 1, true, NULL) == 0);
    for (size_t i = 0; i < HOPS; i++) {
        struct mesh_keypair *k = &world.hops[i].onion[0];
        env_random(&world.env, world.hops[i].id, 32);
        env_random(&world.env, k->secret, 32);
        crypto_dh_public(k->pub, k->secret);
        k->made = 1;
    }
    onion_train_destroy(client(train));
    for (size_t i = 0; i < HOPS; i++) {
        memcpy(world.trains[i], train, sizeof train);
        must(onion_hop_open(&opened[i], &world.hops[i], &world.net, train) == DROP_NONE);
    }
    for (size_t i = HOPS; i-- > 0;) {
        must(onion_hop_answer(&a, &opened[i], &world.env) == 0);
        onion_hop_reply(&a, ONION_OK, 0, NULL, i + 1 == HOPS, &world.env, world.reply);
    }
    world.ready = true;
}

/* XORs the rest of the input in. Returns the first byte that differs from `genuine`, or n. */
static size_t change(uint8_t *data, const uint8_t *genuine, size_t n, struct reader *r)
{
    size_t at = reader_u16(r) % n, left = reader_left(r), first = 0;
    const uint8_t *with = reader_bytes(r, left);
    memcpy(data, genuine, n);
    for (size_t i = 0; i < left && with != NULL; i++)
        data[(at + i) % n] ^= with[i];
    while (first < n && data[first] == genuine[first])
        first++;
    return first;
}

static void hop_changed(struct reader *r, uint8_t which, uint8_t *train)
{
    struct onion_opened o = { .e = { 1 } };
    uint8_t before[ONION_TRAIN];
    size_t i = which % HOPS, first = change(train, world.trains[i], ONION_TRAIN, r);
    memcpy(before, train, ONION_TRAIN);
    enum drop drop = onion_hop_open(&o, &world.hops[i], &world.net, train);
    must((drop == DROP_NONE) == (first == ONION_TRAIN));
    if (drop != DROP_NONE)
        must(memcmp(before, train, ONION_TRAIN) == 0 && o.e[0] == 1);
}

/* As much of the input as there is, and fits. */
static void fill(struct reader *r, uint8_t *out, size_t room)
{
    size_t left = reader_left(r);
    reader_copy(r, out, left < room ? left : room);
}

/* A client of its own making: payload and rest are the input's. */
static void hop_sealed(struct reader *r, uint8_t which, uint8_t *train)
{
    static const uint8_t e_secret[32] = { 7 };
    struct mesh_identity *hop = &world.hops[which % HOPS];
    struct onion__payload p = { 0 };
    struct onion_opened o;
    struct onion_answer a;
    struct noise s;
    uint8_t es[32], ks[32], *reply = malloc(ONION_REPLY);
    must(reply != NULL);
    memset(train, 0, ONION_TRAIN);
    fill(r, p.b + ONION_SLOT, ONION__FIELDS);
    fill(r, p.b, ONION_SLOT);
    fill(r, train + ONION_RECORD, ONION__REST);
    train[0] = ONION__TYPE_X25519;
    onion__hint(train + 1, hop->onion[0].pub);
    crypto_dh_public(train + ONION__RECORD_E, e_secret);
    must(crypto_dh(es, e_secret, hop->onion[0].pub) == 0);
    onion__record_begin(&s, &world.net, hop->id, hop->onion[0].pub, train, train + ONION_RECORD);
    noise_mix_key3(&s, es, ks);
    noise_encrypt(&s, p.b, sizeof p.b, train + ONION__RECORD_SEALED);
    enum drop drop = onion_hop_open(&o, hop, &world.net, train);
    must(drop == DROP_NONE || drop == DROP_LIMIT);
    if (drop == DROP_NONE) {
        must(o.fields.early_len <= ONION_PAYLOAD && o.fields.command == p.b[ONION_SLOT]);
        must(o.fields.command == ONION_BUILD_SPLICE || o.fields.early_len == 0);
        must(onion_hop_answer(&a, &o, &world.env) == 0);
        onion_hop_reply(&a, (enum onion_status)(which % 16), 5, NULL, which >= 128, &world.env,
                        memset(reply, 0, ONION_REPLY));
    }
    free(reply);
}

static void client_changed(struct reader *r, uint8_t *train, uint8_t *reply)
{
    struct onion_built b;
    struct onion_train *t = client(train);
    size_t first = change(reply, world.reply, ONION_REPLY, r);
    size_t want = first / ONION_REPLY_RECORD < HOPS ? first / ONION_REPLY_RECORD : HOPS;
    enum drop drop = onion_train_reply(t, reply, &b);
    must(b.n_hops == want && (drop == DROP_NONE) == (want == HOPS));
    must(b.status == (want == HOPS ? ONION_OK : ONION_NOTHING_BACK));
    must(onion_train_reply(t, reply, &b) == DROP_STATE);
    onion_train_destroy(t);
}

static void client_sealed(struct reader *r, uint8_t *train, uint8_t *reply)
{
    uint8_t payload[ONION__REPLY_PAYLOAD] = { 0 };
    struct onion_opened o;
    struct onion_answer a;
    struct onion_built b;
    struct noise s = { .has_k = true };
    struct onion_train *t = client(train);
    must(onion_hop_open(&o, &world.hops[0], &world.net, train) == DROP_NONE);
    must(onion_hop_answer(&a, &o, &world.env) == 0);
    fill(r, payload + ONION_REPLY_SLOT, ONION__REPLY_FIELDS);
    fill(r, payload, ONION_REPLY_SLOT);
    memcpy(s.h, a.h, 32);
    memcpy(s.k, a.k, 32);
    memset(reply, 0, ONION_REPLY);
    memcpy(reply, a.y, 32);
    noise_encrypt(&s, payload, sizeof payload, reply + ONION__REPLY_SEALED);
    enum drop drop = onion_train_reply(t, reply, &b);
    uint8_t status = payload[ONION_REPLY_SLOT];
    must(drop == (status == ONION_OK ? DROP_AUTH : DROP_NONE)); /* nothing is behind it */
    must(b.n_hops == (status == ONION_OK ? 1u : 0u));
    must(b.status == (status == ONION_OK ? ONION_NOTHING_BACK : status));
    must(status == ONION_MORE_WORK || b.effort == 0);
    must(onion_status_text(b.status) != NULL);
    onion_train_destroy(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct reader r = reader_on(data, len);
    uint8_t mode = reader_u8(&r), which = reader_u8(&r);
    uint8_t *train = malloc(ONION_TRAIN), *reply = malloc(ONION_REPLY);
    start_once();
    if (train != NULL && reply != NULL && !r.bad) {
        switch (mode % 4) {
        case 0:
            hop_changed(&r, which, train);
            break;
        case 1:
            hop_sealed(&r, which, train);
            break;
        case 2:
            client_changed(&r, train, reply);
            break;
        default:
            client_sealed(&r, train, reply);
        }
    }
    free(train);
    free(reply);
    return 0;
}
