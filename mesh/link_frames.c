/* mesh/link_frames.c - a valid packet arrived: address, then its frames one by one. Handlers may
 * end the link (state CLOSING), never free it. Spec: protocol.md, section 4. */
#include <string.h>

#include "mesh/link_internal.h"

/* ---- roaming --------------------------------------------------------------------------------- */

/* The newest packet sets the address. Whoever copied it from elsewhere moves it back with the next
 * one; until a PONG came from here, at most three times what came is sent. */
static void roam(struct mesh_link *l, const struct env_addr *from)
{
    mesh__link_set_addr(l, from);
    l->roams++;
    l->mesh->n.roams++;
    l->ctl.wants_observed = true;
    mesh__ping_want(l);
}

static void note_packet(struct mesh_link *l, struct mesh__keys *k, const struct env_addr *from,
                        bool is_newest)
{
    uint64_t now = mesh__now(l->mesh);
    l->rx_packets++;
    l->last_rx_ns = l->mesh->heard_ns = now;
    l->unanswered_ns = 0;
    if (k->heard_ns == 0)
        k->heard_ns = now;
    if (k != l->current)
        return;
    l->confirm_ns = LINK__NEVER;
    if (is_newest && !env_addr_equal(from, &l->addr))
        roam(l, from);
    if (env_addr_equal(&l->addr, &l->proven))
        return;
    if (env_addr_equal(from, &l->addr))
        l->roam_rx += MESH_PACKET;
    mesh__link_dirty(l);
}

/* ---- frames ---------------------------------------------------------------------------------- */

static void cell_heard(struct mesh_link *l, uint32_t path, uint8_t *cell)
{
    struct mesh *m = l->mesh;
    l->rx_cells++;
    m->n.rx_cells++;
    l->last_use_ns = l->last_rx_ns;
    if (m->paths.cell != NULL)
        m->paths.cell(m->paths_arg, l, path, cell);
    else
        mesh__drop(m, MESH_FULL, DROP_UNKNOWN);
}

static void destroy_heard(struct mesh_link *l, uint32_t path)
{
    struct mesh *m = l->mesh;
    if (!mesh_bucket_take(&l->destroys_in, 1, l->last_rx_ns)) {
        mesh__drop(m, MESH_FULL, DROP_LOAD); /* the paths' idle timers do it */
        return;
    }
    m->n.rx_destroys++;
    mesh_path_forget(l, path);
    if (m->paths.destroy != NULL)
        m->paths.destroy(m->paths_arg, l, path);
}

static void ping_heard(struct mesh_link *l, const uint8_t nonce[static 8])
{
    struct mesh__control *c = &l->ctl;
    l->pinged_ns = l->last_rx_ns;
    if (c->n_pongs == LINK__PONGS) {
        mesh__drop(l->mesh, MESH_FULL, DROP_LOAD);
        return;
    }
    memcpy(c->pongs[c->n_pongs++], nonce, sizeof c->pongs[0]);
    mesh__link_dirty(l);
}

static const char *bye_text(uint8_t reason)
{
    switch (reason) {
    case MESH_BYE_LEAVING:
        return "the peer left";
    case MESH_BYE_IDLE:
        return "the peer found it idle";
    case MESH_BYE_VERSION:
        return "the peer speaks another version";
    case MESH_BYE_VIOLATION:
        return "the peer says that we broke a rule";
    case MESH_BYE_OVERLOAD:
        return "the peer has too many links";
    }
    return "the peer closed it";
}

static void goodbye_heard(struct mesh_link *l, uint8_t reason)
{
    l->mesh->n.goodbye_in[reason <= MESH_BYE_OVERLOAD ? reason : 0]++;
    mesh__link_end(l, bye_text(reason));
}

static void frame_heard(struct mesh_link *l, const struct mesh_frame *f, uint8_t *packet,
                        const struct env_addr *from)
{
    switch (f->type) {
    case MESH_FRAME_CELL:
        /* borrowed from the packet, which is ours to change */
        cell_heard(l, f->cell.path, packet + (f->cell.cell - packet));
        break;
    case MESH_FRAME_DESTROY:
        destroy_heard(l, f->destroy);
        break;
    case MESH_FRAME_MSG:
        mesh__msg_fragment(l, &f->msg);
        break;
    case MESH_FRAME_RESEND:
        mesh__msg_resend(l, &f->resend);
        break;
    case MESH_FRAME_PING:
        ping_heard(l, f->ping);
        break;
    case MESH_FRAME_PONG:
        mesh__pong_heard(l, f->ping, from);
        break;
    case MESH_FRAME_OBSERVED:
        mesh__own_observed(l->mesh, l, &f->observed);
        break;
    case MESH_FRAME_GOODBYE:
        goodbye_heard(l, f->goodbye);
        break;
    case MESH_FRAME_PADDING:
    case MESH_FRAME_CELL_HALF:
        break;
    }
}

void mesh__link_received(struct mesh_link *l, struct mesh__keys *k, const struct env_addr *from,
                         bool is_newest, uint8_t packet[static MESH_PACKET])
{
    if (l->state != MESH_LINK_UP)
        return; /* ended while its session was confirmed */
    note_packet(l, k, from, is_newest);
    struct reader r = reader_on(packet + MESH_PACKET_HEAD, MESH_PACKET_ROOM);
    while (l->state == MESH_LINK_UP) {
        struct mesh_frame f;
        bool is_unknown = false;
        enum drop drop = mesh_frame_next(&r, &f, &is_unknown);
        if (is_unknown)
            mesh__drop(l->mesh, MESH_FULL, DROP_TYPE);
        if (drop != DROP_NONE) {
            mesh__drop(l->mesh, MESH_FULL, drop);
            mesh_link_close(l, MESH_BYE_VIOLATION);
            return;
        }
        if (f.type == MESH_FRAME_PADDING)
            return;
        frame_heard(l, &f, packet, from);
    }
}
