/* mesh/link_row.c - the short way of a cell: while nothing waits on its link, it is written and
 * sealed at once into the row of packets that leaves at the end of the turn, or as soon as it is
 * full. No queue, no second copy, and the cell is still in the cache. One row at a time for all
 * links: cells of another link take the long way (link_send.c), as do those that find anything
 * waiting, so that order and fairness are what protocol.md, section 4, says. */
#include <string.h>

#include "mesh/link_internal.h"

static bool may_open(const struct mesh *m)
{
    return m->row.link == NULL && m->carrier != NULL && !m->is_blocked && m->egress.rate == 0;
}

static bool is_free(const struct mesh_link *l)
{
    const struct mesh *m = l->mesh;
    return (m->row.link == l || may_open(m)) && !mesh__link_has_work(l) && mesh__link_may_send(l);
}

void mesh__row_close(struct mesh *m)
{
    size_t n = m->row.n;
    m->row.link = NULL;
    m->row.n = 0;
    if (n > 0)
        mesh__row_send(m, &m->row.to, n);
}

static void open_row(struct mesh_link *l)
{
    struct mesh *m = l->mesh;
    m->row = (struct mesh__row){ .link = l, .to = l->addr };
    env_defer(m->env, &m->flush);
}

static uint8_t *next_packet(struct mesh *m)
{
    if (m->row.n == m->send_cap && !mesh__send_buf_grow(m))
        return NULL;
    return m->send_buf + m->row.n * MESH_PACKET;
}

bool mesh__row_put(struct mesh_link *l, uint32_t path, const uint8_t cell[static MESH_CELL])
{
    struct mesh *m = l->mesh;
    if (!is_free(l))
        return false;
    if (m->row.link == NULL)
        open_row(l);
    uint8_t *packet = next_packet(m);
    if (packet == NULL)
        return false;
    struct writer w = writer_on(packet + MESH_PACKET_HEAD, MESH_PACKET_ROOM);
    mesh_frame_put_cell(&w, path, cell);
    mesh_frame_pad(&w);
    if (mesh_session_seal(l->current->session, packet) != 0)
        return false; /* the long way ends the link */
    mesh__note_sent(l, mesh__now(m));
    l->tx_cells++;
    m->n.tx_cells++;
    if (++m->row.n == ENV_UDP_SEGMENTS_MAX)
        mesh__row_close(m);
    return true;
}
