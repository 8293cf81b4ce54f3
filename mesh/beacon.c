/* mesh/beacon.c - finding peers on the LAN: a small datagram to the link-local group ff02::4379
 * every 30 s. It proves nothing; who hears it dials, and the handshake decides. Off by default: it
 * tells the wire that this machine runs a node.
 *
 *   0 4 "cyxb" | 4 1 version = 1 | 5 32 network id | 37 32 node id | 69 32 link key | 101 2 port */
#include <stdlib.h>
#include <string.h>

#include "mesh/link_internal.h"

enum {
    BEACON_LEN = 103,
    BEACON_VERSION = 1,
    BEACON_PORT = 4101,
    BEACON_MS = 30000,
    BEACON_JITTER_MS = 5000,
};

static const uint8_t magic[4] = { 'c', 'y', 'x', 'b' };

struct mesh__beacon {
    struct mesh *mesh;
    struct env_udp *socket;
    struct env_addr group;
    struct env_timer timer;
};

/* ---- hearing --------------------------------------------------------------------------------- */

enum drop mesh__beacon_parse(struct mesh_contact *out, const uint8_t net[static 32],
                             const uint8_t *data, size_t len, const struct env_addr *from)
{
    struct reader r = reader_on(data, len);
    uint8_t head[4], theirs[32];
    struct mesh_contact c = { .addr = *from };
    reader_copy(&r, head, sizeof head);
    uint8_t version = reader_u8(&r);
    reader_copy(&r, theirs, sizeof theirs);
    reader_copy(&r, c.id, sizeof c.id);
    reader_copy(&r, c.link_key, sizeof c.link_key);
    c.addr.port = reader_u16(&r);
    if (r.bad)
        return DROP_SHORT;
    if (memcmp(head, magic, sizeof head) != 0)
        return DROP_TYPE;
    if (version != BEACON_VERSION)
        return DROP_VERSION;
    if (!reader_done(&r) || c.addr.port == 0)
        return DROP_FIELD;
    if (memcmp(theirs, net, sizeof theirs) != 0)
        return DROP_KEY;
    *out = c;
    return DROP_NONE;
}

static void received(void *arg, struct env_datagrams *batch, size_t n)
{
    struct mesh__beacon *b = arg;
    struct mesh *m = b->mesh;
    for (size_t i = 0; i < n; i++) {
        struct mesh_contact c;
        enum drop drop =
            mesh__beacon_parse(&c, m->network.id, batch[i].data, batch[i].len, &batch[i].from);
        if (drop != DROP_NONE) {
            mesh__drop(m, 0, drop);
            continue;
        }
        m->n.beacons_in++;
        mesh__discover_heard(m, &c);
    }
}

/* ---- saying ---------------------------------------------------------------------------------- */

static void say(struct mesh__beacon *b)
{
    struct mesh *m = b->mesh;
    struct env_udp_info info = { 0 };
    uint8_t out[BEACON_LEN];
    struct writer w = writer_on(out, sizeof out);
    if (!m->config.is_listed || m->carrier == NULL)
        return; /* pure users only listen */
    m->carrier->ops->info(m->carrier, &info);
    writer_copy(&w, magic, sizeof magic);
    writer_u8(&w, BEACON_VERSION);
    writer_copy(&w, m->network.id, 32);
    writer_copy(&w, m->identity->id, 32);
    writer_copy(&w,
                m->identity->link.made == m->own_made ? m->identity->link.pub
                                                      : m->identity->link_old.pub,
                32);
    writer_u16(&w, info.local.port);
    if (env_udp_send(m->env, b->socket, &b->group, out, writer_len(&w), writer_len(&w)) == 0)
        m->n.beacons_out++;
}

static void timer(struct env_timer *t, void *arg)
{
    struct mesh__beacon *b = arg;
    say(b);
    env_timer_in(b->mesh->env, t,
                 ENV_MS(BEACON_MS) + ENV_MS(env_random_below(b->mesh->env, BEACON_JITTER_MS)));
}

/* ---- life ------------------------------------------------------------------------------------ */

int mesh__beacon_start(struct mesh *m, struct cyx_err *err)
{
    struct mesh__beacon *b = calloc(1, sizeof *b);
    if (b == NULL)
        return cyx_fail(err, CYX_ENOMEM, "no memory for the beacon");
    uint16_t port = m->config.beacon_port != 0 ? m->config.beacon_port : BEACON_PORT;
    b->mesh = m;
    b->group = (struct env_addr){ .ip = { 0xff, 0x02, [14] = 0x43, [15] = 0x79 }, .port = port };
    env_timer_init(&b->timer, timer, b);
    struct env_udp_options o = {
        .bind = { .port = port },
        .multicast = true,
        .group = b->group,
        .received = received,
        .arg = b,
    };
    int code = env_udp_open(m->env, &o, &b->socket, err);
    if (code != 0) {
        free(b);
        return cyx_wrap(err, "beacon");
    }
    m->beacon = b;
    env_timer_in(m->env, &b->timer, 0);
    return 0;
}

void mesh__beacon_stop(struct mesh *m)
{
    struct mesh__beacon *b = m->beacon;
    if (b == NULL)
        return;
    m->beacon = NULL;
    env_timer_stop(m->env, &b->timer);
    env_udp_close(m->env, b->socket);
    free(b);
}
