#include "node/tunnel.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "node/http_internal.h"
#include "node/socks.h"

enum { PORT_DIGITS_MAX = 5, LOGIN_MAX = 512 };

/* ---- request line ---------------------------------------------------------------------------- */

static bool port_of(struct http_span digits, uint16_t *out)
{
    unsigned value = 0;
    if (digits.n == 0 || digits.n > PORT_DIGITS_MAX)
        return false;
    for (size_t i = 0; i < digits.n; i++) {
        if (digits.p[i] < '0' || digits.p[i] > '9')
            return false;
        value = value * 10 + (unsigned)(digits.p[i] - '0');
    }
    if (value > UINT16_MAX)
        return false;
    *out = (uint16_t)value;
    return true;
}

/* host:port; an IPv6 address in brackets is a host here too, and refused later like any address. */
static int authority(struct tunnel_request *out, struct http_span target)
{
    const char *colon = memrchr(target.p, ':', target.n);
    if (target.n == 0 || colon == NULL || colon == target.p)
        return 400;
    size_t n = (size_t)(colon - target.p);
    struct http_span digits = { colon + 1, target.n - n - 1 };
    if (n > TUNNEL_HOST_MAX)
        return 414;
    for (size_t i = 0; i < n; i++)
        if (target.p[i] <= ' ' || target.p[i] >= 0x7f || strchr("/?#@\\", target.p[i]) != NULL)
            return 400;
    if (!port_of(digits, &out->port))
        return 400;
    memcpy(out->host, target.p, n);
    out->host[n] = '\0';
    out->host_len = n;
    return 0;
}

static int request_line(struct tunnel_request *out, struct http_span line, bool *is_11)
{
    struct http_span method = http__word(&line), target = http__word(&line), version = line;
    if (!http__is_token(method) || target.n == 0)
        return 400;
    if (!http__is(version, "HTTP/1.1") && !http__is(version, "HTTP/1.0"))
        return version.n == 8 && memcmp(version.p, "HTTP/", 5) == 0 ? 505 : 400;
    *is_11 = http__is(version, "HTTP/1.1");
    if (!http__is(method, "CONNECT"))
        return 405;
    return authority(out, target);
}

/* ---- fields ---------------------------------------------------------------------------------- */

struct fields {
    unsigned n, n_hosts, n_lengths, n_logins;
};

/* Basic only: another scheme would ask for isolation in a way that is not understood. */
static int login(struct tunnel_request *out, struct http_span value)
{
    uint8_t text[LOGIN_MAX];
    size_t n = 0;
    struct http_span scheme = http__word(&value);
    if (!http__is_nocase(scheme, "Basic"))
        return 400;
    while (value.n > 0 && value.p[0] == ' ') {
        value.p++;
        value.n--;
    }
    if (value.n == 0 || sodium_base642bin(text, sizeof text, value.p, value.n, NULL, &n, NULL,
                                          sodium_base64_VARIANT_ORIGINAL) != 0)
        return 400;
    const uint8_t *colon = memchr(text, ':', n);
    if (colon != NULL) {
        size_t user = (size_t)(colon - text);
        out->isolation = socks_isolation(text, user, text + user + 1, n - user - 1);
    }
    sodium_memzero(text, sizeof text);
    return colon != NULL ? 0 : 400;
}

static int field(struct tunnel_request *out, struct fields *f, struct http_span line)
{
    struct http_span name, value;
    if (++f->n > HTTP_FIELDS_MAX)
        return 431;
    int status = http__field(line, &name, &value);
    if (status != 0)
        return status;
    if (http__is_nocase(name, "host"))
        return ++f->n_hosts > 1 ? 400 : 0;
    if (http__is_nocase(name, "transfer-encoding"))
        return 501;
    if (http__is_nocase(name, "content-length")) /* what follows is the stream, never a body */
        return ++f->n_lengths > 1 || !http__is(value, "0") ? 400 : 0;
    if (http__is_nocase(name, "proxy-authorization"))
        return ++f->n_logins > 1 ? 400 : login(out, value);
    return 0;
}

static int fields(struct tunnel_request *out, struct fields *f, struct reader *r)
{
    for (;;) {
        struct http_span line;
        if (!http__next_line(r, &line))
            return 400;
        if (line.n == 0)
            return 0;
        int status = field(out, f, line);
        if (status != 0)
            return status;
    }
}

int tunnel_parse(struct tunnel_request *out, const uint8_t *data, size_t len, size_t *used)
{
    struct tunnel_request rq = { .host_len = 0 };
    struct fields f = { 0 };
    struct http_span line;
    bool is_11 = false;
    size_t head = http__head_length(data, len < TUNNEL_HEAD_MAX ? len : TUNNEL_HEAD_MAX);
    if (head == 0)
        return len >= TUNNEL_HEAD_MAX ? 431 : 0;
    struct reader r = reader_on(data, head);
    if (!http__next_line(&r, &line))
        return 400;
    int status = request_line(&rq, line, &is_11);
    if (status == 0)
        status = fields(&rq, &f, &r);
    if (status != 0)
        return status;
    if (!reader_done(&r) || (is_11 && f.n_hosts != 1))
        return 400;
    *out = rq;
    *used = head;
    return 200;
}

/* ---- answers --------------------------------------------------------------------------------- */

void tunnel_answer(struct writer *out, unsigned status, const char *reason)
{
    char text[TUNNEL_ANSWER_MAX];
    size_t n = strnlen(reason, TUNNEL_ANSWER_MAX / 2);
    if (status == 200)
        snprintf(text, sizeof text, "HTTP/1.1 200 Connection Established\r\n\r\n");
    else
        snprintf(text, sizeof text,
                 "HTTP/1.1 %u %s\r\n%sContent-Type: text/plain; charset=utf-8\r\n"
                 "Content-Length: %zu\r\nConnection: close\r\n\r\n%.*s\n",
                 status, http_phrase(status), status == 405 ? "Allow: CONNECT\r\n" : "", n + 1,
                 (int)n, reason);
    writer_copy(out, text, strlen(text));
}
