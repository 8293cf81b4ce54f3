#include "node/http.h"

#include <string.h>
#include <strings.h>

#include "node/http_internal.h"

/* Methods and field names. */
static bool is_token_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

bool http__is_token(struct http_span s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_token_char(s.p[i]))
            return false;
    return s.n > 0;
}

bool http__is(struct http_span s, const char *text)
{
    return s.n == strlen(text) && memcmp(s.p, text, s.n) == 0;
}

bool http__is_nocase(struct http_span s, const char *text)
{
    return s.n == strlen(text) && strncasecmp(s.p, text, s.n) == 0;
}

bool http__next_line(struct reader *r, struct http_span *out)
{
    const uint8_t *start = r->p;
    size_t left = reader_left(r);
    const uint8_t *cr = memchr(start, '\r', left);
    if (cr == NULL || (size_t)(cr - start) + 2 > left || cr[1] != '\n')
        return false;
    size_t n = (size_t)(cr - start);
    if (memchr(start, '\n', n) != NULL || memchr(start, '\0', n) != NULL)
        return false;
    *out = (struct http_span){ (const char *)reader_bytes(r, n + 2), n };
    return true;
}

/* ---- request line ---------------------------------------------------------------------------- */

struct http_span http__word(struct http_span *line)
{
    const char *space = memchr(line->p, ' ', line->n);
    size_t n = space != NULL ? (size_t)(space - line->p) : line->n;
    struct http_span w = { line->p, n };
    size_t skip = space != NULL ? n + 1 : n;
    line->p += skip;
    line->n -= skip;
    return w;
}

static int request_line(struct http_request *out, struct http_span line)
{
    struct http_span method = http__word(&line), target = http__word(&line), version = line;
    if (!http__is_token(method) || target.n == 0)
        return 400;
    if (target.n >= HTTP_TARGET_MAX)
        return 414;
    if (target.p[0] != '/')
        return 400;
    for (size_t i = 0; i < target.n; i++)
        if (target.p[i] <= ' ' || target.p[i] >= 0x7f)
            return 400;
    if (!http__is(version, "HTTP/1.1") && !http__is(version, "HTTP/1.0"))
        return version.n == 8 && memcmp(version.p, "HTTP/", 5) == 0 ? 505 : 400;
    out->is_get = http__is(method, "GET");
    out->is_head = http__is(method, "HEAD");
    memcpy(out->target, target.p, target.n);
    out->target[target.n] = '\0';
    return 0;
}

/* ---- fields ---------------------------------------------------------------------------------- */

/* Host is this machine: localhost, 127.x.y.z or [::1], with or without a port. */
static bool is_local_host(struct http_span host)
{
    const char *colon = memchr(host.p, ':', host.n);
    struct http_span name = host;
    if (host.n > 0 && host.p[0] == '[') {
        static const char v6[] = "[::1]";
        return host.n >= 5 && memcmp(host.p, v6, 5) == 0 && (host.n == 5 || host.p[5] == ':');
    }
    if (colon != NULL)
        name.n = (size_t)(colon - host.p);
    if (http__is_nocase(name, "localhost"))
        return true;
    if (name.n < 4 || memcmp(name.p, "127.", 4) != 0)
        return false;
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] != '.' && (name.p[i] < '0' || name.p[i] > '9'))
            return false;
    return true;
}

struct fields {
    unsigned n, n_hosts, n_lengths;
};

static int field_value(struct fields *f, struct http_span name, struct http_span value)
{
    if (http__is_nocase(name, "host")) {
        if (++f->n_hosts > 1)
            return 400;
        return is_local_host(value) ? 0 : 403;
    }
    if (http__is_nocase(name, "transfer-encoding"))
        return 501;
    if (http__is_nocase(name, "content-length")) {
        if (++f->n_lengths > 1)
            return 400;
        return http__is(value, "0") ? 0 : 413;
    }
    return 0;
}

int http__field(struct http_span line, struct http_span *name, struct http_span *value)
{
    const char *colon = memchr(line.p, ':', line.n);
    if (colon == NULL)
        return 400;
    struct http_span n = { line.p, (size_t)(colon - line.p) };
    struct http_span v = { colon + 1, line.n - n.n - 1 };
    while (v.n > 0 && (v.p[0] == ' ' || v.p[0] == '\t')) {
        v.p++;
        v.n--;
    }
    while (v.n > 0 && (v.p[v.n - 1] == ' ' || v.p[v.n - 1] == '\t'))
        v.n--;
    for (size_t i = 0; i < v.n; i++)
        if (((unsigned char)v.p[i] < ' ' && v.p[i] != '\t') || v.p[i] == 0x7f)
            return 400;
    *name = n;
    *value = v;
    return http__is_token(n) ? 0 : 400;
}

static int field(struct fields *f, struct http_span line)
{
    struct http_span name, value;
    if (++f->n > HTTP_FIELDS_MAX)
        return 431;
    int status = http__field(line, &name, &value);
    return status == 0 ? field_value(f, name, value) : status;
}

/* ---- the head -------------------------------------------------------------------------------- */

size_t http__head_length(const uint8_t *data, size_t len)
{
    const uint8_t *end = len >= 4 ? memmem(data, len, "\r\n\r\n", 4) : NULL;
    return end != NULL ? (size_t)(end - data) + 4 : 0;
}

int http_parse(struct http_request *out, const uint8_t *data, size_t len, size_t *used)
{
    struct http_request rq = { .is_get = false };
    struct fields f = { 0 };
    struct http_span line;
    size_t head = http__head_length(data, len < HTTP_HEAD_MAX ? len : HTTP_HEAD_MAX);
    if (head == 0)
        return len >= HTTP_HEAD_MAX ? 431 : 0;
    struct reader r = reader_on(data, head);
    if (!http__next_line(&r, &line))
        return 400;
    int status = request_line(&rq, line);
    while (status == 0) {
        if (!http__next_line(&r, &line))
            return 400;
        if (line.n == 0)
            break;
        status = field(&f, line);
    }
    if (status != 0)
        return status;
    if (!reader_done(&r) || f.n_hosts != 1)
        return 400;
    if (!rq.is_get && !rq.is_head)
        return 405;
    *out = rq;
    *used = head;
    return 200;
}

const char *http_phrase(unsigned status)
{
    static const struct {
        unsigned status;
        const char *phrase;
    } known[] = {
        { 200, "OK" },
        { 400, "Bad Request" },
        { 403, "Forbidden" },
        { 404, "Not Found" },
        { 405, "Method Not Allowed" },
        { 413, "Content Too Large" },
        { 414, "URI Too Long" },
        { 431, "Request Header Fields Too Large" },
        { 501, "Not Implemented" },
        { 502, "Bad Gateway" },
        { 503, "Service Unavailable" },
        { 504, "Gateway Timeout" },
        { 505, "HTTP Version Not Supported" },
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].status == status)
            return known[i].phrase;
    return "Error";
}
