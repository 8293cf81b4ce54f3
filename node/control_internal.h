/* node/control_internal.h - what control.c (sockets, clients), control_call.c (requests, replies)
 * and control_follow.c (the log) share, and their tests reach. */
#pragma once
#include "base/list.h"
#include "base/mp.h"
#include "node/control.h"

struct control_client {
    struct list node;
    struct control *control;
    struct env_stream *stream;
    struct env_cred cred;
    uint8_t *in; /* what came and is no whole message yet */
    size_t in_len, in_cap;
    struct mp_scan scan; /* of the message at the start of `in` */
    uint8_t *out;        /* replies and notifications behind what the stream holds */
    size_t out_len, out_cap;
    struct list calls; /* struct node_call.node */
    size_t n_calls;
    bool is_ending; /* closes once everything is written */
    bool is_following;
    uint32_t follow_id;
    uint64_t follow_seq;
    enum log_level follow_level;
};

struct node_call {
    struct list node;
    struct control_client *client;
    uint32_t id;
    bool is_replied; /* inside the method: freed by the dispatcher */
    bool is_running; /* the method's function has not returned yet */
    env_fn cancelled;
    void *cancel_arg;
};

struct control {
    struct control_options o;
    struct env_listener *listener;
    struct list clients;
    size_t n_clients;
    bool is_stopping;
    struct list dead; /* clients to free at the end of the turn: never under their own feet */
    struct env_task reap;
    struct env_timer follow_timer;
    struct control_counts counts;
};

/* A parsed request. Borrows from the message. */
struct control_request {
    uint32_t id;
    const char *method;
    size_t method_len;
    const msgpack_object *params; /* a map */
};

/* [0, id, method, [params]]; an empty or absent parameter array gives an empty map. */
enum drop control__parse(struct control_request *out, const msgpack_object *root);

/* control_call.c */
void control__request(struct control_client *c, const uint8_t *data, size_t len);
void control__cancel_calls(struct control_client *c);
/* Builds [1, id, {code, message}, nil]. */
void control__pack_error(msgpack_sbuffer *buf, uint32_t id, int code, const char *message);

/* control.c */
void control__drop_client(struct control_client *c);
/* Queues bytes for the client; closes it when more than `most` wait unread. */
void control__write(struct control_client *c, const void *data, size_t len, size_t most);

/* control_follow.c */
void control__follow_start(struct control *c);
