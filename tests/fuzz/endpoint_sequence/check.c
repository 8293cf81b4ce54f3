/* What holds at any moment, whatever the input did: the accounts of visits and services, and their
 * bounds. */
#include "onion/service_internal.h"
#include "onion/visit_internal.h"
#include "tests/fuzz/endpoint_sequence/world.h"

static void check_visit(const struct visit *v)
{
    size_t streams = 0, ways = 0;
    list_each (node, &v->streams)
        streams++;
    list_each (node, &v->waiting)
        streams++;
    for (unsigned i = 0; i < VISIT__WAYS; i++)
        ways += v->ways[i].v == v;
    fuzz_must(v->state != VISIT_OVER && v->n_streams <= VISIT__STREAMS &&
              v->flows.n <= ONION__FLOWS);
    if (v->state == VISIT_LEAVING)
        fuzz_must(streams == 0 && v->flows.n == 0 && !v->is_listed);
    else
        fuzz_must(streams == v->n_streams);
    /* It can't stand still: something is under way, or a timer ends it. */
    fuzz_must(ways > 0 || v->fetching != NULL || v->timer.is_set || v->idle.is_set ||
              v->rest.is_set);
}

static void check_service(const struct onion_service *s)
{
    struct onion_conns_info info;
    size_t at_pivots = 0;
    for (unsigned i = 0; i < SERVICE__PERIODS; i++)
        for (unsigned k = 0; k < ONION_PIVOTS_MAX; k++)
            at_pivots += s->periods[i].pivots[k].n_splices;
    onion_conns_info(s->conns, &info);
    fuzz_must(map_len(s->by_wire) == map_len(s->by_number) && at_pivots == map_len(s->by_number));
    fuzz_must(at_pivots <= SERVICE__SPLICES && s->n_visitors <= ONION_CONNS &&
              info.n <= ONION_CONNS && info.n_splices <= at_pivots &&
              info.n_held <= ONION_HELD_ALL);
}

static void check_onion(const struct onion *o)
{
    size_t most = visits__count(o) * VISIT__WAYS;
    list_each (node, &o->all_visits)
        check_visit(container_of(node, struct visit, node));
    list_each (node, &o->services)
        check_service(services__at(node));
    list_each (node, &o->leaving)
        check_service(services__at(node));
    for (const struct list *l = o->services.next; l != &o->services; l = l->next)
        most += (size_t)SERVICE__PERIODS * ONION_PIVOTS_MAX * 2;
    for (const struct list *l = o->leaving.next; l != &o->leaving; l = l->next)
        most += (size_t)SERVICE__PERIODS * ONION_PIVOTS_MAX * 2;
    fuzz_must(map_len(o->visits) <= ONION__VISITS && pivots_paths(o->paths) <= most);
    fuzz_must(o->buffers.rx.used <= o->buffers.rx.max && o->buffers.tx.used <= o->buffers.tx.max);
}

void world_check(void)
{
    for (unsigned i = 0; i < WORLD_NODES; i++)
        if (world_node[i].onion != NULL)
            check_onion(world_node[i].onion);
}
