/* dht/type_internal.h - the types, one file each, and what they share. */
#pragma once
#include "dht/type.h"

extern const struct dht_type dht__type_node;
extern const struct dht_type dht__type_descriptor;
extern const struct dht_type dht__type_provider;
extern const struct dht_type dht__type_offer;
