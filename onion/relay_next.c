/* onion/relay_next.c - the next hop of a path. Only to a node whose signed record we hold:
 * addresses never come from a client. Spec: protocol.md, section 8, statuses 2 to 4. */
#include <stdlib.h>
#include <string.h>

#include "onion/relay_internal.h"

/* ---- who that is ------------------------------------------------------------------------------
 */

/* Records that were proven when they came in, so only taken apart here. */
struct wanted {
    struct onion_relay *relay;
    const uint8_t *id;
    struct mesh_node *out;
    bool is_found;
};

static void consider(void *arg, const uint8_t *record, size_t len)
{
    struct wanted *w = arg;
    struct mesh_node n;
    if (w->is_found ||
        mesh_node_record_form(&n, mesh_time(w->relay->mesh), record, len) != DROP_NONE ||
        memcmp(n.id, w->id, sizeof n.id) != 0)
        return;
    *w->out = n;
    w->is_found = true;
}

static bool find_node(struct onion_relay *r, const uint8_t *id, struct mesh_node *out)
{
    uint8_t record[MESH_NODE_RECORD_MAX];
    struct wanted w = { .relay = r, .id = id, .out = out };
    size_t len = r->dht != NULL ? dht_node_record(r->dht, id, record) : 0;
    if (len > 0)
        consider(&w, record, len);
    if (!w.is_found)
        (void)mesh_known_nearest(r->mesh, id, 1, consider, &w);
    return w.is_found;
}

static enum mesh_link_state state_of(const struct mesh_link *l)
{
    struct mesh_link_info info;
    mesh_link_info(l, &info);
    return info.state;
}

static enum onion_status dial(struct onion_relay *r, const struct mesh_node *n,
                              struct mesh_link **out)
{
    struct mesh_contact c;
    struct cyx_err err = { 0 };
    if (!mesh_node_contact(r->mesh, n, &c))
        return ONION_NEXT_UNREACHABLE;
    struct mesh_link *l = mesh_dial(r->mesh, &c, &err);
    if (l == NULL)
        return err.code == CYX_EFULL || err.code == CYX_ENOMEM ? ONION_BUSY
                                                               : ONION_NEXT_UNREACHABLE;
    *out = l;
    return ONION_OK;
}

static bool leads_back(const struct relay_path *p, const uint8_t *id)
{
    struct mesh_link_info before;
    mesh_link_info(p->before.link, &before);
    return before.has_id && memcmp(before.id, id, sizeof before.id) == 0;
}

static enum onion_status find_link(struct relay_path *p, const uint8_t *id, struct mesh_link **out)
{
    struct onion_relay *r = p->relay;
    struct mesh_node n;
    if (memcmp(id, mesh_identity_of(r->mesh)->id, DHT_ID) == 0 || leads_back(p, id))
        return ONION_REFUSED;
    *out = mesh_link_by_id(r->mesh, id);
    if (*out != NULL && state_of(*out) == MESH_LINK_UP)
        return ONION_OK;
    if (!find_node(r, id, &n))
        return ONION_NEXT_UNKNOWN;
    enum onion_status status = dial(r, &n, out);
    if (status != ONION_OK)
        return status;
    r->n.dials++;
    if (*out == p->before.link)
        return ONION_REFUSED; /* its record had not come yet, but its key says it */
    return state_of(*out) != MESH_LINK_CLOSING ? ONION_OK : ONION_NEXT_UNREACHABLE;
}

/* ---- sending the train -------------------------------------------------------------------------
 */

static enum onion_status send_train(struct relay_path *p, const uint8_t *train)
{
    int code = mesh_train_send(p->next.link, p->next.path, false, train, ONION_TRAIN);
    if (code == 0) {
        mesh_link_suspect(
            p->next.link); /* is it there? If not its client should know before long */
        return ONION_OK;
    }
    return code == CYX_ECLOSED ? ONION_NEXT_UNREACHABLE : ONION_BUSY;
}

/* Waits for the link to come up; RELAY_EV_SILENCE ends the wait, or the link's end. */
static enum onion_status wait_for(struct relay_path *p, struct mesh_link *l)
{
    struct onion_relay *r = p->relay;
    struct relay__link *k = relay__link_get(r, l);
    if (k == NULL || r->n_waiting >= ONION_TRAINS_WAITING)
        return ONION_BUSY;
    p->building->train = malloc(ONION_TRAIN);
    if (p->building->train == NULL)
        return ONION_BUSY;
    memcpy(p->building->train, r->train, ONION_TRAIN);
    list_push_back(&k->waiting, &p->building->waiting);
    r->n_waiting++;
    return ONION_OK;
}

/* An id of ours that neither a path nor a tombstone stands for. */
static bool take_id(struct relay_path *p, struct mesh_link *l)
{
    enum { TRIES = 8 };
    for (unsigned i = 0; i < TRIES; i++) {
        uint32_t id = mesh_path_id(l);
        int code = id != 0 ? onion_switch_add(p->relay->paths, &p->next, l, id) : CYX_EFULL;
        if (code != CYX_EEXIST)
            return code == 0;
    }
    return false;
}

enum onion_status relay__next_extend(struct relay_path *p, const uint8_t id[static 32])
{
    struct mesh_link *l = NULL;
    enum onion_status status = find_link(p, id, &l);
    if (status != ONION_OK)
        return status;
    if (!take_id(p, l))
        return ONION_BUSY;
    status = state_of(l) == MESH_LINK_UP ? send_train(p, p->relay->train) : wait_for(p, l);
    if (status != ONION_OK)
        onion_switch_remove(p->relay->paths, &p->next); /* nothing went out under it */
    return status;
}

bool relay__next_up(struct relay_path *p)
{
    uint8_t *train = p->building->train;
    if (send_train(p, train) != ONION_OK)
        return false;
    p->building->train = NULL;
    p->relay->n_waiting--;
    free(train);
    return true;
}
