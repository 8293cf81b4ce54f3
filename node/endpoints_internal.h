/* node/endpoints_internal.h - what endpoints.c and the methods over it share. */
#pragma once
#include "node/endpoints.h"
#include "node/methods.h"

struct endpoints {
    struct endpoints_options o;
    struct onion *onion;
    struct door *socks, *tunnel;
    struct petnames *names;
    struct vault *vault;
    struct expose *expose;
    struct client_keys *keys;
    struct cyx_err keys_trouble; /* why there are no keys */
    struct list whys;            /* questions under way */
};

/* False after an error reply: this build has none of it, or it isn't open yet. */
bool endpoints__are_open(struct endpoints *e, struct node_call *call);
/* The same, and the onion must be there. */
bool endpoints__are_ready(struct endpoints *e, struct node_call *call);
/* An address with or without ".cyx", or a petname with or without it. */
enum onion_name_verdict endpoints__resolve(struct endpoints *e, const char *text,
                                           uint8_t address[static ONION_ADDRESS]);
/* The parameter `key` resolved; false after an error reply. */
bool endpoints__param_address(struct endpoints *e, struct node_call *call,
                              const msgpack_object *params, const char *key,
                              uint8_t address[static ONION_ADDRESS]);
void endpoints__pack_address(msgpack_packer *pk, const char *key,
                             const uint8_t address[static ONION_ADDRESS]);

/* methods_expose.c */
void endpoints__expose(void *state, struct node_call *call, const msgpack_object *params);
void endpoints__unexpose(void *state, struct node_call *call, const msgpack_object *params);
void endpoints__services(void *state, struct node_call *call, const msgpack_object *params);
/* methods_names.c */
void endpoints__name_set(void *state, struct node_call *call, const msgpack_object *params);
void endpoints__name_rm(void *state, struct node_call *call, const msgpack_object *params);
void endpoints__names(void *state, struct node_call *call, const msgpack_object *params);
void endpoints__key_new(void *state, struct node_call *call, const msgpack_object *params);
void endpoints__keys(void *state, struct node_call *call, const msgpack_object *params);
/* methods_why.c */
void endpoints__why(void *state, struct node_call *call, const msgpack_object *params);
void endpoints__cancel_whys(struct endpoints *e);
void endpoints__paths(void *state, struct node_call *call, const msgpack_object *params);
void endpoints__doors(void *state, struct node_call *call, const msgpack_object *params);
