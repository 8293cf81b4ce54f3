/* node/cyx/dht.h - what the `cyx dht` commands share. */
#pragma once
#include "node/cyx/cyx.h"

enum { DHT_PARAMS_MAX = 9216 }; /* a record of the greatest size, and the rest */

/* Parameters being packed. */
struct dht_params {
    uint8_t buf[DHT_PARAMS_MAX];
    struct writer w;
    msgpack_packer pk;
};
void dht_params_init(struct dht_params *p, uint32_t members);
void dht_params_str(struct dht_params *p, const char *key, const char *value);
void dht_params_bool(struct dht_params *p, const char *key, bool value);

/* Calls the method and shows on a terminal how long it takes. JSON (--json) or `show`. */
int dht_call(struct cli *c, const char *method, const struct dht_params *p,
             int (*show)(const struct cli *c, const msgpack_object *result));

/* "12 nodes asked, 11 answered, 3 hops, 84.2 ms". */
void dht_show_figures(const msgpack_object *r);
void dht_show_expiry(const msgpack_object *record, const char *label);
