/* dht/type_provider.c - type 3: "I hold this content". Body: content hash 32, size 8, address key
 * 32, the publisher's puzzle 36. Spec: protocol.md, section 6. */
#include <sodium.h>
#include <string.h>

#include "base/crypto.h"
#include "base/reader.h"
#include "base/writer.h"
#include "dht/pseudonym.h"
#include "dht/type_internal.h"

enum { BODY = 32 + 8 + 32 + MESH_POW_PROOF, KEEP = 32, LIFE_S = 24 * 3600 };

_Static_assert(MESH_RECORD_HEAD + BODY + MESH_RECORD_SIGNATURE <= DHT_PROVIDER_MAX, "it fits");

void dht_provider_place(uint8_t place[static DHT_ID], const uint8_t content[static 32])
{
    crypto_h(place, "cyx prov", &BYTES(content, 32), 1);
}

static enum drop body_read(struct dht_provider *out, const struct mesh_record *head)
{
    struct dht_provider p = { .sequence = head->sequence, .expiry = head->expiry };
    struct reader r = reader_on(head->body, head->body_len);
    reader_copy(&r, p.content, sizeof p.content);
    p.size = reader_u64(&r);
    reader_copy(&r, p.address, sizeof p.address);
    reader_copy(&r, p.puzzle, sizeof p.puzzle);
    if (!reader_done(&r))
        return r.bad ? DROP_SHORT : DROP_FIELD;
    *out = p;
    return DROP_NONE;
}

static enum drop provider_form(struct dht_value *v, const struct mesh_network *net, uint64_t now)
{
    struct dht_provider p;
    (void)net, (void)now;
    enum drop drop = body_read(&p, &v->head);
    if (drop != DROP_NONE)
        return drop;
    dht_provider_place(v->places[0], p.content);
    v->n_places = 1;
    return DROP_NONE;
}

static enum drop provider_proof(const struct dht_value *v, const struct mesh_network *net,
                                uint64_t now)
{
    struct dht_provider p;
    (void)now;
    enum drop drop = body_read(&p, &v->head);
    return drop == DROP_NONE ? dht_pseudonym_check(v->head.publisher, p.puzzle, net) : drop;
}

/* An address key is a point of the prime-order group, or one endpoint would have eight names. */
static enum drop provider_check(const struct dht_value *v, const struct mesh_network *net,
                                uint64_t now)
{
    struct dht_provider p;
    (void)net, (void)now;
    enum drop drop = body_read(&p, &v->head);
    if (drop != DROP_NONE)
        return drop;
    return crypto_core_ed25519_is_valid_point(p.address) == 1 ? DROP_NONE : DROP_KEY;
}

const struct dht_type dht__type_provider = {
    .number = MESH_RECORD_PROVIDER,
    .name = "provider",
    .len_max = DHT_PROVIDER_MAX,
    .keep = KEEP,
    .life_s = LIFE_S,
    .form = provider_form,
    .proof = provider_proof,
    .check = provider_check,
};

bool dht_provider_read(struct dht_provider *out, const struct dht_value *v)
{
    return v->type == &dht__type_provider && body_read(out, &v->head) == DROP_NONE;
}

int dht_provider_build(const struct dht_provider *p, const struct mesh_network *net,
                       const uint8_t sk[static 64], uint8_t out[static DHT_PROVIDER_MAX])
{
    uint8_t body[BODY];
    struct writer w = writer_on(body, sizeof body);
    writer_copy(&w, p->content, sizeof p->content);
    writer_u64(&w, p->size);
    writer_copy(&w, p->address, sizeof p->address);
    writer_copy(&w, p->puzzle, sizeof p->puzzle);
    struct mesh_record r = { .type = MESH_RECORD_PROVIDER,
                             .sequence = p->sequence,
                             .expiry = p->expiry,
                             .body = body,
                             .body_len = writer_len(&w) };
    crypto_sign_ed25519_sk_to_pk(r.publisher, sk);
    return mesh_record_build(net, &r, sk, out, DHT_PROVIDER_MAX);
}
