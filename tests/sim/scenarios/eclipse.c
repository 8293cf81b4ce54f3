#include "tests/sim/scenarios/eclipse.h"

#include <stdlib.h>
#include <string.h>

#include "tests/sim/scenarios/city.h"
#include "tests/sim/scenarios/liar.h"
#include "tests/sim/scenarios/shelf.h"

enum {
    NEAREST = 16,     /* stores of a record */
    COME_S = 20,      /* Sybils join within it, */
    SETTLE_S = 60,    /* ... and get into honest tables for so long */
    TURN_S = 2,       /* they lie by then */
    PUT_S = 20,       /* a publication ends within this */
    LOOK_S = 30,      /* lookups are spread over this */
    WAIT_S = 20,      /* ... and end within this */
    LOOKUPS_EACH = 3, /* no more than so many for a node, */
    SMALL = 100,      /* ... and with fewer nodes than this a quarter as many Sybils and tries */
};

struct outcome {
    uint32_t sybils, holders, in_the_way; /* in_the_way: Sybils before the nearest honest node */
    uint32_t honest_nearer;               /* than the 16th Sybil */
    struct tally looks;
    struct put_tally puts;
};

/* ---- finding ids near a key ---- */

struct tried {
    struct card card;
    const uint8_t *key;
};

static int by_distance(const void *a, const void *b)
{
    const struct tried *x = a;
    const struct tried *y = b;
    return dht_id_compare(x->key, x->card.id, y->card.id);
}

/* The `keep` nearest of all that were tried. Freed by the caller. */
static struct tried *grind(struct cards *cards, const uint8_t *key, uint32_t tries)
{
    struct tried *t = calloc(tries, sizeof *t);
    if (t == NULL)
        abort();
    for (uint32_t i = 0; i < tries; i++)
        t[i] = (struct tried){ .card = cards_get(cards, CARD_SYBIL, i), .key = key };
    qsort(t, tries, sizeof *t, by_distance);
    return t;
}

static void bring_sybils(struct city *c, const struct tried *t, uint32_t n, uint32_t prefixes)
{
    for (uint32_t i = 0; i < n; i++) {
        struct env_addr addr = env_addr_v4(180, (uint8_t)((i % prefixes) >> 8),
                                           (uint8_t)(i % prefixes), (uint8_t)(1 + i / prefixes), 0);
        uint64_t at = sim_now(c->w) + SIM_S(COME_S) * i / n;
        city_add(c, &t[i].card, &addr, at)->is_liar = true;
    }
}

/* How honest nodes and Sybils lie around the key. */
static void survey(const struct city *c, const uint8_t *key, const struct tried *t,
                   struct outcome *out)
{
    const uint8_t *last = t[out->sybils < NEAREST ? out->sybils - 1 : NEAREST - 1].card.id;
    const uint8_t *nearest = city_at(c, 0)->base.card.id;
    for (uint32_t i = 0; i < c->folk.n_nodes; i++) {
        const struct city_node *me = city_at(c, i);
        if (me->is_liar)
            continue;
        out->honest_nearer += dht_id_is_nearer(key, me->base.card.id, last);
        if (dht_id_is_nearer(key, me->base.card.id, nearest))
            nearest = me->base.card.id;
    }
    for (uint32_t i = 0; i < out->sybils; i++)
        out->in_the_way += dht_id_is_nearer(key, t[i].card.id, nearest);
}

/* ---- one city ---- */

static uint32_t at_most(uint64_t a, uint64_t b)
{
    return (uint32_t)(a < b ? a : b);
}

static void attack(struct sim_run *r, struct city *c, struct shelf *s, struct gang *g,
                   struct outcome *out)
{
    uint64_t stored;
    uint32_t lookups = at_most(run_arg(r, "lookups"), LOOKUPS_EACH * c->o.nodes);
    struct city_node *by = city_draw(c);
    gang_turn(g, LIAR_WITHHOLD);
    city_pass(c, r, sim_now(c->w) + SIM_S(TURN_S));
    if (by != NULL)
        shelf_publish(s, 0, by, SHELF_ONCE);
    city_pass(c, r, sim_now(c->w) + SIM_S(PUT_S));
    city_held(c, MESH_RECORD_PROVIDER, &stored, &out->holders);
    uint64_t from = sim_now(c->w);
    shelf_look_often(s, lookups, from, from + SIM_S(LOOK_S), &out->looks, NULL);
    city_pass(c, r, from + SIM_S(LOOK_S + WAIT_S));
}

static void once(struct sim_run *r, struct cards *cards, bool is_plain, struct outcome *out)
{
    struct city_options o = city_options_of(r, cards);
    uint32_t most = o.nodes < SMALL ? o.nodes / 4 : UINT32_MAX;
    uint32_t tries = at_most(run_arg(r, "grind"), most);
    *out = (struct outcome){ .sybils = at_most(run_arg(r, "sybils"), most) };
    o.nodes_max = o.nodes + out->sybils;
    o.is_plain = is_plain;
    struct city *c = city_create(&o);
    struct shelf *s = shelf_create(c, 0, 1);
    const uint8_t *key = s->records[0].place;
    struct tried *t = grind(cards, key, out->sybils * tries);
    city_settle(c, r);
    bring_sybils(c, t, out->sybils, (uint32_t)run_arg(r, "prefixes"));
    city_pass(c, r, sim_now(c->w) + SIM_S(COME_S + SETTLE_S));
    survey(c, key, t, out);
    struct gang *g = gang_create(c, s);
    attack(r, c, s, g, out);
    city_check(c, r);
    run_hash(r, c->w);
    city_destroy(c);
    gang_destroy(g);
    out->puts = s->puts;
    s->puts = (struct put_tally){ .asked = 0 };
    shelf_destroy(s);
    free(t);
}

/* ---- both ---- */

static void report(struct sim_run *r, const struct outcome *out, bool is_plain)
{
    const char *key = is_plain ? "plain_eclipse" : "eclipse";
    const char *label = is_plain ? "plain, eclipse" : "eclipse";
    run_figure(r, run_text(r, "%s_sybils", key), run_text(r, "%s: Sybils", label), out->sybils, "");
    run_figure(r, run_text(r, "%s_in_the_way", key),
               run_text(r, "%s: nearer than any honest node", label), out->in_the_way, "");
    run_figure(r, run_text(r, "%s_honest_nearer", key),
               run_text(r, "%s: honest, before the 16th Sybil", label), out->honest_nearer, "");
    run_figure(r, run_text(r, "%s_stored", key), run_text(r, "%s: publications done", label),
               out->puts.stored, "");
    run_figure(r, run_text(r, "%s_holders", key),
               run_text(r, "%s: honest nodes that hold it", label), out->holders, "");
    tally_report_brief(r, &out->looks, key, label);
}

void eclipse_run(struct sim_run *r, struct cards *cards)
{
    for (unsigned is_plain = 0; is_plain < 2; is_plain++) {
        struct outcome out;
        once(r, cards, is_plain != 0, &out);
        report(r, &out, is_plain != 0);
        if (!is_plain) {
            tally_check(r, &out.looks, 990, "a key among Sybils");
            run_check(r, out.puts.stored == 1 && out.holders > 0,
                      "a record for a key among Sybils: %u honest nodes hold it", out.holders);
        }
        tally_fini(&out.looks);
        put_tally_fini(&out.puts);
    }
}
