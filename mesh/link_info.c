/* mesh/link_info.c - asking about links, and hearing of them. */
#include <string.h>

#include "mesh/link_internal.h"

static uint64_t session_bytes(uint64_t packets)
{
    return packets * MESH_PACKET;
}

void mesh_link_info(const struct mesh_link *l, struct mesh_link_info *out)
{
    *out = (struct mesh_link_info){
        .state = l->state,
        .number = l->number,
        .is_initiator = l->current != NULL ? l->current->is_initiator : l->was_dialed,
        .has_id = l->has_id,
        .is_listed = l->is_listed,
        .is_gcm = l->current != NULL && mesh_session_is_gcm(l->current->session),
        .addr = l->addr,
        .up_ns = l->up_ns,
        .rtt_ns = l->rtt_ns,
        .rx_packets = l->rx_packets,
        .tx_packets = l->tx_packets,
        .rx_bytes = session_bytes(l->rx_packets),
        .tx_bytes = session_bytes(l->tx_packets),
        .rx_cells = l->rx_cells,
        .tx_cells = l->tx_cells,
        .dropped_cells = l->sched != NULL ? mesh_sched_dropped(l->sched) : 0,
        .rekeys = l->rekeys,
        .roams = l->roams,
        .paths = mesh__link_paths(l),
        .queued_cells = mesh_link_queued(l),
    };
    memcpy(out->id, l->id, sizeof out->id);
    memcpy(out->key, l->key, sizeof out->key);
    memcpy(out->version, l->version, sizeof out->version);
}

struct mesh *mesh_link_mesh(struct mesh_link *l)
{
    return l->mesh;
}

const uint8_t *mesh_link_record(const struct mesh_link *l, size_t *len)
{
    *len = l->record_len;
    return l->record;
}

struct mesh_link *mesh_link_by_id(struct mesh *m, const uint8_t id[static 32])
{
    return map_get(m->by_id, id);
}

struct mesh_link *mesh_link_by_number(struct mesh *m, uint32_t number)
{
    list_each (at, &m->links) {
        struct mesh_link *l = container_of(at, struct mesh_link, all);
        if (l->number == number)
            return l;
    }
    return NULL;
}

/* Links that fn closes stay in the list until the deferred task frees them. */
void mesh_links_each(struct mesh *m, bool (*fn)(void *arg, struct mesh_link *l), void *arg)
{
    list_each (at, &m->links) {
        struct mesh_link *l = container_of(at, struct mesh_link, all);
        if (l->state != MESH_LINK_CLOSING && !fn(arg, l))
            return;
    }
}

void mesh_watch(struct mesh *m, struct mesh_watcher *w)
{
    list_init(&w->node);
    list_push_back(&m->watchers, &w->node);
}

void mesh_unwatch(struct mesh_watcher *w)
{
    list_del(&w->node);
}

static void tell(struct mesh_watcher *w, struct mesh_link *l, enum mesh_link_state what)
{
    switch (what) {
    case MESH_LINK_UP:
        if (w->link_up != NULL)
            w->link_up(w->arg, l);
        break;
    case MESH_LINK_DIALING: /* stands for "known": its record came */
        if (w->link_known != NULL)
            w->link_known(w->arg, l);
        break;
    case MESH_LINK_CLOSING:
        if (w->link_down != NULL)
            w->link_down(w->arg, l, l->why != NULL ? l->why : "closed");
        break;
    }
}

/* A watcher may take itself out while it is called, and no other one. */
void mesh__watch_each(struct mesh *m, struct mesh_link *l, enum mesh_link_state what)
{
    list_each_safe (at, &m->watchers) {
        if (what != MESH_LINK_CLOSING && l->state == MESH_LINK_CLOSING)
            return; /* one of them ended it: the others hear of the end alone */
        tell(container_of(at, struct mesh_watcher, node), l, what);
    }
}
