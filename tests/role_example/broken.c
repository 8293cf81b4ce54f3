/* Roles that must be refused: compiled once for each BROKEN, named after what is wrong. */
#include "node/role.h"

enum { ABI = 1, SYMBOL = 2, NAME = 3, STOP = 4, TABLE = 5 };

static int create(struct node_ctx *ctx, const struct conf *conf, void **state, struct cyx_err *err)
{
    (void)ctx, (void)conf, (void)state, (void)err;
    return 0;
}

static int start(void *state, struct cyx_err *err)
{
    (void)state, (void)err;
    return 0;
}

static void stop(void *state, env_fn done, void *arg)
{
    (void)state;
    done(arg);
}

static void destroy(void *state)
{
    (void)state;
}

static const struct conf_item schema[] = {
    { .table = BROKEN == TABLE ? "mesh" : "table", .key = "x", .type = CONF_BOOL, .def = "true" },
    { .key = NULL },
};

#if BROKEN == 2
extern const struct node_role another_symbol;
#define cyx_role another_symbol
#else
extern const struct node_role cyx_role;
#endif
const struct node_role cyx_role = {
    .abi = BROKEN == ABI ? NODE_ROLE_ABI + 1 : NODE_ROLE_ABI,
    .name = BROKEN == NAME    ? "another"
            : BROKEN == ABI   ? "abi"
            : BROKEN == STOP  ? "stop"
            : BROKEN == TABLE ? "table"
                              : "symbol",
    .schema = schema,
    .create = create,
    .start = start,
    .stop = BROKEN == STOP ? NULL : stop,
    .destroy = destroy,
};
