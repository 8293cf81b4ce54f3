/* Descriptors: sealed and opened, and each rule of the client's broken in turn. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/crypto.h"
#include "base/mp.h"
#include "tests/unit/mesh/vec.h"
#include "tests/unit/onion/sealed.h"

enum { PERIOD = 19675 };

static bool inner_is_same(const struct onion_inner *a, const struct onion_inner *b)
{
    bool same = memcmp(a->service_key, b->service_key, 32) == 0 && a->n_pivots == b->n_pivots &&
                a->ask_ports == b->ask_ports && a->n_ports == b->n_ports &&
                a->has_proof == b->has_proof && a->effort == b->effort &&
                a->handshakes == b->handshakes && memcmp(a->seed, b->seed, 16) == 0;
    for (size_t i = 0; same && i < a->n_pivots; i++)
        same = memcmp(&a->pivots[i], &b->pivots[i], sizeof a->pivots[i]) == 0;
    for (size_t i = 0; same && i < a->n_ports; i++)
        same = a->ports[i].port == b->ports[i].port && a->ports[i].kind == b->ports[i].kind;
    return same;
}

/* ---- vectors --------------------------------------------------------------------------------- */

struct rig {
    json_t *root;
    struct mesh_network net;
    uint64_t now;
    uint8_t address[32], proof[MESH_POW_PROOF];
    struct onion_delegation delegation;
    struct onion_inner inner;
};

static void rig_inner(struct rig *r)
{
    const json_t *v = vec_get(r->root, "inner"), *item;
    size_t at;
    vec_copy(v, "service_key", r->inner.service_key, 32);
    json_array_foreach(vec_get(v, "pivots"), at, item)
    {
        vec_copy(item, "id", r->inner.pivots[at].id, 32);
        vec_copy(item, "token", r->inner.pivots[at].token, 32);
        r->inner.n_pivots++;
    }
    json_array_foreach(vec_get(v, "ports"), at, item)
    {
        r->inner.ports[at].port = (uint16_t)json_integer_value(json_array_get(item, 0));
        r->inner.ports[at].kind = (uint8_t)json_integer_value(json_array_get(item, 1));
        r->inner.n_ports++;
    }
    r->inner.has_proof = true;
    vec_copy(v, "seed", r->inner.seed, 16);
    r->inner.effort = (uint32_t)vec_u64(v, "effort");
    r->inner.handshakes = (uint32_t)vec_u64(v, "handshakes");
}

static struct rig rig_open(void)
{
    struct rig r = { .root = vec_open("endpoint") };
    const json_t *v = json_array_get(vec_get(r.root, "delegations"), 1);
    cr_assert_geq(sodium_init(), 0);
    cr_assert_eq(mesh_network_init(&r.net, "vectors", 1, true, NULL), 0);
    r.now = vec_u64(r.root, "now");
    vec_copy(r.root, "address", r.address, 32);
    vec_copy(r.root, "proof", r.proof, sizeof r.proof);
    r.delegation.period = vec_u64(r.root, "period");
    r.delegation.serial = (uint32_t)vec_u64(v, "serial");
    vec_copy(r.root, "blinded", r.delegation.blinded, 32);
    vec_copy(v, "d_seed", r.delegation.d_seed, 32);
    vec_copy(v, "d", r.delegation.d, 32);
    vec_copy(v, "signature", r.delegation.signature, 64);
    rig_inner(&r);
    return r;
}

/* The inside that a vector's descriptor has. */
static struct onion_inner inner_of(const struct rig *r, const json_t *v)
{
    struct onion_inner in = r->inner;
    if (strstr(vec_str(v, "name"), "ports not told") == NULL)
        return in;
    in.ask_ports = true;
    in.has_proof = false;
    in.n_pivots = 1;
    in.n_ports = in.effort = 0;
    memset(in.seed, 0, sizeof in.seed);
    return in;
}

static void seal_check(const struct rig *r, const json_t *v)
{
    static uint8_t clients[ONION_CLIENTS_MAX][32], out[DHT_DESCRIPTOR_MAX];
    const struct onion_inner in = inner_of(r, v);
    struct vec_bytes random = vec_bytes(v, "random"), want = vec_bytes(v, "hex");
    struct dice dice = dice_fixed(random.b, random.len);
    const json_t *list = vec_get(v, "clients");
    struct onion_seal s = { .address = r->address,
                            .delegation = &r->delegation,
                            .proof = r->proof,
                            .sequence = vec_u64(r->root, "sequence"),
                            .inner = &in,
                            .is_for_clients = vec_bool(v, "for_clients"),
                            .clients = (const uint8_t(*)[32])clients,
                            .n_clients = json_array_size(list) };
    for (size_t i = 0; i < s.n_clients; i++)
        memcpy(clients[i], vec_hex(json_array_get(list, i)).b, 32);
    int len = onion_descriptor_seal(&s, &r->net, &dice.env, out, NULL);
    cr_assert_eq(len, (int)want.len, "%s", vec_str(v, "name"));
    cr_assert_arr_eq(out, want.b, want.len, "%s", vec_str(v, "name"));
    cr_assert_eq(dice.fixed_left, 0u);
}

Test(onion_descriptor, of_the_vectors_are_sealed_byte_for_byte)
{
    struct rig r = rig_open();
    const json_t *v;
    size_t at;
    json_array_foreach(vec_get(r.root, "descriptors"), at, v) seal_check(&r, v);
    cr_assert_eq(at, 5u);
    vec_close(r.root);
}

static enum drop open_vector(const struct rig *r, const json_t *v, const uint8_t *client_secret)
{
    const struct onion_inner want = inner_of(r, v);
    struct onion_reading how = { .address = r->address, .client_secret = client_secret };
    struct onion_descriptor got;
    struct vec_bytes data = vec_bytes(v, "hex");
    enum drop drop = onion_descriptor_open(&got, &how, &r->net, r->now, data.b, data.len);
    if (drop != DROP_NONE)
        return drop;
    cr_assert(inner_is_same(&got.inner, &want), "%s", vec_str(v, "name"));
    cr_assert_eq(got.is_for_clients, vec_bool(v, "for_clients"));
    cr_assert_eq(got.period, r->delegation.period);
    cr_assert_eq(got.serial, r->delegation.serial);
    cr_assert_eq(got.sequence, vec_u64(r->root, "sequence"));
    cr_assert_eq(got.expiry, (got.period + 2) * 86400);
    cr_assert_arr_eq(got.blinded, r->delegation.blinded, 32);
    return DROP_NONE;
}

Test(onion_descriptor, of_the_vectors_are_opened_by_those_they_are_for)
{
    struct rig r = rig_open();
    const json_t *v, *secrets = vec_get(r.root, "client_secrets");
    uint8_t stranger[32];
    size_t at;
    vec_copy(r.root, "stranger_secret", stranger, 32);
    json_array_foreach(vec_get(r.root, "descriptors"), at, v)
    {
        bool is_closed = vec_bool(v, "for_clients");
        enum drop others = is_closed ? DROP_UNKNOWN : DROP_NONE;
        size_t n = json_array_size(vec_get(v, "clients"));
        cr_assert_eq(open_vector(&r, v, NULL), others, "%s", vec_str(v, "name"));
        cr_assert_eq(open_vector(&r, v, stranger), others, "%s", vec_str(v, "name"));
        for (size_t i = 0; i < 16; i++) {
            struct vec_bytes secret = vec_hex(json_array_get(secrets, i));
            cr_assert_eq(open_vector(&r, v, secret.b), i < n ? DROP_NONE : others, "%s, client %zu",
                         vec_str(v, "name"), i);
        }
    }
    vec_close(r.root);
}

/* ---- sealing --------------------------------------------------------------------------------- */

Test(onion_descriptor, has_the_smallest_class_that_holds_it_and_entries_for_sixteens)
{
    struct sealed s = sealed_start();
    uint8_t out[DHT_DESCRIPTOR_MAX];
    static const struct {
        int clients;
        size_t size, entries;
    } cases[] = { { -1, 2048, 0 },  { 0, 4096, 16 },  { 1, 4096, 16 },  { 16, 4096, 16 },
                  { 17, 4096, 32 }, { 32, 4096, 32 }, { 33, 4096, 48 }, { 48, 4096, 48 },
                  { 49, 8192, 64 }, { 64, 8192, 64 } };
    /* the largest inside there is */
    s.inner.n_pivots = ONION_PIVOTS_MAX;
    env_random(&s.dice.env, s.inner.pivots, sizeof s.inner.pivots);
    s.inner.n_ports = ONION_PORTS_MAX;
    for (size_t i = 0; i < ONION_PORTS_MAX; i++)
        s.inner.ports[i] = (struct onion_port){ (uint16_t)(60000 + i), ONION_PORT_BOTH };
    s.inner.effort = MESH_POW_EFFORT_MAX;
    s.inner.handshakes = UINT32_MAX;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct onion_reading how = sealed_reading(&s);
        struct onion_descriptor got;
        cr_assert_eq(sealed_make(&s, cases[i].clients, out), cases[i].size, "case %zu", i);
        how.client_secret = cases[i].clients > 0 ? s.secrets[cases[i].clients - 1] : NULL;
        cr_assert_eq(sealed_open(&s, &how, out, cases[i].size, &got),
                     cases[i].clients == 0 ? DROP_UNKNOWN : DROP_NONE, "case %zu", i);
        if (cases[i].clients != 0)
            cr_assert(inner_is_same(&got.inner, &s.inner));
        if (cases[i].clients >= 0)
            cr_assert_eq(desc__entries_for((size_t)cases[i].clients), cases[i].entries);
    }
}

Test(onion_descriptor, a_client_that_was_removed_opens_nothing_more)
{
    struct sealed s = sealed_start();
    uint8_t out[DHT_DESCRIPTOR_MAX];
    struct onion_reading how = sealed_reading(&s);
    struct onion_descriptor got;
    size_t len = sealed_make(&s, 5, out);
    how.client_secret = s.secrets[4];
    cr_assert_eq(sealed_open(&s, &how, out, len, &got), DROP_NONE);
    len = sealed_make(&s, 4, out);
    cr_assert_eq(sealed_open(&s, &how, out, len, &got), DROP_UNKNOWN);
    how.client_secret = s.secrets[3];
    cr_assert_eq(sealed_open(&s, &how, out, len, &got), DROP_NONE);
    len = sealed_make(&s, 0, out); /* of nobody: not of everybody */
    cr_assert_eq(sealed_open(&s, &how, out, len, &got), DROP_UNKNOWN);
}

/* The plaintext that a record holds. */
static void plain_of(const struct sealed *s, const uint8_t *data, size_t len, uint8_t *out)
{
    const struct desc__context c = { s->delegation.blinded, s->delegation.period };
    struct dht_value v;
    struct dht_descriptor d;
    uint8_t key[32];
    cr_assert_eq(dht_value_parse(&v, &s->net, SEALED_NOW, data, len), DROP_NONE);
    cr_assert(dht_descriptor_read(&d, &v));
    desc__inner_key(key, d.nonce, s->address, &c);
    cr_assert_eq(crypto_aead_xchacha20poly1305_ietf_decrypt(out, NULL, NULL, d.inner, d.inner_len,
                                                            data, DESC__AD, d.nonce, key),
                 0);
}

static size_t place_of_entry(const uint8_t *plain, const uint8_t tag[static 8])
{
    for (size_t i = 0; i < 16; i++)
        if (memcmp(plain + 38 + i * 56, tag, 8) == 0)
            return i;
    return 99;
}

Test(onion_descriptor, draws_everything_anew_and_shuffles)
{
    struct sealed s = sealed_start();
    static uint8_t plain[DESC__PLAIN_MAX];
    uint8_t out[DHT_DESCRIPTOR_MAX], last_e[32] = { 0 }, last_nonce[24] = { 0 };
    unsigned places = 0;
    for (unsigned round = 0; round < 40; round++) {
        size_t len = sealed_make(&s, 1, out);
        uint8_t shared[32], info[15 + 32 + 8] = "cyx desc client", okm[40];
        plain_of(&s, out, len, plain);
        cr_assert_arr_neq(plain + 4, last_e, 32);
        cr_assert_arr_neq(out + 52 + 144, last_nonce, 24);
        memcpy(last_e, plain + 4, 32);
        memcpy(last_nonce, out + 52 + 144, 24);
        cr_assert_eq(crypto_dh(shared, s.secrets[0], last_e), 0);
        memcpy(info + 15, s.delegation.blinded, 32);
        for (unsigned i = 0; i < 8; i++)
            info[47 + i] = (uint8_t)(s.delegation.period >> (56 - 8 * i));
        crypto_hkdf(last_e, 32, shared, 32, info, sizeof info, okm, sizeof okm);
        size_t place = place_of_entry(plain, okm);
        cr_assert_lt(place, 16u);
        places |= 1u << place;
    }
    cr_assert_gt(__builtin_popcount(places), 8, "a client's entry is found anywhere");
}

Test(onion_descriptor, refuses_to_seal_what_nobody_would_take)
{
    struct sealed s = sealed_start(), bad;
    uint8_t out[DHT_DESCRIPTOR_MAX];
    for (unsigned i = 0; i < 13; i++) {
        bad = s;
        struct onion_seal seal = sealed_seal(&bad);
        seal.clients = (const uint8_t(*)[32])bad.clients;
        int want = CYX_EINVAL;
        switch (i) {
        case 0:
            bad.inner.n_pivots = 0;
            break;
        case 1:
            bad.inner.n_pivots = ONION_PIVOTS_MAX + 1;
            break;
        case 2:
            bad.inner.pivots[2] = bad.inner.pivots[0];
            break;
        case 3:
            bad.inner.n_ports = ONION_PORTS_MAX + 1;
            break;
        case 4:
            bad.inner.ports[0].port = 0;
            break;
        case 5:
            bad.inner.ports[1].port = 22;
            break;
        case 6:
            bad.inner.ports[1].kind = 0;
            break;
        case 7:
            bad.inner.ports[1].kind = 4;
            break;
        case 8:
            bad.inner.ask_ports = true;
            break;
        case 9:
            bad.inner.effort = MESH_POW_EFFORT_MAX + 1;
            break;
        case 10:
            bad.inner.handshakes = 0;
            break;
        case 11:
            seal.is_for_clients = true, seal.n_clients = 65;
            break;
        case 12:
            seal.n_clients = 1;
            break;
        }
        cr_expect_eq(onion_descriptor_seal(&seal, &s.net, &bad.dice.env, out, NULL), want,
                     "case %u", i);
    }
    bad = s;
    struct onion_seal seal = sealed_seal(&bad);
    bad.proof[0] ^= 1;
    cr_expect_eq(onion_descriptor_seal(&seal, &s.net, &bad.dice.env, out, NULL), CYX_EINVAL);
    bad = s;
    seal = sealed_seal(&bad);
    seal.is_for_clients = true;
    seal.clients = (const uint8_t(*)[32])bad.clients;
    seal.n_clients = 3;
    memset(bad.clients[1], 0, 32);
    cr_expect_eq(onion_descriptor_seal(&seal, &s.net, &bad.dice.env, out, NULL), CYX_EPROTO);
}

/* ---- opening: each rule broken --------------------------------------------------------------- */

/* Seals, takes the outside apart, lets `change` have it, builds it again under d. */
static enum drop open_changed(void (*change)(struct sealed *s, struct dht_descriptor *d))
{
    struct sealed s = sealed_start();
    static uint8_t out[DHT_DESCRIPTOR_MAX], again[DHT_DESCRIPTOR_MAX];
    static uint8_t inner[DHT_DESCRIPTOR_MAX];
    struct onion_reading how = sealed_reading(&s);
    struct onion_descriptor got;
    struct dht_value v;
    struct dht_descriptor d;
    uint8_t sk[64];
    size_t len = sealed_make(&s, -1, out);
    cr_assert_eq(sealed_open(&s, &how, out, len, &got), DROP_NONE);
    cr_assert_eq(dht_value_parse(&v, &s.net, SEALED_NOW, out, len), DROP_NONE);
    cr_assert(dht_descriptor_read(&d, &v));
    memcpy(inner, d.inner, d.inner_len);
    d.inner = inner;
    change(&s, &d);
    sealed_d_key(&s, sk);
    int built = dht_descriptor_build(&d, &s.net, sk, again);
    cr_assert_gt(built, 0);
    return sealed_open(&s, &how, again, (size_t)built, &got);
}

static void change_nothing(struct sealed *s, struct dht_descriptor *d)
{
    (void)s, (void)d;
}

static void change_cipher(struct sealed *s, struct dht_descriptor *d)
{
    (void)s;
    ((uint8_t *)(uintptr_t)d->inner)[5] ^= 1;
}

static void change_nonce(struct sealed *s, struct dht_descriptor *d)
{
    (void)s;
    d->nonce[0] ^= 1;
}

static void change_sequence(struct sealed *s, struct dht_descriptor *d)
{
    (void)s;
    d->sequence++; /* which the ciphertext vouches for as well */
}

static void change_proof(struct sealed *s, struct dht_descriptor *d)
{
    (void)s;
    d->proof[0] ^= 1;
}

static void change_delegation(struct sealed *s, struct dht_descriptor *d)
{
    (void)s;
    d->delegation[40] ^= 1;
}

static void change_serial(struct sealed *s, struct dht_descriptor *d)
{
    (void)s;
    d->serial++;
}

static void change_period(struct sealed *s, struct dht_descriptor *d)
{
    (void)s;
    d->period++; /* A_p is the old one's */
    d->sequence = 0;
}

static void change_far_period(struct sealed *s, struct dht_descriptor *d)
{
    (void)s;
    d->period += 2;
    d->sequence = 0;
}

static void change_future(struct sealed *s, struct dht_descriptor *d)
{
    (void)s;
    d->sequence += 61 * 256;
}

static void change_publisher(struct sealed *s, struct dht_descriptor *d)
{
    (void)s;
    d->blinded[0] ^= 1;
}

/* The same address, d delegated anew: a thief of the ciphertext with a d of its own. */
static void change_d(struct sealed *s, struct dht_descriptor *d)
{
    struct sealed other = sealed_start();
    memset(other.delegation.d_seed, 3, 32);
    crypto_sign_seed_keypair(d->d, (uint8_t[64]){ 0 }, other.delegation.d_seed);
    s->delegation = other.delegation;
}

Test(onion_descriptor, is_refused_when_anything_outside_is_changed)
{
    static const struct {
        void (*change)(struct sealed *s, struct dht_descriptor *d);
        enum drop want;
    } cases[] = { { change_nothing, DROP_NONE },       { change_cipher, DROP_AUTH },
                  { change_nonce, DROP_AUTH },         { change_sequence, DROP_AUTH },
                  { change_proof, DROP_PROOF },        { change_delegation, DROP_SIGNATURE },
                  { change_serial, DROP_SIGNATURE },   { change_period, DROP_KEY },
                  { change_far_period, DROP_EXPIRED }, { change_future, DROP_FIELD },
                  { change_publisher, DROP_KEY },      { change_d, DROP_SIGNATURE } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        enum drop drop = open_changed(cases[i].change);
        cr_expect_eq(drop, cases[i].want, "case %zu: %s", i, drop_name(drop));
    }
}

Test(onion_descriptor, is_refused_when_any_bit_is_flipped_or_anything_is_missing)
{
    struct sealed s = sealed_start();
    uint8_t out[DHT_DESCRIPTOR_MAX];
    struct onion_reading how = sealed_reading(&s);
    struct onion_descriptor got;
    size_t len = sealed_make(&s, -1, out);
    for (size_t bit = 0; bit < 8 * len; bit += bit < 8 * 260 ? 1 : 61) {
        out[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_neq(sealed_open(&s, &how, out, len, &got), DROP_NONE, "bit %zu", bit);
        out[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t n = 0; n < len; n += 5)
        cr_assert_neq(sealed_open(&s, &how, out, n, &got), DROP_NONE, "length %zu", n);
    cr_assert_eq(sealed_open(&s, &how, out, len, &got), DROP_NONE);
}

Test(onion_descriptor, of_another_address_is_refused)
{
    struct sealed s = sealed_start();
    uint8_t out[DHT_DESCRIPTOR_MAX], pk[32], sk[64];
    const uint8_t seed[32] = { 99 };
    struct onion_reading how = sealed_reading(&s);
    struct onion_descriptor got;
    size_t len = sealed_make(&s, -1, out);
    crypto_sign_seed_keypair(pk, sk, seed);
    how.address = pk;
    cr_assert_eq(sealed_open(&s, &how, out, len, &got), DROP_KEY);
    memset(pk, 0, sizeof pk); /* no point that may be multiplied */
    cr_assert_eq(sealed_open(&s, &how, out, len, &got), DROP_KEY);
}

Test(onion_descriptor, older_than_the_last_verified_is_ignored)
{
    struct sealed s = sealed_start();
    uint8_t out[DHT_DESCRIPTOR_MAX];
    struct onion_descriptor got;
    size_t len = sealed_make(&s, -1, out);
    uint64_t sequence = sealed_seal(&s).sequence;
    uint32_t serial = s.delegation.serial;
    const struct {
        uint32_t serial;
        uint64_t sequence;
        enum drop want;
    } cases[] = { { serial, sequence, DROP_NONE },
                  { serial, sequence - 1, DROP_NONE },
                  { serial, sequence + 1, DROP_STALE },
                  { serial - 1, UINT64_MAX, DROP_NONE },
                  { serial + 1, 0, DROP_STALE } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct onion_reading how = { .address = s.address,
                                     .has_last = true,
                                     .last_serial = cases[i].serial,
                                     .last_sequence = cases[i].sequence };
        memcpy(how.last_blinded, s.delegation.blinded, 32);
        cr_expect_eq(sealed_open(&s, &how, out, len, &got), cases[i].want, "case %zu", i);
        how.last_blinded[3] ^= 1; /* of another period */
        cr_expect_eq(sealed_open(&s, &how, out, len, &got), DROP_NONE, "case %zu", i);
    }
}

Test(onion_descriptor, records_of_other_types_are_no_descriptors)
{
    struct sealed s = sealed_start();
    struct onion_reading how = sealed_reading(&s);
    struct onion_descriptor got;
    json_t *root = vec_open("record");
    struct vec_bytes node = vec_bytes(json_array_get(vec_get(root, "node_records"), 0), "hex");
    cr_assert_eq(sealed_open(&s, &how, node.b, node.len, &got), DROP_TYPE);
    vec_close(root);
}

/* ---- opening: the inside --------------------------------------------------------------------- */

static enum drop open_plain(struct sealed *s, const uint8_t *plain, size_t len)
{
    uint8_t out[DHT_DESCRIPTOR_MAX];
    struct onion_reading how = sealed_reading(s);
    struct onion_descriptor got;
    how.client_secret = s->secrets[0];
    size_t n = sealed_plain(s, plain, len, 4096, out);
    return sealed_open(s, &how, out, n, &got);
}

Test(onion_descriptor, every_field_around_the_map_is_checked)
{
    struct sealed s = sealed_start();
    uint8_t plain[3796] = { 1, 0 };
    struct writer w = writer_on(plain + 4, DESC__MAP_MAX);
    desc__map_put(&w, &s.inner);
    size_t map = writer_len(&w);
    plain[2] = (uint8_t)(map >> 8), plain[3] = (uint8_t)map;
    cr_assert_eq(open_plain(&s, plain, sizeof plain), DROP_NONE);
    plain[0] = 2;
    cr_expect_eq(open_plain(&s, plain, sizeof plain), DROP_VERSION);
    plain[0] = 0;
    cr_expect_eq(open_plain(&s, plain, sizeof plain), DROP_VERSION);
    plain[0] = 1, plain[1] = 2;
    cr_expect_eq(open_plain(&s, plain, sizeof plain), DROP_FIELD);
    plain[1] = 0, plain[sizeof plain - 1] = 1;
    cr_expect_eq(open_plain(&s, plain, sizeof plain), DROP_FIELD, "something behind the map");
    plain[sizeof plain - 1] = 0, plain[3]--;
    cr_expect_eq(open_plain(&s, plain, sizeof plain), DROP_FIELD, "the map is longer");
    plain[3] += 2;
    cr_expect_eq(open_plain(&s, plain, sizeof plain), DROP_FIELD, "the map is shorter");
    plain[2] = 0xff;
    cr_expect_eq(open_plain(&s, plain, sizeof plain), DROP_SHORT);
    plain[2] = plain[3] = 0;
    memset(plain + 4, 0, map);
    cr_expect_eq(open_plain(&s, plain, sizeof plain), DROP_SHORT, "no map");
}

Test(onion_descriptor, every_field_of_the_part_for_clients_is_checked)
{
    struct sealed s = sealed_start();
    static uint8_t plain[DESC__PLAIN_MAX];
    uint8_t out[DHT_DESCRIPTOR_MAX];
    plain_of(&s, out, sealed_make(&s, 3, out), plain);
    cr_assert_eq(open_plain(&s, plain, 3796), DROP_NONE);
    static const struct {
        size_t at;
        uint8_t value;
        enum drop want;
    } cases[] = { { 37, 0, DROP_LIMIT },   { 37, 15, DROP_LIMIT },   { 37, 17, DROP_LIMIT },
                  { 37, 80, DROP_LIMIT },  { 36, 1, DROP_LIMIT },    { 37, 32, DROP_AUTH },
                  { 2, 0xff, DROP_SHORT }, { 4, 0xff, DROP_UNKNOWN } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t was = plain[cases[i].at];
        plain[cases[i].at] = cases[i].value;
        enum drop drop = open_plain(&s, plain, 3796);
        cr_expect_eq(drop, cases[i].want, "case %zu: %s", i, drop_name(drop));
        plain[cases[i].at] = was;
    }
    size_t sealed_at = 38 + 16 * 56 + 24;
    plain[sealed_at] ^= 1;
    cr_expect_eq(open_plain(&s, plain, 3796), DROP_AUTH);
    plain[sealed_at] ^= 1;
    memset(plain + 4, 0, 32);
    cr_expect_eq(open_plain(&s, plain, 3796), DROP_KEY, "e_d of small order");
}

/* A map put together by hand. */
struct map {
    struct writer w;
    msgpack_packer pk;
    uint8_t b[4096];
};

static void put_pivots(msgpack_packer *pk, size_t n, size_t id_len, size_t items)
{
    uint8_t id[64] = { 0 };
    msgpack_pack_uint8(pk, 2);
    msgpack_pack_array(pk, n);
    for (size_t i = 0; i < n; i++) {
        id[0] = (uint8_t)i;
        msgpack_pack_array(pk, items);
        for (size_t k = 0; k < items; k++)
            mp_pack_bin(pk, id, k == 0 ? id_len : 32);
    }
}

static void put_ports(msgpack_packer *pk, size_t n, uint64_t first, int step, uint64_t kind)
{
    msgpack_pack_uint8(pk, 3);
    msgpack_pack_array(pk, n);
    for (size_t i = 0; i < n; i++) {
        msgpack_pack_array(pk, 2);
        msgpack_pack_uint64(pk, first + (uint64_t)((int64_t)i * step));
        msgpack_pack_uint64(pk, kind);
    }
}

enum fault {
    FINE,
    NO_SERVICE_KEY,
    SHORT_SERVICE_KEY,
    NO_PIVOTS,
    ZERO_PIVOTS,
    NINE_PIVOTS,
    PIVOTS_NIL,
    SHORT_ID,
    PIVOT_OF_ONE,
    PIVOT_OF_THREE,
    NO_PORTS,
    ZERO_PORTS,
    PORTS_65,
    PORT_0,
    PORT_65536,
    PORTS_DESCEND,
    PORT_TWICE,
    KIND_0,
    KIND_4,
    PORTS_INT,
    EFFORT_TOO_MUCH,
    EFFORT_MOST,
    SHORT_SEED,
    PROOF_NIL,
    NO_HANDSHAKES,
    HANDSHAKES_0,
    HANDSHAKES_33_BITS,
    UNKNOWN_KEYS,
    FAULTS,
};

static void put_some_ports(msgpack_packer *pk, enum fault f)
{
    switch (f) {
    case NO_PORTS:
        break;
    case ZERO_PORTS:
        put_ports(pk, 0, 0, 0, 0);
        break;
    case PORTS_65:
        put_ports(pk, 65, 1, 1, 1);
        break;
    case PORT_0:
        put_ports(pk, 2, 0, 1, 1);
        break;
    case PORT_65536:
        put_ports(pk, 2, 65535, 1, 1);
        break;
    case PORTS_DESCEND:
        put_ports(pk, 3, 80, -1, 1);
        break;
    case PORT_TWICE:
        put_ports(pk, 2, 80, 0, 1);
        break;
    case KIND_0:
        put_ports(pk, 1, 80, 1, 0);
        break;
    case KIND_4:
        put_ports(pk, 1, 80, 1, 4);
        break;
    case PORTS_INT:
        msgpack_pack_uint8(pk, 3);
        msgpack_pack_uint8(pk, 3);
        break;
    default:
        put_ports(pk, 64, 1, 1, 3);
        break;
    }
}

static void put_some_proof(msgpack_packer *pk, enum fault f)
{
    static const uint8_t seed[16] = { 4 };
    msgpack_pack_uint8(pk, 4);
    if (f == PROOF_NIL) {
        msgpack_pack_nil(pk);
        return;
    }
    msgpack_pack_array(pk, 2);
    mp_pack_bin(pk, seed, f == SHORT_SEED ? 15 : 16);
    msgpack_pack_uint32(pk, MESH_POW_EFFORT_MAX + (f == EFFORT_TOO_MUCH ? 1 : 0));
}

static void put_map(struct map *m, enum fault f)
{
    static const uint8_t key[32] = { 8 };
    bool lacks = f == NO_SERVICE_KEY || f == NO_PIVOTS || f == NO_PORTS || f == NO_HANDSHAKES;
    msgpack_packer *pk = &m->pk;
    m->w = writer_on(m->b, sizeof m->b);
    mp_packer(pk, &m->w);
    msgpack_pack_map(pk, lacks ? 4 : f == UNKNOWN_KEYS ? 7 : 5);
    if (f != NO_SERVICE_KEY) {
        msgpack_pack_uint8(pk, 1);
        mp_pack_bin(pk, key, f == SHORT_SERVICE_KEY ? 31 : 32);
    }
    if (f == PIVOTS_NIL) {
        msgpack_pack_uint8(pk, 2);
        msgpack_pack_nil(pk);
    } else if (f != NO_PIVOTS) {
        put_pivots(pk,
                   f == ZERO_PIVOTS   ? 0
                   : f == NINE_PIVOTS ? 9
                                      : 8,
                   f == SHORT_ID ? 31 : 32,
                   f == PIVOT_OF_ONE     ? 1
                   : f == PIVOT_OF_THREE ? 3
                                         : 2);
    }
    put_some_ports(pk, f);
    put_some_proof(pk, f);
    if (f != NO_HANDSHAKES) {
        msgpack_pack_uint8(pk, 5);
        msgpack_pack_uint64(pk, f == HANDSHAKES_0 ? 0 : f == HANDSHAKES_33_BITS ? 1ull << 32 : 1);
    }
    if (f == UNKNOWN_KEYS) {
        msgpack_pack_uint8(pk, 6);
        mp_pack_bin(pk, key, 32);
        mp_pack_str(pk, "newer");
        msgpack_pack_nil(pk);
    }
    cr_assert(writer_ok(&m->w));
}

static enum drop open_map(struct sealed *s, const uint8_t *map, size_t len)
{
    uint8_t out[DHT_DESCRIPTOR_MAX];
    struct onion_reading how = sealed_reading(s);
    struct onion_descriptor got;
    return sealed_open(s, &how, out, sealed_map(s, map, len, out), &got);
}

Test(onion_descriptor, every_bound_inside_the_map_is_checked)
{
    struct sealed s = sealed_start();
    static struct map m;
    for (enum fault f = FINE; f < FAULTS; f++) {
        bool is_fine = f == FINE || f == ZERO_PORTS || f == EFFORT_MOST || f == UNKNOWN_KEYS;
        put_map(&m, f);
        enum drop drop = open_map(&s, m.b, writer_len(&m.w));
        cr_expect_eq(drop, is_fine ? DROP_NONE : DROP_FIELD, "fault %u: %s", f, drop_name(drop));
    }
}

Test(onion_descriptor, a_map_in_any_other_encoding_is_refused)
{
    struct sealed s = sealed_start();
    static struct map m;
    static const uint8_t no_map[] = { 0x91, 1 };
    put_map(&m, FINE);
    size_t len = writer_len(&m.w);
    cr_expect_eq(open_map(&s, m.b, len - 1), DROP_SHORT);
    cr_expect_eq(open_map(&s, m.b, len + 1), DROP_FIELD);
    cr_expect_eq(open_map(&s, no_map, sizeof no_map), DROP_FIELD);
    memmove(m.b + 2, m.b + 1, len - 1);
    m.b[0] = 0xde, m.b[1] = 0; /* map 16 with its second byte missing, then garbage */
    cr_expect_neq(open_map(&s, m.b, len + 1), DROP_NONE);
    put_map(&m, FINE);
    memmove(m.b + 2, m.b + 1, len - 1);
    m.b[1] = 0xcc; /* key 1 as uint8 */
    cr_expect_eq(open_map(&s, m.b, len + 1), DROP_FIELD);
    static const uint8_t huge[] = { 0xdf, 0xff, 0xff, 0xff, 0xff };
    cr_expect_neq(open_map(&s, huge, sizeof huge), DROP_NONE);
}

Test(onion_descriptor, ports_are_found_with_their_kind)
{
    struct sealed s = sealed_start();
    cr_expect(onion_inner_has_port(&s.inner, 22, ONION_PORT_STREAM));
    cr_expect_not(onion_inner_has_port(&s.inner, 22, ONION_PORT_DATAGRAM));
    cr_expect_not(onion_inner_has_port(&s.inner, 22, ONION_PORT_BOTH));
    cr_expect(onion_inner_has_port(&s.inner, 443, ONION_PORT_BOTH));
    cr_expect(onion_inner_has_port(&s.inner, 443, ONION_PORT_DATAGRAM));
    cr_expect_not(onion_inner_has_port(&s.inner, 80, ONION_PORT_STREAM));
    s.inner.n_ports = 0;
    cr_expect_not(onion_inner_has_port(&s.inner, 22, ONION_PORT_STREAM));
    s.inner.ask_ports = true;
    cr_expect(onion_inner_has_port(&s.inner, 80, ONION_PORT_STREAM));
}

/* ---- periods and sequences ------------------------------------------------------------------- */

Test(onion_descriptor, lives_in_two_periods_at_any_time)
{
    const uint64_t noon = PERIOD * 86400ull + 43200;
    static const struct {
        uint64_t after, own, other;
    } cases[] = { { 0, PERIOD, PERIOD - 1 },
                  { 43199, PERIOD, PERIOD - 1 },
                  { 43200, PERIOD, PERIOD + 1 },
                  { 86399, PERIOD, PERIOD + 1 },
                  { 86400, PERIOD + 1, PERIOD } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t got[2];
        onion_periods(noon + cases[i].after, got);
        cr_expect_eq(got[0], cases[i].own, "case %zu", i);
        cr_expect_eq(got[1], cases[i].other, "case %zu", i);
        /* both live on for at least until the other takes over */
        cr_expect_gt(onion_descriptor_expiry(got[0]), noon + cases[i].after);
        cr_expect_gt(onion_descriptor_expiry(got[1]), noon + cases[i].after);
    }
    uint64_t first[2];
    onion_periods(0, first);
    cr_expect_eq(first[0], 0u);
    cr_expect_eq(first[1], 1u);
}

Test(onion_descriptor, sequences_grow_whatever_the_clock_does)
{
    const uint64_t start = (PERIOD - 1) * 86400ull + 43200; /* of the period before */
    uint64_t seq = 0, next;
    cr_assert_eq(onion_descriptor_sequence(&seq, PERIOD, start + 600, 0), 0);
    cr_expect_eq(seq, 10u * 256);
    cr_assert_eq(onion_descriptor_sequence(&next, PERIOD, start + 601, seq), 0);
    cr_expect_eq(next, seq + 1);
    cr_assert_eq(onion_descriptor_sequence(&next, PERIOD, start + 660, seq), 0);
    cr_expect_eq(next, 11u * 256);
    cr_assert_eq(onion_descriptor_sequence(&next, PERIOD, start - 1000, 0), 0);
    cr_expect_eq(next, 1u);
    /* The clock went back by an hour, then by more: what stores would refuse isn't made. */
    cr_assert_eq(onion_descriptor_sequence(&next, PERIOD, start + 3600, 120 * 256 + 254), 0);
    cr_expect_eq(next, 120u * 256 + 255);
    next = 5;
    cr_assert_eq(onion_descriptor_sequence(&next, PERIOD, start + 3600, 120 * 256 + 255),
                 CYX_EAGAIN);
    cr_assert_eq(onion_descriptor_sequence(&next, PERIOD, start + 3600, UINT64_MAX), CYX_EAGAIN);
    cr_expect_eq(next, 5u);
}
