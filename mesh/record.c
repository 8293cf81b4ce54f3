#include "mesh/record.h"

#include <sodium.h>
#include <string.h>

#include "base/reader.h"
#include "base/writer.h"

enum { ENVELOPE_VERSION = 1, LABEL = 12, SIGNED_MAX = LABEL + 32 + MESH_RECORD_MAX };

/* What the signature covers; `n` bytes of head and body. Returns its length. */
static size_t signed_put(uint8_t out[static SIGNED_MAX], const struct mesh_network *net,
                         const uint8_t *head_and_body, size_t n)
{
    struct writer w = writer_on(out, SIGNED_MAX);
    writer_copy(&w, "cyx record 1", LABEL);
    writer_copy(&w, net->id, sizeof net->id);
    writer_copy(&w, head_and_body, n);
    return writer_len(&w);
}

enum drop mesh_record_parse(struct mesh_record *out, const uint8_t *data, size_t len)
{
    struct mesh_record got = { 0 };
    struct reader r = reader_on(data, len);
    uint8_t version = reader_u8(&r);
    got.type = reader_u8(&r);
    got.body_len = reader_u16(&r);
    got.sequence = reader_u64(&r);
    got.expiry = reader_u64(&r);
    reader_copy(&r, got.publisher, sizeof got.publisher);
    got.body = reader_bytes(&r, got.body_len);
    reader_skip(&r, MESH_RECORD_SIGNATURE);
    if (len > MESH_RECORD_MAX)
        return DROP_LONG;
    if (len > 0 && version != ENVELOPE_VERSION)
        return DROP_VERSION;
    if (r.bad)
        return DROP_SHORT;
    if (!reader_done(&r))
        return DROP_FIELD;
    *out = got;
    return DROP_NONE;
}

enum drop mesh_record_verify(const struct mesh_network *net, const uint8_t *data, size_t len,
                             const uint8_t signer[static 32])
{
    uint8_t text[SIGNED_MAX];
    if (len < MESH_RECORD_HEAD + MESH_RECORD_SIGNATURE)
        return DROP_SHORT;
    if (len > MESH_RECORD_MAX)
        return DROP_LONG;
    size_t covered = len - MESH_RECORD_SIGNATURE;
    size_t n = signed_put(text, net, data, covered);
    return crypto_sign_verify_detached(data + covered, text, n, signer) == 0 ? DROP_NONE
                                                                             : DROP_SIGNATURE;
}

int mesh_record_build(const struct mesh_network *net, const struct mesh_record *r,
                      const uint8_t sign_sk[static 64], uint8_t *out, size_t cap)
{
    uint8_t text[SIGNED_MAX];
    if (r->body_len > MESH_RECORD_MAX - MESH_RECORD_HEAD - MESH_RECORD_SIGNATURE)
        return CYX_EFULL;
    struct writer w = writer_on(out, cap);
    writer_u8(&w, ENVELOPE_VERSION);
    writer_u8(&w, r->type);
    writer_u16(&w, (uint16_t)r->body_len);
    writer_u64(&w, r->sequence);
    writer_u64(&w, r->expiry);
    writer_copy(&w, r->publisher, sizeof r->publisher);
    writer_copy(&w, r->body, r->body_len);
    size_t covered = writer_len(&w);
    uint8_t *signature = writer_reserve(&w, MESH_RECORD_SIGNATURE);
    if (signature == NULL)
        return CYX_EFULL;
    size_t n = signed_put(text, net, out, covered);
    crypto_sign_detached(signature, NULL, text, n, sign_sk);
    return (int)writer_len(&w);
}
