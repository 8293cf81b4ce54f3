#include "mesh/worker.h"

#include <string.h>

#include "base/crypto.h"
#include "mesh/link_internal.h"

unsigned mesh_worker_of(const uint8_t link_key[static 32], unsigned n)
{
    uint8_t h[CRYPTO_HASH];
    if (n <= 1)
        return 0;
    crypto_h(h, "cyx worker", &BYTES(link_key, 32), 1);
    struct reader r = reader_on(h, sizeof h);
    return (unsigned)(reader_u64(&r) % n);
}

static bool is_running(const struct mesh *m)
{
    return m->is_started && !m->is_stopping;
}

/* ---- handing on ------------------------------------------------------------------------------ */

bool mesh__hand_datagram(struct mesh *m, unsigned to, const struct env_addr *from,
                         const uint8_t *data, size_t len, bool is_admitted)
{
    if (m->config.siblings == NULL)
        return false;
    m->n.handed_out++;
    m->config.siblings->datagram(m->config.siblings_arg, to, from, data, len, is_admitted);
    return true;
}

void mesh__hand_record(struct mesh *m, const struct mesh_node *node, const uint8_t *record,
                       size_t len, uint64_t seen_s)
{
    const struct mesh_siblings *s = m->config.siblings;
    unsigned owner = mesh_worker_of(node->link_key, m->config.n_workers);
    for (unsigned w = 0; s != NULL && w < m->config.n_workers; w++)
        if (w != m->config.worker && (w == owner || seen_s > 0))
            s->record(m->config.siblings_arg, w, record, len, seen_s);
}

/* ---- taking ---------------------------------------------------------------------------------- */

void mesh_take_record(struct mesh *m, const uint8_t *record, size_t len, uint64_t seen_s)
{
    struct mesh_node node;
    if (!is_running(m) ||
        mesh_node_record_open(&node, &m->network, mesh_time(m), record, len) != DROP_NONE ||
        memcmp(node.id, m->identity->id, 32) == 0)
        return;
    m->n.handed_in++;
    if (seen_s > 0 && mesh_remembered_put(m->remembered, &node, record, len, seen_s) != 0)
        m->n.records_refused++; /* no memory: fewer to tell others about */
    if (mesh__is_mine(m, node.link_key))
        mesh__discover_found(m, &node);
}

void mesh_take_contact(struct mesh *m, const struct mesh_contact *c)
{
    if (is_running(m) && mesh__is_mine(m, c->link_key))
        mesh__discover_heard(m, c);
}

void mesh_take_keys(struct mesh *m, const struct mesh_identity *identity)
{
    if (m->is_stopping)
        return;
    m->identity->link = identity->link;
    m->identity->link_old = identity->link_old;
    memcpy(m->identity->onion, identity->onion, sizeof m->identity->onion);
    m->own_made = identity->link.made;
}
