#include "dht/sync.h"

#include <stdlib.h>
#include <string.h>

#include "dht/sync_internal.h"

enum { DIGEST_OLD_S = 60 }; /* who is told of changes with time alone as well */

/* ---- what is heard --------------------------------------------------------------------------- */

int sync__take(struct dht_sync *s, const struct mesh_node *n, const uint8_t *record, size_t len)
{
    bool has_gone = false;
    uint8_t gone[DHT_ID];
    uint64_t now = mesh_time(s->mesh);
    int code = dht_roster_heard(s->roster, n, now, &has_gone, gone);
    if (has_gone)
        sync__store_del(s, gone);
    if (code == 0 && !sync__store_put(s, n->id, record, len)) {
        dht_roster_remove(s->roster, n->id); /* an entry without a record leads nowhere */
        return CYX_ENOMEM;
    }
    if (code == 0 && dht_roster_is_told(dht_roster_get(s->roster, n->id), now))
        sync__changed(s);
    return code;
}

static void reached(struct dht_sync *s, const struct mesh_node *n, const uint8_t *record,
                    size_t len)
{
    uint64_t now = mesh_time(s->mesh);
    const struct dht_roster_entry *e = dht_roster_get(s->roster, n->id);
    if (e == NULL || e->sequence != n->sequence)
        return; /* the addresses of an older record say nothing of the newer one */
    bool was_told = dht_roster_is_told(e, now);
    dht_roster_reached(s->roster, n->id, now);
    if (was_told)
        return;
    if (!sync__store_put(s, n->id, record, len))
        s->n.store_errors++; /* the time it was reached is lost with the next start */
    sync__changed(s);
}

void dht_sync_heard(struct dht_sync *s, const struct mesh_node *n, const uint8_t *record,
                    size_t len, bool is_reached)
{
    if (!s->is_running)
        return;
    int code = sync__take(s, n, record, len);
    if (is_reached && (code == 0 || code == CYX_EEXIST))
        reached(s, n, record, len);
}

static bool is_listed_at(const struct mesh_node *n, const struct env_addr *a)
{
    for (size_t i = 0; i < n->n_addrs; i++)
        if (n->addrs[i].kind != 7 && n->addrs[i].ip.port == a->port &&
            memcmp(n->addrs[i].ip.ip, a->ip, sizeof a->ip) == 0)
            return true;
    return false;
}

/* The handshake succeeded from where the link is now: at a listed address, or not. */
void sync__link_heard(struct dht_sync *s, struct mesh_link *l)
{
    struct mesh_link_info info;
    struct mesh_node node;
    size_t len;
    const uint8_t *record = mesh_link_record(l, &len);
    mesh_link_info(l, &info);
    if (record == NULL || !info.has_id ||
        mesh_node_record_form(&node, mesh_time(s->mesh), record, len) != DROP_NONE)
        return;
    dht_sync_heard(s, &node, record, len, is_listed_at(&node, &info.addr));
}

size_t dht_sync_record(struct dht_sync *s, const uint8_t id[static DHT_ID],
                       uint8_t out[static MESH_NODE_RECORD_MAX])
{
    return s->kv != NULL ? sync__store_get(s, id, out) : 0;
}

const uint8_t *sync__digest(struct dht_sync *s)
{
    uint64_t now = sync__now(s);
    if (!s->has_digest || s->digest_of != dht_roster_changes(s->roster) ||
        now - s->digest_ns >= ENV_S(DIGEST_OLD_S)) {
        dht_roster_digest(s->roster, mesh_time(s->mesh), s->digest);
        s->digest_of = dht_roster_changes(s->roster);
        s->digest_ns = now;
        s->has_digest = true;
    }
    return s->digest;
}

/* ---- links ----------------------------------------------------------------------------------- */

static void link_up(void *arg, struct mesh_link *l)
{
    sync__link_up(arg, l);
}

static void link_known(void *arg, struct mesh_link *l)
{
    struct dht_sync *s = arg;
    sync__link_heard(s, l);
    sync__link_known(s, l);
}

static void link_down(void *arg, struct mesh_link *l, const char *why)
{
    (void)why;
    sync__link_down(arg, l);
}

static bool hear_link(void *arg, struct mesh_link *l)
{
    sync__link_heard(arg, l);
    return true;
}

/* ---- life ------------------------------------------------------------------------------------ */

struct dht_sync *dht_sync_create(struct mesh *mesh, struct dht_roster *roster, bool is_serving,
                                 struct cyx_err *err)
{
    struct dht_sync *s = calloc(1, sizeof *s);
    size_t cap = dht_roster_cap(roster) < DHT_ROSTER_MAX ? dht_roster_cap(roster) : DHT_ROSTER_MAX;
    if (s != NULL) {
        s->refused = map_create(SYNC__BEGIN + 8, SYNC__REFUSED);
        s->writes =
            map_create(DHT_ID, 2 * cap + SYNC__WRITES); /* all there are, and as many gone */
    }
    if (s == NULL || s->refused == NULL || s->writes == NULL) {
        dht_sync_destroy(s);
        cyx_fail(err, CYX_ENOMEM, "roster: no memory");
        return NULL;
    }
    s->mesh = mesh;
    s->env = mesh_env(mesh);
    s->roster = roster;
    s->is_serving = is_serving;
    list_init(&s->peers);
    list_init(&s->dirty);
    s->watcher = (struct mesh_watcher){
        .link_up = link_up, .link_known = link_known, .link_down = link_down, .arg = s
    };
    env_timer_init(&s->timer, sync__timer, s);
    return s;
}

int dht_sync_start(struct dht_sync *s, struct cyx_err *err)
{
    int code = sync__store_open(s, err);
    if (code != 0)
        return code;
    if (s->is_serving && !sync__serve_start(s)) {
        sync__store_close(s);
        return cyx_fail(err, CYX_EINVAL, "roster: DIGEST, LIST and RECORDS can't be served");
    }
    s->is_running = true;
    s->is_quiet = s->has_answer = false;
    s->news_left = SYNC__NEWS_MAX;
    s->wait_ms = DHT_SYNC_FIRST_MS;
    s->next_ns = sync__now(s);
    mesh_watch(s->mesh, &s->watcher);
    mesh_links_each(s->mesh, hear_link, s); /* those that were known before we came */
    env_timer_set(s->env, &s->timer, s->next_ns);
    return 0;
}

void dht_sync_stop(struct dht_sync *s)
{
    if (!s->is_running)
        return;
    s->is_running = false;
    env_timer_stop(s->env, &s->timer);
    mesh_unwatch(&s->watcher);
    if (s->is_serving)
        sync__serve_stop(s);
    sync__peers_drop(s);
    sync__store_close(s);
}

void dht_sync_destroy(struct dht_sync *s)
{
    if (s == NULL)
        return;
    dht_sync_stop(s);
    map_destroy(s->refused);
    map_destroy(s->writes);
    free(s);
}

bool dht_sync_is_ready(const struct dht_sync *s)
{
    return s->is_quiet || dht_roster_len(s->roster) >= DHT_SYNC_READY;
}
