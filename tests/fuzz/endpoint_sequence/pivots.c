/* Own paths without a network below: a build is answered after a moment, cells reach the other end
 * of the splice a moment after they were sent. Stands in for onion/path.c. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "tests/fuzz/endpoint_sequence/pivots_internal.h"

enum { BUILD_MS = 10, LATE_MS = 500, SILENT_MS = 12000, CELL_MS = 5, FLYING_MAX = 512 };

static struct list all, homes, flying, held;
static size_t n_flying;
static uint64_t serials;
static uint32_t splices;
static struct {
    uint8_t verdict, status, hop;
    uint32_t effort;
    uint8_t builds; /* that it still counts for */
    bool loses, holds, is_full, is_deaf, opens_none;
} mood;
struct cell pivots__past[PIVOTS__PAST];
size_t pivots__n_past;

void pivots_begin(void)
{
    list_init(&all);
    list_init(&homes);
    list_init(&flying);
    list_init(&held);
    n_flying = pivots__n_past = 0;
    serials = splices = 0;
    memset(&mood, 0, sizeof mood);
}

static void free_all(struct list *cells)
{
    while (!list_empty(cells)) {
        struct cell *c = container_of(cells->next, struct cell, node);
        list_del(&c->node);
        free(c);
    }
}

void pivots_end(void)
{
    fuzz_must(list_empty(&all) && list_empty(&homes));
    free_all(&flying);
    free_all(&held);
}

/* ---- cells on their way -----------------------------------------------------------------------
 */

static struct onion_path *by_serial(uint64_t serial)
{
    list_each (node, &all) {
        struct onion_path *p = container_of(node, struct onion_path, node);
        if (p->serial == serial)
            return p;
    }
    return NULL;
}

/* Of exact size, so that ASan sees one byte over. The path may be gone afterwards. */
void pivots__hand(struct onion_path *p, const struct onion_cell *c)
{
    uint8_t *exact = malloc(c->len);
    struct onion_cell own = *c;
    if (p->state == OPEN && (exact != NULL || c->len == 0)) {
        if (c->len > 0)
            memcpy(exact, c->payload, c->len);
        own.payload = exact;
        p->events->cell(p->arg, &own);
    }
    free(exact);
}

static void arrived(void *arg)
{
    struct cell *c = arg;
    struct onion_path *p = by_serial(c->to);
    list_del(&c->node);
    n_flying--;
    if (p != NULL)
        pivots__hand(p, &c->c);
    free(c);
}

static void arrive(void *arg)
{
    struct cell *c = arg;
    const struct onion_path *p = by_serial(c->to);
    if (p != NULL) {
        for (unsigned i = 0; i < WORLD_NODES; i++)
            if (world_node[i].fuzz->mesh == p->of->mesh) {
                sim_node_enter(world_node[i].fuzz->sim, arrived, c);
                return;
            }
    }
    list_del(&c->node);
    n_flying--;
    free(c);
}

static void depart(struct cell *c)
{
    list_push_back(&flying, &c->node);
    sim_at(world, sim_now(world) + SIM_MS(CELL_MS), arrive, c);
}

static void travel(const struct onion_path *to, uint32_t splice, uint8_t command, uint8_t kind,
                   const uint8_t *payload, size_t len)
{
    struct cell *c = n_flying < FLYING_MAX && !mood.loses ? malloc(sizeof *c) : NULL;
    if (c == NULL)
        return;
    list_init(&c->node);
    c->to = to->serial;
    c->c = (struct onion_cell){ .splice = splice, .command = command, .kind = kind, .len = len };
    c->c.payload = c->payload;
    if (len > 0)
        memcpy(c->payload, payload, len);
    pivots__past[pivots__n_past % PIVOTS__PAST] = *c;
    pivots__past[pivots__n_past++ % PIVOTS__PAST].c.payload = NULL;
    n_flying++;
    if (mood.holds)
        list_push_back(&held, &c->node);
    else
        depart(c);
}

/* ---- who is where -----------------------------------------------------------------------------
 */

static struct onion_path *service_at(const uint8_t token[static ONION_TOKEN])
{
    struct onion_path *best = NULL;
    list_each (node, &all) {
        struct onion_path *p = container_of(node, struct onion_path, node);
        if (p->state == OPEN && p->last.command == ONION_BUILD_REGISTER &&
            memcmp(p->token, token, ONION_TOKEN) == 0)
            best = p; /* the last one took over */
    }
    return best;
}

static struct onion_path *client_at(const struct onion_path *service, uint32_t splice)
{
    list_each (node, &all) {
        struct onion_path *p = container_of(node, struct onion_path, node);
        if (p->state == OPEN && p->last.command == ONION_BUILD_SPLICE && p->splice == splice &&
            splice != 0 && memcmp(p->token, service->token, ONION_TOKEN) == 0)
            return p;
    }
    return NULL;
}

struct onion_path *pivots__nth(const struct onion_paths *of, unsigned which)
{
    unsigned n = 0;
    list_each (node, &all)
        n += container_of(node, struct onion_path, node)->of == of;
    if (n == 0)
        return NULL;
    which %= n;
    list_each (node, &all) {
        struct onion_path *p = container_of(node, struct onion_path, node);
        if (p->of == of && which-- == 0)
            return p;
    }
    return NULL;
}

void pivots_token(uint8_t out[static ONION_TOKEN], unsigned which)
{
    memset(out, 0, ONION_TOKEN);
    list_each (node, &all) {
        const struct onion_path *p = container_of(node, struct onion_path, node);
        if (p->last.command == ONION_BUILD_REGISTER && which-- == 0)
            memcpy(out, p->token, ONION_TOKEN);
    }
}

/* ---- builds -----------------------------------------------------------------------------------
 */

static void splice_over(struct onion_path *p, uint8_t why)
{
    const struct onion_path *service = p->splice != 0 ? service_at(p->token) : NULL;
    if (p->state == OPEN && service != NULL)
        travel(service, p->splice, ONION_CELL_CLOSE, 0, &why, 1);
    p->splice = 0;
}

static void path_free(struct onion_path *p)
{
    if (p->last.command == ONION_BUILD_SPLICE)
        splice_over(p, ONION_CLOSE_DONE);
    env_timer_stop(mesh_env(p->of->mesh), &p->timer);
    list_del(&p->node);
    p->of->n--;
    sodium_memzero(p, sizeof *p);
    free(p);
}

void pivots__failed(struct onion_path *p, const struct onion_path_built *b)
{
    void (*opened)(void *, const struct onion_path_built *) = p->events->opened;
    struct onion_path_built own = *b;
    void *arg = p->arg;
    path_free(p);
    opened(arg, &own);
}

void pivots__ended(struct onion_path *p, enum onion_path_end why)
{
    void (*closed)(void *, enum onion_path_end) = p->events->closed;
    void *arg = p->arg;
    path_free(p);
    closed(arg, why);
}

static void refuse(struct onion_path *p, enum onion_status status)
{
    p->built.code = CYX_EREFUSED;
    p->built.hop = p->n_hops - 1;
    p->built.status = (uint8_t)status;
    pivots__failed(p, &p->built);
}

static void spliced(struct onion_path *p)
{
    const struct onion_path *service = service_at(p->token);
    p->splice = ++splices;
    for (unsigned i = 0; i < 2 && service != NULL && p->last.early_len > 0; i++)
        travel(service, p->splice, ONION_CELL_DATA, p->last.early_kind, p->early,
               p->last.early_len);
}

static void answered(struct onion_path *p)
{
    if (p->built.code != 0) {
        pivots__failed(p, &p->built);
        return;
    }
    if (p->last.command == ONION_BUILD_SPLICE && service_at(p->token) == NULL) {
        refuse(p, ONION_NO_TOKEN);
        return;
    }
    list_del(&p->node);
    list_push_back(&all, &p->node); /* in order of their opening */
    p->state = OPEN;
    if (p->last.command == ONION_BUILD_SPLICE)
        spliced(p);
    p->events->opened(p->arg, &p->built);
}

static void timer(struct env_timer *t, void *arg)
{
    struct onion_path *p = arg;
    (void)t;
    if (p->state == OPEN) {
        pivots__ended(p, ONION_PATH_SILENT);
    } else if (p->state == BUILDING) {
        answered(p);
    } else if (p->is_probed || p->events->late == NULL) {
        pivots__failed(p, &(struct onion_path_built){ .code = CYX_ETIMEDOUT });
    } else {
        p->is_probed = true;
        env_timer_in(mesh_env(p->of->mesh), &p->timer, ENV_MS(SILENT_MS));
        p->events->late(p->arg);
    }
}

static void take_verdict(struct onion_path *p)
{
    static const int codes[] = { 0, CYX_ETIMEDOUT, CYX_ECLOSED, CYX_EPROTO, CYX_EREFUSED };
    uint8_t what = mood.builds > 0 ? mood.verdict % 6 : 0;
    if (mood.builds > 0)
        mood.builds--;
    p->state = what == 5 ? SILENT : BUILDING;
    env_timer_in(mesh_env(p->of->mesh), &p->timer, ENV_MS(what == 5 ? LATE_MS : BUILD_MS));
    if (what == 0 || what == 5)
        return;
    p->built = (struct onion_path_built){ .code = codes[what],
                                          .hop = mood.hop % p->n_hops,
                                          .status = mood.status,
                                          .effort = mood.effort };
    if (mood.hop & 0x80)
        p->built.hop = p->n_hops - 1;
}

struct onion_path *onion_path_open(struct onion_paths *home, const struct onion_path_options *o,
                                   const struct onion_path_events *events, void *arg,
                                   struct cyx_err *err)
{
    struct onion_path *p = mood.opens_none ? NULL : calloc(1, sizeof *p);
    if (p == NULL) {
        cyx_fail(err, CYX_EFULL, "no more paths");
        return NULL;
    }
    fuzz_must(o->route->n_hops >= 2 && o->route->n_hops <= ONION_HOPS_MAX &&
              o->last.early_len <= ONION_PAYLOAD &&
              (o->last.early_len == 0 || o->route->n_hops <= ONION_EARLY_HOPS_MAX));
    p->of = home;
    p->serial = ++serials;
    p->events = events;
    p->arg = arg;
    p->last = o->last;
    p->n_hops = o->route->n_hops;
    if (o->last.early_len > 0)
        memcpy(p->early, o->early, o->last.early_len);
    if (p->last.command == ONION_BUILD_REGISTER)
        crypto_h(p->token, "cyx token", &BYTES(p->last.target, 32), 1);
    else
        memcpy(p->token, p->last.target, ONION_TOKEN);
    list_init(&p->node);
    list_push_back(&all, &p->node);
    home->n++;
    env_timer_init(&p->timer, timer, p);
    take_verdict(p);
    return p;
}

void onion_path_close(struct onion_path *p)
{
    if (p != NULL)
        path_free(p);
}

int onion_path_send(struct onion_path *p, const struct onion_cell *c)
{
    fuzz_must(c->len <= ONION_PAYLOAD);
    if (p->state != OPEN)
        return CYX_ECLOSED;
    if (mood.is_full) {
        p->was_full = true;
        return CYX_EAGAIN;
    }
    bool is_client = p->last.command == ONION_BUILD_SPLICE;
    struct onion_path *to = is_client ? service_at(p->token) : client_at(p, c->splice);
    if (to == NULL || (is_client && p->splice == 0) ||
        (c->command != ONION_CELL_DATA && c->command != ONION_CELL_CLOSE))
        return 0;
    travel(to, is_client ? p->splice : 0, c->command, c->kind, c->payload, c->len);
    if (c->command == ONION_CELL_CLOSE)
        (is_client ? p : to)->splice = 0;
    return 0;
}

void onion_path_probe(struct onion_path *p)
{
    if (!p->is_probed && mood.is_deaf)
        env_timer_in(mesh_env(p->of->mesh), &p->timer, ENV_MS(LATE_MS));
    p->is_probed = true;
}

/* ---- what the input does to them --------------------------------------------------------------
 */

void pivots_verdict(struct reader *in)
{
    mood.verdict = reader_u8(in);
    mood.status = reader_u8(in) % ONION_STATUSES;
    mood.hop = reader_u8(in);
    mood.effort = reader_u8(in) * 16u;
    mood.builds = 1 + reader_u8(in) % 32;
}

static void release(void)
{
    while (!list_empty(&held)) {
        struct cell *c = container_of(held.next, struct cell, node);
        list_del(&c->node);
        depart(c);
    }
}

void pivots_mood(struct reader *in)
{
    uint8_t bits = reader_u8(in);
    mood.loses = bits & 1;
    mood.holds = bits & 2;
    mood.is_full = bits & 4;
    mood.is_deaf = bits & 8;
    mood.opens_none = bits & 16;
    if (!mood.holds)
        release();
}

/* ---- the rest of onion/path.h -----------------------------------------------------------------
 */

struct onion_paths *onion_paths_create(struct onion_switch *sw)
{
    struct onion_paths *p = calloc(1, sizeof *p);
    fuzz_must(p != NULL);
    p->mesh = onion_switch_mesh(sw);
    list_init(&p->node);
    list_push_back(&homes, &p->node);
    return p;
}

/* Nothing of it is left: whoever opened a path closed it. */
void onion_paths_destroy(struct onion_paths *p)
{
    if (p == NULL)
        return;
    fuzz_must(p->n == 0);
    list_del(&p->node);
    free(p);
}

struct mesh *onion_paths_mesh(struct onion_paths *p)
{
    return p->mesh;
}

size_t pivots_paths(const struct onion_paths *p)
{
    return p->n;
}

size_t onion_paths_count(const struct onion_paths *p)
{
    return p->n;
}

uint64_t onion_paths_build_ns(const struct onion_paths *p)
{
    (void)p;
    return ENV_MS(BUILD_MS);
}

void onion_paths_metrics(const struct onion_paths *p, metric_fn fn, void *arg)
{
    (void)p;
    (void)fn;
    (void)arg;
}

void onion_paths_rows(const struct onion_paths *p,
                      bool (*fn)(void *arg, const struct onion_path_row *row), void *arg)
{
    (void)p;
    (void)fn;
    (void)arg;
}
