#include "tests/sim/scenarios/rogue.h"

#include <stdlib.h>
#include <string.h>

#include "mesh/link_internal.h"
#include "mesh/mesh_internal.h"
#include "onion/end_internal.h"
#include "onion/pivot_internal.h"

enum {
    FLIP_EVERY = 20,
    DELAY_MS = 200,
    REPLAY_MIN_MS = 1000,
    REPLAY_MS = 2000,
    REORDER_MS = 30,
    FLOOD_CELLS = 4,
    FLOOD_MAX = 40000,      /* junk for each cell */
    DESCRIPTOR_LEAST = 2048 /* bytes: answers with a descriptor are longer than all others */
};

/* What the linker leads here, and where it leads on to. */
int __real_mesh_cell_send(struct mesh_link *l, uint32_t path, const uint8_t cell[static MESH_CELL]);
int __wrap_mesh_cell_send(struct mesh_link *l, uint32_t path, const uint8_t cell[static MESH_CELL]);
int __real_mesh_train_send(struct mesh_link *l, uint32_t path, bool is_reply, const uint8_t *train,
                           size_t len);
int __wrap_mesh_train_send(struct mesh_link *l, uint32_t path, bool is_reply, const uint8_t *train,
                           size_t len);
void __real_pivot__splice(struct onion_pivots *v, struct relay_path *p,
                          const struct onion_fields *f, const uint8_t early[static ONION_TRAIN]);
void __wrap_pivot__splice(struct onion_pivots *v, struct relay_path *p,
                          const struct onion_fields *f, const uint8_t early[static ONION_TRAIN]);
void __real_tail__heard(struct onion_tail *t, const uint8_t cell[static MESH_CELL]);
void __wrap_tail__heard(struct onion_tail *t, const uint8_t cell[static MESH_CELL]);
void __real_end__answer(struct end_path *p, uint32_t id, enum mesh_rpc_status status,
                        const struct mesh_items *items);
void __wrap_end__answer(struct end_path *p, uint32_t id, enum mesh_rpc_status status,
                        const struct mesh_items *items);

static struct rogues *gang; /* NULL: everybody is honest */

const char *rogue_name(enum rogue_kind k)
{
    static const char *const names[ROGUE_KINDS_] = {
        [ROGUE_NONE] = "honest",     [ROGUE_FLIP] = "flip",         [ROGUE_DROP] = "drop",
        [ROGUE_DELAY] = "delay",     [ROGUE_REPLAY] = "replay",     [ROGUE_DUPLICATE] = "duplicate",
        [ROGUE_REORDER] = "reorder", [ROGUE_JUNK] = "junk",         [ROGUE_STALL] = "stall",
        [ROGUE_STATUS] = "status",   [ROGUE_MUTE] = "mute",         [ROGUE_FLOOD] = "flood",
        [ROGUE_OLD] = "old",         [ROGUE_WITHHOLD] = "withhold",
    };
    return names[k];
}

static bool is_recruit(const struct maze_node *n)
{
    for (size_t i = 0; i < gang->n_recruits; i++)
        if (memcmp(gang->recruits[i], n->base.card.id, sizeof n->base.card.id) == 0)
            return true;
    return false;
}

/* The rogue whose mesh that is, or NULL. */
static struct maze_node *rogue_of(const struct mesh *mesh)
{
    if (gang == NULL || gang->kind == ROGUE_NONE)
        return NULL;
    for (uint32_t i = 0; i < gang->maze->o.relays; i++) {
        struct maze_node *n = maze_at(gang->maze, i);
        if (n->base.mesh == mesh)
            return n->is_rogue || is_recruit(n) ? n : NULL;
    }
    return NULL;
}

static bool one_in(uint64_t n)
{
    return sim_random_below(gang->maze->w, n) == 0;
}

static void random_bytes(uint8_t *out, size_t len)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)sim_random_below(gang->maze->w, 256);
}

/* ---- cells that are sent later ---- */

struct held {
    struct list node;
    struct maze_node *at;
    const struct mesh_link *link; /* as a key: it may be gone */
    uint32_t number, path;
    uint8_t cell[MESH_CELL];
};

static struct mesh_link *find_link(const struct held *h)
{
    if (h->at->base.mesh == NULL)
        return NULL;
    list_each (node, &h->at->base.mesh->links) {
        struct mesh_link *l = container_of(node, struct mesh_link, all);
        if (l == h->link && l->number == h->number)
            return l;
    }
    return NULL;
}

static void release_in(void *arg)
{
    struct held *h = arg;
    struct mesh_link *l = find_link(h);
    if (l != NULL)
        (void)__real_mesh_cell_send(l, h->path, h->cell);
    list_del(&h->node);
    free(h);
}

static void release(void *arg)
{
    struct held *h = arg;
    if (sim_node_is_up(h->at->base.node)) /* else it is freed in the end */
        sim_node_enter(h->at->base.node, release_in, h);
}

static void hold(struct maze_node *at, const struct mesh_link *l, uint32_t path,
                 const uint8_t *cell, uint64_t at_ns)
{
    struct held *h = calloc(1, sizeof *h);
    if (h == NULL)
        abort();
    *h = (struct held){ .at = at, .link = l, .number = l->number, .path = path };
    memcpy(h->cell, cell, sizeof h->cell);
    list_init(&h->node);
    list_push_back(&gang->held, &h->node);
    sim_at(gang->maze->w, at_ns, release, h);
}

static uint64_t later(uint64_t least_ms, uint64_t span_ms)
{
    struct sim_world *w = gang->maze->w;
    return sim_now(w) + SIM_MS(least_ms) + sim_random_below(w, SIM_MS(span_ms));
}

/* Behind all that are held already. */
static uint64_t in_order(void)
{
    uint64_t at = later(0, DELAY_MS);
    if (at < gang->last_ns)
        at = gang->last_ns;
    gang->last_ns = at;
    return at;
}

/* ---- cells ---- */

static int send_flipped(struct mesh_link *l, uint32_t path, const uint8_t *cell)
{
    uint8_t marked[MESH_CELL];
    uint64_t bit = sim_random_below(gang->maze->w, 8 * MESH_CELL);
    memcpy(marked, cell, sizeof marked);
    marked[bit / 8] ^= (uint8_t)(1u << bit % 8);
    return __real_mesh_cell_send(l, path, marked);
}

static int send_junk(struct mesh_link *l, uint32_t path)
{
    uint8_t junk[MESH_CELL];
    random_bytes(junk, sizeof junk);
    return __real_mesh_cell_send(l, path, junk);
}

static bool is_touched(enum rogue_kind kind)
{
    switch (kind) {
    case ROGUE_FLIP:
        return gang->cells % FLIP_EVERY == 0;
    case ROGUE_DROP:
    case ROGUE_REPLAY:
    case ROGUE_JUNK:
        return one_in(10);
    case ROGUE_DUPLICATE:
        return one_in(3);
    case ROGUE_REORDER:
        return one_in(4);
    case ROGUE_DELAY:
        return true;
    case ROGUE_NONE:
    case ROGUE_STALL:
    case ROGUE_STATUS:
    case ROGUE_MUTE:
    case ROGUE_FLOOD:
    case ROGUE_WITHHOLD:
    case ROGUE_OLD:
    case ROGUE_KINDS_:
        break;
    }
    return false;
}

static int tamper(struct maze_node *me, struct mesh_link *l, uint32_t path, const uint8_t *cell)
{
    switch (gang->kind) {
    case ROGUE_FLIP:
        return send_flipped(l, path, cell);
    case ROGUE_DROP:
        return 0;
    case ROGUE_DELAY:
        hold(me, l, path, cell, in_order());
        return 0;
    case ROGUE_REORDER:
        hold(me, l, path, cell, later(1, REORDER_MS));
        return 0;
    case ROGUE_REPLAY:
        hold(me, l, path, cell, later(REPLAY_MIN_MS, REPLAY_MS));
        break;
    case ROGUE_DUPLICATE:
        (void)__real_mesh_cell_send(l, path, cell);
        break;
    case ROGUE_JUNK:
        (void)send_junk(l, path);
        break;
    case ROGUE_NONE:
    case ROGUE_STALL:
    case ROGUE_STATUS:
    case ROGUE_MUTE:
    case ROGUE_FLOOD:
    case ROGUE_WITHHOLD:
    case ROGUE_OLD:
    case ROGUE_KINDS_:
        break;
    }
    return __real_mesh_cell_send(l, path, cell);
}

int __wrap_mesh_cell_send(struct mesh_link *l, uint32_t path, const uint8_t cell[static MESH_CELL])
{
    struct maze_node *me = rogue_of(l->mesh);
    if (me == NULL)
        return __real_mesh_cell_send(l, path, cell);
    gang->cells++;
    if (!is_touched(gang->kind))
        return __real_mesh_cell_send(l, path, cell);
    gang->touched++;
    return tamper(me, l, path, cell);
}

/* ---- builds ---- */

int __wrap_mesh_train_send(struct mesh_link *l, uint32_t path, bool is_reply, const uint8_t *train,
                           size_t len)
{
    if (rogue_of(l->mesh) != NULL && gang->kind == ROGUE_STALL && one_in(2)) {
        gang->touched++;
        return 0;
    }
    return __real_mesh_train_send(l, path, is_reply, train, len);
}

static void lie_about_splice(struct onion_pivots *v, struct relay_path *p)
{
    uint8_t seed[16];
    uint64_t status = 1 + sim_random_below(gang->maze->w, ONION_STATUSES - 1);
    (void)v;
    random_bytes(seed, sizeof seed);
    relay__path_refuse(p, (enum onion_status)status,
                       (uint32_t)sim_random_below(gang->maze->w, UINT32_MAX), seed);
}

void __wrap_pivot__splice(struct onion_pivots *v, struct relay_path *p,
                          const struct onion_fields *f, const uint8_t early[static ONION_TRAIN])
{
    bool is_rogue = rogue_of(v->relay->mesh) != NULL;
    struct onion_fields mute = *f;
    if (is_rogue && gang->kind == ROGUE_STATUS) {
        gang->touched++;
        lie_about_splice(v, p);
        return;
    }
    if (is_rogue && gang->kind == ROGUE_MUTE) {
        gang->touched++;
        mute.early_len = 0;
    }
    __real_pivot__splice(v, p, &mute, early);
}

/* ---- what meets at a pivot ---- */

/* Well-formed cells full of noise, for splices that exist and such that don't. */
static void flood(struct onion_tail *t)
{
    uint8_t noise[ONION_PAYLOAD];
    for (unsigned i = 0; i < FLOOD_CELLS && t->path != NULL; i++) {
        bool is_service = t->ops == &pivot__service_ops;
        random_bytes(noise, sizeof noise);
        const struct onion_cell c = {
            .splice = is_service ? (uint32_t)sim_random_below(gang->maze->w, UINT32_MAX) : 0,
            .command = one_in(4) ? (uint8_t)noise[0] : ONION_CELL_DATA,
            .kind = one_in(4) ? ONION_KIND_ATTACH : ONION_KIND_QUIC,
            .payload = noise,
            .len = 1 + (size_t)sim_random_below(gang->maze->w, sizeof noise),
        };
        gang->touched++;
        if (c.command != ONION_CELL_CLOSE)
            (void)tail__send(t, &c);
    }
}

void __wrap_tail__heard(struct onion_tail *t, const uint8_t cell[static MESH_CELL])
{
    bool is_pivot = t->ops == &pivot__service_ops || t->ops == &pivot__client_ops;
    if (is_pivot && rogue_of(t->path->relay->mesh) != NULL) {
        if (gang->kind == ROGUE_MUTE) {
            gang->touched++;
            return;
        }
        if (gang->kind == ROGUE_FLOOD && gang->touched < FLOOD_MAX)
            flood(t);
    }
    __real_tail__heard(t, cell);
}

/* ---- lookups ---- */

static void keep_old(const struct mesh_items *items)
{
    if (gang->old != NULL || items == NULL || items->n != 1 || items->len < DESCRIPTOR_LEAST)
        return;
    gang->old = malloc(items->len);
    if (gang->old == NULL)
        abort();
    memcpy(gang->old, items->data, items->len);
    gang->old_len = items->len;
}

void __wrap_end__answer(struct end_path *p, uint32_t id, enum mesh_rpc_status status,
                        const struct mesh_items *items)
{
    bool is_record = items != NULL && items->n == 1 && items->len >= DESCRIPTOR_LEAST;
    if (gang != NULL)
        keep_old(items);
    if (!is_record || rogue_of(p->end->relay->mesh) == NULL) {
        __real_end__answer(p, id, status, items);
    } else if (gang->kind == ROGUE_WITHHOLD) {
        gang->touched++;
        __real_end__answer(p, id, MESH_RPC_NOT_FOUND, NULL);
    } else if (gang->kind == ROGUE_OLD && gang->old != NULL) {
        const struct mesh_items old = { .data = gang->old, .len = gang->old_len, .n = 1 };
        gang->touched++;
        __real_end__answer(p, id, status, &old);
    } else {
        __real_end__answer(p, id, status, items);
    }
}

/* ---- life ---- */

struct rogues *rogues_create(struct maze *m, unsigned percent)
{
    struct rogues *g = calloc(1, sizeof *g);
    if (g == NULL || gang != NULL)
        abort();
    g->maze = m;
    g->percent = percent;
    list_init(&g->held);
    gang = g;
    rogues_draw(g);
    return g;
}

void rogues_draw(struct rogues *g)
{
    struct maze *m = g->maze;
    uint32_t rest = m->o.relays - m->o.contacts, due = m->o.relays * g->percent / 100;
    /* Each is taken with the probability that makes the share exact. */
    for (uint32_t i = m->o.contacts; i < m->o.relays; i++, rest--) {
        maze_at(m, i)->is_rogue = sim_random_below(m->w, rest) < due;
        due -= maze_at(m, i)->is_rogue;
    }
}

void rogues_recruit(struct rogues *g, const uint8_t id[static 32])
{
    if (g->n_recruits < sizeof g->recruits / sizeof g->recruits[0])
        memcpy(g->recruits[g->n_recruits++], id, 32);
}

void rogues_spare(struct rogues *g, const uint8_t id[static 32])
{
    for (uint32_t i = 0; i < g->maze->o.relays; i++)
        if (memcmp(maze_at(g->maze, i)->base.card.id, id, 32) == 0)
            maze_at(g->maze, i)->is_rogue = false;
}

void rogues_turn(struct rogues *g, enum rogue_kind kind)
{
    if (kind == ROGUE_NONE)
        g->n_recruits = 0;
    g->kind = kind;
    g->touched = g->cells = 0;
}

void rogues_destroy(struct rogues *g)
{
    list_each_safe (node, &g->held)
        free(container_of(node, struct held, node));
    free(g->old);
    free(g);
    gang = NULL;
}

uint32_t rogues_count(const struct rogues *g)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->maze->folk.n_nodes; i++)
        n += maze_at(g->maze, i)->is_rogue;
    return n;
}
