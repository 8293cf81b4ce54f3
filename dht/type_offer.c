/* dht/type_offer.c - type 4: what a host offers. Body: the publisher's puzzle 36, then a
 * MessagePack map that only host/ understands. Spec: protocol.md, section 6. */
#include <sodium.h>
#include <string.h>

#include "base/crypto.h"
#include "base/mp.h"
#include "base/reader.h"
#include "base/writer.h"
#include "dht/pseudonym.h"
#include "dht/type_internal.h"

enum {
    KEEP = 64,
    LIFE_S = 6 * 3600,
    BODY_MAX = DHT_OFFER_MAX - MESH_RECORD_HEAD - MESH_RECORD_SIGNATURE,
};

void dht_offer_place(uint8_t place[static DHT_ID], uint8_t first_byte)
{
    crypto_h(place, "cyx offer", &BYTES(&first_byte, 1), 1);
}

/* Read by strangers' stores, which look at the form alone: walked, never unpacked. */
static enum drop map_check(const uint8_t *map, size_t len)
{
    enum { FIXMAP = 0x80, FIXMAP_END = 0x90, MAP16 = 0xde, MAP32 = 0xdf };
    enum drop drop = mp_check(map, len, &mp_wire_rules);
    if (drop != DROP_NONE)
        return drop;
    bool is_map = (map[0] >= FIXMAP && map[0] < FIXMAP_END) || map[0] == MAP16 || map[0] == MAP32;
    return is_map ? DROP_NONE : DROP_FIELD;
}

static enum drop body_read(struct dht_offer *out, const struct mesh_record *head)
{
    struct dht_offer o = { .sequence = head->sequence, .expiry = head->expiry };
    struct reader r = reader_on(head->body, head->body_len);
    reader_copy(&r, o.puzzle, sizeof o.puzzle);
    o.map_len = reader_left(&r);
    o.map = reader_bytes(&r, o.map_len);
    if (r.bad)
        return DROP_SHORT;
    *out = o;
    return DROP_NONE;
}

/* Which of the 256 places is drawn by key and puzzle as a node's id is: to choose one's place costs
 * a puzzle for each try. */
static enum drop offer_form(struct dht_value *v, const struct mesh_network *net, uint64_t now)
{
    struct dht_offer o;
    uint8_t id[32];
    (void)net, (void)now;
    enum drop drop = body_read(&o, &v->head);
    if (drop == DROP_NONE)
        drop = map_check(o.map, o.map_len);
    if (drop != DROP_NONE)
        return drop;
    mesh_node_id(id, v->head.publisher, o.puzzle);
    dht_offer_place(v->places[0], id[0]);
    v->n_places = 1;
    return DROP_NONE;
}

static enum drop offer_proof(const struct dht_value *v, const struct mesh_network *net,
                             uint64_t now)
{
    struct dht_offer o;
    (void)now;
    enum drop drop = body_read(&o, &v->head);
    return drop == DROP_NONE ? dht_pseudonym_check(v->head.publisher, o.puzzle, net) : drop;
}

const struct dht_type dht__type_offer = {
    .number = MESH_RECORD_OFFER,
    .name = "offer",
    .len_max = DHT_OFFER_MAX,
    .keep = KEEP,
    .life_s = LIFE_S,
    .form = offer_form,
    .proof = offer_proof,
};

bool dht_offer_read(struct dht_offer *out, const struct dht_value *v)
{
    return v->type == &dht__type_offer && body_read(out, &v->head) == DROP_NONE;
}

int dht_offer_build(const struct dht_offer *o, const struct mesh_network *net,
                    const uint8_t sk[static 64], uint8_t out[static DHT_OFFER_MAX])
{
    uint8_t body[BODY_MAX];
    struct writer w = writer_on(body, sizeof body);
    if (map_check(o->map, o->map_len) != DROP_NONE)
        return CYX_EINVAL;
    writer_copy(&w, o->puzzle, sizeof o->puzzle);
    writer_copy(&w, o->map, o->map_len);
    if (!writer_ok(&w))
        return CYX_EFULL;
    struct mesh_record r = { .type = MESH_RECORD_OFFER,
                             .sequence = o->sequence,
                             .expiry = o->expiry,
                             .body = body,
                             .body_len = writer_len(&w) };
    crypto_sign_ed25519_sk_to_pk(r.publisher, sk);
    return mesh_record_build(net, &r, sk, out, DHT_OFFER_MAX);
}
