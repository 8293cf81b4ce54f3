/* dht/type_node.c - type 1: what a node says about itself, at its own id. Layout and rules are
 * those of mesh/record.h. Spec: protocol.md, sections 2 and 6. */
#include <string.h>

#include "dht/type_internal.h"

static enum drop node_form(struct dht_value *v, const struct mesh_network *net, uint64_t now)
{
    struct mesh_node n;
    (void)net;
    enum drop drop = mesh_node_record_form(&n, now, v->data, v->len);
    if (drop != DROP_NONE)
        return drop;
    memcpy(v->places[0], n.id, DHT_ID);
    v->n_places = 1;
    return DROP_NONE;
}

/* Takes the body apart a second time for its puzzle: a microsecond, and a value need not carry what
 * only one type has. */
static enum drop node_proof(const struct dht_value *v, const struct mesh_network *net, uint64_t now)
{
    struct mesh_node n;
    enum drop drop = mesh_node_record_form(&n, now, v->data, v->len);
    return drop == DROP_NONE ? mesh_node_record_proof(&n, net) : drop;
}

const struct dht_type dht__type_node = {
    .number = MESH_RECORD_NODE,
    .name = "node",
    .len_max = MESH_NODE_RECORD_MAX,
    .keep = 1,
    .life_s = MESH_NODE_RECORD_LIFE_S,
    .form = node_form,
    .proof = node_proof,
};
