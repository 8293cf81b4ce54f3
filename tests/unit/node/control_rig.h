/* A control socket over a real loop in this process, and clients as plain descriptors. */
#pragma once
#include "base/env.h"
#include "base/mp.h"
#include "node/control.h"

struct rig {
    char dir[64], path[108];
    struct env *env;
    struct log *log;
    struct control *control;
    struct node_call *held[64]; /* calls of "hold", in order */
    size_t n_held;
    unsigned n_cancelled;
};

/* Methods: "echo" replies its parameters' "text"; "hold" keeps the call; "flood" sends 64 MiB
 * of progress and keeps the call. */
void rig_start(struct rig *r);
void rig_stop(struct rig *r);
/* Runs the loop for a few turns: what was sent gets through. */
void rig_turn(struct rig *r);

int rig_connect(struct rig *r);
void rig_send(struct rig *r, int fd, const void *data, size_t len);
/* Builds [0, id, method, [{"text": text}]] (or [] for NULL); returns its length. */
size_t rig_request(uint8_t *out, size_t cap, uint32_t id, const char *method, const char *text);
/* Sends a request and turns. */
void rig_call(struct rig *r, int fd, uint32_t id, const char *method, const char *text);

/* The next message: 1 with `doc` filled (mp_doc_fini; `buf` must live as long), 0 when the other
 * end closed, -1 when nothing comes within many turns. */
int rig_receive(struct rig *r, int fd, uint8_t *buf, size_t cap, struct mp_doc *doc);
/* The error code of the next response ("" for a result, "closed", "nothing"). */
const char *rig_error(struct rig *r, int fd, char out[static 64]);
