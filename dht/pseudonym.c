/* dht/pseudonym.c - a pseudonym, in memory and as bytes on disk. The file:
 *
 *   0   8   magic "cyx-ps 1"
 *   8   1   version = 1
 *   9   32  seed of the Ed25519 key
 *   41  1   1 when there is a puzzle, else 0
 *   42  36  puzzle, or zero
 *   78  32  H("cyx pseudonym file", all before) */
#include "dht/pseudonym.h"

#include <sodium.h>
#include <string.h>

#include "base/crypto.h"
#include "base/reader.h"
#include "base/secret.h"
#include "base/writer.h"

enum { FILE_VERSION = 1, MAGIC = 8, CHECKSUM = CRYPTO_HASH };

static const uint8_t magic[MAGIC] = { 'c', 'y', 'x', '-', 'p', 's', ' ', '1' };

_Static_assert(MAGIC + 1 + 32 + 1 + MESH_POW_PROOF + CHECKSUM == DHT_PSEUDONYM_BLOB,
               "the layout above");

static struct dht_pseudonym *alloc(struct cyx_err *err)
{
    struct dht_pseudonym *p = secret_alloc(sizeof *p);
    if (p == NULL)
        (void)cyx_fail(err, CYX_ENOMEM, "no locked memory for the pseudonym");
    return p;
}

struct dht_pseudonym *dht_pseudonym_create(struct env *env, struct cyx_err *err)
{
    struct dht_pseudonym *p = alloc(err);
    if (p == NULL)
        return NULL;
    env_random(env, p->seed, sizeof p->seed);
    crypto_sign_seed_keypair(p->pk, p->sk, p->seed);
    return p;
}

void dht_pseudonym_destroy(struct dht_pseudonym *p)
{
    secret_free(p);
}

/* ---- the puzzle ------------------------------------------------------------------------------ */

/* As for ids: what signs offers costs what a node's id costs. */
static void subject(struct mesh_pow_subject *out, const uint8_t pk[static 32])
{
    *out = (struct mesh_pow_subject){ .purpose = MESH_POW_ID };
    memcpy(out->x, pk, sizeof out->x);
}

void dht_pseudonym_subject(const struct dht_pseudonym *p, struct mesh_pow_subject *out)
{
    subject(out, p->pk);
}

enum drop dht_pseudonym_check(const uint8_t pk[static 32],
                              const uint8_t puzzle[static MESH_POW_PROOF],
                              const struct mesh_network *net)
{
    struct mesh_pow_subject s;
    subject(&s, pk);
    return mesh_pow_check(&s, net->id_effort, puzzle) == DROP_NONE ? DROP_NONE : DROP_PROOF;
}

int dht_pseudonym_set_puzzle(struct dht_pseudonym *p, const struct mesh_network *net,
                             const uint8_t proof[static MESH_POW_PROOF], struct cyx_err *err)
{
    if (dht_pseudonym_check(p->pk, proof, net) != DROP_NONE)
        return cyx_fail(err, CYX_EINVAL,
                        "pseudonym's puzzle: the proof is wrong, or its effort is below %lu, which "
                        "network %s asks for",
                        (unsigned long)net->id_effort, net->name);
    memmove(p->puzzle, proof, sizeof p->puzzle); /* may be its own, checked for another network */
    p->has_puzzle = true;
    return 0;
}

/* ---- the file -------------------------------------------------------------------------------- */

static void checksum(uint8_t out[static CHECKSUM], const uint8_t *data, size_t n)
{
    crypto_h(out, "cyx pseudonym file", &BYTES(data, n), 1);
}

void dht_pseudonym_encode(const struct dht_pseudonym *p, uint8_t out[static DHT_PSEUDONYM_BLOB])
{
    uint8_t sum[CHECKSUM];
    struct writer w = writer_on(out, DHT_PSEUDONYM_BLOB);
    writer_copy(&w, magic, sizeof magic);
    writer_u8(&w, FILE_VERSION);
    writer_copy(&w, p->seed, sizeof p->seed);
    writer_u8(&w, p->has_puzzle ? 1 : 0);
    writer_copy(&w, p->puzzle, sizeof p->puzzle);
    checksum(sum, out, writer_len(&w));
    writer_copy(&w, sum, sizeof sum);
}

static int corrupt(struct cyx_err *err, const char *what)
{
    return cyx_fail(err, CYX_ECORRUPT,
                    "pseudonym: %s; restore it from a backup, or remove it to start with a new "
                    "pseudonym",
                    what);
}

/* Size, magic, checksum, version, in this order: what fails first names the cause. Leaves `r` on
 * what stands between version and checksum. */
static int frame_check(struct reader *r, const uint8_t *data, size_t len, struct cyx_err *err)
{
    uint8_t sum[CHECKSUM];
    if (len < MAGIC + 1 + CHECKSUM)
        return corrupt(err, "the file has a wrong size");
    checksum(sum, data, len - CHECKSUM);
    *r = reader_on(data, len - CHECKSUM);
    if (memcmp(reader_bytes(r, MAGIC), magic, MAGIC) != 0)
        return corrupt(err, "this is not a pseudonym's file");
    if (memcmp(sum, data + len - CHECKSUM, CHECKSUM) != 0)
        return corrupt(err, "the file is damaged (its checksum is wrong)");
    uint8_t version = reader_u8(r);
    if (version != FILE_VERSION)
        return cyx_fail(err, CYX_EVERSION, "pseudonym: format %u, this program reads format %u",
                        version, (unsigned)FILE_VERSION);
    return 0;
}

static bool puzzle_get(struct dht_pseudonym *p, struct reader *r)
{
    struct mesh_pow_subject s;
    uint8_t has = reader_u8(r);
    reader_copy(r, p->puzzle, sizeof p->puzzle);
    p->has_puzzle = has == 1;
    if (!p->has_puzzle)
        return has == 0 && sodium_is_zero(p->puzzle, sizeof p->puzzle) == 1;
    dht_pseudonym_subject(p, &s);
    return mesh_pow_check(&s, 1, p->puzzle) == DROP_NONE;
}

static int decode(struct dht_pseudonym *p, const uint8_t *data, size_t len, struct cyx_err *err)
{
    struct reader r;
    int code = frame_check(&r, data, len, err);
    if (code != 0)
        return code;
    reader_copy(&r, p->seed, sizeof p->seed);
    crypto_sign_seed_keypair(p->pk, p->sk, p->seed);
    bool ok = puzzle_get(p, &r);
    return ok && reader_done(&r) ? 0 : corrupt(err, "its fields don't fit together");
}

struct dht_pseudonym *dht_pseudonym_decode(const uint8_t *data, size_t len, struct cyx_err *err)
{
    struct dht_pseudonym *p = alloc(err);
    if (p == NULL || decode(p, data, len, err) == 0)
        return p;
    dht_pseudonym_destroy(p);
    return NULL;
}
