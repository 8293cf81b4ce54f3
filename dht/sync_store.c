/* dht/sync_store.c - the store "roster": key: a node's id; value: when we first knew it (4), when
 * we last reached it (4; both network time in seconds), its record. The ages must outlive restarts,
 * or whoever waits for one is as old as everybody.
 *
 * A write waits in `dirty`, or flies with the one commit under way; the map knows the newest of
 * each id. A commit that fails puts what flew back. */
#include <stdlib.h>
#include <string.h>

#include "base/reader.h"
#include "base/writer.h"
#include "dht/sync_internal.h"

struct write {
    struct list node;
    uint8_t id[DHT_ID];
    bool is_newest; /* the map's; else a later one took its place while it flew */
    bool is_flying;
    uint32_t first_s, reached_s;
    size_t len; /* 0: to be deleted */
    uint8_t record[];
};

/* Outlives the sync when that stops meanwhile. */
struct sync__flight {
    struct dht_sync *s; /* NULL: nobody waits any more */
    struct list writes;
};

/* ---- what waits ------------------------------------------------------------------------------ */

static void arm(struct dht_sync *s)
{
    if (s->flight == NULL && !list_empty(&s->dirty) && !s->flush.is_set)
        env_timer_in(s->env, &s->flush, ENV_MS(SYNC__FLUSH_MS));
}

/* Takes `w` over, in the place of what waits or flies under that id. */
static bool add(struct dht_sync *s, struct write *w)
{
    struct write *old = map_get(s->writes, w->id);
    if (map_put(s->writes, w->id, w) != 0) {
        free(w);
        return false;
    }
    w->is_newest = true;
    list_push_back(&s->dirty, &w->node);
    if (old != NULL && old->is_flying) {
        old->is_newest = false;
    } else if (old != NULL) {
        list_del(&old->node);
        free(old);
    }
    arm(s);
    return true;
}

static struct write *write_new(const uint8_t id[static DHT_ID], const uint8_t *record, size_t len)
{
    struct write *w = calloc(1, sizeof *w + len);
    if (w == NULL)
        return NULL;
    list_init(&w->node);
    memcpy(w->id, id, DHT_ID);
    w->len = len;
    if (len > 0)
        memcpy(w->record, record, len);
    return w;
}

bool sync__store_put(struct dht_sync *s, const uint8_t id[static DHT_ID], const uint8_t *record,
                     size_t len)
{
    const struct dht_roster_entry *e = dht_roster_get(s->roster, id);
    struct write *w = write_new(id, record, len);
    if (w == NULL)
        return false;
    w->first_s = e != NULL ? e->first_s : 0;
    w->reached_s = e != NULL ? e->reached_s : 0;
    return add(s, w);
}

/* What finds no room is found again at the next start, and goes when it expires. */
void sync__store_del(struct dht_sync *s, const uint8_t id[static DHT_ID])
{
    struct write *w = write_new(id, NULL, 0);
    if (w == NULL || !add(s, w))
        s->n.store_errors++;
}

/* ---- commits --------------------------------------------------------------------------------- */

static int fill_one(const struct dht_sync *s, struct env_kv_batch *b, const struct write *w)
{
    uint8_t value[SYNC__HEAD + MESH_NODE_RECORD_MAX];
    struct writer out = writer_on(value, sizeof value);
    if (w->len == 0)
        return env_kv_del(s->env, b, w->id, DHT_ID);
    writer_u32(&out, w->first_s);
    writer_u32(&out, w->reached_s);
    writer_copy(&out, w->record, w->len);
    return env_kv_put(s->env, b, w->id, DHT_ID, value, writer_len(&out));
}

/* A batch of at most `most` of what waits; NULL when memory is out. */
static struct env_kv_batch *fill(const struct dht_sync *s, size_t most)
{
    struct env_kv_batch *b = env_kv_batch(s->env, s->kv);
    int code = b != NULL ? 0 : CYX_ENOMEM;
    list_each (at, &s->dirty)
        if (code == 0 && most-- > 0)
            code = fill_one(s, b, container_of(at, struct write, node));
        else
            break;
    if (code == 0)
        return b;
    env_kv_abort(s->env, b);
    return NULL;
}

static void free_all(struct list *writes)
{
    list_each_safe (at, writes)
        free(container_of(at, struct write, node));
    list_init(writes);
}

/* It is on disk, was overtaken, or waits again. */
static void land(struct dht_sync *s, struct write *w, bool is_kept)
{
    list_del(&w->node);
    w->is_flying = false;
    if (w->is_newest && !is_kept) {
        list_push_back(&s->dirty, &w->node);
        return;
    }
    if (w->is_newest)
        map_del(s->writes, w->id);
    free(w);
}

static void on_committed(void *arg, int code)
{
    struct sync__flight *f = arg;
    struct dht_sync *s = f->s;
    if (s == NULL) {
        free_all(&f->writes);
        free(f);
        return;
    }
    s->flight = NULL;
    s->n.store_errors += code != 0;
    list_each_safe (at, &f->writes)
        land(s, container_of(at, struct write, node), code == 0);
    free(f);
    arm(s);
}

static bool flush(struct dht_sync *s)
{
    struct sync__flight *f = calloc(1, sizeof *f);
    struct env_kv_batch *b = f != NULL ? fill(s, SYNC__WRITES) : NULL;
    if (b == NULL) {
        free(f);
        return false;
    }
    f->s = s;
    list_init(&f->writes);
    for (unsigned i = 0; i < SYNC__WRITES && !list_empty(&s->dirty); i++) {
        struct write *w = container_of(s->dirty.next, struct write, node);
        list_del(&w->node);
        list_push_back(&f->writes, &w->node);
        w->is_flying = true;
    }
    s->flight = f;
    env_kv_commit(s->env, b, on_committed, f);
    return true;
}

static void flush_timer(struct env_timer *t, void *arg)
{
    struct dht_sync *s = arg;
    (void)t;
    if (s->flight != NULL || list_empty(&s->dirty) || flush(s))
        return;
    s->n.store_errors++;
    arm(s);
}

/* ---- reading --------------------------------------------------------------------------------- */

struct loading {
    struct dht_sync *s;
    uint64_t now;
    bool has_failed; /* no memory */
};

/* False: not what we write, expired, or without a place in the roster. */
static bool load(struct loading *l, const uint8_t *key, size_t key_len, const uint8_t *val,
                 size_t val_len)
{
    struct reader in = reader_on(val, val_len);
    struct mesh_node node;
    uint32_t first_s = reader_u32(&in), reached_s = reader_u32(&in);
    size_t len = reader_left(&in);
    const uint8_t *record = reader_bytes(&in, len);
    bool has_gone = false;
    uint8_t gone[DHT_ID];
    if (key_len != DHT_ID || record == NULL ||
        mesh_node_record_form(&node, l->now, record, len) != DROP_NONE ||
        memcmp(node.id, key, DHT_ID) != 0)
        return false;
    int code = dht_roster_heard(l->s->roster, &node, l->now, &has_gone, gone);
    if (has_gone)
        sync__store_del(l->s, gone);
    l->has_failed = code == CYX_ENOMEM;
    if (code == CYX_EEXIST)
        return true; /* a newer one came before the store was open */
    if (code != 0)
        return false;
    /* A clock that was ahead must not make them eternally young, or reached for ever. */
    dht_roster_restore(l->s->roster, node.id, first_s < l->now ? first_s : (uint32_t)l->now,
                       reached_s < l->now ? reached_s : (uint32_t)l->now);
    return true;
}

static bool on_loaded(void *arg, const uint8_t *key, size_t key_len, const uint8_t *val,
                      size_t val_len)
{
    struct loading *l = arg;
    if (load(l, key, key_len, val, val_len) || l->has_failed)
        return !l->has_failed;
    l->s->n.store_bad++;
    if (key_len == DHT_ID)
        sync__store_del(l->s, key);
    return true; /* another key is nothing of ours: left alone */
}

int sync__store_open(struct dht_sync *s, struct cyx_err *err)
{
    struct loading l = { .s = s, .now = mesh_time(s->mesh) };
    int code = env_kv_open(s->env, "roster", DHT_SYNC_KV_BYTES, &s->kv, err);
    if (code != 0) {
        s->kv = NULL;
        return code;
    }
    env_timer_init(&s->flush, flush_timer, s);
    code = env_kv_each(s->env, s->kv, NULL, 0, on_loaded, &l);
    if (code == 0 && l.has_failed)
        code = CYX_ENOMEM;
    if (code != 0) {
        sync__store_close(s);
        return cyx_fail(err, code, "store roster: can't be read (%s)", cyx_code_name(code));
    }
    return 0;
}

size_t sync__store_get(struct dht_sync *s, const uint8_t id[static DHT_ID],
                       uint8_t out[static MESH_NODE_RECORD_MAX])
{
    uint8_t value[SYNC__HEAD + MESH_NODE_RECORD_MAX];
    size_t len = 0;
    const struct write *w = map_get(s->writes, id);
    if (w != NULL) {
        memcpy(out, w->record, w->len);
        return w->len;
    }
    if (env_kv_get(s->env, s->kv, id, DHT_ID, value, sizeof value, &len) != 0 || len <= SYNC__HEAD)
        return 0;
    memcpy(out, value + SYNC__HEAD, len - SYNC__HEAD);
    return len - SYNC__HEAD;
}

/* What waits goes along with the closing; nobody hears whether it arrived. */
void sync__store_close(struct dht_sync *s)
{
    const void *key;
    struct env_kv_batch *b = list_empty(&s->dirty) ? NULL : fill(s, SIZE_MAX);
    env_timer_stop(s->env, &s->flush);
    if (b != NULL)
        env_kv_commit(s->env, b, NULL, NULL);
    env_kv_close(s->env, s->kv);
    s->kv = NULL;
    while (map_oldest(s->writes, &key) != NULL) {
        uint8_t id[DHT_ID];
        memcpy(id, key, sizeof id);
        map_del(s->writes, id);
    }
    free_all(&s->dirty);
    if (s->flight != NULL)
        s->flight->s = NULL;
    s->flight = NULL;
}
