/* node/expose_spec.h - what a hidden endpoint offers: ports and the backends behind them, who may
 * read its descriptor; from the words of the command line, and to bytes and back for the disk. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "base/err.h"
#include "onion/onion.h"

enum {
    EXPOSE_NAME_MAX = 19,  /* endpoint-NAME.key is a file's name of at most 32 */
    EXPOSE_TEXT = 116,     /* "unix:" and a socket's path */
    EXPOSE_UNIX_PORT = 80, /* of a unix socket when nobody says */
    EXPOSE_SPEC_MAX = 24 << 10,
};

struct expose_port {
    uint16_t port;
    uint8_t kind; /* enum onion_port_kind */
    struct env_endpoint to;
    char text[EXPOSE_TEXT]; /* as it was written */
};

struct expose_spec {
    char name[EXPOSE_NAME_MAX + 1];
    size_t n_ports, n_clients;
    struct expose_port ports[ONION_PORTS_MAX];
    uint8_t clients[ONION_CLIENTS_MAX][32];
};

/* [a-z0-9] and inner hyphens. */
bool expose_name_ok(const char *name);

/* "8080" (127.0.0.1), "192.0.2.1:80", "[::1]:80" or "unix:/path". Numeric only: names are never
 * resolved. CYX_EINVAL says what is allowed. */
CYX_MUST_USE int expose_backend_parse(struct env_endpoint *out, const char *text,
                                      struct cyx_err *err);

/* What the command line said. */
struct expose_words {
    const char *name;         /* NULL: made from the backend */
    const char *backend;      /* exposed on its own port unless `ports` lead to it */
    const char *const *ports; /* "80", "80:8080", "443:unix:/run/web.sock" */
    size_t n_ports;
    bool has_datagrams; /* ports of TCP backends take datagrams as well */
};
/* Without clients. CYX_EINVAL, CYX_EEXIST (a port twice), CYX_EFULL. */
CYX_MUST_USE int expose_spec_parse(struct expose_spec *out, const struct expose_words *w,
                                   struct cyx_err *err);
/* 64 hex digits. */
CYX_MUST_USE int expose_spec_client(struct expose_spec *s, const char *key, struct cyx_err *err);

/* For the store: version, switched on, ports, clients; not the name. Returns the length, at most
 * EXPOSE_SPEC_MAX. */
size_t expose_spec_encode(const struct expose_spec *s, bool is_on,
                          uint8_t out[static EXPOSE_SPEC_MAX]);
/* CYX_ECORRUPT, CYX_EVERSION. */
CYX_MUST_USE int expose_spec_decode(struct expose_spec *out, bool *is_on, const char *name,
                                    const uint8_t *data, size_t len, struct cyx_err *err);
