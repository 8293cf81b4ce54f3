/* A share of the nodes lies, in one way after another, about records of its own each time; then, in
 * a city of their own, Sybils surround a key. All of it twice: with the defences, and as Kademlia
 * was in 2002. */
#include "tests/sim/scenarios/city.h"
#include "tests/sim/scenarios/eclipse.h"
#include "tests/sim/scenarios/liar.h"
#include "tests/sim/scenarios/shelf.h"

enum {
    PUBLISH_S = 10,
    WAIT_S = 15,         /* a publication or lookup ends within this */
    TURN_S = 2,          /* all liars lie by then */
    FLOOD_S = 30,        /* junk comes in for so long before it counts */
    LOOK_S = 20,         /* lookups are spread over this */
    LOOKUPS_EACH = 3,    /* no more than so many for a node: small runs stay short */
    FLOOD_STORE = 32768, /* bytes of a store that is to be flooded */
    PERCENT_MAX = 20,    /* liars that must not hurt */
};

struct outcome {
    struct tally looks;
    struct put_tally puts;
    struct gang_counters lies;
    uint64_t fullest_percent; /* of a store's bytes */
};

static uint32_t at_most(uint64_t a, uint64_t b)
{
    return (uint32_t)(a < b ? a : b);
}

static bool floods(enum liar_kind kind)
{
    return kind == LIAR_FLOOD || kind == LIAR_MIXTURE;
}

/* The flood first: those who flood answer honestly, which liars never do again. Its junk stays in
 * the stores. */
static const enum liar_kind in_turn[LIAR_KINDS_] = { LIAR_FLOOD, LIAR_FAKE,    LIAR_WITHHOLD,
                                                     LIAR_STALE, LIAR_ENDLESS, LIAR_MIXTURE };

static void note_stores(const struct city *c, struct outcome *out)
{
    for (uint32_t i = 0; i < c->folk.n_nodes; i++) {
        struct dht_stats st;
        if (city_at(c, i)->is_liar || !city_at(c, i)->base.is_started)
            continue;
        dht_get_stats(city_at(c, i)->dht, &st);
        uint64_t percent = st.store_max > 0 ? 100 * st.stored_bytes / st.store_max : 0;
        if (percent > out->fullest_percent)
            out->fullest_percent = percent;
    }
}

static void publish(struct sim_run *r, struct city *c, struct shelf *s)
{
    shelf_publish_all(s, SIM_S(PUBLISH_S), SHELF_ONCE);
    city_pass(c, r, sim_now(c->w) + SIM_S(PUBLISH_S + WAIT_S));
}

/* First versions are published before they lie in this way, second ones while they do. */
static struct gang *attack(struct sim_run *r, struct city *c, struct shelf *s, enum liar_kind kind,
                           struct outcome *out)
{
    publish(r, c, s);
    struct gang *g = gang_create(c, s);
    gang_turn(g, kind);
    city_pass(c, r, sim_now(c->w) + SIM_S(floods(kind) ? FLOOD_S : TURN_S));
    publish(r, c, s);
    uint64_t from = sim_now(c->w);
    shelf_look_often(s, at_most(run_arg(r, "lookups"), LOOKUPS_EACH * c->o.nodes), from,
                     from + SIM_S(LOOK_S), &out->looks, NULL);
    city_pass(c, r, from + SIM_S(LOOK_S + WAIT_S));
    out->lies = gang_counted(g);
    note_stores(c, out);
    out->puts = s->puts;
    s->puts = (struct put_tally){ .asked = 0 };
    return g;
}

/* The same nodes, and the same liars among them, for all kinds. */
static void once(struct sim_run *r, struct cards *cards, bool is_plain,
                 struct outcome out[static LIAR_KINDS_])
{
    struct city_options o = city_options_of(r, cards);
    struct gang *gangs[LIAR_KINDS_];
    struct shelf *shelves[LIAR_KINDS_];
    o.liars = (uint32_t)(o.nodes * run_arg(r, "liars") / 100);
    o.is_plain = is_plain;
    o.store_bytes = FLOOD_STORE;
    struct city *c = city_create(&o);
    uint32_t records = at_most(run_arg(r, "records"), o.nodes);
    city_settle(c, r);
    for (uint32_t i = 0; i < LIAR_KINDS_; i++) {
        out[in_turn[i]] = (struct outcome){ .fullest_percent = 0 };
        shelves[i] = shelf_create(c, i * records, records);
        gangs[i] = attack(r, c, shelves[i], in_turn[i], &out[in_turn[i]]);
    }
    city_check(c, r);
    run_hash(r, c->w);
    city_destroy(c);
    for (uint32_t i = 0; i < LIAR_KINDS_; i++) {
        gang_destroy(gangs[i]);
        shelf_destroy(shelves[i]);
    }
}

static void report(struct sim_run *r, const struct outcome *out, enum liar_kind kind, bool is_plain)
{
    const char *key = run_text(r, "%s%s", is_plain ? "plain_" : "", liar_name(kind));
    const char *label = run_text(r, "%s%s", is_plain ? "plain, " : "", liar_name(kind));
    tally_report_brief(r, &out->looks, key, label);
    run_figure(r, run_text(r, "%s_puts_stored", key),
               run_text(r, "%s: publications done of %u", label, (unsigned)out->puts.asked),
               out->puts.stored, "");
    if (!floods(kind))
        return;
    run_figure(r, run_text(r, "%s_junk", key), run_text(r, "%s: junk STOREs", label),
               out->lies.junk, "");
    run_figure(r, run_text(r, "%s_junk_taken", key), run_text(r, "%s: junk taken", label),
               out->lies.junk_taken, "");
    run_figure(r, run_text(r, "%s_fullest", key), run_text(r, "%s: fullest store", label),
               out->fullest_percent, "%");
}

static void judge(struct sim_run *r, const struct outcome *out, enum liar_kind kind)
{
    if (run_arg(r, "liars") <= PERCENT_MAX)
        tally_check(r, &out->looks, 990, liar_name(kind));
    if (kind != LIAR_FLOOD && run_arg(r, "liars") > 0)
        run_check(r, out->lies.finds > 0, "%s: nobody was lied to", liar_name(kind));
}

static void run(struct sim_run *r)
{
    uint64_t nodes = run_arg(r, "nodes");
    struct outcome out[2][LIAR_KINDS_]; /* with the defences, plain */
    if (!run_check(r, run_arg(r, "contacts") + nodes * run_arg(r, "liars") / 100 < nodes,
                   "more nodes than contacts and liars"))
        return;
    struct cards *cards = cards_create(run_seed(r));
    for (unsigned plain = 0; plain < 2; plain++)
        once(r, cards, plain != 0, out[plain]);
    for (unsigned kind = 0; kind < LIAR_KINDS_; kind++)
        for (unsigned plain = 0; plain < 2; plain++) {
            report(r, &out[plain][kind], (enum liar_kind)kind, plain != 0);
            if (plain == 0)
                judge(r, &out[plain][kind], (enum liar_kind)kind);
            tally_fini(&out[plain][kind].looks);
            put_tally_fini(&out[plain][kind].puts);
        }
    eclipse_run(r, cards);
    cards_destroy(cards);
}

static const struct sim_param params[] = {
    { "nodes", 200, 20, 50000, "nodes of each city" },
    { "liars", 20, 0, 90, "percent of the nodes that lie" },
    { "sybils", 200, 1, 10000, "Sybils around a key (fewer among less than 100 nodes)" },
    { "prefixes", 10, 1, 10000, "/24s they live in" },
    { "grind", 50, 1, 1000, "ids tried for each of them" },
    { "records", 50, 1, 10000, "records published (at most one for each node)" },
    { "lookups", 500, 10, 1000000, "lookups of each kind" },
    CITY_PARAMS,
    { 0 },
};

extern const struct sim_scenario scenario_dht_liars;
const struct sim_scenario scenario_dht_liars = {
    .name = "dht-liars",
    .help = "records are found among nodes that lie, flood, or surround a key",
    .params = params,
    .run = run,
};
