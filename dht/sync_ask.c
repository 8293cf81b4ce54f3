/* dht/sync_ask.c - one peer in one round: its digest, LIST of the first bytes that differ, RECORDS
 * of what is missing or newer. One request at a time, so many of each and no more: what a peer
 * answers can't make us ask on. Nothing is believed; who sends a record that fails its proof, or
 * that nobody asked for, is not asked further.
 *
 * States: DIALING (no timer: the mesh gives up by itself) -> DIGEST -> LIST <-> RECORDS -> gone.
 * Every call has the mesh's deadline. */
#include <stdlib.h>
#include <string.h>

#include "base/mp.h"
#include "dht/sync_internal.h"

enum { FIRST_BYTES = 256, OF_BYTE = DHT_ROSTER_DIGEST / FIRST_BYTES };

static void go_on(struct sync__peer *p);

void sync__peer_end(struct sync__peer *p)
{
    struct dht_sync *s = p->s;
    bool is_back = p->is_back;
    if (p->call != NULL)
        mesh_call_cancel(p->call);
    list_del(&p->node);
    free(p);
    sync__peer_ended(s, is_back);
}

static void failed(struct sync__peer *p)
{
    p->s->n.peers_failed++;
    sync__peer_end(p);
}

static void lied(struct sync__peer *p)
{
    p->s->n.peers_lying++;
    sync__peer_end(p);
}

static void ask(struct sync__peer *p, enum mesh_method method, const struct mesh_items *items,
                mesh_call_fn done)
{
    if (mesh_call(p->link, method, items, 0, done, p, &p->call) != 0) {
        p->call = NULL;
        failed(p);
    }
}

/* The call is over. False: without an answer, and `p` is gone. */
static bool is_answered(struct sync__peer *p, int code, unsigned status)
{
    p->call = NULL;
    if (code == 0 && status == MESH_RPC_OK)
        return true;
    failed(p);
    return false;
}

/* ---- what is missing ------------------------------------------------------------------------- */

static void refused_key(uint8_t key[static SYNC__BEGIN + 8], const uint8_t *begin,
                        uint64_t sequence)
{
    struct writer w = writer_on(key, SYNC__BEGIN + 8);
    writer_copy(&w, begin, SYNC__BEGIN);
    writer_u64(&w, sequence);
}

/* A proven record found no place: we don't ask for it again soon. */
static void note_refused(struct dht_sync *s, const struct mesh_node *n)
{
    uint8_t key[SYNC__BEGIN + 8], old[SYNC__BEGIN + 8];
    const void *oldest;
    if (map_len(s->refused) == SYNC__REFUSED && map_oldest(s->refused, &oldest) != NULL) {
        memcpy(old, oldest, sizeof old);
        map_del(s->refused, old);
    }
    refused_key(key, n->id, n->sequence);
    if (map_put(s->refused, key, s->refused) != 0)
        s->n.useless++; /* no memory: it is asked for again */
}

static bool is_wanted(const struct dht_sync *s, const struct sync__wanted *w)
{
    uint8_t key[SYNC__BEGIN + 8];
    const struct dht_roster_entry *e = dht_roster_begins(s->roster, w->begin, SYNC__BEGIN);
    if (e != NULL ? e->sequence >= w->sequence
                  : memcmp(mesh_identity_of(s->mesh)->id, w->begin, SYNC__BEGIN) == 0)
        return false;
    refused_key(key, w->begin, w->sequence);
    return map_get(s->refused, key) == NULL;
}

/* Another peer may have told them meanwhile. */
static void drop_unwanted(struct sync__peer *p)
{
    size_t kept = 0;
    for (size_t i = 0; i < p->n_wanted; i++)
        if (is_wanted(p->s, &p->wanted[i]))
            p->wanted[kept++] = p->wanted[i];
    p->n_wanted = kept;
}

/* ---- RECORDS --------------------------------------------------------------------------------- */

static struct sync__wanted *asked_for(struct sync__peer *p, const uint8_t id[static DHT_ID])
{
    for (size_t i = 0; i < p->n_asked; i++)
        if (memcmp(p->asked[i].begin, id, SYNC__BEGIN) == 0 && p->asked[i].sequence > 0)
            return &p->asked[i];
    return NULL;
}

static void take(struct dht_sync *s, const struct mesh_node *n, const uint8_t *record, size_t len)
{
    bool is_new = dht_roster_get(s->roster, n->id) == NULL;
    int code = sync__take(s, n, record, len);
    if (code == CYX_EFULL || code == CYX_EINVAL)
        note_refused(s, n);
    s->n.taken += code == 0 && is_new;
    s->n.renewed += code == 0 && !is_new;
    s->n.held += code == CYX_EEXIST;
    s->n.full += code == CYX_EFULL;
    s->n.useless += code == CYX_EINVAL || code == CYX_ENOMEM;
    s->n_new += code == 0 && is_new;
}

/* False: no honest peer sends that. */
static bool record_heard(struct sync__peer *p, const msgpack_object *item)
{
    struct dht_sync *s = p->s;
    struct mesh_node node;
    const uint8_t *record;
    size_t len;
    enum drop drop = DROP_TYPE;
    if (mp_bin_any(item, &record, &len))
        drop =
            mesh_node_record_open(&node, mesh_network_of(s->mesh), mesh_time(s->mesh), record, len);
    if (drop != DROP_NONE) {
        s->n.dropped[drop]++;
        return drop == DROP_EXPIRED; /* two clocks that differ a little */
    }
    struct sync__wanted *w = asked_for(p, node.id);
    if (w == NULL) {
        s->n.unasked++;
        return false;
    }
    w->sequence = 0;
    take(s, &node, record, len);
    return true;
}

static void on_records(void *arg, int code, unsigned status, const msgpack_object *items,
                       unsigned n)
{
    struct sync__peer *p = arg;
    unsigned i = 0;
    if (!is_answered(p, code, status))
        return;
    if (n > p->n_asked) {
        p->s->n.too_many++;
        lied(p);
        return;
    }
    while (i < n && record_heard(p, &items[i]))
        i++;
    if (i < n)
        lied(p);
    else if (n == 0)
        sync__peer_end(p); /* it lists what it hasn't got */
    else
        go_on(p);
}

static void ask_records(struct sync__peer *p)
{
    uint8_t buf[SYNC__ASK_IDS * (SYNC__BEGIN + 2)];
    msgpack_packer pk;
    struct writer w = writer_on(buf, sizeof buf);
    p->n_asked = p->n_wanted < SYNC__ASK_IDS ? p->n_wanted : SYNC__ASK_IDS;
    p->n_wanted -= p->n_asked;
    memcpy(p->asked, p->wanted, p->n_asked * sizeof p->wanted[0]);
    memmove(p->wanted, p->wanted + p->n_asked, p->n_wanted * sizeof p->wanted[0]);
    mp_packer(&pk, &w);
    for (size_t i = 0; i < p->n_asked; i++)
        mp_pack_bin(&pk, p->asked[i].begin, SYNC__BEGIN);
    p->state = SYNC__RECORDS;
    p->n_asks++;
    struct mesh_items items = { .data = buf, .len = writer_len(&w), .n = (unsigned)p->n_asked };
    ask(p, MESH_METHOD_RECORDS, &items, on_records);
}

/* ---- LIST ------------------------------------------------------------------------------------ */

/* [first 8 bytes of an id, sequence], each greater than the one before. */
static bool entry_read(struct sync__wanted *out, const msgpack_object *o, unsigned byte,
                       const uint8_t *before)
{
    const uint8_t *begin;
    if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size != 2 ||
        !mp_bin(&o->via.array.ptr[0], SYNC__BEGIN, &begin) ||
        !mp_u64(&o->via.array.ptr[1], &out->sequence) || begin[0] != byte ||
        (before != NULL && memcmp(begin, before, SYNC__BEGIN) <= 0))
        return false;
    memcpy(out->begin, begin, SYNC__BEGIN);
    return true;
}

static bool list_read(struct sync__peer *p, const msgpack_object *items, unsigned n)
{
    struct sync__wanted w;
    uint8_t before[SYNC__BEGIN];
    for (unsigned i = 0; i < n; i++) {
        if (!entry_read(&w, &items[i], p->byte, i > 0 ? before : NULL))
            return false;
        memcpy(before, w.begin, sizeof before);
        if (w.sequence > 0 && p->n_wanted < SYNC__WANTED && is_wanted(p->s, &w))
            p->wanted[p->n_wanted++] = w;
    }
    return true;
}

static void on_list(void *arg, int code, unsigned status, const msgpack_object *items, unsigned n)
{
    struct sync__peer *p = arg;
    if (!is_answered(p, code, status))
        return;
    if (n > DHT_SYNC_LIST || !list_read(p, items, n)) {
        p->s->n.bad_list++;
        lied(p);
        return;
    }
    go_on(p);
}

static void ask_list(struct sync__peer *p)
{
    uint8_t buf[4];
    msgpack_packer pk;
    struct writer w = writer_on(buf, sizeof buf);
    mp_packer(&pk, &w);
    msgpack_pack_uint8(&pk, (uint8_t)p->byte);
    p->differs[p->byte] = 0;
    p->state = SYNC__LIST;
    p->n_lists++;
    ask(p, MESH_METHOD_LIST, &(struct mesh_items){ .data = buf, .len = writer_len(&w), .n = 1 },
        on_list);
}

/* Moves on to the next first byte to be listed. False: there is none, or enough were. */
static bool next_byte(struct sync__peer *p)
{
    if (p->n_lists == SYNC__LISTS)
        return false;
    for (; p->n_looked < FIRST_BYTES; p->n_looked++, p->byte = (p->byte + 1) % FIRST_BYTES)
        if (p->differs[p->byte])
            return true;
    return false;
}

static void go_on(struct sync__peer *p)
{
    drop_unwanted(p);
    bool is_listing = p->n_wanted < SYNC__ASK_IDS && next_byte(p);
    if (is_listing)
        ask_list(p);
    else if (p->n_wanted > 0 && p->n_asks < SYNC__ASKS)
        ask_records(p);
    else
        sync__peer_end(p);
}

/* ---- DIGEST ---------------------------------------------------------------------------------- */

static void on_digest(void *arg, int code, unsigned status, const msgpack_object *items, unsigned n)
{
    static const uint8_t none[OF_BYTE];
    struct sync__peer *p = arg;
    const uint8_t *theirs, *ours = sync__digest(p->s);
    if (!is_answered(p, code, status))
        return;
    if (n < 1 || !mp_bin(&items[0], DHT_ROSTER_DIGEST, &theirs)) {
        lied(p);
        return;
    }
    for (size_t i = 0; i < FIRST_BYTES; i++) {
        const uint8_t *of = theirs + i * OF_BYTE;
        p->differs[i] =
            memcmp(of, ours + i * OF_BYTE, OF_BYTE) != 0 && memcmp(of, none, OF_BYTE) != 0;
    }
    p->s->has_answer = true;
    p->s->n_answered += !p->is_back;
    p->byte = (unsigned)env_random_below(p->s->env, FIRST_BYTES); /* all get their turn */
    go_on(p);
}

void sync__peer_go(struct sync__peer *p)
{
    p->state = SYNC__DIGEST;
    p->s->n.peers++;
    ask(p, MESH_METHOD_DIGEST, NULL, on_digest);
}

void sync__peer_start(struct dht_sync *s, struct mesh_link *l, bool is_back)
{
    struct mesh_link_info info;
    struct sync__peer *p = calloc(1, sizeof *p);
    if (p == NULL)
        return;
    mesh_link_info(l, &info);
    p->s = s;
    p->link = l;
    p->is_back = is_back;
    list_init(&p->node);
    list_push_back(&s->peers, &p->node);
    s->n_round += !is_back;
    if (info.state == MESH_LINK_UP)
        sync__peer_go(p);
}
