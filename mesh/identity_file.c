/* mesh/identity_file.c - an identity as bytes on disk. Head and payload have fixed sizes; the last
 * 32 bytes are a checksum over everything before them, so that a torn or rotten file is told apart
 * from a wrong passphrase. Layout:
 *
 *   0   8   magic "cyx-id 1"           the same in all versions, as is the checksum's place
 *   8   1   version = 1
 *   9   1   1 when sealed, else 0
 *   when sealed: salt 16, Argon2id operations 8, memory in bytes 8, nonce 24
 *   payload 405, in the clear or as XChaCha20-Poly1305 (+ 16; ad = all before it)
 *   32 H("cyx identity file", all before) */
#include <sodium.h>
#include <string.h>

#include "base/crypto.h"
#include "base/reader.h"
#include "base/secret.h"
#include "base/writer.h"
#include "mesh/identity.h"
#include "mesh/record.h"

enum {
    FILE_VERSION = 1,
    MAGIC = 8,
    SLOT = 40,
    PAYLOAD = 32 + 1 + MESH_POW_PROOF + (2 + MESH_ONION_KEYS) * SLOT + 8 + 8,
    TAG = crypto_aead_xchacha20poly1305_ietf_ABYTES,
    NONCE = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
    SEALED_HEAD = MAGIC + 2 + 16 + 8 + 8 + NONCE,
    CHECKSUM = CRYPTO_HASH,
    OPS_MAX = 16, /* a file must not be able to keep us busy for minutes */
};

static const uint8_t magic[MAGIC] = { 'c', 'y', 'x', '-', 'i', 'd', ' ', '1' };
static const uint64_t mem_max = UINT64_C(1) << 30;

_Static_assert(PAYLOAD == 405, "the layout above names the payload's size");
_Static_assert(SEALED_HEAD + PAYLOAD + TAG + CHECKSUM <= MESH_IDENTITY_BLOB_MAX, "fits a blob");

/* The secret part in the clear; wiped on every way out. */
struct payload {
    uint8_t b[PAYLOAD];
};

static void payload_wipe(struct payload *p)
{
    sodium_memzero(p, sizeof *p);
}
#define cleanup_payload __attribute__((cleanup(payload_wipe)))

static void checksum(uint8_t out[static CHECKSUM], const uint8_t *data, size_t n)
{
    crypto_h(out, "cyx identity file", &BYTES(data, n), 1);
}

/* ---- passphrase ------------------------------------------------------------------------------ */

static int derive(uint8_t key[static 32], const char *passphrase, const uint8_t salt[static 16],
                  uint64_t ops, uint64_t mem, struct cyx_err *err)
{
    if (crypto_pwhash(key, 32, passphrase, strlen(passphrase), salt, ops, (size_t)mem,
                      crypto_pwhash_ALG_ARGON2ID13) != 0)
        return cyx_fail(err, CYX_ENOMEM, "passphrase: deriving its key takes %llu MiB of memory",
                        (unsigned long long)(mem >> 20));
    return 0;
}

int mesh_identity_seal_with(struct mesh_identity *i, struct env *env, const char *passphrase,
                            struct cyx_err *err)
{
    cleanup_key32 struct key32 key = { 0 };
    uint8_t salt[16];
    uint64_t ops = crypto_pwhash_OPSLIMIT_MODERATE, mem = crypto_pwhash_MEMLIMIT_MODERATE;
    if (passphrase == NULL) {
        i->is_sealed = false;
        sodium_memzero(i->seal_key, sizeof i->seal_key);
        return 0;
    }
    env_random(env, salt, sizeof salt);
    int code = derive(key.b, passphrase, salt, ops, mem, NULL);
    if (code != 0) { /* a small machine: 64 MiB */
        ops = crypto_pwhash_OPSLIMIT_INTERACTIVE;
        mem = crypto_pwhash_MEMLIMIT_INTERACTIVE;
        code = derive(key.b, passphrase, salt, ops, mem, err);
    }
    if (code != 0)
        return code;
    memcpy(i->seal_key, key.b, sizeof i->seal_key);
    memcpy(i->seal_salt, salt, sizeof i->seal_salt);
    i->seal_ops = ops;
    i->seal_mem = mem;
    i->is_sealed = true;
    return 0;
}

/* ---- writing --------------------------------------------------------------------------------- */

static void slot_put(struct writer *w, const struct mesh_keypair *k)
{
    writer_copy(w, k->secret, sizeof k->secret);
    writer_u64(w, k->made);
}

static void payload_put(struct payload *p, const struct mesh_identity *i)
{
    struct writer w = writer_on(p->b, sizeof p->b);
    writer_copy(&w, i->seed, sizeof i->seed);
    writer_u8(&w, i->has_puzzle ? 1 : 0);
    writer_copy(&w, i->puzzle, sizeof i->puzzle);
    slot_put(&w, &i->link);
    slot_put(&w, &i->link_old);
    for (unsigned k = 0; k < MESH_ONION_KEYS; k++)
        slot_put(&w, &i->onion[k]);
    writer_u64(&w, i->init_sequence);
    writer_u64(&w, i->record_sequence);
}

static void seal(struct writer *w, const struct mesh_identity *i, struct env *env,
                 const struct payload *p)
{
    uint8_t nonce[NONCE];
    env_random(env, nonce, sizeof nonce);
    writer_copy(w, i->seal_salt, sizeof i->seal_salt);
    writer_u64(w, i->seal_ops);
    writer_u64(w, i->seal_mem);
    writer_copy(w, nonce, sizeof nonce);
    size_t head = writer_len(w);
    uint8_t *at = writer_reserve(w, PAYLOAD + TAG);
    if (at != NULL)
        crypto_aead_xchacha20poly1305_ietf_encrypt(at, NULL, p->b, PAYLOAD, w->start, head, NULL,
                                                   nonce, i->seal_key);
}

int mesh_identity_encode(const struct mesh_identity *i, struct env *env,
                         uint8_t out[static MESH_IDENTITY_BLOB_MAX])
{
    cleanup_payload struct payload p = { 0 };
    uint8_t sum[CHECKSUM];
    struct writer w = writer_on(out, MESH_IDENTITY_BLOB_MAX);
    writer_copy(&w, magic, sizeof magic);
    writer_u8(&w, FILE_VERSION);
    writer_u8(&w, i->is_sealed ? 1 : 0);
    payload_put(&p, i);
    if (i->is_sealed)
        seal(&w, i, env, &p);
    else
        writer_copy(&w, p.b, sizeof p.b);
    checksum(sum, out, writer_len(&w));
    writer_copy(&w, sum, sizeof sum);
    return writer_ok(&w) ? (int)writer_len(&w) : CYX_EFULL;
}

/* ---- reading --------------------------------------------------------------------------------- */

static int corrupt(struct cyx_err *err, const char *what)
{
    return cyx_fail(err, CYX_ECORRUPT,
                    "identity: %s; restore it from a backup, or remove it to start with a new "
                    "identity",
                    what);
}

static bool slot_get(struct reader *r, struct mesh_keypair *k)
{
    reader_copy(r, k->secret, sizeof k->secret);
    k->made = reader_u64(r);
    if (k->made == 0)
        return sodium_is_zero(k->secret, sizeof k->secret) == 1;
    crypto_dh_public(k->pub, k->secret);
    return true;
}

static bool puzzle_get(struct reader *r, struct mesh_identity *i)
{
    struct mesh_pow_subject s;
    uint8_t has = reader_u8(r);
    reader_copy(r, i->puzzle, sizeof i->puzzle);
    i->has_puzzle = has == 1;
    if (!i->has_puzzle)
        return has == 0 && sodium_is_zero(i->puzzle, sizeof i->puzzle) == 1;
    mesh_identity_subject(i, &s);
    mesh_node_id(i->id, i->sign_pk, i->puzzle);
    return mesh_pow_check(&s, 1, i->puzzle) == DROP_NONE;
}

static bool payload_get(struct mesh_identity *i, const struct payload *p)
{
    struct reader r = reader_on(p->b, sizeof p->b);
    reader_copy(&r, i->seed, sizeof i->seed);
    crypto_sign_seed_keypair(i->sign_pk, i->sign_sk, i->seed);
    bool ok = puzzle_get(&r, i);
    ok = slot_get(&r, &i->link) && ok;
    ok = slot_get(&r, &i->link_old) && ok;
    for (unsigned k = 0; k < MESH_ONION_KEYS; k++)
        ok = slot_get(&r, &i->onion[k]) && ok;
    i->init_sequence = reader_u64(&r);
    i->record_sequence = reader_u64(&r);
    return ok && reader_done(&r) && i->link.made != 0 && i->onion[0].made != 0;
}

/* Opens the sealed payload behind `r`; `data` is where the file starts. */
static int unseal(struct mesh_identity *i, struct reader *r, const uint8_t *data,
                  const char *passphrase, struct payload *p, struct cyx_err *err)
{
    uint8_t nonce[NONCE];
    reader_copy(r, i->seal_salt, sizeof i->seal_salt);
    i->seal_ops = reader_u64(r);
    i->seal_mem = reader_u64(r);
    reader_copy(r, nonce, sizeof nonce);
    const uint8_t *sealed = reader_bytes(r, PAYLOAD + TAG);
    if (!reader_done(r) || i->seal_ops < crypto_pwhash_OPSLIMIT_MIN || i->seal_ops > OPS_MAX ||
        i->seal_mem < crypto_pwhash_MEMLIMIT_MIN || i->seal_mem > mem_max)
        return corrupt(err, "the sealed part is malformed");
    if (passphrase == NULL)
        return cyx_fail(err, CYX_EPERM, "identity: sealed, and no passphrase was given");
    int code = derive(i->seal_key, passphrase, i->seal_salt, i->seal_ops, i->seal_mem, err);
    if (code != 0)
        return code;
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(p->b, NULL, NULL, sealed, PAYLOAD + TAG, data,
                                                   SEALED_HEAD, nonce, i->seal_key) != 0)
        return cyx_fail(err, CYX_EPERM, "identity: wrong passphrase");
    i->is_sealed = true;
    return 0;
}

/* Magic, checksum, version, in this order: what fails first names the cause. Leaves `r` on what
 * stands between version and checksum. */
static int frame_check(struct reader *r, const uint8_t *data, size_t len, struct cyx_err *err)
{
    uint8_t sum[CHECKSUM];
    if (len < MAGIC + 1 + CHECKSUM || len > MESH_IDENTITY_BLOB_MAX)
        return corrupt(err, "the file has a wrong size");
    checksum(sum, data, len - CHECKSUM);
    *r = reader_on(data, len - CHECKSUM);
    if (memcmp(reader_bytes(r, MAGIC), magic, MAGIC) != 0)
        return corrupt(err, "this is not an identity file");
    if (memcmp(sum, data + len - CHECKSUM, CHECKSUM) != 0)
        return corrupt(err, "the file is damaged (its checksum is wrong)");
    uint8_t version = reader_u8(r);
    if (version != FILE_VERSION)
        return cyx_fail(err, CYX_EVERSION, "identity: format %u, this program reads format %u",
                        version, (unsigned)FILE_VERSION);
    return 0;
}

static int decode(struct mesh_identity *i, const uint8_t *data, size_t len, const char *passphrase,
                  struct cyx_err *err)
{
    cleanup_payload struct payload p = { 0 };
    struct reader r;
    int code = frame_check(&r, data, len, err);
    if (code != 0)
        return code;
    uint8_t sealed = reader_u8(&r);
    if (sealed == 1) {
        code = unseal(i, &r, data, passphrase, &p, err);
        if (code != 0)
            return code;
    } else {
        reader_copy(&r, p.b, sizeof p.b);
        if (sealed != 0 || !reader_done(&r))
            return corrupt(err, "the file is malformed");
    }
    return payload_get(i, &p) ? 0 : corrupt(err, "its fields don't fit together");
}

struct mesh_identity *mesh_identity_decode(const uint8_t *data, size_t len, const char *passphrase,
                                           struct cyx_err *err)
{
    struct mesh_identity *i = secret_alloc(sizeof *i);
    if (i == NULL) {
        (void)cyx_fail(err, CYX_ENOMEM, "no locked memory for the identity");
        return NULL;
    }
    if (decode(i, data, len, passphrase, err) == 0)
        return i;
    mesh_identity_destroy(i);
    return NULL;
}
