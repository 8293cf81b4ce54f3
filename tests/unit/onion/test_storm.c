/* Everything that can happen to a visit and a service, in any order, from a seed: dials, resets,
 * paths that are cut, nodes that are cut off, services that end and come back, a node that stops.
 * What must hold: each stream hears of its end once, nothing is left when all is over, and then it
 * works as if nothing had been. */
#include "guest.h"
#include "onion/ask_internal.h"
#include "onion/path_internal.h"
#include "onion/service_internal.h"
#include "onion/visit_internal.h"

enum { RELAYS = 8, SERVICE = 8, USER = 9, GUESTS = 48, STEPS = 150 };

static struct towns t;
static struct inn inn;
static struct guest guests[GUESTS];
static unsigned n_guests;

static unsigned below(unsigned n)
{
    return (unsigned)sim_random_below(t.few.world, n);
}

static void dial(void)
{
    if (n_guests == GUESTS)
        return;
    struct guest *g = &guests[n_guests++];
    g->keeps_open = below(2) != 0;
    g->waits = below(3) == 0;
    g->tag = (uint8_t)below(3);
    guest_dial(g, &t, USER, below(8) == 0 ? 81 : 80, below(40000));
    if (g->code != 0)
        g->closed++; /* it was refused */
}

static struct guest *some_guest(void)
{
    struct guest *g = n_guests > 0 ? &guests[below(n_guests)] : NULL;
    return g != NULL && g->s != NULL ? g : NULL;
}

/* A path of a node, whatever it is for. */
static void cut_one(void *arg)
{
    struct onion *o = arg;
    size_t n = onion_paths_count(o->paths), skip = n > 0 ? below((unsigned)n) : 0;
    list_each (node, &o->paths->all) {
        struct onion_path *path = container_of(node, struct onion_path, node);
        if (skip-- > 0)
            continue;
        if (path->state == PATH_OPEN)
            path__end(path, (enum onion_path_end)below(ONION_PATH_OLD + 1));
        else
            path__failed(path, &(struct onion_path_built){ .code = CYX_EREFUSED,
                                                           .hop = path->route.n_hops - 1,
                                                           .status = (uint8_t)(1 + below(8)),
                                                           .effort = below(3) });
        return;
    }
}

static void cut(unsigned node)
{
    if (t.at[node].onion != NULL)
        few_in(&t.few.node[node], cut_one, t.at[node].onion);
}

static void blink(unsigned node)
{
    sim_node_set_group(t.few.node[node].sim, 7);
    towns_run_ms(&t, below(3000));
    sim_heal(t.few.world);
}

static void restart_service(void)
{
    if (inn.s != NULL)
        inn_close(&inn);
    towns_run_ms(&t, below(500));
    inn_open(&inn, &t, SERVICE);
}

static void one_thing(void)
{
    struct guest *g;
    switch (below(16)) {
    case 0 ... 5:
        dial();
        break;
    case 6:
    case 7:
        g = some_guest();
        if (g != NULL) {
            guest_reset(g);
            g->closed++;
        }
        break;
    case 8:
        g = some_guest();
        if (g != NULL)
            guest_send(g, below(5000));
        break;
    case 9 ... 11:
        cut(USER);
        break;
    case 12:
    case 13:
        cut(SERVICE);
        break;
    case 14:
        blink(below(2) != 0 ? USER : below(RELAYS));
        break;
    default:
        if (below(4) == 0)
            restart_service();
        break;
    }
    towns_run_ms(&t, below(300));
}

static void reset_all(void)
{
    for (unsigned i = 0; i < n_guests; i++) {
        if (guests[i].s == NULL)
            continue;
        guest_reset(&guests[i]);
        guests[i].closed++;
    }
}

static bool is_quiet(void *arg)
{
    (void)arg;
    return visits__count(t.at[USER].onion) == 0 && inn.s->n_streams == 0 &&
           inn.s->n_visitors == 0 && t.at[USER].onion->asks->n_all == 0;
}

static void storm(uint64_t seed, const struct sim_link *link)
{
    memset(&inn, 0, sizeof inn);
    memset(guests, 0, sizeof guests);
    n_guests = 0;
    towns_init(&t, RELAYS, 2, seed, link);
    inn_open(&inn, &t, SERVICE);
    inn_wait(&inn, 20000);
    for (unsigned i = 0; i < STEPS; i++)
        one_thing();
    reset_all();
    for (unsigned i = 0; i < n_guests; i++)
        cr_expect_eq(guests[i].closed, 1u, "seed %u: guest %u ended %u times, code %d, %s",
                     (unsigned)seed, i, guests[i].closed, guests[i].code,
                     onion_fail_text(guests[i].why));
    cr_expect(towns_until(&t, 130000, is_quiet, NULL),
              "seed %u: %zu visits, %zu streams, %zu visitors", (unsigned)seed,
              visits__count(t.at[USER].onion), inn.s->n_streams, inn.s->n_visitors);
    towns_run_ms(&t, 1000 + ONION_HELD_MS); /* a last word is said twice */
    cr_expect_eq(map_len(inn.s->by_number), 0u, "seed %u: %zu splices are left", (unsigned)seed,
                 map_len(inn.s->by_number));
    struct onion_conns_info info;
    onion_conns_info(inn.s->conns, &info);
    cr_expect_eq(info.n_splices, 0u, "seed %u: %zu splices wait", (unsigned)seed, info.n_splices);
    static struct guest last;
    for (unsigned i = 0; i < 2; i++) {
        memset(&last, 0, sizeof last);
        guest_dial(&last, &t, USER, 80, 1000);
        cr_assert(towns_until(&t, 70000, guest_is_over, &last));
    }
    cr_expect_eq(last.why, ONION_FAIL_NONE, "seed %u: %s", (unsigned)seed,
                 onion_fail_text(last.why));
    towns_fini(&t);
}

Test(onion_storm, whatever_happens_every_stream_ends_once_and_nothing_is_left)
{
    for (uint64_t seed = 1; seed <= 8; seed++)
        storm(seed, NULL);
}

Test(onion_storm, nor_with_other_seeds)
{
    for (uint64_t seed = 100; seed <= 107; seed++)
        storm(seed, NULL);
}

Test(onion_storm, nor_where_packets_are_lost_and_overtake_each_other)
{
    static const struct sim_link lossy = { .latency_min_us = 5000,
                                           .latency_max_us = 30000,
                                           .jitter_us = 2000,
                                           .loss_ppm = 20000,
                                           .reorder_ppm = 10000,
                                           .reorder_us = 30000,
                                           .duplicate_ppm = 5000 };
    for (uint64_t seed = 1; seed <= 8; seed++)
        storm(seed, &lossy);
}
