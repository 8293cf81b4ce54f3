#include "node/onion_node.h"

const struct door_ops *node__door_ops(void)
{
    return NULL;
}

int node__onion_open(struct node *n, struct cyx_err *err)
{
    (void)n, (void)err;
    return 0;
}

void node__onion_stop(struct node *n, env_fn done, void *arg)
{
    (void)n;
    done(arg);
}

void node__onion_destroy(struct node *n)
{
    (void)n;
}

void node__onion_metrics(struct node *n, metric_fn fn, void *arg)
{
    (void)n, (void)fn, (void)arg;
}
