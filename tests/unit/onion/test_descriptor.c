/* Descriptors: sealed for all or for some, by the vectors, in time. */
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
        sealed_plain_of(&s, out, len, plain);
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
