/* base/uv/stream_internal.h - a stream's state, shared by stream.c, connect.c and listen.c. */
#pragma once
#include "base/uv/env_uv_internal.h"

/* States: OPENING -> OPEN -> DEAD, and CLOSING from any of them.
 *   OPENING  connect is under way (or its result waits for the end of the turn)
 *   OPEN     reads and writes
 *   DEAD     failed; the owner was told and has to close
 *   CLOSING  the owner closed; no callback follows; memory goes in the handle's close callback */
enum stream_state { STREAM_OPENING, STREAM_OPEN, STREAM_DEAD, STREAM_CLOSING };

struct env_stream {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_pipe_t pipe;
        uv_tcp_t tcp;
    } h;
    struct env_uv *e;
    enum stream_state state;
    bool is_unix;
    bool is_paused, is_reading;
    bool at_eof;    /* theirs: data(len 0) was delivered */
    bool has_ended; /* ours: env_stream_end was called */
    size_t n_queued;
    const struct env_stream_events *events; /* borrowed from the owner; NULL: not attached yet */
    void *arg;
    uv_connect_t connect_req;
    uv_shutdown_t shutdown_req;
    struct env_task late_task; /* told at the end of the turn: the result of a unix connect, which
                                  is known at once; the end of a stream that a write tore */
    int late_code;
};

/* A fresh stream with its libuv handle initialised, or NULL. */
struct env_stream *env_uv__stream_new(struct env_uv *e, bool is_unix);
void env_uv__stream_set_state(struct env_stream *s, enum stream_state state);
/* Starts or stops reading, as state, pause and end of stream say. */
void env_uv__stream_update_reading(struct env_stream *s);

/* unix_path.c: the address of a unix endpoint ('@' in front: abstract). CYX_EINVAL with a clear
 * message when the path is empty or too long. */
struct sockaddr_un;
int env_uv__unix_addr(const struct env_endpoint *at, struct sockaddr_un *out, unsigned *len,
                      struct cyx_err *err);
/* A non-blocking unix stream socket, or -1 with errno. */
int env_uv__unix_socket(void);
/* Binds `fd`: replaces a stale socket file, refuses a live one, sets the mode. */
int env_uv__unix_bind(int fd, const struct env_endpoint *at, struct cyx_err *err);
