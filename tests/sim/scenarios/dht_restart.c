/* Every node loses power at one instant and boots again with its disk: all records are there. And
 * what a store does that is full. */
#include "tests/sim/scenarios/city.h"
#include "tests/sim/scenarios/probe.h"
#include "tests/sim/scenarios/shelf.h"

enum {
    PUBLISH_S = 10,
    WAIT_S = 15,         /* a publication or lookup ends within this */
    BACK_S = 30,         /* from the power cut until all know their neighbours again */
    LOOK_S = 20,         /* lookups are spread over this */
    SMALL_STORE = 16384, /* bytes: a source's share holds four records or so */
    SMALL_NODES = 20,
    GREEDY = 30, /* records of one source */
    OTHERS = 90, /* records of all others together: more than a store holds */
};

/* Each record through another node than the last one. */
static void look_for_all(struct sim_run *r, struct city *c, struct shelf *s, struct tally *t)
{
    for (uint32_t i = 0; i < s->n_records; i++) {
        struct city_node *by = city_draw(c);
        if (by != NULL)
            shelf_look(s, i, by, t);
        city_pass(c, r, sim_now(c->w) + SIM_S(LOOK_S) / s->n_records);
    }
    city_pass(c, r, sim_now(c->w) + SIM_S(WAIT_S));
}

/* ---- the power cut ---- */

static void restart(struct sim_run *r, struct cards *cards)
{
    struct city_options o = city_options_of(r, cards);
    struct tally before = { 0 }, after = { 0 };
    uint64_t held, held_again;
    uint32_t nodes;
    struct city *c = city_create(&o);
    struct shelf *s = shelf_create(c, 0, (uint32_t)run_arg(r, "records"));
    city_settle(c, r);
    shelf_publish_all(s, SIM_S(PUBLISH_S), SHELF_ONCE);
    city_pass(c, r, sim_now(c->w) + SIM_S(PUBLISH_S + WAIT_S));
    look_for_all(r, c, s, &before);
    city_held(c, MESH_RECORD_PROVIDER, &held, &nodes);
    city_restart(c);
    city_pass(c, r, sim_now(c->w) + SIM_S(BACK_S));
    city_held(c, MESH_RECORD_PROVIDER, &held_again, &nodes);
    look_for_all(r, c, s, &after);
    tally_report_brief(r, &before, "before", "before");
    tally_report_brief(r, &after, "after", "after the power cut");
    run_figure(r, "held", "copies held before", held, "");
    run_figure(r, "held_again", "copies held after", held_again, "");
    run_check(r, before.found == s->n_records, "before: %u of %u records found",
              (unsigned)before.found, s->n_records);
    run_check(r, after.found == s->n_records, "after the power cut: %u of %u records found",
              (unsigned)after.found, s->n_records);
    run_check(r, held_again >= held, "%u copies were on disk, %u came back", (unsigned)held,
              (unsigned)held_again);
    city_check(c, r);
    run_hash(r, c->w);
    city_destroy(c);
    shelf_destroy(s);
    tally_fini(&before);
    tally_fini(&after);
}

/* ---- full stores ---- */

static uint64_t fullest(const struct city *c, uint64_t *most)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < c->folk.n_nodes; i++) {
        struct dht_stats st;
        if (!city_at(c, i)->base.is_started)
            continue;
        dht_get_stats(city_at(c, i)->dht, &st);
        bytes = st.stored_bytes > bytes ? st.stored_bytes : bytes;
        *most = st.store_max;
    }
    return bytes;
}

/* One source stores more than its share, then all others more than there is room for. */
static void fill_up(struct sim_run *r, struct city *c, struct shelf *s)
{
    uint64_t most = 0;
    struct city_node *greedy = city_draw(c);
    if (!run_check(r, greedy != NULL, "no node is ready"))
        return;
    for (uint32_t i = 0; i < GREEDY; i++) {
        shelf_publish(s, i, greedy, SHELF_ONCE);
        city_pass(c, r, sim_now(c->w) + SIM_S(1));
    }
    city_pass(c, r, sim_now(c->w) + SIM_S(WAIT_S));
    uint64_t refused = s->puts.refused;
    uint64_t quota = city_metric(c, "cyx_dht_offers_total", "quota");
    uint64_t evicted = city_metric(c, "cyx_dht_store_evicted_total", NULL);
    for (uint32_t i = GREEDY; i < s->n_records; i++) {
        struct city_node *by = city_draw(c);
        if (by != NULL && by != greedy)
            shelf_publish(s, i, by, SHELF_ONCE);
        city_pass(c, r, sim_now(c->w) + SIM_S(1));
    }
    city_pass(c, r, sim_now(c->w) + SIM_S(WAIT_S));
    uint64_t evicted_later = city_metric(c, "cyx_dht_store_evicted_total", NULL) - evicted;
    uint64_t bytes = fullest(c, &most);
    run_figure(r, "greedy_refused", "full: STOREs of one source refused", refused, "");
    run_figure(r, "quota", "full: ... as the stores counted", quota, "");
    run_figure(r, "evicted", "full: records that gave way", evicted_later, "");
    run_figure(r, "fullest_bytes", "full: fullest store", bytes, "bytes");
    run_check(r, refused > 0 && quota > 0, "one source: %u refused, %u by quota", (unsigned)refused,
              (unsigned)quota);
    run_check(r, evicted_later > 0, "full stores: nothing gave way");
    run_check(r, bytes <= most, "a store of %u bytes holds %u", (unsigned)most, (unsigned)bytes);
}

static void full(struct sim_run *r, struct cards *cards)
{
    struct city_options o = city_options_of(r, cards);
    o.nodes = SMALL_NODES;
    o.store_bytes = SMALL_STORE;
    struct city *c = city_create(&o);
    struct shelf *s = shelf_create(c, 0, GREEDY + OTHERS);
    city_settle(c, r);
    fill_up(r, c, s);
    city_check(c, r);
    run_hash(r, c->w);
    city_destroy(c);
    shelf_destroy(s);
}

static void run(struct sim_run *r)
{
    if (!run_check(r, run_arg(r, "contacts") < run_arg(r, "nodes"), "more nodes than contacts"))
        return;
    struct cards *cards = cards_create(run_seed(r));
    restart(r, cards);
    full(r, cards);
    cards_destroy(cards);
}

static const struct sim_param params[] = {
    { "nodes", 40, 10, 50000, "nodes" },
    { "records", 40, 1, 10000, "records published" },
    CITY_PARAMS,
    { 0 },
};

extern const struct sim_scenario scenario_dht_restart;
const struct sim_scenario scenario_dht_restart = {
    .name = "dht-restart",
    .help = "a power cut everywhere loses no record; full stores refuse and evict by the rules",
    .params = params,
    .run = run,
};
