#include "onion/train.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#include "base/crypto.h"
#include "base/reader.h"
#include "base/writer.h"
#include "onion/train_internal.h"

enum {
    PROLOGUE = 11 + 32 + 32 + 4 + 32,
    FIELDS_RESERVED = 200,
    VERDICT_RESERVED = 104,
    STREAM_BLOCK = 64,
};

const char *onion_status_text(unsigned status)
{
    static const char *const texts[ONION_STATUSES] = {
        [ONION_OK] = "ok",
        [ONION_BUSY] = "the hop is busy",
        [ONION_NEXT_UNKNOWN] = "the hop doesn't know the next one",
        [ONION_NEXT_UNREACHABLE] = "the hop can't reach the next one",
        [ONION_REFUSED] = "the hop refused",
        [ONION_NO_TOKEN] = "no such token at the pivot",
        [ONION_MORE_WORK] = "the pivot wants more work",
        [ONION_UNSUPPORTED] = "the hop doesn't support this",
        [ONION_NOTHING_BACK] = "nothing came back",
    };
    return status < ONION_STATUSES ? texts[status] : "a status that this version doesn't know";
}

void onion_built_wipe(struct onion_built *b)
{
    sodium_memzero(b, sizeof *b);
}

void onion_opened_wipe(struct onion_opened *o)
{
    sodium_memzero(o, sizeof *o);
}

void onion_answer_wipe(struct onion_answer *a)
{
    sodium_memzero(a, sizeof *a);
}

void onion__payload_wipe(struct onion__payload *p)
{
    sodium_memzero(p, sizeof *p);
}

const uint8_t *onion_train_ephemeral(const uint8_t train[static ONION_TRAIN])
{
    return train + ONION__RECORD_E;
}

/* ---- fields ---------------------------------------------------------------------------------- */

void onion__payload_write(struct onion__payload *out, const struct onion_fields *f)
{
    struct writer w = writer_on(out->b, sizeof out->b);
    writer_zero(&w, ONION_SLOT);
    writer_u8(&w, f->command);
    writer_u8(&w, f->early_kind);
    writer_u16(&w, f->early_len);
    writer_u64(&w, f->stamp);
    writer_copy(&w, f->target, sizeof f->target);
    writer_copy(&w, f->rest, sizeof f->rest);
    writer_zero(&w, FIELDS_RESERVED);
    assert(writer_ok(&w) && writer_left(&w) == 0);
}

enum drop onion__payload_read(struct onion_fields *out, const struct onion__payload *p)
{
    struct reader r = reader_on(p->b, sizeof p->b);
    struct onion_fields f = { 0 };
    reader_skip(&r, ONION_SLOT);
    f.command = reader_u8(&r);
    f.early_kind = reader_u8(&r);
    f.early_len = reader_u16(&r);
    f.stamp = reader_u64(&r);
    reader_copy(&r, f.target, sizeof f.target);
    reader_copy(&r, f.rest, sizeof f.rest);
    reader_skip(&r, FIELDS_RESERVED);
    if (f.command != ONION_BUILD_SPLICE) { /* mean nothing there: nobody may trip over them */
        f.early_kind = 0;
        f.early_len = 0;
    }
    enum drop drop = !reader_done(&r) ? DROP_SHORT : DROP_NONE;
    if (f.early_len > ONION_PAYLOAD)
        drop = DROP_LIMIT;
    if (drop == DROP_NONE)
        *out = f;
    sodium_memzero(&f, sizeof f);
    return drop;
}

void onion__verdict_write(uint8_t out[static ONION__REPLY_PAYLOAD], const struct onion__verdict *v)
{
    struct writer w = writer_on(out, ONION__REPLY_PAYLOAD);
    writer_zero(&w, ONION_REPLY_SLOT);
    writer_u8(&w, v->status);
    writer_zero(&w, 3);
    writer_u32(&w, v->effort);
    writer_copy(&w, v->seed, sizeof v->seed);
    writer_zero(&w, VERDICT_RESERVED);
    assert(writer_ok(&w) && writer_left(&w) == 0);
}

void onion__verdict_read(struct onion__verdict *out,
                         const uint8_t payload[static ONION__REPLY_PAYLOAD])
{
    struct reader r = reader_on(payload, ONION__REPLY_PAYLOAD);
    *out = (struct onion__verdict){ 0 };
    reader_skip(&r, ONION_REPLY_SLOT);
    out->status = reader_u8(&r);
    reader_skip(&r, 3);
    if (out->status != ONION_MORE_WORK)
        return;
    out->effort = reader_u32(&r);
    reader_copy(&r, out->seed, sizeof out->seed);
}

/* ---- Noise NK -------------------------------------------------------------------------------- */

static const char noise_name[] = "Noise_NK_25519_ChaChaPoly_SHA256";

void onion__hint(uint8_t out[static ONION__HINT], const uint8_t onion_key[static 32])
{
    uint8_t hash[CRYPTO_HASH];
    crypto_h(hash, "cyx hint", &BYTES(onion_key, 32), 1);
    memcpy(out, hash, ONION__HINT);
}

void onion__record_begin(struct noise *s, const struct mesh_network *net,
                         const uint8_t id[static 32], const uint8_t onion_key[static 32],
                         const uint8_t record[static ONION__RECORD_SEALED],
                         const uint8_t rest[static ONION__REST])
{
    uint8_t prologue[PROLOGUE], over_rest[CRYPTO_HASH];
    struct writer w = writer_on(prologue, sizeof prologue);
    crypto_generichash(over_rest, sizeof over_rest, rest, ONION__REST, NULL, 0);
    writer_copy(&w, "cyx build 1", 11);
    writer_copy(&w, net->id, sizeof net->id);
    writer_copy(&w, id, 32);
    writer_copy(&w, record, ONION__RECORD_E);
    writer_copy(&w, over_rest, sizeof over_rest);
    assert(writer_ok(&w) && writer_left(&w) == 0);
    noise_init(s, noise_name, prologue, sizeof prologue);
    noise_mix_hash(s, onion_key, 32);                /* <- s */
    noise_mix_hash(s, record + ONION__RECORD_E, 32); /* e */
}

void onion__record_stream(uint8_t ks[static 32], const uint8_t es[static 32])
{
    cleanup_noise struct noise s = { 0 };
    noise_init(&s, noise_name, NULL, 0);
    noise_mix_key3(&s, es, ks);
}

void onion__reply_begin(struct noise *s, const uint8_t y[static 32], const uint8_t ee[static 32],
                        struct onion_keys *keys, uint8_t kr[static 32])
{
    noise_mix_hash(s, y, 32); /* e */
    noise_mix_key(s, ee);     /* ee */
    noise_split(s, keys->forward, keys->backward, kr);
}

void onion__stream_xor(const uint8_t key[static 32], size_t at, uint8_t *data, size_t n)
{
    static const uint8_t nonce[crypto_stream_chacha20_ietf_NONCEBYTES];
    assert(at % STREAM_BLOCK == 0);
    crypto_stream_chacha20_ietf_xor_ic(data, data, n, nonce, (uint32_t)(at / STREAM_BLOCK), key);
}
