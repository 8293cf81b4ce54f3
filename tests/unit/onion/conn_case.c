#include "conn_case.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(onion_conn_paths, .timeout = 60);

void conn_serve_nothing(struct pair *p, struct pair_end *e)
{
    (void)p;
    e->ends = false;
}

void conn_serve_1000(struct pair *p, struct pair_end *e)
{
    e->to_send = 1000;
    pair_serve_pattern(p, e);
}

struct onion_early conn_early_of(struct pair *p)
{
    struct onion_early e;
    cr_assert_eq(onion_conn_early(p->client, &e), 0);
    return e;
}

void conn_inject_early(struct pair *p, const struct onion_early *e, uint32_t splice)
{
    struct pair_cell c = { .len = e->len, .kind = e->kind, .to_service = true };
    memcpy(c.bytes, e->bytes, e->len);
    pair_inject(p, &c, splice);
    pair_run(p, 1);
}

struct pair *conn_open_pair(struct pair_end **e)
{
    struct pair *p = pair_create();
    p->serve = conn_serve_nothing;
    pair_connect(p);
    *e = pair_open(p, 80, 100);
    (*e)->ends = false;
    pair_up(p, 1);
    cr_assert(pair_until(p, &p->service_open, 2000));
    pair_run(p, 300);
    return p;
}
