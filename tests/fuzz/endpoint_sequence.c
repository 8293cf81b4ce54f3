/* Sequences of events for a visit and a service, both real from the descriptor to the streams: what
 * pivots, relays and stores do, what users do (inside their callbacks, too), crashes, stops, time.
 * Below them stands a small honest world (tests/fuzz/endpoint_sequence) that lies when the input
 * says so. Whatever the order: no stream brings other bytes than were sent, nobody is told twice,
 * all bounds hold, nothing is left at the end. The world is the same at every input, so a crash
 * replays by itself. */
#include "mesh/mesh_internal.h"
#include "onion/service_internal.h"
#include "tests/fuzz/endpoint_sequence/world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum {
    OPS_MAX = 200,
    LATENCY_US = 5000, /* nothing travels over the world's own links */
    READY_MS = 150,
    QUIET_MS = 135000,
    LONG_MS_MAX = 900000, /* of one input: each second has its ticks */
    HALF_DAY_MS = 43200000,
};

struct fuzz_node world_fuzz[WORLD_NODES];
struct world_node world_node[WORLD_NODES] = { { .fuzz = &world_fuzz[0] },
                                              { .fuzz = &world_fuzz[1] } };
struct mesh_network world_net;
struct sim_world *world;
static uint8_t how; /* of the whole input */
static unsigned half_days;
static uint64_t long_ms;

/* ---- the nodes --------------------------------------------------------------------------------
 */

static void boot(void *arg, struct sim_node *s)
{
    struct fuzz_node *f = arg;
    struct world_node *n = &world_node[f->number];
    const struct onion_config config = { .hops = how & 0x80 ? 5 : 0 };
    f->mesh = mesh_create(sim_node_env(s), &f->config, NULL);
    fuzz_must(f->mesh != NULL);
    n->onion = onion_create(f->mesh, NULL, &config, NULL);
    fuzz_must(n->onion != NULL && onion_start(n->onion, NULL) == 0);
    if (f->number == WORLD_SERVICE)
        talk_serve(n->onion);
}

static void drop(void *arg, struct sim_node *s)
{
    struct fuzz_node *f = arg;
    struct world_node *n = &world_node[f->number];
    (void)s;
    onion_destroy(n->onion);
    n->onion = NULL;
    talk_gone(f->number);
    mesh_destroy(f->mesh);
    f->mesh = NULL;
}

/* ---- events -----------------------------------------------------------------------------------
 */

struct event {
    struct world_node *me;
    struct reader *in;
};

static void run_ms(uint64_t ms)
{
    sim_run_until(world, sim_now(world) + SIM_MS(ms));
}

static void path(struct event *e)
{
    pivots_event(e->me->onion->paths, e->in);
}

static void inject(struct event *e)
{
    pivots_inject(e->me->onion->paths, e->in);
}

static void again(struct event *e)
{
    pivots_again(e->me->onion->paths, e->in);
}

static void reseal(struct event *e)
{
    stores_reseal(e->me->onion, e->in);
}

static void dial(struct event *e)
{
    talk_dial(e->me->onion, e->in);
}

static void guest(struct event *e)
{
    talk_guest(e->in);
}

static void host(struct event *e)
{
    talk_host(e->in);
}

static void flow(struct event *e)
{
    flows_event(e->me->onion, e->in);
}

static void why(struct event *e)
{
    flows_why(e->me->onion, e->in);
}

static void service(struct event *e)
{
    talk_service(e->me->onion, e->in);
}

static void user_stopped(void *arg)
{
    (void)arg;
}

static void service_stopped(void *arg)
{
    (void)arg;
    talk_gone(WORLD_SERVICE);
}

/* Twice is once: the last `done` counts. */
static void stop(struct event *e)
{
    bool is_user = e->me == &world_node[WORLD_USER];
    if (reader_u8(e->in) >= 0xc0)
        onion_stop(e->me->onion, is_user ? user_stopped : service_stopped, NULL);
}

struct kind {
    void (*fn)(struct event *e);
    unsigned node;
};

/* Events that happen inside a node's turn. */
static const struct kind inside[] = {
    { path, WORLD_USER },      { path, WORLD_SERVICE },    { inject, WORLD_USER },
    { inject, WORLD_SERVICE }, { again, WORLD_USER },      { again, WORLD_SERVICE },
    { reseal, WORLD_SERVICE }, { dial, WORLD_USER },       { guest, WORLD_USER },
    { host, WORLD_SERVICE },   { flow, WORLD_USER },       { flow, WORLD_SERVICE },
    { why, WORLD_USER },       { service, WORLD_SERVICE }, { stop, WORLD_USER },
    { stop, WORLD_SERVICE },
};
enum { INSIDE = sizeof inside / sizeof inside[0] };

static const struct kind *entered;

static void enter(void *arg)
{
    struct event *e = arg;
    entered->fn(e);
}

static void inside_of(unsigned which, struct reader *in)
{
    entered = &inside[which % INSIDE];
    struct event e = { .me = &world_node[entered->node], .in = in };
    sim_node_enter(e.me->fuzz->sim, enter, &e);
    run_ms(0);
}

/* Clocks go on by half a day, and the users say that they are right: periods change. */
static void half_day(void)
{
    if (half_days == 6)
        return;
    half_days++;
    for (unsigned i = 0; i < WORLD_NODES; i++) {
        sim_node_set_skew(world_fuzz[i].sim, (int64_t)half_days * HALF_DAY_MS);
        if (world_fuzz[i].mesh != NULL)
            nettime_accept(&world_fuzz[i].mesh->time);
    }
}

static void long_time(uint64_t ms)
{
    if (long_ms + ms > LONG_MS_MAX)
        return;
    long_ms += ms;
    run_ms(ms);
}

/* 0 to 15 are events inside, 16 and more act on the world. */
static void outside(unsigned which, struct reader *in)
{
    switch (which) {
    case INSIDE:
    case INSIDE + 1:
        run_ms(1 + reader_u8(in));
        break;
    case INSIDE + 2:
        long_time(500 * (1 + (uint64_t)reader_u8(in)));
        break;
    case INSIDE + 3:
        pivots_verdict(in);
        break;
    case INSIDE + 4:
        pivots_mood(in);
        break;
    case INSIDE + 5:
        relays_mood(in);
        break;
    case INSIDE + 6:
        stores_mood(in);
        break;
    default:
        if (reader_u8(in) & 1)
            half_day();
        else
            fuzz_node_power(&world_fuzz[reader_u8(in) % WORLD_NODES]);
        break;
    }
}

static void step(struct reader *in)
{
    uint8_t op = reader_u8(in);
    unsigned which = op % (INSIDE + 8);
    if (which < INSIDE)
        inside_of(which, in);
    else
        outside(which, in);
    world_check();
}

/* ---- the end ----------------------------------------------------------------------------------
 */

static void leave(void *arg)
{
    (void)arg;
    talk_leave();
}

/* Nobody wants anything any more, and nobody lies: all connections end by themselves. */
static void wind_down(void)
{
    static const uint8_t honest[2];
    struct reader zeros = reader_on(honest, sizeof honest);
    pivots_mood(&zeros);
    sim_node_enter(world_fuzz[WORLD_USER].sim, leave, NULL);
    run_ms(QUIET_MS);
    world_check();
    if (world_node[WORLD_USER].onion != NULL)
        fuzz_must(visits__count(world_node[WORLD_USER].onion) == 0);
    if (talk_the_service() != NULL)
        fuzz_must(talk_the_service()->n_visitors == 0 && talk_the_service()->n_streams == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct reader in = reader_on(data, len);
    if (world_fuzz[0].identity == NULL)
        (void)fuzz_nodes_make(world_fuzz, WORLD_NODES, &world_net);
    how = reader_u8(&in);
    half_days = 0;
    long_ms = 0;
    pivots_begin();
    relays_begin();
    stores_begin();
    talk_begin(how);
    world = fuzz_nodes_begin(world_fuzz, WORLD_NODES, LATENCY_US, boot, drop);
    run_ms(READY_MS);
    for (unsigned i = 0; i < OPS_MAX && reader_left(&in) > 0; i++) {
        step(&in);
        in.bad = false;
    }
    run_ms(300);
    wind_down();
    sim_destroy(world);
    pivots_end();
    world = NULL;
    return 0;
}
