/* onion/guards_blob.c - guards as bytes on disk:
 *
 *   0   8   magic "cyx-gd 1"
 *   8   1   version = 1
 *   9   32  network id
 *   41  1   number of guards, up to 8
 *   42  1   number of second-layer relays, up to 4
 *   43      guards, in order of sampling: id 32, since 8, until 8, unlisted since 8
 *           second layer: id 32, until 8, unlisted since 8
 *       32  H("cyx guards file", all before) */
#include <string.h>

#include "base/crypto.h"
#include "base/reader.h"
#include "base/writer.h"
#include "onion/guards_internal.h"

enum {
    FILE_VERSION = 1,
    MAGIC = 8,
    HEAD = MAGIC + 1 + 32 + 2,
    CHECKSUM = CRYPTO_HASH,
    GUARD = 56,
    SECOND = 48,
    DAY = 86400,
};

_Static_assert(HEAD + CHECKSUM + ONION_GUARDS_KEPT * GUARD + ONION_SECOND * SECOND ==
                   ONION_GUARDS_BLOB_MAX,
               "the layout above");

static const uint8_t magic[MAGIC] = { 'c', 'y', 'x', '-', 'g', 'd', ' ', '1' };

static void checksum(uint8_t out[static CHECKSUM], const uint8_t *data, size_t n)
{
    crypto_h(out, "cyx guards file", &BYTES(data, n), 1);
}

size_t onion_guards_encode(const struct onion_guards *g, uint8_t out[static ONION_GUARDS_BLOB_MAX])
{
    uint8_t sum[CHECKSUM];
    struct writer w = writer_on(out, ONION_GUARDS_BLOB_MAX);
    writer_copy(&w, magic, sizeof magic);
    writer_u8(&w, FILE_VERSION);
    writer_copy(&w, g->net, sizeof g->net);
    writer_u8(&w, (uint8_t)g->n_guards);
    writer_u8(&w, (uint8_t)g->n_seconds);
    for (size_t i = 0; i < g->n_guards; i++) {
        writer_copy(&w, g->guards[i].id, sizeof g->guards[i].id);
        writer_u64(&w, g->guards[i].since);
        writer_u64(&w, g->guards[i].until);
        writer_u64(&w, g->guards[i].unlisted);
    }
    for (size_t i = 0; i < g->n_seconds; i++) {
        writer_copy(&w, g->seconds[i].id, sizeof g->seconds[i].id);
        writer_u64(&w, g->seconds[i].until);
        writer_u64(&w, g->seconds[i].unlisted);
    }
    checksum(sum, out, writer_len(&w));
    writer_copy(&w, sum, sizeof sum);
    return writer_len(&w);
}

static int corrupt(struct cyx_err *err, const char *what)
{
    return cyx_fail(err, CYX_ECORRUPT,
                    "guards: %s; restore " ONION_GUARDS_FILE " from a backup, or remove it to "
                    "choose new guards",
                    what);
}

/* Size, magic, checksum, version, in this order: what fails first names the cause. Leaves `r` on
 * what stands between version and checksum. */
static int frame_check(struct reader *r, const uint8_t *data, size_t len, struct cyx_err *err)
{
    uint8_t sum[CHECKSUM];
    if (len < HEAD + CHECKSUM || len > ONION_GUARDS_BLOB_MAX)
        return corrupt(err, "the file has a wrong size");
    checksum(sum, data, len - CHECKSUM);
    *r = reader_on(data, len - CHECKSUM);
    if (memcmp(reader_bytes(r, MAGIC), magic, MAGIC) != 0)
        return corrupt(err, "this is not a file of guards");
    if (memcmp(sum, data + len - CHECKSUM, CHECKSUM) != 0)
        return corrupt(err, "the file is damaged (its checksum is wrong)");
    uint8_t version = reader_u8(r);
    if (version != FILE_VERSION)
        return cyx_fail(err, CYX_EVERSION, "guards: format %u, this program reads format %u",
                        version, (unsigned)FILE_VERSION);
    return 0;
}

static bool guard_is_new(const struct onion_guards *g, const uint8_t id[static 32])
{
    for (size_t i = 0; i < g->n_guards; i++)
        if (memcmp(g->guards[i].id, id, 32) == 0)
            return false;
    return true;
}

static bool second_is_new(const struct onion_guards *g, const uint8_t id[static 32])
{
    for (size_t i = 0; i < g->n_seconds; i++)
        if (memcmp(g->seconds[i].id, id, 32) == 0)
            return false;
    return true;
}

static bool guard_get(struct onion_guards *g, struct reader *r)
{
    struct guard e = { 0 };
    reader_copy(r, e.id, sizeof e.id);
    e.since = reader_u64(r);
    e.until = reader_u64(r);
    e.unlisted = reader_u64(r);
    if (r->bad || !guard_is_new(g, e.id) || e.until < e.since ||
        e.until - e.since < (uint64_t)ONION_GUARD_DAYS_MIN * DAY ||
        e.until - e.since > (uint64_t)ONION_GUARD_DAYS_MAX * DAY)
        return false;
    g->guards[g->n_guards++] = e;
    return true;
}

static bool second_get(struct onion_guards *g, struct reader *r)
{
    struct second e = { 0 };
    reader_copy(r, e.id, sizeof e.id);
    e.until = reader_u64(r);
    e.unlisted = reader_u64(r);
    if (r->bad || !second_is_new(g, e.id))
        return false;
    g->seconds[g->n_seconds++] = e;
    return true;
}

static bool sets_get(struct onion_guards *g, struct reader *r)
{
    size_t n_guards = reader_u8(r), n_seconds = reader_u8(r);
    if (n_guards > ONION_GUARDS_KEPT || n_seconds > ONION_SECOND)
        return false;
    for (size_t i = 0; i < n_guards; i++)
        if (!guard_get(g, r))
            return false;
    for (size_t i = 0; i < n_seconds; i++)
        if (!second_get(g, r))
            return false;
    return reader_done(r);
}

static int decode(struct onion_guards *g, const struct mesh_network *net, const uint8_t *data,
                  size_t len, struct cyx_err *err)
{
    struct reader r = reader_on(NULL, 0);
    int code = frame_check(&r, data, len, err);
    if (code != 0)
        return code;
    const uint8_t *id = reader_bytes(&r, sizeof g->net);
    if (id == NULL || memcmp(id, g->net, sizeof g->net) != 0)
        return cyx_fail(err, CYX_EINVAL, "guards: of another network than %s", net->name);
    return sets_get(g, &r) ? 0 : corrupt(err, "its fields don't fit together");
}

struct onion_guards *onion_guards_decode(const struct mesh_network *net, const uint8_t *data,
                                         size_t len, struct cyx_err *err)
{
    struct onion_guards *g = onion_guards_create(net);
    if (g == NULL) {
        (void)cyx_fail(err, CYX_ENOMEM, "guards: no memory");
        return NULL;
    }
    if (decode(g, net, data, len, err) == 0)
        return g;
    onion_guards_destroy(g);
    return NULL;
}
