/* mesh/hello.c - HELLO: each side of a new link says its own record (or nil). A peer is believed to
 * be node X only when X's valid record names the link key that the handshake proved. Spec:
 * protocol.md, sections 3 and 6. */
#include <stdlib.h>
#include <string.h>

#include "base/mp.h"
#include "mesh/link_internal.h"

/* ---- hearing --------------------------------------------------------------------------------- */

static bool keep_record(struct mesh_link *l, const struct mesh_node *node, const uint8_t *record,
                        size_t len)
{
    uint8_t *copy = malloc(len);
    if (copy == NULL)
        return false;
    memcpy(copy, record, len);
    free(l->record);
    l->record = copy;
    l->record_len = len;
    l->record_sequence = node->sequence;
    return true;
}

static void remember(struct mesh_link *l, const struct mesh_node *node, const uint8_t *record,
                     size_t len)
{
    struct mesh *m = l->mesh;
    uint64_t now = mesh_time(m);
    if (m->remembered != NULL && mesh_remembered_put(m->remembered, node, record, len, now) != 0)
        m->n.records_refused++; /* no memory: the link is as good without */
    mesh__hand_record(m, node, record, len, now);
}

/* The id is proven. Another link to the same node is left to idle away: this one has its newest
 * key. */
static void prove(struct mesh_link *l, const struct mesh_node *node)
{
    struct mesh *m = l->mesh;
    struct mesh_link *other = map_get(m->by_id, node->id);
    if (other != NULL && other != l)
        other->is_wanted = false;
    if (map_put(m->by_id, node->id, l) != 0)
        return;
    memcpy(l->id, node->id, sizeof l->id);
    l->has_id = true;
}

static void known(struct mesh_link *l)
{
    if (l->is_known_said || !l->has_id)
        return;
    l->is_known_said = true;
    mesh__discover_known(l->mesh, l);
    mesh__watch_each(l->mesh, l, MESH_LINK_DIALING);
}

/* The node that we meant to dial is another than the one that answers: whoever gave us the contact
 * lied, or it is a stranger's key. */
static bool is_impostor(const struct mesh_link *l, const struct mesh_node *node)
{
    return l->has_dial_id && memcmp(node->id, l->dial_id, 32) != 0;
}

static void record_heard(struct mesh_link *l, const uint8_t *record, size_t len)
{
    struct mesh *m = l->mesh;
    struct mesh_node node;
    if (l->record_len == len && memcmp(l->record, record, len) == 0)
        return; /* held already: no signature to check again */
    enum drop drop = mesh_node_record_open(&node, &m->network, mesh_time(m), record, len);
    if (drop == DROP_NONE && memcmp(node.id, m->identity->id, 32) == 0 && m->config.is_listed)
        drop = DROP_KEY; /* our own, played back */
    if (drop != DROP_NONE) {
        m->n.records_refused++;
        mesh__drop(m, MESH_FULL, drop);
        return;
    }
    m->n.records_ok++;
    if (is_impostor(l, &node)) {
        mesh_link_close(l, MESH_BYE_VIOLATION);
        return;
    }
    bool names_key = memcmp(node.link_key, l->key, 32) == 0;
    bool is_same = l->has_id && memcmp(l->id, node.id, 32) == 0;
    if ((!names_key && !is_same) || (l->has_id && !is_same)) {
        mesh__drop(m, MESH_FULL, DROP_KEY); /* somebody else's key: it earns no id */
        return;
    }
    if (is_same && node.sequence < l->record_sequence)
        return;
    if (!keep_record(l, &node, record, len))
        return;
    if (names_key && !l->has_id)
        prove(l, &node);
    remember(l, &node, record, len);
    known(l);
}

static void item_heard(struct mesh_link *l, const msgpack_object *item)
{
    const uint8_t *record;
    size_t len;
    if (l->state == MESH_LINK_UP && mp_bin_any(item, &record, &len))
        record_heard(l, record, len);
}

/* ---- saying ---------------------------------------------------------------------------------- */

/* [own record or nil] as one item. */
static struct mesh_items own_item(struct mesh *m, uint8_t buf[static MESH_NODE_RECORD_MAX + 8])
{
    uint8_t record[MESH_NODE_RECORD_MAX];
    size_t len = mesh_own_record(m, record);
    msgpack_packer pk;
    struct writer w = writer_on(buf, MESH_NODE_RECORD_MAX + 8);
    mp_packer(&pk, &w);
    if (len > 0)
        mp_pack_bin(&pk, record, len);
    else
        msgpack_pack_nil(&pk);
    return (struct mesh_items){ .data = buf, .len = writer_len(&w), .n = 1 };
}

static void answered(void *arg, int code, unsigned status, const msgpack_object *items, unsigned n)
{
    struct mesh_link *l = arg; /* calls end before their link's memory does */
    if (code == 0 && status == MESH_RPC_OK && n >= 1)
        item_heard(l, &items[0]);
}

void mesh__hello_say(struct mesh_link *l)
{
    uint8_t buf[MESH_NODE_RECORD_MAX + 8];
    struct mesh_items items = own_item(l->mesh, buf);
    uint64_t sequence = mesh__own_sequence(l->mesh);
    if (mesh_call(l, MESH_METHOD_HELLO, &items, 0, answered, l, NULL) == 0)
        l->told_sequence = sequence;
}

static void serve(void *arg, struct mesh_request *rq, const msgpack_object *items, unsigned n)
{
    struct mesh *m = arg;
    struct mesh_link *l = mesh_request_link(rq);
    uint8_t buf[MESH_NODE_RECORD_MAX + 8];
    if (n < 1 || (items[0].type != MSGPACK_OBJECT_NIL && items[0].type != MSGPACK_OBJECT_BIN)) {
        mesh_reply(rq, MESH_RPC_BAD, NULL);
        return;
    }
    struct mesh_items own = own_item(m, buf);
    l->told_sequence = mesh__own_sequence(m);
    mesh_reply(rq, MESH_RPC_OK, &own);
    item_heard(l, &items[0]); /* may end the link */
}

bool mesh__hello_start(struct mesh *m)
{
    return mesh_serve(m, MESH_METHOD_HELLO, serve, m) == 0;
}
