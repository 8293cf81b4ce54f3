#include "node/expose_spec.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/reader.h"
#include "base/writer.h"

enum { SPEC_VERSION = 1 };

bool expose_name_ok(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return name[n] == '\0' && n >= 1 && n <= EXPOSE_NAME_MAX && name[0] != '-' &&
           name[n - 1] != '-';
}

/* ---- backends -------------------------------------------------------------------------------- */

/* A whole number from 1 to 65535, in its shortest form. */
static bool port_parse(uint16_t *out, const char *text, size_t len)
{
    unsigned value = 0;
    if (len == 0 || len > 5 || text[0] == '0')
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        value = value * 10 + (unsigned)(text[i] - '0');
    }
    if (value > UINT16_MAX)
        return false;
    *out = (uint16_t)value;
    return true;
}

static int unix_parse(struct env_endpoint *out, const char *path, struct cyx_err *err)
{
    struct env_endpoint e = { .kind = ENV_UNIX };
    if (path[0] != '/' || strlen(path) >= sizeof e.path)
        return cyx_fail(err, CYX_EINVAL, "unix:%.128s: want an absolute path of at most %zu bytes",
                        path, sizeof e.path - 1);
    memcpy(e.path, path, strlen(path));
    *out = e;
    return 0;
}

int expose_backend_parse(struct env_endpoint *out, const char *text, struct cyx_err *err)
{
    struct env_endpoint e = { .kind = ENV_TCP };
    uint16_t port = 0;
    if (strncmp(text, "unix:", 5) == 0)
        return unix_parse(out, text + 5, err);
    if (port_parse(&port, text, strlen(text))) {
        e.addr = env_addr_v4(127, 0, 0, 1, port);
    } else if (env_addr_parse(&e.addr, text, NULL) < 0 || e.addr.port == 0) {
        return cyx_fail(err, CYX_EINVAL,
                        "\"%.128s\" is no backend: want PORT, ADDRESS:PORT (numeric) or unix:PATH",
                        text);
    }
    *out = e;
    return 0;
}

/* ---- ports ----------------------------------------------------------------------------------- */

static int add_port(struct expose_spec *s, uint16_t port, const char *backend, bool has_datagrams,
                    struct cyx_err *err)
{
    struct expose_port p = { .port = port, .kind = ONION_PORT_STREAM };
    int rc = expose_backend_parse(&p.to, backend, err);
    if (rc < 0)
        return rc;
    if (strlen(backend) >= sizeof p.text)
        return cyx_fail(err, CYX_EINVAL, "backend: at most %zu bytes", sizeof p.text - 1);
    memcpy(p.text, backend, strlen(backend) + 1);
    if (has_datagrams && p.to.kind == ENV_TCP)
        p.kind = ONION_PORT_BOTH;
    for (size_t i = 0; i < s->n_ports; i++)
        if (s->ports[i].port == port)
            return cyx_fail(err, CYX_EEXIST, "port %u leads to two backends", port);
    if (s->n_ports == ONION_PORTS_MAX)
        return cyx_fail(err, CYX_EFULL, "an endpoint has at most %d ports", ONION_PORTS_MAX);
    s->ports[s->n_ports++] = p;
    return 0;
}

/* "V" or "V:B". */
static int add_word(struct expose_spec *s, const struct expose_words *w, const char *word,
                    bool *uses_backend, struct cyx_err *err)
{
    uint16_t port = 0;
    size_t digits = strcspn(word, ":");
    if (!port_parse(&port, word, digits))
        return cyx_fail(err, CYX_EINVAL,
                        "\"%.64s\": want PORT:BACKEND, or PORT for the main backend", word);
    const char *backend = word[digits] == ':' ? word + digits + 1 : w->backend;
    if (strcmp(backend, w->backend) == 0)
        *uses_backend = true;
    return add_port(s, port, backend, w->has_datagrams, err);
}

static int add_own(struct expose_spec *s, const struct expose_words *w, struct cyx_err *err)
{
    struct env_endpoint e;
    int rc = expose_backend_parse(&e, w->backend, err);
    if (rc < 0)
        return rc;
    return add_port(s, e.kind == ENV_UNIX ? EXPOSE_UNIX_PORT : e.addr.port, w->backend,
                    w->has_datagrams, err);
}

static bool takes_datagrams(const struct expose_spec *s)
{
    for (size_t i = 0; i < s->n_ports; i++)
        if (s->ports[i].kind != ONION_PORT_STREAM)
            return true;
    return false;
}

/* "port-8080", "unix-80". */
static void make_name(struct expose_spec *s)
{
    struct env_endpoint e = s->ports[0].to;
    snprintf(s->name, sizeof s->name, "%s-%u", e.kind == ENV_UNIX ? "unix" : "port",
             e.kind == ENV_UNIX ? s->ports[0].port : e.addr.port);
}

int expose_spec_parse(struct expose_spec *out, const struct expose_words *w, struct cyx_err *err)
{
    bool uses_backend = false;
    int rc = 0;
    struct expose_spec *s = calloc(1, sizeof *s);
    if (s == NULL)
        return cyx_fail(err, CYX_ENOMEM, "no memory for the endpoint");
    if (w->name != NULL && !expose_name_ok(w->name))
        rc = cyx_fail(err, CYX_EINVAL,
                      "\"%.64s\" is no endpoint's name: want 1 to %d of a-z, 0-9 and inner hyphens",
                      w->name, EXPOSE_NAME_MAX);
    for (size_t i = 0; rc == 0 && i < w->n_ports; i++)
        rc = add_word(s, w, w->ports[i], &uses_backend, err);
    if (rc == 0 && !uses_backend)
        rc = add_own(s, w, err);
    if (rc == 0 && w->has_datagrams && !takes_datagrams(s))
        rc = cyx_fail(err, CYX_EINVAL, "a unix socket takes no datagrams");
    if (rc == 0 && w->name != NULL)
        snprintf(s->name, sizeof s->name, "%s", w->name);
    else if (rc == 0)
        make_name(s);
    if (rc == 0)
        *out = *s;
    free(s);
    return rc;
}

int expose_spec_client(struct expose_spec *s, const char *key, struct cyx_err *err)
{
    uint8_t pub[32];
    size_t n = 0;
    if (strlen(key) != 64 || sodium_hex2bin(pub, 32, key, 64, NULL, &n, NULL) != 0 || n != 32)
        return cyx_fail(err, CYX_EINVAL,
                        "\"%.80s\" is no client key: want the 64 hex digits that `cyx key new` "
                        "prints on the client's machine",
                        key);
    for (size_t i = 0; i < s->n_clients; i++)
        if (memcmp(s->clients[i], pub, 32) == 0)
            return 0;
    if (s->n_clients == ONION_CLIENTS_MAX)
        return cyx_fail(err, CYX_EFULL, "an endpoint has at most %d client keys",
                        ONION_CLIENTS_MAX);
    memcpy(s->clients[s->n_clients++], pub, 32);
    return 0;
}

/* ---- the disk -------------------------------------------------------------------------------- */

size_t expose_spec_encode(const struct expose_spec *s, bool is_on,
                          uint8_t out[static EXPOSE_SPEC_MAX])
{
    struct writer w = writer_on(out, EXPOSE_SPEC_MAX);
    writer_u8(&w, SPEC_VERSION);
    writer_u8(&w, is_on ? 1 : 0);
    writer_u8(&w, (uint8_t)s->n_ports);
    for (size_t i = 0; i < s->n_ports; i++) {
        const struct expose_port *p = &s->ports[i];
        writer_u16(&w, p->port);
        writer_u8(&w, p->kind);
        writer_u8(&w, (uint8_t)strlen(p->text));
        writer_copy(&w, p->text, strlen(p->text));
    }
    writer_u8(&w, (uint8_t)s->n_clients);
    writer_copy(&w, s->clients, s->n_clients * 32);
    return writer_len(&w);
}

static bool read_port(struct reader *r, struct expose_spec *s)
{
    char text[EXPOSE_TEXT];
    uint16_t port = reader_u16(r);
    uint8_t kind = reader_u8(r), len = reader_u8(r);
    if (len >= sizeof text)
        return false;
    reader_copy(r, text, len);
    text[len] = '\0';
    if (r->bad || kind < ONION_PORT_STREAM || kind > ONION_PORT_BOTH ||
        add_port(s, port, text, kind != ONION_PORT_STREAM, NULL) < 0)
        return false;
    return s->ports[s->n_ports - 1].kind == kind;
}

static bool read_spec(struct reader *r, struct expose_spec *s)
{
    uint8_t n_ports = reader_u8(r);
    for (unsigned i = 0; i < n_ports; i++)
        if (!read_port(r, s))
            return false;
    s->n_clients = reader_u8(r);
    if (s->n_clients > ONION_CLIENTS_MAX || n_ports == 0)
        return false;
    reader_copy(r, s->clients, s->n_clients * 32);
    return reader_done(r);
}

int expose_spec_decode(struct expose_spec *out, bool *is_on, const char *name, const uint8_t *data,
                       size_t len, struct cyx_err *err)
{
    struct reader r = reader_on(data, len);
    struct expose_spec *s = calloc(1, sizeof *s);
    if (s == NULL)
        return cyx_fail(err, CYX_ENOMEM, "no memory for the endpoint");
    uint8_t version = reader_u8(&r), on = reader_u8(&r);
    int rc = 0;
    if (r.bad || version != SPEC_VERSION)
        rc = cyx_fail(err, CYX_EVERSION, "endpoint %s: written by another version", name);
    else if (on > 1 || !expose_name_ok(name) || !read_spec(&r, s))
        rc = cyx_fail(err, CYX_ECORRUPT, "endpoint %s: its entry is damaged", name);
    if (rc == 0) {
        snprintf(s->name, sizeof s->name, "%s", name);
        *out = *s;
        *is_on = on == 1;
    }
    free(s);
    return rc;
}
