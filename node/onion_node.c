#include "node/onion_node.h"

#include "base/log.h"

static const struct door_ops ops = { .dial = onion_dial,
                                     .write = onion_stream_write,
                                     .consumed = onion_stream_consumed,
                                     .end = onion_stream_end,
                                     .reset = onion_stream_reset,
                                     .attach = onion_stream_attach,
                                     .accept = onion_stream_accept,
                                     .refuse = onion_stream_refuse,
                                     .flow_open = onion_flow_open,
                                     .flow_send = onion_flow_send,
                                     .flow_close = onion_flow_close,
                                     .flow_attach = onion_flow_attach,
                                     .serve = onion_serve,
                                     .service_info = onion_service_info,
                                     .service_close = onion_service_close,
                                     .client_key_set = onion_client_key_set,
                                     .why = onion_why,
                                     .why_cancel = onion_why_cancel,
                                     .status = onion_get_status,
                                     .paths_each = onion_paths_each,
                                     .fail_text = onion_fail_text,
                                     .fail_name = onion_fail_name,
                                     .stage_name = onion_stage_name };

const struct door_ops *node__door_ops(void)
{
    return &ops;
}

int node__onion_open(struct node *n, struct cyx_err *err)
{
    const struct onion_config c = { .is_relay = n->config.endpoints.is_relay,
                                    .hops = n->config.endpoints.hops };
    /* Paths begin on worker 0 and end on any other's links; without a roster there is nothing to
     * choose from. */
    if (n->config.workers > 1 || dht_roster_of(n->dht) == NULL) {
        log_info(n->log, "onion", "off: hidden endpoints need workers = 1 and a roster");
        return 0;
    }
    n->onion = onion_create(node_mesh(n), n->dht, &c, err);
    return n->onion != NULL ? onion_start(n->onion, err) : err->code;
}

void node__onion_stop(struct node *n, env_fn done, void *arg)
{
    if (n->onion != NULL)
        onion_stop(n->onion, done, arg);
    else
        done(arg);
}

void node__onion_destroy(struct node *n)
{
    onion_destroy(n->onion);
    n->onion = NULL;
}

void node__onion_metrics(struct node *n, metric_fn fn, void *arg)
{
    if (n->onion != NULL)
        onion_metrics(n->onion, fn, arg);
}
