/* onion/delegation.c - delegations, in memory and as bytes. The blob:
 *
 *   0   8    magic "cyx-dg 1"
 *   8   1    version = 1
 *   9   32   A
 *   41  32   network id
 *   73  2    n, 1 to 366
 *   75       n times: period 8, serial 4, seed of d 32, signature 64; periods ascending
 *       32   H("cyx delegation file", all before) */
#include "onion/delegation.h"

#include <sodium.h>
#include <string.h>

#include "base/crypto.h"
#include "base/reader.h"
#include "base/secret.h"
#include "base/writer.h"
#include "dht/type.h"

enum {
    FILE_VERSION = 1,
    MAGIC = 8,
    HEAD = MAGIC + 1 + 32 + 32 + 2,
    CHECKSUM = CRYPTO_HASH,
};

_Static_assert(HEAD + CHECKSUM + ONION_DELEGATIONS_MAX * ONION_DELEGATION_BYTES ==
                   ONION_DELEGATIONS_BLOB_MAX,
               "the layout above");
_Static_assert(8 + 4 + 32 + 64 == ONION_DELEGATION_BYTES, "and of an entry");

static const uint8_t magic[MAGIC] = { 'c', 'y', 'x', '-', 'd', 'g', ' ', '1' };

/* Periods whose records can't expire within 64 bits don't exist. */
static const uint64_t period_max = UINT64_MAX / DHT_PERIOD_S - 4;

static struct onion_delegations *alloc(size_t n, struct cyx_err *err)
{
    struct onion_delegations *d = secret_alloc(sizeof *d + n * sizeof d->list[0]);
    if (d == NULL)
        (void)cyx_fail(err, CYX_ENOMEM, "no locked memory for %zu delegations", n);
    return d;
}

void onion_delegations_destroy(struct onion_delegations *d)
{
    secret_free(d);
}

static void derive_d(struct onion_delegation *d)
{
    uint8_t sk[64];
    crypto_sign_seed_keypair(d->d, sk, d->d_seed);
    sodium_memzero(sk, sizeof sk);
}

/* ---- the owner's side ------------------------------------------------------------------------ */

static int make_one(struct onion_delegation *d, const uint8_t seed[static ONION_SEED],
                    const uint8_t address[static 32], const struct mesh_network *net,
                    struct env *env)
{
    env_random(env, d->d_seed, sizeof d->d_seed);
    derive_d(d);
    int code = onion_blind_public(d->blinded, address, net, d->period);
    if (code != 0)
        return code;
    return onion_blind_delegate(d->signature, seed, net, d->period, d->serial, d->d, env);
}

static int make_all(struct onion_delegations *out, const uint8_t seed[static ONION_SEED],
                    const struct mesh_network *net, struct env *env)
{
    for (size_t i = 0; i < out->n; i++) {
        int code = make_one(&out->list[i], seed, out->address, net, env);
        if (code != 0)
            return code;
    }
    return 0;
}

struct onion_delegations *onion_delegations_create(const uint8_t seed[static ONION_SEED],
                                                   const struct mesh_network *net, uint64_t first,
                                                   size_t n, uint32_t serial, struct env *env,
                                                   struct cyx_err *err)
{
    if (n == 0 || n > ONION_DELEGATIONS_MAX || first > period_max || n > period_max - first) {
        (void)cyx_fail(err, CYX_EINVAL, "delegations: want 1 to %u days, not %zu",
                       (unsigned)ONION_DELEGATIONS_MAX, n);
        return NULL;
    }
    struct onion_delegations *out = alloc(n, err);
    if (out == NULL)
        return NULL;
    onion_address_of_seed(out->address, seed);
    memcpy(out->net, net->id, sizeof out->net);
    out->n = n;
    for (size_t i = 0; i < n; i++)
        out->list[i] = (struct onion_delegation){ .period = first + i, .serial = serial };
    if (make_all(out, seed, net, env) == 0)
        return out;
    (void)cyx_fail(err, CYX_EINVAL, "delegations: this seed can't be blinded");
    onion_delegations_destroy(out);
    return NULL;
}

/* ---- many ------------------------------------------------------------------------------------ */

const struct onion_delegation *onion_delegations_get(const struct onion_delegations *d,
                                                     uint64_t period)
{
    for (size_t i = 0; i < d->n && d->list[i].period <= period; i++)
        if (d->list[i].period == period)
            return &d->list[i];
    return NULL;
}

/* Where in `d` periods from `from` on begin. */
static size_t begin(const struct onion_delegations *d, uint64_t from)
{
    size_t i = 0;
    while (i < d->n && d->list[i].period < from)
        i++;
    return i;
}

/* Merges by period; writes to `out` unless it is NULL. How many there are. */
static size_t merge(const struct onion_delegations *a, const struct onion_delegations *b,
                    uint64_t from, struct onion_delegation *out)
{
    size_t i = begin(a, from), j = begin(b, from), n = 0;
    while (i < a->n || j < b->n) {
        const struct onion_delegation *x = i < a->n ? &a->list[i] : NULL;
        const struct onion_delegation *y = j < b->n ? &b->list[j] : NULL;
        bool has_x = x != NULL && (y == NULL || x->period <= y->period);
        bool has_y = y != NULL && (x == NULL || y->period <= x->period);
        if (out != NULL)
            out[n] = has_x && (!has_y || x->serial >= y->serial) ? *x : *y;
        n++;
        i += has_x;
        j += has_y;
    }
    return n;
}

struct onion_delegations *onion_delegations_join(const struct onion_delegations *a,
                                                 const struct onion_delegations *b, uint64_t from,
                                                 struct cyx_err *err)
{
    static const struct onion_delegations none = { .n = 0 };
    if (b != NULL && (memcmp(a->address, b->address, 32) != 0 || memcmp(a->net, b->net, 32) != 0)) {
        (void)cyx_fail(err, CYX_EINVAL, "delegations: of another address or network");
        return NULL;
    }
    b = b != NULL ? b : &none;
    size_t n = merge(a, b, from, NULL);
    if (n == 0 || n > ONION_DELEGATIONS_MAX) {
        (void)cyx_fail(err, n == 0 ? CYX_EINVAL : CYX_EFULL,
                       "delegations: %zu days, 1 to %u can be kept", n,
                       (unsigned)ONION_DELEGATIONS_MAX);
        return NULL;
    }
    struct onion_delegations *out = alloc(n, err);
    if (out == NULL)
        return NULL;
    memcpy(out->address, a->address, sizeof out->address);
    memcpy(out->net, a->net, sizeof out->net);
    out->n = merge(a, b, from, out->list);
    return out;
}

/* ---- the blob -------------------------------------------------------------------------------- */

static void checksum(uint8_t out[static CHECKSUM], const uint8_t *data, size_t n)
{
    crypto_h(out, "cyx delegation file", &BYTES(data, n), 1);
}

size_t onion_delegations_encode(const struct onion_delegations *d,
                                uint8_t out[static ONION_DELEGATIONS_BLOB_MAX])
{
    uint8_t sum[CHECKSUM];
    struct writer w = writer_on(out, ONION_DELEGATIONS_BLOB_MAX);
    writer_copy(&w, magic, sizeof magic);
    writer_u8(&w, FILE_VERSION);
    writer_copy(&w, d->address, sizeof d->address);
    writer_copy(&w, d->net, sizeof d->net);
    writer_u16(&w, (uint16_t)d->n);
    for (size_t i = 0; i < d->n; i++) {
        writer_u64(&w, d->list[i].period);
        writer_u32(&w, d->list[i].serial);
        writer_copy(&w, d->list[i].d_seed, sizeof d->list[i].d_seed);
        writer_copy(&w, d->list[i].signature, sizeof d->list[i].signature);
    }
    checksum(sum, out, writer_len(&w));
    writer_copy(&w, sum, sizeof sum);
    return writer_len(&w);
}

static int corrupt(struct cyx_err *err, const char *what)
{
    return cyx_fail(err, CYX_ECORRUPT, "delegations: %s; have the owner make them anew", what);
}

/* Size, magic, checksum, version, in this order: what fails first names the cause. Leaves `r` on
 * what stands between version and checksum. */
static int frame_check(struct reader *r, const uint8_t *data, size_t len, struct cyx_err *err)
{
    uint8_t sum[CHECKSUM];
    if (len < HEAD + CHECKSUM || len > ONION_DELEGATIONS_BLOB_MAX)
        return corrupt(err, "the file has a wrong size");
    checksum(sum, data, len - CHECKSUM);
    *r = reader_on(data, len - CHECKSUM);
    if (memcmp(reader_bytes(r, MAGIC), magic, MAGIC) != 0)
        return corrupt(err, "this is not a file of delegations");
    if (memcmp(sum, data + len - CHECKSUM, CHECKSUM) != 0)
        return corrupt(err, "the file is damaged (its checksum is wrong)");
    uint8_t version = reader_u8(r);
    if (version != FILE_VERSION)
        return cyx_fail(err, CYX_EVERSION, "delegations: format %u, this program reads format %u",
                        version, (unsigned)FILE_VERSION);
    return 0;
}

static bool entry_get(struct onion_delegation *d, struct reader *r,
                      const uint8_t address[static 32], const struct mesh_network *net)
{
    uint8_t text[DHT_DELEGATION_TEXT];
    d->period = reader_u64(r);
    d->serial = reader_u32(r);
    reader_copy(r, d->d_seed, sizeof d->d_seed);
    reader_copy(r, d->signature, sizeof d->signature);
    if (r->bad || d->period > period_max ||
        onion_blind_public(d->blinded, address, net, d->period) != 0)
        return false;
    derive_d(d);
    dht_delegation_text(text, net, d->period, d->serial, d->d);
    return crypto_sign_verify_detached(d->signature, text, sizeof text, d->blinded) == 0;
}

static int entries_get(struct onion_delegations *d, struct reader *r,
                       const struct mesh_network *net, struct cyx_err *err)
{
    for (size_t i = 0; i < d->n; i++) {
        if (!entry_get(&d->list[i], r, d->address, net))
            return corrupt(err, "the owner's key didn't sign one of them");
        if (i > 0 && d->list[i].period <= d->list[i - 1].period)
            return corrupt(err, "their days are out of order");
    }
    return 0;
}

struct onion_delegations *onion_delegations_decode(const struct mesh_network *net,
                                                   const uint8_t *data, size_t len,
                                                   struct cyx_err *err)
{
    struct reader r;
    uint8_t address[32], net_id[32];
    if (frame_check(&r, data, len, err) != 0)
        return NULL;
    reader_copy(&r, address, sizeof address);
    reader_copy(&r, net_id, sizeof net_id);
    size_t n = reader_u16(&r);
    if (n == 0 || n > ONION_DELEGATIONS_MAX || reader_left(&r) != n * ONION_DELEGATION_BYTES) {
        (void)corrupt(err, "its fields don't fit together");
        return NULL;
    }
    if (memcmp(net_id, net->id, sizeof net_id) != 0) {
        (void)cyx_fail(err, CYX_EINVAL, "delegations: for another network than %s", net->name);
        return NULL;
    }
    struct onion_delegations *d = alloc(n, err);
    if (d == NULL)
        return NULL;
    memcpy(d->address, address, sizeof d->address);
    memcpy(d->net, net_id, sizeof d->net);
    d->n = n;
    if (entries_get(d, &r, net, err) == 0)
        return d;
    onion_delegations_destroy(d);
    return NULL;
}
