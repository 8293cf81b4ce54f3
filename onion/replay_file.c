/* onion/replay_file.c - the replay cache as bytes on disk. Layout:
 *
 *   0   8   magic "cyx-rpl1"
 *   8   1   version = 2
 *   9   1   1 when saved by a clean stop, 0 while in use
 *   10  8   floor
 *   18  8   ceiling
 *   26  48  first 8 bytes of each onion key, zero for an empty slot
 *   74  16  run: of the trails that have what was accepted since; zero: there are none
 *   when saved: key of the hashes 16; then for the current generation and the one before
 *       start 8, greatest stamp 8, entries 4, hashes 8 each
 *   32 H("cyx replay file", all before) */
#include <sodium.h>
#include <string.h>

#include "base/crypto.h"
#include "base/reader.h"
#include "base/writer.h"
#include "onion/replay_internal.h"

enum {
    MAGIC = 8,
    FILE_VERSION = 2,
    HEAD = MAGIC + 2 + 8 + 8 + 8 * MESH_ONION_KEYS + ONION__REPLAY_RUN,
    GENERATION_HEAD = 8 + 8 + 4,
    HASH = 8,
    CHECKSUM = CRYPTO_HASH,
};

static const uint8_t magic[MAGIC] = { 'c', 'y', 'x', '-', 'r', 'p', 'l', '1' };

static void checksum(uint8_t out[static CHECKSUM], const uint8_t *data, size_t n)
{
    crypto_h(out, "cyx replay file", &BYTES(data, n), 1);
}

void onion__replay_file_clear(struct onion__replay_file *f)
{
    for (size_t i = 0; i < ONION__GENERATIONS; i++)
        onion__set_clear(&f->gens[i].seen);
    sodium_memzero(f, sizeof *f);
}

size_t onion__replay_file_size(const struct onion__replay_file *f)
{
    size_t n = HEAD + CHECKSUM;
    if (!f->is_saved)
        return n;
    n += ONION__REPLAY_KEY;
    for (size_t i = 0; i < ONION__GENERATIONS; i++)
        n += GENERATION_HEAD + f->gens[i].seen.n * HASH;
    return n;
}

/* ---- writing --------------------------------------------------------------------------------- */

static void generation_put(struct writer *w, const struct onion__generation *g)
{
    writer_u64(w, g->start);
    writer_u64(w, g->newest);
    writer_u32(w, (uint32_t)g->seen.n);
    for (size_t i = 0; i < g->seen.cap; i++)
        if (g->seen.slots[i] != 0)
            writer_u64(w, g->seen.slots[i]);
}

int onion__replay_encode(const struct onion__replay_file *f, uint8_t *out, size_t cap)
{
    uint8_t sum[CHECKSUM];
    struct writer w = writer_on(out, cap);
    writer_copy(&w, magic, sizeof magic);
    writer_u8(&w, FILE_VERSION);
    writer_u8(&w, f->is_saved ? 1 : 0);
    writer_u64(&w, f->floor);
    writer_u64(&w, f->ceiling);
    for (size_t i = 0; i < MESH_ONION_KEYS; i++)
        writer_u64(&w, f->names.of[i]);
    writer_copy(&w, f->run, sizeof f->run);
    if (f->is_saved) {
        writer_copy(&w, f->key, sizeof f->key);
        for (size_t i = 0; i < ONION__GENERATIONS; i++)
            generation_put(&w, &f->gens[i]);
    }
    if (!writer_ok(&w))
        return CYX_EFULL;
    checksum(sum, out, writer_len(&w));
    writer_copy(&w, sum, sizeof sum);
    return writer_ok(&w) ? (int)writer_len(&w) : CYX_EFULL;
}

/* ---- reading --------------------------------------------------------------------------------- */

static int generation_get(struct reader *r, struct onion__generation *g)
{
    g->start = reader_u64(r);
    g->newest = reader_u64(r);
    size_t n = reader_u32(r);
    if (r->bad || n > ONION_REPLAY_MAX || n > reader_left(r) / HASH)
        return CYX_ECORRUPT;
    for (size_t i = 0; i < n; i++) {
        uint64_t hash = reader_u64(r);
        int code = hash != 0 ? onion__set_add(&g->seen, hash) : CYX_ECORRUPT;
        if (code != 0)
            return code == CYX_ENOMEM ? code : CYX_ECORRUPT;
    }
    return 0;
}

static int body_get(struct reader *r, struct onion__replay_file *f)
{
    uint8_t saved = reader_u8(r);
    f->is_saved = saved == 1;
    f->floor = reader_u64(r);
    f->ceiling = reader_u64(r);
    for (size_t i = 0; i < MESH_ONION_KEYS; i++)
        f->names.of[i] = reader_u64(r);
    reader_copy(r, f->run, sizeof f->run);
    if (f->is_saved)
        reader_copy(r, f->key, sizeof f->key);
    for (size_t i = 0; f->is_saved && i < ONION__GENERATIONS; i++) {
        int code = generation_get(r, &f->gens[i]);
        if (code != 0)
            return code;
    }
    return saved <= 1 && reader_done(r) ? 0 : CYX_ECORRUPT;
}

int onion__replay_decode(struct onion__replay_file *out, const uint8_t *data, size_t len)
{
    uint8_t sum[CHECKSUM];
    *out = (struct onion__replay_file){ 0 };
    if (len < MAGIC + 1 + CHECKSUM || len > ONION_REPLAY_FILE_MAX)
        return CYX_ECORRUPT;
    checksum(sum, data, len - CHECKSUM);
    struct reader r = reader_on(data, len - CHECKSUM);
    if (memcmp(reader_bytes(&r, MAGIC), magic, MAGIC) != 0 ||
        memcmp(sum, data + len - CHECKSUM, CHECKSUM) != 0)
        return CYX_ECORRUPT;
    if (reader_u8(&r) != FILE_VERSION)
        return CYX_EVERSION;
    int code = body_get(&r, out);
    if (code != 0)
        onion__replay_file_clear(out);
    return code;
}
