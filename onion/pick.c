/* onion/pick.c - roster, guards and the rules of path choice behind one door. */
#include "onion/pick.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "onion/choose.h"

enum {
    REST_MS = 250, /* between looks at the roster */
    /* No path without those that rest, for minutes by then: more likely our own network is gone
     * than all of them. So long after the last failure they are tried again, the same ones; doubles
     * up to the second figure until a path stands. */
    ALL_REST_MS = 500,
    ALL_REST_MAX_MS = 5000,
    LATE_S =
        10, /* paths begin with the next guard for so long after nothing came back through one; */
    LATE_MAX_S = 80, /* ... doubles each time, up to here */
    DOUBTS = 32,     /* relays remembered that nothing came back from, */
    DOUBT_S = 120, /* ... for so long: a relay that was killed waits so long before it takes builds
                      again */
};

/* A relay on a route that brought nothing back. */
struct doubt {
    uint8_t id[32];
    uint64_t until_ns;
};

struct onion_picker {
    struct dht *dht;
    struct mesh *mesh;
    struct env *env;
    struct onion_relays *relays;
    struct onion_guards *guards;
    uint64_t looked_ns;
    bool has_looked;
    struct doubt doubts[DOUBTS];
    size_t next_doubt;
    uint8_t late_guard[32]; /* nothing came back through it lately: */
    uint64_t late_until_ns; /* ... until then paths begin with the next one */
    unsigned n_late;
    uint64_t failed_ns; /* the last failure of a guard */
    uint64_t rest_ms;   /* while all of them rest */
};

/* The record as it lies in the roster's store was proven before it got there: its form is enough.
 */
static bool node_of(void *arg, const uint8_t id[static DHT_ID], struct mesh_node *out)
{
    struct onion_picker *p = arg;
    uint8_t record[MESH_NODE_RECORD_MAX];
    size_t len = dht_node_record(p->dht, id, record);
    return len > 0 && mesh_node_record_form(out, mesh_time(p->mesh), record, len) == DROP_NONE;
}

static void save(struct onion_picker *p)
{
    uint8_t blob[ONION_GUARDS_BLOB_MAX];
    size_t len = onion_guards_encode(p->guards, blob);
    env_blob_store(p->env, ONION_GUARDS_FILE, blob, len, NULL, NULL);
}

/* A file that can't be read is worth less than a node that starts: guards are drawn anew, and the
 * log says so. */
static struct onion_guards *load(struct onion_picker *p, struct cyx_err *err)
{
    uint8_t blob[ONION_GUARDS_BLOB_MAX];
    const struct mesh_network *net = mesh_network_of(p->mesh);
    struct onion_guards *g = NULL;
    struct cyx_err why = { 0 };
    size_t len = 0;
    if (env_blob_load(p->env, ONION_GUARDS_FILE, blob, sizeof blob, &len, &why) == 0)
        g = onion_guards_decode(net, blob, len, &why);
    if (g != NULL)
        return g;
    if (why.code != CYX_ENOENT && p->env->log != NULL)
        log_warn(p->env->log, "onion", "guards are drawn anew: %s", why.msg);
    g = onion_guards_create(net);
    if (g == NULL)
        cyx_fail(err, CYX_ENOMEM, "no memory for guards");
    return g;
}

struct onion_picker *onion_picker_create(struct dht *dht, struct cyx_err *err)
{
    struct onion_picker *p = calloc(1, sizeof *p);
    if (p == NULL || dht_roster_of(dht) == NULL) {
        free(p);
        cyx_fail(err, p == NULL ? CYX_ENOMEM : CYX_EINVAL, "paths need a roster");
        return NULL;
    }
    p->dht = dht;
    p->mesh = dht_mesh(dht);
    p->env = mesh_env(p->mesh);
    p->rest_ms = ALL_REST_MS;
    const struct mesh_identity *me = mesh_identity_of(p->mesh);
    p->relays = onion_relays_create(dht_roster_of(dht), me->has_puzzle ? me->id : NULL,
                                    mesh_network_of(p->mesh)->is_lab, node_of, p);
    p->guards = load(p, err);
    if (p->relays != NULL && p->guards != NULL)
        return p;
    cyx_fail(err, CYX_ENOMEM, "no memory for path choice");
    onion_picker_destroy(p);
    return NULL;
}

void onion_picker_destroy(struct onion_picker *p)
{
    if (p == NULL)
        return;
    onion_relays_destroy(p->relays);
    onion_guards_destroy(p->guards);
    free(p);
}

/* Brings candidates and guards up to date. */
static int look(struct onion_picker *p, struct cyx_err *err)
{
    uint64_t now = env_now_ns(p->env), t = mesh_time(p->mesh);
    if (p->has_looked && now - p->looked_ns < ENV_MS(REST_MS))
        return 0;
    if (onion_relays_refresh(p->relays, t) < 0)
        return cyx_fail(err, CYX_ENOMEM, "no memory for the relays");
    if (dht_roster_is_ready(p->dht) && onion_guards_refresh(p->guards, p->relays, p->env, t))
        save(p);
    p->looked_ns = now;
    p->has_looked = true;
    return 0;
}

static void link_failed(struct onion_picker *p, const uint8_t guard[static 32])
{
    p->failed_ns = env_now_ns(p->env);
    onion_guards_link_failed(p->guards, guard, mesh_time(p->mesh));
}

/* True: some rested, and need not any more. */
static bool wake_guards(struct onion_picker *p)
{
    uint64_t since = env_now_ns(p->env) - p->failed_ns;
    if (since < ENV_MS(p->rest_ms) || onion_guards_next(p->guards, mesh_time(p->mesh)) == 0)
        return false;
    onion_guards_rested(p->guards);
    p->rest_ms = 2 * p->rest_ms < ALL_REST_MAX_MS ? 2 * p->rest_ms : ALL_REST_MAX_MS;
    return true;
}

static bool has_guard(struct onion_picker *p)
{
    const uint8_t *ids[ONION_GUARDS];
    return onion_guards_usable(p->guards, mesh_time(p->mesh), ids) > 0 || wake_guards(p);
}

size_t onion_picker_relays(struct onion_picker *p)
{
    return look(p, NULL) == 0 ? onion_relays_len(p->relays) : 0;
}

bool onion_picker_is_ready(struct onion_picker *p)
{
    return look(p, NULL) == 0 && has_guard(p) && onion_relays_len(p->relays) >= ONION_HOPS_LEAST;
}

bool onion_picker_knows(struct onion_picker *p, const uint8_t id[static 32])
{
    struct mesh_node n;
    return node_of(p, id, &n);
}

/* ---- doubts -----------------------------------------------------------------------------------
 * Who makes builds or paths fail can push a client towards others, here as ever: so this lasts two
 * minutes, costs a relay nothing else, and gives way where nobody else is left. */

static struct doubt *doubt_of(struct onion_picker *p, const uint8_t id[static 32])
{
    for (size_t i = 0; i < DOUBTS; i++)
        if (p->doubts[i].until_ns != 0 && memcmp(p->doubts[i].id, id, 32) == 0)
            return &p->doubts[i];
    return NULL;
}

/* Whose fault it is can't be told, so it doesn't count against the guard: paths begin with the
 * second one of the set for a while, as they do when they are doubled. A guard that was killed and
 * started again answers no build for two minutes. */
static void late_through(struct onion_picker *p, const uint8_t guard[static 32])
{
    bool is_again = memcmp(p->late_guard, guard, sizeof p->late_guard) == 0;
    uint64_t s = LATE_S;
    p->n_late = is_again ? p->n_late + 1 : 1;
    for (unsigned i = 1; i < p->n_late && s < LATE_MAX_S; i++)
        s *= 2;
    memcpy(p->late_guard, guard, sizeof p->late_guard);
    p->late_until_ns = env_now_ns(p->env) + ENV_S(s);
}

static bool is_late(const struct onion_picker *p, const uint8_t guard[static 32])
{
    return p->late_until_ns > env_now_ns(p->env) &&
           memcmp(p->late_guard, guard, sizeof p->late_guard) == 0;
}

static void doubt_hops(struct onion_picker *p, const struct onion_route *route)
{
    for (size_t i = 1; i < route->n_hops; i++) {
        struct doubt *d = doubt_of(p, route->hops[i].id);
        if (d == NULL)
            d = &p->doubts[p->next_doubt++ % DOUBTS];
        memcpy(d->id, route->hops[i].id, sizeof d->id);
        d->until_ns = env_now_ns(p->env) + ENV_S(DOUBT_S);
    }
}

void onion_picker_doubt(struct onion_picker *p, const struct onion_route *route)
{
    late_through(p, route->hops[0].id);
    doubt_hops(p, route);
}

void onion_picker_ended(struct onion_picker *p, const struct onion_route *route,
                        enum onion_path_end why)
{
    switch (why) {
    case ONION_PATH_NOISE:
    case ONION_PATH_SILENT:
        onion_picker_doubt(p, route);
        break;
    case ONION_PATH_DESTROYED: /* somebody beyond the guard went, or says so */
        doubt_hops(p, route);
        break;
    case ONION_PATH_LINK_DOWN: /* the guard's books have it (onion_picker_link_down) */
    case ONION_PATH_OLD:
        break;
    }
}

static void trust(struct onion_picker *p, const struct onion_route *route)
{
    p->rest_ms = ALL_REST_MS;
    if (memcmp(p->late_guard, route->hops[0].id, sizeof p->late_guard) == 0)
        p->late_until_ns = p->n_late = 0;
    for (size_t i = 1; i < route->n_hops; i++) {
        struct doubt *d = doubt_of(p, route->hops[i].id);
        if (d != NULL)
            d->until_ns = 0;
    }
}

/* Those of the wish and those in doubt. Returns how many. */
static size_t exclude_all(struct onion_picker *p, const struct onion_wish *w, uint8_t (*out)[32],
                          size_t room)
{
    size_t n = 0;
    for (; n < w->n_exclude && n < room; n++)
        memcpy(out[n], w->exclude[n], 32);
    for (size_t i = 0; i < DOUBTS && n < room; i++)
        if (p->doubts[i].until_ns > env_now_ns(p->env))
            memcpy(out[n++], p->doubts[i].id, 32);
    return n;
}

/* ---- routes -----------------------------------------------------------------------------------
 */

static int choose_sure(struct onion_picker *p, const struct onion_wish *w, struct onion_chosen *c,
                       struct cyx_err *err)
{
    uint8_t ids[DOUBTS + 2 * ONION_PIVOTS_MAX][32];
    struct onion_wish sure = *w;
    uint64_t now = mesh_time(p->mesh);
    sure.n_exclude = exclude_all(p, w, ids, sizeof ids / sizeof ids[0]);
    sure.exclude = (const uint8_t(*)[32])ids;
    sure.is_strict = true;
    if (sure.n_exclude > w->n_exclude &&
        onion_choose(c, &sure, p->relays, p->guards, p->env, now, NULL) == 0)
        return 0;
    return onion_choose(c, w, p->relays, p->guards, p->env, now, err);
}

/* Without a guard that is late and relays in doubt, as far as that is possible. */
static int choose_best(struct onion_picker *p, const struct onion_wish *w, struct onion_chosen *c,
                       struct cyx_err *err)
{
    const uint8_t *guards[ONION_GUARDS];
    struct onion_wish other = *w;
    size_t n = onion_guards_usable(p->guards, mesh_time(p->mesh), guards);
    other.skip_guards = n > 1 && is_late(p, guards[0]) ? 1 : 0;
    if (other.skip_guards > 0 && choose_sure(p, &other, c, NULL) == 0)
        return 0;
    return choose_sure(p, w, c, err);
}

static int choose(struct onion_picker *p, const struct onion_wish *w, struct onion_route *out,
                  struct cyx_err *err)
{
    struct onion_chosen c;
    int code = look(p, err);
    if (code == 0)
        code = choose_best(p, w, &c, err);
    if ((code == CYX_EAGAIN || code == CYX_ENOENT) && wake_guards(p))
        code = choose_best(p, w, &c, err);
    if (code < 0)
        return code;
    *out = (struct onion_route){ .n_hops = c.n_hops };
    memcpy(out->hops, c.hops, sizeof c.hops);
    if (!mesh_node_contact(p->mesh, &c.first, &out->first)) {
        link_failed(p, c.hops[0].id);
        return cyx_fail(err, CYX_EAGAIN, "the guard can't be dialled now");
    }
    return 0;
}

int onion_pick_end(struct onion_picker *p, const struct onion_avoid *a, struct onion_route *out,
                   struct cyx_err *err)
{
    struct onion_wish w = { .hops = ONION_HOPS_END };
    if (a != NULL) {
        w.exclude = a->ids;
        w.n_exclude = a->n;
    }
    return choose(p, &w, out, err);
}

int onion_pick_to(struct onion_picker *p, const uint8_t last[static 32], unsigned hops,
                  const struct onion_avoid *a, struct onion_route *out, struct cyx_err *err)
{
    struct onion_wish w = { .last = last, .hops = hops };
    if (a != NULL) {
        w.exclude = a->ids;
        w.n_exclude = a->n;
    }
    return choose(p, &w, out, err);
}

int onion_pick_pivot(struct onion_picker *p, const struct onion_avoid *a, uint8_t id[static 32],
                     struct cyx_err *err)
{
    uint8_t drawn[1][32];
    const uint8_t(*ids)[32] = a != NULL ? a->ids : NULL;
    int code = look(p, err);
    if (code < 0)
        return code;
    if (onion_choose_pivots(drawn, 1, ids, a != NULL ? a->n : 0, p->relays, p->guards, p->env,
                            mesh_time(p->mesh)) == 0)
        return cyx_fail(err, CYX_ENOENT, "no relay is left to be a pivot");
    memcpy(id, drawn[0], 32);
    return 0;
}

size_t onion_pick_pivots_wanted(struct onion_picker *p, size_t want)
{
    (void)look(p, NULL);
    return onion_pivots_wanted(p->relays, want);
}

/* ---- the guards' books -------------------------------------------------------------------------
 */

/* A guard that answers nothing at all is silent; one that says how it went, whatever it says, has
 * answered. */
void onion_picker_built(struct onion_picker *p, const struct onion_route *route,
                        const struct onion_path_built *b)
{
    const uint8_t *guard = route->hops[0].id;
    if (b->code == 0)
        trust(p, route);
    switch (b->code) {
    case 0:
    case CYX_EREFUSED:
    case CYX_EPROTO:
        onion_guards_build_answered(p->guards, guard);
        break;
    case CYX_ETIMEDOUT:
        doubt_hops(p, route);
        p->failed_ns = env_now_ns(p->env);
        onion_guards_build_silent(p->guards, guard, mesh_time(p->mesh));
        break;
    case CYX_ECLOSED:
        link_failed(p, guard);
        break;
    default: /* our own memory, or a full table: nobody's fault */
        break;
    }
}

size_t onion_picker_guards_up(struct onion_picker *p)
{
    const uint8_t *ids[ONION_GUARDS];
    size_t n = onion_guards_usable(p->guards, mesh_time(p->mesh), ids), up = 0;
    for (size_t i = 0; i < n; i++)
        up += mesh_link_by_id(p->mesh, ids[i]) != NULL;
    return up;
}

void onion_picker_not_opened(struct onion_picker *p, const struct onion_route *route, int code)
{
    if (code == CYX_EBUSY || code == CYX_EINVAL)
        link_failed(p, route->hops[0].id);
}

void onion_picker_link_up(struct onion_picker *p, const struct mesh_link *l)
{
    struct mesh_link_info info;
    mesh_link_info(l, &info);
    if (info.has_id)
        onion_guards_link_up(p->guards, info.id);
}

void onion_picker_link_down(struct onion_picker *p, const struct mesh_link *l)
{
    struct mesh_link_info info;
    mesh_link_info(l, &info);
    if (info.has_id && info.paths > 0)
        link_failed(p, info.id);
}
